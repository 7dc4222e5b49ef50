//! Where mounts land: inside the app's root, whatever links say, and never in what the host lends.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod kit;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use kit::{TestPod, can_run};
use rocket_plan::{Mount, MountSource};
use rocket_sys::pidfd::Exit;

/// A pod with a file or directory `from` at `target` of its one app.
fn mount(pod: &mut TestPod, from: &Path, target: &str, lent: bool) {
    let name = format!("v:{}", pod.plan.apps[0].mounts.len());
    let source = MountSource::Descriptor(pod.tree(&name, from));
    pod.plan.apps[0].mounts.push(Mount {
        source,
        target: target.to_owned(),
        read_only: false,
        nosuid: true,
        nodev: true,
        noexec: true,
        lent,
    });
}

fn runs(pod: TestPod) -> String {
    let mut run = pod.start();
    assert_eq!(run.line(), "READY");
    assert_eq!(run.wait(), Exit::Code(0), "{}", run.out("main"));
    run.out("main")
}

#[track_caller]
fn refused(pod: TestPod, words: &[&str]) {
    let mut run = pod.start();
    let line = run.line();
    assert!(line.starts_with("ERR 125"), "{line}");
    for word in words {
        assert!(line.contains(word), "no {word:?} in {line}");
    }
    assert_eq!(run.wait(), Exit::Code(125));
}

#[test]
fn a_target_that_is_a_symlink_lands_inside_the_root_and_missing_parents_are_0755() {
    if !can_run() {
        return;
    }
    let host = tempfile::tempdir().unwrap();
    fs::write(host.path().join("mark"), "volume").unwrap();
    let file = host.path().join("mark");
    let outside = tempfile::tempdir().unwrap();
    let mut pod = TestPod::new();
    let script = "cat /real/mark /dangling/at/mark /up/mark /odd/mark /x/y/z/mark /f/mark; \
                  cat /etc/one; echo; stat -c %a-%u /x /x/y /dangling; \
                  stat -c %F /replaced; ls '/a b:c,ä'";
    pod.app("main", script);
    let root = pod.root.clone();
    fs::create_dir(root.join("real")).unwrap();
    fs::create_dir(root.join("etc")).unwrap();
    fs::write(root.join("replaced"), "a file").unwrap();
    fs::write(root.join("f"), "a file").unwrap();
    let links: [(&str, String); 5] = [
        ("absolute", "/real".into()),
        ("climbing", "../../../../../up".into()),
        ("missing", "/dangling/at".into()),
        ("twice", "climbing/../odd".into()),
        ("out", format!("../../../..{}", outside.path().display())),
    ];
    for (name, target) in links {
        symlink(target, root.join(name)).unwrap();
    }
    for target in ["/absolute", "/climbing", "/missing", "/../x/y/z", "/f", "/out", "/replaced"] {
        mount(&mut pod, host.path(), target, false);
    }
    mount(&mut pod, host.path(), "/a b:c,ä", false);
    mount(&mut pod, host.path(), "/twice", false);
    mount(&mut pod, &file, "/etc/one", false);
    let out = runs(pod);
    let expected = "volumevolumevolumevolumevolumevolumevolume\n755-0\n755-0\n755-0\n\
                    directory\nmark\n";
    assert_eq!(out, expected);
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    assert!(!host.path().join("x").exists());
}

#[test]
fn a_target_that_loops_or_is_taken_or_the_kernels_is_refused() {
    if !can_run() {
        return;
    }
    let host = tempfile::tempdir().unwrap();
    fs::write(host.path().join("file"), "").unwrap();
    for (target, link, word) in [
        ("/loop", "loop", "too many symbolic links"),
        ("/link", "/", "hide the whole root"),
        ("/link", "/proc", "mounted there already"),
        ("/link", "/proc/sys", "below /proc or /sys"),
        ("/link", "/sys/kernel", "below /proc or /sys"),
        ("/link", "tmp", "mounted there already"),
        ("/link", "bin/busybox/x", "bin/busybox is not a directory"),
    ] {
        let mut pod = TestPod::new();
        pod.app("main", "true");
        symlink(link, pod.root.join(&target[1..])).unwrap();
        mount(&mut pod, host.path(), target, false);
        refused(pod, &[word, target, "main"]);
    }
    let mut pod = TestPod::new();
    pod.app("main", "true");
    mount(&mut pod, &host.path().join("file"), "/bin", false);
    refused(pod, &["/bin", "a directory is there"]);
}

#[test]
fn nothing_is_made_in_what_the_host_lends_and_planted_links_lead_nowhere() {
    if !can_run() {
        return;
    }
    let host = tempfile::tempdir().unwrap();
    let inner = tempfile::tempdir().unwrap();
    fs::write(inner.path().join("mark"), "inner").unwrap();
    fs::create_dir(host.path().join("there")).unwrap();

    // One that is there takes the mount.
    let mut pod = TestPod::new();
    pod.app("main", "cat /data/there/mark");
    mount(&mut pod, host.path(), "/data", true);
    mount(&mut pod, inner.path(), "/data/there", true);
    assert_eq!(runs(pod), "inner");

    let mut pod = TestPod::new();
    pod.app("main", "true");
    mount(&mut pod, host.path(), "/data", true);
    mount(&mut pod, inner.path(), "/data/missing/deep", true);
    refused(pod, &["data/missing is not there", "the host's"]);
    assert!(!host.path().join("missing").exists());

    // The pod's own is made, and an earlier life of the pod may have left anything in it
    // (CVE-2021-30465).
    let secret = tempfile::tempdir().unwrap();
    fs::set_permissions(secret.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for link in ["/", "../../../../../../..", "/proc/self/root", secret.path().to_str().unwrap()] {
        let state = tempfile::tempdir().unwrap();
        symlink(link, state.path().join("sub")).unwrap();
        let mut pod = TestPod::new();
        pod.app("main", "cat /data/sub/new/mark");
        mount(&mut pod, state.path(), "/data", false);
        mount(&mut pod, inner.path(), "/data/sub/new", false);
        assert_eq!(runs(pod), "inner", "{link}");
        assert_eq!(fs::read_dir(secret.path()).unwrap().count(), 0);
        assert!(!Path::new("/new").exists());
    }
}
