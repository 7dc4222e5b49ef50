//! The worker's hands: everything it writes, below one directory and through no link.

use crate::image::digest::{Algo, Digest, Hasher};
use crate::image::files::{Kind, Meta, Xattrs};
use crate::image::tree::Disk;
use rocket_sys::root::{Attributes, Root, apply};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags};
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;

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

/// A file being filled.
pub(super) struct Sink<'a> {
    file: &'a File,
    hasher: Hasher,
    size: u64,
    /// It ends in a hole.
    open_end: bool,
}

impl Sink<'_> {
    /// The next bytes.
    pub fn data(&mut self, piece: &[u8]) -> io::Result<()> {
        self.hasher.update(piece);
        self.size += piece.len() as u64;
        self.open_end &= piece.is_empty();
        self.file.write_all(piece)
    }

    /// So many zeros, which take no place.
    pub fn hole(&mut self, length: u64) -> io::Result<()> {
        static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
        let mut left = length;
        while left > 0 {
            let take = usize::try_from(left).unwrap_or(usize::MAX).min(ZEROS.len());
            self.hasher.update(ZEROS.get(..take).unwrap_or_default());
            left -= take as u64;
        }
        self.size = self.size.checked_add(length).ok_or(io::ErrorKind::FileTooLarge)?;
        self.open_end |= length > 0;
        self.file.seek(SeekFrom::Start(self.size))?;
        Ok(())
    }
}

/// The tree being written, and the lower trees.
pub(super) struct Writer {
    pub root: Root,
    pub lowers: Vec<Root>,
    pub bytes: u64,
}

impl Writer {
    /// Makes a file, filling it by calls of `next` until that says it is the end.
    pub fn file(
        &mut self,
        path: &[u8],
        meta: &Meta,
        mut next: impl FnMut(&mut Sink<'_>) -> io::Result<bool>,
    ) -> io::Result<(u64, Digest)> {
        // Made with its last mode where nothing later could clear bits of it.
        let mode = Mode::from_raw_mode(meta.mode & 0o777);
        let file = File::from(self.root.create(path, mode)?);
        let mut sink =
            Sink { file: &file, hasher: Hasher::new(Algo::Sha256), size: 0, open_end: false };
        while next(&mut sink)? {}
        let Sink { hasher, size, open_end, .. } = sink;
        if open_end {
            file.set_len(size)?;
        }
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
            if *kind == Kind::Fifo && meta.mode & 0o7000 != 0 {
                // Changing the owner has taken these bits away.
                let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOFOLLOW;
                let pipe = self.root.exact(path, flags, Mode::empty())?;
                rustix::fs::fchmod(&pipe, Mode::from_raw_mode(meta.mode & 0o7777))?;
            }
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

    fn link(&mut self, old: &[u8], new: &[u8]) -> io::Result<()> {
        Ok(self.root.link(old, new)?)
    }

    fn copy_up(&mut self, layer: usize, path: &[u8], kind: &Kind, meta: &Meta) -> io::Result<()> {
        if !matches!(kind, Kind::File { .. }) {
            return self.special(path, kind, meta);
        }
        let lower = self.lowers.get(layer).ok_or_else(|| io::Error::other("no such layer"))?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let source = File::from(lower.exact(path, flags, Mode::empty())?);
        let end = source.metadata()?.len();
        let mut buffer = vec![0; 128 << 10];
        let mut at = 0;
        self.file(path, meta, |sink| {
            // Holes stay holes. A file system that knows none says that all is data.
            let data = match rustix::fs::seek(&source, rustix::fs::SeekFrom::Data(at)) {
                Ok(data) => data,
                Err(rustix::io::Errno::NXIO) => end,
                Err(_) => at,
            };
            sink.hole(data.saturating_sub(at))?;
            let hole = rustix::fs::seek(&source, rustix::fs::SeekFrom::Hole(data)).unwrap_or(end);
            let most = usize::try_from(hole.saturating_sub(data)).unwrap_or(usize::MAX);
            let most = most.min(buffer.len());
            let count = source.read_at(buffer.get_mut(..most).unwrap_or_default(), data)?;
            sink.data(buffer.get(..count).unwrap_or_default())?;
            at = data + count as u64;
            Ok(count > 0)
        })?;
        Ok(())
    }
}

/// Takes an open directory as the root of a tree.
pub(super) fn root(fd: OwnedFd) -> Root {
    Root::new(fd)
}
