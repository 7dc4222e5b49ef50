//! The steps that need the host's own privileges: attributes the kernel does not take from a user
//! namespace. Each is checked again, and applied through no link.

use super::disk::{Fate, fate};
use crate::image::error::ImageError;
use crate::image::files::{self, FilesError, Kind, Record};
use crate::image::tree::lower::OPAQUE;
use rocket_sys::root::Root;
use rustix::fs::{FileType, Mode, OFlags, XattrFlags};
use std::fs::File;
use std::io::{self, BufReader};
use std::os::fd::AsFd;
use std::path::Path;

impl From<FilesError> for ImageError {
    fn from(error: FilesError) -> Self {
        Self::bad("the file list", error.to_string())
    }
}

/// Finishes what the worker left in `target`; gives the number of inodes.
pub fn finish(target: &Path) -> Result<u64, ImageError> {
    let root = Root::open(target).map_err(|e| ImageError::io("open", target, e))?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let list = root
        .exact(b"files", flags, Mode::empty())
        .map_err(|e| ImageError::io("open", target.join("files"), e))?;
    let tree = Root::open(&target.join("tree"))
        .map_err(|e| ImageError::io("open", target.join("tree"), e))?;
    files::read(BufReader::with_capacity(128 << 10, File::from(list)), |record: Record| {
        for (name, value) in &record.meta.xattrs {
            let wanted = match record.kind {
                Kind::Dir if name == OPAQUE => FileType::Directory,
                Kind::File { .. } if fate(name) == Fate::Parent => FileType::RegularFile,
                _ => continue,
            };
            set(&tree, &record.path, wanted, name, value).map_err(|e| {
                let path = files::printable(&record.path);
                ImageError::bad(path, format!("cannot set {}: {e}", files::printable(name)))
            })?;
        }
        Ok::<_, ImageError>(())
    })
}

fn set(root: &Root, path: &[u8], wanted: FileType, name: &[u8], value: &[u8]) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let fd = root.exact(path, flags, Mode::empty())?;
    let mode = rustix::fs::fstat(&fd)?.st_mode;
    if FileType::from_raw_mode(mode) != wanted {
        return Err(io::Error::other("it is not what its list says"));
    }
    Ok(rustix::fs::fsetxattr(fd.as_fd(), name, value, XattrFlags::empty())?)
}
