//! What an app sees of the world: its environment, its user, and the names of things.

use rocket_testkit::unit::Pod;
use rocket_testkit::{Command, image, require_bed, rocket};
use std::fs;

/// A line of `NAME=value` form.
fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
}

#[test]
fn of_five_levels_of_the_environment_the_last_wins_and_enter_sees_the_same() {
    require_bed("ns");
    let root = tempfile::tempdir().unwrap();
    image::busybox_root(root.path());
    let dir = tempfile::tempdir().unwrap();
    let aci = dir.path().join("levels.aci");
    let out = aci.to_str().unwrap();
    let words =
        ["image", "pack", root.path().to_str().unwrap(), "--name", "example.com/levels:1.0"];
    let more = ["--exec", "/bin/sh", "--output", out, "--env", "B=image", "--env", "C=image"];
    let last = ["--env", "D=image", "--env", "E=image"];
    rocket(words.iter().chain(&more).chain(&last)).ok();
    rocket(["fetch", out]).ok();
    let file = dir.path().join("variables");
    fs::write(&file, "# not one\nC=file\nD=file\nE=file\nF=a = b\n").unwrap();
    let pod = dir.path().join("levels.toml");
    let text = format!(
        "network = \"none\"\n[app.a]\nimage = \"example.com/levels:1.0\"\n\
         exec = [\"/bin/sh\", \"-c\", \"env; echo there; sleep 1000\"]\n\
         environment-files = [\"{}\"]\nenvironment = {{ D = \"pod\", E = \"pod\" }}\n",
        file.display()
    );
    fs::write(&pod, text).unwrap();
    let uuid = dir.path().join("uuid");
    let run = ["run", "--file", pod.to_str().unwrap(), "--env", "E=line", "--environment", "G=$A"];
    let save = ["--uuid-file-save", uuid.to_str().unwrap()];
    let started = Command::new("/usr/bin/rocket").args(run.iter().chain(&save)).start();
    rocket_testkit::wait_until("it runs", 20, || {
        rocket(["enter", "levels", "--", "/bin/true"]).code() == 0
    });
    let inside = rocket(["enter", "levels", "--", "/bin/env"]).ok();
    rocket(["stop", "levels"]).ok();
    let done = started.wait();
    for text in [&done.stdout, &inside.stdout] {
        for (name, expected) in [
            ("B", "image"),
            ("C", "file"),
            ("D", "pod"),
            ("E", "line"),
            ("F", "a = b"),
            ("G", "$A"),
            ("AC_APP_NAME", "a"),
            ("container", "rocket"),
        ] {
            assert_eq!(value(text, name), Some(expected), "{name} in {text}");
        }
        let uuid = fs::read_to_string(&uuid).unwrap();
        assert_eq!(value(text, "container_uuid"), Some(uuid.trim()), "{text}");
        assert!(value(text, "PATH").is_some() && value(text, "TERM").is_none(), "{text}");
        assert!(value(text, "HOME").is_none(), "of its starter: {text}");
    }
}

/// What `cat FILE` says in a pod started with `options`.
#[track_caller]
fn cat(options: &[&str], image: &str, file: &str) -> String {
    let more = [image, "--exec", "/bin/cat", "--", file];
    rocket(["run", "--rm"].iter().chain(options).chain(&more)).ok().stdout
}

#[test]
fn the_host_name_is_the_uuid_the_name_or_what_was_asked_for_everywhere() {
    require_bed("ns");
    image::add_busybox("example.com/hostname:1.0", &["/bin/sh", "-c"]);
    let script = "echo $container_uuid; hostname; cat /etc/hostname /etc/machine-id; \
                  grep 127.0.1.1 /etc/hosts; grep -w localhost /etc/hosts | wc -l";
    let look = |options: &[&str]| {
        let words = ["run", "--rm"].iter().chain(options);
        let done = rocket(words.chain(&["example.com/hostname:1.0", "--", script])).ok();
        done.stdout.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    for (options, name) in [
        (&[][..], None),
        (&["--name", "named"][..], Some("named")),
        (&["--name", "named", "--hostname", "db.example"][..], Some("db.example")),
    ] {
        let lines = look(options);
        let expected = name.map_or_else(|| format!("rocket-{}", lines[0]), str::to_owned);
        assert_eq!(lines[1..3], [expected.clone(), expected.clone()], "{options:?}");
        assert_eq!(lines[3], lines[0].replace('-', ""), "{options:?}");
        assert_eq!(lines[4..], [format!("127.0.1.1\t{expected}"), "2".to_owned()]);
    }
    rocket(["run", "--hostname", "a b", "example.com/hostname:1.0", "--", "true"])
        .ends_with(125)
        .says(&["--hostname", "is not a host name"]);
}

#[test]
fn resolv_conf_has_precisely_what_was_asked_for_and_host_is_a_copy() {
    require_bed("ns");
    let name = "example.com/dns:1.0";
    image::add_busybox(name, &["/bin/sh", "-c"]);
    let none = ["run", "--rm", name, "--", "cat /etc/resolv.conf"];
    rocket(none).ends_with(1).says(&["No such file"]);
    let own = [
        "--dns",
        "192.0.2.1",
        "--dns",
        "2001:db8::1",
        "--dns-search",
        "a.example",
        "--dns-search",
        "b.example",
        "--dns-opt",
        "ndots:2",
    ];
    assert_eq!(
        cat(&own, name, "/etc/resolv.conf"),
        "search a.example b.example\nnameserver 192.0.2.1\nnameserver 2001:db8::1\noptions ndots:2\n"
    );
    let domain = ["--dns-domain", "c.example", "--dns", "192.0.2.9"];
    let text = "domain c.example\nnameserver 192.0.2.9\n";
    assert_eq!(cat(&domain, name, "/etc/resolv.conf"), text);

    let hosts = fs::read_to_string("/etc/resolv.conf").ok();
    let odd = "# of the host\nnameserver 192.0.2.53\n\n";
    fs::write("/etc/resolv.conf", odd).unwrap();
    let copies = [&["--dns", "host"][..], &["--network", "host"]];
    let copies = copies.map(|options| cat(options, name, "/etc/resolv.conf"));
    let off =
        ["run", "--rm", "--network", "host", "--dns", "none", name, "--", "cat /etc/resolv.conf"];
    let off = rocket(off);
    match hosts {
        Some(text) => fs::write("/etc/resolv.conf", text).unwrap(),
        None => fs::remove_file("/etc/resolv.conf").unwrap(),
    }
    assert_eq!(copies, [odd, odd]);
    off.ends_with(1).says(&["No such file"]);
}

#[test]
fn hosts_of_an_image_or_a_volume_stay_and_entries_are_added_where_asked_for() {
    require_bed("ns");
    let (plain, own) = ("example.com/plain-hosts:1.0", "example.com/own-hosts:1.0");
    image::add_busybox(plain, &["/bin/sh", "-c"]);
    let root = tempfile::tempdir().unwrap();
    image::busybox_root(root.path());
    fs::write(root.path().join("etc/hosts"), "192.0.2.1 image\n").unwrap();
    image::add(root.path(), own, &["/bin/sh", "-c"]);

    assert_eq!(cat(&[], own, "/etc/hosts"), "192.0.2.1 image\n");
    let options = ["--hosts-entry", "192.0.2.7=db.internal", "--hosts-entry", "2001:db8::7=db6"];
    for image in [plain, own] {
        let text = cat(&options, image, "/etc/hosts");
        assert!(text.starts_with("127.0.0.1\tlocalhost\n"), "{text}");
        assert!(text.ends_with("\n192.0.2.7\tdb.internal\n2001:db8::7\tdb6\n"), "{text}");
    }
    let copy = cat(&["--hosts-entry", "host"], plain, "/etc/hosts");
    assert_eq!(copy, fs::read_to_string("/etc/hosts").unwrap());

    let volume = tempfile::tempdir().unwrap();
    let file = volume.path().join("hosts");
    fs::write(&file, "192.0.2.2 volume\n").unwrap();
    let pod = Pod::new(
        "own-hosts",
        &format!(
            "network = \"none\"\nhosts = {{ more = \"192.0.2.3\" }}\n[app.a]\nimage = \"{plain}\"\n\
             exec = [\"/bin/sh\", \"-c\", \"cat /etc/hosts; sleep 1000\"]\n\
             mounts = {{ \"/etc/hosts\" = \"hosts\" }}\n\
             [volume.hosts]\nkind = \"host\"\nsource = \"{}\"\n",
            file.display()
        ),
    );
    pod.start();
    pod.wait_for_line("192.0.2.2 volume");
}

#[test]
fn users_and_groups_go_by_name_number_and_owner_of_a_path() {
    require_bed("ns");
    let root = tempfile::tempdir().unwrap();
    image::busybox_root(root.path());
    let etc = root.path().join("etc");
    fs::write(etc.join("passwd"), "root:x:0:0::/:/bin/sh\nweb:x:33:34::/:/bin/sh\n").unwrap();
    fs::write(etc.join("group"), "root:x:0:\nweb:x:34:\nadm:x:4:web\nmail:x:8:web\n").unwrap();
    fs::write(root.path().join("owned"), "").unwrap();
    std::os::unix::fs::chown(root.path().join("owned"), Some(71), Some(72)).unwrap();
    let name = "example.com/users:1.0";
    image::add(root.path(), name, &["/bin/sh"]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("users.toml");
    let run = |keys: &str| {
        let text = format!(
            "network = \"none\"\n[app.a]\nimage = \"{name}\"\n\
             exec = [\"/bin/sh\", \"-c\", \"id -u; id -g; id -G\"]\n{keys}\n"
        );
        fs::write(&file, text).unwrap();
        rocket(["run", "--rm", "--file", file.to_str().unwrap()])
    };
    for (keys, expected) in [
        ("", "0\n0\n0\n"),
        ("user = \"web\"", "33\n34\n34 4 8\n"),
        ("user = 33", "33\n34\n34 4 8\n"),
        ("user = \"web\"\ngroup = \"adm\"", "33\n4\n4\n"),
        ("user = 1234\ngroup = \"mail\"", "1234\n8\n8\n"),
        ("user = \"/owned\"", "71\n72\n72\n"),
        ("user = \"web\"\ngroup = \"/owned\"", "33\n72\n72\n"),
        ("user = \"/owned\"\ngroup = 5", "71\n5\n5\n"),
        ("user = \"web\"\nsupplementary-groups = [\"mail\", \"99\"]", "33\n34\n34 8 99\n"),
        ("user = \"web\"\nsupplementary-groups = [\"mail\", 99]", "33\n34\n34 8 99\n"),
        ("user = \"web\"\nsupplementary-groups = []", "33\n34\n34\n"),
    ] {
        let done = run(keys).ok();
        assert_eq!(done.stdout, expected, "{keys}");
    }
    run("user = \"nobody\"").ends_with(125).says(&["no user \"nobody\"", "app \"a\""]);
    run("group = \"wheel\"").ends_with(125).says(&["no group \"wheel\""]);
    run("user = \"/none\"").ends_with(125).says(&["no file /none"]);
    run("supplementary-groups = [\"none\"]").ends_with(125).says(&["no group \"none\""]);
}

#[test]
fn a_working_directory_is_gone_to_and_a_missing_one_is_named() {
    require_bed("ns");
    let name = "example.com/directory:1.0";
    image::add_busybox(name, &["/bin/sh"]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("directory.toml");
    let run = |keys: &str| {
        let text = format!(
            "network = \"none\"\n[app.a]\nimage = \"{name}\"\n\
             exec = [\"/bin/sh\", \"-c\", \"pwd; echo x > here; echo $?\"]\n{keys}\n"
        );
        fs::write(&file, text).unwrap();
        rocket(["run", "--rm", "--file", file.to_str().unwrap()])
    };
    assert_eq!(run("").ok().stdout, "/\n0\n");
    assert_eq!(run("working-directory = \"/tmp\"").ok().stdout, "/tmp\n0\n");
    let read_only = run("working-directory = \"/var\"\nsecurity = { read-only = true }").ok();
    assert_eq!(read_only.stdout, "/var\n1\n");
    read_only.says(&["Read-only file system"]);
    run("working-directory = \"/nowhere\"").ends_with(126).says(&["/nowhere", "app a"]);
}
