//! What `make bench` runs inside its bed: rocket and its peers, side by side.
//!
//!     rocket-bench [--quick] [--list] --work DIR [PART…]
//!
//! It reports and does not judge: whatever the figures are, it ends with 0. It ends with 1 when it
//! could not measure something, and names that.
#![forbid(unsafe_code)]

mod explain;
mod images;
mod measure;
mod notify;
mod parts;
mod report;

use anyhow::{Context, Result, bail};
use measure::{line, run};
use parts::PARTS;
use report::Report;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Instant, SystemTime};

/// What every part is given.
pub struct Setting {
    /// Fewer rounds: to see that everything works, not to quote.
    pub quick: bool,
    /// A directory on the host's disk; `cache` in it outlives this run.
    pub work: PathBuf,
}

impl Setting {
    /// How often to measure: `full` times, or a few.
    pub fn rounds(&self, full: usize) -> usize {
        if self.quick { full.min(3) } else { full }
    }

    /// A path below the working directory, as text.
    pub fn path(&self, name: &str) -> Result<String> {
        let path = self.work.join(name);
        path.into_os_string().into_string().ok().context("a working directory that is not UTF-8")
    }
}

fn main() -> ExitCode {
    match start() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start() -> Result<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    let (mut quick, mut work, mut names) = (false, None, Vec::new());
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "notify" => return notify::serve(),
            "call" => {
                let kind = arguments.next().context("call: of what?")?;
                return parts::filter::call(&kind).map(|()| ExitCode::SUCCESS);
            }
            "--list" => {
                PARTS.iter().for_each(|part| println!("{:<10} {}", part.name, part.about));
                return Ok(ExitCode::SUCCESS);
            }
            "--quick" => quick = true,
            "--work" => work = arguments.next(),
            name if PARTS.iter().any(|part| part.name == name) => names.push(name.to_owned()),
            other => bail!("no part is called {other} (see --list)"),
        }
    }
    let work = PathBuf::from(work.context("--work DIR is missing")?);
    bench(&Setting { quick, work }, &names)
}

fn bench(setting: &Setting, names: &[String]) -> Result<ExitCode> {
    let mut report = Report::default();
    versions(&mut report);
    if setting.quick {
        report.note("a quick run: too few rounds to quote its figures".to_owned());
    }
    for part in PARTS {
        if !names.is_empty() && !names.iter().any(|name| name == part.name) {
            continue;
        }
        eprintln!("bench: {}: {}", part.name, part.about);
        let begin = Instant::now();
        report.begin(part.name);
        if let Err(error) = (part.run)(setting, &mut report) {
            eprintln!("bench: {}: {error:#}", part.name);
            report.could_not(part.name, &error);
        }
        eprintln!("bench: {}: {:.0} s", part.name, begin.elapsed().as_secs_f64());
    }
    report.print();
    let stamp = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    let file = setting.work.join(format!("{stamp}.json"));
    report.write(&file)?;
    report.write(&setting.work.join("latest.json"))?;
    println!("\nevery measurement: {}", file.display());
    Ok(if report.missing.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What was measured with what: the first line of each `--version`.
fn versions(report: &mut Report) {
    const PROGRAMS: &[&[&str]] = &[
        &["rocket", "--version"],
        &["systemctl", "--version"],
        &["crun", "--version"],
        &["runc", "--version"],
        &["podman", "--version"],
        &["conmon", "--version"],
        &["skopeo", "--version"],
        &["umoci", "--version"],
        &["tar", "--version"],
        &["uname", "-r"],
    ];
    for program in PROGRAMS {
        match run(program) {
            Ok(text) => {
                let first = text.lines().next().unwrap_or_default().to_owned();
                let name = match program[0] {
                    "uname" => "kernel",
                    "systemctl" => "systemd",
                    name => name,
                };
                report.versions.insert(name.to_owned(), first);
            }
            Err(error) => report.could_not(&line(program), &error),
        }
    }
}
