//! Work in progress: `tmp/UUID/` beside `tmp/UUID.lock`, whose lock says that its maker lives.

use crate::image::error::ImageError;
use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Directory, in `tmp`, of blobs that came in part and may be completed by a later fetch.
pub(super) const PARTIAL: &str = "partial";
/// After so long nobody comes back for them.
const PARTIAL_AGE: std::time::Duration = std::time::Duration::from_secs(7 * 86_400);

/// A directory of one fetch; gone when dropped.
#[derive(Debug)]
pub struct TempDir {
    path: PathBuf,
    lock_path: PathBuf,
    _lock: File,
}

impl TempDir {
    /// Makes one in `tmp`.
    pub fn new(tmp: &Path) -> Result<Self, ImageError> {
        loop {
            let name = uuid::Uuid::new_v4().to_string();
            let lock_path = tmp.join(format!("{name}.lock"));
            let lock =
                File::create_new(&lock_path).map_err(|e| ImageError::io("make", &lock_path, e))?;
            lock.lock().map_err(|e| ImageError::io("lock", &lock_path, e))?;
            // A sweeper may have taken the file for a dead one before it was locked.
            if !still_there(&lock, &lock_path) {
                continue;
            }
            let path = tmp.join(name);
            make_dir(&path)?;
            return Ok(Self { path, lock_path, _lock: lock });
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a directory in it.
    pub fn dir(&self, name: &str) -> Result<PathBuf, ImageError> {
        let path = self.path.join(name);
        make_dir(&path)?;
        Ok(path)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // What cannot be removed now, the next sweep removes.
        let _ = std::fs::remove_dir_all(&self.path);
        let _ = std::fs::remove_file(&self.lock_path);
    }
}

/// Makes a directory that only root enters.
pub(super) fn make_dir(path: &Path) -> Result<(), ImageError> {
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(path)
        .map_err(|e| ImageError::io("make the directory", path, e))
}

fn still_there(lock: &File, path: &Path) -> bool {
    match (lock.metadata(), path.metadata()) {
        (Ok(ours), Ok(theirs)) => (ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino()),
        _ => false,
    }
}

/// A lock on one digest (or another key): a second fetch of the same thing waits on it.
#[derive(Debug)]
pub struct KeyLock {
    path: PathBuf,
    _file: File,
}

impl KeyLock {
    /// Takes the lock, telling `waiting` when another process holds it.
    pub fn take(tmp: &Path, key: &str, waiting: impl FnOnce()) -> Result<Self, ImageError> {
        let path = tmp.join(format!("{key}.lock"));
        let mut waiting = Some(waiting);
        loop {
            let file = File::options()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&path)
                .map_err(|e| ImageError::io("open", &path, e))?;
            let lock = |e| ImageError::io("lock", &path, e);
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    if let Some(tell) = waiting.take() {
                        tell();
                    }
                    file.lock().map_err(lock)?;
                }
                Err(TryLockError::Error(e)) => return Err(lock(e)),
            }
            if still_there(&file, &path) {
                return Ok(Self { path, _file: file });
            }
        }
    }
}

impl Drop for KeyLock {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Removes what dead processes left in `tmp`.
pub(super) fn sweep(tmp: &Path) -> Result<(), ImageError> {
    let entries = std::fs::read_dir(tmp).map_err(|e| ImageError::io("read", tmp, e))?;
    for entry in entries {
        let path = entry.map_err(|e| ImageError::io("read", tmp, e))?.path();
        let outcome = match path.extension() {
            Some(extension) if extension == "lock" => sweep_lock(&path),
            None if path.ends_with(PARTIAL) => sweep_partial(&path),
            // Its lock is made before it and removed after it, so no lock means no maker.
            _ if !path.with_extension("lock").exists() => remove_any(&path),
            _ => Ok(()),
        };
        match outcome {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(ImageError::io("remove", path, error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Removes what nobody works on and nobody came back for.
fn sweep_partial(dir: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let age = std::fs::metadata(&path)?.modified()?.elapsed();
        if age.is_ok_and(|age| age > PARTIAL_AGE) && File::open(&path)?.try_lock().is_ok() {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

fn sweep_lock(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    if file.try_lock().is_ok() && still_there(&file, path) {
        remove_any(&path.with_extension(""))?;
        std::fs::remove_file(path)?;
    }
    Ok(())
}

fn remove_any(path: &Path) -> io::Result<()> {
    let removed = match std::fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(dir)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_sweep_takes_the_dead_and_leaves_the_living() {
        let tmp = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(tmp.path().join("dead/tree")).unwrap();
        std::fs::write(tmp.path().join("dead.lock"), "").unwrap();
        std::fs::create_dir(tmp.path().join("lost")).unwrap();
        let partial = tmp.path().join(PARTIAL);
        std::fs::create_dir(&partial).unwrap();
        let old = std::time::SystemTime::now() - 2 * PARTIAL_AGE;
        for name in ["new", "old", "busy"] {
            let file = File::create(partial.join(name)).unwrap();
            if name != "new" {
                file.set_modified(old).unwrap();
            }
        }
        let busy = File::open(partial.join("busy")).unwrap();
        busy.lock().unwrap();
        let alive = TempDir::new(tmp.path()).unwrap();
        let key = KeyLock::take(tmp.path(), "sha256-aa", || panic!("free")).unwrap();
        sweep(tmp.path()).unwrap();
        assert_eq!(names(tmp.path()).len(), 4, "{:?}", names(tmp.path()));
        assert_eq!(names(&partial), ["busy", "new"]);
        drop((alive, key));
        std::fs::remove_dir_all(&partial).unwrap();
        assert_eq!(names(tmp.path()), Vec::<String>::new());
    }
}
