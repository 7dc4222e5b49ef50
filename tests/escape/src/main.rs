//! The probe: tries ways out of where it runs, and says in one line of JSON each what came of it.
//!
//! `probe run NAME…` tries those attempts, each in a process of its own; `probe run` all of them.
#![forbid(unsafe_code)]

use rocket_escape::world::{World, has_capability, status, watch_programs};
use rocket_escape::{Attempt, Fail, Outcome, all, attempts, named, race, sys, table};
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const SELF: &str = "/probe";
/// No attempt takes as long.
const DEADLINE: Duration = Duration::from_secs(20);

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    // The attempt that signals everything means others.
    sys::ignore(libc::SIGUSR2);
    match words.as_slice() {
        ["run"] => all().for_each(report),
        ["run", names @ ..] => names.iter().for_each(|name| match named(name) {
            Some(attempt) => report(attempt),
            None => say(name, "unknown", ""),
        }),
        ["one", name] => one(name),
        ["list"] => all().for_each(|attempt| println!("{}", attempt.name)),
        ["table"] => print!("{}", table::page()),
        // Helpers of attempts, and of the tests.
        ["who"] => println!("uid {} kill {}", sys::effective_uid(), has_capability(5)),
        ["peer" | "idle"] => loop {
            std::thread::sleep(Duration::from_secs(60));
        },
        ["eat"] => eat(),
        ["inotify"] => println!("{}", race::inotify_instances()),
        ["inotify", "keep"] => {
            println!("{}", race::inotify_instances());
            std::thread::sleep(Duration::from_secs(3600));
        }
        ["watch"] => watch_programs(),
        ["swap", one, other] => println!("cannot exchange: {}", race::swap(one, other)),
        ["swap-roots"] => race::swap_roots(),
        ["plant"] => match attempts::plant(&World) {
            Ok(_) => println!("planted"),
            Err(fail) => println!("{fail:?}"),
        },
        ["handle", path] => match attempts::handle_of(path) {
            Ok(text) | Err(Fail::Refused(text) | Fail::Impossible(text)) => println!("{text}"),
        },
        _ => {
            eprintln!("usage: probe run [NAME…] | list | table");
            std::process::exit(2);
        }
    }
}

fn say(name: &str, outcome: &str, detail: &str) {
    let line = serde_json::json!({ "attempt": name, "outcome": outcome, "detail": detail });
    println!("{line}");
}

/// In a process of its own: whatever it does to itself ends there.
fn report(attempt: &Attempt) {
    let started = Command::new(SELF)
        .args(["one", attempt.name])
        .stdin(Stdio::inherit())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut child = match started {
        Ok(child) => child,
        Err(error) => return say(attempt.name, "broken", &format!("cannot start {SELF}: {error}")),
    };
    let end = Instant::now() + DEADLINE;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status.to_string(),
            Ok(None) if Instant::now() < end => std::thread::sleep(Duration::from_millis(1)),
            _ => {
                drop(child.kill());
                drop(child.wait());
                break "no end".to_owned();
            }
        }
    };
    let mut text = String::new();
    if let Some(mut pipe) = child.stdout.take() {
        drop(pipe.read_to_string(&mut text));
    }
    match text.lines().last() {
        Some(line) => println!("{line}"),
        // A filter that kills, a kernel that does: it has not succeeded.
        None => say(attempt.name, "refused", &format!("its process ended: {status}")),
    }
}

fn one(name: &str) {
    let Some(attempt) = named(name) else { return say(name, "unknown", "") };
    match weigh((attempt.run)(&World)) {
        Ok(evidence) => say(name, "succeeded", &evidence),
        Err(Fail::Refused(why)) => say(name, "refused", &why),
        Err(Fail::Impossible(why)) => say(name, "impossible", &why),
    }
}

/// Without a filter only the kernel itself can say that it has no such call.
fn weigh(outcome: Outcome) -> Outcome {
    match outcome {
        Err(Fail::Refused(why)) if why == "ENOSYS" && status("Seccomp").as_deref() == Some("0") => {
            Err(Fail::Impossible("this kernel has no such system call".into()))
        }
        outcome => outcome,
    }
}

fn eat() {
    let mut blocks = Vec::new();
    for number in 0..160u8 {
        let block = vec![number | 1; 1 << 20];
        blocks.push(std::hint::black_box(block));
    }
    println!("{}", blocks.len());
}
