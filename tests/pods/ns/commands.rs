//! The commands around pods that run, and around what they leave.

use rocket_testkit::unit::{Pod, systemctl};
use rocket_testkit::{image, require_bed, rocket, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::time::{Duration, Instant};

const SHELL: &str = "example.com/commands:1.0";

/// Starts a pod in the background that runs a script.
#[track_caller]
fn start(name: &str, script: &str) -> String {
    image::add_busybox(SHELL, &["/bin/sh", "-c"]);
    let done = rocket(["run", "--detach", "--name", name, SHELL, "--", script]).ok();
    done.text().to_owned()
}

#[track_caller]
fn status(pod: &str) -> Value {
    let done = rocket(["status", "--format=json", pod]).ok();
    serde_json::from_str(&done.stdout).unwrap()
}

#[test]
fn kill_sends_any_signal_to_an_app_and_its_end_is_the_apps_own() {
    require_bed("ns");
    start(
        "cmd-kill",
        "trap 'touch /tmp/usr1' USR1; trap 'exit 9' HUP; touch /tmp/up; while :; do sleep 0.1; done",
    );
    let exists = |path| rocket(["enter", "cmd-kill", "--", "test", "-e", path]).code() == 0;
    wait_until("the trap is set", 20, || exists("/tmp/up"));
    rocket(["kill", "--signal=USR1", "cmd-kill/commands"]).ok();
    wait_until("the app got SIGUSR1", 20, || exists("/tmp/usr1"));
    rocket(["kill", "--signal=nothing", "cmd-kill"]).ends_with(125).says(&["signal"]);
    rocket(["kill", "-s", "1", "cmd-kill"]).ok();
    rocket(["wait", "cmd-kill"]).ends_with(9);
    let exit = &status("cmd-kill")["apps"][0]["exit"];
    assert_eq!((&exit["code"], &exit["cause"]), (&Value::from(9), &Value::from("exited")));
    rocket(["kill", "cmd-kill"]).ends_with(125).says(&["exited"]);
}

#[test]
fn status_list_and_top_show_each_app_and_what_it_uses() {
    require_bed("ns");
    image::add_busybox(SHELL, &["/bin/sleep", "1000"]);
    let pod = Pod::new(
        "cmd-usage",
        &format!(
            "version = 1\nnetwork = \"none\"\n[app.one]\nimage = \"{SHELL}\"\n\
             exec = [\"/bin/sleep\", \"1000\"]\n[app.two]\nimage = \"{SHELL}\"\n\
             exec = [\"/bin/sleep\", \"1000\"]\n"
        ),
    );
    pod.start();
    let json = status("cmd-usage");
    for (index, name) in ["one", "two"].into_iter().enumerate() {
        let app = &json["apps"][index];
        assert_eq!((&app["name"], &app["state"]), (&Value::from(name), &Value::from("running")));
        assert_eq!(app["usage"]["tasks"], 1, "{app}");
        assert!(app["usage"]["cpu-usec"].is_u64(), "{app}");
        assert!(app["limits"].is_object(), "{app}");
        assert!(app["image-id"].as_str().unwrap().starts_with("sha512-"), "{app}");
    }
    let table = rocket(["status", "cmd-usage"]).ok().stdout;
    assert!(table.contains("one  running") && table.contains("tasks 1"), "{table}");
    let list = rocket(["list"]).ok().stdout;
    let line = list.lines().find(|line| line.contains("cmd-usage")).unwrap();
    assert!(line.contains("one,two"), "{list}");
    let top = rocket(["top", "cmd-usage/two"]).ok().stdout;
    assert!(top.contains("PRESSURE") && top.contains(" two ") && !top.contains(" one "), "{top}");
    let top = rocket(["top", "--format=json", "cmd-usage"]).ok().stdout;
    let top: Value = serde_json::from_str(&top).unwrap();
    // A row for each app, and one for all of the pod.
    assert_eq!((top.as_array().unwrap().len(), &top[1]["usage"]["tasks"]), (3, &Value::from(1)));
    assert_eq!((&top[1]["app"], &top[2]["app"]), (&Value::from("two"), &Value::Null));
    assert!(top[2]["usage"]["cpu-usec"].is_u64() && json["usage"]["cpu-usec"].is_u64(), "{top}");
    // Pressure of each leaf and of the pod, where the kernel tells it.
    if std::path::Path::new("/proc/pressure/cpu").exists() {
        for usage in [&top[1]["usage"], &top[2]["usage"], &json["apps"][0]["usage"], &json["usage"]]
        {
            assert!(usage["pressure"]["memory"].is_u64(), "{usage}");
        }
        assert!(table.contains("waiting for cpu"), "{table}");
    }
    rocket(["top", "--once"]).ok();
}

#[test]
fn an_init_that_does_not_answer_holds_nobody_up() {
    require_bed("ns");
    start("cmd-stuck", "sleep 1000");
    let init = Pid::from_raw(status("cmd-stuck")["pid"].as_i64().unwrap() as i32).unwrap();
    kill_process(init, Signal::STOP).unwrap();
    let began = Instant::now();
    let json = status("cmd-stuck");
    assert_eq!(json["state"], "running");
    assert_eq!(json["apps"][0]["usage"]["tasks"], 1, "{json}");
    rocket(["list"]).ok();
    rocket(["top", "--once", "cmd-stuck"]).ok();
    rocket(["kill", "cmd-stuck"]).ends_with(125).says(&["does not answer"]);
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    // What it was asked meanwhile it does when it can.
    kill_process(init, Signal::CONT).unwrap();
    rocket(["wait", "cmd-stuck"]).ends_with(137);
}

#[test]
fn an_apps_root_becomes_an_image_while_it_runs_and_after() {
    require_bed("ns");
    let script = "echo made > /etc/made; rm /etc/group; mkdir /etc/dir; ln /etc/made /etc/again; \
                  while ! test -e /etc/stop; do sleep 0.1; done";
    start("cmd-export", script);
    let made = ["enter", "cmd-export", "--", "test", "-e", "/etc/again"];
    wait_until("the app has made its files", 20, || rocket(made).code() == 0);
    let dir = tempfile::tempdir().unwrap();
    for (name, phase) in [("example.com/taken:1", "runs"), ("example.com/taken:2", "is dead")] {
        let file = dir.path().join(format!("{}.aci", name.len()));
        let file = file.to_str().unwrap();
        if phase == "is dead" {
            rocket(["enter", "cmd-export", "--", "touch", "/etc/stop"]).ok();
            rocket(["wait", "cmd-export"]).ok();
        }
        rocket(["export", "cmd-export/commands", "--name", name, "--output", file]).ok();
        rocket(["fetch", file]).ok();
        // The image runs what its origin ran.
        let look =
            "cat /etc/made /etc/again; test -d /etc/dir; test ! -e /etc/group; test -e /bin/sh";
        let done = rocket(["run", "--rm", name, "--", look]).ok();
        assert_eq!(done.stdout, "made\nmade\n", "{phase}");
        std::fs::remove_file(file).unwrap();
    }
    let held = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!held.contains("/pods/run/"), "a mount is left: {held}");
    let other =
        rocket(["export", "cmd-export/x", "--name", "example.com/x", "--output", "/tmp/x.aci"]);
    other.ends_with(125).says(&["no app", "commands"]);
}

#[test]
fn logs_are_cut_by_time() {
    require_bed("ns");
    start("cmd-logs", "echo early; sleep 3; echo late; sleep 1000");
    let logs = |args: &[&str]| rocket(["logs"].iter().chain(args).chain(&["cmd-logs"])).ok().stdout;
    wait_until("both lines are in the journal", 20, || logs(&[]).contains("late"));
    let late = logs(&["--since=-1h"]);
    assert!(late.contains("early") && late.contains("late"), "{late}");
    let end = rocket_testkit::run("date", ["-d", "1 hour", "+%F %T"]).ok();
    assert!(!logs(&["--since", end.text()]).contains("late"));
    assert!(!logs(&["--until=-1h"]).contains("early"));
    rocket(["logs", "--since=garbage", "cmd-logs"]).ends_with(125).says(&["garbage"]);
    rocket(["logs", "cmd-logs/nosuch"]).ends_with(125).says(&["no app", "nosuch"]);
    rocket(["stop", "cmd-logs"]).ok();
}

#[test]
fn a_pod_whose_uuid_cannot_be_written_is_named_in_the_error() {
    require_bed("ns");
    image::add_busybox(SHELL, &["/bin/sleep", "1000"]);
    let line = format!("rocket run -d --name cmd-full {SHELL} >/dev/full");
    let done = rocket_testkit::run("sh", ["-c", &line]);
    let uuid = status("cmd-full")["uuid"].as_str().unwrap().to_owned();
    rocket(["kill", "cmd-full"]).ok();
    done.ends_with(125).says(&[&uuid, "rocket stop", "No space left"]);
}

#[test]
fn what_would_be_removed_is_said_with_its_bytes() {
    require_bed("ns");
    let uuid = start("cmd-bytes", "dd if=/dev/zero of=/etc/big bs=1M count=3; exit 0");
    rocket(["wait", "cmd-bytes"]).ok();
    let said = rocket(["rm", "--dry-run", "cmd-bytes"]).ok().stdout;
    assert!(said.starts_with(&format!("would remove pod {uuid} (cmd-bytes)")), "{said}");
    let gc = ["gc", "--dry-run", "--grace-period=0", "--all", "--pod=cmd-bytes", "--format=json"];
    let plan: Value = serde_json::from_str(&rocket(gc).ok().stdout).unwrap();
    let bytes = plan[0]["bytes"].as_u64().unwrap();
    assert!(said.contains(&format!(", {bytes} bytes")), "{said} {plan}");
    assert!((3_000_000..4_000_000).contains(&bytes), "{plan}");
    // Nothing was done.
    assert_eq!(status("cmd-bytes")["state"], "exited");
    rocket(["rm", "cmd-bytes"]).ok();
    rocket(["status", &uuid]).ends_with(125);
}

#[test]
fn a_file_with_a_uuid_names_a_pod_and_an_empty_one_names_none() {
    require_bed("ns");
    image::add_busybox(SHELL, &["/bin/sh", "-c"]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("uuid");
    let file = file.to_str().unwrap();
    let save = ["run", "-d", "--uuid-file-save", file, SHELL, "--", "sleep 1000"];
    rocket(save).ok();
    let named = format!("--uuid-file={file}");
    rocket(["status", &named]).ok();
    rocket(["cat-manifest", &named]).ok();
    rocket(["stop", &named]).ok();
    rocket(["wait", &named]).ends_with(143);
    rocket(["rm", &named]).ok();
    std::fs::write(file, "").unwrap();
    for verb in ["status", "cat-manifest", "stop", "wait", "rm"] {
        rocket([verb, &named]).ends_with(125).says(&["is empty"]);
        rocket([verb]).ends_with(125);
    }
}

#[test]
fn one_app_starts_again_and_the_others_and_the_pod_do_not() {
    require_bed("ns");
    image::add_busybox(SHELL, &["/bin/sleep", "1000"]);
    let app =
        |name| format!("[app.{name}]\nimage = \"{SHELL}\"\nexec = [\"/bin/sleep\", \"1000\"]\n");
    let text = format!("version = 1\nnetwork = \"none\"\n{}{}", app("one"), app("two"));
    let pod = Pod::new("cmd-again", &text);
    pod.start();
    let init = pod.init();
    let before = status("cmd-again");
    rocket(["restart", "cmd-again/two"]).ok();
    let started = |status: &Value, index: usize| status["apps"][index]["started-ms"].as_u64();
    wait_until("the app runs again", 20, || {
        let now = status("cmd-again");
        now["apps"][1]["state"] == "running" && started(&now, 1) > started(&before, 1)
    });
    let now = status("cmd-again");
    assert_eq!(started(&now, 0), started(&before, 0));
    assert_eq!((now["state"].as_str(), pod.init()), (Some("running"), init));
}

#[test]
fn restart_of_what_is_no_app_is_refused_and_of_a_name_is_its_units() {
    require_bed("ns");
    start("cmd-restart", "sleep 1000");
    rocket(["restart", "cmd-restart/none"]).ends_with(125).says(&["no app", "commands"]);
    rocket(["restart", "cmd-restart"]).ends_with(125).says(&["pod file"]);
    rocket(["stop", "cmd-restart"]).ok();
    image::add_busybox(SHELL, &["/bin/sleep", "1000"]);
    let pod = Pod::new(
        "cmd-unit",
        &format!(
            "version = 1\nnetwork = \"none\"\n[app.main]\nimage = \"{SHELL}\"\nexec = [\"/bin/sleep\", \"1000\"]\n"
        ),
    );
    pod.start();
    let before = pod.init();
    rocket(["restart", "cmd-unit"]).ok();
    assert_ne!(pod.init(), before);
    assert_eq!(systemctl(["is-active", &pod.unit()]).text(), "active");
}

#[test]
fn top_in_a_terminal_goes_on_until_it_is_interrupted() {
    require_bed("ns");
    start("cmd-top", "while :; do :; done");
    let tmux = rocket_testkit::tmux::Tmux::new();
    tmux.line("rocket top --interval=1 cmd-top; echo code=$?");
    wait_until("a share of the processor is shown", 20, || {
        let screen = tmux.screen();
        let line = screen.lines().find(|line| line.starts_with("cmd-top"));
        line.is_some_and(|line| {
            line.split_whitespace().nth(3).is_some_and(|share| share.contains('.'))
        })
    });
    tmux.key("C-c");
    tmux.wait_for_end("code=0");
    rocket(["stop", "--force", "cmd-top"]).ok();
}

/// What gc says that it would do and what it does, in the same words.
#[test]
fn alone_gc_does_what_it_says_it_would() {
    require_bed("ns");
    const OWN: &str = "example.com/gc-says:1.0";
    image::add_busybox(OWN, &["/bin/sh", "-c", "exit 0"]);
    rocket(["run", "--name", "gc-says", OWN]).ok();
    rocket(["image", "rm", OWN]).ok();
    let pods = std::path::Path::new("/var/lib/rocket/pods");
    let left = pods.join("garbage/0a2b1c1e-58b5-4cbb-9f1d-6a1d8e1f1b11");
    std::fs::create_dir_all(&left).unwrap();
    std::fs::write(left.join("file"), "left").unwrap();
    let embryo = pods.join("embryo/0b2b1c1e-58b5-4cbb-9f1d-6a1d8e1f1b11");
    std::fs::create_dir_all(&embryo).unwrap();
    let broken = pods.join("run/0c2b1c1e-58b5-4cbb-9f1d-6a1d8e1f1b11");
    std::fs::create_dir_all(&broken).unwrap();
    let gc = |more: &[&str]| {
        let fixed = ["gc", "--grace-period=0s", "--all"];
        rocket(fixed.iter().chain(more)).ok()
    };
    // A pod that cannot be read is named, and keeps the layers, not the rest.
    let said = gc(&["--dry-run"]);
    assert!(said.stderr.contains("0c2b1c1e") && said.stderr.contains("rocket rm"), "{said}");
    assert!(!said.stdout.contains("layer") && said.stdout.contains("gc-says"), "{said}");
    rocket(["rm", "0c2b1c1e-58b5-4cbb-9f1d-6a1d8e1f1b11"]).ok();
    let list = |text: &str| serde_json::from_str::<Vec<Value>>(text).unwrap();
    let plan = list(&gc(&["--dry-run", "--format=json"]).stdout);
    let said = gc(&["--dry-run"]).stdout;
    let done = gc(&[]).stdout;
    // A second may begin between the two.
    let ageless = |text: &str| -> Vec<String> {
        let line = |line: &str| match line.split_once(": exited ") {
            Some((pod, rest)) => {
                format!("{pod}: exited {}", rest.split_once(" ago").unwrap_or_default().1)
            }
            None => line.to_owned(),
        };
        text.lines().map(line).collect()
    };
    assert_eq!(ageless(&said.replace("would remove", "removed")), ageless(&done));
    assert!(done.contains("removed layer") && done.contains("bytes in all"), "{done}");
    assert!(done.contains("0a2b1c1e") && !done.contains("0b2b1c1e"), "{done}");
    let layer = plan.iter().find(|freed| freed["kind"] == "layer").unwrap();
    assert!(layer["bytes"].as_u64().unwrap() > 500_000, "{layer}");
    assert!(!left.exists() && embryo.exists());
    assert!(list(&gc(&["--format=json"]).stdout).is_empty());
    rocket(["gc", "--pod", "no-such-pod"]).ends_with(125).says(&["no-such-pod"]);
    std::fs::remove_dir(&embryo).unwrap();
}

/// A state that has become read-only hides nothing, and what runs can be stopped.
#[test]
fn alone_what_runs_on_a_read_only_state_is_seen_entered_and_stopped() {
    require_bed("ns");
    start("cmd-ro", "sleep 1000");
    let killed = start("cmd-ro-kill", "sleep 1000");
    let state = "/var/lib/rocket";
    rocket_testkit::run("mount", ["--bind", state, state]).ok();
    rocket_testkit::run("mount", ["-o", "remount,ro,bind", state]).ok();
    let list = rocket(["list"]);
    let line = list.stdout.lines().find(|line| line.contains("cmd-ro ")).unwrap_or_default();
    let running = line.contains("running");
    let outcomes = [
        rocket(["enter", "cmd-ro", "--", "true"]),
        rocket(["kill", "cmd-ro-kill"]),
        rocket(["status", "--wait=60s", &killed]),
        rocket(["stop", "cmd-ro"]),
        rocket(["gc", "--dry-run"]),
        rocket(["image", "list"]),
    ];
    rocket_testkit::run("umount", [state]).ok();
    assert!(running, "{list}");
    for done in outcomes {
        assert_eq!(done.code(), 0, "{done}");
    }
    assert_eq!(status("cmd-ro")["state"], "exited");
}

#[test]
fn an_init_that_does_not_answer_is_not_entered_and_keeps_nobody() {
    require_bed("ns");
    start("cmd-silent", "sleep 1000");
    let init = i32::try_from(status("cmd-silent")["pid"].as_i64().unwrap()).unwrap();
    let send = |signal| kill_process(Pid::from_raw(init).unwrap(), signal).unwrap();
    send(Signal::STOP);
    let entered = rocket(["enter", "cmd-silent", "--", "true"]);
    let listed = rocket(["list"]);
    send(Signal::CONT);
    entered.ends_with(125).says(&["does not answer"]);
    assert!(listed.ok().stdout.contains("cmd-silent"));
    rocket(["enter", "cmd-silent", "--", "true"]).ok();
    rocket(["stop", "cmd-silent"]).ok();
}

#[test]
fn what_was_stopped_before_its_turn_is_not_started_and_on_record() {
    require_bed("ns");
    image::add_busybox(SHELL, &["/bin/sh", "-c"]);
    let pod = Pod::new(
        "cmd-turn",
        &format!(
            "version = 1\nnetwork = \"none\"\n[app.first]\nimage = \"{SHELL}\"\n\
             exec = [\"/bin/sleep\", \"1000\"]\nkind = \"oneshot\"\n\
             [app.second]\nimage = \"{SHELL}\"\nafter = [\"first\"]\n"
        ),
    );
    systemctl(["start", "--no-block", &pod.unit()]).ok();
    let table = || rocket(["status", "cmd-turn"]).stdout;
    wait_until("the first app runs", 30, || table().contains("first  running"));
    rocket(["stop", "cmd-turn"]).ok();
    let exit = &status("cmd-turn")["apps"][1]["exit"];
    assert_eq!((&exit["code"], &exit["signal"]), (&Value::Null, &Value::Null), "{exit}");
    assert_eq!(exit["cause"], "stop-asked", "{exit}");
    let table = rocket(["status", "cmd-turn"]).ok().stdout;
    assert!(table.contains("second  not started (stop asked)"), "{table}");
}

#[test]
fn alone_a_broken_configuration_keeps_nobody_from_looking_and_stopping() {
    require_bed("ns");
    start("cmd-config", "sleep 1000");
    std::fs::create_dir_all("/etc/rocket").unwrap();
    std::fs::write("/etc/rocket/rocket.toml", "nonsense = 1\n").unwrap();
    let listed = rocket(["list"]);
    let stopped = rocket(["stop", "cmd-config"]);
    let refused = rocket(["gc"]);
    std::fs::remove_file("/etc/rocket/rocket.toml").unwrap();
    for done in [listed, stopped] {
        done.ok().says(&["nonsense", "built-in"]);
    }
    refused.ends_with(125).says(&["nonsense"]);
    assert_eq!(status("cmd-config")["state"], "exited");
}

#[test]
fn a_pod_whose_init_was_killed_says_so_everywhere() {
    require_bed("ns");
    start("cmd-murder", "sleep 1000");
    let init = i32::try_from(status("cmd-murder")["pid"].as_i64().unwrap()).unwrap();
    kill_process(Pid::from_raw(init).unwrap(), Signal::KILL).unwrap();
    const WHY: &str = "its init was killed";
    rocket(["wait", "cmd-murder"]).ends_with(125).says(&[WHY]);
    assert_eq!(status("cmd-murder")["exit"]["cause"], "init-killed");
    let table = rocket(["status", "cmd-murder"]).ok().stdout;
    assert_eq!(table.matches(&format!("exited ({WHY})")).count(), 2, "{table}");
    let list = rocket(["list"]).ok().stdout;
    let line = list.lines().find(|line| line.contains("cmd-murder")).unwrap();
    assert!(line.contains(WHY), "{list}");
}
