//! Volumes of every kind, as their users see them.

use rocket_testkit::{Done, image, require_bed, rocket, run};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;

/// Runs a pod of one app, which runs a script.
fn pod(name: &str, image: &str, script: &str, mounts: &str, volumes: &str) -> Done {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("volumes.toml");
    let text = format!(
        "network = \"none\"\n[app.a]\nimage = \"{image}\"\n\
         exec = [\"/bin/sh\", \"-c\", '''{script}''']\nmounts = {{ {mounts} }}\n{volumes}\n"
    );
    fs::write(&file, text).unwrap();
    rocket(["run", "--rm", "--name", name, "--file", file.to_str().unwrap()])
}

fn host(source: &Path, keys: &str) -> String {
    let source = source.display();
    format!("[volume.v]\nkind = \"host\"\nsource = \"{source}\"\n{keys}\n")
}

/// A mount that goes with the test.
struct Mounted(String);

impl Mounted {
    fn tmpfs(at: &Path) -> Self {
        let at = at.to_str().unwrap().to_owned();
        run("mount", ["-t", "tmpfs", "tmpfs", &at]).ok();
        Self(at)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        run("umount", ["-l", &self.0]);
    }
}

#[test]
fn host_volumes_show_or_hide_nested_mounts_and_read_only_covers_them() {
    require_bed("ns");
    let name = "example.com/nested:1.0";
    image::add_busybox(name, &["/bin/sh"]);
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let nested = dir.path().join("nested");
    fs::create_dir(&nested).unwrap();
    let _mount = Mounted::tmpfs(&nested);
    fs::set_permissions(&nested, fs::Permissions::from_mode(0o777)).unwrap();
    fs::write(nested.join("inside"), "").unwrap();
    let script = "cd /v; ls nested; touch top; echo $?; touch nested/below; echo $?";
    for (keys, ends) in [
        ("", "inside\n0\n0\n"),
        ("read-only = true", "below\ninside\n1\n1\n"),
        ("recursive = false", "0\n0\n"),
        ("recursive = false\nread-only = true", "below\n1\n1\n"),
    ] {
        let done = pod("nested", name, script, "\"/v\" = \"v\"", &host(dir.path(), keys)).ok();
        assert_eq!(done.stdout, ends, "{keys}: {done}");
    }
    assert!(dir.path().join("top").exists() && nested.join("below").exists());
}

#[test]
fn a_volume_where_the_host_has_a_mount_is_refused_unless_that_is_left_out() {
    require_bed("ns");
    let name = "example.com/over:1.0";
    image::add_busybox(name, &["/bin/sh"]);
    let dir = tempfile::tempdir().unwrap();
    let below = dir.path().join("below");
    fs::create_dir(&below).unwrap();
    let mounted = Mounted::tmpfs(&below);
    let run = |keys: &str| {
        let volumes = format!("{}\n[volume.w]\nkind = \"empty\"", host(dir.path(), keys));
        let mounts = "\"/v\" = \"v\", \"/v/below\" = \"w\"";
        pod("over", name, "grep -c ' /v/below ' /proc/self/mountinfo", mounts, &volumes)
    };
    run("idmap = false").ends_with(125).says(&[
        "/v/below of app a",
        "mounted there already",
        "recursive = false",
    ]);
    assert_eq!(run("idmap = false\nrecursive = false").ok().stdout, "1\n");
    drop(mounted);
}

#[test]
fn what_the_host_mounts_later_does_not_show_inside() {
    require_bed("ns");
    let name = "example.com/later:1.0";
    image::add_busybox(name, &["/bin/sh"]);
    let dir = tempfile::tempdir().unwrap();
    let below = dir.path().join("below");
    fs::create_dir(&below).unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let (mine, text) = (dir.path().to_owned(), host(dir.path(), ""));
    let script = "touch /v/up; until test -e /v/mounted; do sleep 0.05; done; ls /v/below | wc -l";
    let inside = std::thread::spawn(move || pod("later", name, script, "\"/v\" = \"v\"", &text));
    rocket_testkit::wait_until("the pod is up", 20, || mine.join("up").exists());
    let _mount = Mounted::tmpfs(&below);
    fs::write(below.join("secret"), "").unwrap();
    fs::write(mine.join("mounted"), "").unwrap();
    assert_eq!(inside.join().unwrap().ok().stdout, "0\n");
}

#[test]
fn a_missing_or_symlinked_source_is_refused_by_name_and_never_made() {
    require_bed("ns");
    let name = "example.com/sources:1.0";
    image::add_busybox(name, &["/bin/sh"]);
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("real/below")).unwrap();
    fs::write(dir.path().join("real/below/mark"), "found\n").unwrap();
    symlink("real", dir.path().join("link")).unwrap();
    let mount = "\"/v\" = \"v\"";
    let missing = dir.path().join("missing");
    pod("sources", name, "true", mount, &host(&missing, "")).ends_with(125).says(&[
        "volume \"v\"",
        missing.to_str().unwrap(),
        "No such file",
    ]);
    assert!(!missing.exists());
    for path in ["link", "link/below"] {
        let path = dir.path().join(path);
        pod("sources", name, "true", mount, &host(&path, "")).ends_with(125).says(&[
            "volume \"v\"",
            "symbolic link",
            "follow-symlinks = true",
        ]);
    }
    let allowed = host(&dir.path().join("link/below"), "follow-symlinks = true");
    let done = pod("sources", name, "cat /v/mark", mount, &allowed).ok();
    assert_eq!(done.stdout, "found\n");
}

#[test]
fn a_file_or_a_device_node_can_be_a_volume_and_paths_may_be_odd() {
    require_bed("ns");
    let name = "example.com/files:1.0";
    image::add_busybox(name, &["/bin/sh"]);
    let dir = tempfile::tempdir().unwrap();
    let odd = dir.path().join("a b:c,ä");
    fs::write(&odd, "odd\n").unwrap();
    let done = pod("files", name, "cat '/x y:z,ö/f'", "\"/x y:z,ö/f\" = \"v\"", &host(&odd, ""));
    assert_eq!(done.ok().stdout, "odd\n");
    // /dev/zero under another name works, one that is made beside it does not.
    let script = "head -c 3 /data/zeros | wc -c; ls -l /data/zeros | cut -c1";
    let zero = host(Path::new("/dev/zero"), "");
    let done = pod("files", name, script, "\"/data/zeros\" = \"v\"", &zero).ok();
    assert_eq!(done.stdout, "3\nc\n");
    let nodes = tempfile::tempdir().unwrap();
    run("mknod", [nodes.path().join("zero").to_str().unwrap(), "c", "1", "5"]).ok();
    let done = pod("files", name, "head -c 3 /v/zero", "\"/v\" = \"v\"", &host(nodes.path(), ""));
    done.ends_with(1).says(&["Permission denied"]);
}

#[test]
fn an_empty_volume_begins_with_what_the_image_has_there() {
    require_bed("ns");
    let root = tempfile::tempdir().unwrap();
    image::busybox_root(root.path());
    let data = root.path().join("data");
    fs::create_dir_all(data.join("sub")).unwrap();
    fs::write(data.join("sub/file"), "content\n").unwrap();
    fs::hard_link(data.join("sub/file"), data.join("linked")).unwrap();
    symlink("/etc/passwd", data.join("link")).unwrap();
    chown(data.join("sub/file"), Some(33), Some(34)).unwrap();
    chown(&data, Some(5), Some(6)).unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o2770)).unwrap();
    let note = |path: &Path, name: &str, value: &[u8]| {
        rustix::fs::lsetxattr(path, name, value, rustix::fs::XattrFlags::empty()).unwrap();
    };
    note(&data.join("sub"), "user.note", b"of a directory");
    note(&data.join("sub/file"), "user.note", b"a\0b");
    // cap_net_bind_service, effective, in the kernel's form.
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    note(&data.join("sub/file"), "security.capability", &capability);
    let name = "example.com/filled:1.0";
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("filled.aci");
    let out = out.to_str().unwrap();
    let words = ["image", "pack", root.path().to_str().unwrap(), "--name", name];
    let more = ["--exec", "/bin/sh", "--mount", "files=/data", "--output", out];
    rocket(words.iter().chain(&more)).ok();
    rocket(["fetch", out]).ok();
    let script = "cd /data; stat -c '%a %u %g' . sub/file; cat sub/file; readlink link; \
                  stat -c %h linked; grep -c ' /data ' /proc/self/mountinfo; echo x > sub/file";
    let expected = "2770 5 6\n644 33 34\ncontent\n/etc/passwd\n2\n1\n";
    let empty = "[volume.v]\nkind = \"empty\"";
    // Twice: it is new at each start. Then without a volume, and with one of the mount point's name.
    for (mounts, volumes) in [
        ("\"/data\" = \"v\"", empty),
        ("\"/data\" = \"v\"", empty),
        ("", ""),
        ("", "[volume.files]\nkind = \"empty\""),
    ] {
        let done = pod("filled", name, script, mounts, volumes).ok();
        assert_eq!(done.stdout, expected, "{mounts} {volumes}");
    }
    // Of a pod that is prepared the volume can be looked at.
    let uuid = rocket(["prepare", name]).ok();
    let pod_dir = Path::new("/var/lib/rocket/pods/prepared").join(uuid.text());
    let found = run("find", [pod_dir.as_path(), Path::new("-path"), Path::new("*/sub/file")]).ok();
    let file = Path::new(found.text());
    let noted = |path: &Path, name: &str| {
        let mut value = [0; 64];
        let length = rustix::fs::lgetxattr(path, name, &mut value[..])
            .unwrap_or_else(|e| panic!("{name} of {}: {e}", path.display()));
        value[..length].to_vec()
    };
    assert_eq!(noted(file.parent().unwrap(), "user.note"), b"of a directory");
    assert_eq!(noted(file, "user.note"), b"a\0b");
    assert_eq!(noted(file, "security.capability")[..20], capability);
    rocket(["rm", uuid.text()]).ok();
    let own = "[volume.v]\nkind = \"empty\"\nmode = \"0711\"\nuid = 9";
    let done = pod("filled", name, "stat -c '%a %u %g' /data", "\"/data\" = \"v\"", own).ok();
    assert_eq!(done.stdout, "711 9 6\n");
    // A volume of the mount point's name satisfies it.
    let tmpfs = "[volume.files]\nkind = \"tmpfs\"\nsize = \"1M\"\nmode = \"1777\"\nuid = 3";
    let script = "grep ' /data ' /proc/self/mountinfo | grep -o 'size=[0-9]*k'; ls /data; \
                  stat -c '%a %u' /data";
    assert_eq!(pod("filled", name, script, "", tmpfs).ok().stdout, "size=1024k\n1777 3\n");
}

#[test]
fn apps_that_name_one_mount_point_share_an_implicit_volume_which_the_first_fills() {
    require_bed("ns");
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in [("one", "first\n"), ("two", "second\n")] {
        let root = tempfile::tempdir().unwrap();
        image::busybox_root(root.path());
        fs::create_dir(root.path().join(name)).unwrap();
        fs::write(root.path().join(name).join("who"), content).unwrap();
        let out = dir.path().join(format!("{name}.aci"));
        let out = out.to_str().unwrap();
        let (point, name) = (format!("shared=/{name}"), format!("example.com/share-{name}:1.0"));
        let words = ["image", "pack", root.path().to_str().unwrap(), "--name", &name];
        let more = ["--exec", "/bin/sh", "--mount", &point, "--output", out];
        rocket(words.iter().chain(&more)).ok();
        rocket(["fetch", out]).ok();
    }
    let file = dir.path().join("shared.toml");
    fs::write(
        &file,
        "network = \"none\"\nexit-policy = \"all-done\"\n\
         [app.one]\nimage = \"example.com/share-one:1.0\"\n\
         exec = [\"/bin/sh\", \"-c\", \"echo hello > /one/new\"]\nkind = \"oneshot\"\n\
         [app.two]\nimage = \"example.com/share-two:1.0\"\nafter = [\"one\"]\n\
         exec = [\"/bin/cat\", \"/two/who\", \"/two/new\"]\n",
    )
    .unwrap();
    let done = rocket(["run", "--rm", "--file", file.to_str().unwrap()]).ok();
    assert_eq!(done.stdout, "first\nhello\n");
}

#[test]
fn a_state_volume_is_kept_over_restarts_and_removal_of_the_pods_instances() {
    require_bed("ns");
    let name = "example.com/state:1.0";
    image::add_busybox(name, &["/bin/sh"]);
    let volume = "[volume.v]\nkind = \"state\"\nmode = \"0750\"";
    let script = "echo run >> /data/runs; wc -l < /data/runs";
    for count in 1..=3 {
        let done = pod("kept", name, script, "\"/data\" = \"v\"", volume).ok();
        assert_eq!(done.stdout, format!("{count}\n"));
        rocket(["gc", "--all", "--grace-period", "0"]).ok();
    }
    let dir = Path::new("/var/lib/rocket/volumes/kept/v");
    assert_eq!(fs::metadata(dir).unwrap().mode() & 0o7777, 0o750);
    pod("other", name, "ls /data", "\"/data\" = \"v\"", volume).ok();
}

#[test]
fn an_image_that_wants_a_volume_over_what_is_rockets_own_is_refused() {
    require_bed("ns");
    let root = tempfile::tempdir().unwrap();
    image::busybox_root(root.path());
    let dir = tempfile::tempdir().unwrap();
    for (index, point) in
        ["x=/", "x=/proc", "x=/a/../sys/fs", "x=/dev", "x=/dev/pts/0"].into_iter().enumerate()
    {
        let name = format!("example.com/over-{index}:1.0");
        let out = dir.path().join("over.aci");
        let out = out.to_str().unwrap();
        let words = ["image", "pack", root.path().to_str().unwrap(), "--name", &name];
        let more = ["--exec", "/bin/sh", "--mount", point, "--output", out];
        rocket(words.iter().chain(&more)).ok();
        rocket(["fetch", out]).ok();
        rocket(["run", &name]).ends_with(125).says(&["cannot mount volume \"x\""]);
    }
}

#[test]
fn kept_volumes_are_listed_exported_and_removed_when_nobody_has_them() {
    require_bed("ns");
    let name = "example.com/kept:1.0";
    image::add_busybox(name, &["/bin/sh"]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("keeps.toml");
    let script = "mkdir -p /data/d; echo x > /data/d/f; chown 33:34 /data/d/f; ln -sf f /data/d/l";
    let text = format!(
        "network = \"none\"\n[app.a]\nimage = \"{name}\"\n\
         exec = [\"/bin/sh\", \"-c\", \"{script}\"]\nmounts = {{ \"/data\" = \"v\" }}\n\
         [volume.v]\nkind = \"state\"\n"
    );
    fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();
    rocket(["run", "--rm", "--name", "keeps", "--file", file]).ok();
    let list = || {
        let text = rocket(["volume", "list", "--format=json"]).ok().stdout;
        let list: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
        list.into_iter().find(|volume| volume["pod"] == "keeps")
    };
    let volume = list().unwrap();
    assert_eq!((&volume["name"], &volume["used-by"]), (&"v".into(), &serde_json::json!([])));
    assert!(volume["bytes"].as_u64().unwrap() > 0);

    let tar = dir.path().join("v.tar");
    let tar = tar.to_str().unwrap();
    rocket(["volume", "export", "keeps/v", "--output", tar]).ok();
    let listed = run("tar", ["--numeric-owner", "-tvf", tar]).ok().stdout;
    assert!(listed.contains("33/34") && listed.contains(" ./d/l -> f"), "{listed}");
    let again = run("/bin/sh", ["-c", &format!("rocket volume export keeps/v | cmp - {tar}")]);
    again.ok();

    let uuid = rocket(["prepare", "--name", "keeps", "--file", file]).ok();
    assert_eq!(list().unwrap()["used-by"], serde_json::json!([uuid.text()]));
    rocket(["volume", "rm", "keeps/v"]).ends_with(125).says(&["keeps/v is used by", uuid.text()]);
    rocket(["rm", uuid.text()]).ok();
    for bad in ["keeps", "keeps/w", "../v", "keeps/.."] {
        rocket(["volume", "rm", bad]).ends_with(125);
    }
    rocket(["volume", "rm", "keeps/v"]).ok();
    assert!(list().is_none() && !Path::new("/var/lib/rocket/volumes/keeps").exists());
}
