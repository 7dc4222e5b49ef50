//! Who owns what, inside and outside, in any bed: its kernel decides what can be done.

use rocket_testkit::image;
use rocket_testkit::unit::Pod;
use rocket_testkit::{rocket, wait_until};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

const COUNT: u32 = 65_536;

/// An image with files of several owners and a set-uid program, which runs a shell script.
fn image(name: &str, script: &str) {
    let root = tempfile::tempdir().unwrap();
    image::busybox_root(root.path());
    let users = "root:x:0:0:root:/:/bin/sh\nuser:x:1000:1001:user:/:/bin/sh\n";
    std::fs::write(root.path().join("etc/passwd"), users).unwrap();
    for (file, uid, gid, mode) in
        [("etc/zero", 0, 0, 0o600), ("etc/mail", 8, 12, 0o640), ("etc/suid", 0, 0, 0o4755)]
    {
        let path = root.path().join(file);
        std::fs::copy("/bin/busybox", &path).unwrap();
        std::os::unix::fs::chown(&path, Some(uid), Some(gid)).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    image::add(root.path(), name, &["/bin/sh", "-c", script]);
}

fn owner(path: &Path) -> (u32, u32) {
    let found =
        std::fs::symlink_metadata(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    (found.uid(), found.gid())
}

/// The first id of a running pod, as its app sees it from inside and the kernel says it outside.
fn base(pod: &Pod) -> u32 {
    let map = std::fs::read_to_string(format!("/proc/{}/uid_map", pod.init())).unwrap();
    let words: Vec<u32> = map.split_whitespace().map(|word| word.parse().unwrap()).collect();
    assert_eq!((words[0], words[2]), (0, COUNT), "{map}");
    words[1]
}

/// Files written by uid 0 and uid 1000 in every kind of place.
pub fn files_belong_to_whom_they_should(host: &Path) {
    let name = "example.com/owners:1.0";
    image(
        name,
        "set -e; stat -c '%n %u:%g %a' / /etc/zero /etc/mail /etc/suid /etc/hosts
         for d in / /empty /state /plain /mapped; do
           echo root >$d/r; mkdir $d/d; echo own >$d/u; chown 1000:1001 $d/u
           mv $d/r $d/r2; ln $d/r2 $d/r; mknod $d/p p; rm $d/p
         done
         rm /etc/zero; chown 1000 /etc/mail; echo more >>/etc/mail; mv /etc/mail /etc/letter
         stat -c 'then %n %u:%g' /etc/letter /empty/u /state/u /plain/u /mapped/u /mapped/before
         stat -c 'nobody %u' /plain/before; mknod /n c 1 3 2>&1 || echo no node
         echo done; exec sleep 1000",
    );
    for dir in ["plain", "mapped"] {
        let dir = host.join(dir);
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o777)).unwrap();
        std::fs::write(dir.join("before"), "").unwrap();
        std::os::unix::fs::chown(dir.join("before"), Some(7), Some(7)).unwrap();
    }
    let text = format!(
        "version = 1\nnetwork = \"none\"\n[app.main]\nimage = \"{name}\"\n\
         mounts = {{ \"/empty\" = \"e\", \"/state\" = \"s\", \"/plain\" = \"p\", \"/mapped\" = \"m\" }}\n\
         [volume.e]\nkind = \"empty\"\n[volume.s]\nkind = \"state\"\n\
         [volume.p]\nkind = \"host\"\nsource = \"{0}/plain\"\nidmap = false\n\
         [volume.m]\nkind = \"host\"\nsource = \"{0}/mapped\"\n[unit]\nrestart = \"no\"\n",
        host.display()
    );
    let pod = Pod::new("owners", &text);
    pod.start();
    pod.wait_for_line("done");
    for line in [
        "/ 0:0 755",
        "/etc/zero 0:0 600",
        "/etc/mail 8:12 640",
        "/etc/suid 0:0 4755",
        "/etc/hosts 0:0 644",
        "then /etc/letter 1000:12",
        "then /empty/u 1000:1001",
        "then /state/u 1000:1001",
        "then /plain/u 1000:1001",
        "then /mapped/u 1000:1001",
        "then /mapped/before 7:7",
        "nobody 65534",
        "no node",
    ] {
        pod.wait_for_line(line);
    }
    let base = base(&pod);
    assert!((524_288..=1_879_048_191 - (COUNT - 1)).contains(&base) && base.is_multiple_of(COUNT));
    let status = rocket(["status", "--format=json", "owners"]).ok();
    let status: serde_json::Value = serde_json::from_str(&status.stdout).unwrap();
    let dir = Path::new("/var/lib/rocket/pods/run").join(status["uuid"].as_str().unwrap());
    let upper = dir.join("apps/main/upper");
    let shifted = |id: u32| base + id;
    for (path, expected) in [
        (upper.join("r"), (shifted(0), shifted(0))),
        (upper.join("u"), (shifted(1000), shifted(1001))),
        (upper.join("etc/letter"), (shifted(1000), shifted(12))),
        (dir.join("volumes/e/r"), (0, 0)),
        (dir.join("volumes/e/u"), (1000, 1001)),
        ("/var/lib/rocket/volumes/owners/s/u".into(), (1000, 1001)),
        (host.join("plain/r"), (shifted(0), shifted(0))),
        (host.join("plain/u"), (shifted(1000), shifted(1001))),
        (host.join("mapped/r"), (0, 0)),
        (host.join("mapped/u"), (1000, 1001)),
        (host.join("mapped/d"), (0, 0)),
    ] {
        assert_eq!(owner(&path), expected, "{}", path.display());
    }
    // The name has the range now: its next instance, with the same state, has the same one.
    pod.systemctl("stop").ok();
    std::fs::remove_dir_all(host).unwrap();
    std::fs::create_dir_all(host.join("plain")).unwrap();
    std::fs::create_dir_all(host.join("mapped")).unwrap();
    let entry = Path::new("/var/lib/rocket/ids").join(base.to_string());
    assert_eq!(std::fs::read_link(&entry).unwrap(), Path::new("name:owners"));
    rocket(["gc", "--all", "--grace-period=0"]).ok();
    assert_eq!(std::fs::read_link(&entry).unwrap(), Path::new("name:owners"));
    drop(pod);
    std::fs::remove_dir_all("/var/lib/rocket/volumes/owners").unwrap();
    wait_until("the range is free when pods and volumes are gone", 20, || {
        rocket(["gc", "--all", "--grace-period=0"]).ok();
        !entry.is_symlink()
    });
}

/// A source whose file system has no id maps is refused by its name, and runs without.
pub fn what_cannot_be_mapped_is_refused_by_name(source: &Path, kind: &str) {
    let name = "example.com/unmapped:1.0";
    image(name, "test -e /there && echo done; exec sleep 1000");
    let text = |extra: &str| {
        format!(
            "version = 1\nnetwork = \"none\"\n[app.main]\nimage = \"{name}\"\n\
             mounts = {{ \"/there\" = \"v\" }}\n[volume.v]\nkind = \"host\"\nsource = \"{}\"\n\
             {extra}[unit]\nrestart = \"no\"\n",
            source.display()
        )
    };
    let pod = Pod::new("unmapped", &text(""));
    assert_ne!(pod.systemctl("start").code(), 0);
    let says = |words: &[&str]| {
        wait_until(&format!("{words:?} in the journal"), 20, || {
            let journal = pod.journal();
            let lines = journal.iter().filter_map(|entry| entry["MESSAGE"].as_str());
            lines.into_iter().any(|line| words.iter().all(|word| line.contains(word)))
        });
    };
    says(&["volume \"v\"", &source.display().to_string(), kind, "volume.v.idmap = false"]);
    pod.systemctl("reset-failed");
    pod.write(&text("idmap = false\n"));
    pod.start();
    pod.wait_for_line("done");
    pod.systemctl("stop").ok();
    pod.write(&text("[security]\nuser-namespace = false\n"));
    pod.start();
    let map = std::fs::read_to_string(format!("/proc/{}/uid_map", pod.init())).unwrap();
    assert_eq!(map.split_whitespace().collect::<Vec<_>>(), ["0", "0", "4294967295"]);
    let status = rocket(["status", "unmapped"]).ok();
    assert!(status.stdout.contains("security.user-namespace = false"), "{status}");
    says(&["security.user-namespace = false"]);
}
