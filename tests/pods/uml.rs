//! In user-mode-linux, which has all controllers: limits that bite, and a kernel of its own.

mod devices;
mod imported;
mod labels;
mod limits;
mod userns;
mod verbs {
    verbs!("uml");
}

use rocket_testkit::unit::{Pod, systemctl};
use rocket_testkit::{image, require_bed, rocket, wait_until};

const IMAGE: &str = "example.com/limited:1.0";

fn pod(name: &str, exec: &[&str], limits: &str) -> Pod {
    image::add_busybox(IMAGE, &["/bin/sh"]);
    Pod::new(
        name,
        &format!(
            "version = 1\nnetwork = \"none\"\n[app.main]\nimage = \"{IMAGE}\"\nexec = {exec:?}\n\
             {limits}\n[unit]\nrestart = \"no\"\n"
        ),
    )
}

fn read(pod: &Pod, file: &str) -> String {
    let path = pod.cgroup().join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.trim().to_owned()
}

#[test]
fn set_property_changes_the_pods_cgroup_and_survives_a_daemon_reload() {
    require_bed("uml");
    let pod = pod("adjusted", &["/bin/sleep", "1000"], "[limits]\nmemory-max = \"256M\"");
    pod.start();
    assert_eq!(read(&pod, "memory.max"), "268435456");
    systemctl(["set-property", &pod.unit(), "MemoryMax=100M"]).ok();
    assert_eq!(read(&pod, "memory.max"), "104857600");
    systemctl(["daemon-reload"]).ok();
    assert_eq!(read(&pod, "memory.max"), "104857600");
    assert_eq!(pod.show("ActiveState"), "active");
}

#[test]
fn an_apps_limits_are_on_its_leaf_and_the_pods_on_the_unit() {
    require_bed("uml");
    let limits = "limits = { memory-max = \"64M\", tasks-max = 20, cpu-quota = \"50%\" }\n\
                  [limits]\nmemory-max = \"128M\"";
    let pod = pod("layered", &["/bin/sleep", "1000"], limits);
    pod.start();
    for (file, value) in [
        ("memory.max", "134217728"),
        ("app-main/memory.max", "67108864"),
        ("app-main/pids.max", "20"),
        ("app-main/cpu.max", "50000 100000"),
    ] {
        assert_eq!(read(&pod, file), value, "{file}");
    }
    let status = rocket(["status", "--format=json", "layered"]).ok();
    let status: serde_json::Value = serde_json::from_str(&status.stdout).unwrap();
    let app = &status["apps"][0];
    assert_eq!(app["limits"]["memory.max"], "67108864", "{app}");
    assert_eq!(app["limits"]["cpu.max"], "50000 100000", "{app}");
    assert!(app["usage"]["memory"].as_u64().is_some_and(|bytes| bytes > 0), "{app}");
    assert_eq!(app["usage"]["tasks"], 1, "{app}");
    let list = rocket(["list"]).ok();
    let line = list.stdout.lines().find(|line| line.contains("layered")).unwrap();
    assert!(line.split_whitespace().nth(4).is_some_and(|memory| memory != "-"), "{list}");
}

#[test]
fn an_app_above_its_memory_limit_is_killed_and_fails_the_pod() {
    require_bed("uml");
    // tail keeps what has no line end in memory.
    let limits = "limits = { memory-max = \"32M\" }";
    let pod = pod("greedy", &["/bin/tail", "/dev/zero"], limits);
    pod.systemctl("start");
    pod.wait_for("ActiveState", "failed");
    let events = systemctl(["status", "--no-pager", &pod.unit()]);
    assert!(events.stdout.contains("failed"), "{events}");
}

#[test]
fn a_memory_hog_dies_alone_and_is_named() {
    require_bed("uml");
    image::add_busybox(IMAGE, &["/bin/sh"]);
    let app = |name: &str, exec: &[&str], more: &str| {
        format!("[app.{name}]\nimage = \"{IMAGE}\"\nexec = {exec:?}\n{more}\n")
    };
    let limits = "limits = { memory-max = \"24M\" }";
    // Its shell lives on when the greedy child is killed.
    let tired = "sleep 1; tail /dev/zero; echo survived; sleep 1000";
    let pod = Pod::new(
        "hogs",
        &[
            "version = 1\nnetwork = \"none\"\nexit-policy = \"all-done\"\n".to_owned(),
            app("calm", &["/bin/sleep", "1000"], ""),
            app("hog", &["/bin/tail", "/dev/zero"], limits),
            app("parent", &["/bin/sh", "-c", tired], limits),
            "[unit]\nrestart = \"no\"\n".to_owned(),
        ]
        .concat(),
    );
    pod.start();
    let init = pod.init();
    pod.wait_for_line("rocket: app hog: killed by the kernel because memory ran out");
    pod.wait_for_line("survived");
    pod.wait_for_line("rocket: app parent: lost a process because memory ran out");
    let status = "2/3 apps ready; hog killed by the kernel because memory ran out; \
                  parent lost a process because memory ran out";
    pod.wait_for("StatusText", status);
    let shown = pod.systemctl("status");
    assert!(shown.stdout.contains("hog killed by the kernel because memory ran out"), "{shown}");
    assert_eq!((pod.init(), pod.show("ActiveState").as_str()), (init, "active"));
    assert!(!read(&pod, "app-calm/cgroup.procs").is_empty());
    assert!(!read(&pod, "app-parent/cgroup.procs").is_empty());
    let shown = rocket(["status", "hogs"]).ok();
    let hog = shown.stdout.lines().find(|line| line.contains("hog ")).unwrap_or_default();
    assert!(hog.contains("memory ran out"), "{shown}");
    // What root sets here is how far an app may lower its own again: init has the lowest of its
    // apps, and being small is what keeps it.
    let score = |pid: &str| std::fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap();
    assert_eq!(score(&init.to_string()), "0\n");
    assert_eq!(score(&read(&pod, "app-calm/cgroup.procs")), "0\n");
}

#[test]
fn a_fork_bomb_stays_in_its_leaf() {
    require_bed("uml");
    image::add_busybox(IMAGE, &["/bin/sh"]);
    let bomb = "f() { f | f & }; echo armed; f; sleep 1000";
    let pod = Pod::new(
        "bomb",
        &format!(
            "version = 1\nnetwork = \"none\"\nexit-policy = \"all-done\"\n\
             [app.calm]\nimage = \"{IMAGE}\"\nexec = [\"/bin/sleep\", \"1000\"]\n\
             [app.bomb]\nimage = \"{IMAGE}\"\nexec = [\"/bin/sh\", \"-c\", '''{bomb}''']\n\
             limits = {{ tasks-max = 40, cpu-quota = \"20%\" }}\nstop-timeout = \"1s\"\n\
             [unit]\nrestart = \"no\"\n"
        ),
    );
    pod.start();
    pod.wait_for_line("armed");
    wait_until("the bomb is at its limit", 60, || {
        let events = read(&pod, "app-bomb/pids.events");
        events.lines().any(|line| line.starts_with("max ") && line != "max 0")
    });
    let tasks: u32 = read(&pod, "app-bomb/pids.current").parse().unwrap();
    assert!(tasks <= 40, "{tasks}");
    assert_eq!(read(&pod, "app-calm/cgroup.procs").lines().count(), 1);
    // The machine still works, and the pod ends with all that is in it.
    let cgroup = pod.cgroup();
    pod.systemctl("stop").ok();
    assert_eq!(pod.show("ActiveState"), "inactive");
    assert!(!cgroup.join("app-bomb").exists());
}
