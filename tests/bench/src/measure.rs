//! Timing commands, interleaved, and what is said of the figures.

use anyhow::{Context, Result, bail};
use serde::Serialize;
use std::fs::File;
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Where a measured command's messages go: on the bed's tmpfs, so that nobody waits for a reader.
const MESSAGES: &str = "/run/rocket-bench.messages";

/// How long nothing is done before each case. When a process moves between cgroups the kernel waits
/// for all processors, some ten milliseconds; a case that follows another's move at once is spared
/// that wait, and would look faster for its place in the round.
const PAUSE: Duration = Duration::from_millis(100);

/// One of several things that are measured side by side.
pub struct Case<'a> {
    /// What it is called in the table.
    pub name: String,
    /// The command whose system calls explain the figure, where it is one command.
    pub command: Option<Vec<String>>,
    time: Box<dyn FnMut() -> Result<Duration> + 'a>,
}

impl<'a> Case<'a> {
    /// A command from start to exit.
    pub fn command(name: &str, argv: &[&str]) -> Self {
        let argv: Vec<String> = argv.iter().map(|&word| word.to_owned()).collect();
        let again = argv.clone();
        let time = Box::new(move || time(&again));
        Self { name: name.to_owned(), command: Some(argv), time }
    }

    /// A closure that prepares what it needs and returns the time that counts.
    pub fn new(name: &str, time: impl FnMut() -> Result<Duration> + 'a) -> Self {
        Self { name: name.to_owned(), command: None, time: Box::new(time) }
    }

    /// Names a command that shows where the time goes.
    #[must_use]
    pub fn explained_by(mut self, argv: &[&str]) -> Self {
        self.command = Some(argv.iter().map(|&word| word.to_owned()).collect());
        self
    }
}

/// What a case took, in milliseconds.
#[derive(Clone, Debug, Serialize)]
pub struct Samples {
    /// The case.
    pub name: String,
    /// Every measurement, in the order they were made.
    pub ms: Vec<f64>,
    /// The command that shows where the time goes.
    #[serde(skip)]
    pub command: Option<Vec<String>>,
}

impl Samples {
    /// The value below which the share `part` of all measurements lies.
    pub fn quantile(&self, part: f64) -> f64 {
        let mut sorted = self.ms.clone();
        sorted.sort_by(f64::total_cmp);
        let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
        let place = part * last as f64;
        let (low, high) = (place.floor() as usize, place.ceil() as usize);
        sorted[low] + (sorted[high] - sorted[low]) * (place - place.floor())
    }

    /// The median.
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }
}

/// Measures the cases in turn, round after round, so that whatever else the machine does hits all of
/// them alike. Each round begins with another case, and each case is measured after a pause.
pub fn interleave(mut cases: Vec<Case<'_>>, warm: usize, rounds: usize) -> Result<Vec<Samples>> {
    let mut all: Vec<Samples> = cases
        .iter()
        .map(|case| Samples { name: case.name.clone(), ms: vec![], command: case.command.clone() })
        .collect();
    let count = cases.len();
    for round in 0..warm + rounds {
        for step in 0..count {
            let index = (round + step) % count;
            let case = &mut cases[index];
            std::thread::sleep(PAUSE);
            let took = (case.time)().with_context(|| case.name.clone())?;
            if round >= warm {
                all[index].ms.push(took.as_secs_f64() * 1000.0);
            }
        }
    }
    Ok(all)
}

/// How long a command takes from start to exit; it must succeed.
pub fn time<S: AsRef<str>>(argv: &[S]) -> Result<Duration> {
    let messages = File::create(MESSAGES).context(MESSAGES)?;
    let mut command = prepare(argv)?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(messages);
    let start = Instant::now();
    let status = command.status().with_context(|| line(argv))?;
    let took = start.elapsed();
    if !status.success() {
        let mut said = String::new();
        File::open(MESSAGES)?.read_to_string(&mut said).unwrap_or_default();
        bail!("`{}` ended with {status}: {}", line(argv), said.trim());
    }
    Ok(took)
}

/// Runs a command that must succeed, and returns what it printed.
pub fn run<S: AsRef<str>>(argv: &[S]) -> Result<String> {
    let done = prepare(argv)?.stdin(Stdio::null()).output().with_context(|| line(argv))?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        bail!("`{}` ended with {}: {}", line(argv), done.status, said.trim());
    }
    Ok(String::from_utf8_lossy(&done.stdout).trim().to_owned())
}

/// A shell script that must succeed.
pub fn shell(script: &str) -> Result<String> {
    run(&["/bin/bash", "-euc", script])
}

fn prepare<S: AsRef<str>>(argv: &[S]) -> Result<Command> {
    let (program, args) = argv.split_first().context("an empty command")?;
    let mut command = Command::new(program.as_ref());
    command.args(args.iter().map(AsRef::as_ref));
    Ok(command)
}

/// A command as one line.
pub fn line<S: AsRef<str>>(argv: &[S]) -> String {
    argv.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        let of = |ms: &[f64]| Samples { name: String::new(), ms: ms.to_vec(), command: None };
        assert_eq!(of(&[3.0, 1.0, 2.0]).median(), 2.0);
        assert_eq!(of(&[4.0, 1.0, 2.0, 3.0]).median(), 2.5);
        assert!(of(&[]).median().is_nan());
    }

    #[test]
    fn every_case_is_measured_in_every_round() {
        let calls = std::cell::RefCell::new(String::new());
        let case = |name: &'static str| {
            let calls = &calls;
            Case::new(name, move || {
                calls.borrow_mut().push_str(name);
                Ok(Duration::from_millis(1))
            })
        };
        let all = interleave(vec![case("a"), case("b")], 1, 2).unwrap();
        assert_eq!(*calls.borrow(), "abbaab");
        assert!(all.iter().all(|samples| samples.ms == [1.0, 1.0]));
    }
}
