//! The life of the apps of a pod: order, one-shots, restarts, and the death of one of them.

use rocket_plan::{AppExit, Cause, ExitRecord, PodExit, decode_records};
use rocket_testkit::unit::Pod;
use rocket_testkit::{image, require_bed, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::path::{Path, PathBuf};

const IMAGE: &str = "example.com/life:1.0";
/// Ends when it is asked to, after saying so.
const POLITE: &str = "trap 'echo stopping; exit 0' TERM; echo started; \
                      while :; do sleep 0.05; done";

/// db ← migrate (one-shot) ← api ← web, and side by itself; `more` is added to every service.
fn five(name: &str, db: &str, side: &str, more: &str) -> Pod {
    image::add_busybox(IMAGE, &["/bin/sh"]);
    let app = |name: &str, script: &str, keys: &str| {
        format!(
            "[app.{name}]\nimage = \"{IMAGE}\"\nexec = [\"/bin/sh\", \"-c\", '''{script}''']\n{keys}\n"
        )
    };
    let text = [
        "version = 1\nnetwork = \"none\"\n".to_owned(),
        // In an order of writing that is not the order of starting.
        app("web", POLITE, &format!("requires = [\"api\"]\n{more}")),
        app("api", POLITE, &format!("requires = [\"db\", \"migrate\"]\n{more}")),
        app(
            "migrate",
            "echo started; sleep 1; echo done",
            "kind = \"oneshot\"\nrequires = [\"db\"]",
        ),
        app("db", db, &format!("stop-timeout = \"1s\"\n{more}")),
        app("side", side, more),
        "[unit]\nrestart = \"no\"\n".to_owned(),
    ];
    Pod::new(name, &text.concat())
}

/// The pod directory of the pod's last start.
fn directory(name: &str) -> PathBuf {
    let named = |dir: &Path| {
        let meta = std::fs::read(dir.join("meta.json")).ok()?;
        let meta: Value = serde_json::from_slice(&meta).ok()?;
        (meta["name"] == name).then(|| dir.metadata().ok()?.created().ok()).flatten()
    };
    let entries = std::fs::read_dir("/var/lib/rocket/pods/run").unwrap().flatten();
    let found = entries.filter_map(|e| Some((named(&e.path())?, e.path())));
    found.max_by_key(|(time, _)| *time).expect("the pod has a directory").1
}

/// What is on record: the ends of apps, and that of the pod.
fn record(name: &str) -> (Vec<AppExit>, Option<PodExit>) {
    let bytes = std::fs::read(directory(name).join("exit")).unwrap();
    let (mut apps, mut pod) = (Vec::new(), None);
    for line in decode_records(&bytes).unwrap() {
        match serde_json::from_str(line).unwrap() {
            ExitRecord::App(app) => apps.push(app),
            ExitRecord::Pod(end) => pod = Some(end),
        }
    }
    (apps, pod)
}

fn names(ends: &[AppExit]) -> Vec<&str> {
    ends.iter().map(|end| end.app.as_str()).collect()
}

/// The lines of the pod's apps, as `app: line`, with the time in milliseconds.
fn lines(pod: &Pod) -> Vec<(u64, String)> {
    let line = |entry: &Value| {
        let time: u64 = entry["__REALTIME_TIMESTAMP"].as_str()?.parse().ok()?;
        let text = entry["MESSAGE"].as_str()?;
        Some((time / 1000, format!("{}: {text}", entry["SYSLOG_IDENTIFIER"].as_str()?)))
    };
    pod.journal().iter().filter_map(line).collect()
}

#[track_caller]
fn when(lines: &[(u64, String)], text: &str) -> u64 {
    let found = lines.iter().find(|(_, line)| line == text);
    found.unwrap_or_else(|| panic!("no `{text}` in {lines:#?}")).0
}

/// The main process of an app, as the bed sees it.
fn main_process(pod: &Pod, app: &str) -> i32 {
    let procs = pod.cgroup().join(format!("app-{app}/cgroup.procs"));
    let mut first = None;
    wait_until(&format!("{app} runs"), 10, || {
        let text = std::fs::read_to_string(&procs).unwrap_or_default();
        first = text.lines().next().and_then(|pid| pid.parse().ok());
        first.is_some()
    });
    first.unwrap()
}

fn murder(pod: &Pod, app: &str) {
    let pid = Pid::from_raw(main_process(pod, app)).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
}

#[test]
fn five_apps_start_in_order_crash_to_the_limit_and_stop_in_reverse_order() {
    require_bed("ns");
    let stubborn = "trap 'echo never' TERM; echo started; while :; do sleep 0.05; done";
    let crash = "echo run; sleep 0.9; exit 7";
    let more = "restart = \"on-failure\"\nrestart-delay = \"200ms\"\nrestart-limit = \"3/1min\"";
    let pod = five("five", stubborn, crash, more);
    pod.start();
    // The start was over when the one-shot was done and what waits for it had started.
    let log = lines(&pod);
    let done = when(&log, "migrate: done");
    for (first, then) in [
        ("db: started", "migrate: started"),
        ("migrate: done", "api: started"),
        ("api: started", "web: started"),
    ] {
        pod.wait_for_line("started");
        wait_until(then, 5, || lines(&pod).iter().any(|(_, line)| line == then));
        let log = lines(&pod);
        assert!(when(&log, first) <= when(&log, then), "{first}, {then}: {log:#?}");
    }
    assert!(done - when(&log, "migrate: started") >= 990);
    pod.wait_for("ActiveState", "failed");
    assert_eq!(pod.show("ExecMainStatus"), "7");
    let limit = "app side: exited with 7, not started again: 3 restarts within 1min were the limit";
    pod.wait_for_line(&format!("rocket: {limit}"));
    assert_eq!(pod.show("StatusText"), format!("ended with status 7: {limit}"));

    let (ends, end) = record("five");
    assert_eq!(names(&ends[..2]), ["side", "migrate"]);
    let side: Vec<_> = ends.iter().filter(|e| e.app == "side").collect();
    assert_eq!(side.iter().map(|e| e.restarts).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert!(side.iter().all(|e| e.code == Some(7) && e.cause == Cause::Exited));
    for (pair, pause) in side.windows(2).zip([200, 400, 800]) {
        let took = pair[1].started_ms - pair[0].ended_ms;
        // The end is stamped when it is written down, a moment after the pause has begun.
        assert!((pause - 50..pause + 400).contains(&took), "{took} ms instead of {pause}");
    }
    // From the last to the first; db had to be killed after its second.
    let stopped = &ends[5..];
    assert_eq!(names(stopped), ["web", "api", "db"]);
    let causes: Vec<_> = stopped.iter().map(|e| e.cause).collect();
    assert_eq!(causes, [Cause::PodEnding, Cause::PodEnding, Cause::Timeout]);
    let took = stopped[2].ended_ms - stopped[1].ended_ms;
    assert!((950..1500).contains(&took), "{took}");
    assert_eq!(end.map(|e| (e.status, e.cause)), Some((7, Cause::Exited)));
    let log = lines(&pod);
    assert!(when(&log, "web: stopping") <= when(&log, "api: stopping"));
    when(&log, "db: never");
}

#[test]
fn the_status_says_how_many_apps_are_ready_and_what_is_not() {
    require_bed("ns");
    let more = "restart = \"always\"\nrestart-delay = \"30s\"";
    let pod = five("counted", POLITE, "sleep 0.2; exit 5", more);
    // Its start is not over before side runs again; nobody waits for that here.
    rocket_testkit::run("systemctl", ["start", "--no-block", &pod.unit()]).ok();
    let waiting = "2/5 apps ready; migrate runs; api waits; web waits";
    wait_until(waiting, 10, || {
        let text = pod.show("StatusText");
        text == waiting || text.starts_with("1/5 apps ready; side exited with 5")
    });
    pod.wait_for("StatusText", "4/5 apps ready; side exited with 5, starts again in 30s");
    assert_eq!(pod.show("ActiveState"), "activating");
    pod.systemctl("stop").ok();
    assert_eq!(pod.show("ActiveState"), "inactive");
}

#[test]
fn a_murdered_app_ends_the_pod_in_order_whenever_it_dies() {
    require_bed("ns");
    let chain = ["web", "api", "db"];
    for victim in ["db", "api", "web", "side"] {
        let pod = five("mortal", POLITE, POLITE, "");
        pod.start();
        murder(&pod, victim);
        pod.wait_for("ActiveState", "failed");
        assert_eq!(pod.show("ExecMainStatus"), "137", "{victim}");
        let (ends, _) = record("mortal");
        let (first, rest) = ends[1..].split_first().unwrap();
        assert_eq!((first.app.as_str(), first.signal), (victim, Some(9)));
        // What is by itself comes last in the order of starting, so first in that of stopping.
        let order: Vec<_> =
            ["side"].into_iter().chain(chain).filter(|app| *app != victim).collect();
        let stopped: Vec<_> = names(rest);
        let rank = |app: &str| order.iter().position(|name| *name == app);
        let of_chain: Vec<_> = stopped.iter().filter(|app| **app != "side").copied().collect();
        assert!(of_chain.is_sorted_by_key(|app| rank(app)), "{victim}: {stopped:?}");
        assert_eq!(stopped.len(), 3, "{victim}: {stopped:?}");
        assert!(rest.iter().all(|e| e.cause == Cause::PodEnding && e.code == Some(0)), "{rest:?}");
    }
}

#[test]
fn a_murder_before_the_pod_is_ready_fails_its_start() {
    require_bed("ns");
    for victim in ["db", "migrate", "side"] {
        let pod = five("early", POLITE, POLITE, "");
        rocket_testkit::run("systemctl", ["start", "--no-block", &pod.unit()]).ok();
        wait_until("it is starting", 10, || pod.show("StatusText").contains("migrate runs"));
        murder(&pod, victim);
        pod.wait_for("ActiveState", "failed");
        assert_eq!(pod.show("ExecMainStatus"), "137", "{victim}");
        let (ends, _) = record("early");
        assert_eq!((ends[0].app.as_str(), ends[0].signal), (victim, Some(9)));
        // What was still to come never ran, and that is on record.
        for app in ["api", "web"] {
            let end = ends.iter().find(|end| end.app == app).unwrap();
            let how = (end.code, end.signal, end.cause);
            assert_eq!(how, (None, None, Cause::PodEnding), "{ends:?}");
        }
    }
}

#[test]
fn a_murder_while_the_pod_stops_changes_nothing() {
    require_bed("ns");
    for victim in ["db", "api"] {
        let slow = "trap 'sleep 1; exit 0' TERM; echo started; while :; do sleep 0.05; done";
        let pod = five("late", POLITE, slow, "");
        pod.start();
        rocket_testkit::run("systemctl", ["stop", "--no-block", &pod.unit()]).ok();
        wait_until("it is stopping", 10, || pod.show("StatusText") == "stopping");
        murder(&pod, victim);
        pod.wait_for("ActiveState", "inactive");
        assert_eq!(pod.show("Result"), "success");
        let (ends, end) = record("late");
        assert_eq!(ends.len(), 5, "{ends:?}");
        assert!(ends.iter().any(|e| e.app == victim && e.signal == Some(9)), "{ends:?}");
        assert_eq!(end.map(|e| e.cause), Some(Cause::StopAsked));
    }
}

#[test]
fn a_murdered_app_that_restarts_leaves_the_others_alone() {
    require_bed("ns");
    let more = "restart = \"on-failure\"\nrestart-delay = \"50ms\"";
    let pod = five("healing", POLITE, POLITE, more);
    pod.start();
    let init = pod.init();
    let apps = ["db", "api", "web", "side"];
    let mut pids = apps.map(|app| main_process(&pod, app));
    for (index, victim) in apps.into_iter().enumerate() {
        murder(&pod, victim);
        wait_until("it runs again", 10, || main_process(&pod, victim) != pids[index]);
        wait_until("all is well", 10, || pod.show("StatusText") == "5/5 apps ready");
        let now = apps.map(|app| main_process(&pod, app));
        for other in 0..apps.len() {
            assert_eq!(now[other] != pids[other], other == index, "{victim}: {}", apps[other]);
        }
        pids = now;
    }
    assert_eq!((pod.init(), pod.show("NRestarts").as_str()), (init, "0"));
    pod.systemctl("stop").ok();
    assert_eq!(pod.show("ActiveState"), "inactive");
    let (ends, _) = record("healing");
    assert_eq!(ends.iter().filter(|e| e.signal == Some(9)).count(), 4, "{ends:?}");
}
