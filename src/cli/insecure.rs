//! `--insecure-options`: checks that somebody leaves out, by name.

use crate::cli::error::Failure;
use crate::cli::fetch::explain;
use crate::cli::output;
use crate::config::paths;
use crate::image::believe::Trust;

/// Checks that are left out.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct InsecureArgs {
    /// Leave out a check, this once. image: whether somebody who is trusted vouches for the image.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "CHECK")]
    pub insecure_options: Vec<Insecure>,
}

/// What can be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Insecure {
    /// Signatures of images.
    Image,
}

impl InsecureArgs {
    /// The host's keys and rules, as these options let them count.
    pub fn trust(&self) -> Result<Trust, Failure> {
        Ok(trust()?.waived(self.insecure_options.contains(&Insecure::Image)))
    }
}

/// The host's keys and rules. What is broken is told.
pub fn trust() -> Result<Trust, Failure> {
    let trust = Trust::load(&paths::config())
        .map_err(|e| explain(e).hint("no image is believed until this file is mended"))?;
    for problem in trust.problems() {
        output::note(&format!("rocket: a trusted key does not count: {}", chain(problem)));
    }
    Ok(trust)
}

fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        // The kinds that show their cause themselves.
        Some(cause) if !error.to_string().contains(&cause.to_string()) => {
            format!("{error}: {}", chain(cause))
        }
        _ => error.to_string(),
    }
}
