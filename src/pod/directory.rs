//! The pod directory and its states: `pods/<state>/<uuid>/`, moved by one rename each.
//!
//! The lock is flock(2) on the empty file `lock` inside it; its inode survives every rename, and a
//! running pod's init holds it through an inherited descriptor.

use super::ids::{self, IdsError};
use crate::config::paths::Paths;
use crate::files::{self, Dir};
use rustix::fs::OFlags;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::marker::PhantomData;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use thiserror::Error;
use uuid::Uuid;

/// Name of the lock file.
pub const LOCK: &str = "lock";
/// Name of the completed plan.
pub const PLAN: &str = "plan.json";
/// Name of the exit record.
pub const EXIT_RECORD: &str = "exit";
/// Name of init's PID as the host sees it.
pub const PID: &str = "pid";
/// Name of init's control socket.
pub const CONTROL: &str = "control";
/// Name of what init says became of limits.
pub const REPORT: &str = "limits.json";
/// Name of the directory init builds its mounts on, in its own mount namespace.
pub const MOUNT_POINT: &str = "mnt";

/// The directories a pod can lie in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Being made, perhaps not locked yet.
    Embryo,
    /// Being filled, locked.
    Prepare,
    /// Complete, waiting to be run.
    Prepared,
    /// Running, or dead and not collected yet.
    Run,
    /// Dead and collected; kept for inspection until its grace is over.
    ExitedGarbage,
    /// About to be deleted.
    Garbage,
}

impl State {
    /// Every state, in the order of a pod's life.
    pub const ALL: [Self; 6] = [
        Self::Embryo,
        Self::Prepare,
        Self::Prepared,
        Self::Run,
        Self::ExitedGarbage,
        Self::Garbage,
    ];

    /// Name of its directory.
    pub fn dir(self) -> &'static str {
        match self {
            Self::Embryo => "embryo",
            Self::Prepare => "prepare",
            Self::Prepared => "prepared",
            Self::Run => "run",
            Self::ExitedGarbage => "exited-garbage",
            Self::Garbage => "garbage",
        }
    }

    /// Where pod `uuid` lies when it is in this state.
    pub fn path(self, paths: &Paths, uuid: Uuid) -> PathBuf {
        paths.pods().join(self.dir()).join(uuid.to_string())
    }
}

/// What can go wrong with a pod directory.
#[derive(Debug, Error)]
pub enum DirectoryError {
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
    /// Somebody else holds the lock.
    #[error("pod {0} is in use by another rocket process")]
    Busy(Uuid),
    /// Its range of ids.
    #[error(transparent)]
    Ids(#[from] IdsError),
    /// It is not in the state the operation needs.
    #[error("there is no {state} pod {uuid}")]
    Missing {
        /// The state looked for.
        state: &'static str,
        /// Which pod.
        uuid: Uuid,
    },
}

fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DirectoryError {
    let path = path.to_owned();
    move |source| DirectoryError::Io { what, path, source }
}

/// Marker: being filled.
#[derive(Debug)]
pub struct Preparing;
/// Marker: complete.
#[derive(Debug)]
pub struct Prepared;
/// Marker: handed to stage1, or about to be.
#[derive(Debug)]
pub struct Running;

/// A pod directory whose lock this process holds.
#[derive(Debug)]
pub struct Pod<S> {
    uuid: Uuid,
    path: PathBuf,
    lock: File,
    state: PhantomData<S>,
}

impl<S> Pod<S> {
    /// Its UUID.
    pub fn uuid(&self) -> Uuid {
        self.uuid
    }

    /// Where it lies now.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The held lock.
    pub fn lock(&self) -> &File {
        &self.lock
    }

    fn rename<T>(self, paths: &Paths, to: State) -> Result<Pod<T>, DirectoryError> {
        let path = to.path(paths, self.uuid);
        std::fs::rename(&self.path, &path).map_err(io_error("rename to", &path))?;
        Ok(Pod { uuid: self.uuid, path, lock: self.lock, state: PhantomData })
    }

    /// Deletes the directory: first out of sight by a rename, then its content.
    ///
    /// # Errors
    /// Any IO error; what is left lies in `garbage/` and goes with the next gc.
    pub fn delete(self, paths: &Paths) -> Result<(), DirectoryError> {
        let pod: Pod<Preparing> = self.rename(paths, State::Garbage)?;
        remove(paths, &pod.path, pod.uuid)
    }
}

impl Pod<Preparing> {
    /// Makes a new, locked pod directory.
    ///
    /// # Errors
    /// Any IO error; nothing but an embryo, which gc removes, is left.
    pub fn create(paths: &Paths) -> Result<Self, DirectoryError> {
        for state in State::ALL {
            let dir = paths.pods().join(state.dir());
            files::make_private_dirs(&dir).map_err(io_error("make directory", &dir))?;
        }
        let uuid = Uuid::new_v4();
        let path = State::Embryo.path(paths, uuid);
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(io_error("make directory", &path))?;
        let file = path.join(LOCK);
        let lock = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&file)
            .map_err(io_error("create", &file))?;
        take(&lock, uuid, &file)?;
        let embryo: Self = Self { uuid, path, lock, state: PhantomData };
        embryo.rename(paths, State::Prepare)
    }

    /// The pod is complete.
    ///
    /// # Errors
    /// Any IO error of the rename.
    pub fn seal(self, paths: &Paths) -> Result<Pod<Prepared>, DirectoryError> {
        self.rename(paths, State::Prepared)
    }
}

impl Pod<Prepared> {
    /// Takes the lock of a prepared pod.
    ///
    /// # Errors
    /// It is not prepared, or somebody else is starting it.
    pub fn open(paths: &Paths, uuid: Uuid) -> Result<Self, DirectoryError> {
        let path = State::Prepared.path(paths, uuid);
        let lock =
            lock_in(&path, uuid)?.ok_or(DirectoryError::Missing { state: "prepared", uuid })?;
        // It may have been started between the look and the lock.
        if !path.join(LOCK).exists() {
            return Err(DirectoryError::Missing { state: "prepared", uuid });
        }
        Ok(Self { uuid, path, lock, state: PhantomData })
    }

    /// From here on it runs.
    ///
    /// # Errors
    /// Any IO error of the rename.
    pub fn start(self, paths: &Paths) -> Result<Pod<Running>, DirectoryError> {
        self.rename(paths, State::Run)
    }
}

/// Takes the lock of a pod directory at `path`; `None` if there is no such directory.
///
/// # Errors
/// [`DirectoryError::Busy`] if somebody holds it.
pub fn lock_in(path: &Path, uuid: Uuid) -> Result<Option<File>, DirectoryError> {
    let file = path.join(LOCK);
    // flock(2) needs no write access, and a state that became read-only must not hide what runs.
    let lock = match File::open(&file) {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error("open", &file)(error)),
    };
    take(&lock, uuid, &file)?;
    Ok(Some(lock))
}

fn take(lock: &File, uuid: Uuid, path: &Path) -> Result<(), DirectoryError> {
    match lock.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(DirectoryError::Busy(uuid)),
        Err(TryLockError::Error(error)) => Err(io_error("lock", path)(error)),
    }
}

/// Whether the lock of the pod directory at `path` is free. A directory without a lock file counts
/// as free.
///
/// # Errors
/// Any IO error but "not found".
pub fn lock_is_free(path: &Path, uuid: Uuid) -> Result<bool, DirectoryError> {
    match lock_in(path, uuid) {
        Ok(_) => Ok(true),
        Err(DirectoryError::Busy(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The same of an open directory.
///
/// # Errors
/// Any IO error but "not found".
pub fn is_lock_free_in(dir: &Dir) -> Result<bool, DirectoryError> {
    let path = || dir.path().join(LOCK);
    let lock = match dir.file(LOCK, OFlags::RDONLY) {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(io_error("open", &path())(error)),
    };
    match lock.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(io_error("lock", &path())(error)),
    }
}

/// A dead pod directory, locked by this process.
#[derive(Debug)]
pub struct Locked(Pod<Running>);

impl Locked {
    /// Locks the directory of `uuid` in `state`; `None` if it is not there (any more).
    ///
    /// # Errors
    /// [`DirectoryError::Busy`] if somebody holds it.
    pub fn open(paths: &Paths, state: State, uuid: Uuid) -> Result<Option<Self>, DirectoryError> {
        let path = state.path(paths, uuid);
        let Some(lock) = lock_in(&path, uuid)? else { return Ok(None) };
        if !path.join(LOCK).exists() {
            return Ok(None);
        }
        Ok(Some(Self(Pod { uuid, path, lock, state: PhantomData })))
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Deletes it.
    ///
    /// # Errors
    /// As [`Pod::delete`].
    pub fn delete(self, paths: &Paths) -> Result<(), DirectoryError> {
        self.0.delete(paths)
    }
}

/// Deletes a pod directory that has lost its lock file.
///
/// # Errors
/// Any IO error.
pub fn remove_unlocked(paths: &Paths, state: State, uuid: Uuid) -> Result<(), DirectoryError> {
    let (from, to) = (state.path(paths, uuid), State::Garbage.path(paths, uuid));
    std::fs::rename(&from, &to).map_err(io_error("rename to", &to))?;
    remove(paths, &to, uuid)
}

/// Removes the directory of a pod from `garbage/`, and then gives back its ids.
///
/// # Errors
/// Any IO error.
pub fn remove(paths: &Paths, garbage: &Path, uuid: Uuid) -> Result<(), DirectoryError> {
    let noted = ids::noted(garbage);
    remove_tree(garbage).map_err(io_error("delete", garbage))?;
    Ok(ids::release(paths, uuid, noted)?)
}

/// Removes a tree that no process uses any more. `remove_dir_all` never follows symlinks
/// (CVE-2022-21658 was fixed in std) and works on descriptors.
///
/// # Errors
/// Any IO error but "not found".
pub fn remove_tree(path: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The UUIDs that lie in `state`; other names are skipped.
///
/// # Errors
/// Any IO error but a missing directory, which holds no pods.
pub fn scan(paths: &Paths, state: State) -> Result<Vec<Uuid>, DirectoryError> {
    let dir = paths.pods().join(state.dir());
    let entries = match std::fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(io_error("read directory", &dir)(error)),
    };
    let mut uuids = Vec::new();
    for entry in entries {
        let entry = entry.map_err(io_error("read directory", &dir))?;
        if let Some(uuid) = entry.file_name().to_str().and_then(|n| Uuid::try_parse(n).ok()) {
            uuids.push(uuid);
        }
    }
    Ok(uuids)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_moves_through_its_states_with_its_lock() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::new(root.path());
        let pod = Pod::create(&paths).unwrap();
        let uuid = pod.uuid();
        assert_eq!(pod.path(), State::Prepare.path(&paths, uuid));
        let pod = pod.seal(&paths).unwrap();
        assert!(matches!(Pod::<Prepared>::open(&paths, uuid), Err(DirectoryError::Busy(_))));
        drop(pod);
        let pod = Pod::<Prepared>::open(&paths, uuid).unwrap().start(&paths).unwrap();
        assert!(!lock_is_free(pod.path(), uuid).unwrap());
        assert!(matches!(Pod::<Prepared>::open(&paths, uuid), Err(DirectoryError::Missing { .. })));
        pod.delete(&paths).unwrap();
        for state in State::ALL {
            assert!(scan(&paths, state).unwrap().is_empty());
        }
    }
}
