//! `rocket volume …`: the volumes that are kept for pods.

use crate::cli::error::Failure;
use crate::cli::output::{self, Format};
use crate::cli::pack::clamp;
use crate::config::paths::Paths;
use crate::image::pack;
use crate::pod::kept::{self, KeptError};
use crate::pod::usage;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

/// Arguments of `rocket volume`.
#[derive(Debug, clap::Args)]
pub struct VolumeArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: VolumeCommand,
}

/// The verbs.
#[derive(Debug, clap::Subcommand)]
pub enum VolumeCommand {
    /// List the volumes of kind state, and who uses them.
    List {
        /// How to print.
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Remove volumes with all that they hold; refused while a pod that is prepared or runs has one.
    Rm {
        /// Pod name and volume name.
        #[arg(required = true, value_name = "POD/VOLUME")]
        volumes: Vec<String>,
    },
    /// Write a volume as a tar archive; the same files give the same bytes.
    Export {
        /// Pod name and volume name.
        #[arg(value_name = "POD/VOLUME")]
        volume: String,
        /// The file to make; standard output when absent.
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

/// Runs it.
pub fn run(paths: &Paths, args: VolumeArgs) -> Result<ExitCode, Failure> {
    match args.command {
        VolumeCommand::List { format } => list(paths, format)?,
        VolumeCommand::Rm { volumes } => {
            let parsed = volumes.iter().map(|v| parts(v)).collect::<Result<Vec<_>, _>>()?;
            for (pod, name) in parsed {
                kept::remove(paths, pod, name).map_err(explain)?;
                output::data(&format!("{pod}/{name}"));
            }
        }
        VolumeCommand::Export { volume, output } => {
            let (pod, name) = parts(&volume)?;
            let kept = kept::find(paths, pod, name).map_err(explain)?;
            if output.is_none() && std::io::stdout().is_terminal() {
                return Err(Failure::message("an archive is not written to a terminal")
                    .hint("--output FILE, or a pipe"));
            }
            let notes = pack::archive(&kept.path, output.as_deref(), clamp()?)?;
            notes.iter().for_each(|note| output::note(note));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn parts(text: &str) -> Result<(&str, &str), Failure> {
    text.split_once('/').ok_or_else(|| {
        let text = format!("{text:?} is not of the form POD/VOLUME");
        Failure::message(text).hint("rocket volume list shows what there is")
    })
}

fn explain(error: KeptError) -> Failure {
    let hint = match &error {
        KeptError::Missing(..) => Some("rocket volume list shows what there is".to_owned()),
        KeptError::Used { pod, .. } => Some(format!("rocket stop {pod}, rocket rm {pod}")),
        _ => None,
    };
    match hint {
        Some(hint) => Failure::new(error).hint(hint),
        None => Failure::new(error),
    }
}

fn list(paths: &Paths, format: Format) -> Result<(), Failure> {
    let mut objects = Vec::new();
    let mut rows = Vec::new();
    for kept in kept::list(paths)? {
        let bytes = usage::bytes(&kept.path);
        let users: Vec<String> = kept.used_by.iter().map(ToString::to_string).collect();
        objects.push(serde_json::json!({
            "pod": kept.pod,
            "name": kept.name,
            "path": kept.path,
            "bytes": bytes,
            "used-by": users,
        }));
        let users = if users.is_empty() { "-".to_owned() } else { users.join(" ") };
        let size = format!("{}.{} MB", bytes / 1_000_000, bytes / 100_000 % 10);
        rows.push(vec![kept.pod, kept.name, size, users]);
    }
    match format {
        Format::Json => output::json(&objects.into()),
        Format::Table => output::table(&["POD", "VOLUME", "SIZE", "USED BY"], &rows),
    }
    Ok(())
}
