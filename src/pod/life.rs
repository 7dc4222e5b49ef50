//! Dead or alive: dead = lock free *and* the recorded cgroup gone or empty.
//!
//! When init dies the kernel kills the rest of its PID namespace, but the lock is free a moment
//! before the last app is gone; so both are asked.

use super::directory::{DirectoryError, State, lock_is_free};
use super::meta::{CgroupRecord, MetaError};
use crate::config::paths::Paths;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::OnceLock;
use thiserror::Error;
use uuid::Uuid;

/// Whether a pod in `run/` lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// Its init holds the lock.
    Alive,
    /// The lock is free, processes are still there.
    Ending,
    /// Nothing is left but the directory.
    Dead,
}

/// Why it could not be told.
#[derive(Debug, Error)]
pub enum LifeError {
    /// The lock.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The record.
    #[error(transparent)]
    Meta(#[from] MetaError),
}

/// Looks at lock and cgroup of a pod in `run/`.
///
/// # Errors
/// The directory cannot be read.
pub fn of(paths: &Paths, uuid: Uuid) -> Result<Life, LifeError> {
    let dir = State::Run.path(paths, uuid);
    let free = lock_is_free(&dir, uuid)?;
    let record = if free { CgroupRecord::read(&dir)? } else { None };
    Ok(judge(free, record.as_ref()))
}

/// The rule itself: the lock first, then the recorded cgroup.
pub fn judge(lock_is_free: bool, record: Option<&CgroupRecord>) -> Life {
    match lock_is_free {
        false => Life::Alive,
        true if record.is_some_and(is_populated) => Life::Ending,
        true => Life::Dead,
    }
}

/// Whether the very cgroup that was recorded still has processes.
pub fn is_populated(record: &CgroupRecord) -> bool {
    let Some(path) = &record.path else { return false };
    if known_boot_id().is_none_or(|now| now != record.boot_id) {
        return false;
    }
    let dir = Path::new("/sys/fs/cgroup").join(path.trim_start_matches('/'));
    // Another inode is another unit of the same name: a restarted service.
    if std::fs::metadata(&dir).map(|m| m.ino()).ok() != Some(record.inode) {
        return false;
    }
    if let Some(ours) = &record.invocation
        && invocation(&dir).is_some_and(|now| now != *ours)
    {
        return false;
    }
    std::fs::read_to_string(dir.join("cgroup.events"))
        .is_ok_and(|text| text.lines().any(|line| line == "populated 1"))
}

/// systemd notes the running invocation on the unit's cgroup.
fn invocation(dir: &Path) -> Option<String> {
    let mut value = [0u8; 64];
    let n = rustix::fs::getxattr(dir, "trusted.invocation_id", &mut value[..]).ok()?;
    String::from_utf8(value.get(..n)?.to_vec()).ok()
}

/// The boot id, asked for once: who looks at many pods looks at it for each.
fn known_boot_id() -> Option<&'static str> {
    static ID: OnceLock<Option<String>> = OnceLock::new();
    ID.get_or_init(boot_id).as_deref()
}

/// The running kernel's boot id.
pub fn boot_id() -> Option<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_another_boot_or_a_missing_cgroup_is_not_populated() {
        let mut record = CgroupRecord {
            version: 1,
            boot_id: "another".into(),
            path: Some("/".into()),
            inode: 1,
            unit: None,
            invocation: None,
        };
        assert!(!is_populated(&record));
        record.boot_id = boot_id().unwrap();
        record.path = Some("/no-such-unit.service".into());
        assert!(!is_populated(&record));
    }
}
