//! `rocket top`: what each running app uses.

use crate::cli::detail::{self, AppDetail};
use crate::cli::error::Failure;
use crate::cli::output::{self, Format};
use crate::cli::report;
use crate::cli::target;
use crate::config::paths::Paths;
use crate::pod::list::{self, Info, Status};
use rocket_sys::signal::SignalFd;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Arguments of `rocket top`.
#[derive(Debug, clap::Args)]
pub struct TopArgs {
    /// Name, UUID, or at least 8 digits of one; every running pod when there is none.
    #[arg(value_name = "POD[/APP]")]
    pods: Vec<String>,
    /// Print once; so it is anyway where standard output is no terminal.
    #[arg(long)]
    once: bool,
    /// Seconds between two looks.
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=3600))]
    interval: u16,
    /// How to print it; JSON is printed once.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// One app of one pod at one moment.
struct Row {
    uuid: Uuid,
    pod: String,
    /// `None`: all of the pod, init included.
    app: Option<String>,
    detail: AppDetail,
}

/// The processor time of each app at a moment.
type Before = (Instant, BTreeMap<(Uuid, Option<String>), u64>);

/// `rocket top`.
pub fn run(paths: &Paths, args: &TopArgs) -> Result<ExitCode, Failure> {
    if args.format == Format::Json {
        let rows = look(paths, &args.pods)?;
        output::json(&Value::Array(rows.iter().map(to_json).collect()));
        return Ok(ExitCode::SUCCESS);
    }
    if args.once || !std::io::stdout().is_terminal() {
        print(&look(paths, &args.pods)?, None);
        return Ok(ExitCode::SUCCESS);
    }
    // SIGHUP, SIGINT, SIGQUIT, SIGTERM: the ordinary way to end this.
    let signals = SignalFd::of(&[1, 2, 3, 15])?;
    let mut before: Option<Before> = None;
    loop {
        let rows = look(paths, &args.pods)?;
        let now = Instant::now();
        // To the upper left corner, and everything below gone.
        output::text("\x1b[H\x1b[2J");
        print(&rows, before.as_ref());
        let times = rows.iter().filter_map(|row| {
            let usec = row.detail.usage.as_ref()?.cpu_usec?;
            Some(((row.uuid, row.app.clone()), usec))
        });
        before = Some((now, times.collect()));
        let timeout = Timespec { tv_sec: i64::from(args.interval), tv_nsec: 0 };
        let mut fds = [PollFd::new(&signals, PollFlags::IN)];
        if poll(&mut fds, Some(&timeout)).is_ok_and(|count| count > 0) {
            return Ok(ExitCode::SUCCESS);
        }
    }
}

fn look(paths: &Paths, words: &[String]) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    if words.is_empty() {
        let pods = list::all(paths)?;
        let running = pods.iter().filter(|info| info.status == Status::Running);
        let running: Vec<_> = running.collect();
        for (info, details) in running.iter().zip(detail::of(paths, &running)) {
            rows.extend(rows_of(info, details, None));
        }
    }
    for word in words {
        let target = target::running(paths, word, "look at")?;
        let details = detail::of(paths, &[&target.info]).pop().unwrap_or_default();
        rows.extend(rows_of(&target.info, details, target.app.as_deref()));
    }
    Ok(rows)
}

fn rows_of(info: &Info, details: Vec<AppDetail>, only: Option<&str>) -> Vec<Row> {
    let Some(meta) = &info.meta else { return Vec::new() };
    let pod = meta.name.clone().unwrap_or_else(|| info.uuid.to_string()[..8].to_owned());
    let row = |app, detail| Row { uuid: info.uuid, pod: pod.clone(), app, detail };
    let apps = meta.apps.iter().zip(details);
    let apps = apps.filter(|(app, _)| only.is_none_or(|only| only == app.name));
    let mut rows: Vec<Row> =
        apps.map(|(app, detail)| row(Some(app.name.clone()), detail)).collect();
    if only.is_none() {
        let (usage, limits) = report::usage(info);
        rows.push(row(None, AppDetail { live: None, usage, limits }));
    }
    rows
}

fn print(rows: &[Row], before: Option<&Before>) {
    let header = [
        "POD", "APP", "STATE", "CPU%", "TIME", "MEMORY", "PEAK", "TASKS", "READ", "WRITTEN",
        "PRESSURE",
    ];
    let rows: Vec<Vec<String>> = rows.iter().map(|row| cells(row, before)).collect();
    output::table(&header, &rows);
}

fn cells(row: &Row, before: Option<&Before>) -> Vec<String> {
    let usage = row.detail.usage.clone().unwrap_or_default();
    let dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let share = before.and_then(|(at, times)| {
        let then = times.get(&(row.uuid, row.app.clone()))?;
        percent(usage.cpu_usec?.saturating_sub(*then), at.elapsed())
    });
    let pressure: Vec<String> = usage
        .pressure
        .iter()
        .filter(|(_, value)| **value > 0)
        .map(|(name, value)| format!("{name} {}", detail::hundredths(*value)))
        .collect();
    vec![
        row.pod.clone(),
        row.app.clone().unwrap_or_else(|| "(all)".to_owned()),
        dash(row.detail.live.as_ref().map(|live| live.state.clone())),
        dash(share),
        dash(usage.cpu_usec.map(detail::time)),
        dash(usage.memory.map(detail::size)),
        dash(usage.memory_peak.map(detail::size)),
        dash(usage.tasks.map(|tasks| tasks.to_string())),
        dash(usage.io_read.map(detail::size)),
        dash(usage.io_write.map(detail::size)),
        dash(Some(pressure.join(", ")).filter(|text| !text.is_empty())),
    ]
}

/// Of one processor, with one decimal.
fn percent(usec: u64, passed: Duration) -> Option<String> {
    let tenths = u128::from(usec).checked_mul(1000)?.checked_div(passed.as_micros())?;
    Some(format!("{}.{}", tenths / 10, tenths % 10))
}

fn to_json(row: &Row) -> Value {
    json!({
        "uuid": row.uuid,
        "pod": row.pod,
        "app": row.app,
        "state": row.detail.live.as_ref().map(|live| live.state.clone()),
        "usage": row.detail.usage,
        "limits": row.detail.limits,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_one_processor() {
        assert_eq!(percent(500_000, Duration::from_secs(1)).as_deref(), Some("50.0"));
        assert_eq!(percent(3_000_000, Duration::from_secs(2)).as_deref(), Some("150.0"));
        assert_eq!(percent(1, Duration::ZERO), None);
    }
}
