//! In user-mode-linux, which has all controllers: limits that bite.

use rocket_testkit::unit::{Pod, systemctl};
use rocket_testkit::{image, require_bed, rocket};

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
