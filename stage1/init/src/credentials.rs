//! An app's credentials: files in memory that its user can read, copied from what stage0 opened.
//!
//! They are made once and stay mounted in the app's root, so a restart of the app and a command that
//! is entered find them without anything being kept besides.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rocket_plan::Credential;
use rocket_sys::mount::{self, Attributes};
use rustix::fs::{FileType, Gid, Mode, OFlags, Uid};

use crate::descriptors::Descriptors;
use crate::failure::{Context, Failure, Result};

/// What systemd allows one unit, all its credentials together (systemd.exec(5)).
const MOST: usize = 1 << 20;
const ATTRIBUTES: Attributes =
    Attributes { read_only: false, nosuid: true, nodev: true, noexec: true };

/// A detached file system with the credentials of `list`, that belongs to `uid` and `gid` of the
/// host. Nothing that is said of a failure has any byte of what they hold.
pub fn make(list: &[Credential], uid: u32, gid: u32, descriptors: &Descriptors) -> Result<OwnedFd> {
    let fs = memory()?;
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    let mut room = MOST;
    for credential in list {
        let source = descriptors.get(&credential.descriptor).ok_or_else(|| {
            Failure::rocket(format!("descriptor {} is missing", credential.descriptor))
        })?;
        let say = || format!("copy the credential {}", credential.name);
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&fs, &credential.name, flags, Mode::RUSR).context(say)?;
        room = copy(&credential.name, source, file.as_fd(), room)?;
        rustix::fs::fchown(&file, Some(uid), Some(gid)).context(say)?;
    }
    let say = || "give the credentials to their app".to_owned();
    let root = rustix::fs::openat(
        &fs,
        ".",
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .context(say)?;
    rustix::fs::fchown(&root, Some(uid), Some(gid)).context(say)?;
    rustix::fs::fchmod(&root, Mode::RUSR | Mode::XUSR).context(say)?;
    Ok(fs)
}

/// Memory that is never written to a swap device: a tmpfs that says so (Linux 6.4), else a ramfs,
/// which has no bound of its own; what is copied has.
fn memory() -> Result<OwnedFd> {
    // Each file takes whole pages.
    let options = [("mode", "0700"), ("size", "8388608"), ("noswap", "")];
    mount::new_filesystem("tmpfs", &options, ATTRIBUTES)
        .or_else(|_| mount::new_filesystem("ramfs", &[("mode", "0700")], ATTRIBUTES))
        .context(|| "make a file system for credentials".to_owned())
}

/// Copies all of `source`, whatever its position is, if `room` is enough; the room that is left.
fn copy(
    name: &str,
    source: BorrowedFd<'_>,
    file: BorrowedFd<'_>,
    mut room: usize,
) -> Result<usize> {
    let say = || format!("copy the credential {name}");
    let kind = rustix::fs::fstat(source).context(say)?.st_mode;
    if FileType::from_raw_mode(kind) != FileType::RegularFile {
        return Err(Failure::rocket(format!("the credential {name} is not a regular file")));
    }
    let mut buffer = [0; 16384];
    let mut at = 0;
    loop {
        let n = rustix::io::retry_on_intr(|| rustix::io::pread(source, &mut buffer, at))
            .context(say)?;
        let mut rest = buffer.get(..n).unwrap_or_default();
        if rest.is_empty() {
            return Ok(room);
        }
        room = room.checked_sub(n).ok_or_else(|| {
            Failure::rocket(format!(
                "the credential {name} is too large: an app's may have {MOST} bytes together"
            ))
        })?;
        at += n as u64;
        while !rest.is_empty() {
            let written =
                rustix::io::retry_on_intr(|| rustix::io::write(file, rest)).context(say)?;
            rest = rest.get(written..).unwrap_or_default();
        }
    }
}
