//! A pod as a unit; under every version of systemd there is.

#[path = "properties.rs"]
mod properties;
#[path = "steady.rs"]
mod steady;
#[path = "times.rs"]
mod times;
mod verbs {
    verbs!("ns");
}

use rocket_testkit::leaks::tree;
use rocket_testkit::unit::{Pod, systemctl};
use rocket_testkit::{image, require_bed, rocket, wait_until};
use rustix::process::{Pid, Signal, kill_process};

/// A pod of one busybox app `main` that runs `script`; what `unit` says goes to `[unit]`.
fn busybox(name: &str, script: &str, unit: &str) -> Pod {
    let image = format!("example.com/{name}:1.0");
    image::add_busybox(&image, &["/bin/sh"]);
    Pod::new(
        name,
        &format!(
            "version = 1\nnetwork = \"none\"\n[app.main]\nimage = \"{image}\"\n\
             exec = [\"/bin/sh\", \"-c\", '''{script}''']\n[unit]\n{unit}\n"
        ),
    )
}

/// Stops when asked to, and says so.
const POLITE: &str = "trap 'echo stopping; exit 0' TERM; echo started; while :; do sleep 0.1; done";

#[test]
fn start_is_done_when_the_apps_run_and_stop_leaves_the_unit_inactive() {
    require_bed("ns");
    let pod = busybox("polite", POLITE, "");
    pod.start();
    assert_eq!(pod.show("ActiveState"), "active");
    pod.wait_for_line("started");
    pod.systemctl("stop").ok();
    assert_eq!(pod.show("ActiveState"), "inactive");
    assert_eq!(pod.show("Result"), "success");
    pod.wait_for_line("stopping");
}

#[test]
fn one_rocket_process_stays_per_pod_and_it_is_the_units_main_process() {
    require_bed("ns");
    let pod = busybox("resident", POLITE, "");
    pod.start();
    let ours = || {
        let pids = tree(&pod.cgroup()).into_iter().flat_map(|dir| {
            let procs = std::fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
            procs.lines().map(|pid| pid.parse().unwrap()).collect::<Vec<i32>>()
        });
        pids.filter(|pid| is_rocket(*pid)).collect::<Vec<_>>()
    };
    wait_until("only init is left of rocket", 20, || ours().len() == 1);
    assert_eq!(ours(), [pod.init()]);
}

fn is_rocket(pid: i32) -> bool {
    // Not by its program: init's is on a mount that no path leads to.
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    name.starts_with("rocket")
}

#[test]
fn status_shows_a_leaf_for_each_app() {
    require_bed("ns");
    image::add_busybox("example.com/leaves:1.0", &["/bin/sleep", "1000"]);
    let pod = Pod::new(
        "leaves",
        "version = 1\nnetwork = \"none\"\n\
         [app.one]\nimage = \"example.com/leaves:1.0\"\n\
         [app.two]\nimage = \"example.com/leaves:1.0\"\n",
    );
    pod.start();
    let status = pod.systemctl("status").ok();
    for leaf in ["─init", "─app-one", "─app-two"] {
        assert!(status.stdout.contains(leaf), "no {leaf} in {status}");
    }
    assert!(status.stdout.contains("/bin/sleep 1000"), "{status}");
}

#[test]
fn the_journal_has_each_apps_lines_under_the_unit_with_app_and_pod_name() {
    require_bed("ns");
    let script = "echo said aloud; echo complained >&2; sleep 1000";
    let pod = busybox("talker", script, "");
    pod.start();
    let line = pod.wait_for_line("said aloud");
    assert_eq!(line["SYSLOG_IDENTIFIER"], "main");
    assert_eq!(line["ROCKET_POD"], "talker");
    assert_eq!(line["PRIORITY"], "6");
    assert_eq!(pod.wait_for_line("complained")["PRIORITY"], "3");
    let logs = rocket(["logs", "talker"]).ok();
    assert!(logs.stdout.contains("said aloud"), "{logs}");
}

#[test]
fn a_killed_init_fails_the_unit() {
    require_bed("ns");
    let pod = busybox("killed", POLITE, "restart = \"no\"");
    pod.start();
    kill_process(Pid::from_raw(pod.init()).unwrap(), Signal::KILL).unwrap();
    pod.wait_for("ActiveState", "failed");
    assert_eq!(pod.show("Result"), "signal");
    // And it can be started again: nothing of the old pod is in the way.
    pod.start();
}

#[test]
fn a_killed_init_is_brought_back_by_restart() {
    require_bed("ns");
    let pod = busybox("phoenix", POLITE, "restart = \"on-failure\"\nrestart-sec = \"100ms\"");
    pod.start();
    let first = pod.init();
    kill_process(Pid::from_raw(first).unwrap(), Signal::KILL).unwrap();
    wait_until("another init", 20, || {
        pod.show("ActiveState") == "active" && ![0, first].contains(&pod.init())
    });
    assert_eq!(pod.show("NRestarts"), "1");
    // What was asked for is no failure, after a restart neither.
    pod.systemctl("stop").ok();
    assert_eq!(pod.show("ActiveState"), "inactive");
}

#[test]
fn an_app_that_fails_fails_the_unit() {
    require_bed("ns");
    let pod = busybox("failing", "sleep 0.3; exit 3", "restart = \"no\"");
    pod.start();
    pod.wait_for("ActiveState", "failed");
    assert_eq!(pod.show("Result"), "exit-code");
}

// Alone: whoever is in a D-Bus call while systemd executes itself anew gets no answer.
#[test]
fn alone_the_units_cgroup_holds_the_apps_through_daemon_reload_and_reexec() {
    require_bed("ns");
    let pod = busybox("steady", POLITE, "");
    pod.start();
    let init = pod.init();
    for verb in ["daemon-reload", "daemon-reexec"] {
        systemctl([verb]).ok();
        assert_eq!((pod.show("ActiveState").as_str(), pod.init()), ("active", init), "{verb}");
        assert!(pod.cgroup().join("app-main/cgroup.procs").exists(), "{verb}");
    }
    pod.systemctl("stop").ok();
    assert_eq!(pod.show("ActiveState"), "inactive");
}

#[test]
fn enter_runs_a_command_in_the_app_and_hands_back_its_status() {
    require_bed("ns");
    let pod = busybox("entered", POLITE, "");
    pod.start();
    let done =
        rocket(["enter", "entered", "--", "/bin/sh", "-c", "echo $0 in $(hostname); exit 7"]);
    assert_eq!(done.ends_with(7).text(), "/bin/sh in entered");
}
