//! From a pod file to a prepared pod directory: resolve, decide, then write.
//!
//! Everything that can be refused is refused before the first directory is made; what fails later
//! removes what it made.

use super::accounts::{self, AccountError, Database, Groups, Ids, Wanted};
use super::credentials::{self, PodFileAt};
use super::devices::{self, DeviceError};
use super::directory::{self, DirectoryError, Pod, Prepared, Preparing};
use super::explain::UnitView;
use super::ids::{self, IdsError, Pool};
use super::isolators::{self, IsolatorError, Wishes};
use super::labels::{self, LabelError};
use super::limits::{Disk, Enforcement};
use super::manifest;
use super::meta::{self, AppMeta, Meta, MetaError};
use super::mounts::MountPoint;
use super::name::{self, NameError, NameLock, PodName};
use super::plan::{self, AppInput, Image, Input, PlanError};
use super::resources;
use super::sources;
use super::surface::HostDevice;
use super::{environment, etc, volumes};
use crate::config::paths::Paths;
use crate::files;
use crate::host::block::disk_of;
use crate::image::believe::Trust;
use crate::image::local::Host;
use crate::image::trust::Ground;
use crate::image::{
    ImageError, Layer, Reference, Store, StoredImage, manifest::App as ImageApp,
    reference::ReferenceError, view,
};
use rocket_plan::IdMap;
use rocket_podfile::{self as file, PodFile, VolumeKind};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use thiserror::Error;

/// What is asked for.
#[derive(Debug)]
pub struct Request<'a> {
    /// The pod file, or what a command line amounts to.
    pub pod: &'a PodFile,
    /// Its name, locked for it.
    pub name: Option<&'a NameLock>,
    /// Digest of the pod file's sources.
    pub digest: Option<String>,
    /// Where that is, to read what it says of credentials when the pod starts.
    pub pod_file: Option<PodFileAt>,
    /// Arguments after the program's own, for the one app of a command line.
    pub extra_args: &'a [String],
    /// Variables of the command line, for every app, in order.
    pub environment: &'a [(String, String)],
    /// What happens when something cannot be enforced.
    pub enforcement: Enforcement,
    /// Where its ids may come from.
    pub pool: Pool,
    /// The caller goes on to run it.
    pub for_run: bool,
    /// Whom this host believes.
    pub trust: &'a Trust,
}

/// Why a pod could not be prepared.
#[derive(Debug, Error)]
pub enum PrepareError {
    /// An image reference is wrong.
    #[error("app {app:?}")]
    Reference {
        /// The app.
        app: String,
        /// What is wrong.
        #[source]
        source: ReferenceError,
    },
    /// An image is not there.
    #[error("app {app:?} needs image {image}")]
    Image {
        /// The app.
        app: String,
        /// As asked for.
        image: String,
        /// Why not.
        #[source]
        source: Box<ImageError>,
    },
    /// A user or group is not there.
    #[error("app {app:?}")]
    Account {
        /// The app.
        app: String,
        /// Which.
        #[source]
        source: AccountError,
    },
    /// An isolator of the image.
    #[error("app {app:?}: its image is not usable")]
    Isolator {
        /// The app.
        app: String,
        /// What is wrong.
        #[source]
        source: IsolatorError,
    },
    /// A label of the host.
    #[error(transparent)]
    Label(#[from] LabelError),
    /// What is granted as a device is none.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The plan is impossible.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The pod directory.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// A file of it.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// The name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The ids of its user namespace.
    #[error(transparent)]
    Ids(#[from] IdsError),
    /// A system call failed.
    #[error("cannot {what} {path}")]
    Io {
        /// The verb.
        what: &'static str,
        /// Its object.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The source of a `host` volume.
    #[error("volume {volume:?}: cannot use {path}")]
    Volume {
        /// The volume.
        volume: String,
        /// Its source.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// An empty volume that an image is to fill.
    #[error("app {app:?}: cannot fill the volume on {target} with what the image has there")]
    Fill {
        /// The app.
        app: String,
        /// Where it is mounted.
        target: String,
        /// Why.
        #[source]
        source: Box<ImageError>,
    },
    /// A line of an environment file.
    #[error("{path}:{line}: not of the form NAME=value")]
    EnvironmentFile {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
    },
}

pub(super) fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PrepareError {
    let path = path.to_owned();
    move |source| PrepareError::Io { what, path, source }
}

/// One app's findings on this host.
pub(super) struct Resolved {
    stored: StoredImage,
    pub(super) image: Image,
    pub(super) ids: Ids,
    pub(super) file_environment: Vec<(String, String)>,
    pub(super) io_devices: Vec<Disk>,
    pub(super) devices: Vec<HostDevice>,
}

/// Prepares the pod and leaves it locked.
///
/// # Errors
/// [`PrepareError`]; nothing is left behind.
pub fn prepare(
    paths: &Paths,
    store: &Store,
    request: &Request<'_>,
) -> Result<Pod<Prepared>, PrepareError> {
    let references =
        request.pod.apps.iter().map(reference).collect::<Result<Vec<Reference>, _>>()?;
    // Held until the pod directory names its layers, so that no gc takes them meanwhile.
    let first = request.pod.apps.first().map_or("", |app| app.name.as_str());
    let _lock = store.lock_shared().map_err(|source| PrepareError::Image {
        app: first.to_owned(),
        image: "store".to_owned(),
        source: Box::new(source),
    })?;
    let resolved = request
        .pod
        .apps
        .iter()
        .zip(&references)
        .map(|(app, reference)| resolve(paths, store, app, reference))
        .collect::<Result<Vec<_>, _>>()?;
    let waived = believe(paths, store, request, &references, &resolved)?;
    let previous = match request.name {
        Some(lock) => name::holder(paths, lock.name())?,
        None => None,
    };
    let pod = Pod::create(paths)?;
    let filled = fill(paths, request, &resolved, (previous, waived), &pod)
        .and_then(|()| request.name.map_or(Ok(()), |lock| Ok(lock.assign(pod.uuid())?)));
    match filled {
        Ok(()) => {
            resolved.iter().for_each(|found| store.mark_used(&found.stored.id));
            Ok(pod.seal(paths)?)
        }
        Err(error) => {
            // The first error is the one to report; gc removes what stays.
            let _ = pod.delete(paths);
            Err(error)
        }
    }
}

/// Refuses images that nobody who counts vouches for; which ones nobody was asked about, in words.
fn believe(
    paths: &Paths,
    store: &Store,
    request: &Request<'_>,
    references: &[Reference],
    resolved: &[Resolved],
) -> Result<Vec<String>, PrepareError> {
    let host = Host::new(paths);
    let mut waived = Vec::new();
    for ((app, reference), found) in request.pod.apps.iter().zip(references).zip(resolved) {
        let judged = request.trust.check_stored(store, reference, &found.stored, &host).map_err(
            |source| {
                let (app, image) = (app.name.clone(), app.image.clone());
                PrepareError::Image { app, image, source: Box::new(source) }
            },
        )?;
        if judged.verdict.outcome == Ok(Ground::Waived) {
            waived.push(format!("image {} without asking who vouches for it", app.image));
        }
    }
    Ok(waived)
}

fn fill(
    paths: &Paths,
    request: &Request<'_>,
    resolved: &[Resolved],
    (previous, waived): (Option<uuid::Uuid>, Vec<String>),
    pod: &Pod<Preparing>,
) -> Result<(), PrepareError> {
    let uuid = pod.uuid().to_string();
    let pod_name = request.name.map(|lock| lock.name().as_str());
    let apps = request.pod.apps.iter().zip(resolved).map(|(app, found)| AppInput {
        app,
        image: &found.image,
        extra_args: request.extra_args,
        file_environment: &found.file_environment,
        ids: &found.ids,
        io_devices: &found.io_devices,
        devices: &found.devices,
    });
    let ids = if request.pod.security.user_namespace {
        let name = request.name.map(NameLock::name);
        let state = request.pod.volumes.iter().any(|volume| volume.kind == VolumeKind::State);
        Some(ids::claim(paths, request.pool, pod.uuid(), pod.path(), name, state)?)
    } else {
        None
    };
    let input = Input {
        pod: request.pod,
        uuid: &uuid,
        name: pod_name,
        ids,
        apps: apps.collect(),
        command_line: request.environment,
        host_files: etc::host_files(request.pod)?,
        host_sources: &volumes::host_sources(request.pod)?,
        host: crate::host::totals(),
        most_descriptors: crate::host::most_descriptors(),
        enforcement: request.enforcement,
        io_devices: &io_disks(&request.pod.limits),
        disk: disk_of(paths.state()).ok(),
    };
    let mut output = plan::build(&input)?;
    output.weakened.extend(waived);
    let meta = meta(request, resolved, previous, pod, &output);
    let dir = pod.path();
    for (app, found) in request.pod.apps.iter().zip(resolved) {
        app_dirs(&dir.join("apps").join(&app.name), &found.stored.layers, ids)?;
    }
    for wanted in &output.dirs {
        let layers = |name: &str| {
            let index = request.pod.apps.iter().position(|app| app.name == name)?;
            Some(resolved.get(index)?.stored.layers.as_slice())
        };
        volumes::make(paths, dir, wanted, layers)?;
    }
    mkdir(&dir.join(directory::MOUNT_POINT), 0o700)?;
    etc::write(dir, &output.etc)?;
    let reified = manifest::reify(&output.plan, &meta, &output.sources, paths.state());
    meta::write(&dir.join(manifest::FILE), &reified)?;
    meta::write(&dir.join(sources::FILE), &output.sources)?;
    meta::write(&dir.join(directory::PLAN), &output.plan)?;
    credentials::write(dir, request.pod, request.pod_file.as_ref())?;
    meta.write(dir)?;
    Ok(())
}

fn meta(
    request: &Request<'_>,
    resolved: &[Resolved],
    previous: Option<uuid::Uuid>,
    pod: &Pod<Preparing>,
    output: &plan::Output,
) -> Meta {
    let apps = request.pod.apps.iter().zip(resolved).map(|(app, found)| AppMeta {
        name: app.name.clone(),
        image: app.image.clone(),
        image_id: found.image.id.clone(),
        layers: found.image.layers.iter().map(|(digest, _)| digest.clone()).collect(),
        credentials: app.credentials.clone(),
    });
    let unit = unit_view(request.pod);
    Meta {
        version: meta::VERSION,
        uuid: pod.uuid(),
        name: request.name.map(|lock| lock.name().to_string()),
        created_ms: now_ms(),
        previous,
        pod_file_digest: request.digest.clone(),
        description: request.pod.description.clone(),
        apps: apps.collect(),
        limits: unit.limits,
        slice: unit.slice,
        // Handlers of images take their time, too, unless the pod file has its own idea.
        stop_timeout_ms: match request.pod.unit.stop_timeout {
            Some(_) => unit.stop_timeout_ms.unwrap_or(u64::MAX),
            None => output.plan.stop_deadline_ms.saturating_add(4000),
        },
        start_timeout_ms: unit.start_timeout_ms,
        for_run: request.for_run,
        ids: output.plan.namespaces.user,
        weakened: output.weakened.clone(),
        warnings: output.warnings.clone(),
    }
}

/// What systemd is told about the pod.
pub(super) fn unit_view(pod: &PodFile) -> UnitView {
    let milliseconds = |span: file::TimeSpan| match span {
        file::TimeSpan::Finite(time) => Some(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
        file::TimeSpan::Infinity => None,
    };
    // A transient unit takes numbers only; a start from the template reads the drop-in instead.
    let limits = pod.limits.resolved(crate::host::totals()).unit_properties();
    UnitView {
        limits: limits.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        slice: pod.unit.slice.clone(),
        stop_timeout_ms: milliseconds(pod.stop_timeout()),
        start_timeout_ms: milliseconds(pod.unit.start_timeout),
    }
}

/// Milliseconds since 1970.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// An overlay's root has the attributes of its upper directory, so that gets the image's.
///
/// On disk it belongs to the id outside: an upper directory cannot have an id map.
fn app_dirs(dir: &Path, layers: &[Layer], ids: Option<IdMap>) -> Result<(), PrepareError> {
    files::make_private_dirs(dir).map_err(io_error("make directory", dir))?;
    let upper = dir.join("upper");
    mkdir(&upper, 0o755)?;
    if let Some(top) = layers.first() {
        let root = std::fs::metadata(&top.tree).map_err(io_error("read", &top.tree))?;
        let outside = |id: u32| match ids {
            // An id that the namespace does not have is nobody's there; so is the host's root.
            Some(map) if id < map.count => map.base.saturating_add(id),
            Some(_) => 0,
            None => id,
        };
        let (uid, gid) = (outside(root.uid()), outside(root.gid()));
        volumes::own(&upper, Some(uid), Some(gid), Some(root.mode()))?;
    }
    mkdir(&dir.join("work"), 0o700)
}

pub(super) fn mkdir(path: &Path, mode: u32) -> Result<(), PrepareError> {
    std::fs::create_dir(path).map_err(io_error("make directory", path))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
        .map_err(io_error("set the mode of", path))
}

/// The image an app names.
pub(super) fn reference(app: &file::App) -> Result<Reference, PrepareError> {
    let wrong = |source| PrepareError::Reference { app: app.name.clone(), source };
    app.image.parse().map_err(wrong)
}

pub(super) fn resolve(
    paths: &Paths,
    store: &Store,
    app: &file::App,
    reference: &Reference,
) -> Result<Resolved, PrepareError> {
    let missing = |source| PrepareError::Image {
        app: app.name.clone(),
        image: app.image.clone(),
        source: Box::new(source),
    };
    let id = store.resolve(reference).map_err(missing)?;
    let stored = store.image(&id).map_err(missing)?;
    let view = StackedImage(&stored.layers);
    let section = stored.manifest.app.clone().unwrap_or_default();
    let user = match &app.user {
        Some(account) => account.into(),
        None => Wanted::Text(section.user.clone()),
    };
    let group = match (&app.group, &app.user) {
        (Some(account), _) => Some(Wanted::from(account)),
        // Another user than the image's brings its own primary group.
        (None, Some(_)) => None,
        (None, None) => Some(section.group.clone()).filter(|g| !g.is_empty()).map(Wanted::Text),
    };
    let named: Vec<Wanted>;
    let groups = match (&app.supplementary_groups, &app.user) {
        (Some(list), _) => {
            named = list.iter().map(Wanted::from).collect();
            Groups::Named(&named)
        }
        // Another user than the image's brings its own groups.
        (None, Some(_)) => Groups::OfUser,
        (None, None) => Groups::Exactly(&section.supplementary_gids),
    };
    let ids = accounts::resolve(&user, group.as_ref(), &groups, &view)
        .map_err(|source| PrepareError::Account { app: app.name.clone(), source })?;
    let wishes = isolators::wishes(&section.isolators)
        .map_err(|source| PrepareError::Isolator { app: app.name.clone(), source })?;
    let image = plan_image(paths, &stored, &section, &view, wishes);
    let file_environment = environment::environment_files(&app.environment_files)?;
    let io_devices = io_disks(&app.limits);
    labels::check(&app.name, &app.security, &crate::host::lsm::look())?;
    let devices = devices::look_up(&app.security.devices)?;
    Ok(Resolved { stored, image, ids, file_environment, io_devices, devices })
}

fn plan_image(
    paths: &Paths,
    stored: &StoredImage,
    app: &ImageApp,
    view: &StackedImage<'_>,
    wishes: Wishes,
) -> Image {
    let shared = stored.id.digest().algo() == crate::image::Algo::Sha512;
    let mount_points = app.mount_points.iter().map(|point| MountPoint {
        name: point.name.to_string(),
        path: point.path.clone(),
        read_only: point.read_only,
        shared,
    });
    Image {
        id: stored.id.to_string(),
        layers: stored
            .layers
            .iter()
            .map(|layer| {
                let tree = layer.tree.strip_prefix(paths.state()).unwrap_or(&layer.tree);
                (layer.digest.to_string(), tree.to_owned())
            })
            .collect(),
        exec: app.exec.clone(),
        environment: app.environment.iter().map(|v| (v.name.clone(), v.value.clone())).collect(),
        working_directory: app.working_directory.clone(),
        stop_signal: stored.manifest.stop_signal().and_then(signal_number),
        pre_start: app.handler("pre-start"),
        post_stop: app.handler("post-stop"),
        mount_points: mount_points.collect(),
        wishes,
        resources: app
            .isolators
            .iter()
            .map(|isolator| (isolator.name.to_string(), isolator.value.clone()))
            .filter(|(name, _)| resources::NAMES.contains(&name.as_str()))
            .collect(),
        has_hosts: view.exists("/etc/hosts"),
    }
}

/// `SIGQUIT`, `QUIT` or `3`.
fn signal_number(text: &str) -> Option<i32> {
    text.parse().ok().or_else(|| rocket_sys::signal::number(text))
}

struct StackedImage<'a>(&'a [Layer]);

impl StackedImage<'_> {
    /// Account databases larger than this are not read.
    const LIMIT: u64 = 4 << 20;

    fn text(&self, path: &str) -> Option<String> {
        let bytes = view::read_file(self.0, path, Self::LIMIT).ok().flatten()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn exists(&self, path: &str) -> bool {
        view::metadata(self.0, path).is_ok_and(|found| found.is_some())
    }
}

impl Database for StackedImage<'_> {
    fn passwd(&self) -> Option<String> {
        self.text("/etc/passwd")
    }

    fn group(&self) -> Option<String> {
        self.text("/etc/group")
    }

    fn owner(&self, path: &str) -> Option<(u32, u32)> {
        let found = view::metadata(self.0, path).ok().flatten()?;
        Some((found.uid, found.gid))
    }
}

/// The disks of `io-max`, in order.
pub(super) fn io_disks(limits: &file::Limits) -> Vec<Disk> {
    let disk = |max: &file::IoMax| disk_of(Path::new(&max.path)).map_err(|e| e.to_string());
    limits.io_max.iter().map(disk).collect()
}

/// A name for a pod that is to have one.
///
/// # Errors
/// [`NameError`].
pub fn claim(paths: &Paths, text: &str) -> Result<NameLock, NameError> {
    NameLock::claim(paths, &PodName::new(text)?)
}
