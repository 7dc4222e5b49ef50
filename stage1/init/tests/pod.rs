//! Pods on the real kernel, without cgroups: life and death.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod kit;

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use kit::{TestPod, ask, can_run};
use rocket_plan::{AppExit, Cause, ExitPolicy, ExitRecord};
use rocket_sys::pidfd::Exit;

fn app_records(run: &kit::Running) -> Vec<AppExit> {
    let apps = run.records().into_iter().filter_map(|r| match r {
        ExitRecord::App(app) => Some(app),
        ExitRecord::Pod(_) => None,
    });
    apps.collect()
}

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

#[test]
fn what_cannot_be_executed_is_named() {
    if !can_run() {
        return;
    }
    let bin = |pod: &TestPod, name: &str, bytes: &[u8], mode: u32| {
        let path = pod.root.join("bin").join(name);
        std::fs::write(&path, bytes).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let dynamic = std::fs::read("/bin/ls").unwrap();
    let mut foreign = dynamic.clone();
    foreign[18] = 183;
    let cases: [(&str, &[u8], u32, i32, &str); 7] = [
        ("/bin/absent", b"", 0, 127, "/bin/absent: no such file"),
        ("absent", b"", 0, 127, "absent: no such program in PATH=/bin:/usr/bin"),
        ("/bin/dyn", &dynamic, 0o755, 126, "/lib64/ld-linux-x86-64.so.2"),
        ("/bin/script", b"#!/usr/bin/perl -w\n", 0o755, 126, "/usr/bin/perl is not in"),
        ("plain", b"hello", 0o644, 126, "not executable"),
        ("/bin/text", b"hello", 0o755, 126, "neither an ELF program nor"),
        ("/bin/arm", &foreign, 0o755, 126, "another machine (aarch64)"),
    ];
    for (program, bytes, mode, code, text) in cases {
        let mut pod = TestPod::new();
        if mode != 0 {
            bin(&pod, program.rsplit('/').next().unwrap(), bytes, mode);
        }
        pod.app("first", "sleep 100");
        pod.app("main", "").argv = vec![program.to_owned()];
        let mut run = pod.start();
        let line = run.line();
        assert!(line.starts_with(&format!("ERR {code} ")), "{line}");
        assert!(line.contains(text), "{line}");
        assert_eq!(run.wait(), Exit::Code(code));
        let records = app_records(&run);
        assert_eq!(records[0].cause, Cause::ExecFailed);
        assert!(records[0].message.as_ref().unwrap().contains(text));
        assert_eq!((records[1].app.as_str(), records[1].cause), ("first", Cause::PodEnding));
    }
}

#[test]
fn apps_stop_in_reverse_order_and_late_ones_are_killed() {
    if !can_run() {
        return;
    }
    let mut pod = TestPod::new();
    pod.app("a", "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.05; done");
    let b = pod.app("b", "trap '' TERM; echo up; while :; do sleep 0.05; done");
    b.stop_timeout_ms = 300;
    let c = pod.app("c", "trap 'exit 0' USR1; echo up; while :; do sleep 0.05; done");
    c.stop_signal = 10;
    let mut run = pod.start();
    run.ready();
    for app in ["a", "b", "c"] {
        run.until(app, "up");
    }
    let begun = Instant::now();
    run.say(b"s");
    assert_eq!(run.wait(), Exit::Code(137));
    assert!(begun.elapsed() >= Duration::from_millis(300));
    assert!(run.out("a").contains("bye"));
    let seen: Vec<_> =
        app_records(&run).into_iter().map(|a| (a.app, a.code, a.signal, a.cause)).collect();
    assert_eq!(
        seen,
        [
            ("c".to_owned(), Some(0), None, Cause::StopAsked),
            ("b".to_owned(), None, Some(9), Cause::Timeout),
            ("a".to_owned(), Some(3), None, Cause::StopAsked),
        ]
    );
    assert!(matches!(run.records().last(), Some(ExitRecord::Pod(p))
        if p.cause == Cause::StopAsked && p.boot_id == "boot"));
}

#[test]
fn the_end_of_the_front_end_stops_the_pod() {
    if !can_run() {
        return;
    }
    let mut pod = TestPod::new();
    pod.app("main", "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done");
    let mut run = pod.start();
    run.ready();
    run.until("main", "up");
    run.tether.get_ref().shutdown(std::net::Shutdown::Both).unwrap();
    assert_eq!(run.wait(), Exit::Code(0));
    assert!(run.out("main").contains("bye"));
}

#[test]
fn signals_stop_the_pod_and_others_do_not() {
    if !can_run() {
        return;
    }
    for number in [15, 23, 2, 1, 30] {
        let mut pod = TestPod::new();
        pod.app("main", "trap 'exit 0' TERM; echo up; while :; do sleep 0.05; done");
        let mut run = pod.start();
        run.ready();
        run.until("main", "up");
        for ignored in [10, 12, 18, 28, 3, 20, 11] {
            rocket_sys::signal::kill(run.pid(), ignored).unwrap();
        }
        std::thread::sleep(Duration::from_millis(50));
        rocket_sys::signal::kill(run.pid(), number).unwrap();
        assert_eq!(run.wait(), Exit::Code(0), "{number}");
        assert_eq!(app_records(&run)[0].cause, Cause::StopAsked);
    }
}

#[test]
fn kill_is_at_once() {
    if !can_run() {
        return;
    }
    let mut pod = TestPod::new();
    for app in ["a", "b"] {
        pod.app(app, "trap '' TERM; echo up; while :; do sleep 0.05; done");
    }
    let mut run = pod.start();
    run.ready();
    run.until("b", "up");
    let begun = Instant::now();
    run.say(b"k");
    assert_eq!(run.wait(), Exit::Code(137));
    assert!(begun.elapsed() < Duration::from_secs(2));
}

#[test]
fn orphans_are_reaped_and_leftovers_of_an_app_killed() {
    if !can_run() {
        return;
    }
    let mut pod = TestPod::new();
    pod.plan.exit_policy = ExitPolicy::AllDone;
    pod.app("short", "(sleep 300 &) ; (setsid sleep 301 &); sleep 302 & exit 0");
    // Leaves ten orphans that end; init must not keep them as zombies.
    pod.app("long", "for i in 1 2 3 4 5 6 7 8 9 10; do (sleep 0.1 &); done; sleep 1; ps -o stat,args; echo seen; sleep 100");
    let mut run = pod.start();
    run.ready();
    let out = run.until("long", "seen");
    assert!(!out.contains("\nZ"), "{out}");
    assert!(!out.contains("sleep 300") && !out.contains("sleep 302"), "{out}");
    run.say(b"k");
    run.wait();
}

#[test]
fn init_dies_and_everything_is_gone() {
    if !can_run() {
        return;
    }
    let mut pod = TestPod::new();
    pod.app("main", "echo up; sleep 12345");
    let mut run = pod.start();
    run.ready();
    run.until("main", "up");
    rocket_sys::signal::kill(run.pid(), 9).unwrap();
    assert_eq!(run.wait(), Exit::Signal(9));
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(run.dir.path().to_str().unwrap()));
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&line).contains("12345"));
    }
}

#[test]
fn plans_that_cannot_be_done_are_refused_by_name() {
    if !can_run() {
        return;
    }
    type Change = fn(&mut rocket_plan::PodPlan);
    let cases: [(Change, &str); 8] = [
        (|p| p.abi = 2, "ABI version 2"),
        (|p| p.features_required.push("vm".to_owned()), "\"vm\""),
        (
            |p| p.namespaces.user = Some(rocket_plan::IdMap { base: 100_000, count: 65536 }),
            "descriptor user-namespace is missing",
        ),
        (|p| p.apps.clear(), "no apps"),
        (|p| p.apps[0].name = "../x".to_owned(), "bad or repeated app name"),
        (|p| p.apps[0].working_directory = "x".to_owned(), "not an absolute path"),
        (
            |p| p.apps[0].capabilities.bounding = vec!["fly".to_owned()],
            "unknown capability \"fly\"",
        ),
        (|p| p.apps[0].root.upper = "nowhere".to_owned(), "descriptor nowhere is missing"),
    ];
    for (change, text) in cases {
        let mut pod = TestPod::new();
        pod.app("main", "true");
        change(&mut pod.plan);
        let run = pod.start();
        assert!(run.first.starts_with("ERR 125 ") && run.first.contains(text), "{}", run.first);
        assert_eq!(run.entry, Exit::Code(125));
    }
}

#[test]
fn what_fails_in_setup_is_told() {
    if !can_run() {
        return;
    }
    let mut pod = TestPod::new();
    pod.plan.sysctls.push(("net.ipv4.no_such_thing".to_owned(), "1".to_owned()));
    pod.app("main", "true");
    let mut run = pod.start();
    let line = run.line();
    assert!(
        line.starts_with(
            "ERR 125 cannot set sysctl net.ipv4.no_such_thing=1: this kernel has no such setting"
        ),
        "{line}"
    );
    assert_eq!(run.wait(), Exit::Code(125));
    assert!(matches!(&run.records()[..], [ExitRecord::Pod(p)] if p.cause == Cause::Setup));
    let mut pod = TestPod::new();
    pod.app("main", "true").working_directory = "/nowhere".to_owned();
    let mut run = pod.start();
    let line = run.line();
    assert!(line.starts_with("ERR 126 working directory /nowhere of app main"), "{line}");
}

#[test]
fn status_stop_and_bad_requests_over_the_control_socket() {
    if !can_run() {
        return;
    }
    let mut pod = TestPod::new();
    pod.app("main", "trap 'exit 0' TERM; echo up; while :; do sleep 0.05; done");
    let mut run = pod.start();
    run.ready();
    run.until("main", "up");
    let socket = run.connect();
    let status = ask(&socket, r#"{"op":"status"}"#, &[]);
    assert_eq!(status["ok"], true);
    assert_eq!(status["state"], "ready");
    assert_eq!(status["apps"][0]["name"], "main");
    assert_eq!(status["apps"][0]["state"], "running");
    for bad in ["", "{", "[]", r#"{"op":"x"}"#, r#"{"op":"signal","number":99999}"#, "\0\0"] {
        if !bad.is_empty() {
            let reply = ask(&socket, bad, &[]);
            assert_eq!(reply["ok"], false, "{bad}");
        }
    }
    let long = "x".repeat(130_000);
    assert_eq!(ask(&socket, &long, &[])["ok"], false);
    let reply = ask(&socket, r#"{"op":"enter","app":"nope","argv":["true"]}"#, &[]);
    assert!(reply["error"].as_str().unwrap().contains("no app called nope"));
    assert_eq!(ask(&socket, r#"{"op":"stop"}"#, &[])["ok"], true);
    assert_eq!(run.wait(), Exit::Code(0));
}
