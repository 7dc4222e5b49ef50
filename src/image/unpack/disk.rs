//! The worker's hands: everything it writes, below one directory and through no link.

use crate::image::digest::{Algo, Digest, Hasher};
use crate::image::files::{Kind, Meta, Xattrs};
use crate::image::tree::Disk;
use rocket_sys::root::{Attributes, Root, apply};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags};
use std::fs::File;
use std::io::{self, Read, Write};

/// What becomes of an extended attribute that an archive names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The worker sets it.
    Worker,
    /// The parent sets it, with privileges the worker does not have.
    Parent,
    /// Not an image's business.
    Drop,
}

/// Decides by name. Overlayfs's own names would change what the stack shows, and the labels of
/// security modules belong to the host.
pub(crate) fn fate(name: &[u8]) -> Fate {
    if name.starts_with(b"user.overlay.") {
        Fate::Drop
    } else if name.starts_with(b"user.")
        || name == b"system.posix_acl_access"
        || name == b"system.posix_acl_default"
    {
        Fate::Worker
    } else if name == b"security.capability" {
        Fate::Parent
    } else {
        Fate::Drop
    }
}

fn worker_xattrs(xattrs: &Xattrs) -> Xattrs {
    xattrs.iter().filter(|(name, _)| fate(name) == Fate::Worker).cloned().collect()
}

/// The tree being written, and the lower trees.
pub(super) struct Writer {
    pub root: Root,
    pub lowers: Vec<Root>,
    pub bytes: u64,
}

impl Writer {
    /// Makes a file, filling it from `next` until that gives an empty piece.
    pub fn file(
        &mut self,
        path: &[u8],
        meta: &Meta,
        mut next: impl FnMut(&mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<bool>,
    ) -> io::Result<(u64, Digest)> {
        // Made with its last mode where nothing later could clear bits of it.
        let mode = Mode::from_raw_mode(meta.mode & 0o777);
        let mut file = File::from(self.root.create(path, mode)?);
        let mut hasher = Hasher::new(Algo::Sha256);
        let mut size = 0;
        while next(&mut |piece| {
            hasher.update(piece);
            size += piece.len() as u64;
            file.write_all(piece)
        })? {}
        self.bytes += size;
        finish_file(&file, meta)?;
        Ok((size, hasher.finish()))
    }

    /// Makes what is neither file nor directory, with its attributes.
    pub fn special(&mut self, path: &[u8], kind: &Kind, meta: &Meta) -> io::Result<()> {
        match kind {
            Kind::Symlink(target) => self.root.symlink(target, path)?,
            Kind::Fifo => {
                let mode = Mode::from_raw_mode(meta.mode & 0o7777);
                self.root.mknod(path, FileType::Fifo, mode, 0)?;
            }
            _ => return Err(io::Error::other("not a special file")),
        }
        if (meta.uid, meta.gid) != (0, 0) {
            self.root.chown(path, meta.uid, meta.gid)?;
        }
        Ok(self.root.set_mtime(path, meta.mtime.0, meta.mtime.1)?)
    }

    /// Makes overlayfs's sign for a hidden name.
    pub fn whiteout(&mut self, path: &[u8]) -> io::Result<()> {
        Ok(self.root.mknod(path, FileType::CharacterDevice, Mode::empty(), 0)?)
    }

    /// Gives a directory its attributes, after everything in it was made.
    pub fn directory(&mut self, path: &[u8], meta: &Meta) -> io::Result<()> {
        let fd = self.root.exact(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
        apply_all(&fd, meta)
    }
}

fn finish_file(file: &File, meta: &Meta) -> io::Result<()> {
    let plain = (meta.uid, meta.gid) == (0, 0) && meta.mode & 0o7000 == 0 && meta.xattrs.is_empty();
    if plain {
        let at = rustix::fs::Timespec { tv_sec: meta.mtime.0, tv_nsec: meta.mtime.1.into() };
        let times = rustix::fs::Timestamps { last_access: at, last_modification: at };
        return Ok(rustix::fs::futimens(file, &times)?);
    }
    apply_all(file, meta)
}

fn apply_all(fd: &impl AsFd, meta: &Meta) -> io::Result<()> {
    let xattrs = worker_xattrs(&meta.xattrs);
    let attributes = Attributes {
        uid: meta.uid,
        gid: meta.gid,
        mode: meta.mode,
        mtime: meta.mtime,
        xattrs: &xattrs,
    };
    Ok(apply(fd.as_fd(), &attributes)?)
}

impl Disk for Writer {
    fn mkdir(&mut self, path: &[u8]) -> io::Result<()> {
        Ok(self.root.mkdir(path, Mode::RWXU)?)
    }

    fn remove(&mut self, path: &[u8], dir: bool) -> io::Result<()> {
        let removed = if dir { self.root.rmdir(path) } else { self.root.unlink(path) };
        Ok(removed?)
    }

    fn copy_up(&mut self, layer: usize, path: &[u8], kind: &Kind, meta: &Meta) -> io::Result<()> {
        if !matches!(kind, Kind::File { .. }) {
            return self.special(path, kind, meta);
        }
        let lower = self.lowers.get(layer).ok_or_else(|| io::Error::other("no such layer"))?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let mut source = File::from(lower.exact(path, flags, Mode::empty())?);
        let mut buffer = vec![0; 128 << 10];
        self.file(path, meta, |sink| {
            let count = source.read(&mut buffer)?;
            sink(buffer.get(..count).unwrap_or_default())?;
            Ok(count > 0)
        })?;
        Ok(())
    }
}

/// Takes an open directory as the root of a tree.
pub(super) fn root(fd: OwnedFd) -> Root {
    Root::new(fd)
}
