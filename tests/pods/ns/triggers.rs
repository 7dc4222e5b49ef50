//! What starts pods besides their own unit: templates' instances and timers.

use rocket_testkit::unit::{Pod, systemctl};
use rocket_testkit::{Done, image, require_bed, rocket, run, wait_until};
use std::fs;
use std::path::Path;

const TEMPLATE: &str = "/etc/rocket/pods/tpl@.toml";

/// Everything of the instances goes when the test ends.
struct Template;

impl Template {
    fn new() -> Self {
        image::add_busybox("example.com/tpl:1.0", &["/bin/sh"]);
        fs::create_dir_all("/etc/rocket/pods").unwrap();
        let text = "description = \"Instance %i\"\nnetwork = \"none\"\n[app.main]\n\
                    image = \"example.com/tpl:1.0\"\n\
                    exec = [\"/bin/sh\", \"-c\", 'trap \"exit 0\" TERM; echo \"I am %i on $(hostname)\"; \
                    while :; do sleep 0.1; done']\n[limits]\ntasks-max = 77\n";
        fs::write(TEMPLATE, text).unwrap();
        systemctl(["daemon-reload"]).ok();
        Self
    }
}

impl Drop for Template {
    fn drop(&mut self) {
        for instance in ["one", "two", "three", "four"] {
            let unit = unit(instance);
            run("systemctl", ["disable", "--now", &unit]);
            run("systemctl", ["reset-failed", &unit]);
            drop(fs::remove_dir_all(format!("/run/rocket/pods/tpl@{instance}.toml.d")));
        }
        drop(fs::remove_file(TEMPLATE));
        drop(fs::remove_file("/etc/systemd/system-preset/10-tpl.preset"));
        run("systemctl", ["daemon-reload"]);
    }
}

fn unit(instance: &str) -> String {
    format!("rocket@tpl@{instance}.service")
}

fn show(instance: &str, property: &str) -> String {
    systemctl(["show", "--value", "-p", property, &unit(instance)]).ok().text().to_owned()
}

fn says(instance: &str) {
    let expected = format!("I am {instance} on tpl-{instance}");
    wait_until(&expected, 20, || {
        let done: Done = run("journalctl", ["-b", "-o", "cat", "-u", &unit(instance)]);
        done.stdout.lines().any(|line| line == expected)
    });
}

#[test]
fn instances_of_a_template_are_pods_of_their_own() {
    require_bed("ns");
    let _template = Template::new();
    // Enabled, as with any template.
    systemctl(["enable", "--now", &unit("one")]).ok();
    assert_eq!(systemctl(["is-enabled", &unit("one")]).ok().text(), "enabled");
    assert_eq!(show("one", "TasksMax"), "77");
    assert_eq!(show("one", "Description"), "Instance one");
    says("one");
    // Introduced by rocket.
    rocket(["start", "tpl@two"]).ok();
    assert_eq!(show("two", "TasksMax"), "77");
    says("two");
    let list = rocket(["list"]).ok();
    assert!(list.stdout.contains("tpl@one") && list.stdout.contains("tpl@two"), "{list}");
    // Known to nobody: no limits, so no start.
    let done = systemctl(["start", &unit("three")]);
    assert_ne!(done.code(), 0);
    wait_until("the way out", 20, || {
        let done: Done = run("journalctl", ["-b", "-o", "cat", "-u", &unit("three")]);
        done.stdout.contains("rocket start tpl@three")
    });
    rocket(["start", "tpl@three"]).ok();
    says("three");
    rocket(["stop", "tpl@two"]).ok();
    assert_eq!(show("two", "ActiveState"), "inactive");
    assert_eq!(show("one", "ActiveState"), "active");
}

#[test]
fn a_preset_line_enables_several_instances() {
    require_bed("ns");
    let _template = Template::new();
    fs::create_dir_all("/etc/systemd/system-preset").unwrap();
    let line = "enable rocket@.service tpl@one tpl@four\ndisable rocket@.service\n";
    fs::write("/etc/systemd/system-preset/10-tpl.preset", line).unwrap();
    systemctl(["preset", "rocket@.service"]).ok();
    for instance in ["one", "four"] {
        assert_eq!(systemctl(["is-enabled", &unit(instance)]).ok().text(), "enabled");
        assert_eq!(show(instance, "TasksMax"), "77", "{instance}");
    }
}

#[test]
fn a_schedule_starts_the_pod_again_and_again() {
    require_bed("ns");
    image::add_busybox("example.com/tick:1.0", &["/bin/sh", "-c", "echo tick"]);
    let pod = Pod::new(
        "tick",
        "network = \"none\"\n[app.main]\nimage = \"example.com/tick:1.0\"\nkind = \"oneshot\"\n\
         [schedule]\ncalendar = [\"*:*:*\"]\naccuracy = \"1ms\"\n",
    );
    let timer = "rocket@tick.timer";
    systemctl(["enable", "--now", timer]).ok();
    assert!(Path::new("/etc/systemd/system/timers.target.wants").join(timer).exists());
    wait_until("three ticks", 60, || {
        pod.journal().iter().filter(|entry| entry["MESSAGE"] == "tick").count() >= 3
    });
    let show = systemctl(["show", "--value", "-p", "Description", timer]).ok();
    assert_eq!(show.text(), "Timer of pod tick");
    systemctl(["disable", "--now", timer]).ok();
}
