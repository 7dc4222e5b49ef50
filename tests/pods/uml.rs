//! In user-mode-linux, which has all controllers: limits that bite.

use rocket_testkit::unit::{Pod, systemctl};
use rocket_testkit::{image, require_bed};

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
