//! `rocket rm` and `rocket gc`.

use crate::cli::error::Failure;
use crate::cli::output::{self, Format};
use crate::cli::target::PodsArg;
use crate::config::layers::Config;
use crate::config::paths::Paths;
use crate::pod::directory::State;
use crate::pod::gc::{self, Options, Step};
use crate::pod::list::{self, Status};
use crate::pod::lookup;
use crate::pod::prepare::now_ms;
use crate::pod::usage;
use std::process::ExitCode;
use std::time::Duration;

/// Arguments of `rocket rm`.
#[derive(Debug, clap::Args)]
pub struct RmArgs {
    #[command(flatten)]
    pods: PodsArg,
    /// Only say what would be done, and how many bytes that would free.
    #[arg(long)]
    dry_run: bool,
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
    /// Only say what would be done, and how many bytes that would free.
    #[arg(long)]
    dry_run: bool,
    /// How to print it.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// `rocket rm`.
pub fn rm(paths: &Paths, args: &RmArgs) -> Result<ExitCode, Failure> {
    let mut last = None;
    for word in &args.pods.words()? {
        if let Err(failure) = rm_one(paths, word, args.dry_run)
            && let Some(previous) = last.replace(failure)
        {
            previous.report();
        }
    }
    last.map_or(Ok(ExitCode::SUCCESS), Err)
}

fn rm_one(paths: &Paths, word: &str, dry_run: bool) -> Result<(), Failure> {
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
    if dry_run {
        output::data(&sentence(&step, "would remove", Some(bytes(paths, &step))));
        return Ok(());
    }
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
    if args.dry_run {
        let sizes: Vec<u64> = steps.iter().map(|step| bytes(paths, step)).collect();
        report(&steps, args.format, Some(&sizes));
        return Ok(ExitCode::SUCCESS);
    }
    let mut done = Vec::new();
    let mut failed = None;
    for step in steps {
        let removed = match gc::remove(paths, &step) {
            Ok(removed) => removed,
            Err(error) => {
                // One pod that cannot be removed must not keep the others.
                if let Some(previous) = failed.replace(Failure::new(error)) {
                    previous.report();
                }
                false
            }
        };
        if removed {
            done.push(step);
        }
    }
    if args.pod.is_none() {
        gc::empty_garbage(paths)?;
        // What a rocket that was killed in the middle had taken and no pod directory has.
        crate::pod::ids::sweep(paths).map_err(Failure::new)?;
    }
    report(&done, args.format, None);
    if args.pod.is_none() {
        let freed = crate::cli::image::collect(paths)?;
        if args.format == Format::Table {
            freed.iter().for_each(|line| output::data(line));
        }
    }
    failed.map_or(Ok(ExitCode::SUCCESS), Err)
}

/// What removing it gives back to the disk.
fn bytes(paths: &Paths, step: &Step) -> u64 {
    usage::bytes(&step.state.path(paths, step.uuid))
}

fn sentence(step: &Step, verb: &str, bytes: Option<u64>) -> String {
    let name = step.name.as_deref().map_or_else(String::new, |name| format!(" ({name})"));
    let kind = if step.state == State::Prepared { "prepared pod" } else { "pod" };
    let bytes = bytes.map_or_else(String::new, |bytes| format!(", {bytes} bytes"));
    format!("{verb} {kind} {}{name}: {}{bytes}", step.uuid, step.why)
}

/// `sizes`: nothing has been done yet, and these are the bytes of each step.
fn report(steps: &[Step], format: Format, sizes: Option<&[u64]>) {
    let size = |index: usize| sizes.and_then(|sizes| sizes.get(index)).copied();
    let verb = if sizes.is_some() { "would remove" } else { "removed" };
    match format {
        Format::Json => {
            let mut list = serde_json::to_value(steps).unwrap_or_default();
            for (index, step) in list.as_array_mut().into_iter().flatten().enumerate() {
                if let Some(bytes) = size(index) {
                    step["bytes"] = bytes.into();
                }
            }
            output::json(&list);
        }
        Format::Table => {
            for (index, step) in steps.iter().enumerate() {
                output::data(&sentence(step, verb, size(index)));
            }
            if let Some(sizes) = sizes.filter(|sizes| sizes.len() > 1) {
                let total = sizes.iter().fold(0, |sum: u64, bytes| sum.saturating_add(*bytes));
                output::data(&format!("{} bytes in all", total));
            }
        }
    }
}
