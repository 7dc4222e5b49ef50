//! From a pod file and its images to stage1's plan: pure, every decision made here.

use super::accounts::Ids;
use super::etc::{self, EtcFile, HostFiles};
use super::isolators::{self, Wishes};
use super::limits::{self, Disk, Enforcement};
use super::mounts::MountPoint;
use super::seccomp::SeccompError;
use super::sources::{Origin, Source};
use super::surface::{self, HostDevice};
use super::volumes::HostSource;
use rocket_plan::{
    ABI, AppPlan, Cgroup, ExitPolicy, ExitStatus, IdMap, Kind, Namespaces, Network, PodPlan, Ready,
    RootPlan, feature,
};
use rocket_podfile as file;
use rocket_podfile::PodFile;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Most layers an app's root may have: what one overlay mount takes.
pub const MAX_LAYERS: usize = 500;

/// One app's image as the plan needs it.
#[derive(Clone, Debug, Default)]
pub struct Image {
    /// Full digest.
    pub id: String,
    /// Layer digests and their trees below the state directory, topmost first.
    pub layers: Vec<(String, PathBuf)>,
    /// Program and arguments.
    pub exec: Vec<String>,
    /// Variables, in order.
    pub environment: Vec<(String, String)>,
    /// Working directory.
    pub working_directory: Option<String>,
    /// Signal number that asks it to stop.
    pub stop_signal: Option<i32>,
    /// Its pre-start handler.
    pub pre_start: Option<Vec<String>>,
    /// Its post-stop handler.
    pub post_stop: Option<Vec<String>>,
    /// Paths it wants a volume at.
    pub mount_points: Vec<MountPoint>,
    /// What its isolators ask for.
    pub wishes: Wishes,
    /// Its resource isolators: name and value.
    pub resources: Vec<(String, serde_json::Value)>,
    /// Whether it has an `/etc/hosts` of its own.
    pub has_hosts: bool,
}

/// Everything about one app.
#[derive(Clone, Debug)]
pub struct AppInput<'a> {
    /// The pod file's side.
    pub app: &'a file::App,
    /// The image's side.
    pub image: &'a Image,
    /// Arguments from the command line, after the program's own.
    pub extra_args: &'a [String],
    /// Variables of `environment-files`, in order.
    pub file_environment: &'a [(String, String)],
    /// Resolved numbers.
    pub ids: &'a Ids,
    /// Disks of `io-max`, in order.
    pub io_devices: &'a [Disk],
    /// Its `devices`, looked up.
    pub devices: &'a [HostDevice],
}

/// Everything about the pod.
#[derive(Clone, Debug)]
pub struct Input<'a> {
    /// The pod file, or what the command line amounts to.
    pub pod: &'a PodFile,
    /// Its UUID.
    pub uuid: &'a str,
    /// Its name.
    pub name: Option<&'a str>,
    /// The ids of its user namespace, if it is to have one.
    pub ids: Option<IdMap>,
    /// Its apps, in the pod file's order.
    pub apps: Vec<AppInput<'a>>,
    /// Variables of the command line, for every app, in order.
    pub command_line: &'a [(String, String)],
    /// Files of the host that the pod has copies of.
    pub host_files: HostFiles,
    /// What lies at the sources of `host` volumes, by the name of the volume.
    pub host_sources: &'a BTreeMap<String, HostSource>,
    /// What percentages are of.
    pub host: file::HostTotals,
    /// The most descriptors that a process of this host may have; none if that is unknown.
    pub most_descriptors: Option<u64>,
    /// What happens when something cannot be enforced.
    pub enforcement: Enforcement,
    /// Disks of the pod's `io-max`, in order.
    pub io_devices: &'a [Disk],
    /// The disk that the pod's own files are on.
    pub disk: Option<(u32, u32)>,
}

/// A directory to make below the pod directory (or for `state` volumes, the state directory).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MakeDir {
    /// Where.
    pub origin: Origin,
    /// Mode; `None` = 0755, or what it is filled with has its own.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// What is added to all owners: a volume without an id map has those outside.
    pub shift: u32,
    /// What fills it when it is made.
    pub fill: Option<Fill>,
}

/// What an app's image has at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fill {
    /// The app.
    pub app: String,
    /// The path.
    pub target: String,
}

/// The result.
#[derive(Clone, Debug)]
pub struct Output {
    /// The plan, without descriptor numbers, boot id and cgroup mode.
    pub plan: PodPlan,
    /// What its descriptors are opened from.
    pub sources: Vec<Source>,
    /// Directories of volumes, each made once.
    pub dirs: Vec<MakeDir>,
    /// Files for `etc` of the pod directory.
    pub etc: Vec<EtcFile>,
    /// What weakens a default, in words.
    pub weakened: Vec<String>,
    /// What will not be as one might think, in words.
    pub warnings: Vec<String>,
}

/// Why there is no plan.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PlanError {
    /// Neither pod file nor image says what to run.
    #[error("app {0:?} has nothing to execute: neither the pod file nor its image says what")]
    NoExec(String),
    /// Too many layers.
    #[error(
        "app {app:?}: its image has {layers} layers, more than the {MAX_LAYERS} that one overlay mount takes"
    )]
    TooManyLayers {
        /// The app.
        app: String,
        /// How many.
        layers: usize,
    },
    /// A mount that cannot be.
    #[error("app {app:?}: cannot mount volume {volume:?} on {target}: {why}")]
    Mount {
        /// The app.
        app: String,
        /// The volume.
        volume: String,
        /// The path.
        target: String,
        /// Why.
        why: String,
    },
    /// A `state` volume belongs to a name.
    #[error(
        "volume {0:?} is of kind \"state\", which is kept under the pod's name, and this pod has none"
    )]
    StateWithoutName(String),
    /// More descriptors than a process can have.
    #[error(
        "app {app:?}: rlimits.nofile = {asked} is above {most}, the most that a process of this host may have \
         (sysctl fs.nr_open); \"infinity\" stands for that many"
    )]
    Descriptors {
        /// The app.
        app: String,
        /// What the pod file says.
        asked: u64,
        /// The bound.
        most: u64,
    },
    /// A limit that cannot be looked for.
    #[error("cannot enforce {name} of {whose}: {why}")]
    Limit {
        /// `app "web"` or `the pod`.
        whose: String,
        /// The key.
        name: String,
        /// Why.
        why: String,
    },
    /// `--strict`, and something is not enforced.
    #[error("not everything that pod file and images ask for can be enforced: {}", .0.join("; "))]
    Strict(Vec<String>),
    /// No filter for system calls can be made.
    #[error("app {app:?}")]
    Seccomp {
        /// The app.
        app: String,
        /// Why not.
        #[source]
        source: SeccompError,
    },
    /// A user or group that the pod's user namespace does not have.
    #[error("app {app:?}: id {id} is beyond the {count} ids of the pod's user namespace")]
    Id {
        /// The app.
        app: String,
        /// The number.
        id: u32,
        /// How many there are.
        count: u32,
    },
    /// What the pod file asks is not there yet.
    #[error("{0}")]
    Unsupported(String),
}

/// Makes the plan.
///
/// # Errors
/// [`PlanError`]; nothing has been touched.
pub fn build(input: &Input<'_>) -> Result<Output, PlanError> {
    let pod = input.pod;
    let mut sources = Vec::new();
    let mut dirs = Vec::new();
    // An instance of a template has an @ in its name, and a host name has none.
    let hostname = pod.hostname.clone().or_else(|| input.name.map(super::name::host_name_of));
    // uts(7): 64 bytes; a UUID with the prefix has 43.
    let hostname = hostname.unwrap_or_else(|| format!("rocket-{}", input.uuid));
    let etc = etc::files(input, &hostname);
    let mut apps = Vec::new();
    for app in &input.apps {
        apps.push(app_plan(input, app, &etc, &mut sources, &mut dirs)?);
    }
    let network = match pod.network {
        file::Network::Host => Network::Host,
        file::Network::None => Network::None,
        _ => {
            return Err(PlanError::Unsupported(
                "only the networks host and none are supported by this release".into(),
            ));
        }
    };
    let exit_policy = match &pod.exit_policy {
        file::ExitPolicy::AnyFailure => ExitPolicy::AnyFailure,
        file::ExitPolicy::AllDone => ExitPolicy::AllDone,
        file::ExitPolicy::App(name) => ExitPolicy::App(name.clone()),
    };
    let mut features = vec![
        feature::OVERLAY.to_owned(),
        match network {
            Network::Host => feature::NET_HOST.to_owned(),
            Network::None => feature::NET_NONE.to_owned(),
        },
    ];
    if input.ids.is_some() {
        features.push(feature::USER_NAMESPACE.to_owned());
    }
    features.push(feature::DEVICE_RULES.to_owned());
    if apps.iter().any(|app| app.apparmor.is_some() || app.selinux.is_some()) {
        features.push(feature::LABELS.to_owned());
    }
    if apps.len() > 1 {
        features.push(feature::MULTI_APP.to_owned());
    }
    features.extend(super::order::features(&apps));
    features.extend(super::ports::features(&apps));
    features.extend(super::credentials::features(&apps));
    let (limits, isolators) = limits::of_pod(input)?;
    if !limits.is_empty() || apps.iter().any(|app| !app.limits.is_empty()) {
        features.push(feature::LIMIT_REPORT.to_owned());
    }
    let plan = PodPlan {
        abi: ABI,
        features_required: features,
        uuid: input.uuid.to_owned(),
        name: input.name.map(str::to_owned),
        hostname,
        boot_id: String::new(),
        descriptors: Vec::new(),
        namespaces: Namespaces { network, user: input.ids },
        cgroup: Cgroup::None,
        exit_status: ExitStatus::App,
        exit_policy,
        stop_deadline_ms: stop_deadline_ms(&apps),
        sysctls: pod.sysctls.clone(),
        limits,
        isolators,
        apps,
    };
    let missing = limits::ignored(&plan);
    if input.enforcement == Enforcement::Strict && !missing.is_empty() {
        return Err(PlanError::Strict(missing));
    }
    let (weakened, warnings) = (weakened(pod), super::ports::unbindable(pod));
    Ok(Output { plan, sources, dirs, etc, weakened, warnings })
}

/// The pod's own deadline: what its apps may take one after the other. The unit's timeout is 5 s
/// longer, so init's SIGKILLs come before systemd's.
fn stop_deadline_ms(apps: &[AppPlan]) -> u64 {
    apps.iter().fold(1000, |sum: u64, app| {
        // Its post-stop handler may take as long again.
        let handler = if app.post_stop.is_some() { app.stop_timeout_ms } else { 0 };
        sum.saturating_add(app.stop_timeout_ms).saturating_add(handler)
    })
}

fn weakened(pod: &PodFile) -> Vec<String> {
    let mut list = Vec::new();
    if !pod.security.user_namespace {
        list.push(super::meta::NO_USER_NAMESPACE.to_owned());
    }
    for volume in &pod.volumes {
        if let file::VolumeKind::Host { follow_symlinks: true, .. } = volume.kind {
            list.push(format!("volume.{}.follow-symlinks = true", volume.name));
        }
    }
    for app in &pod.apps {
        if !app.security.no_new_privileges {
            list.push(format!("app.{}.security.no-new-privileges = false", app.name));
        }
        let mut say = |text: String| list.push(format!("app.{}.security.{text}", app.name));
        match app.security.seccomp {
            file::Seccomp::Default => {}
            file::Seccomp::Image => say("seccomp = \"image\"".to_owned()),
            file::Seccomp::None => say("seccomp = \"none\"".to_owned()),
        }
        if !app.security.devices.is_empty() {
            say(format!("devices = {:?}", app.security.devices));
        }
        if let Some(score) = app.security.oom_score_adj.filter(|score| *score < 0) {
            say(format!("oom-score-adj = {score}"));
        }
    }
    list
}

/// The pod file's handler, or the image's; an empty one is none.
fn handler(own: &Option<Vec<String>>, image: &Option<Vec<String>>) -> Option<Vec<String>> {
    own.as_ref().or(image.as_ref()).filter(|argv| !argv.is_empty()).cloned()
}

fn app_plan(
    input: &Input<'_>,
    app: &AppInput<'_>,
    etc: &[EtcFile],
    sources: &mut Vec<Source>,
    dirs: &mut Vec<MakeDir>,
) -> Result<AppPlan, PlanError> {
    let name = &app.app.name;
    let mut argv = app.app.exec.clone().unwrap_or_else(|| app.image.exec.clone());
    argv.extend(app.extra_args.iter().cloned());
    if argv.is_empty() {
        return Err(PlanError::NoExec(name.clone()));
    }
    if app.image.layers.len() > MAX_LAYERS {
        return Err(PlanError::TooManyLayers { app: name.clone(), layers: app.image.layers.len() });
    }
    let wanted = [app.ids.uid, app.ids.gid];
    if let Some(map) = input.ids
        && let Some(id) = wanted.iter().chain(&app.ids.groups).find(|id| **id >= map.count)
    {
        return Err(PlanError::Id { app: name.clone(), id: *id, count: map.count });
    }
    let mut lowers = Vec::new();
    for (index, (_, tree)) in app.image.layers.iter().enumerate() {
        let source = format!("lower:{name}:{index}");
        lowers.push(source.clone());
        sources.push(Source {
            name: source,
            origin: Origin::State(tree.clone()),
            recursive: false,
            follow_symlinks: false,
            idmap: true,
        });
    }
    let upper = format!("upper:{name}");
    sources.push(Source {
        name: upper.clone(),
        origin: Origin::Pod(Path::new("apps").join(name)),
        recursive: false,
        follow_symlinks: false,
        // No kernel writes to an overlay whose upper directory has an id map.
        idmap: false,
    });
    let (devices, device_rules) = surface::devices(name, app.devices, sources);
    let mounts = super::mounts::mounts(input, app, etc, sources, dirs)?;
    let isolators::Decided { capabilities, seccomp, oom_score_adj, mut isolators } =
        isolators::decide(app)
            .map_err(|source| PlanError::Seccomp { app: name.clone(), source })?;
    let (limits, not_files) = limits::of_app(input, app)?;
    isolators.changed.extend(not_files.changed);
    isolators.ignored.extend(not_files.ignored);
    Ok(AppPlan {
        name: name.clone(),
        image_id: app.image.id.clone(),
        argv,
        environment: super::environment::environment(input, app),
        uid: app.ids.uid,
        gid: app.ids.gid,
        groups: app.ids.groups.clone(),
        working_directory: app
            .app
            .working_directory
            .clone()
            .or_else(|| app.image.working_directory.clone())
            .unwrap_or_else(|| "/".to_owned()),
        capabilities,
        securebits: 0,
        no_new_privileges: app.app.security.no_new_privileges,
        seccomp,
        rlimits: super::rlimits::of_app(input, app.app)?,
        oom_score_adj: Some(oom_score_adj),
        root: RootPlan { lowers, upper, read_only: app.app.security.read_only },
        mounts,
        devices,
        device_rules: Some(device_rules),
        apparmor: app.app.security.apparmor.clone(),
        selinux: app.app.security.selinux.clone(),
        masked_paths: surface::MASKED.iter().map(|path| (*path).to_owned()).collect(),
        read_only_paths: surface::READ_ONLY.iter().map(|path| (*path).to_owned()).collect(),
        leaf: Some(format!("app-{name}")),
        limits,
        kind: match app.app.kind {
            file::AppKind::Service => Kind::Service,
            file::AppKind::Oneshot => Kind::Oneshot,
        },
        after: app.app.after.clone(),
        requires: app.app.requires.clone(),
        pre_start: handler(&app.app.pre_start, &app.image.pre_start),
        post_stop: handler(&app.app.post_stop, &app.image.post_stop),
        restart: super::order::restart(app.app),
        ready: Ready::Exec,
        stop_signal: app
            .app
            .stop_signal
            .map(|signal| signal.number())
            .or(app.image.stop_signal)
            .unwrap_or(15),
        stop_timeout_ms: u64::try_from(app.app.stop_timeout.as_millis()).unwrap_or(u64::MAX),
        stdin: None,
        stdout: None,
        stderr: None,
        sockets: super::ports::sockets(input.pod, name),
        terminal: None,
        isolators,
    })
}
