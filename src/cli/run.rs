//! `rocket run`, `rocket prepare`, `rocket run-prepared`.

use crate::cli::error::Failure;
use crate::cli::input::{EnforcementArgs, PodInput, Wanted};
use crate::cli::output;
use crate::config::paths::Paths;
use crate::image::store::{ImageId, Store};
use crate::launch::{
    self, Ahead, CgroupChoice, DetachKeys, LaunchError, Options, Outcome, TerminalOptions,
};
use crate::pod::directory::{Pod, Prepared, State};
use crate::pod::ids::Pool;
use crate::pod::limits::Enforcement;
use crate::pod::meta::Meta;
use crate::pod::name::NameLock;
use crate::pod::prepare;
use crate::pod::{gc, lookup, record};
use crate::systemd::{bus, properties};
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;

/// Arguments of `rocket run`.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    #[command(flatten)]
    input: PodInput,
    #[command(flatten)]
    launch: LaunchArgs,
    /// Run it in the background, as a transient service; prints its UUID.
    #[arg(short, long, conflicts_with = "cgroup")]
    detach: bool,
    /// Remove the pod when it has ended.
    #[arg(long, conflicts_with = "detach")]
    rm: bool,
    /// Write the pod's UUID to this file.
    #[arg(long, value_name = "FILE")]
    uuid_file_save: Option<PathBuf>,
}

/// Arguments of `rocket prepare`.
#[derive(Debug, clap::Args)]
pub struct PrepareArgs {
    #[command(flatten)]
    input: PodInput,
    /// Write the pod's UUID to this file.
    #[arg(long, value_name = "FILE")]
    uuid_file_save: Option<PathBuf>,
}

/// Arguments of `rocket run-prepared`.
#[derive(Debug, clap::Args)]
pub struct RunPreparedArgs {
    /// Name, UUID, or at least 8 digits of one.
    #[arg(value_name = "POD")]
    pod: String,
    #[command(flatten)]
    launch: LaunchArgs,
    /// Remove the pod when it has ended.
    #[arg(long)]
    rm: bool,
    #[command(flatten)]
    enforcement: EnforcementArgs,
}

/// Options of everything that starts a pod.
#[derive(Debug, clap::Args)]
struct LaunchArgs {
    /// Who owns the pod's cgroup.
    #[arg(long, value_enum, default_value_t, value_name = "WHO")]
    cgroup: CgroupChoice,
    /// What is typed here is for the app. Without --tty that is so anyway for a pod of one app.
    #[arg(short, long)]
    interactive: bool,
    /// Give the app a terminal of its own (for a pod of one app).
    #[arg(short, long)]
    tty: bool,
    /// Keys that leave the terminal and let the pod run on; an empty list is none.
    #[arg(long, value_name = "KEYS", default_value = "ctrl-p,ctrl-q")]
    detach_keys: DetachKeys,
}

impl LaunchArgs {
    fn options(&self, enforcement: Enforcement) -> Options {
        let terminal =
            TerminalOptions { interactive: self.interactive, detach_keys: self.detach_keys };
        Options {
            cgroup: self.cgroup,
            enforcement,
            // The screen belongs to the app then.
            tell: (!self.tty).then_some(|text| output::note(&format!("rocket: {text}"))),
            terminal: self.tty.then_some(terminal),
        }
    }

    /// Whether the caller's terminal can be what was asked for.
    fn check(&self, detach: bool) -> Result<(), Failure> {
        if detach && self.interactive && !self.tty {
            let text = "nothing can be typed for a pod in the background without a terminal";
            return Err(Failure::message(text).hint("--tty gives it one, for rocket attach"));
        }
        if !detach && self.interactive && self.tty && !io::stdin().is_terminal() {
            return Err(Failure::message("standard input is not a terminal")
                .hint("leave out --tty to hand it to the app as it is"));
        }
        Ok(())
    }
}

/// `rocket run`.
pub fn run(paths: &Paths, pool: Pool, args: RunArgs) -> Result<ExitCode, Failure> {
    args.launch.check(args.detach)?;
    let options = args.launch.options(args.input.enforcement.value());
    let by_name = args.input.pod.clone();
    let ahead = if args.detach { Ahead::default() } else { Ahead::begin(options.cgroup) };
    let wanted = args.input.read()?;
    if options.cgroup == CgroupChoice::Unit
        && let Some(name) = &by_name
    {
        check_drop_in(&wanted, name)?;
    }
    let prepared = wanted.prepare(paths, pool, !args.detach)?;
    let (pod, name) = save_uuid(paths, args.uuid_file_save.as_deref(), prepared)?;
    let uuid = pod.uuid();
    if args.detach {
        return detach(paths, pod, name, options);
    }
    tell_weakened(&Meta::read(pod.path())?);
    warn_without_systemd(options.cgroup);
    let outcome = launch::run(paths, pod, name, options, ahead);
    if outcome.is_err() {
        // What never started leaves nothing behind; what started is kept for inspection.
        gc::discard(paths, uuid, args.rm)?;
    }
    finish(paths, outcome, args.rm)
}

/// `rocket prepare`.
pub fn prepare(paths: &Paths, pool: Pool, args: PrepareArgs) -> Result<ExitCode, Failure> {
    let prepared = args.input.read()?.prepare(paths, pool, false)?;
    let (pod, _name) = save_uuid(paths, args.uuid_file_save.as_deref(), prepared)?;
    show(pod.uuid(), "is prepared", "rocket rm")
}

/// `rocket run-prepared`.
pub fn run_prepared(paths: &Paths, args: RunPreparedArgs) -> Result<ExitCode, Failure> {
    let ahead = Ahead::begin(args.launch.cgroup);
    let found = lookup::find(paths, &args.pod)?;
    if found.state != State::Prepared {
        return Err(Failure::message(format!(
            "cannot run pod {}: it is not prepared, it is in {}",
            found.uuid,
            found.state.dir()
        ))
        .hint("every start needs a new pod: rocket prepare makes one"));
    }
    let pod = Pod::<Prepared>::open(paths, found.uuid)?;
    let meta = Meta::read(pod.path())?;
    tell_weakened(&meta);
    if let Ok(Some(store)) = Store::open_existing(&paths.store()) {
        let ids = meta.apps.iter().filter_map(|app| app.image_id.parse().ok());
        ids.for_each(|id| store.mark_used(&ImageId::new(id)));
    }
    let name = match meta.name {
        Some(name) => {
            let lock = prepare::claim(paths, &name)?;
            lock.assign(pod.uuid())?;
            Some(lock)
        }
        None => None,
    };
    warn_without_systemd(args.launch.cgroup);
    args.launch.check(false)?;
    let options = args.launch.options(args.enforcement.value());
    let outcome = launch::run(paths, pod, name, options, ahead);
    finish(paths, outcome, args.rm)
}

fn finish(
    paths: &Paths,
    outcome: Result<Outcome, LaunchError>,
    remove: bool,
) -> Result<ExitCode, Failure> {
    match outcome {
        Ok(Outcome::Detached(uuid)) => {
            output::note(&format!("rocket: the pod runs on; back to it: rocket attach {uuid}"));
            Ok(ExitCode::SUCCESS)
        }
        Ok(Outcome::Ended(code, pod)) => {
            if remove {
                let uuid = pod.uuid();
                drop(pod);
                gc::discard(paths, uuid, true)?;
            }
            Ok(ExitCode::from(code))
        }
        Err(error) => Err(launch_failure(error)),
    }
}

fn launch_failure(error: LaunchError) -> Failure {
    let code = match &error {
        LaunchError::Stage1 { code, .. } => *code,
        _ => 125,
    };
    let hint = match &error {
        LaunchError::Limits(_) => Some("--best-effort runs the pod without them"),
        LaunchError::NotInUnit(_) => {
            Some("the packaged unit does it: systemctl start rocket@NAME.service")
        }
        LaunchError::Flavour(_) => Some("install rocket's stage1, or check its version"),
        LaunchError::Bus(_) => {
            Some("--cgroup=none runs the pod without systemd and without limits")
        }
        _ => None,
    };
    let failure = Failure::new(error).code(code);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// The generated drop-in carries the digest of the pod file it was made from. Without it the limits
/// of the unit would be of another version than the apps, or missing.
fn check_drop_in(wanted: &Wanted, name: &str) -> Result<(), Failure> {
    let carried = std::env::var("ROCKET_POD_DIGEST").ok();
    match (carried.as_deref(), wanted.digest()) {
        (Some(carried), Some(now)) if carried == now => Ok(()),
        (Some(_), _) => Err(Failure::message(format!(
            "cannot start pod {name}: its pod file has changed since systemd read it"
        ))
        .hint("systemctl daemon-reload")),
        (None, _) => Err(Failure::message(format!(
            "cannot start pod {name}: its unit has no drop-in of rocket-generator, so no limits"
        ))
        .hint(match name.contains('@') {
            true => format!("rocket start {name}, or systemctl enable rocket@{name}"),
            false => "systemctl daemon-reload".to_owned(),
        })),
    }
}

/// Once a start: what in this pod is weaker than it is without being asked, and what will not work.
fn tell_weakened(meta: &Meta) {
    for warning in &meta.warnings {
        output::note(&format!("rocket: warning: {warning}"));
    }
    for word in &meta.weakened {
        output::note(&format!("rocket: warning: weaker than the default: {word}"));
    }
}

fn warn_without_systemd(choice: CgroupChoice) {
    let none = match choice {
        CgroupChoice::None => true,
        CgroupChoice::Auto => !crate::systemd::detect::booted(),
        CgroupChoice::Scope | CgroupChoice::Unit => false,
    };
    if none {
        output::note(
            "rocket: warning: the pod has no cgroup: no limits, no accounting, no list of devices",
        );
    }
}

/// A detached pod is a transient service: unlike a scope it keeps exit status, cleanup and logs.
fn detach(
    paths: &Paths,
    pod: Pod<Prepared>,
    name: Option<NameLock>,
    options: Options,
) -> Result<ExitCode, Failure> {
    let uuid = pod.uuid();
    let meta = Meta::read(pod.path())?;
    let unit = launch::unit_name(uuid, "service");
    let mut argv = vec![
        launch::own_program()?.to_string_lossy().into_owned(),
        format!("--state-dir={}", std::path::absolute(paths.state())?.display()),
        "run-prepared".to_owned(),
        "--cgroup=unit".to_owned(),
    ];
    match options.enforcement {
        Enforcement::Strict => argv.push("--strict".to_owned()),
        Enforcement::Demanded => {}
        Enforcement::BestEffort => argv.push("--best-effort".to_owned()),
    }
    // Programs on a terminal want to know which kind, and a service has no word for it.
    let mut environment = Vec::new();
    if options.terminal.is_some() {
        argv.push("--tty".to_owned());
        environment.extend(std::env::var("TERM").map(|term| format!("TERM={term}")));
    }
    argv.push(uuid.to_string());
    let common = properties::Unit {
        description: &launch::describe(&meta),
        slice: meta.slice.as_deref().unwrap_or(properties::SLICE),
        stop_usec: meta.stop_timeout_ms.saturating_mul(1000),
        limits: &meta.limits,
    };
    let service = properties::Service {
        argv: &argv,
        pod_name: meta.name.as_deref(),
        start_usec: meta.start_timeout_ms.map_or(u64::MAX, |ms| ms.saturating_mul(1000)),
        environment: &environment,
    };
    let list = properties::service(&common, &service)?;
    // The service takes both locks itself.
    drop((pod, name));
    let started = bus::start_transient(&unit, &list);
    if let Err(error) = started {
        let told = told(paths, uuid);
        gc::discard(paths, uuid, false)?;
        if let Some(failure) = told {
            return Err(failure.hint(format!("journalctl -u {unit}")));
        }
        return Err(Failure::new(error).hint(format!("journalctl -u {unit}")));
    }
    show(uuid, "runs", "rocket stop")
}

/// Prints a UUID; where that cannot be, says it with the error, or nobody would ever know it.
fn show(uuid: uuid::Uuid, does: &str, undo: &str) -> Result<ExitCode, Failure> {
    output::data(&uuid.to_string());
    let Some(error) = output::lost() else { return Ok(ExitCode::SUCCESS) };
    let text = format!("pod {uuid} {does}; cannot write to standard output: {error}");
    Err(Failure::message(text).hint(format!("{undo} {uuid}, if it is not to stay")))
}

/// Why a pod that got as far as stage1 did not start, in stage1's own words.
fn told(paths: &Paths, uuid: uuid::Uuid) -> Option<Failure> {
    let record = record::read(&State::Run.path(paths, uuid)).ok()?;
    let app = record.apps.iter().find(|exit| exit.message.is_some())?;
    let code = u8::try_from(app.status()).unwrap_or(125);
    Some(Failure::message(app.message.clone()?).code(code))
}

/// A prepared pod and its name, if it has one.
type NewPod = (Pod<Prepared>, Option<NameLock>);

/// Writes the UUID where the caller wants it; a pod whose UUID nobody gets to know is removed.
fn save_uuid(
    paths: &Paths,
    file: Option<&std::path::Path>,
    prepared: NewPod,
) -> Result<NewPod, Failure> {
    let Some(file) = file else { return Ok(prepared) };
    let uuid = prepared.0.uuid();
    let Err(error) = std::fs::write(file, format!("{uuid}\n")) else { return Ok(prepared) };
    drop(prepared);
    gc::discard(paths, uuid, false)?;
    let what = format!("cannot write {}", file.display());
    Err(Failure::new(anyhow::Error::new(error).context(what)))
}
