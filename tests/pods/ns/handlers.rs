//! Programs that run before and after an app.

use rocket_testkit::unit::Pod;
use rocket_testkit::{image, require_bed, rocket};
use std::fs;

#[test]
fn the_handlers_of_an_image_run_as_root_before_and_after_an_app_of_another_user() {
    require_bed("ns");
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("layer/rootfs");
    fs::create_dir_all(&root).unwrap();
    image::busybox_root(&root);
    let text = r#"{"acKind":"ImageManifest","acVersion":"0.8.11","name":"example.com/handled",
        "labels":[{"name":"os","value":"linux"},{"name":"arch","value":"amd64"}],
        "app":{"user":"33","group":"34","workingDirectory":"/tmp",
          "exec":["/bin/sh","-c","echo main $(id -u) $(cat /var/made)"],
          "environment":[{"name":"WHO","value":"image"}],
          "eventHandlers":[
            {"name":"pre-start","exec":["/bin/sh","-c","echo before $(id -u) $WHO $(pwd); echo by-root > /var/made"]},
            {"name":"post-stop","exec":["/bin/sh","-c","echo after $(id -u) $AC_APP_NAME"]}]}}"#;
    fs::write(dir.path().join("layer/manifest"), text).unwrap();
    let aci = dir.path().join("handled.aci");
    let (aci, layer) = (aci.to_str().unwrap(), dir.path().join("layer"));
    rocket_testkit::run("tar", ["-C", layer.to_str().unwrap(), "-cf", aci, "manifest", "rootfs"])
        .ok();
    rocket(["fetch", aci]).ok();
    let done = rocket(["run", "--rm", "example.com/handled"]).ok();
    let expected = "before 0 image /tmp\nmain 33 by-root\nafter 0 handled\n";
    assert_eq!(done.stdout, expected, "{done}");
}

fn pod_file(keys: &str) -> String {
    format!(
        "network = \"none\"\n[app.a]\nimage = \"example.com/handlers:1.0\"\n{keys}\n\
         [volume.log]\nkind = \"state\"\n"
    )
}

fn log(name: &str) -> String {
    fs::read_to_string(format!("/var/lib/rocket/volumes/{name}/log/log")).unwrap_or_default()
}

#[test]
fn a_failing_pre_start_keeps_the_app_from_starting_and_is_named() {
    require_bed("ns");
    image::add_busybox("example.com/handlers:1.0", &["/bin/sh"]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("failing.toml");
    let run = |pre_start: &str| {
        let text = pod_file(&format!("exec = [\"/bin/echo\", \"main\"]\npre-start = {pre_start}"));
        fs::write(&file, text).unwrap();
        rocket(["run", "--name", "failing", "--file", file.to_str().unwrap()])
    };
    let done = run("[\"/bin/sh\", \"-c\", \"exit 3\"]").ends_with(3);
    assert_eq!(done.stdout, "");
    let done = done.says(&["pre-start handler exited with 3"]);
    drop(done);
    let status = rocket(["status", "failing"]);
    assert!(status.stdout.contains("pre-start handler exited with 3"), "{status}");
    run("[\"/no/such\"]").ends_with(127).says(&["pre-start", "/no/such"]);
    assert_eq!(run("[\"/bin/true\"]").ok().stdout, "main\n");
    rocket(["gc", "--all", "--grace-period", "0"]).ok();
}

#[test]
fn handlers_run_again_with_each_restart_and_a_stop_waits_for_the_last() {
    require_bed("ns");
    image::add_busybox("example.com/handlers:1.0", &["/bin/sh"]);
    let pod = Pod::new(
        "handlers",
        &pod_file(
            "exec = [\"/bin/sh\", \"-c\", \"echo main >> /log/log; exec sleep 1000\"]\n\
             mounts = { \"/log\" = \"log\" }\nrestart = \"on-failure\"\n\
             pre-start = [\"/bin/sh\", \"-c\", \"echo before >> /log/log\"]\n\
             post-stop = [\"/bin/sh\", \"-c\", \"sleep 0.5; echo after >> /log/log\"]",
        ),
    );
    pod.start();
    let once = "before\nmain\n";
    rocket_testkit::wait_until("the app runs", 20, || log("handlers") == once);
    rocket(["kill", "--signal", "KILL", "handlers"]).ok();
    let twice = "before\nmain\nafter\nbefore\nmain\n";
    rocket_testkit::wait_until("the app runs again", 20, || log("handlers") == twice);
    pod.systemctl("stop").ok();
    assert_eq!(log("handlers"), format!("{twice}after\n"));
    assert_eq!(pod.show("Result"), "success");
}

#[test]
fn a_pod_can_be_stopped_and_not_entered_while_a_handler_runs() {
    require_bed("ns");
    image::add_busybox("example.com/handlers:1.0", &["/bin/sh"]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("held.toml");
    let text = pod_file("exec = [\"/bin/echo\", \"main\"]\npre-start = [\"/bin/sleep\", \"1000\"]");
    fs::write(&file, text).unwrap();
    let started = rocket_testkit::Command::new("/usr/bin/rocket")
        .args(["run", "--name", "held", "--file", file.to_str().unwrap()])
        .start();
    rocket_testkit::wait_until("its handler runs", 20, || {
        rocket(["enter", "held", "--", "true"]).stderr.contains("pre-start handler")
    });
    rocket(["stop", "held"]).ok();
    let done = started.wait();
    assert!(!done.stdout.contains("main"), "{done}");
    rocket(["gc", "--all", "--grace-period", "0"]).ok();
}

#[test]
fn what_a_pre_start_handler_leaves_running_is_gone_before_the_app_starts() {
    require_bed("ns");
    image::add_busybox("example.com/handlers:1.0", &["/bin/sh"]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("leftover.toml");
    let keys = "exec = [\"/bin/sh\", \"-c\", \"ps | grep -c [1]2345; echo main\"]\nuser = 7\n\
                pre-start = [\"/bin/sh\", \"-c\", \"sleep 12345 & setsid sleep 12345 & echo before\"]";
    fs::write(&file, pod_file(keys)).unwrap();
    let run = ["run", "--name", "leftover", "--file", file.to_str().unwrap()];
    let done = rocket(run).ok();
    assert_eq!(done.stdout, "before\n0\nmain\n", "{done}");
    rocket(["gc", "--all", "--grace-period", "0"]).ok();
}

#[test]
fn a_restart_of_an_app_returns_when_it_runs_and_says_when_it_does_not() {
    require_bed("ns");
    image::add_busybox("example.com/handlers:1.0", &["/bin/sh"]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("again.toml");
    let keys = "exec = [\"/bin/sh\", \"-c\", \"echo main >> /log/log; exec sleep 1000\"]\n\
                pre-start = [\"/bin/sh\", \"-c\", \"sleep 1; test ! -e /log/broken\"]\n\
                mounts = { \"/log\" = \"log\" }\nstop-signal = \"SIGKILL\"\n\
                [app.b]\nimage = \"example.com/handlers:1.0\"\nexec = [\"/bin/sleep\", \"1000\"]";
    fs::write(&file, format!("exit-policy = \"all-done\"\n{}", pod_file(keys))).unwrap();
    let file = file.to_str().unwrap();
    let started = rocket_testkit::Command::new("/usr/bin/rocket")
        .args(["run", "--name", "again", "--file", file])
        .start();
    rocket_testkit::wait_until("the app runs", 20, || log("again") == "main\n");
    rocket(["restart", "again/a"]).ok();
    let state = rocket(["status", "--format=json", "again"]).ok();
    let state: serde_json::Value = serde_json::from_str(&state.stdout).unwrap();
    assert_eq!(state["apps"][0]["state"], "running", "{state}");
    fs::write("/var/lib/rocket/volumes/again/log/broken", "").unwrap();
    rocket(["restart", "again/a"]).ends_with(125).says(&["again/a", "pre-start"]);
    rocket(["stop", "again"]).ok();
    // Whoever started it was told.
    started.wait().says(&["rocket: app a: its pre-start handler exited with 1"]);
    rocket(["gc", "--all", "--grace-period", "0"]).ok();
}
