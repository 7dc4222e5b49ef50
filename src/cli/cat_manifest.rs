//! `rocket cat-manifest`: the pod manifest, as it was reified.

use crate::cli::error::Failure;
use crate::cli::output;
use crate::cli::target::PodArg;
use crate::config::paths::Paths;
use crate::pod::lookup;
use crate::pod::manifest;
use crate::pod::meta;
use std::process::ExitCode;

/// Arguments of `rocket cat-manifest`.
#[derive(Debug, clap::Args)]
pub struct CatManifestArgs {
    #[command(flatten)]
    pod: PodArg,
}

/// `rocket cat-manifest`.
pub fn run(paths: &Paths, args: &CatManifestArgs) -> Result<ExitCode, Failure> {
    let found = lookup::find(paths, &args.pod.word()?)?;
    let file = found.state.path(paths, found.uuid).join(manifest::FILE);
    output::json(&meta::read::<serde_json::Value>(&file)?);
    Ok(ExitCode::SUCCESS)
}
