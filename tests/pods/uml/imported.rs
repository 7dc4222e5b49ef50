//! What is written elsewhere and counts here: limits of a compose file, and credentials, which
//! systemd keeps on a file system of its own.

use super::{IMAGE, read};
use rocket_testkit::unit::Pod;
use rocket_testkit::{image, require_bed, rocket, wait_until};

#[test]
fn limits_of_a_compose_file_are_the_kernels() {
    require_bed("uml");
    image::add_busybox(IMAGE, &["/bin/sh"]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("compose.yaml");
    let compose = "name: hungry\nservices:\n  calm:\n    image: busybox\n    command: sleep 1000\n    \
                   mem_limit: 64m\n    cpus: 0.5\n    pids_limit: 20\n  swarmed:\n    image: busybox\n    \
                   command: sh -c 'sleep 1; tail /dev/zero; echo survived; sleep 1000'\n    deploy:\n      \
                   resources:\n        limits: {cpus: '0.25', memory: 24M, pids: 32}\n";
    std::fs::write(&file, compose).unwrap();
    let out = dir.path().to_str().unwrap();
    let image = format!("busybox={IMAGE}");
    rocket(["import", "compose", file.to_str().unwrap(), "--output", out, "--image", &image]).ok();
    let text = std::fs::read_to_string(dir.path().join("hungry.toml")).unwrap();
    let pod = Pod::new("hungry", &text);
    pod.start();
    for (file, value) in [
        ("app-calm/memory.max", "67108864"),
        ("app-calm/cpu.max", "50000 100000"),
        ("app-calm/pids.max", "20"),
        ("app-swarmed/memory.max", "25165824"),
        ("app-swarmed/cpu.max", "25000 100000"),
        ("app-swarmed/pids.max", "32"),
    ] {
        assert_eq!(read(&pod, file), value, "{file} of {text}");
    }
    // And one of them is met, by the one who has it and nobody else.
    pod.wait_for_line("rocket: app swarmed: lost a process because memory ran out");
    pod.wait_for_line("survived");
    wait_until("the kernel counts it", 20, || {
        read(&pod, "app-swarmed/memory.events").lines().any(|line| line == "oom_kill 1")
    });
    assert!(read(&pod, "app-calm/memory.events").contains("oom_kill 0"));
    assert_eq!(pod.show("ActiveState"), "active");
}

#[test]
fn credentials_of_a_unit_reach_the_app_that_names_them() {
    require_bed("uml");
    image::add_busybox(IMAGE, &["/bin/sh"]);
    std::fs::create_dir_all("/etc/credstore").unwrap();
    std::fs::write("/etc/credstore/uml.stored", "from the store").unwrap();
    let script = "cd $CREDENTIALS_DIRECTORY; for c in *; do echo \"$c: $(cat $c)\"; done; \
                  stat -c '%a %u' stored; touch x 2>/dev/null || echo read-only; \
                  while :; do sleep 0.2; done";
    let app = |name: &str, script: &str, more: &str| {
        format!(
            "[app.{name}]\nimage = \"{IMAGE}\"\nexec = [\"/bin/sh\", \"-c\", '''{script}''']\n\
             stop-timeout = \"1s\"\n{more}\n"
        )
    };
    let text = [
        "version = 1\nnetwork = \"none\"\n".to_owned(),
        app("has", script, "user = \"7\"\ngroup = \"8\"\ncredentials = [\"stored\", \"written\"]"),
        app("has-not", "ls /run/credentials; echo nothing; sleep 1000", ""),
        "[credentials]\nstored = { load = \"uml.stored\" }\nwritten = { set = \"in the file\" }\n"
            .to_owned(),
    ];
    let pod = Pod::new("uml-creds", &text.concat());
    pod.start();
    for line in ["stored: from the store", "written: in the file", "400 7", "read-only", "nothing"]
    {
        pod.wait_for_line(line);
    }
    assert!(!pod.journal().iter().any(|line| line["MESSAGE"] == "has"));
    // A second start has them again, and after a stop nothing is left of them.
    pod.systemctl("restart").ok();
    pod.wait_for("ActiveState", "active");
    wait_until("they are there again", 60, || {
        pod.journal().iter().filter(|line| line["MESSAGE"] == "written: in the file").count() == 2
    });
    pod.systemctl("stop").ok();
    assert!(!std::path::Path::new("/run/credentials").join(pod.unit()).exists());
    std::fs::remove_file("/etc/credstore/uml.stored").unwrap();
}
