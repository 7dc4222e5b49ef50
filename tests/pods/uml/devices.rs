//! The list of devices of an app's leaf, with all else off that would stop a device node: no user
//! namespace, and a place that is not `nodev`. Its kernel is the bed's own.

use rocket_testkit::{Done, image, require_bed, rocket, run, wait_until};
use serde_json::Value;
use std::fs;
use std::path::Path;

const IMAGE: &str = "example.com/nodes:1.0";

/// A prepared pod whose one app sees the directory at /v, where nodes open.
fn prepare(name: &str, nodes: &Path, script: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(format!("{name}.toml"));
    let text = format!(
        "version = 1\nnetwork = \"none\"\n[security]\nuser-namespace = false\n\
         [app.main]\nimage = \"{IMAGE}\"\nexec = [\"/bin/sh\", \"-c\", '''{script}''']\n\
         security = {{ capabilities = [\"mknod\"] }}\nmounts = {{ \"/v\" = \"v\" }}\n\
         [volume.v]\nkind = \"host\"\nsource = \"{}\"\n",
        nodes.display()
    );
    fs::write(&file, text).unwrap();
    let done = rocket(["prepare", "-f", file.to_str().unwrap()]).ok();
    let uuid = done.text().lines().last().unwrap().to_owned();
    // No pod file can ask for this.
    let plan = Path::new("/var/lib/rocket/pods/prepared").join(&uuid).join("plan.json");
    let mut value: Value = serde_json::from_slice(&fs::read(&plan).unwrap()).unwrap();
    for mount in value["apps"][0]["mounts"].as_array_mut().unwrap() {
        if mount["target"] == "/v" {
            mount["nodev"] = false.into();
        }
    }
    fs::write(plan, value.to_string()).unwrap();
    uuid
}

fn nodes() -> tempfile::TempDir {
    image::add_busybox(IMAGE, &["/bin/sh"]);
    let dir = tempfile::tempdir_in("/var/lib").unwrap();
    for (name, kind, major, minor) in [
        ("null", "c", "1", "3"),
        ("mem", "c", "1", "1"),
        ("kmsg", "c", "1", "11"),
        ("disk", "b", "98", "0"),
    ] {
        run("mknod", [dir.path().join(name).to_str().unwrap(), kind, major, minor]).ok();
    }
    dir
}

const LOOK: &str = "for n in null mem kmsg disk; do
    if (: <>/v/$n) 2>/dev/null; then echo $n opens; else echo $n refused; fi; done
    dd if=/v/disk of=/dev/null bs=1 count=1 2>&1 | grep -o 'Operation not permitted'
    mknod /v/own-null c 1 3 2>/dev/null && (: >/v/own-null) && echo own null opens
    mknod /v/own-disk b 98 0 2>&1 | grep -o 'Operation not permitted'";

fn opens(done: &Done) -> Vec<&str> {
    done.stdout.lines().collect()
}

#[test]
fn the_list_of_devices_alone_refuses_numbers_that_are_not_on_it() {
    require_bed("uml");
    let nodes = nodes();
    let uuid = prepare("listed", nodes.path(), LOOK);
    let done = rocket(["run-prepared", "--rm", &uuid]);
    let eperm = "Operation not permitted";
    let expected = [
        "null opens",
        "mem refused",
        "kmsg refused",
        "disk refused",
        eperm,
        "own null opens",
        eperm,
    ];
    assert_eq!(opens(&done), expected, "{done}");
}

#[test]
fn a_pod_without_a_cgroup_says_that_no_list_of_devices_holds() {
    require_bed("uml");
    let nodes = nodes();
    let script = format!("{LOOK}; touch /v/looked; exec sleep 1000");
    let uuid = prepare("unlisted", nodes.path(), &script);
    let pod = rocket_testkit::Command::new("/usr/bin/rocket")
        .args(["run-prepared", "--cgroup=none", &uuid])
        .seconds(120)
        .start();
    wait_until("the app has looked", 60, || nodes.path().join("looked").exists());
    let status = rocket(["status", "--format=json", &uuid]).ok();
    let shown = rocket(["status", &uuid]).ok();
    let explained = rocket(["explain", &uuid]).ok();
    rocket(["stop", &uuid]);
    let done = pod.wait();
    rocket(["rm", &uuid]);
    assert!(opens(&done).contains(&"kmsg opens") && opens(&done).contains(&"disk opens"), "{done}");
    assert!(done.stderr.contains("no list of devices"), "{done}");
    let word = "--cgroup=none: no limits, and no list of devices";
    let status: Value = serde_json::from_str(&status.stdout).unwrap();
    assert!(status["weakened"].as_array().unwrap().contains(&word.into()), "{status}");
    let ignored = &status["apps"][0]["isolators"]["ignored"];
    let named = |entry: &&Value| entry["name"] == "devices";
    assert!(
        ignored.as_array().is_some_and(|list| list.iter().any(|entry| named(&entry))),
        "{status}"
    );
    assert!(shown.stdout.contains(word) && explained.stdout.contains(word), "{shown}\n{explained}");
}
