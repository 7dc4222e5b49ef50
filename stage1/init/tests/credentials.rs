//! Credentials: each app has its own, from memory, and nobody else does.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod kit;

use kit::{TestPod, can_run};
use rocket_plan::{Credential, ExitPolicy, Mount, MountSource, Restart, RestartRules};
use rocket_sys::fds::sealed_memfd;
use rocket_sys::pidfd::Exit;

fn give(pod: &mut TestPod, app: usize, names: &[&str]) {
    let credential = |name: &&str| Credential {
        name: (*name).to_owned(),
        descriptor: format!("credential:{name}"),
    };
    let app = &mut pod.plan.apps[app];
    app.mounts.push(Mount {
        source: MountSource::Credentials(names.iter().map(credential).collect()),
        target: format!("/run/credentials/{}", app.name),
        read_only: true,
        nosuid: true,
        nodev: true,
        noexec: true,
        lent: false,
    });
}

fn memory(pod: &mut TestPod, name: &str, bytes: &[u8]) {
    pod.descriptor(&format!("credential:{name}"), sealed_memfd(name, bytes).unwrap());
}

/// Three apps: one that starts again, one of another user, one without any.
fn three(user_namespace: bool) {
    let mut pod = TestPod::new();
    let script = "cd /run/credentials/one; cat both mine; stat -c '%a %u %g' . both; \
                  ls /run/credentials; echo x 2>/dev/null > both || echo refused; \
                  touch new 2>/dev/null || echo refused; \
                  test -e /again && exit 0; touch /again; exit 1";
    pod.app("one", script).restart = Restart::OnFailure(RestartRules {
        delay_ms: 1,
        max_delay_ms: 1,
        limit_count: 1,
        limit_window_ms: 60_000,
    });
    let script = "cd /run/credentials/two; cat both; ls; stat -c '%a %u %g' . both";
    let two = pod.app("two", script);
    (two.uid, two.gid) = (7, 8);
    pod.app("three", "test -e /run/credentials || echo none");
    memory(&mut pod, "both", b"for both\n");
    memory(&mut pod, "mine", b"for one\n");
    give(&mut pod, 0, &["both", "mine"]);
    give(&mut pod, 1, &["both"]);
    pod.plan.exit_policy = ExitPolicy::AllDone;
    if user_namespace {
        pod.user_namespace(1_000_000_000);
    }
    let run = pod.start();
    assert_eq!(run.wait(), Exit::Code(0), "{} {}", run.first, run.out("one"));
    let once = "for both\nfor one\n500 0 0\n400 0 0\none\nrefused\nrefused\n";
    assert_eq!(run.out("one"), once.repeat(2));
    assert_eq!(run.out("two"), "for both\nboth\n500 7 8\n400 7 8\n");
    assert_eq!(run.out("three"), "none\n");
}

#[test]
fn each_app_has_its_own_also_after_a_restart_and_nothing_can_be_written() {
    if can_run() {
        three(false);
    }
}

#[test]
fn in_a_user_namespace_they_belong_to_the_apps_user_inside() {
    if can_run() {
        three(true);
    }
}

#[test]
fn they_lie_in_memory_that_is_not_swapped_and_cannot_be_executed() {
    if !can_run() {
        return;
    }
    let mut pod = TestPod::new();
    pod.app("one", "grep /run/credentials/one /proc/self/mounts");
    memory(&mut pod, "a", b"b");
    give(&mut pod, 0, &["a"]);
    let run = pod.start();
    assert_eq!(run.wait(), Exit::Code(0), "{}", run.out("one"));
    let out = run.out("one");
    for word in [" ro,", "nosuid", "nodev", "noexec"] {
        assert!(out.contains(word), "{word}: {out}");
    }
    let swapped = out.contains(" tmpfs ") && !out.contains("noswap");
    assert!(!swapped, "{out}");
}

#[test]
fn what_is_too_large_is_refused_by_name_and_without_its_content() {
    if !can_run() {
        return;
    }
    let mut pod = TestPod::new();
    pod.app("one", "exit 0");
    memory(&mut pod, "fits", &vec![b'q'; 1 << 19]);
    memory(&mut pod, "not", &vec![b'q'; (1 << 19) + 1]);
    give(&mut pod, 0, &["fits", "not"]);
    let mut run = pod.start();
    let line = run.line();
    assert!(line.starts_with("ERR 125") && line.contains("credential not is too large"), "{line}");
    assert!(!line.contains("qqq"), "{line}");
    assert_eq!(run.wait(), Exit::Code(125));
}
