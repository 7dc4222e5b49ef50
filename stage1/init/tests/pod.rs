//! Pods on the real kernel, without cgroups.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod kit;

use kit::{TestPod, can_run};
use rocket_plan::{Cause, ExitRecord};
use rocket_sys::pidfd::Exit;

#[test]
fn the_exit_code_is_the_apps() {
    if !can_run() {
        return;
    }
    for (script, code) in [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137)] {
        let mut pod = TestPod::new();
        pod.app("main", script);
        let mut run = pod.start();
        assert_eq!(run.entry, Exit::Code(0), "{}", run.first);
        run.ready();
        assert_eq!(run.wait(), Exit::Code(code), "{}", run.out("main"));
        let records = run.records();
        assert_eq!(records.len(), 2);
        assert!(matches!(&records[0], ExitRecord::App(a)
            if a.status() == code && a.cause == Cause::Exited && a.ended_ms >= a.started_ms));
        assert!(matches!(&records[1], ExitRecord::Pod(p) if p.status == code));
    }
}
