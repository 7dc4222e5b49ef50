//! Paths inside a root: every step is resolved by the kernel with `openat2`, never by joining strings.
//!
//! Looking goes through symbolic links but stays inside (`RESOLVE_IN_ROOT`); making follows none at
//! all (`RESOLVE_BENEATH` and `RESOLVE_NO_SYMLINKS`). Needs neither `/proc` nor a working directory,
//! so it works in a sandbox that was handed one descriptor.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{self, AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Uid};
use rustix::fs::{Timestamps, XattrFlags};
use rustix::io::{Errno, Result};
use std::path::Path;

/// A directory that paths are resolved inside of.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
    /// The directory made or used last: archives list a directory's files together.
    last: Option<(Vec<u8>, OwnedFd)>,
}

/// How often a lookup that raced with a rename is tried again.
const TRIES: usize = 64;

fn openat2(
    dir: BorrowedFd<'_>,
    path: &[u8],
    flags: OFlags,
    mode: Mode,
    resolve: ResolveFlags,
) -> Result<OwnedFd> {
    for _ in 0..TRIES {
        match fs::openat2(dir, path, flags | OFlags::CLOEXEC, mode, resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return other,
        }
    }
    Err(Errno::AGAIN)
}

/// `.` for the root itself, the path without leading slashes otherwise.
fn relative(path: &[u8]) -> &[u8] {
    let start = path.iter().take_while(|byte| **byte == b'/').count();
    match path.get(start..) {
        Some(rest) if !rest.is_empty() => rest,
        _ => b".",
    }
}

/// A path's parent and last component.
fn split(path: &[u8]) -> Result<(&[u8], &[u8])> {
    let path = relative(path);
    let (dir, name) = match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (&b""[..], path),
    };
    if name.is_empty() || name == b"." || name == b".." {
        Err(Errno::INVAL)
    } else {
        Ok((dir, name))
    }
}

impl Root {
    /// Opens a directory as a root.
    pub fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self::new(fs::open(path, flags, Mode::empty())?))
    }

    /// Takes an open directory as a root.
    pub fn new(fd: OwnedFd) -> Self {
        Self { fd, last: None }
    }

    /// Opens what `path` means inside the root, through symbolic links that stay inside.
    pub fn resolve(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd> {
        let how = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        openat2(self.fd.as_fd(), relative(path), flags, Mode::empty(), how)
    }

    /// Opens exactly `path`: a symbolic link anywhere in it is an error.
    pub fn exact(&self, path: &[u8], flags: OFlags, mode: Mode) -> Result<OwnedFd> {
        let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        openat2(self.fd.as_fd(), relative(path), flags, mode, how)
    }

    /// The directory `dir`, kept open for the next call.
    pub fn directory(&mut self, dir: &[u8]) -> Result<BorrowedFd<'_>> {
        let known = matches!(&self.last, Some((path, _)) if path == dir);
        if !known {
            self.last = None;
            let flags = OFlags::PATH | OFlags::DIRECTORY;
            let fd = self.exact(dir, flags, Mode::empty())?;
            self.last = Some((dir.to_vec(), fd));
        }
        match &self.last {
            Some((_, fd)) => Ok(fd.as_fd()),
            None => Err(Errno::NOENT),
        }
    }

    /// The parent directory of `path` and its last component.
    fn at<'a>(&mut self, path: &'a [u8]) -> Result<(BorrowedFd<'_>, &'a [u8])> {
        let (dir, name) = split(path)?;
        Ok((self.directory(dir)?, name))
    }

    /// Makes a directory.
    pub fn mkdir(&mut self, path: &[u8], mode: Mode) -> Result<()> {
        let (dir, name) = self.at(path)?;
        fs::mkdirat(dir, name, mode)
    }

    /// Makes a new regular file, open for writing.
    pub fn create(&mut self, path: &[u8], mode: Mode) -> Result<OwnedFd> {
        let (dir, name) = self.at(path)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        fs::openat(dir, name, flags | OFlags::CLOEXEC, mode)
    }

    /// Makes a symbolic link.
    pub fn symlink(&mut self, target: &[u8], path: &[u8]) -> Result<()> {
        let (dir, name) = self.at(path)?;
        fs::symlinkat(target, dir, name)
    }

    /// Makes a hard link to exactly `old`.
    pub fn link(&mut self, old: &[u8], new: &[u8]) -> Result<()> {
        let (old_dir, old_name) = split(old)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let old_dir = self.exact(old_dir, flags, Mode::empty())?;
        let (dir, name) = self.at(new)?;
        fs::linkat(old_dir, old_name, dir, name, AtFlags::empty())
    }

    /// Makes a FIFO, a socket's place or a device node.
    pub fn mknod(&mut self, path: &[u8], kind: FileType, mode: Mode, device: u64) -> Result<()> {
        let (dir, name) = self.at(path)?;
        fs::mknodat(dir, name, kind, mode, device)
    }

    /// Removes a file.
    pub fn unlink(&mut self, path: &[u8]) -> Result<()> {
        let (dir, name) = self.at(path)?;
        fs::unlinkat(dir, name, AtFlags::empty())
    }

    /// Removes an empty directory.
    pub fn rmdir(&mut self, path: &[u8]) -> Result<()> {
        // The directory kept open may be this one or lie in it.
        self.last = None;
        let (dir, name) = self.at(path)?;
        fs::unlinkat(dir, name, AtFlags::REMOVEDIR)
    }

    /// Changes the owner of exactly `path`, which may be a symbolic link.
    pub fn chown(&mut self, path: &[u8], uid: u32, gid: u32) -> Result<()> {
        let (dir, name) = self.at(path)?;
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        fs::chownat(dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
    }

    /// Sets the modification (and access) time of exactly `path`.
    pub fn set_mtime(&mut self, path: &[u8], seconds: i64, nanos: u32) -> Result<()> {
        let (dir, name) = self.at(path)?;
        fs::utimensat(dir, name, &times(seconds, nanos), AtFlags::SYMLINK_NOFOLLOW)
    }
}

/// Both timestamps of a file at one moment.
fn times(seconds: i64, nanos: u32) -> Timestamps {
    let at = Timespec { tv_sec: seconds, tv_nsec: nanos.into() };
    Timestamps { last_access: at, last_modification: at }
}

/// Everything an inode has besides its content.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a> {
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Permission bits, with set-id and sticky.
    pub mode: u32,
    /// Modification time: seconds and nanoseconds.
    pub mtime: (i64, u32),
    /// Extended attributes.
    pub xattrs: &'a [(Vec<u8>, Vec<u8>)],
}

/// Gives an open file or directory its attributes, in the order that keeps them all: a change of
/// owner clears set-id bits and capabilities, and the time comes last.
pub fn apply(fd: BorrowedFd<'_>, attributes: &Attributes<'_>) -> Result<()> {
    let (uid, gid) = (Uid::from_raw(attributes.uid), Gid::from_raw(attributes.gid));
    fs::fchown(fd, Some(uid), Some(gid))?;
    for (name, value) in attributes.xattrs {
        fs::fsetxattr(fd, name.as_slice(), value, XattrFlags::empty())?;
    }
    fs::fchmod(fd, Mode::from_raw_mode(attributes.mode & 0o7777))?;
    fs::futimens(fd, &times(attributes.mtime.0, attributes.mtime.1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn tree() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("root")).unwrap();
        std::fs::write(dir.path().join("outside"), "secret").unwrap();
        let root = Root::open(&dir.path().join("root")).unwrap();
        (dir, root)
    }

    #[test]
    fn looking_stays_inside_the_root() {
        let (dir, root) = tree();
        symlink("../outside", dir.path().join("root/up")).unwrap();
        symlink("/outside", dir.path().join("root/abs")).unwrap();
        for path in [&b"up"[..], b"abs", b"../outside", b"/../../outside"] {
            assert_eq!(root.resolve(path, OFlags::RDONLY).err(), Some(Errno::NOENT));
        }
        std::fs::write(dir.path().join("root/outside"), "mine").unwrap();
        assert!(root.resolve(b"/abs", OFlags::RDONLY).is_ok());
    }

    #[test]
    fn making_follows_no_link_and_climbs_nowhere() {
        let (dir, mut root) = tree();
        symlink("..", dir.path().join("root/up")).unwrap();
        assert_eq!(root.create(b"up/x", Mode::RWXU).err(), Some(Errno::LOOP));
        assert_eq!(root.create(b"a/../../x", Mode::RWXU).err(), Some(Errno::NOENT));
        assert_eq!(root.mkdir(b"../x", Mode::RWXU).err(), Some(Errno::XDEV));
        assert_eq!(root.mkdir(b"..", Mode::RWXU).err(), Some(Errno::INVAL));
        root.mkdir(b"d", Mode::RWXU).unwrap();
        root.create(b"/d/x", Mode::RWXU).unwrap();
        root.link(b"d/x", b"d/y").unwrap();
        assert_eq!(root.create(b"d/x", Mode::RWXU).err(), Some(Errno::EXIST));
    }
}
