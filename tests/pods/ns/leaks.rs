//! What is left when pods have come and gone.

use rocket_testkit::leaks::{Held, tree};
use rocket_testkit::unit::{Pod, systemctl};
use rocket_testkit::{Command, image, require_bed, rocket, run, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use std::path::Path;

const IMAGE: &str = "example.com/cycle:1.0";

#[test]
fn alone_a_hundred_starts_and_stops_leave_nothing_behind() {
    require_bed("ns");
    image::add_busybox(IMAGE, &["/bin/sleep", "1000"]);
    let pod = Pod::new(
        "cycle",
        &format!(
            "version = 1\nnetwork = \"none\"\n[app.one]\nimage = \"{IMAGE}\"\n\
             [app.two]\nimage = \"{IMAGE}\"\n[unit]\nrestart = \"no\"\n"
        ),
    );
    // The first cycle brings what stays on purpose: the slice, the pod's name.
    cycle(&pod, false);
    let before = Held::now();
    for round in 0..100 {
        cycle(&pod, round % 5 == 0);
    }
    before.wait_for_no_more();
    let kept = instances("cycle");
    assert!(kept <= 4, "{kept} instances are kept, of three and the last");
    rocket(["gc"]).ok();
}

/// One life of the pod, ended by a stop or by killing every process of rocket's.
fn cycle(pod: &Pod, kill: bool) {
    pod.start();
    if kill {
        kill_all_of_rocket(&pod.cgroup());
        pod.wait_for("ActiveState", "failed");
    } else {
        pod.systemctl("stop").ok();
    }
    // Also forgets how often it was started.
    pod.systemctl("reset-failed");
}

fn kill_all_of_rocket(cgroup: &Path) {
    for dir in tree(cgroup) {
        let procs = std::fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
        for pid in procs.lines().filter_map(|pid| pid.parse().ok()) {
            // Not by its program: init's is on a mount that no path leads to.
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            if name.starts_with("rocket") {
                let _ = kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
            }
        }
    }
}

#[test]
fn alone_foreground_pods_leave_nothing_behind_however_they_end() {
    require_bed("ns");
    image::add_busybox(IMAGE, &["/bin/sleep", "1000"]);
    rocket(["run", IMAGE, "--exec", "/bin/true", "--rm"]).ok();
    let before = Held::now();
    for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::KILL] {
        let front = Command::new("/usr/bin/rocket").args(["run", "--rm", IMAGE]).start();
        wait_until("a scope has the app", 20, || scopes().iter().any(|scope| has_app(scope)));
        front.signal(signal);
        drop(front.wait());
        wait_until("the scope is gone", 20, || scopes().is_empty());
    }
    before.wait_for_no_more();
}

fn scopes() -> Vec<String> {
    let list = ["list-units", "--plain", "--no-legend", "rocket-*.scope"];
    let done = systemctl(list).ok();
    done.stdout.lines().filter_map(|line| line.split(' ').next().map(str::to_owned)).collect()
}

fn has_app(scope: &str) -> bool {
    let slice = Path::new("/sys/fs/cgroup/rocket.slice").join(scope);
    tree(&slice).iter().any(|dir| {
        let leaf = dir.file_name().is_some_and(|name| name.to_string_lossy().starts_with("app-"));
        leaf && std::fs::read_to_string(dir.join("cgroup.procs")).is_ok_and(|pids| !pids.is_empty())
    })
}

/// How many pods of this name `rocket list` knows.
fn instances(name: &str) -> usize {
    let done = rocket(["list", "--format=json"]).ok();
    let pods: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
    pods.as_array().unwrap().iter().filter(|pod| pod["name"] == name).count()
}

#[test]
fn alone_the_count_sees_every_kind_of_thing_left_behind() {
    require_bed("ns");
    let before = Held::now();
    let dir = tempfile::tempdir().unwrap();
    let file = std::fs::File::create(dir.path().join("lock")).unwrap();
    file.lock().unwrap();
    std::fs::create_dir("/sys/fs/cgroup/left.behind").unwrap();
    run("mount", ["-t", "tmpfs", "left", dir.path().to_str().unwrap()]).ok();
    let ids = Path::new("/var/lib/rocket/ids");
    std::fs::create_dir_all(ids).unwrap();
    std::os::unix::fs::symlink(format!("pod:{}", "0".repeat(32)), ids.join("7")).unwrap();
    run("systemd-run", ["--unit=left-behind", "sleep", "1000"]).ok();
    let more = Held::now().more_than(&before);
    run("systemctl", ["stop", "left-behind"]).ok();
    run("umount", [dir.path()]).ok();
    std::fs::remove_dir("/sys/fs/cgroup/left.behind").unwrap();
    drop(file);
    std::fs::remove_file(ids.join("7")).unwrap();
    for kind in
        ["mount tmpfs", "ids without", "cgroup", "unit left-behind", "process sleep", "lock FLOCK"]
    {
        assert!(more.iter().any(|what| what.starts_with(kind)), "no {kind} in {more:?}");
    }
    before.wait_for_no_more();
}
