//! `rocket logs`: a thin front of journalctl.

use crate::cli::error::Failure;
use crate::config::paths::Paths;
use crate::pod::list;
use crate::pod::lookup;
use crate::pod::name::PodName;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

/// Arguments of `rocket logs`.
#[derive(Debug, clap::Args)]
pub struct LogsArgs {
    /// Pod name (all its instances), UUID (that one), or at least 8 digits of one; /APP for one app.
    #[arg(value_name = "POD[/APP]")]
    pod: String,
    /// Follow what comes.
    #[arg(short, long)]
    follow: bool,
    /// Only the last lines.
    #[arg(short = 'n', long, value_name = "NUMBER")]
    lines: Option<u32>,
    /// Only what was written since then: a time, or a span such as -1h (systemd.time(7)).
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    since: Option<String>,
    /// Only what was written until then.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, conflicts_with = "follow")]
    until: Option<String>,
}

/// `rocket logs`.
pub fn run(paths: &Paths, args: &LogsArgs) -> Result<ExitCode, Failure> {
    let (pod, app) = match args.pod.split_once('/') {
        Some((pod, app)) => (pod, Some(app)),
        None => (args.pod.as_str(), None),
    };
    let mut command = Command::new("journalctl");
    command.arg("--no-pager");
    if args.follow {
        command.arg("--follow");
    }
    if let Some(lines) = args.lines {
        command.arg(format!("--lines={lines}"));
    }
    for (option, time) in [("since", &args.since), ("until", &args.until)] {
        if let Some(time) = time {
            command.arg(format!("--{option}={time}"));
        }
    }
    check_times(args)?;
    match lookup::find(paths, pod) {
        Ok(found) => {
            let info = list::info(paths, found).ok_or_else(|| {
                Failure::message(format!("pod {} has just been removed", found.uuid))
            })?;
            let mut apps = info.meta.iter().flat_map(|meta| &meta.apps).map(|app| &*app.name);
            if let Some(app) = app
                && info.meta.is_some()
                && !apps.any(|name| name == app)
            {
                let text = format!("pod {} has no app {app:?}", found.uuid);
                return Err(Failure::message(text));
            }
            let unit = info.cgroup.as_ref().and_then(|cgroup| cgroup.unit.as_deref());
            match unit {
                Some(unit) if unit.ends_with(".service") => {
                    command.arg(format!("--unit={unit}"));
                    if PodName::new(pod).is_err() || lookup::starts(found.uuid, pod) {
                        one_instance(&mut command, &info, args);
                    }
                }
                _ => {
                    return Err(Failure::message(format!(
                        "pod {} has no log: its apps wrote to the terminal or pipe of rocket run",
                        found.uuid
                    ))
                    .hint(
                        "pods of systemctl start and of rocket run --detach log to the journal",
                    ));
                }
            }
        }
        // The journal outlives the pod.
        Err(error) => match PodName::new(pod) {
            Ok(name) if PodFileUnit::exists(&name) => {
                command.arg(format!("--unit={}", name.unit()));
            }
            _ => return Err(error.into()),
        },
    }
    if let Some(app) = app {
        command.arg(format!("--identifier={app}"));
    }
    Err(Failure::new(anyhow::Error::new(command.exec()).context("cannot run journalctl")))
}

/// Whether journalctl understands the times: it says so with a status that would be an app's here.
fn check_times(args: &LogsArgs) -> Result<(), Failure> {
    let mut command = Command::new("journalctl");
    for (option, time) in [("since", &args.since), ("until", &args.until)] {
        command.args(time.iter().map(|time| format!("--{option}={time}")));
    }
    if command.get_args().len() == 0 {
        return Ok(());
    }
    let failed = |error| Failure::new(anyhow::Error::new(error).context("cannot run journalctl"));
    let done = command.args(["--lines=0", "--quiet", "--no-pager"]).output().map_err(failed)?;
    if done.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&done.stderr);
    Err(Failure::message(format!("cannot show logs: {}", why.trim()))
        .hint("times are written as in systemd.time(7): \"2026-01-31 12:00\", -1h, yesterday"))
}

/// The lines of one instance among those of its unit: by its time, or, where other times are asked
/// for, by its invocation (systemd's own lines about the unit have none).
fn one_instance(command: &mut Command, info: &list::Info, args: &LogsArgs) {
    if args.since.is_some() || args.until.is_some() {
        let invocation = info.cgroup.as_ref().and_then(|cgroup| cgroup.invocation.as_ref());
        if let Some(invocation) = invocation {
            command.arg(format!("_SYSTEMD_INVOCATION_ID={invocation}"));
        }
        return;
    }
    let seconds = |ms: u64| format!("@{}.{:03}", ms / 1000, ms % 1000);
    if let Some(started) = info.meta.as_ref().map(|meta| meta.created_ms) {
        command.arg(format!("--since={}", seconds(started)));
    }
    if let Some(exit) = info.record.pod.as_ref().filter(|_| !args.follow) {
        // A line may be stamped a moment after the end that init wrote down.
        command.arg(format!("--until={}", seconds(exit.ended_ms.saturating_add(500))));
    }
}

struct PodFileUnit;

impl PodFileUnit {
    fn exists(name: &PodName) -> bool {
        crate::config::paths::POD_FILES
            .iter()
            .flat_map(|dir| ["toml", "json"].map(|kind| (dir, format!("{name}.{kind}"))))
            .any(|(dir, file)| std::path::Path::new(dir).join(file).exists())
    }
}
