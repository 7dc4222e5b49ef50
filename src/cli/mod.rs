//! Words, not kernels: the command line, its output and its errors. One verb a file.

pub mod error;
pub mod fetch;
pub mod image;
pub mod output;

use crate::config::paths::{DEFAULT_STATE, Paths};
use clap::{Parser, Subcommand};
use error::Failure;
use std::path::PathBuf;
use std::process::ExitCode;

/// Pods for Linux hosts that run systemd.
#[derive(Debug, Parser)]
#[command(name = "rocket", version, disable_help_subcommand = true)]
pub struct Cli {
    /// Directory that holds all of rocket's state.
    #[arg(long, global = true, value_name = "DIR", env = "ROCKET_STATE_DIR", default_value = DEFAULT_STATE)]
    pub state_dir: PathBuf,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Bring an image into the store.
    Fetch(fetch::FetchArgs),
    /// Pack, list and remove images.
    Image(image::ImageArgs),
}

/// Runs the program: parse, do, report once.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return error::usage(&error),
    };
    match run(cli) {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

fn run(cli: Cli) -> Result<ExitCode, Failure> {
    let paths = Paths::new(cli.state_dir);
    match cli.command {
        Command::Fetch(args) => fetch::run(&paths, args),
        Command::Image(args) => image::run(&paths, args),
    }
}
