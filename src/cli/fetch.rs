//! `rocket fetch`: bring images into the store.

use crate::cli::error::Failure;
use crate::config::paths::Paths;
use std::process::ExitCode;

/// Arguments of `rocket fetch`.
#[derive(Debug, clap::Args)]
pub struct FetchArgs {
    /// What to fetch: `./FILE.aci`, `/DIR/FILE.aci`, `oci:DIR[:TAG]`.
    #[arg(required = true, value_name = "REF")]
    pub references: Vec<String>,
}

/// Runs it.
pub fn run(_paths: &Paths, args: FetchArgs) -> Result<ExitCode, Failure> {
    Err(Failure::message(format!("cannot fetch {:?}: no reader yet", args.references)))
}
