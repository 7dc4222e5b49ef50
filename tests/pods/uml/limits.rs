//! Every key of `limits`, measured; what this kernel lacks is refused by name. The one processor of
//! this machine may be taken away at any time, so shares are compared, never speeds.

use super::{IMAGE, read};
use rocket_testkit::unit::{Pod, systemctl};
use rocket_testkit::{Command, image, require_bed, rocket, run, wait_until};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A pod of several apps: name, script and further keys of each.
fn apps(name: &str, apps: &[(&str, &str, &str)], more: &str) -> Pod {
    image::add_busybox(IMAGE, &["/bin/sh"]);
    let apps = apps.iter().map(|(name, script, keys)| {
        format!(
            "[app.{name}]\nimage = \"{IMAGE}\"\nexec = [\"/bin/sh\", \"-c\", '''{script}''']\n\
             stop-timeout = \"1s\"\n{keys}\n"
        )
    });
    let apps: String = apps.collect();
    let head = "version = 1\nnetwork = \"none\"\nexit-policy = \"all-done\"\n";
    Pod::new(name, &format!("{head}{apps}[unit]\nrestart = \"no\"\n{more}"))
}

fn status(pod: &str) -> Value {
    let shown = rocket(["status", "--format=json", pod]).ok();
    serde_json::from_str(&shown.stdout).unwrap()
}

/// What a report says of `name`: in which list, and why.
fn became(isolators: &Value, name: &str) -> (String, String) {
    for list in ["enforced", "changed", "ignored"] {
        let mut entries = isolators[list].as_array().unwrap().iter();
        if let Some(entry) = entries.find(|entry| entry["name"] == name) {
            return (list.to_owned(), entry["detail"].as_str().unwrap().to_owned());
        }
    }
    panic!("nothing of {name} in {isolators}");
}

/// A number of a file of lines `KEY NUMBER`.
fn field(pod: &Pod, file: &str, key: &str) -> u64 {
    let text = read(pod, file);
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {key} in {text}")).parse().unwrap()
}

/// The processor time that each leaf gets within `seconds`, in microseconds.
fn processor_time<const N: usize>(pod: &Pod, leaves: [&str; N], seconds: u64) -> [u64; N] {
    let now = || leaves.map(|leaf| field(pod, &format!("{leaf}/cpu.stat"), "usage_usec"));
    let before = now();
    sleep(Duration::from_secs(seconds));
    let after = now();
    std::array::from_fn(|index| after[index] - before[index])
}

const BUSY: &str = "while :; do :; done";

#[test]
fn each_limit_is_reported_and_what_the_kernel_lacks_is_refused_by_name() {
    require_bed("uml");
    image::add_busybox(IMAGE, &["/bin/sleep", "1000"]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("all.toml");
    let text = |lacking: &str| {
        format!(
            "version = 1\nnetwork = \"none\"\n[app.main]\nimage = \"{IMAGE}\"\n\
             [app.main.limits]\nmemory-max = \"64M\"\nmemory-high = 50000001\nmemory-low = \"8M\"\n\
             memory-swap-max = 0\ncpu-quota = \"50%\"\ncpu-weight = 200\ntasks-max = 20\n\
             io-max = {{ \"/\" = {{ write-bandwidth = \"1M\" }} }}\n{lacking}[limits]\n\
             memory-max = \"128M\"\nmemory-high = \"100M\"\nmemory-swap-max = 0\n\
             cpu-quota = \"80%\"\ncpu-weight = 300\ntasks-max = 50\n\
             io-max = {{ \"/dev/ubda\" = {{ write-bandwidth = \"2M\", read-iops = 100 }} }}\n"
        )
    };
    let path = file.to_str().unwrap();
    // User-mode-linux is built without cpuset (one processor) and io.weight (no iocost, no bfq).
    let here = std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap();
    assert!(!here.contains("cpuset"), "this kernel can do more now: test it: {here}");
    std::fs::write(&file, text("allowed-cpus = \"0\"\nio-weight = 300\n")).unwrap();
    let refused = rocket(["run", "-f", path]).ends_with(125);
    refused.says(&["of app main", "limits.allowed-cpus", "no cpuset controller"]).says(&[
        "limits.io-weight",
        "this kernel has no io.weight",
        "--best-effort",
    ]);
    // Without a cgroup there is nothing at all.
    let bare = rocket(["run", "--cgroup=none", "-f", path]).ends_with(125);
    bare.says(&["limits.memory-max of app main", "limits.cpu-quota of the pod", "cgroup"]);
    // In a scope, a transient service and a unit alike.
    let detached = rocket(["run", "--detach", "--best-effort", "-f", path]).ok();
    let uuid = detached.text().to_owned();
    let shown = status(&uuid);
    let app = &shown["apps"][0];
    for (name, list, why) in [
        ("limits.memory-max", "enforced", "memory.max=67108864"),
        ("limits.memory-high", "changed", "in whole pages"),
        ("limits.memory-low", "changed", "the pod, which has no memory-low"),
        ("limits.memory-swap-max", "enforced", "memory.swap.max=0"),
        ("limits.cpu-quota", "enforced", "cpu.max=50000 100000"),
        ("limits.cpu-weight", "enforced", "cpu.weight=200"),
        ("limits.tasks-max", "enforced", "pids.max=20"),
        ("limits.io-max.\"/\"", "enforced", "wbps=1000000"),
        ("limits.io-weight", "ignored", "this kernel has no io.weight"),
        ("limits.allowed-cpus", "ignored", "no cpuset controller"),
    ] {
        let (found, detail) = became(&app["isolators"], name);
        assert!(found == list && detail.contains(why), "{name}: {found}: {detail}");
    }
    for name in ["memory-max", "memory-high", "memory-swap-max", "cpu-quota", "tasks-max"] {
        let (list, _) = became(&shown["isolators"], &format!("limits.{name}"));
        assert_eq!(list, "enforced", "{name}");
    }
    let (list, why) = became(&shown["isolators"], "limits.io-max.\"/dev/ubda\"");
    assert_eq!((list.as_str(), why.as_str()), ("enforced", "io.max=98:0 wbps=2000000 riops=100"));
    assert_eq!(
        (&app["limits"]["memory.high"], &shown["limits"]["pids.max"]),
        (&"49999872".into(), &"50".into())
    );
    assert!(shown["usage"]["tasks"].as_u64() >= Some(2), "{shown}");
    let told = rocket(["status", &uuid]).ok().stdout;
    assert!(told.contains("ignored: limits.allowed-cpus"), "{told}");
    // The same words are in the pod directory.
    let report = format!("/var/lib/rocket/pods/run/{uuid}/limits.json");
    let report: Value = serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();
    assert_eq!(report["apps"][0]["ignored"], app["isolators"]["ignored"]);
    let top = rocket(["top", "--format=json", &uuid]).ok();
    let top: Value = serde_json::from_str(&top.stdout).unwrap();
    assert_eq!(top[1]["limits"]["cpu.max"], "80000 100000", "{top}");
    rocket(["stop", "--force", &uuid]).ok();
    // In a scope too, and nothing is missing.
    std::fs::write(&file, text("")).unwrap();
    let scope = Command::new("/usr/bin/rocket").args(["run", "--strict", "-f", path]).start();
    wait_until("the pod in a scope says so", 30, || {
        let shown = rocket(["status", "--format=json", "all"]).stdout;
        let shown: Value = serde_json::from_str(&shown).unwrap_or_default();
        shown["unit"].as_str().is_some_and(|unit| unit.ends_with(".scope"))
            && shown["isolators"]["enforced"].as_array().is_some_and(|list| list.len() == 7)
    });
    rocket(["stop", "--force", "all"]).ok();
    scope.wait();
}

#[test]
fn a_limit_of_the_pod_that_its_unit_cannot_have_fails_the_pod() {
    require_bed("uml");
    let pod = apps("lacking", &[("main", "sleep 1000", "")], "[limits]\nallowed-cpus = \"0\"\n");
    pod.systemctl("start");
    assert_eq!(pod.show("Result"), "exit-code");
    assert_eq!(pod.show("ExecMainStatus"), "125");
    let said = |text: &str| {
        let lines = pod.journal();
        lines.iter().any(|line| line["MESSAGE"].as_str().is_some_and(|line| line.contains(text)))
    };
    wait_until("the journal names it", 20, || {
        said("cannot enforce limits of the pod: limits.allowed-cpus (cpuset.cpus=0)")
    });
}

#[test]
fn what_an_image_asks_for_is_on_the_leaf_and_the_pod_file_wins() {
    require_bed("uml");
    const WISHES: &str = "example.com/wishes:1.0";
    image::add_busybox_with(
        WISHES,
        &["/bin/sleep", "1000"],
        r#"[{"name":"resource/memory","value":{"limit":"42Mi"}},
            {"name":"resource/cpu","value":{"limit":"900m"}},
            {"name":"os/linux/cpu-shares","value":12345},
            {"name":"resource/block-bandwidth","value":{"default":true,"limit":"2M"}},
            {"name":"resource/network-bandwidth","value":{"default":true,"limit":"1G"}}]"#,
    );
    let head = format!("version = 1\nnetwork = \"none\"\n[app.main]\nimage = \"{WISHES}\"\n");
    let limits = "limits = { memory-max = \"50M\" }\n";
    let pod = Pod::new("wishes", &format!("{head}{limits}[unit]\nrestart = \"no\"\n"));
    pod.start();
    for (file, value) in [
        ("memory.max", "52428800"),
        ("cpu.max", "90000 100000"),
        ("cpu.weight", "1206"),
        ("io.max", "98:0 rbps=2000000 wbps=2000000 riops=max wiops=max"),
    ] {
        assert_eq!(read(&pod, &format!("app-main/{file}")), value, "{file}");
    }
    let isolators = &status("wishes")["apps"][0]["isolators"];
    for (name, list, why) in [
        ("resource/memory", "changed", "the pod file says it otherwise"),
        ("resource/cpu", "enforced", "cpu.max=90000 100000"),
        ("os/linux/cpu-shares", "changed", "cpu.weight=1206"),
        ("resource/block-bandwidth", "changed", "the disk of the pod's files"),
        ("resource/network-bandwidth", "ignored", ""),
    ] {
        let (found, detail) = became(isolators, name);
        assert!(found == list && detail.contains(why), "{name}: {found}: {detail}");
    }
    pod.systemctl("stop").ok();
    // Strictly it does not start, however the strictness comes to it.
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("strict.toml");
    std::fs::write(&file, head).unwrap();
    let file = file.to_str().unwrap();
    for verb in ["run", "prepare"] {
        let refused = rocket([verb, "--strict", "-f", file]).ends_with(125);
        refused.says(&["resource/network-bandwidth of app \"main\""]);
    }
    let prepared = rocket(["prepare", "-f", file]).ok();
    let uuid = prepared.text();
    let refused = rocket(["run-prepared", "--strict", uuid]).ends_with(125);
    refused.says(&["resource/network-bandwidth of app \"main\""]);
    rocket(["rm", uuid]).ok();
}

#[test]
fn quotas_and_weights_of_processor_time_hold() {
    require_bed("uml");
    let keys = ["cpu-weight = 100", "cpu-weight = 400", "cpu-quota = \"20%\""];
    let [light, heavy, bounded] = keys.map(|key| format!("limits = {{ {key} }}"));
    let list = [("light", BUSY, &*light), ("heavy", BUSY, &*heavy), ("bounded", BUSY, &*bounded)];
    let pod = apps("processor", &list, "");
    pod.start();
    let freeze = |app: &str, frozen: &str| {
        let file = pod.cgroup().join(format!("app-{app}/cgroup.freeze"));
        std::fs::write(file, frozen).unwrap();
    };
    freeze("bounded", "1");
    let [light, heavy] = processor_time(&pod, ["app-light", "app-heavy"], 3);
    let ratio = heavy as f64 / light as f64;
    println!("weights 100:400: processor time 1:{ratio:.2}");
    assert!((2.5..=6.0).contains(&ratio), "{heavy} to {light}");
    for (app, frozen) in [("light", "1"), ("heavy", "1"), ("bounded", "0")] {
        freeze(app, frozen);
    }
    let began = Instant::now();
    let [used] = processor_time(&pod, ["app-bounded"], 3);
    let share = used as f64 / began.elapsed().as_micros() as f64;
    println!("20 % quota: {:.1} % used", share * 100.0);
    assert!(share < 0.3 && used > 0, "{share}");
    wait_until("it is throttled", 60, || field(&pod, "app-bounded/cpu.stat", "nr_throttled") > 0);
}

#[test]
fn an_app_keeps_its_share_beside_a_hog_of_equal_weight() {
    require_bed("uml");
    let worker = "n=0; while :; do n=$((n+1)); [ $((n%200)) -ne 0 ] || echo $n >/n; done";
    let hog = format!("for i in 1 2 3 4 5 6; do {BUSY} & done; wait");
    let pod = apps("beside", &[("worker", worker, ""), ("hog", &hog, "")], "");
    pod.start();
    let uuid = status("beside")["uuid"].as_str().unwrap().to_owned();
    let count = PathBuf::from(format!("/var/lib/rocket/pods/run/{uuid}/apps/worker/upper/n"));
    let count = || -> Option<u64> { std::fs::read_to_string(&count).ok()?.trim().parse().ok() };
    wait_until("the worker counts", 60, || count().is_some());
    // It writes while this reads: an empty file is looked at once more.
    let counted = || loop {
        if let Some(count) = count() {
            return count;
        }
    };
    let freeze = pod.cgroup().join("app-hog/cgroup.freeze");
    let speed = |frozen: &str| {
        std::fs::write(&freeze, frozen).unwrap();
        let (began, before) = (Instant::now(), counted());
        sleep(Duration::from_millis(2500));
        (counted() - before) as f64 / began.elapsed().as_secs_f64()
    };
    // A round may fall into a moment in which the machine under this one is busy: there each switch
    // between two processes waits for a processor of that machine, which only costs the shared rounds.
    let mut kept = 0.0;
    for _ in 0..24 {
        let (alone, beside) = (speed("1"), speed("0"));
        kept = beside / alone;
        println!("{alone:.0} loops a second alone, {beside:.0} beside the hog: {kept:.2}");
        if kept >= 0.4 {
            break;
        }
    }
    assert!(kept >= 0.4, "{kept}");
    // The processor's own word for it, whatever its speed: half of what there is.
    let [worker, hog] = processor_time(&pod, ["app-worker", "app-hog"], 3);
    let share = worker as f64 / (worker + hog) as f64;
    println!("share of the processor time: {share:.2}");
    assert!((0.4..=0.6).contains(&share), "{share}");
}

/// Swap of this machine for as long as it lives.
struct Swap(&'static str);

impl Swap {
    fn on(path: &'static str) -> Self {
        let swap = Self(path);
        std::fs::write(path, vec![0; 96 << 20]).unwrap();
        run("chmod", ["600", path]).ok();
        run("mkswap", [path]).ok();
        run("swapon", [path]).ok();
        swap
    }
}

impl Drop for Swap {
    fn drop(&mut self) {
        let done = run("swapoff", [self.0]);
        drop(std::fs::remove_file(self.0));
        assert!(done.code() == 0 || std::thread::panicking(), "{done}");
    }
}

#[test]
fn memory_high_slows_down_and_swap_is_limited_apart_from_memory() {
    require_bed("uml");
    // 24 MB that stay: tail keeps them all until there is an end, and then nobody reads.
    let now = "head -c 24000000 /dev/zero | tail -c 24000000 | sleep 1000";
    let late = format!("while [ ! -e /go ]; do sleep 0.2; done; {now}");
    let limits =
        |swap: &str| format!("limits = {{ memory-max = \"16M\", memory-swap-max = {swap} }}");
    let (may, may_not) = (limits("\"32M\""), limits("0"));
    let high = "limits = { memory-high = \"12M\" }";
    let list = [("high", now, high), ("may", &*late, &*may), ("may-not", &*late, &*may_not)];
    // Swapped off after the pod is gone: an app that is over its limit could not take it all back.
    let _swap;
    let pod = apps("memory", &list, "");
    pod.start();
    let victims = |app: &str| field(&pod, &format!("app-{app}/memory.events"), "oom_kill");
    wait_until("one app is held back", 60, || field(&pod, "app-high/memory.events", "high") > 3);
    assert_eq!(victims("high"), 0);
    assert!(!read(&pod, "app-high/cgroup.procs").is_empty());
    _swap = Swap::on("/var/tmp/swap");
    for app in ["may", "may-not"] {
        rocket(["enter", &format!("memory/{app}"), "--", "/bin/touch", "/go"]).ok();
    }
    let number = |file: &str| read(&pod, file).parse::<u64>().unwrap();
    wait_until("one app swaps", 60, || number("app-may/memory.swap.current") > 4_000_000);
    wait_until("the other one loses", 60, || victims("may-not") > 0);
    assert_eq!((number("app-may-not/memory.swap.current"), victims("may")), (0, 0));
    assert!(number("app-may/memory.current") <= 16 << 20);
}

#[test]
fn a_disk_gives_an_app_no_more_than_its_io_max() {
    require_bed("uml");
    let script = "for i in 1 2 3; do read a b </proc/uptime; \
                  dd if=/dev/zero of=/file bs=65536 count=32 oflag=direct 2>/dev/null; \
                  read c b </proc/uptime; echo took $a $c; done; sleep 1000";
    let limits = "limits = { io-max = { \"/\" = { write-bandwidth = \"1M\" } } }";
    let pod = apps("throttled", &[("main", script, limits)], "");
    pod.start();
    let mut times: Vec<f64> = Vec::new();
    wait_until("it has written", 60, || {
        let lines = pod.journal();
        let took = lines.iter().filter_map(|line| line["MESSAGE"].as_str()?.strip_prefix("took "));
        let span = took.map(|words| {
            let times: Vec<f64> = words.split(' ').map(|word| word.parse().unwrap()).collect();
            times[1] - times[0]
        });
        times = span.collect();
        times.len() == 3
    });
    let written = 3.0 * 2_097_152.0;
    let rate = written / times.iter().sum::<f64>();
    println!("io.max 1 MB/s: {written} bytes at {rate:.0} a second");
    assert!(rate < 1_300_000.0, "{rate}");
    let file = "app-main/io.stat";
    assert!(read(&pod, file).contains("wbytes="), "{}", read(&pod, file));
}

#[test]
fn what_set_property_changes_is_what_status_shows() {
    require_bed("uml");
    let pod = apps("reset", &[("main", "sleep 1000", "")], "[limits]\ntasks-max = 50\n");
    pod.start();
    systemctl(["set-property", "--runtime", &pod.unit(), "TasksMax=30", "CPUWeight=50"]).ok();
    let shown = status("reset");
    assert_eq!(
        (&shown["limits"]["pids.max"], &shown["limits"]["cpu.weight"]),
        (&"30".into(), &"50".into())
    );
    // A start under such a property says that the value is another's.
    pod.systemctl("restart").ok();
    let (list, why) = became(&status("reset")["isolators"], "limits.tasks-max");
    assert!(list == "changed" && why.contains("as systemd has set it"), "{list}: {why}");
    let drop_ins = Path::new("/run/systemd/system.control").join(format!("{}.d", pod.unit()));
    std::fs::remove_dir_all(drop_ins).unwrap();
}
