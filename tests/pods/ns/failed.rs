//! Starts that fail half-way: the cause is told, nothing stays, and nobody else is harmed.

use rocket_testkit::unit::systemctl;
use rocket_testkit::{Command, image, require_bed, rocket, run, wait_until};
use rustix::process::Signal;
use std::time::Duration;

const IMAGE: &str = "example.com/failed:1.0";

/// A pod file whose set-up fails in stage1: a volume on a path below a regular file.
fn impossible(name: &str) -> String {
    let path = format!("/etc/rocket/{name}.toml");
    std::fs::create_dir_all("/etc/rocket").unwrap();
    let text = format!(
        "version = 1\nnetwork = \"none\"\n[app.a]\nimage = \"{IMAGE}\"\n\
         mounts = {{ \"/bin/busybox/x\" = \"v\" }}\n[volume.v]\nkind = \"empty\"\n"
    );
    std::fs::write(&path, text).unwrap();
    path
}

fn scopes() -> String {
    systemctl(["list-units", "--all", "--plain", "--no-legend", "rocket-*.scope"]).ok().stdout
}

#[test]
fn alone_a_failed_set_up_tells_its_cause_and_leaves_no_scope() {
    require_bed("ns");
    image::add_busybox(IMAGE, &["/bin/sleep", "1000"]);
    let file = impossible("impossible");
    for _ in 0..10 {
        rocket(["run", "--rm", "-f", &file]).ends_with(125).says(&["/bin/busybox"]);
    }
    wait_until("no scope is left", 10, || scopes().is_empty());
}

#[test]
fn alone_a_failed_pod_is_not_taken_for_its_callers_service() {
    require_bed("ns");
    image::add_busybox(IMAGE, &["/bin/sleep", "1000"]);
    let file = impossible("victim");
    let script = format!("/usr/bin/rocket run --name victim-pod -f {file}; exec sleep 1000");
    run("systemd-run", ["--unit=victim", "--quiet", "bash", "-c", &script]).ok();
    wait_until("the pod has failed", 20, || {
        rocket(["list"]).stdout.lines().any(|l| l.contains("victim-pod") && l.contains("exited"))
    });
    rocket(["stop", "victim-pod"]).ends_with(125).says(&["is not running"]);
    systemctl(["is-active", "victim"]).ok();
    rocket(["rm", "victim-pod"]).ok();
    systemctl(["stop", "victim"]).ok();
}

#[test]
fn alone_a_front_end_killed_at_any_moment_leaves_nothing_that_gc_does_not_remove() {
    require_bed("ns");
    image::add_busybox(IMAGE, &["/bin/sleep", "1000"]);
    for round in 0..40 {
        let front = Command::new("/usr/bin/rocket").args(["run", IMAGE]).start();
        std::thread::sleep(Duration::from_millis(round));
        front.signal(Signal::KILL);
        drop(front.wait());
    }
    wait_until("no scope is left", 20, || scopes().is_empty());
    rocket(["gc", "--grace-period", "0"]).ok();
    let left = rocket(["list"]).ok().stdout;
    assert_eq!(left.lines().filter(|line| line.contains("failed")).count(), 0, "{left}");
}

#[test]
fn a_pod_that_cannot_start_leaves_nothing_where_it_was_to_be_removed() {
    require_bed("ns");
    image::add_busybox(IMAGE, &["/bin/sleep", "1000"]);
    let gone = |name: &str| !rocket(["list"]).ok().stdout.contains(name);
    rocket(["run", "--rm", "--name", "gone-a", IMAGE, "--exec", "/nothing"]).ends_with(127);
    assert!(gone("gone-a"));
    for command in ["run", "prepare"] {
        rocket([command, "--uuid-file-save", "/no/such/dir/x", "--name", "gone-b", IMAGE])
            .ends_with(125)
            .says(&["/no/such/dir/x"]);
        assert!(gone("gone-b"), "{command}");
    }
}

#[test]
fn a_detached_pod_that_cannot_start_hands_back_the_cause_and_its_status() {
    require_bed("ns");
    image::add_busybox(IMAGE, &["/bin/sleep", "1000"]);
    rocket(["run", "--detach", IMAGE, "--exec", "/nothing"]).ends_with(127).says(&["/nothing"]);
}

#[test]
fn a_listing_that_does_not_fit_on_the_disk_is_an_error_and_a_closed_pipe_is_none() {
    require_bed("ns");
    let shell = |script: &str| run("bash", ["-c", script]);
    shell("rocket list > /dev/full").ends_with(125).says(&["standard output"]);
    shell("set -o pipefail; rocket list | true").ok();
}

#[test]
fn a_service_that_is_not_of_type_notify_gets_a_scope_and_its_pod_runs_to_its_end() {
    require_bed("ns");
    image::add_busybox(IMAGE, &["/bin/sleep", "1000"]);
    let inner = ["/usr/bin/rocket", "run", IMAGE, "--exec", "/bin/sh", "--", "-c", "exit 6"];
    for kind in ["simple", "exec"] {
        let kind = format!("--property=Type={kind}");
        let outer = ["--wait", "--quiet", "--property=Delegate=yes", &kind];
        run("systemd-run", [&outer[..], &inner].concat()).ends_with(6);
    }
    let unit = ["--cgroup=unit", IMAGE];
    let outer = ["--wait", "--quiet", "--pipe", "--property=Delegate=yes"];
    run("systemd-run", [&outer[..], &inner[..2], &unit].concat())
        .ends_with(125)
        .says(&["Type=notify"]);
}

#[test]
fn alone_a_signal_ends_a_start_that_waits_for_a_stuck_bus() {
    require_bed("ns");
    image::add_busybox(IMAGE, &["/bin/sleep", "1000"]);
    let bus = ["kill", "--kill-whom=main", "dbus.service"];
    systemctl([bus[0], bus[1], "--signal=STOP", bus[2]]).ok();
    let front = Command::new("/usr/bin/rocket").args(["run", "--rm", IMAGE]).start();
    std::thread::sleep(Duration::from_millis(500));
    front.signal(Signal::TERM);
    let done = front.wait();
    run("pkill", ["-CONT", "dbus-daemon"]).ok();
    done.ends_with(130).says(&["called off"]);
    wait_until("no scope is left", 20, || scopes().is_empty());
    rocket(["gc", "--grace-period", "0"]).ok();
}

#[test]
fn a_name_goes_with_the_pod_that_had_it() {
    require_bed("ns");
    image::add_busybox(IMAGE, &["/bin/sleep", "1000"]);
    rocket(["run", "--rm", "--name", "short-lived", IMAGE, "--exec", "/bin/true"]).ok();
    rocket(["run", "--name", "never-lived", "example.com/none:1"]).ends_with(125);
    for name in ["short-lived", "never-lived"] {
        for file in [name.to_owned(), format!("{name}.lock")] {
            assert!(!std::path::Path::new("/var/lib/rocket/names").join(&file).exists(), "{file}");
        }
    }
}

#[test]
fn alone_layers_go_when_the_last_image_and_the_last_pod_that_used_them_have_gone() {
    require_bed("ns");
    let name = "example.com/short:1.0";
    let root = tempfile::tempdir().unwrap();
    image::busybox_root(root.path());
    std::fs::write(root.path().join("etc/only-here"), "x").unwrap();
    image::add(root.path(), name, &["/bin/true"]);
    let layers = || std::fs::read_dir("/var/lib/rocket/store/layers/sha512").unwrap().count();
    let before = layers();
    rocket(["run", "--name", "keeper", name]).ok();
    rocket(["image", "rm", name]).ok();
    assert_eq!(layers(), before, "a pod uses it");
    rocket(["rm", "keeper"]).ok();
    rocket(["gc"]).ok();
    assert_eq!(layers(), before - 1);
}

#[test]
fn alone_a_forced_stop_is_meant_too() {
    require_bed("ns");
    image::add_busybox(IMAGE, &["/bin/sleep", "1000"]);
    let pod = rocket_testkit::unit::Pod::new(
        "forced",
        &format!(
            "version = 1\nnetwork = \"none\"\n[app.a]\nimage = \"{IMAGE}\"\n             [unit]\nrestart = \"always\"\nrestart-sec = \"100ms\"\n"
        ),
    );
    pod.start();
    rocket(["stop", "--force", "forced"]).ok();
    std::thread::sleep(Duration::from_secs(1));
    assert_ne!(pod.show("ActiveState"), "active");
}
