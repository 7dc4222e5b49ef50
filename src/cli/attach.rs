//! `rocket attach`: the terminal of a running app.

use crate::cli::error::Failure;
use crate::cli::output;
use crate::cli::target::{self, Target};
use crate::config::paths::Paths;
use crate::launch::{self, Attached, DetachKeys};
use crate::pod::control::{Client, PATIENCE};
use crate::pod::{record, wait};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How long the kernel may take to clear up after init.
const CLEARING: Duration = Duration::from_secs(10);

/// Arguments of `rocket attach`.
#[derive(Debug, clap::Args)]
pub struct AttachArgs {
    /// Name, UUID, or at least 8 digits of one.
    #[arg(value_name = "POD[/APP]")]
    pod: String,
    /// Keys that leave the terminal and let the pod run on; an empty list is none.
    #[arg(long, value_name = "KEYS", default_value = "ctrl-p,ctrl-q")]
    detach_keys: DetachKeys,
    /// Only look on: what is typed here is not for the app.
    #[arg(long)]
    no_stdin: bool,
}

/// `rocket attach`: ends with the pod's status, or with 0 when the pod goes on.
pub fn run(paths: &Paths, args: &AttachArgs) -> Result<ExitCode, Failure> {
    let Target { found, dir, app, .. } = target::running(paths, &args.pod, "attach to")?;
    let client = Client::connect(&dir, PATIENCE)?;
    let attached = launch::attach(&client, app.as_deref(), !args.no_stdin, args.detach_keys)
        .map_err(|error| {
            Failure::new(
                anyhow::Error::new(error).context(format!("cannot attach to {}", args.pod)),
            )
        })?;
    drop(client);
    if attached == Attached::Detached {
        output::note(&format!("rocket: the pod runs on; back to it: rocket attach {}", args.pod));
        return Ok(ExitCode::SUCCESS);
    }
    wait::dead(paths, found.uuid, Instant::now().checked_add(CLEARING))?;
    match record::read(&dir)?.pod {
        Some(exit) => Ok(ExitCode::from(u8::try_from(exit.status).unwrap_or(u8::MAX))),
        None => Err(Failure::message(format!(
            "pod {} ended without a record: its init was killed",
            found.uuid
        ))),
    }
}
