//! `rocket image …`: the store, seen by people.

use crate::cli::error::Failure;
use crate::config::paths::Paths;
use std::process::ExitCode;

/// Arguments of `rocket image`.
#[derive(Debug, clap::Args)]
pub struct ImageArgs {}

/// Runs it.
pub fn run(_paths: &Paths, _args: ImageArgs) -> Result<ExitCode, Failure> {
    Err(Failure::message("no image command yet"))
}
