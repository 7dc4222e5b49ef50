//! Reading an image through its stacked layers, without mounting it.
//!
//! Each component of a path is looked up in every layer from the top, as overlayfs does: a whiteout
//! or a file ends the search, an opaque directory ends it below. Links are followed by starting again
//! inside the image.

mod copy;

pub use copy::copy_directory;

use crate::image::error::ImageError;
use crate::image::store::Layer;
use rocket_sys::root::Root;
use rustix::fd::OwnedFd;
use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::fs::File;
use std::io::Read;

/// What a path in an image is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// File type and permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Size in bytes.
    pub size: u64,
}

impl Metadata {
    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        FileType::from_raw_mode(self.mode) == FileType::Directory
    }

    /// Whether it is a regular file.
    pub fn is_file(&self) -> bool {
        FileType::from_raw_mode(self.mode) == FileType::RegularFile
    }
}

/// As many links as the kernel follows.
const MAX_LINKS: usize = 40;

/// Reads a file of an image, at most `limit` bytes long; `None` when it does not exist.
pub fn read_file(layers: &[Layer], path: &str, limit: u64) -> Result<Option<Vec<u8>>, ImageError> {
    let fail = |problem: String| ImageError::bad(format!("{path} in the image"), problem);
    let system = |e: Errno| fail(e.to_string());
    let file = match resolve(layers, path).map_err(system)? {
        Some(Found::Other { layer, path, stat }) if is(&stat, FileType::RegularFile) => {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
            let root = Root::open(&layer.tree).map_err(system)?;
            root.exact(&path, flags, Mode::empty()).map_err(system)?
        }
        Some(_) => return Err(fail("it is not a regular file".to_owned())),
        None => return Ok(None),
    };
    let mut bytes = Vec::new();
    let read = File::from(file).take(limit.saturating_add(1)).read_to_end(&mut bytes);
    read.map_err(|e| fail(e.to_string()))?;
    if bytes.len() as u64 > limit {
        return Err(fail(format!("it is larger than {limit} bytes")));
    }
    Ok(Some(bytes))
}

/// What a path of an image is, symbolic links followed; `None` when it does not exist.
pub fn metadata(layers: &[Layer], path: &str) -> Result<Option<Metadata>, ImageError> {
    let fail = |e: Errno| ImageError::bad(format!("{path} in the image"), e.to_string());
    let stat = match resolve(layers, path).map_err(fail)? {
        None => return Ok(None),
        Some(Found::Other { stat, .. }) => stat,
        Some(Found::Dir(place)) => {
            let Some(top) = place.layers.first() else { return Ok(None) };
            let root = Root::open(&top.tree).map_err(fail)?;
            let dir = root.exact(&place.path, OFlags::PATH, Mode::empty()).map_err(fail)?;
            rustix::fs::fstat(&dir).map_err(fail)?
        }
    };
    Ok(Some(Metadata {
        mode: stat.st_mode,
        uid: stat.st_uid,
        gid: stat.st_gid,
        size: u64::try_from(stat.st_size).unwrap_or(0),
    }))
}

/// A merged directory: the layers that have it, topmost first, and its path, which holds no link.
/// No descriptor is kept: an image may have more layers than a process may have open files.
struct Place<'a> {
    layers: Vec<&'a Layer>,
    path: Vec<u8>,
}

enum Found<'a> {
    Dir(Place<'a>),
    Other { layer: &'a Layer, path: Vec<u8>, stat: Stat },
}

fn is(stat: &Stat, kind: FileType) -> bool {
    FileType::from_raw_mode(stat.st_mode) == kind
}

fn resolve<'a>(layers: &'a [Layer], path: &str) -> Result<Option<Found<'a>>, Errno> {
    let mut stack = vec![Place { layers: layers.iter().collect(), path: Vec::new() }];
    let split = |path: &[u8]| path.split(|b| *b == b'/').map(<[u8]>::to_vec).collect::<Vec<_>>();
    let mut todo: VecDeque<Vec<u8>> = split(path.as_bytes()).into();
    let mut links = 0;
    while let Some(name) = todo.pop_front() {
        match name.as_slice() {
            b"" | b"." => continue,
            b".." => {
                if stack.len() > 1 {
                    stack.pop();
                }
                continue;
            }
            _ => {}
        }
        let Some(here) = stack.last() else { return Ok(None) };
        match look(here, &name)? {
            None => return Ok(None),
            Some(Found::Dir(place)) => stack.push(place),
            Some(Found::Other { layer, path, stat }) if is(&stat, FileType::Symlink) => {
                links += 1;
                if links > MAX_LINKS {
                    return Err(Errno::LOOP);
                }
                let flags = OFlags::PATH | OFlags::NOFOLLOW;
                let link = Root::open(&layer.tree)?.exact(&path, flags, Mode::empty())?;
                let target = rustix::fs::readlinkat(&link, "", Vec::new())?;
                if target.as_bytes().starts_with(b"/") {
                    stack.truncate(1);
                }
                for part in split(target.as_bytes()).into_iter().rev() {
                    todo.push_front(part);
                }
            }
            Some(other) => {
                let rest = todo.iter().any(|part| !part.is_empty() && part != b".");
                return if rest { Ok(None) } else { Ok(Some(other)) };
            }
        }
    }
    Ok(stack.pop().map(Found::Dir))
}

/// One name in a merged directory.
fn look<'a>(here: &Place<'a>, name: &[u8]) -> Result<Option<Found<'a>>, Errno> {
    let path = if here.path.is_empty() {
        name.to_vec()
    } else {
        [here.path.as_slice(), b"/", name].concat()
    };
    let mut merged: Vec<&Layer> = Vec::new();
    for layer in &here.layers {
        let root = Root::open(&layer.tree)?;
        let stat = match root.exact(&path, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty()) {
            Ok(fd) => rustix::fs::fstat(&fd)?,
            Err(Errno::NOENT) => continue,
            Err(error) => return Err(error),
        };
        if is(&stat, FileType::Directory) {
            merged.push(layer);
            let dir = root.exact(&path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
            if is_opaque(&dir)? {
                break;
            }
        } else if !merged.is_empty() || (is(&stat, FileType::CharacterDevice) && stat.st_rdev == 0)
        {
            break;
        } else {
            return Ok(Some(Found::Other { layer, path, stat }));
        }
    }
    Ok((!merged.is_empty()).then_some(Found::Dir(Place { layers: merged, path })))
}

fn is_opaque(dir: &OwnedFd) -> Result<bool, Errno> {
    let mut value = [0; 4];
    match rustix::fs::fgetxattr(dir, "trusted.overlay.opaque", &mut value[..]) {
        Ok(length) => Ok(length == 1 && value[0] == b'y'),
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::RANGE) => Ok(false),
        Err(error) => Err(error),
    }
}
