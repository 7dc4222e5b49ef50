//! systemd's own verbs and tools, which know nothing of pods: they work on `rocket@NAME` as on the
//! service of any package. Told once, and run in each bed by [`verbs!`].

use rocket_testkit::unit::{Pod, systemctl};
use rocket_testkit::{Command, Done, image, run};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The tests of this file for one bed.
macro_rules! verbs {
    ($bed:literal: $($test:ident)*) => { $(
        #[test]
        fn $test() {
            rocket_testkit::require_bed($bed);
            crate::verbs::$test();
        }
    )* };
    ($bed:literal) => {
        verbs! { $bed:
            enable_links_a_pod_into_its_target_and_disable_takes_it_out
            one_preset_line_enables_several_pods
            a_masked_pod_cannot_be_started_by_anybody
            what_edit_writes_wins_over_the_pod_file_until_revert
            what_set_property_sets_is_kept_and_wins_over_the_pod_file
            list_dependencies_shows_pods_in_both_directions
            a_pod_starts_after_the_pod_it_requires_and_stops_with_it
            analyze_verify_finds_nothing_in_the_installed_units_and_in_a_pod
            critical_chain_leads_from_a_pod_to_what_it_waited_for
            analyze_security_judges_a_pod_by_what_it_judges_any_service_by
            cgtop_lists_a_pod_and_its_apps
            a_broken_pod_that_is_enabled_holds_up_nothing
        }
    };
}

/// Runs until it is asked to stop.
const CALM: &str = "trap 'exit 0' TERM; while :; do sleep 0.1; done";

/// A pod file with one app, and what else is to be in it.
fn text(more: &str) -> String {
    const IMAGE: &str = "example.com/verbs:1.0";
    image::add_busybox(IMAGE, &["/bin/sh", "-c", CALM]);
    format!("network = \"none\"\n[app.main]\nimage = \"{IMAGE}\"\n{more}\n")
}

/// What the administrator's verbs leave of a unit; gone when dropped.
struct Traces(Vec<String>);

impl Traces {
    fn of(pods: &[&Pod]) -> Self {
        Self(pods.iter().map(|pod| pod.unit()).collect())
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        for unit in &self.0 {
            for verb in ["unmask", "disable", "revert"] {
                run("systemctl", [verb, unit.as_str()]);
            }
        }
    }
}

fn is_enabled(pod: &Pod) -> String {
    pod.systemctl("is-enabled").text().to_owned()
}

fn wants(pod: &Pod) -> PathBuf {
    Path::new("/etc/systemd/system/multi-user.target.wants").join(pod.unit())
}

/// The lines of a tool's output without the tree that is drawn before the names.
fn names(done: &Done) -> Vec<&str> {
    let drawn = |c: char| !c.is_ascii_alphanumeric() && c != '-';
    done.stdout.lines().map(|line| line.trim_start_matches(drawn).trim_end()).collect()
}

pub fn enable_links_a_pod_into_its_target_and_disable_takes_it_out() {
    let pod = Pod::new("verb-enable", &text(""));
    let _traces = Traces::of(&[&pod]);
    assert_eq!((is_enabled(&pod).as_str(), wants(&pod).exists()), ("disabled", false));
    systemctl(["enable", "--now", &pod.unit()]).ok();
    let target = fs::read_link(wants(&pod)).unwrap();
    assert!(target.ends_with("rocket@.service"), "{}", target.display());
    assert_eq!(is_enabled(&pod), "enabled");
    assert_eq!(pod.show("ActiveState"), "active");
    assert_eq!(pod.show("UnitFileState"), "enabled");
    systemctl(["disable", "--now", &pod.unit()]).ok();
    assert_eq!((is_enabled(&pod).as_str(), wants(&pod).exists()), ("disabled", false));
    assert_eq!(pod.show("ActiveState"), "inactive");
    // Without --now a running pod runs on.
    pod.start();
    systemctl(["reenable", &pod.unit()]).ok();
    systemctl(["disable", &pod.unit()]).ok();
    assert_eq!(pod.show("ActiveState"), "active");
}

pub fn one_preset_line_enables_several_pods() {
    let [one, two, other] =
        ["verb-preset-one", "verb-preset-two", "verb-preset-other"].map(|n| Pod::new(n, &text("")));
    let _traces = Traces::of(&[&one, &two, &other]);
    let file = Path::new("/run/systemd/system-preset/10-verbs.preset");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    let line = "enable rocket@.service verb-preset-one verb-preset-two\ndisable rocket@*.service\n";
    fs::write(file, line).unwrap();
    let preset = systemctl(["preset", "rocket@.service"]);
    let single = systemctl(["preset", &other.unit()]);
    fs::remove_file(file).unwrap();
    preset.ok();
    single.ok();
    for (pod, state) in [(&one, "enabled"), (&two, "enabled"), (&other, "disabled")] {
        assert_eq!(is_enabled(pod), state, "{}", pod.unit());
        assert_eq!(wants(pod).exists(), state == "enabled", "{}", pod.unit());
    }
}

pub fn a_masked_pod_cannot_be_started_by_anybody() {
    let db = Pod::new("verb-masked", &text(""));
    let web = Pod::new("verb-of-masked", &text("[unit]\nrequires = [\"pod:verb-masked\"]"));
    let _traces = Traces::of(&[&db]);
    db.systemctl("mask").ok();
    assert_eq!(is_enabled(&db), "masked");
    assert_eq!(db.show("LoadState"), "masked");
    let refused = db.systemctl("start");
    assert!(refused.code() != 0 && refused.stderr.contains("masked"), "{refused}");
    let refused = web.systemctl("start");
    assert!(refused.code() != 0 && refused.stderr.contains("masked"), "{refused}");
    db.systemctl("unmask").ok();
    web.start();
    assert_eq!(db.show("ActiveState"), "active");
}

pub fn what_edit_writes_wins_over_the_pod_file_until_revert() {
    let pod = Pod::new("verb-edit", &text("[unit]\nrestart-sec = \"700ms\""));
    let _traces = Traces::of(&[&pod]);
    pod.start();
    assert_eq!(pod.show("RestartUSec"), "700ms");
    let dir = tempfile::tempdir().unwrap();
    // Whoever edits by hand writes between the two comments that systemctl puts there.
    let editor = dir.path().join("editor");
    let script = "#!/bin/sh\nfor file; do :; done\n\
                  sed -i '/^### Anything between/a [Service]\\nRestartSec=4s' \"$file\"\n";
    fs::write(&editor, script).unwrap();
    run("chmod", ["755", editor.to_str().unwrap()]).ok();
    // It insists on a terminal.
    let edit = format!("systemctl edit {}", pod.unit());
    let done = Command::new("script")
        .args(["--quiet", "--return", "--command", &edit, "/dev/null"])
        .env("SYSTEMD_EDITOR", editor.to_str().unwrap())
        .env("TERM", "dumb")
        .run();
    assert_eq!(done.code(), 0, "{done}");
    let file = format!("/etc/systemd/system/{}.d/override.conf", pod.unit());
    assert!(fs::read_to_string(&file).unwrap().contains("RestartSec=4s"));
    assert_eq!(pod.show("RestartUSec"), "4s");
    // Newer ones take it without a terminal, too.
    if Command::new("systemctl").args(["edit", "--help"]).run().stdout.contains("--stdin") {
        let unit = pod.unit();
        let drop_in = "--drop-in=more";
        Command::new("systemctl")
            .args(["edit", "--stdin", drop_in, &unit])
            .input("[Service]\nTimeoutStopSec=77s\n")
            .run()
            .ok();
        assert_eq!(pod.show("TimeoutStopUSec"), "1min 17s");
    }
    let shown = systemctl(["cat", &pod.unit()]).ok().stdout;
    let place = |word: &str| shown.find(word).unwrap_or_else(|| panic!("no {word} in {shown}"));
    assert!(place("10-rocket.conf") < place("override.conf"), "{shown}");
    // It is a setting of the unit: the pod runs on, and starts again with it.
    assert_eq!(pod.show("ActiveState"), "active");
    pod.systemctl("restart").ok();
    pod.systemctl("revert").ok();
    assert_eq!(pod.show("RestartUSec"), "700ms");
}

pub fn what_set_property_sets_is_kept_and_wins_over_the_pod_file() {
    let pod = Pod::new("verb-property", &text("[limits]\ntasks-max = 64\ncpu-weight = 50"));
    let _traces = Traces::of(&[&pod]);
    // A pod whose limits nobody can enforce does not start.
    let real = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap().contains("pids");
    if real {
        pod.start();
    }
    assert_eq!((pod.show("TasksMax"), pod.show("CPUWeight")), ("64".into(), "50".into()));
    systemctl(["set-property", &pod.unit(), "TasksMax=40"]).ok();
    assert_eq!(pod.show("TasksMax"), "40");
    let kept = format!("/etc/systemd/system.control/{}.d/50-TasksMax.conf", pod.unit());
    assert!(Path::new(&kept).exists(), "no {kept}");
    systemctl(["daemon-reload"]).ok();
    if real {
        let limit = || fs::read_to_string(pod.cgroup().join("pids.max")).unwrap();
        assert_eq!(limit(), "40\n");
        pod.systemctl("restart").ok();
        assert_eq!(limit(), "40\n");
    }
    assert_eq!((pod.show("TasksMax"), pod.show("CPUWeight")), ("40".into(), "50".into()));
    pod.systemctl("revert").ok();
    assert_eq!(pod.show("TasksMax"), "64");
}

pub fn list_dependencies_shows_pods_in_both_directions() {
    let db = Pod::new("verb-list-db", &text(""));
    let unit = "[unit]\nrequires = [\"pod:verb-list-db\"]\nafter = [\"pod:verb-list-db\"]\n\
                wants = [\"network-online.target\"]";
    let web = Pod::new("verb-list-web", &text(unit));
    let list = |options: &[&str], unit: &str| {
        let done = run("systemctl", [&["list-dependencies", "--plain"], options, &[unit]].concat());
        names(&done.ok()).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let below = list(&[], &web.unit());
    for wanted in [db.unit().as_str(), "rocket.slice", "network-online.target"] {
        assert!(below.iter().any(|name| name == wanted), "no {wanted} in {below:?}");
    }
    // What is above a unit systemd knows of the units that are loaded.
    web.start();
    for options in [&["--reverse"][..], &["--before"]] {
        let above = list(options, &db.unit());
        assert!(above.contains(&web.unit()), "{options:?}: {above:?}");
    }
    assert!(list(&["--after"], &web.unit()).contains(&db.unit()));
}

pub fn a_pod_starts_after_the_pod_it_requires_and_stops_with_it() {
    // Ready a while after its start: whoever is after it has to wait for that.
    let db = Pod::new(
        "verb-db",
        &text("pre-start = [\"/bin/sh\", \"-c\", \"sleep 1; echo db is prepared\"]"),
    );
    let unit = "[unit]\nrequires = [\"pod:verb-db\"]\nafter = [\"pod:verb-db\"]";
    let web = Pod::new("verb-web", &text(unit));
    web.start();
    assert_eq!(db.show("ActiveState"), "active");
    let when = |pod: &Pod, property: &str| pod.show(property).parse::<u64>().unwrap();
    assert!(
        when(&db, "ActiveEnterTimestampMonotonic") <= when(&web, "ExecMainStartTimestampMonotonic")
    );
    db.systemctl("stop").ok();
    web.wait_for("ActiveState", "inactive");
    // And nobody starts without what he requires.
    db.write("network = \"none\"\n[app.main]\nimage = \"example.com/none-such\"\n");
    let refused = web.systemctl("start");
    assert!(refused.code() != 0 && refused.stderr.contains("ependency"), "{refused}");
    web.wait_for("ActiveState", "inactive");
}

pub fn analyze_verify_finds_nothing_in_the_installed_units_and_in_a_pod() {
    let unit = "[schedule]\ncalendar = [\"daily\"]\n[port.http]\napp = \"main\"\nport = 8080\n\
                activation = true";
    let pod = Pod::new("verb-verify", &text(unit));
    let units = [
        "rocket.slice",
        "rocket-gc.service",
        "rocket-gc.timer",
        &pod.unit(),
        "rocket@verb-verify.timer",
    ];
    // The socket is read with the service, which wants it. It cannot be named here: systemd-analyze
    // takes what stands behind a colon for another name of the unit.
    assert!(pod.show("Wants").contains("rocket@verb-verify:http.socket"), "{}", pod.show("Wants"));
    // It looks at what generators wrote only when it is told where that is.
    let done = Command::new("systemd-analyze")
        .args([&["verify", "--man=no"][..], &units].concat())
        .env("SYSTEMD_UNIT_PATH", "/run/systemd/generator:")
        .run()
        .ok();
    assert_eq!((done.text(), done.stderr.as_str()), ("", ""));
}

pub fn critical_chain_leads_from_a_pod_to_what_it_waited_for() {
    let pod = Pod::new("verb-chain", &text(""));
    pod.start();
    run("systemctl", ["is-system-running", "--wait"]);
    let chain = |unit: &str| {
        let done = run("systemd-analyze", ["critical-chain", "--no-pager", unit]).ok();
        names(&done).into_iter().skip(2).map(str::to_owned).collect::<Vec<_>>()
    };
    let lines = chain(&pod.unit());
    let mut lines = lines.iter().skip_while(|line| !line.starts_with("rocket@"));
    // The pod with the time it took, and the chain of the boot below it.
    let first = lines.next().unwrap();
    let (unit, took) = first.split_once(" +").unwrap_or_else(|| panic!("no time in {first}"));
    assert_eq!(unit.split(' ').next().unwrap(), pod.unit());
    assert!(took.ends_with('s'), "{first}");
    let below: Vec<_> = lines.map(String::as_str).collect();
    assert!(below.iter().any(|line| line.starts_with("sysinit.target @")), "{below:?}");
    // As for any service: here one that was there at the boot.
    assert!(chain("systemd-journald.service").iter().any(|line| line.contains(" @")));
}

pub fn analyze_security_judges_a_pod_by_what_it_judges_any_service_by() {
    let pod = Pod::new("verb-security", &text(""));
    let unit = pod.unit();
    let judged = |unit: &str| {
        let done = run("systemd-analyze", ["security", "--no-pager", "--json=short", unit]).ok();
        let list: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
        let settings = list.as_array().unwrap().iter();
        settings.map(|one| one["json_field"].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>()
    };
    let of_pod = judged(&unit);
    assert!(of_pod.len() > 50, "{of_pod:?}");
    assert_eq!(of_pod, judged("dbus.service"));
    let done = run("systemd-analyze", ["security", "--no-pager", &unit]).ok();
    assert!(done.stdout.contains(&format!("exposure level for {unit}")), "{done}");
    // A threshold is for scripts: what is above it fails, and by nothing else.
    let args = ["security", "--no-pager", "--threshold=100", &unit];
    run("systemd-analyze", args).ok();
    // Started, it is in the list of all services.
    pod.start();
    let all = run("systemd-analyze", ["security", "--no-pager"]).ok();
    assert!(all.stdout.contains(&unit), "{all}");
}

pub fn cgtop_lists_a_pod_and_its_apps() {
    let pod = Pod::new("verb-top", &text(""));
    pod.start();
    let options = ["--batch", "--iterations=2", "--delay=100ms", "--depth=4", "-P", "--order=path"];
    let done = run("systemd-cgtop", options).ok();
    let tasks = |path: String| {
        let line = done.stdout.lines().rfind(|line| line.split(' ').next() == Some(&path));
        let line = line.unwrap_or_else(|| panic!("no {path} in {done}"));
        line.split_whitespace().nth(1).unwrap().parse::<u32>().unwrap()
    };
    let group = pod.show("ControlGroup");
    let group = group.trim_start_matches('/').to_owned();
    assert!(group.starts_with("rocket.slice/"), "{group}");
    // init, the shell, and mostly its sleep.
    assert!(tasks(group.clone()) >= 2, "{done}");
    assert!(tasks(format!("{group}/app-main")) >= 1, "{done}");
}

pub fn a_broken_pod_that_is_enabled_holds_up_nothing() {
    let broken = Pod::new("verb-broken", "network = \"none\"\n[app.main]\nimgae = \"x\"\n");
    let fine = Pod::new("verb-unbroken", &text(""));
    let _traces = Traces::of(&[&broken, &fine]);
    for pod in [&broken, &fine] {
        pod.systemctl("enable").ok();
    }
    // What a boot does: generators first, then everything that the target wants.
    systemctl(["daemon-reload"]).ok();
    systemctl(["start", "multi-user.target"]).ok();
    fine.wait_for("ActiveState", "active");
    broken.wait_for("ActiveState", "failed");
    assert_eq!(systemctl(["is-active", "multi-user.target"]).text(), "active");
    assert_eq!(broken.show("NRestarts"), "0");
    let status = broken.systemctl("status").stdout;
    let place = "/etc/rocket/pods/verb-broken.toml:3:1: unknown key \"imgae\"";
    assert!(status.contains(place), "{status}");
    let words = "rocket-generator.*(fail|exit|kill)";
    let said = run("journalctl", ["--boot", "--quiet", "--output=cat", "--grep", words]);
    assert_eq!(said.text(), "");
}
