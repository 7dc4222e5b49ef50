//! What happens around a pod does not touch it, and nothing it says is lost.

use rocket_testkit::unit::{Pod, journal, systemctl};
use rocket_testkit::{image, require_bed, rocket, run, wait_until};
use std::path::Path;

const IMAGE: &str = "example.com/steady:1.0";

fn pod(name: &str, script: &str) -> Pod {
    image::add_busybox(IMAGE, &["/bin/sh"]);
    Pod::new(
        name,
        &format!(
            "version = 1\nnetwork = \"none\"\n[app.main]\nimage = \"{IMAGE}\"\n\
             exec = [\"/bin/sh\", \"-c\", '''{script}''']\n[unit]\nrestart = \"no\"\n"
        ),
    )
}

/// The numbers that the app has written, in the order of the journal.
fn numbers(pod: &Pod) -> Vec<u64> {
    let unit = pod.unit();
    let entries = journal(&["--unit", &unit, "--identifier", "main"]);
    entries.iter().filter_map(|entry| entry["MESSAGE"].as_str()?.parse().ok()).collect()
}

#[track_caller]
fn none_is_missing(numbers: &[u64]) {
    for (index, number) in numbers.iter().enumerate() {
        assert_eq!(u64::try_from(index).unwrap(), *number, "of {}", numbers.len());
    }
}

/// Counts every 5 ms, and says how far it came.
const COUNTING: &str = "trap 'end=1' TERM; i=0; while [ -z \"$end\" ]; do echo $i; i=$((i+1)); \
                        usleep 5000; done; echo \"last $i\"";

/// Replaces a file as an upgrade does.
fn upgrade(file: &str) {
    let new = format!("{file}.dpkg-new");
    std::fs::copy(file, &new).unwrap();
    std::fs::rename(&new, file).unwrap();
}

// Alone: whoever talks to systemd or D-Bus meanwhile gets no answer.
#[test]
fn alone_the_machine_is_renewed_under_a_pod_and_no_line_is_missing() {
    require_bed("ns");
    let pod = pod("counting", COUNTING);
    pod.start();
    let (init, invocation) = (pod.init(), pod.show("InvocationID"));
    let log = || numbers(&pod).len();
    let renew: [(&str, &dyn Fn()); 5] = [
        ("journald", &|| drop(systemctl(["restart", "systemd-journald.service"]).ok())),
        ("dbus-daemon", &|| drop(systemctl(["restart", "dbus.service"]))),
        ("systemd", &|| drop(systemctl(["daemon-reexec"]))),
        ("rocket", &|| upgrade("/usr/bin/rocket")),
        ("stage1", &|| upgrade("/usr/lib/rocket/stage1/ns/init")),
    ];
    for (what, renew) in renew {
        let before = log();
        renew();
        wait_until("systemd answers", 20, || systemctl(["is-system-running"]).code() < 4);
        wait_until(&format!("it counts on after {what}"), 20, || log() > before + 50);
        assert_eq!((pod.init(), pod.show("ActiveState").as_str()), (init, "active"), "{what}");
        assert_eq!(
            (pod.show("InvocationID"), pod.show("NRestarts")),
            (invocation.clone(), "0".into())
        );
        none_is_missing(&numbers(&pod));
    }
    pod.systemctl("stop").ok();
    let last = pod
        .journal()
        .into_iter()
        .find_map(|entry| entry["MESSAGE"].as_str()?.strip_prefix("last ")?.parse::<usize>().ok());
    let numbers = numbers(&pod);
    none_is_missing(&numbers);
    assert_eq!(last, Some(numbers.len()));
    eprintln!("{} numbers, none missing", numbers.len());
}

#[test]
fn alone_a_flood_without_a_rate_limit_loses_nothing() {
    require_bed("ns");
    const LINES: usize = 200_000;
    let pod = pod("flood", &format!("seq 0 {}; echo over; sleep 1000", LINES - 1));
    let dir = Path::new("/run/systemd/system/rocket@flood.service.d");
    std::fs::create_dir_all(dir).unwrap();
    std::fs::write(dir.join("50-flood.conf"), "[Service]\nLogRateLimitIntervalSec=0\n").unwrap();
    systemctl(["daemon-reload"]).ok();
    pod.start();
    wait_until("all is written", 100, || {
        let unit = pod.unit();
        let done = run("journalctl", ["--unit", &unit, "--output=cat", "--lines=5", "--no-pager"]);
        done.stdout.lines().any(|line| line == "over")
    });
    run("journalctl", ["--sync"]).ok();
    let words =
        ["--boot", "--unit", &pod.unit(), "--identifier=main", "--output=cat", "--no-pager"];
    let done = run("journalctl", words).ok();
    let numbers: Vec<u64> = done.stdout.lines().filter_map(|line| line.parse().ok()).collect();
    none_is_missing(&numbers);
    assert_eq!(numbers.len(), LINES);
    std::fs::remove_dir_all(dir).unwrap();
}

/// A number of kilobytes in a process's status.
fn kilobytes(pid: i32, key: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn init_gives_back_what_it_needed_to_set_up_when_nothing_happens() {
    require_bed("ns");
    let pod = pod("resting", "exec sleep 1000");
    pod.start();
    let init = pod.init();
    let rests = || {
        let [held, most] = ["VmRSS", "VmHWM"].map(|key| kilobytes(init, key));
        println!("init holds {held} kB of at most {most} kB");
        held * 3 < most * 2
    };
    wait_until("init holds a third less than the most it held", 120, rests);
    // It answers as before, and rests again.
    rocket(["enter", "resting", "--", "true"]).ok();
    wait_until("init rests again", 120, rests);
    assert_eq!(pod.init(), init);
}
