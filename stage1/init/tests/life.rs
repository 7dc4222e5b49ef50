//! The lives of apps in one pod: order, restarts, one-shots, and what is on record of them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod kit;

use kit::{Running, TestPod, ask, can_run};
use rocket_plan::{AppExit, Cause, ExitPolicy, ExitRecord, Kind, Restart, RestartRules};
use rocket_sys::pidfd::Exit;

const RULES: RestartRules =
    RestartRules { delay_ms: 50, max_delay_ms: 200, limit_count: 3, limit_window_ms: 60_000 };
const LASTING: &str = "trap 'exit 0' TERM; echo up; while :; do sleep 0.02; done";

fn ends(run: &Running) -> Vec<AppExit> {
    let app = |record| match record {
        ExitRecord::App(app) => Some(app),
        ExitRecord::Pod(_) => None,
    };
    run.records().into_iter().filter_map(app).collect()
}

#[test]
fn a_crash_loop_is_restarted_in_its_own_root_and_then_fails_the_pod() {
    if !can_run() {
        return;
    }
    let mut pod = TestPod::new();
    pod.app("steady", LASTING);
    // Its file system is the same each time, its output goes on, and nothing of it is left.
    let script = "echo run >> /runs; wc -l < /runs; ps -o comm,args | grep -c '^sleep.*333'; \
                  (sleep 333 &); sleep 0.05; exit 9";
    pod.app("loop", script).restart = Restart::OnFailure(RULES);
    let mut run = pod.start();
    run.ready();
    for count in ["50ms", "100ms", "200ms"] {
        assert_eq!(run.line(), format!("NOTE app loop: exited with 9, starts again in {count}"));
    }
    let last = run.line();
    let limit = "exited with 9, not started again: 3 restarts within 1min were the limit";
    assert_eq!(last, format!("NOTE app loop: {limit}"));
    assert_eq!(run.wait(), Exit::Code(9));
    assert_eq!(run.out("loop"), "1\n0\n2\n0\n3\n0\n4\n0\n");
    let ends = ends(&run);
    let restarts: Vec<_> = ends.iter().map(|e| (e.app.as_str(), e.restarts, e.code)).collect();
    let of_loop = |n| ("loop", n, Some(9));
    let steady = ("steady", 0, Some(0));
    assert_eq!(restarts, [of_loop(0), of_loop(1), of_loop(2), of_loop(3), steady]);
    assert_eq!(ends[4].cause, Cause::PodEnding);
    for (pair, pause) in ends.windows(2).zip([50, 100, 200]) {
        let took = pair[1].started_ms - pair[0].ended_ms;
        // Whole milliseconds of two clocks, and a machine that may be busy.
        assert!((pause - 2..pause + 2000).contains(&took), "{took} instead of {pause}");
    }
}

#[test]
fn what_comes_after_a_one_shot_waits_for_it_and_so_does_readiness() {
    if !can_run() {
        return;
    }
    let mut pod = TestPod::new();
    pod.app("migrate", "sleep 0.3; echo done").kind = Kind::Oneshot;
    pod.app("api", LASTING).requires = vec!["migrate".to_owned()];
    let mut run = pod.start();
    let socket = run.connect();
    let status = ask(&socket, r#"{"op":"status"}"#, &[]);
    assert_eq!(status["state"], "starting", "{status}");
    assert_eq!(status["apps"][1]["state"], "waiting", "{status}");
    assert_eq!(run.out("api"), "");
    run.ready();
    run.until("api", "up");
    assert_eq!(run.out("migrate"), "done\n");
    let status = ask(&socket, r#"{"op":"status"}"#, &[]);
    assert_eq!(status["apps"][0]["state"], "ended", "{status}");
    assert_eq!(status["apps"][0]["exit"]["code"], 0, "{status}");
    run.say(b"s");
    assert_eq!(run.wait(), Exit::Code(0));
    let ends = ends(&run);
    assert!(ends[1].started_ms >= ends[0].ended_ms);
}

#[test]
fn a_failed_one_shot_fails_what_requires_it() {
    if !can_run() {
        return;
    }
    let mut pod = TestPod::new();
    pod.plan.exit_policy = ExitPolicy::AllDone;
    pod.app("migrate", "sleep 0.1; exit 4").kind = Kind::Oneshot;
    pod.app("api", LASTING).requires = vec!["migrate".to_owned()];
    pod.app("log", "echo log").after = vec!["migrate".to_owned()];
    let mut run = pod.start();
    let text = "not started: migrate, which it requires, has ended";
    assert_eq!(run.line(), format!("NOTE app api: {text}"));
    run.ready();
    assert_eq!(run.wait(), Exit::Code(4));
    assert_eq!((run.out("api").as_str(), run.out("log").as_str()), ("", "log\n"));
    let ends = ends(&run);
    assert_eq!((ends[1].app.as_str(), ends[1].cause), ("api", Cause::Dependency));
    assert_eq!((ends[1].code, ends[1].signal), (None, None));
    assert_eq!(ends[1].message.as_deref(), Some(text));
}

#[test]
fn one_app_is_restarted_over_the_control_socket() {
    if !can_run() {
        return;
    }
    let mut pod = TestPod::new();
    pod.app("a", LASTING);
    pod.app("b", LASTING);
    let mut run = pod.start();
    run.ready();
    run.until("a", "up");
    run.until("b", "up");
    let socket = run.connect();
    let before = ask(&socket, r#"{"op":"status"}"#, &[]);
    assert_eq!(ask(&socket, r#"{"op":"restart","app":"b"}"#, &[])["ok"], true);
    run.until("b", "up\nup\n");
    let status = ask(&socket, r#"{"op":"status"}"#, &[]);
    assert_eq!(status["apps"][1]["restarts"], 1, "{status}");
    assert_eq!(status["apps"][0]["pid"], before["apps"][0]["pid"], "{status}");
    assert_ne!(status["apps"][1]["pid"], before["apps"][1]["pid"], "{status}");
    for (request, why) in [
        (r#"{"op":"restart"}"#, "several apps"),
        (r#"{"op":"restart","app":"c"}"#, "no app called c"),
    ] {
        let reply = ask(&socket, request, &[]);
        assert!(reply["error"].as_str().unwrap().contains(why), "{reply}");
    }
    run.say(b"s");
    assert_eq!(run.wait(), Exit::Code(0));
    let seen: Vec<_> = ends(&run).into_iter().map(|e| (e.app, e.restarts, e.cause)).collect();
    let stopped = |app: &str, restarts| (app.to_owned(), restarts, Cause::StopAsked);
    assert_eq!(seen, [stopped("b", 0), stopped("b", 1), stopped("a", 0)]);
}

#[test]
fn plans_with_an_impossible_order_are_refused() {
    if !can_run() {
        return;
    }
    type Change = fn(&mut rocket_plan::PodPlan);
    let cases: [(Change, &str); 4] = [
        (|p| p.apps[0].after = vec!["b".to_owned()], "app a waits for \"b\", no app before it"),
        (|p| p.apps[1].requires = vec!["b".to_owned()], "app b waits for \"b\""),
        (|p| p.apps[1].requires = vec!["x".to_owned()], "app b waits for \"x\""),
        (
            |p| {
                p.apps[0].kind = Kind::Oneshot;
                p.apps[0].restart = Restart::Always(RULES);
            },
            "would never be done",
        ),
    ];
    for (change, text) in cases {
        let mut pod = TestPod::new();
        pod.app("a", "true");
        pod.app("b", "true");
        change(&mut pod.plan);
        let run = pod.start();
        assert!(run.first.contains(text), "{}", run.first);
    }
}
