//! `rocket list` and `rocket status`.

use crate::cli::detail::{self, AppDetail};
use crate::cli::error::Failure;
use crate::cli::output::{self, Format};
use crate::cli::report::PodReport;
use crate::cli::target::PodArg;
use crate::cli::wait::{TimeArg, until_dead};
use crate::config::paths::Paths;
use crate::pod::list::{self, Info};
use crate::pod::lookup;
use serde_json::{Value, json};
use std::process::ExitCode;

/// Arguments of `rocket list`.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// How to print it.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Arguments of `rocket status`.
#[derive(Debug, clap::Args)]
pub struct StatusArgs {
    #[command(flatten)]
    pod: PodArg,
    /// Wait for its end first, for no longer than this.
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "infinity")]
    wait: Option<TimeArg>,
    /// How to print it.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// `rocket list`.
pub fn list(paths: &Paths, args: ListArgs) -> Result<ExitCode, Failure> {
    let pods = list::all(paths)?;
    let details = detail::of(paths, &pods.iter().collect::<Vec<_>>());
    let detailed = pods.iter().zip(&details);
    match args.format {
        Format::Json => {
            let list = detailed.map(|(pod, details)| to_json(pod, details)).collect();
            output::json(&Value::Array(list));
        }
        Format::Table => {
            let rows: Vec<Vec<String>> = detailed.map(|(pod, details)| row(pod, details)).collect();
            let header = ["UUID", "NAME", "STATE", "APPS", "MEMORY", "UNIT", "CREATED"];
            output::table(&header, &rows);
            for pod in &pods {
                if let Some(problem) = &pod.problem {
                    output::note(&format!("pod {} is broken: {problem}", pod.uuid));
                }
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// `rocket status`.
pub fn status(paths: &Paths, args: StatusArgs) -> Result<ExitCode, Failure> {
    let mut found = lookup::find(paths, &args.pod.word()?)?;
    if args.wait.is_some() {
        until_dead(paths, found, args.wait)?;
        found = lookup::locate(paths, found.uuid)
            .ok_or_else(|| Failure::message(format!("pod {} ended and was removed", found.uuid)))?;
    }
    let info = list::info(paths, found)
        .ok_or_else(|| Failure::message(format!("pod {} has just been removed", found.uuid)))?;
    let details = detail::of(paths, &[&info]).pop().unwrap_or_default();
    match args.format {
        Format::Json => {
            let mut json = to_json(&info, &details);
            PodReport::of(&info.state.path(paths, info.uuid), &info).add_to(&mut json);
            output::json(&json);
        }
        Format::Table => describe(paths, &info, &details),
    }
    Ok(ExitCode::SUCCESS)
}

fn row(pod: &Info, details: &[AppDetail]) -> Vec<String> {
    let dash = || "-".to_owned();
    let meta = pod.meta.as_ref();
    let apps = meta.iter().flat_map(|meta| &meta.apps).zip(details);
    let apps: Vec<String> = apps.map(|(app, detail)| app_word(pod, &app.name, detail)).collect();
    let memory = details.iter().filter_map(|detail| detail.usage.as_ref()?.memory);
    let memory = memory.reduce(u64::saturating_add);
    vec![
        pod.uuid.to_string(),
        meta.and_then(|m| m.name.clone()).unwrap_or_else(dash),
        state(pod),
        if apps.is_empty() { dash() } else { apps.join(",") },
        memory.map_or_else(dash, detail::size),
        unit(pod).unwrap_or_else(dash),
        meta.map_or_else(dash, |m| output::age(m.created_ms)),
    ]
}

/// An app's name, with its state where that is not the pod's.
fn app_word(pod: &Info, name: &str, detail: &AppDetail) -> String {
    let live = detail.live.as_ref().map(|live| live.state.as_str());
    let exit = pod.record.apps.iter().find(|exit| exit.app == name).map(|exit| exit.status());
    match (live, exit) {
        (Some("running"), _) => name.to_owned(),
        (Some(state), _) => format!("{name}({state})"),
        (None, Some(status)) if status != 0 => format!("{name}({status})"),
        (None, _) => name.to_owned(),
    }
}

fn unit(pod: &Info) -> Option<String> {
    pod.cgroup.as_ref().and_then(|cgroup| cgroup.unit.clone())
}

fn state(pod: &Info) -> String {
    match (&pod.record.pod, pod.unrecorded_end()) {
        (Some(exit), _) if pod.status == list::Status::Exited => {
            format!("exited ({})", exit.status)
        }
        (_, Some(why)) => format!("exited ({})", why.words()),
        _ => pod.status.as_str().to_owned(),
    }
}

fn describe(paths: &Paths, pod: &Info, details: &[AppDetail]) {
    let line = |key: &str, value: &str| output::data(&format!("{key:>12}: {value}"));
    line("uuid", &pod.uuid.to_string());
    line("state", &state(pod));
    if let Some(problem) = &pod.problem {
        line("problem", problem);
    }
    if let Some(meta) = &pod.meta {
        if let Some(name) = &meta.name {
            line("name", name);
        }
        if let Some(text) = &meta.description {
            line("description", text);
        }
        line("created", &output::age(meta.created_ms));
    }
    if let Some(unit) = unit(pod) {
        line("unit", &unit);
    }
    if let Some(path) = pod.cgroup.as_ref().and_then(|cgroup| cgroup.path.as_ref()) {
        line("cgroup", path);
    }
    if let Some(pid) = pod.pid {
        line("init pid", &pid.to_string());
    }
    let dir = pod.state.path(paths, pod.uuid);
    let report = PodReport::of(&dir, pod);
    for (key, value) in report.lines() {
        line(key, &value);
    }
    for (app, detail) in pod.meta.iter().flat_map(|meta| &meta.apps).zip(details) {
        let end = pod.record.apps.iter().find(|exit| exit.app == app.name);
        let state = match end {
            Some(exit) => {
                let how = match (exit.code, exit.signal) {
                    (_, Some(signal)) => format!("killed by {}", rocket_sys::signal::name(signal)),
                    (Some(code), None) => format!("exited with {code}"),
                    (None, None) => "not started".to_owned(),
                };
                let message =
                    exit.message.as_deref().map(|m| m.trim_start_matches("not started: "));
                let message = message.map_or_else(String::new, |m| format!(": {m}"));
                format!("{how} ({}){message}", cause(exit.cause))
            }
            None => state(pod),
        };
        let state = match &detail.live {
            Some(live) if live.state == "running" || end.is_none() => live.state.clone(),
            Some(live) => format!("{}; last run: {state}", live.state),
            None => state,
        };
        let restarts = restarts(pod, &app.name, detail);
        let restarts = restarts.filter(|count| *count > 0);
        let restarts = restarts.map(|count| format!(", restarts {count}")).unwrap_or_default();
        line("app", &format!("{}  {state}{restarts}", app.name));
        line("image", &format!("{}  {}", app.image, app.image_id));
        if !app.credentials.is_empty() {
            line("credentials", &app.credentials.join(", "));
        }
        if let Some(usage) = detail.usage.as_ref().and_then(detail::line) {
            line("usage", &usage);
        }
        if !detail.limits.is_empty() {
            let limits: Vec<String> =
                detail.limits.iter().map(|(file, value)| format!("{file}={value}")).collect();
            line("limits", &limits.join(", "));
        }
        for (key, value) in report.app_lines(&app.name) {
            line(key, &value);
        }
    }
    for weak in pod.meta.iter().flat_map(|meta| &meta.weakened) {
        line("weakened", weak);
    }
}

fn cause(cause: rocket_plan::Cause) -> &'static str {
    use rocket_plan::Cause;
    match cause {
        Cause::Exited => "on its own",
        Cause::StopAsked => "stop asked",
        Cause::PodEnding => "the pod was ending",
        Cause::Timeout => "did not stop in time",
        Cause::Oom => "memory ran out",
        Cause::Dependency => "an app it requires was over",
        Cause::ExecFailed => "could not be executed",
        Cause::PreStart => "its pre-start handler failed",
        Cause::Setup => "stage1 failed",
    }
}

/// How often an app was started again, as init says or as it wrote down.
fn restarts(pod: &Info, app: &str, detail: &AppDetail) -> Option<u32> {
    let written = || pod.record.apps.iter().find(|exit| exit.app == app).map(|exit| exit.restarts);
    detail.live.as_ref().and_then(|live| live.restarts).or_else(written)
}

fn to_json(pod: &Info, details: &[AppDetail]) -> Value {
    let apps: Vec<Value> = pod
        .meta
        .iter()
        .flat_map(|meta| &meta.apps)
        .zip(details)
        .map(|(app, detail)| {
            let exit = pod.record.apps.iter().find(|exit| exit.app == app.name);
            json!({
                "name": app.name,
                "image": app.image,
                "image-id": app.image_id,
                "layers": app.layers,
                "credentials": app.credentials,
                "state": detail.live.as_ref().map_or(pod.status.as_str(), |live| &live.state),
                "started-ms": detail.live.as_ref().and_then(|live| live.started_ms),
                "restarts": restarts(pod, &app.name, detail),
                "why": detail.live.as_ref().and_then(|live| live.why.clone()),
                "oom-kills": detail.live.as_ref().and_then(|live| live.oom_kills),
                "usage": detail.usage,
                "limits": detail.limits,
                "exit": exit,
            })
        })
        .collect();
    json!({
        "uuid": pod.uuid,
        "name": pod.meta.as_ref().and_then(|meta| meta.name.clone()),
        "state": pod.status.as_str(),
        "description": pod.meta.as_ref().and_then(|meta| meta.description.clone()),
        "created-ms": pod.meta.as_ref().map(|meta| meta.created_ms),
        "started-ms": pod.started_ms,
        "pid": pod.pid,
        "unit": unit(pod),
        "cgroup": pod.cgroup.as_ref().and_then(|cgroup| cgroup.path.clone()),
        "pod-file-digest": pod.meta.as_ref().and_then(|meta| meta.pod_file_digest.clone()),
        "weakened": pod.meta.as_ref().map(|meta| meta.weakened.clone()),
        "apps": apps,
        "exit": match pod.unrecorded_end() {
            Some(cause) => json!({"status": null, "cause": cause}),
            None => json!(pod.record.pod),
        },
        "problem": pod.problem,
    })
}
