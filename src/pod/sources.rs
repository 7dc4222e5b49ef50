//! What the plan's descriptors are opened from, written beside the plan so that a prepared pod can
//! be run later.
//!
//! The plan names descriptors; this table says what each is: never a path inside a root.

use crate::config::paths::Paths;
use rocket_sys::mount::open_tree_clone;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use serde::{Deserialize, Serialize};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// File in the pod directory.
pub const FILE: &str = "sources.json";

/// One descriptor and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Source {
    /// Its name in the plan.
    pub name: String,
    /// Where it comes from.
    pub origin: Origin,
    /// With the mounts below it.
    pub recursive: bool,
    /// A path of the host may be, or go through, a symlink.
    #[serde(default)]
    pub follow_symlinks: bool,
    /// In a pod with a user namespace, what lies there under an id is that id's inside.
    #[serde(default)]
    pub idmap: bool,
}

/// Where a detached mount is cloned from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// A path below the pod directory, wherever that lies by then.
    Pod(PathBuf),
    /// A path below the state directory: layer trees, managed volumes.
    State(PathBuf),
    /// A path of the host: volumes of kind `host`, device nodes.
    Host(PathBuf),
}

/// A source that is not there.
#[derive(Debug, Error)]
#[error("cannot open {path} for the pod")]
pub struct SourceError {
    /// What was opened.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: io::Error,
}

impl Source {
    /// Clones the detached mount.
    ///
    /// # Errors
    /// The path is missing, is or goes through a symlink, or is on a file system that cannot be
    /// cloned.
    pub fn open(&self, paths: &Paths, pod: &Path) -> Result<OwnedFd, SourceError> {
        let path = match &self.origin {
            Origin::Pod(below) => pod.join(below),
            Origin::State(below) => paths.state().join(below),
            Origin::Host(path) => path.clone(),
        };
        let follow = self.follow_symlinks || !matches!(self.origin, Origin::Host(_));
        let place = open_host(&path, follow)
            .map_err(|source| SourceError { path: path.clone(), source })?;
        open_tree_clone(place.as_fd(), c"", self.recursive)
            .map_err(|source| SourceError { path, source: io::Error::other(source) })
    }
}

/// Opens a path of the host. appc 0.8.11, ace.md: a source that is or goes through a symlink is an
/// error, unless it was allowed.
///
/// # Errors
/// It is missing, or is or goes through a symlink.
pub(super) fn open_host(path: &Path, follow_symlinks: bool) -> io::Result<OwnedFd> {
    let flags = match follow_symlinks {
        true => ResolveFlags::NO_MAGICLINKS,
        false => ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_SYMLINKS,
    };
    openat2(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), flags).map_err(explain)
}

/// ELOOP means a symlink here, which the number alone does not say.
fn explain(error: rustix::io::Errno) -> io::Error {
    match error {
        rustix::io::Errno::LOOP => io::Error::other("it is, or goes through, a symbolic link"),
        error => error.into(),
    }
}
