//! Pod manifests of appc where a pod file can be.

use rocket_testkit::unit::systemctl;
use rocket_testkit::{image, require_bed, rocket, wait_until};
use std::fs;

const FILE: &str = "/etc/rocket/pods/appc-pod.json";

struct Manifest;

impl Drop for Manifest {
    fn drop(&mut self) {
        systemctl(["stop", "rocket@appc-pod.service"]);
        systemctl(["reset-failed", "rocket@appc-pod.service"]);
        drop(fs::remove_file(FILE));
        systemctl(["daemon-reload"]);
    }
}

#[test]
fn a_manifest_in_the_search_path_is_a_pod_and_what_cat_manifest_writes_is_one_again() {
    require_bed("ns");
    image::add_busybox("example.com/appc-pod:1.0", &["/bin/sh"]);
    fs::create_dir_all("/etc/rocket/pods").unwrap();
    let text = r#"{ "acVersion": "0.8.11", "acKind": "PodManifest",
        "annotations": [{ "name": "rocket/network", "value": "none" }],
        "volumes": [{ "name": "data", "kind": "empty", "uid": 7, "gid": 8 }],
        "apps": [{ "name": "main", "image": { "name": "example.com/appc-pod:1.0" },
            "mounts": [{ "volume": "data", "path": "/data" }],
            "app": { "exec": ["/bin/sh", "-c", "id -u; echo x > /data/$WORD; ls /data; touch /tmp/up; while :; do sleep 0.1; done"],
                "user": "7", "group": "8", "environment": [{ "name": "WORD", "value": "said" }],
                "isolators": [{ "name": "os/linux/no-new-privileges", "value": true }] } }] }"#;
    let _manifest = Manifest;
    fs::write(FILE, text).unwrap();
    systemctl(["daemon-reload"]).ok();
    systemctl(["start", "rocket@appc-pod.service"]).ok();
    let journal = || rocket(["logs", "appc-pod"]).stdout;
    wait_until("what the app says", 20, || journal().contains("said"));
    let lint = rocket(["lint", FILE]);
    assert_eq!(lint.code(), 0, "{lint}");
    // Round trip: what is on record starts the same again.
    let record = rocket(["cat-manifest", "appc-pod"]).ok().stdout;
    systemctl(["stop", "rocket@appc-pod.service"]).ok();
    let record = record.replace("while :; do sleep 0.1; done", "true");
    let again = std::env::temp_dir().join(format!("appc-again-{}.json", std::process::id()));
    fs::write(&again, &record).unwrap();
    let done = rocket(["run", "--rm", "-f", again.to_str().unwrap()]).ok();
    assert_eq!(done.stdout, "7\nsaid\n", "{done}\n{record}");
    fs::remove_file(&again).unwrap();
    // What is wrong is said by the unit with its place.
    fs::write(FILE, text.replace("\"none\"", "\"nowhere\"")).unwrap();
    systemctl(["daemon-reload"]).ok();
    assert_ne!(systemctl(["start", "rocket@appc-pod.service"]).code(), 0);
    wait_until("the place", 20, || {
        let done = rocket_testkit::run("journalctl", ["-b", "-u", "rocket@appc-pod.service"]);
        done.stdout.contains("appc-pod.json:2:62: ")
    });
}
