//! The root of an app as it is on disk now, mounted read-only for this process alone.

use super::directory::{MOUNT_POINT, PLAN};
use super::meta::{self, MetaError};
use super::sources::{self, Origin, Source, SourceError};
use crate::config::paths::Paths;
use rocket_plan::PodPlan;
use rocket_sys::clone::{Namespaces, unshare};
use rocket_sys::mount::{self, Attributes};
use rocket_sys::userns::{self, IdRange};
use rustix::fs::Mode;
use std::ffi::CString;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why it cannot be shown.
#[derive(Debug, Error)]
pub enum SnapshotError {
    /// A file of the pod directory.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// A layer.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The plan has no such app.
    #[error("the pod's plan has no app {0:?}")]
    NoApp(String),
    /// A system call failed.
    #[error("cannot {what}")]
    Io {
        /// The verb and its object.
        what: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
}

fn failed<E>(what: &'static str) -> impl FnOnce(E) -> SnapshotError
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    move |error| SnapshotError::Io { what, source: io::Error::other(error) }
}

/// Mounts layers and upper of an app and gives the path of its root. This process moves into a mount
/// namespace of its own, with which the mounts end, and into another working directory.
///
/// # Errors
/// [`SnapshotError`].
pub fn mount(paths: &Paths, pod: &Path, app: &str) -> Result<PathBuf, SnapshotError> {
    let plan: PodPlan = meta::read(&pod.join(PLAN))?;
    let sources: Vec<Source> = meta::read(&pod.join(sources::FILE))?;
    let root = &plan
        .apps
        .iter()
        .find(|plan| plan.name == app)
        .ok_or_else(|| SnapshotError::NoApp(app.to_owned()))?
        .root;
    unshare(Namespaces::MOUNT).map_err(failed("make a mount namespace"))?;
    mount::make_all_private().map_err(failed("keep mounts to this process"))?;
    let upper = Source {
        name: "upper".to_owned(),
        origin: Origin::Pod(Path::new("apps").join(app).join("upper")),
        recursive: false,
        follow_symlinks: false,
        idmap: false,
    };
    let mut layers = vec![&upper];
    for name in &root.lowers {
        let source = sources.iter().find(|source| source.name == *name);
        layers.push(source.ok_or_else(|| SnapshotError::NoApp(app.to_owned()))?);
    }
    let back = match plan.namespaces.user {
        Some(map) => {
            let range = IdRange { inside: map.base, outside: 0, count: map.count };
            let made = userns::create(range, false).map_err(failed("make an id map"))?;
            Some(made.user)
        }
        None => None,
    };
    let place = std::path::absolute(pod.join(MOUNT_POINT)).map_err(failed("find the pod"))?;
    let attributes = Attributes { nosuid: true, nodev: true, ..Attributes::default() };
    let scratch = mount::new_filesystem("tmpfs", &[("mode", "0700")], attributes)
        .map_err(failed("make a scratch file system"))?;
    rustix::process::chdir(&place).map_err(failed("enter the pod directory"))?;
    mount::attach_at(scratch.as_fd(), c".").map_err(failed("mount a scratch file system"))?;
    rustix::process::chdir(&place).map_err(failed("enter the scratch file system"))?;
    // Short names: all of them have to fit into one page of options (kernel 6.1).
    let mut names = Vec::with_capacity(layers.len());
    for (index, source) in layers.iter().enumerate() {
        let name = index.to_string();
        let path = CString::new(name.clone()).map_err(failed("name a layer"))?;
        rustix::fs::mkdir(&path, Mode::RWXU).map_err(failed("make a directory"))?;
        let layer = source.open(paths, pod)?;
        // Layers lie on disk with the ids inside, what the app wrote with those outside.
        if let Some(back) = back.as_ref().filter(|_| index == 0) {
            mount::idmap(layer.as_fd(), back.as_fd(), false)
                .map_err(failed("see the app's files under their ids inside"))?;
        }
        mount::attach_at(layer.as_fd(), &path).map_err(failed("attach a layer"))?;
        names.push(name);
    }
    rustix::fs::mkdir(c"root", Mode::RWXU).map_err(failed("make a directory"))?;
    let options =
        CString::new(format!("lowerdir={}", names.join(":"))).map_err(failed("name the layers"))?;
    mount::overlay(c"root", &options).map_err(failed("mount the app's layers"))?;
    Ok(place.join("root"))
}
