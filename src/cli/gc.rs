//! `rocket rm` and `rocket gc`.

use crate::cli::error::Failure;
use crate::cli::output::{self, Format};
use crate::config::layers::Config;
use crate::config::paths::Paths;
use crate::pod::directory::State;
use crate::pod::gc::{self, Options, Step};
use crate::pod::list::{self, Status};
use crate::pod::lookup;
use crate::pod::prepare::now_ms;
use std::process::ExitCode;
use std::time::Duration;

/// Arguments of `rocket rm`.
#[derive(Debug, clap::Args)]
pub struct RmArgs {
    /// Names, UUIDs, or at least 8 digits of one.
    #[arg(required = true, value_name = "POD")]
    pods: Vec<String>,
}

/// Arguments of `rocket gc`.
#[derive(Debug, clap::Args)]
pub struct GcArgs {
    /// Dead pods without a name stay for this many seconds after their end; else as configured,
    /// half an hour where nothing is.
    #[arg(long, value_name = "SECONDS")]
    grace_period: Option<u64>,
    /// Remove prepared pods that nobody ran for this many seconds; else as configured, never where
    /// nothing is.
    #[arg(long, value_name = "SECONDS")]
    expire_prepared: Option<u64>,
    /// Remove the last dead instances of named pods too.
    #[arg(long)]
    all: bool,
    /// Only dead instances of the pod of this name.
    #[arg(long, value_name = "NAME")]
    pod: Option<String>,
    /// Only say what would be done.
    #[arg(long)]
    dry_run: bool,
    /// How to print it.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// `rocket rm`.
pub fn rm(paths: &Paths, args: &RmArgs) -> Result<ExitCode, Failure> {
    let mut last = None;
    for word in &args.pods {
        if let Err(failure) = rm_one(paths, word)
            && let Some(previous) = last.replace(failure)
        {
            previous.report();
        }
    }
    last.map_or(Ok(ExitCode::SUCCESS), Err)
}

fn rm_one(paths: &Paths, word: &str) -> Result<(), Failure> {
    let found = lookup::find(paths, word)?;
    let info = list::info(paths, found)
        .ok_or_else(|| Failure::message(format!("pod {} has just been removed", found.uuid)))?;
    let in_use = matches!(info.status, Status::Running | Status::Ending | Status::Preparing);
    if in_use {
        let text = format!("cannot remove pod {}: it is {}", found.uuid, info.status.as_str());
        return Err(Failure::message(text).hint(format!("rocket stop {word}")));
    }
    let step = Step {
        uuid: found.uuid,
        state: found.state,
        name: info.meta.and_then(|meta| meta.name),
        why: "asked for".to_owned(),
    };
    if gc::remove(paths, &step)? {
        output::data(&found.uuid.to_string());
        Ok(())
    } else {
        let text = format!("cannot remove pod {}: another rocket is using it", found.uuid);
        Err(Failure::message(text))
    }
}

/// `rocket gc`.
pub fn gc(paths: &Paths, config: &Config, args: &GcArgs) -> Result<ExitCode, Failure> {
    let pods = list::all(paths)?;
    let options = Options {
        grace: Duration::from_secs(args.grace_period.unwrap_or(config.gc_grace_period.value)),
        expire_prepared: args
            .expire_prepared
            .or(Some(config.gc_expire_prepared.value).filter(|seconds| *seconds > 0))
            .map(Duration::from_secs),
        keep: if args.all { 0 } else { config.gc_keep.value },
    };
    let mut steps = gc::plan(&pods, now_ms(), options);
    if let Some(name) = &args.pod {
        steps.retain(|step| step.name.as_ref() == Some(name));
    }
    let mut done = Vec::new();
    let mut failed = None;
    for step in steps {
        let removed = args.dry_run || {
            match gc::remove(paths, &step) {
                Ok(removed) => removed,
                Err(error) => {
                    // One pod that cannot be removed must not keep the others.
                    if let Some(previous) = failed.replace(Failure::new(error)) {
                        previous.report();
                    }
                    false
                }
            }
        };
        if removed {
            done.push(step);
        }
    }
    if !args.dry_run && args.pod.is_none() {
        gc::empty_garbage(paths)?;
    }
    report(&done, args);
    failed.map_or(Ok(ExitCode::SUCCESS), Err)
}

fn report(steps: &[Step], args: &GcArgs) {
    match args.format {
        Format::Json => {
            let list = serde_json::to_value(steps).unwrap_or_default();
            output::json(&list);
        }
        Format::Table => {
            for step in steps {
                let verb = if args.dry_run { "would remove" } else { "removed" };
                let name = step.name.as_deref().map_or_else(String::new, |n| format!(" ({n})"));
                let kind = if step.state == State::Prepared { "prepared pod" } else { "pod" };
                output::data(&format!("{verb} {kind} {}{name}: {}", step.uuid, step.why));
            }
        }
    }
}
