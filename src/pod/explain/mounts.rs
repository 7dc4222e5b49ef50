//! What an app finds mounted, with sources a person knows.

use crate::pod::sources::{Origin, Source};
use rocket_plan::{AppPlan, Mount, MountSource, PodPlan};
use serde::Serialize;
use std::path::PathBuf;

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct MountView {
    /// Where.
    pub target: String,
    /// What.
    pub source: Place,
    /// Name of the volume, if it is one.
    pub volume: Option<String>,
    /// Options of the mount, in mount(8)'s words.
    pub options: Vec<&'static str>,
    /// It is the host's own: stage1 makes nothing in it, not even places for other mounts.
    pub lent: bool,
}

/// Where a mount or a device comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "type")]
pub enum Place {
    /// The layers of the image under a directory of the pod's own, which goes with it.
    Overlay,
    /// A path of the host.
    Host {
        /// The path.
        path: PathBuf,
        /// With what is mounted below it.
        recursive: bool,
        /// Whether owners follow the pod's user namespace.
        idmap: bool,
    },
    /// A path below the pod's directory, which goes with it.
    Pod {
        /// The path below it.
        path: PathBuf,
    },
    /// A path below the state directory, which is kept.
    State {
        /// The path below it.
        path: PathBuf,
    },
    /// A tmpfs of the app's own.
    Tmpfs {
        /// Bytes; `None` = half of the memory.
        size: Option<u64>,
        /// Mode of its root, octal.
        mode: String,
    },
    /// A tmpfs that the pod's apps share.
    SharedTmpfs {
        /// Its name in the pod.
        name: String,
        /// Bytes; `None` = half of the memory.
        size: Option<u64>,
        /// Mode of its root, octal.
        mode: String,
        /// Owner of its root.
        uid: u32,
        /// Group of its root.
        gid: u32,
    },
    /// procfs of the pod's PID namespace.
    Proc,
    /// sysfs of the pod's network.
    Sysfs,
    /// The app's leaf as the root of the cgroup tree.
    Cgroup2,
    /// `/dev`: a tmpfs with the devices.
    Dev,
    /// Terminals of the app's own.
    Devpts,
    /// Message queues of the pod.
    Mqueue,
    /// Files in memory with the app's credentials.
    Credentials {
        /// Their names.
        names: Vec<String>,
    },
    /// Something the plan names and its table of sources does not.
    Unknown {
        /// That name.
        name: String,
    },
}

/// One device node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct DeviceView {
    /// Its path.
    pub path: String,
    /// Where the node comes from.
    pub source: Place,
}

fn origin(name: &str, sources: &[Source]) -> Place {
    let Some(source) = sources.iter().find(|source| source.name == name) else {
        return Place::Unknown { name: name.to_owned() };
    };
    match &source.origin {
        Origin::Host(path) => {
            Place::Host { path: path.clone(), recursive: source.recursive, idmap: source.idmap }
        }
        Origin::Pod(path) => Place::Pod { path: path.clone() },
        Origin::State(path) => Place::State { path: path.clone() },
    }
}

/// `volume:APP:NAME:…` is what a volume's descriptor is called, `volume-NAME` its tmpfs.
fn volume(source: &MountSource) -> Option<String> {
    let name = match source {
        MountSource::Descriptor(name) => name.strip_prefix("volume:")?.split(':').nth(1)?,
        MountSource::SharedTmpfs { name, .. } => name.strip_prefix("volume-")?,
        _ => return None,
    };
    Some(name.to_owned())
}

fn place(source: &MountSource, sources: &[Source]) -> Place {
    match source {
        MountSource::Descriptor(name) => origin(name, sources),
        MountSource::Tmpfs { size, mode } => {
            Place::Tmpfs { size: *size, mode: format!("{mode:04o}") }
        }
        MountSource::SharedTmpfs { name, size, mode, uid, gid } => Place::SharedTmpfs {
            name: name.clone(),
            size: *size,
            mode: format!("{mode:04o}"),
            uid: *uid,
            gid: *gid,
        },
        MountSource::Proc => Place::Proc,
        MountSource::Sysfs => Place::Sysfs,
        MountSource::Cgroup2 => Place::Cgroup2,
        MountSource::Dev => Place::Dev,
        MountSource::Credentials(list) => Place::Credentials {
            names: list.iter().map(|credential| credential.name.clone()).collect(),
        },
    }
}

fn options(read_only: bool, nosuid: bool, nodev: bool, noexec: bool) -> Vec<&'static str> {
    let mut list = vec![if read_only { "ro" } else { "rw" }];
    list.extend(nosuid.then_some("nosuid"));
    list.extend(nodev.then_some("nodev"));
    list.extend(noexec.then_some("noexec"));
    list
}

/// Everything mounted in an app's root, in the order of mounting; what is masked or made read-only
/// on top is a list of its own.
pub(super) fn mounts(plan: &PodPlan, app: &AppPlan, sources: &[Source]) -> Vec<MountView> {
    let mut list = vec![MountView {
        target: "/".to_owned(),
        source: Place::Overlay,
        volume: None,
        options: options(app.root.read_only, false, true, false),
        lent: false,
    }];
    for mount in &app.mounts {
        if mount.source == MountSource::Dev {
            list.extend(dev(plan, mount));
        } else {
            list.push(view(mount, sources));
        }
    }
    list
}

fn view(mount: &Mount, sources: &[Source]) -> MountView {
    // What of the kernel's own file systems stage1 always sets (docs/stage1-abi.md).
    let strict =
        matches!(mount.source, MountSource::Proc | MountSource::Sysfs | MountSource::Cgroup2);
    let read_only = mount.read_only || mount.source == MountSource::Cgroup2;
    MountView {
        target: mount.target.clone(),
        source: place(&mount.source, sources),
        volume: volume(&mount.source),
        options: options(
            read_only,
            mount.nosuid || strict,
            mount.nodev || strict,
            mount.noexec || strict,
        ),
        lent: mount.lent,
    }
}

/// `/dev` and what stage1 mounts in it (docs/stage1-abi.md).
fn dev(plan: &PodPlan, mount: &Mount) -> Vec<MountView> {
    let below = |name: &str, source, options| MountView {
        target: format!("{}/{name}", mount.target),
        source,
        volume: None,
        options,
        lent: false,
    };
    let shm = plan
        .apps
        .iter()
        .flat_map(|app| &app.mounts)
        .find_map(|mount| match &mount.source {
            MountSource::SharedTmpfs { name, .. } if name == "shm" => {
                Some(place(&mount.source, &[]))
            }
            _ => None,
        })
        .unwrap_or_else(|| Place::SharedTmpfs {
            name: "shm".to_owned(),
            size: None,
            mode: "1777".to_owned(),
            uid: 0,
            gid: 0,
        });
    vec![
        MountView {
            target: mount.target.clone(),
            source: Place::Dev,
            volume: None,
            options: options(false, true, true, true),
            lent: false,
        },
        below("pts", Place::Devpts, options(false, true, false, true)),
        below("shm", shm, options(false, true, true, false)),
        below("mqueue", Place::Mqueue, options(false, true, true, true)),
    ]
}

/// The device nodes of an app.
pub(super) fn devices(app: &AppPlan, sources: &[Source]) -> Vec<DeviceView> {
    app.devices
        .iter()
        .map(|device| DeviceView {
            path: device.path.clone(),
            source: origin(&device.source, sources),
        })
        .collect()
}
