//! Every key of the pod's `limits` as a property of its unit, in each of the three ways there.

use rocket_testkit::unit::{Pod, systemctl};
use rocket_testkit::{Command, image, require_bed, rocket, wait_until};

const IMAGE: &str = "example.com/properties:1.0";
const LIMITS: &str = "[limits]\nmemory-max = \"256M\"\nmemory-high = \"200M\"\n\
    memory-low = \"16M\"\nmemory-swap-max = \"32M\"\ncpu-quota = \"50%\"\ncpu-weight = 300\n\
    tasks-max = 400\nio-weight = 500\nallowed-cpus = \"0\"\n\
    [limits.io-max.\"/dev/null\"]\nread-bandwidth = \"1M\"\nwrite-bandwidth = \"2M\"\n\
    read-iops = 30\nwrite-iops = 40\n";

#[track_caller]
fn has_all(unit: &str) {
    for (property, value) in [
        ("MemoryMax", "268435456"),
        ("MemoryHigh", "209715200"),
        ("MemoryLow", "16777216"),
        ("MemorySwapMax", "33554432"),
        ("CPUQuotaPerSecUSec", "500ms"),
        ("CPUWeight", "300"),
        ("TasksMax", "400"),
        ("IOWeight", "500"),
        ("AllowedCPUs", "0"),
        ("IOReadBandwidthMax", "/dev/null 1000000"),
        ("IOWriteBandwidthMax", "/dev/null 2000000"),
        ("IOReadIOPSMax", "/dev/null 30"),
        ("IOWriteIOPSMax", "/dev/null 40"),
    ] {
        let shown = systemctl(["show", "--value", "--property", property, unit]).ok();
        assert_eq!(shown.text(), value, "{property} of {unit}");
    }
}

#[test]
fn limits_of_the_pod_arrive_as_drop_in_scope_and_transient_service() {
    require_bed("ns");
    image::add_busybox(IMAGE, &["/bin/sleep", "1000"]);
    let text =
        format!("version = 1\nnetwork = \"none\"\n[app.main]\nimage = \"{IMAGE}\"\n{LIMITS}");
    // The unit of a pod file has them before it has ever run.
    let pod = Pod::new("properties", &text);
    has_all(&pod.unit());
    assert_eq!(pod.show("OOMPolicy"), "continue");
    let dir = tempfile::tempdir().unwrap();
    // This host may lack controllers, and /dev/null is no disk: what systemd gets is the same.
    let start = |name: &str, words: &[&str]| {
        let file = dir.path().join(format!("{name}.toml"));
        std::fs::write(&file, &text).unwrap();
        let file = file.to_str().unwrap().to_owned();
        let mut all = vec!["run", "--best-effort", "--file", &file];
        all.extend(words);
        Command::new("/usr/bin/rocket").args(&all).start()
    };
    let unit = |name: &str| {
        let mut unit = String::new();
        wait_until("the pod has its unit", 30, || {
            let shown = rocket(["status", "--format=json", name]).stdout;
            let shown: serde_json::Value = serde_json::from_str(&shown).unwrap_or_default();
            unit = shown["unit"].as_str().unwrap_or_default().to_owned();
            !unit.is_empty()
        });
        unit
    };
    start("in-service", &["--detach"]).wait().ok();
    let service = unit("in-service");
    assert!(service.ends_with(".service"), "{service}");
    has_all(&service);
    let foreground = start("in-scope", &[]);
    let scope = unit("in-scope");
    assert!(scope.ends_with(".scope"), "{scope}");
    has_all(&scope);
    for name in ["in-service", "in-scope"] {
        rocket(["stop", "--force", name]).ok();
    }
    foreground.wait();
}

#[test]
fn an_io_max_of_no_disk_is_refused_by_name() {
    require_bed("ns");
    image::add_busybox(IMAGE, &["/bin/sleep", "1000"]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("no-disk.toml");
    let text = |path: &str| {
        format!(
            "version = 1\nnetwork = \"none\"\n[app.main]\nimage = \"{IMAGE}\"\n\
             [app.main.limits.io-max.\"{path}\"]\nread-iops = 30\n"
        )
    };
    for (path, why) in [("/proc", "is on no block device"), ("/no/such", "No such file")] {
        std::fs::write(&file, text(path)).unwrap();
        let refused = rocket(["prepare", "--file", file.to_str().unwrap()]).ends_with(125);
        refused.says(&["limits.io-max", path, "app \"main\"", why]);
    }
}
