//! A start, from a prepared pod to stage1: the product's story in one room.
//!
//! ```text
//! surroundings → who owns the cgroup → open what the plan names → complete the plan → run/
//!     unit:  exec stage1 in place; init becomes the unit's main process
//!     scope: stage1 as a child, its init moved into a scope while it builds its mounts
//!     none:  stage1 as a plain child
//! ```

mod activation;
mod ahead;
mod attach;
mod credentials;
mod descriptors;
mod flavour;
mod foreground;
pub mod keeper;
mod keys;
mod terminal;
mod userns;

pub use ahead::Ahead;
pub use attach::{Attached, attach};
pub use credentials::CredentialError;
pub use flavour::{Flavour, FlavourError};
pub use keys::{DetachKeys, KeysError};

use crate::config::paths::Paths;
use crate::pod::directory::{self, DirectoryError, Pod, Prepared, Running};
use crate::pod::ids::IdsError;
use crate::pod::life;
use crate::pod::limits::{self, Enforcement};
use crate::pod::meta::{self, CgroupRecord, Meta, MetaError};
use crate::pod::name::NameLock;
use crate::pod::sources::{self, Source, SourceError};
use crate::systemd::bus::BusError;
use crate::systemd::detect::{self, Surroundings};
use crate::systemd::limits::LimitError;
use activation::Received;
use descriptors::Descriptors;
use rocket_plan::{Cgroup, ExitStatus, Isolator, PodPlan, descriptor};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use terminal::Bridge;
use thiserror::Error;

/// `--cgroup`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum CgroupChoice {
    /// In place in a service that delegates its cgroup, else a scope, else none.
    #[default]
    Auto,
    /// A transient scope of systemd's.
    Scope,
    /// The cgroup of the service this process is the main process of.
    Unit,
    /// None: no systemd, no limits.
    None,
}

/// How to launch.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Who owns the cgroup.
    pub cgroup: CgroupChoice,
    /// What happens when something cannot be enforced; `Demanded` is as prepared.
    pub enforcement: Enforcement,
    /// The app gets a terminal.
    pub terminal: Option<TerminalOptions>,
    /// Says a line to people while the pod runs.
    pub tell: Option<fn(&str)>,
}

/// The terminal of a pod's one app.
#[derive(Clone, Copy, Debug, Default)]
pub struct TerminalOptions {
    /// What the caller types is for the app.
    pub interactive: bool,
    /// What the caller types to go and leave the pod running.
    pub detach_keys: DetachKeys,
}

/// How a foreground pod left the foreground.
#[derive(Debug)]
pub enum Outcome {
    /// It ended, with this exit status.
    Ended(u8, Pod<Running>),
    /// It goes on without this process.
    Detached(uuid::Uuid),
}

/// Why a pod did not start.
#[derive(Debug, Error)]
pub enum LaunchError {
    /// The pod directory.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// A file of it.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// Something the plan names.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The ids of its user namespace.
    #[error(transparent)]
    Ids(#[from] IdsError),
    /// A source that cannot show those ids.
    #[error(transparent)]
    Idmap(#[from] userns::IdmapError),
    /// The user namespace.
    #[error("cannot make the pod's user namespace")]
    UserNamespace {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It was prepared by a release that made no user namespaces.
    #[error("pod {0} was prepared without a user namespace, and not because it was asked to be")]
    Older(uuid::Uuid),
    /// A credential.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// The flavour.
    #[error(transparent)]
    Flavour(#[from] FlavourError),
    /// systemd.
    #[error("cannot get a cgroup for the pod")]
    Bus(#[from] BusError),
    /// A pod limit.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// `--cgroup=unit` outside such a unit.
    #[error(
        "--cgroup=unit needs to be the only process of a systemd service with Type=notify and Delegate=yes: {0}"
    )]
    NotInUnit(&'static str),
    /// `--cgroup=scope` without systemd.
    #[error("--cgroup=scope needs systemd, and it does not run this host")]
    NoSystemd,
    /// Limits without cgroups.
    #[error("the pod has limits ({0}), and without a cgroup none of them can be enforced")]
    Limits(String),
    /// `--strict`, and something is not enforced.
    #[error("not everything that pod file and images ask for can be enforced: {}", .0.join("; "))]
    Strict(Vec<String>),
    /// A terminal for several apps.
    #[error("a terminal is for pods of one app, and this one has {0}")]
    SeveralApps(usize),
    /// init's control socket.
    #[error(transparent)]
    Control(#[from] crate::pod::control::ControlError),
    /// stage1 said why it failed.
    #[error("{text}")]
    Stage1 {
        /// Exit status: 125, 126 or 127.
        code: u8,
        /// Its own words.
        text: String,
    },
    /// A port that systemd was to listen on.
    #[error(
        "port {port:?} has activation = true, and no socket of this name was handed over: the pod starts as rocket@{pod}.service, whose sockets systemd opens"
    )]
    NoSocket {
        /// The port.
        port: String,
        /// The pod's name.
        pod: String,
    },
    /// A system call failed.
    #[error("cannot {what}")]
    Io {
        /// The verb and its object.
        what: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

fn io_error(what: impl Into<String>) -> impl FnOnce(io::Error) -> LaunchError {
    let what = what.into();
    move |source| LaunchError::Io { what, source }
}

fn failed(what: &'static str) -> impl FnOnce(rocket_sys::Error) -> LaunchError {
    move |error| io_error(what)(io::Error::other(error))
}

/// A pod with everything opened, one step from running.
struct Ready {
    pod: Pod<Running>,
    flavour: Flavour,
    descriptors: Descriptors,
    meta: Meta,
    /// This process's end of the tether of a foreground pod.
    tether: Option<UnixStream>,
    /// What carries between the app's terminal and the caller's.
    bridge: Option<Bridge>,
}

/// Runs a prepared pod in the foreground. In a unit this does not return
/// unless it fails: the process becomes stage1.
///
/// # Errors
/// [`LaunchError`]. Up to the point where the pod moves to `run/`, it stays prepared.
pub fn run(
    paths: &Paths,
    pod: Pod<Prepared>,
    name: Option<NameLock>,
    options: Options,
    ahead: Ahead,
) -> Result<Outcome, LaunchError> {
    let around = Surroundings::of_self();
    let cgroup = decide(options.cgroup, &around)?;
    let ahead = match cgroup {
        Cgroup::Scope => ahead.or_again(around.cgroup.as_deref()),
        Cgroup::Unit | Cgroup::None => Ahead::default(),
    };
    let received = Received::take();
    let ready = make_ready(paths, pod, name.as_ref(), cgroup, options, &around, received)?;
    match cgroup {
        Cgroup::Unit => {
            let invocation = std::env::var("INVOCATION_ID").ok();
            record_cgroup(ready.pod.path(), around.cgroup.as_deref(), invocation)?;
            Err(ready.flavour.exec(ready.pod.path(), &ready.descriptors))
        }
        Cgroup::Scope | Cgroup::None => foreground::run(ready, cgroup, ahead, options.tell),
    }
}

fn decide(choice: CgroupChoice, around: &Surroundings) -> Result<Cgroup, LaunchError> {
    match choice {
        CgroupChoice::None => Ok(Cgroup::None),
        CgroupChoice::Scope if around.booted => Ok(Cgroup::Scope),
        CgroupChoice::Scope => Err(LaunchError::NoSystemd),
        CgroupChoice::Unit if !around.booted => {
            Err(LaunchError::NotInUnit("systemd does not run this host"))
        }
        CgroupChoice::Unit if !around.delegated => {
            Err(LaunchError::NotInUnit("this process is in no cgroup that was delegated"))
        }
        CgroupChoice::Unit if !around.alone => {
            Err(LaunchError::NotInUnit("there are other processes in its cgroup"))
        }
        CgroupChoice::Unit if !around.notify => {
            Err(LaunchError::NotInUnit("it is not of Type=notify"))
        }
        CgroupChoice::Unit => Ok(Cgroup::Unit),
        CgroupChoice::Auto if around.in_place() => Ok(Cgroup::Unit),
        CgroupChoice::Auto if around.booted => Ok(Cgroup::Scope),
        CgroupChoice::Auto => Ok(Cgroup::None),
    }
}

/// Opens what the plan names, completes the plan, and moves the pod to `run/`.
fn make_ready(
    paths: &Paths,
    pod: Pod<Prepared>,
    name: Option<&NameLock>,
    cgroup: Cgroup,
    options: Options,
    around: &Surroundings,
    received: Received,
) -> Result<Ready, LaunchError> {
    let dir = pod.path().to_owned();
    let mut meta = Meta::read(&dir)?;
    let mut plan: PodPlan = meta::read(&dir.join(directory::PLAN))?;
    let sources: Vec<Source> = meta::read(&dir.join(sources::FILE))?;
    let flavour = Flavour::find(Path::new(crate::config::paths::STAGE1), "ns")?;
    let mut descriptors = Descriptors::default();
    received.assign(&mut plan, &mut descriptors)?;
    let master = match options.terminal {
        Some(_) => Some(descriptors.terminal(&mut plan)?),
        None => None,
    };
    flavour.check(&plan.features_required)?;
    plan.cgroup = cgroup;
    plan.boot_id = life::boot_id().unwrap_or_default();
    plan.exit_status = match cgroup {
        Cgroup::Unit => ExitStatus::Unit,
        Cgroup::Scope | Cgroup::None => ExitStatus::App,
    };
    let missing = limits::enforce(&mut plan, options.enforcement);
    if !missing.is_empty() {
        return Err(LaunchError::Strict(missing));
    }
    if cgroup == Cgroup::None {
        without_cgroup(&mut plan)?;
        meta.weakened.push(meta::NO_CGROUP.to_owned());
        meta.write(&dir)?;
    }
    descriptors::keep_descriptor_limit(&mut plan);
    if plan.namespaces.user.is_none() && !meta.without_user_namespace() {
        return Err(LaunchError::Older(meta.uuid));
    }
    let user = userns::create(paths, &plan, &meta, &mut descriptors)?;
    descriptors.open_sources(paths, &dir, &sources, user.as_ref().map(AsFd::as_fd))?;
    credentials::open(&dir, &meta, cgroup == Cgroup::Unit, &mut descriptors)?;
    descriptors.open_pod_files(&dir)?;
    descriptors.locks(pod.lock(), name.map(NameLock::file))?;
    let (mut tether, mut bridge) = (None, None);
    match cgroup {
        Cgroup::Unit => {
            let unit = around.cgroup.as_deref().and_then(detect::unit_of).unwrap_or_default();
            descriptors.journal(&mut plan, unit)?;
            descriptors.notify()?;
        }
        Cgroup::Scope | Cgroup::None => {
            descriptors.stdio(&mut plan)?;
            let (ours, theirs) = UnixStream::pair().map_err(io_error("make a socket pair"))?;
            descriptors.add(descriptor::TETHER, theirs);
            tether = Some(ours);
            if let (Some(master), Some(terminal)) = (master, options.terminal) {
                bridge = Some(Bridge::new(master, terminal.interactive, terminal.detach_keys)?);
            }
        }
    }
    descriptors.complete(&mut plan, &dir)?;
    let pod = pod.start(paths)?;
    Ok(Ready { pod, flavour, descriptors, meta, tether, bridge })
}

/// A pod without cgroups has no leaves, and a limit that cannot be enforced fails it.
fn without_cgroup(plan: &mut PodPlan) -> Result<(), LaunchError> {
    let of_pod = plan.limits.iter().map(|limit| (limit, "the pod".to_owned()));
    let of_apps = plan
        .apps
        .iter()
        .flat_map(|app| app.limits.iter().map(|limit| (limit, format!("app {}", app.name))));
    let needed: Vec<String> = of_pod
        .chain(of_apps)
        .filter(|(limit, _)| limit.required)
        .map(|(limit, whose)| format!("{} of {whose}", limit.name))
        .collect();
    if !needed.is_empty() {
        return Err(LaunchError::Limits(needed.join(", ")));
    }
    for app in &mut plan.apps {
        app.leaf = None;
        if app.device_rules.is_some() {
            let detail = "the pod has no cgroup to have a list of devices".to_owned();
            app.isolators.ignored.push(Isolator { name: "devices".to_owned(), detail });
        }
        for limit in std::mem::take(&mut app.limits) {
            let detail = format!("{}={}: the pod has no cgroup", limit.file, limit.value);
            app.isolators.ignored.push(Isolator { name: limit.name, detail });
        }
        app.mounts.retain(|mount| mount.source != rocket_plan::MountSource::Cgroup2);
    }
    Ok(())
}

/// Writes down where the pod runs, for the question "dead or alive".
fn record_cgroup(
    dir: &Path,
    cgroup: Option<&str>,
    invocation: Option<String>,
) -> Result<(), LaunchError> {
    let inode = match cgroup {
        Some(cgroup) => {
            let path = detect::cgroup_dir(cgroup);
            std::fs::metadata(&path)
                .map_err(io_error(format!("look at the cgroup {}", path.display())))?
                .ino()
        }
        None => 0,
    };
    let record = CgroupRecord {
        version: meta::VERSION,
        boot_id: life::boot_id().unwrap_or_default(),
        path: cgroup.map(str::to_owned),
        inode,
        unit: cgroup.and_then(detect::unit_of).map(str::to_owned),
        invocation,
    };
    Ok(record.write(dir)?)
}

/// Name of the scope or transient service of a pod.
pub fn unit_name(uuid: uuid::Uuid, suffix: &str) -> String {
    format!("rocket-{uuid}.{suffix}")
}

/// What to call the pod in `Description=`.
pub fn describe(meta: &Meta) -> String {
    let name = meta.name.as_deref().map_or_else(|| meta.uuid.to_string(), str::to_owned);
    match &meta.description {
        Some(text) => format!("{text} (rocket pod {name})"),
        None => format!("rocket pod {name}"),
    }
}

/// Where this program itself is, for a unit that is to run it again.
///
/// # Errors
/// /proc is not there.
pub fn own_program() -> io::Result<PathBuf> {
    std::env::current_exe()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around(booted: bool, delegated: bool, alone: bool) -> Surroundings {
        let cgroup = Some("/rocket.slice/rocket@a.service".to_owned());
        Surroundings { booted, cgroup, delegated, alone, notify: true }
    }

    #[test]
    fn auto_takes_the_unit_only_when_it_is_its_own() {
        let table = [
            (around(true, true, true), Cgroup::Unit),
            (around(true, true, false), Cgroup::Scope),
            (around(true, false, true), Cgroup::Scope),
            (around(false, true, true), Cgroup::None),
        ];
        for (around, expected) in table {
            assert_eq!(decide(CgroupChoice::Auto, &around).ok(), Some(expected), "{around:?}");
        }
    }

    #[test]
    fn what_is_asked_for_and_impossible_is_refused() {
        assert!(decide(CgroupChoice::Unit, &around(true, false, true)).is_err());
        assert!(decide(CgroupChoice::Unit, &around(true, true, false)).is_err());
        assert!(decide(CgroupChoice::Scope, &around(false, false, false)).is_err());
        assert!(decide(CgroupChoice::None, &around(true, true, true)).is_ok());
    }
}
