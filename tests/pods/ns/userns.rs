//! User namespaces on the build machine's kernel.

use crate::owners;
use rocket_testkit::unit::Pod;
use rocket_testkit::{image, require_bed, rocket, run};
use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::path::Path;

#[test]
fn files_belong_to_whom_they_should() {
    require_bed("ns");
    owners::files_belong_to_whom_they_should(Path::new("/var/lib/rocket/test-owners"));
}

#[test]
fn what_cannot_be_mapped_is_refused_by_name() {
    require_bed("ns");
    // The bed's root is an overlay.
    owners::what_cannot_be_mapped_is_refused_by_name(Path::new("/usr/share"), "overlay");
}

#[test]
fn many_prepared_at_once_never_share_ids_and_give_them_back() {
    require_bed("ns");
    image::add_busybox("example.com/many:1.0", &["/bin/true"]);
    let makers: Vec<_> = (0..16)
        .map(|_| {
            std::thread::spawn(|| {
                let prepare = || rocket(["prepare", "example.com/many:1.0"]).ok().text().to_owned();
                [prepare(), prepare()]
            })
        })
        .collect();
    let pods: Vec<String> = makers.into_iter().flat_map(|maker| maker.join().unwrap()).collect();
    let base = |uuid: &String| {
        let note = Path::new("/var/lib/rocket/pods/prepared").join(uuid).join("ids");
        std::fs::read_link(note).unwrap()
    };
    let bases: BTreeSet<_> = pods.iter().map(base).collect();
    assert_eq!(bases.len(), 32);
    let entries =
        || bases.iter().filter(|base| Path::new("/var/lib/rocket/ids").join(base).is_symlink());
    assert_eq!(entries().count(), 32);
    rocket(["run-prepared", "--rm", &pods[0]]).ok();
    assert_eq!(entries().count(), 31);
    for uuid in &pods[1..] {
        rocket(["rm", uuid]).ok();
    }
    assert_eq!(entries().count(), 0);
}

#[test]
fn root_inside_is_not_root_outside() {
    require_bed("ns");
    image::add_busybox("example.com/inside:1.0", &["/bin/sleep", "1000"]);
    let pod = Pod::new(
        "inside",
        "version = 1\nnetwork = \"host\"\n[app.main]\nimage = \"example.com/inside:1.0\"\n",
    );
    pod.start();
    let enter = |script: &str| rocket(["enter", "inside", "--", "/bin/sh", "-c", script]);
    assert_eq!(enter("id -u").ok().text(), "0");
    // What the host's root owns is nobody's, and init is out of reach.
    assert_ne!(enter("cat /proc/1/environ").code(), 0);
    assert_ne!(enter("ls /proc/1/fd").code(), 0);
    assert_ne!(enter("nc -l -p 81 -w 1").code(), 0);
    let uid = run("stat", ["-c", "%u", &format!("/proc/{}/environ", pod.init())]).ok();
    assert_eq!(uid.text(), "0", "not dumpable: the host's root's");
    let status = std::fs::read_to_string(format!("/proc/{}/status", pod.init())).unwrap();
    let map = std::fs::read_to_string(format!("/proc/{}/uid_map", pod.init())).unwrap();
    let base = map.split_whitespace().nth(1).unwrap();
    assert!(status.contains(&format!("Uid:\t{base}\t{base}\t{base}\t{base}")), "{status}");
    // And what it uses up of the kernel's things for each user is not the host's root's share.
    let user = std::fs::File::open(format!("/proc/{}/ns/user", pod.init())).unwrap();
    assert_eq!(rocket_sys::userns::owner(user.as_fd()).unwrap().to_string(), base);
}

/// A program with a set-uid bit and one with a file capability, run as uid 1000 by root of the pod.
const SET_UID: &str =
    "cp /usr/bin/id /tmp/id && chmod 4755 /tmp/id && cp /usr/bin/id /vol/id && chmod 4755 /vol/id
as_user='setpriv --reuid=1000 --regid=1000 --clear-groups --'
echo $($as_user /usr/bin/id -u) $($as_user /tmp/id -u) $($as_user /vol/id -u)";

#[test]
fn set_uid_counts_inside_only_where_new_privileges_are_allowed_and_on_no_volume() {
    require_bed("ns");
    let root = rocket_testkit::target_dir().join("roots/debian");
    image::add(&root, "example.com/set-uid:1.0", &["/bin/sh"]);
    for (allowed, expected) in [(false, "1000 1000 1000"), (true, "1000 0 1000")] {
        let dir = tempfile::tempdir_in("/etc/rocket").unwrap();
        let file = dir.path().join("set-uid.toml");
        let text = format!(
            "network = \"none\"\n[app.main]\nimage = \"example.com/set-uid:1.0\"\n\
             exec = [\"/bin/sh\", \"-c\", \"\"\"\n{SET_UID}\"\"\"]\nmounts = {{ \"/vol\" = \"vol\" }}\n\
             security = {{ no-new-privileges = {} }}\n[volume.vol]\nkind = \"empty\"\n",
            !allowed
        );
        std::fs::write(&file, text).unwrap();
        let done = rocket(["run", "--rm", "-f", file.to_str().unwrap()]).ok();
        assert_eq!(done.stdout.trim(), expected, "{done}");
    }
}

#[test]
fn nothing_of_a_pod_with_several_apps_is_mounted_on_the_host() {
    require_bed("ns");
    let mounts = || std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let of_root = |line: &&str| line.split(' ').nth(4) == Some("/");
    let root = mounts().lines().rfind(of_root).unwrap_or_default().to_owned();
    assert!(
        root.contains(" shared:"),
        "as systemd has it on a host, else this shows nothing: {root}"
    );
    image::add_busybox("example.com/several:1.0", &["/bin/true"]);
    let file = Path::new("/run/several.toml");
    let app = |name| format!("[app.{name}]\nimage = \"example.com/several:1.0\"\n");
    let apps = ["a", "b", "c"].map(app).concat();
    std::fs::write(file, format!("version = 1\nnetwork = \"none\"\n{apps}")).unwrap();
    let point = |line: &str| line.split(' ').nth(4).unwrap_or_default().to_owned();
    let stored = |line: &&str| point(line).starts_with("/var/lib/rocket/");
    let over = std::sync::atomic::AtomicBool::new(false);
    let seen = std::thread::scope(|scope| {
        // Between the roots of the apps and the pivot is not long: one look after another.
        let watch = scope.spawn(|| {
            let mut seen = BTreeSet::new();
            while !over.load(std::sync::atomic::Ordering::Relaxed) {
                seen.extend(mounts().lines().filter(stored).map(str::to_owned));
            }
            seen
        });
        for _ in 0..20 {
            rocket(["run", "--rm", "-f", "/run/several.toml"]).ok();
        }
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        watch.join().unwrap()
    });
    // While one is there, no other pod can map that layer: EPERM.
    assert!(seen.is_empty(), "{seen:?}");
}

#[test]
fn a_port_that_no_app_can_bind_is_told_of_at_the_start() {
    require_bed("ns");
    image::add_busybox("example.com/low:1.0", &["/bin/true"]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("low.toml");
    let run = |port: u16, more: &str| {
        let text = format!(
            "network = \"host\"\n[app.a]\nimage = \"example.com/low:1.0\"\n\
             [port.web]\napp = \"a\"\nport = {port}\n{more}"
        );
        std::fs::write(&file, text).unwrap();
        rocket(["run", "--rm", "--file", file.to_str().unwrap()]).ok()
    };
    run(80, "").says(&["warning: port 80 (port.web)", "user namespace", "activation = true"]);
    for (port, more) in [(8080, ""), (80, "[security]\nuser-namespace = false\n")] {
        let done = run(port, more);
        assert!(!done.stderr.contains("port.web"), "{done}");
    }
}
