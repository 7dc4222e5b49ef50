//! `rocket start`, `rocket stop`, `rocket restart`.

use crate::cli::error::Failure;
use crate::cli::target::{self, PodsArg};
use crate::config::paths::{POD_FILES, Paths, RUNTIME_POD_FILES, STAGE1};
use crate::launch::Flavour;
use crate::pod::control::{Client, PATIENCE};
use crate::pod::directory::State;
use crate::pod::life::{self, Life};
use crate::pod::lookup::{self, Found};
use crate::pod::meta::{CgroupRecord, Meta};
use crate::pod::name::PodName;
use crate::pod::wait;
use crate::systemd::bus::{self, Verb};
use serde_json::{Value, json};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Arguments of `rocket restart`.
#[derive(Debug, clap::Args)]
pub struct RestartArgs {
    /// Names of pod files, whose units start again; or POD/APP, an app of a pod that runs.
    #[arg(required = true, value_name = "NAME|POD/APP")]
    names: Vec<String>,
}

/// Arguments of `rocket start`.
#[derive(Debug, clap::Args)]
pub struct NameArgs {
    /// Names of pod files.
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

/// Arguments of `rocket stop`.
#[derive(Debug, clap::Args)]
pub struct StopArgs {
    #[command(flatten)]
    pods: PodsArg,
    /// Kill at once instead of stopping in order.
    #[arg(long)]
    force: bool,
}

/// `rocket start`.
pub fn start(args: &NameArgs) -> Result<ExitCode, Failure> {
    each(&args.names, |name| job(Verb::Start, name))
}

/// `rocket restart`.
pub fn restart(paths: &Paths, args: &RestartArgs) -> Result<ExitCode, Failure> {
    each(&args.names, |name| match name.split_once('/') {
        Some(_) => restart_app(paths, name),
        None => job(Verb::Restart, name),
    })
}

/// One app of a pod that goes on.
fn restart_app(paths: &Paths, word: &str) -> Result<(), Failure> {
    let target = target::running(paths, word, "restart an app of")?;
    let failed =
        |error| Failure::new(anyhow::Error::new(error).context(format!("cannot restart {word}")));
    let request = json!({"op": "restart", "app": target.app});
    let client = Client::connect(&target.dir, PATIENCE)?;
    client.ask(&request).map_err(failed)?;
    loop {
        let status = client.ask(&json!({"op": "status"})).map_err(failed)?.value;
        let apps = status["apps"].as_array().map(Vec::as_slice).unwrap_or_default();
        let named = |app: &&Value| target.app.as_deref().is_none_or(|name| app["name"] == *name);
        let Some(app) = apps.iter().find(named) else { return Ok(()) };
        match app["state"].as_str() {
            Some("waiting" | "preparing" | "stopping" | "cleaning") => std::thread::sleep(STEP),
            // A program that was done at once has run as well.
            Some("ended" | "failed" | "backoff") if app["exit"]["code"] != 0 => {
                let why = app["why"].as_str().unwrap_or("it has ended");
                return Err(Failure::message(format!("restarted {word}: {why}")));
            }
            _ => return Ok(()),
        }
    }
}

/// How often a restart looks whether it is done.
const STEP: Duration = Duration::from_millis(20);

/// `rocket stop`.
pub fn stop(paths: &Paths, args: &StopArgs) -> Result<ExitCode, Failure> {
    each(&args.pods.words()?, |pod| stop_one(paths, pod, args.force))
}

/// Does it for each; the first failure is reported after all have been tried.
fn each(
    words: &[String],
    mut one: impl FnMut(&str) -> Result<(), Failure>,
) -> Result<ExitCode, Failure> {
    let mut failures = words.iter().filter_map(|word| one(word).err()).collect::<Vec<_>>();
    let Some(last) = failures.pop() else { return Ok(ExitCode::SUCCESS) };
    for failure in failures {
        failure.report();
    }
    Err(last)
}

fn job(verb: Verb, name: &str) -> Result<(), Failure> {
    let name = PodName::new(name)?;
    let unit = name.unit();
    let (file, has_file) = (file_name(&name), has_pod_file(&name));
    if has_file && name.instance().is_some() {
        introduce(&name)?;
    }
    bus::unit_job(verb, &unit).map_err(|error| {
        let failure = Failure::new(error);
        if has_file {
            failure.hint(format!("systemctl status {unit}")).hint(format!("journalctl -u {unit}"))
        } else {
            failure.hint(format!("there is no pod file {}/{file}", POD_FILES[0]))
        }
    })
}

/// Name of a pod's file: an instance's is its template's.
fn file_name(name: &PodName) -> String {
    match name.instance() {
        Some(instance) => {
            format!("{}.toml", name.as_str().strip_suffix(instance).unwrap_or_default())
        }
        None => format!("{name}.toml"),
    }
}

/// Whether a pod file has this name.
pub fn has_pod_file(name: &PodName) -> bool {
    // A pod manifest is never a template.
    let manifest = name.instance().is_none().then(|| format!("{name}.json"));
    let files: Vec<String> = std::iter::once(file_name(name)).chain(manifest).collect();
    POD_FILES.iter().any(|dir| files.iter().any(|file| Path::new(dir).join(file).exists()))
}

/// Lets the generator know of an instance of a template that nobody has enabled or named: by a
/// directory for its drop-ins, gone with the next boot.
fn introduce(name: &PodName) -> Result<(), Failure> {
    let drop_in = format!("/run/systemd/generator/{}.d", name.unit());
    if Path::new(&drop_in).exists() {
        return Ok(());
    }
    let dir = Path::new(RUNTIME_POD_FILES).join(format!("{name}.toml.d"));
    std::fs::create_dir_all(&dir).map_err(|error| {
        let text = format!("cannot make {}", dir.display());
        Failure::new(anyhow::Error::new(error).context(text))
    })?;
    bus::daemon_reload().map_err(Failure::new)
}

fn stop_one(paths: &Paths, word: &str, force: bool) -> Result<(), Failure> {
    let found = lookup::find(paths, word)?;
    let life = match found.state {
        State::Run => life::of(paths, found.uuid)?,
        _ => Life::Dead,
    };
    let dir = found.state.path(paths, found.uuid);
    match life {
        Life::Dead => {
            return Err(Failure::message(format!("pod {} is not running", found.uuid)));
        }
        // Nobody is left who could be asked, and its unit may be another's by now.
        Life::Ending => return wait_dead(paths, found, &dir),
        Life::Alive => {}
    }
    let record = CgroupRecord::read(&dir)?;
    let unit = record.and_then(|record| record.unit);
    let service = unit.filter(|unit| unit.ends_with(".service"));
    if force || service.is_none() {
        let args: &[String] = if force { &["--force".to_owned()] } else { &[] };
        let code = Flavour::find(Path::new(STAGE1), "ns")?.stop(&dir, args)?;
        if code != 0 {
            return Err(Failure::message(format!("stage1 could not stop pod {}", found.uuid)));
        }
    }
    // systemd is asked, so that it knows that the stop was meant and does not start it again.
    if let Some(unit) = service {
        match bus::unit_job(Verb::Stop, &unit) {
            // A transient unit is collected as soon as its processes are gone.
            Err(error) if error.no_such_unit() => {}
            done => done.map_err(Failure::new)?,
        }
    }
    wait_dead(paths, found, &dir)
}

/// Waits until the pod is dead, for no longer than its stop may take.
fn wait_dead(paths: &Paths, found: Found, dir: &Path) -> Result<(), Failure> {
    let limit = Meta::read(dir).map_or(15_000, |meta| meta.stop_timeout_ms);
    let end = Instant::now().checked_add(Duration::from_millis(limit));
    if wait::dead(paths, found.uuid, end)? {
        return Ok(());
    }
    Err(Failure::message(format!("pod {} has not stopped in time", found.uuid))
        .hint(format!("rocket stop --force {}", found.uuid)))
}
