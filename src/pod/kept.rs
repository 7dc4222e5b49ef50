//! Volumes that are kept: `volumes/POD/NAME` below the state directory.

use super::directory;
use super::list::{self, Status};
use super::meta::{self, MetaError};
use super::name::{NameError, NameLock, PodName, holder};
use super::sources::{self, Origin, Source};
use crate::config::paths::Paths;
use rocket_sys::root::Root;
use rustix::fs::{Mode, OFlags};
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;
use uuid::Uuid;

/// A volume of kind `state`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The pod whose it is, by name.
    pub pod: String,
    /// Its name.
    pub name: String,
    /// Its directory.
    pub path: PathBuf,
    /// Pods that are prepared or run, and mount it.
    pub used_by: Vec<Uuid>,
}

/// Why nothing can be said of, or done to, a volume.
#[derive(Debug, Error)]
pub enum KeptError {
    /// It is not there.
    #[error("there is no volume {1:?} of a pod {0:?}")]
    Missing(String, String),
    /// A pod that is prepared or runs mounts it.
    #[error("volume {pod}/{name} is used by {who}")]
    Used {
        /// The pod's name.
        pod: String,
        /// The volume's.
        name: String,
        /// Who uses it, in words.
        who: String,
    },
    /// The pod's name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A file of a pod directory.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// The pod directories.
    #[error(transparent)]
    Directory(#[from] directory::DirectoryError),
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
}

fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> KeptError {
    let path = path.to_owned();
    move |source| KeptError::Io { what, path, source }
}

fn dir(paths: &Paths) -> PathBuf {
    paths.state().join("volumes")
}

/// All of them, by pod and name.
///
/// # Errors
/// A directory cannot be read.
pub fn list(paths: &Paths) -> Result<Vec<Kept>, KeptError> {
    let users = users(paths)?;
    let mut found = Vec::new();
    for pod in names(&dir(paths))? {
        for name in names(&dir(paths).join(&pod))? {
            found.push(describe(paths, &users, pod.clone(), name));
        }
    }
    Ok(found)
}

/// One of them.
///
/// # Errors
/// It is not there.
pub fn find(paths: &Paths, pod: &str, name: &str) -> Result<Kept, KeptError> {
    // Both are exactly names that are there, so neither leads anywhere else.
    let there = names(&dir(paths))?.iter().any(|known| known == pod)
        && names(&dir(paths).join(pod))?.iter().any(|known| known == name);
    if !there {
        return Err(KeptError::Missing(pod.to_owned(), name.to_owned()));
    }
    Ok(describe(paths, &users(paths)?, pod.to_owned(), name.to_owned()))
}

/// Removes one for good.
///
/// # Errors
/// It is not there, or a pod that is prepared or runs mounts it.
pub fn remove(paths: &Paths, pod: &str, name: &str) -> Result<(), KeptError> {
    find(paths, pod, name)?;
    // While the name is held no pod of that name can be made.
    let pod_name = PodName::new(pod)?;
    let lock = NameLock::claim(paths, &pod_name).map_err(|error| match error {
        NameError::Taken { holder, .. } => {
            KeptError::Used { pod: pod.to_owned(), name: name.to_owned(), who: holder }
        }
        error => error.into(),
    })?;
    let kept = find(paths, pod, name)?;
    if let Some(uuid) = kept.used_by.first() {
        let who = format!("pod {uuid}");
        return Err(KeptError::Used { pod: kept.pod, name: kept.name, who });
    }
    // Gone at once under its name; a dot begins no name.
    let gone = dir(paths).join(format!(".{}", Uuid::new_v4()));
    std::fs::rename(&kept.path, &gone).map_err(io_error("rename", &kept.path))?;
    // Others of the pod may be there.
    let _ = std::fs::remove_dir(dir(paths).join(pod));
    directory::remove_tree(&gone).map_err(io_error("delete", &gone))?;
    for left in leftovers(paths)? {
        directory::remove_tree(&left).map_err(io_error("delete", &left))?;
    }
    if holder(paths, &pod_name)?.is_none() {
        lock.forget()?;
    }
    Ok(())
}

/// What an interrupted removal has left.
fn leftovers(paths: &Paths) -> Result<Vec<PathBuf>, KeptError> {
    let dir = dir(paths);
    let entries = std::fs::read_dir(&dir).map_err(io_error("read", &dir))?;
    let hidden = |entry: &std::fs::DirEntry| entry.file_name().as_encoded_bytes().starts_with(b".");
    Ok(entries.flatten().filter(hidden).map(|entry| entry.path()).collect())
}

fn describe(paths: &Paths, users: &[(Uuid, PathBuf)], pod: String, name: String) -> Kept {
    let below = Path::new("volumes").join(&pod).join(&name);
    let uses = users.iter().filter(|(_, path)| *path == below).map(|(uuid, _)| *uuid);
    let path = paths.state().join(&below);
    Kept { pod, name, path, used_by: uses.collect() }
}

/// Which pods mount what of the state directory.
fn users(paths: &Paths) -> Result<Vec<(Uuid, PathBuf)>, KeptError> {
    let mut found = Vec::new();
    for pod in list::all(paths)? {
        let alive = matches!(
            pod.status,
            Status::Running | Status::Ending | Status::Prepared | Status::Preparing
        );
        if !alive {
            continue;
        }
        let file = pod.state.path(paths, pod.uuid).join(sources::FILE);
        let sources: Vec<Source> = match meta::read(&file) {
            Ok(sources) => sources,
            // It is on its way to another state, or has not got that far: its name is held then.
            Err(MetaError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        found.extend(sources.into_iter().filter_map(|source| match source.origin {
            Origin::State(path) if path.starts_with("volumes") => Some((pod.uuid, path)),
            _ => None,
        }));
    }
    found.sort();
    found.dedup();
    Ok(found)
}

/// The directories in `dir` that no dot hides, sorted.
fn names(dir: &Path) -> Result<Vec<String>, KeptError> {
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(io_error("read", dir))?,
    };
    let root = Root::open(dir).map_err(|error| io_error("open", dir)(error.into()))?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let is_dir = |name: &String| root.exact(name.as_bytes(), flags, Mode::empty()).is_ok();
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| !name.starts_with('.') && is_dir(name))
        .collect();
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_not_there_lead_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::new(dir.path());
        std::fs::create_dir_all(dir.path().join("volumes/web/data")).unwrap();
        std::fs::create_dir_all(dir.path().join("outside/data")).unwrap();
        let found = list(&paths).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].pod.as_str(), found[0].name.as_str()), ("web", "data"));
        for (pod, name) in
            [("..", "outside"), ("web", ".."), ("web", "."), ("../outside", "data"), ("", "web")]
        {
            assert!(matches!(remove(&paths, pod, name), Err(KeptError::Missing(..))), "{pod}");
        }
        remove(&paths, "web", "data").unwrap();
        assert_eq!(list(&paths).unwrap(), []);
        assert!(!dir.path().join("volumes/web").exists());
        assert!(dir.path().join("outside/data").exists());
    }
}
