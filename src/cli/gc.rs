//! `rocket rm` and `rocket gc`.

use crate::cli::error::Failure;
use crate::cli::freed::{self, Freed};
use crate::cli::output::{self, Format};
use crate::cli::stop::has_pod_file;
use crate::cli::target::PodsArg;
use crate::cli::wait::TimeArg;
use crate::config::layers::Config;
use crate::config::paths::Paths;
use crate::pod::directory::State;
use crate::pod::gc::{self, Options, Step};
use crate::pod::list::{self, Info, Status};
use crate::pod::lookup;
use crate::pod::name::{PodName, holder};
use crate::pod::prepare::now_ms;
use crate::pod::usage;
use std::collections::BTreeSet;
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
    /// Dead pods without a name stay for this time after their end (30s, 10min); else as
    /// configured, half an hour where nothing is.
    #[arg(long, value_name = "TIME")]
    grace_period: Option<TimeArg>,
    /// Remove prepared pods that nobody ran for this time; else as configured, never where nothing
    /// is.
    #[arg(long, value_name = "TIME")]
    expire_prepared: Option<TimeArg>,
    /// Keep no dead instances of named pods for inspection: they go like those without a name, when
    /// the grace period is over.
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
        output::data(&of_step(paths, &step).sentence("would remove"));
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
    if let Some(name) = &args.pod {
        known(paths, &pods, name)?;
    }
    let options = Options {
        grace: args
            .grace_period
            .map_or(Duration::from_secs(config.gc_grace_period.value), TimeArg::span),
        expire_prepared: args.expire_prepared.map(TimeArg::span).or(Some(
            config.gc_expire_prepared.value,
        )
        .filter(|seconds| *seconds > 0)
        .map(Duration::from_secs)),
        keep: if args.all { 0 } else { config.gc_keep.value },
    };
    let mut steps = gc::plan(&pods, now_ms(), options);
    match &args.pod {
        Some(name) => steps.retain(|step| step.name.as_ref() == Some(name)),
        None => steps.extend(gc::garbage(paths)?),
    }
    steps.retain(|step| !gc::is_new(paths, step));
    let mut freed = Vec::new();
    let mut gone = BTreeSet::new();
    let mut failed = None;
    for step in steps {
        let found = of_step(paths, &step);
        let removed = match if args.dry_run { Ok(true) } else { gc::remove(paths, &step) } {
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
            freed.push(found);
            gone.insert(step.uuid);
        }
    }
    if args.pod.is_none() {
        if !args.dry_run {
            // What a rocket that was killed in the middle had taken and no pod directory has.
            for damaged in crate::pod::ids::sweep(paths).map_err(Failure::new)?.damaged {
                output::note(&format!("rocket: warning: {damaged}"));
            }
        }
        match crate::cli::image::collect(paths, &gone, args.dry_run) {
            Ok(more) => freed.extend(more),
            // What has been removed is said all the same.
            Err(failure) => {
                if let Some(previous) = failed.replace(failure) {
                    previous.report();
                }
            }
        }
    }
    freed::report(&freed, args.format, args.dry_run);
    failed.map_or(Ok(ExitCode::SUCCESS), Err)
}

/// A name that nothing has is a slip of the pen; one that a pod file has may not have run yet.
fn known(paths: &Paths, pods: &[Info], name: &str) -> Result<(), Failure> {
    let word = PodName::new(name)?;
    let has_it = |pod: &Info| pod.meta.as_ref().is_some_and(|m| m.name.as_deref() == Some(name));
    if pods.iter().any(has_it) || has_pod_file(&word) || holder(paths, &word)?.is_some() {
        return Ok(());
    }
    Err(Failure::message(format!("there is no pod of the name {name:?}")))
}

/// What removing it gives back to the disk.
fn of_step(paths: &Paths, step: &Step) -> Freed {
    Freed {
        kind: if step.state == State::Prepared { "prepared-pod" } else { "pod" },
        uuid: Some(step.uuid.to_string()),
        digest: None,
        name: step.name.clone(),
        why: step.why.clone(),
        bytes: usage::bytes(&step.state.path(paths, step.uuid)),
    }
}
