//! Handlers on the real kernel, without cgroups.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod kit;

use kit::{TestPod, can_run};
use rocket_plan::{Cause, ExitRecord};
use rocket_sys::pidfd::Exit;

fn shell(script: &str) -> Option<Vec<String>> {
    Some(["/bin/sh", "-c", script].map(str::to_owned).to_vec())
}

#[test]
fn handlers_run_as_root_around_an_app_of_another_user() {
    if !can_run() {
        return;
    }
    let mut pod = TestPod::new();
    let app = pod.app("main", "echo main $(id -u); exit 4");
    (app.uid, app.gid, app.groups) = (33, 34, vec![35]);
    app.pre_start = shell("echo before $(id -u) $(id -G) $HOME");
    app.post_stop = shell("echo after $(id -u); exit 1");
    let mut run = pod.start();
    assert_eq!(run.line(), "READY");
    assert_eq!(run.wait(), Exit::Code(4));
    assert_eq!(run.out("main"), "before 0 0 /\nmain 33\nafter 0\n");
    let records = run.records();
    let Some(ExitRecord::App(app)) = records.first() else { panic!("{records:?}") };
    assert_eq!((app.code, app.cause), (Some(4), Cause::Exited));
    assert_eq!(app.message.as_deref(), Some("its post-stop handler exited with 1"));
}

#[test]
fn what_pre_start_fails_with_is_the_apps_end_and_nothing_starts() {
    if !can_run() {
        return;
    }
    let mut pod = TestPod::new();
    let app = pod.app("main", "echo main");
    app.pre_start = shell("exit 3");
    app.post_stop = shell("echo after");
    let mut run = pod.start();
    assert_eq!(run.line(), "ERR 3 app main: its pre-start handler exited with 3");
    assert_eq!(run.wait(), Exit::Code(3));
    assert_eq!(run.out("main"), "");
    let records = run.records();
    let Some(ExitRecord::App(app)) = records.first() else { panic!("{records:?}") };
    assert_eq!((app.code, app.cause), (Some(3), Cause::PreStart));

    let mut pod = TestPod::new();
    pod.app("main", "echo main").pre_start = Some(vec!["/no/such".to_owned()]);
    let mut run = pod.start();
    let line = run.line();
    assert!(line.starts_with("ERR 127 pre-start: ") && line.contains("/no/such"), "{line}");
    assert_eq!(run.wait(), Exit::Code(127));
}

#[test]
fn a_stop_ends_a_handler_too() {
    if !can_run() {
        return;
    }
    let mut pod = TestPod::new();
    let app = pod.app("main", "echo main");
    app.pre_start = shell("echo up; exec sleep 1000");
    let run = pod.start();
    run.until("main", "up");
    run.say(b"s");
    assert_eq!(run.wait(), Exit::Code(143));
    assert_eq!(run.out("main"), "up\n");
}
