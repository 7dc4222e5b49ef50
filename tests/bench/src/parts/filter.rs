//! What the filter costs each system call of an app.

use crate::Setting;
use crate::images::{self, IMAGE};
use crate::measure::{Case, interleave, run};
use crate::report::Report;
use anyhow::{Context, Result};
use std::fs;
use std::time::{Duration, Instant};

/// Calls in one measurement.
const CALLS: u32 = 1_000_000;
/// What is called: allowed whatever its arguments, and only after a look at one.
const KINDS: [&str; 2] = ["getppid", "ioctl"];

/// Makes system calls and prints how many nanoseconds they took: what runs in the pods.
pub fn call(kind: &str) -> Result<()> {
    let null = fs::File::open("/dev/null")?;
    let begin = Instant::now();
    for _ in 0..CALLS {
        match kind {
            "getppid" => drop(rustix::process::getppid()),
            // Refused by the device, once the filter has let it through.
            _ => drop(rustix::io::ioctl_fionread(&null)),
        }
    }
    println!("{}", begin.elapsed().as_nanos());
    Ok(())
}

pub fn run_filter(setting: &Setting, report: &mut Report) -> Result<()> {
    images::small_image("/var/lib/rocket")?;
    let program = std::env::current_exe()?;
    let directory = program.parent().context("a program without a directory")?;
    let directory = directory.to_str().context("a directory that is not UTF-8")?;
    let mut cases = Vec::new();
    for kind in KINDS {
        let own = program.to_str().context("a program that is not UTF-8")?.to_owned();
        let name = format!("{CALLS} × {kind}, no pod");
        cases.push(Case::new(&name, move || nanoseconds(&run(&[own.as_str(), "call", kind])?)));
        for filter in ["none", "default"] {
            let file = format!("/run/bench-{kind}-{filter}.toml");
            fs::write(&file, pod_file(directory, kind, filter))?;
            let name = format!("{CALLS} × {kind}, {}", said(filter));
            let command = ["rocket", "run", "--rm", "--cgroup=none", "--file"].map(str::to_owned);
            let command: Vec<String> = command.into_iter().chain([file]).collect();
            cases.push(Case::new(&name, move || nanoseconds(&run(&command)?)));
        }
    }
    report.add(interleave(cases, 1, setting.rounds(15))?);
    for kind in KINDS {
        let median = |filter| report.median(&format!("{CALLS} × {kind}, {}", said(filter)));
        let (without, with) = (median("none")?, median("default")?);
        // Milliseconds a million calls are nanoseconds a call.
        let more = with - without;
        report.note(format!(
            "the filter makes {kind} take {:.2} × as long ({more:.0} ns more a call)",
            with / without
        ));
    }
    Ok(())
}

fn said(filter: &str) -> &'static str {
    if filter == "none" { "in a pod without the filter" } else { "in a pod" }
}

fn nanoseconds(text: &str) -> Result<Duration> {
    let last = text.lines().last().unwrap_or_default();
    Ok(Duration::from_nanos(last.trim().parse().with_context(|| format!("not a time: {text}"))?))
}

/// The program of the bed, and the libraries that it needs, in a pod.
fn pod_file(directory: &str, kind: &str, filter: &str) -> String {
    let host = |name: &str, source: &str| {
        format!(
            "[volume.{name}]\nkind = \"host\"\nsource = \"{source}\"\nread-only = true\nidmap = false\n"
        )
    };
    format!(
        "version = 1\nnetwork = \"host\"\n[app.main]\nimage = \"{IMAGE}\"\n\
         exec = [\"/bench/rocket-bench\", \"call\", \"{kind}\"]\n\
         security = {{ seccomp = \"{filter}\" }}\n\
         mounts = {{ \"/bench\" = \"bench\", \"/lib\" = \"lib\", \"/lib64\" = \"loader\" }}\n\
         {}{}{}",
        host("bench", directory),
        host("lib", "/usr/lib"),
        host("loader", "/usr/lib64"),
    )
}
