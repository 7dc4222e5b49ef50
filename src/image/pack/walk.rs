//! Walking the tree, by descriptors and without following links.

use super::header::Entry;
use super::sink::Sink;
use super::{Form, clamped, in_tree, padding};
use crate::image::error::ImageError;
use crate::image::files::Xattrs;
use crate::image::unpack::{Fate, fate};
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Directories inside directories that a fetch takes too.
const MAX_DEPTH: usize = 500;

struct Walk<'a> {
    sink: &'a mut Sink,
    clamp: Option<i64>,
    /// What it becomes; an image has no device nodes.
    form: Form,
    device: u64,
    /// First name of each inode with several.
    linked: BTreeMap<u64, Vec<u8>>,
    buffer: Vec<u8>,
    notes: Vec<String>,
}

fn fail(path: &[u8], problem: impl std::fmt::Display) -> ImageError {
    ImageError::bad(in_tree(path), problem.to_string())
}

/// Writes `tree`.
pub(super) fn walk(
    sink: &mut Sink,
    tree: &Path,
    form: Form,
    clamp: Option<i64>,
) -> Result<Vec<String>, ImageError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(tree, flags, Mode::empty())
        .map_err(|e| ImageError::io("open", tree, e))?;
    let stat = rustix::fs::fstat(&root).map_err(|e| ImageError::io("stat", tree, e))?;
    let mut walk = Walk {
        sink,
        clamp,
        form,
        device: stat.st_dev,
        linked: BTreeMap::new(),
        buffer: vec![0; 256 << 10],
        notes: Vec::new(),
    };
    walk.dir(&root, form.top(), &stat, 0)?;
    Ok(walk.notes)
}

impl Walk<'_> {
    fn dir(
        &mut self,
        fd: &OwnedFd,
        path: &[u8],
        stat: &Stat,
        depth: usize,
    ) -> Result<(), ImageError> {
        if depth > MAX_DEPTH {
            return Err(fail(path, "the tree is nested too deeply"));
        }
        let shown = [path, b"/"].concat();
        self.entry(&shown, b'5', stat, &[], &xattrs(fd, path)?, 0)?;
        if stat.st_dev != self.device {
            self.notes.push(format!("{}: another file system; packed empty", in_tree(path)));
            return Ok(());
        }
        let mut names = Vec::new();
        for entry in Dir::read_from(fd).map_err(|e| fail(path, e))? {
            let name = entry.map_err(|e| fail(path, e))?.file_name().to_bytes().to_vec();
            if name != b"." && name != b".." {
                names.push(name);
            }
        }
        names.sort();
        for name in names {
            self.inode(fd, &name, &[path, b"/", &name].concat(), depth)?;
        }
        Ok(())
    }

    fn inode(
        &mut self,
        dir: &OwnedFd,
        name: &[u8],
        path: &[u8],
        depth: usize,
    ) -> Result<(), ImageError> {
        let stat =
            rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).map_err(|e| fail(path, e))?;
        let open = |flags: OFlags| {
            let flags =
                flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
            rustix::fs::openat(dir, name, flags, Mode::empty()).map_err(|e| fail(path, e))
        };
        if self.form == Form::Oci && name.starts_with(b".wh.") {
            return Err(fail(path, "in an OCI image this name would hide a file; pack an ACI"));
        }
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Directory {
            return self.dir(&open(OFlags::DIRECTORY)?, path, &stat, depth + 1);
        }
        if kind == FileType::Socket {
            self.notes.push(format!("{}: a socket; left out", in_tree(path)));
            return Ok(());
        }
        if matches!(kind, FileType::CharacterDevice | FileType::BlockDevice) {
            if path.starts_with(b"rootfs/dev/")
                || (self.form == Form::Oci && path.starts_with(b"./dev/"))
            {
                return Ok(());
            }
            if self.form == Form::Plain {
                self.notes.push(format!("{}: a device node; left out", in_tree(path)));
                return Ok(());
            }
            return Err(fail(path, "device nodes outside /dev cannot be part of an image"));
        }
        if stat.st_nlink > 1 {
            if let Some(first) = self.linked.get(&stat.st_ino).cloned() {
                return self.entry(path, b'1', &stat, &first, &[], 0);
            }
            self.linked.insert(stat.st_ino, path.to_vec());
        }
        match kind {
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(dir, name, Vec::new());
                let target = target.map_err(|e| fail(path, e))?;
                self.entry(path, b'2', &stat, target.as_bytes(), &[], 0)
            }
            FileType::Fifo => self.entry(path, b'6', &stat, &[], &[], 0),
            _ => self.file(open(OFlags::empty())?, path),
        }
    }

    fn file(&mut self, fd: OwnedFd, path: &[u8]) -> Result<(), ImageError> {
        let stat = rustix::fs::fstat(&fd).map_err(|e| fail(path, e))?;
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        self.entry(path, b'0', &stat, &[], &xattrs(&fd, path)?, size)?;
        let mut file = File::from(fd);
        let mut left = size;
        while left > 0 {
            let want = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len());
            let count = file.read(&mut self.buffer[..want]).map_err(|e| fail(path, e))?;
            if count == 0 {
                return Err(fail(path, "the file shrank while it was packed"));
            }
            self.sink.write(&self.buffer[..count])?;
            left -= count as u64;
        }
        self.sink.write(padding(size))
    }

    fn entry(
        &mut self,
        path: &[u8],
        kind: u8,
        stat: &Stat,
        link: &[u8],
        xattrs: &[(Vec<u8>, Vec<u8>)],
        size: u64,
    ) -> Result<(), ImageError> {
        let nanos = u32::try_from(stat.st_mtime_nsec).unwrap_or(0);
        let mtime = clamped((stat.st_mtime, nanos), self.clamp);
        let (mode, uid, gid) = (stat.st_mode & 0o7777, stat.st_uid, stat.st_gid);
        let entry = Entry { path, kind, mode, uid, gid, mtime, size, link, xattrs };
        self.sink.write(&entry.blocks())
    }
}

/// The attributes an image may have, sorted.
fn xattrs(fd: &OwnedFd, path: &[u8]) -> Result<Xattrs, ImageError> {
    let mut names = vec![0; 64 << 10];
    let length = match rustix::fs::flistxattr(fd, &mut names[..]) {
        Ok(length) => length,
        Err(rustix::io::Errno::OPNOTSUPP) => 0,
        Err(error) => return Err(fail(path, error)),
    };
    let mut found = Xattrs::new();
    for name in names[..length].split(|b| *b == 0).filter(|n| !n.is_empty()) {
        if fate(name) != Fate::Drop {
            let mut value = vec![0; 64 << 10];
            let length =
                rustix::fs::fgetxattr(fd, name, &mut value[..]).map_err(|e| fail(path, e))?;
            value.truncate(length);
            found.push((name.to_vec(), value));
        }
    }
    found.sort();
    Ok(found)
}
