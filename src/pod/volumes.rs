//! Volumes on this host: what a `host` one is, and the directories of the others, made and filled.

use super::plan::{Fill, MakeDir};
use super::prepare::{PrepareError, io_error};
use super::sources::{self, Origin};
use crate::config::paths::Paths;
use crate::files;
use crate::image::{Layer, view};
use rocket_podfile::{PodFile, VolumeKind};
use rustix::fs::FileType;
use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// What lies at the source of a `host` volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostSource {
    /// A directory, a file, a socket.
    Plain,
    /// A device node: the volume grants this device.
    Device,
}

/// Looks at the sources of the `host` volumes that some app mounts, by the name of the volume.
///
/// # Errors
/// One is missing, or is or goes through a symlink.
pub(super) fn host_sources(pod: &PodFile) -> Result<BTreeMap<String, HostSource>, PrepareError> {
    looked_at(pod, |_| false)
}

/// The same for a start that does not happen: what may not be looked at is left out, and with `elsewhere`
/// what is not there too, since it happens on another machine.
pub(super) fn foreseen_sources(
    pod: &PodFile,
    elsewhere: bool,
) -> Result<BTreeMap<String, HostSource>, PrepareError> {
    looked_at(pod, |error| match error.kind() {
        io::ErrorKind::PermissionDenied => true,
        io::ErrorKind::NotFound => elsewhere,
        _ => false,
    })
}

fn looked_at(
    pod: &PodFile,
    leave_out: impl Fn(&io::Error) -> bool,
) -> Result<BTreeMap<String, HostSource>, PrepareError> {
    let mut found = BTreeMap::new();
    for (name, source, follow_symlinks) in mounted(pod) {
        match look(source, follow_symlinks) {
            Ok(kind) => drop(found.insert(name.clone(), kind)),
            Err(error) if leave_out(&error) => {}
            Err(error) => {
                let (volume, path) = (name.clone(), source.clone());
                return Err(PrepareError::Volume { volume, path, source: error });
            }
        }
    }
    Ok(found)
}

/// Name, source and permission to follow links of the `host` volumes that some app mounts.
fn mounted(pod: &PodFile) -> impl Iterator<Item = (&String, &PathBuf, bool)> {
    let mounted = move |name: &String| {
        pod.apps.iter().any(|app| app.mounts.iter().any(|m| m.volume == *name))
    };
    pod.volumes.iter().filter_map(move |volume| match &volume.kind {
        VolumeKind::Host { source, follow_symlinks, .. } if mounted(&volume.name) => {
            Some((&volume.name, source, *follow_symlinks))
        }
        _ => None,
    })
}

fn look(source: &Path, follow_symlinks: bool) -> io::Result<HostSource> {
    let place = sources::open_host(source, follow_symlinks)?;
    let stat = rustix::fs::fstat(&place)?;
    Ok(match FileType::from_raw_mode(stat.st_mode) {
        FileType::CharacterDevice | FileType::BlockDevice => HostSource::Device,
        _ => HostSource::Plain,
    })
}

/// Makes a volume's directory, and fills it from the image of the app that is to; one that is kept
/// and there already stays as it is.
///
/// # Errors
/// A system call, or the image.
pub(super) fn make<'a>(
    paths: &Paths,
    pod: &Path,
    wanted: &MakeDir,
    layers: impl Fn(&str) -> Option<&'a [Layer]>,
) -> Result<(), PrepareError> {
    let path = match &wanted.origin {
        Origin::Pod(below) => pod.join(below),
        Origin::State(below) => paths.state().join(below),
        Origin::Host(_) => return Ok(()),
    };
    if let Some(parent) = path.parent() {
        files::make_private_dirs(parent).map_err(io_error("make directory", parent))?;
    }
    match std::fs::create_dir(&path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        Err(error) => return Err(io_error("make directory", &path)(error)),
        Ok(()) => {}
    }
    let filled = match &wanted.fill {
        Some(fill) => fill_from(fill, &path, &layers)?,
        None => false,
    };
    // What the pod file says of the directory itself wins over the image's.
    let default = |value: Option<u32>, other: u32| value.or((!filled).then_some(other));
    own(&path, default(wanted.uid, 0), default(wanted.gid, 0), default(wanted.mode, 0o755))?;
    if wanted.shift > 0 { shift(&path, wanted.shift) } else { Ok(()) }
}

/// Adds `by` to the owners of a tree that this process has just made and nobody else uses yet.
fn shift(path: &Path, by: u32) -> Result<(), PrepareError> {
    let found = std::fs::symlink_metadata(path).map_err(io_error("read", path))?;
    if found.is_dir() {
        for entry in std::fs::read_dir(path).map_err(io_error("read directory", path))? {
            shift(&entry.map_err(io_error("read directory", path))?.path(), by)?;
        }
    }
    // One that the pod does not have stays; so does that of a hard link which had its turn.
    let owner = |id: u32| Some(if id < super::ids::COUNT { id.saturating_add(by) } else { id });
    std::os::unix::fs::lchown(path, owner(found.uid()), owner(found.gid()))
        .map_err(io_error("change the owner of", path))?;
    // The change of owner has taken set-id bits away.
    if found.is_symlink() {
        return Ok(());
    }
    std::fs::set_permissions(path, found.permissions()).map_err(io_error("set the mode of", path))
}

fn fill_from<'a>(
    fill: &Fill,
    path: &Path,
    layers: &impl Fn(&str) -> Option<&'a [Layer]>,
) -> Result<bool, PrepareError> {
    let Some(layers) = layers(&fill.app) else { return Ok(false) };
    view::copy_directory(layers, &fill.target, path).map_err(|source| PrepareError::Fill {
        app: fill.app.clone(),
        target: fill.target.clone(),
        source: Box::new(source),
    })
}

/// Owner and mode of something that rocket makes for a pod. Ids on the disk are those inside the pod:
/// mounts map them.
pub(super) fn own(
    path: &Path,
    uid: Option<u32>,
    gid: Option<u32>,
    mode: Option<u32>,
) -> Result<(), PrepareError> {
    std::os::unix::fs::chown(path, uid, gid).map_err(io_error("change the owner of", path))?;
    match mode {
        None => Ok(()),
        Some(mode) => {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode & 0o7777))
                .map_err(io_error("set the mode of", path))
        }
    }
}
