//! In the uml bed, whose kernel is its own: everything, and each attempt's success.

mod exhaustion;

use crate::canaries::Canaries;
use crate::pod::{Background, IMAGE, Results, Trial, add_image, fill, results};
use rocket_escape::protection::Protection;
use rocket_escape::{Attempt, Who, all, table};
use rocket_testkit::{Command, require_bed};
use std::collections::BTreeMap;
use std::path::Path;

/// What a default pod does not refuse yet, and why. To be emptied.
const OPEN: &[(&str, &str)] = &[];

/// Prints the table and fails the test unless everything was refused.
pub fn refused(place: &str, attempts: &[&Attempt], results: &Results) {
    let mut faults = Vec::new();
    println!("{place}:");
    for attempt in attempts {
        let (outcome, detail) = match results.get(attempt.name) {
            Some((outcome, detail)) => (outcome.as_str(), detail.as_str()),
            None => ("missing", ""),
        };
        println!("  {:24} {outcome:10} {detail}", attempt.name);
        let open = OPEN.iter().any(|(name, _)| *name == attempt.name);
        if !matches!(outcome, "refused" | "impossible") && !open {
            faults.push(format!("{} {outcome}: {detail}", attempt.name));
        }
    }
    assert!(faults.is_empty(), "{place}, not refused:\n{}", faults.join("\n"));
}

#[test]
fn a_default_pod_refuses_everything_to_root_and_to_a_user() {
    require_bed("uml");
    add_image();
    let mut canaries = Canaries::new();
    let before = canaries.state();
    let told = canaries.told();
    let attempts: Vec<_> = all().collect();
    for who in [Who::Root, Who::User] {
        let trial = Trial { off: &[], who, attempts: &attempts, told: &told, limited: true };
        refused(&format!("a default pod, as {who:?}"), &attempts, &trial.run());
    }
    canaries.unharmed(&before);
}

#[test]
fn whoever_enters_a_pod_is_refused_everything_too() {
    require_bed("uml");
    let attempts: Vec<_> = all().collect();
    let limits = "limits = { tasks-max = 64, memory-max = \"96M\", memory-swap-max = 0 }\n";
    crate::ns::entered(&attempts, limits);
}

#[test]
fn each_attempt_succeeds_without_what_stops_it() {
    require_bed("uml");
    add_image();
    let canaries = Canaries::new();
    let told = canaries.told();
    let mut groups: BTreeMap<(&[Protection], Who), Vec<&Attempt>> = BTreeMap::new();
    for attempt in all().filter(|attempt| attempt.in_a_pod()) {
        groups.entry((attempt.off, attempt.who)).or_default().push(attempt);
    }
    let mut faults = Vec::new();
    for ((off, who), attempts) in &groups {
        let trial = Trial { off, who: *who, attempts, told: &told, limited: true };
        let names: Vec<&str> = off.iter().map(|protection| protection.name()).collect();
        let place = format!("without {}, as {who:?}", names.join(", "));
        faults.extend(shown(&place, attempts, &trial.run()));
    }
    let outside: Vec<&Attempt> = all().filter(|attempt| !attempt.in_a_pod()).collect();
    faults.extend(shown("outside of any pod", &outside, &bare(&outside, told)));
    assert!(faults.is_empty(), "not shown to succeed:\n{}", faults.join("\n"));
}

/// Prints the table; what did not succeed and is not known to be impossible there.
fn shown(place: &str, attempts: &[&Attempt], results: &Results) -> Vec<String> {
    let mut faults = Vec::new();
    println!("{place}:");
    for attempt in attempts {
        let (outcome, detail) = match results.get(attempt.name) {
            Some((outcome, detail)) => (outcome.as_str(), detail.as_str()),
            None => ("missing", ""),
        };
        let lacking = table::LACKING.iter().find(|(name, _)| *name == attempt.name);
        let note = lacking.map_or(String::new(), |(_, why)| format!(" (lacking: {why})"));
        println!("  {:24} {outcome:10} {detail}{note}", attempt.name);
        if (outcome == "succeeded") == lacking.is_some() {
            faults.push(format!("{place}: {} {outcome}: {detail}{note}", attempt.name));
        }
    }
    faults
}

/// Needs processes that are nobody's: tried in a PID namespace that plays the machine.
const KILLS: &str = "kill-everything";
/// Need a terminal.
const TYPES: [&str; 2] = ["tiocsti", "tioclinux"];

/// The probe as a plain program of the host, with stand-ins for what only a pod has.
fn bare(attempts: &[&Attempt], mut told: BTreeMap<String, String>) -> Results {
    fill(Path::new("/"));
    for dir in ["/vol", "/closed"] {
        std::fs::create_dir_all(dir).unwrap();
    }
    let mut init = std::process::Command::new("/bin/sleep").arg("86403").spawn().unwrap();
    told.insert("ESCAPE_INIT".to_owned(), init.id().to_string());
    told.insert("ESCAPE_LAYER_FILE".to_owned(), "/layer-file".to_owned());
    let pod = Background::new("escape-host", "");
    told.insert("ESCAPE_CONTROL".to_owned(), pod.control());
    let special = |name: &str| name == KILLS || TYPES.contains(&name);
    let names = attempts.iter().map(|attempt| attempt.name).filter(|name| !special(name));
    // With a directory of the host left open and as working directory, as in CVE-2024-21626.
    let script = "cd /srv; exec 7</srv 8>/srv/escape-left-open /probe run \"$@\"";
    let run = |words: &[&str]| {
        let mut command = Command::new("/bin/bash").args(["-c"]).args(words);
        for (name, value) in &told {
            command = command.env(name, value);
        }
        command.run()
    };
    let mut words = vec![script, "bash"];
    words.extend(names);
    let mut found = results(&run(&words));
    let machine = format!(
        "exec unshare --pid --fork --mount-proc sh -c \
         'sleep 1000 & ESCAPE_VICTIM=$! /probe run {KILLS}; kill $!'"
    );
    found.extend(results(&run(&[&machine])));
    let terminal = format!("script -qec '/probe run {}' /dev/null", TYPES.join(" "));
    found.extend(results(&run(&[&terminal])));
    drop(init.kill());
    drop(init.wait());
    found
}

#[test]
fn the_callers_terminal_is_not_typed_into() {
    require_bed("uml");
    add_image();
    for user in ["0", "1000"] {
        let line = format!(
            "rocket run --rm --user {user} --exec /probe {IMAGE} -- run {}",
            TYPES.join(" ")
        );
        let done = rocket_testkit::run("script", ["-qec", &line, "/dev/null"]);
        let attempts: Vec<_> = all().filter(|attempt| TYPES.contains(&attempt.name)).collect();
        let found = results(&done);
        refused(&format!("at a terminal, as {user}"), &attempts, &found);
        // It was there to be typed into.
        assert_ne!(found["tiocsti"].1, "no terminal", "{done}");
    }
}
