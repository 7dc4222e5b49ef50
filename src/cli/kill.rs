//! `rocket kill`: a signal for the apps of a running pod.

use crate::cli::error::Failure;
use crate::cli::target::{self, Target};
use crate::config::paths::Paths;
use crate::pod::control::{Client, PATIENCE};
use serde_json::json;
use std::process::ExitCode;

/// Arguments of `rocket kill`.
#[derive(Debug, clap::Args)]
pub struct KillArgs {
    /// Name, UUID, or at least 8 digits of one; without /APP every app gets the signal.
    #[arg(required = true, value_name = "POD[/APP]")]
    pods: Vec<String>,
    /// The signal: a name with or without SIG, or a number.
    #[arg(short, long, value_name = "SIGNAL", default_value = "KILL", value_parser = signal)]
    signal: i32,
}

/// `rocket kill`. The first failure is reported after all have been tried.
pub fn run(paths: &Paths, args: &KillArgs) -> Result<ExitCode, Failure> {
    let mut last = None;
    for word in &args.pods {
        if let Err(failure) = kill(paths, word, args.signal)
            && let Some(previous) = last.replace(failure)
        {
            previous.report();
        }
    }
    last.map_or(Ok(ExitCode::SUCCESS), Err)
}

fn kill(paths: &Paths, word: &str, signal: i32) -> Result<(), Failure> {
    let Target { dir, app, .. } = target::running(paths, word, "send a signal to")?;
    let request = json!({"op": "signal-app", "app": app, "number": signal});
    Client::connect(&dir, PATIENCE)?.ask(&request).map(drop).map_err(|error| {
        Failure::new(anyhow::Error::new(error).context(format!("cannot send a signal to {word}")))
    })
}

/// Reads a signal, by name or number.
pub fn signal(text: &str) -> Result<i32, String> {
    rocket_sys::signal::number(text)
        .ok_or_else(|| "no signal: a name such as TERM or SIGHUP, or a number to 64".to_owned())
}
