//! A directory of an image, as its stacked layers show it, copied to the disk.

use super::{Found, Place, look, resolve};
use crate::image::error::ImageError;
use crate::image::files::Xattrs;
use crate::image::store::Layer;
use crate::image::unpack::{Fate, fate};
use rocket_sys::root::{Attributes, Root, apply};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};

/// Directories inside directories that a fetch takes.
const MAX_DEPTH: usize = 500;

/// Copies what the image has at `path` into the empty directory `into`, with owners, modes, times,
/// extended attributes and links; the directory itself gets those of the image's. `false`: the image
/// has no directory there, and nothing was done.
pub fn copy_directory(layers: &[Layer], path: &str, into: &Path) -> Result<bool, ImageError> {
    let fail = |e: Errno| ImageError::bad(format!("{path} in the image"), e.to_string());
    let Some(Found::Dir(place)) = resolve(layers, path).map_err(fail)? else { return Ok(false) };
    let root = Root::open(into).map_err(|e| ImageError::io("open", into, e))?;
    let mut copy = Copy { root, linked: BTreeMap::new() };
    copy.directory(&place, b"", 0).map_err(|error| {
        let path = error.path.iter().map(|b| char::from(*b)).collect::<String>();
        ImageError::bad(format!("copying {path} of the image"), error.why)
    })?;
    Ok(true)
}

struct Failed {
    path: Vec<u8>,
    why: String,
}

fn at(path: &[u8]) -> impl Fn(Errno) -> Failed + '_ {
    move |errno| Failed { path: path.to_vec(), why: errno.to_string() }
}

struct Copy {
    root: Root,
    /// First name of each inode with several, by layer and number.
    linked: BTreeMap<(PathBuf, u64), Vec<u8>>,
}

impl Copy {
    fn directory(&mut self, place: &Place<'_>, to: &[u8], depth: usize) -> Result<(), Failed> {
        if depth > MAX_DEPTH {
            return Err(at(to)(Errno::NAMETOOLONG));
        }
        let mut names = BTreeSet::new();
        for layer in &place.layers {
            let dir = open(layer, &place.path, OFlags::DIRECTORY).map_err(at(to))?;
            for entry in Dir::read_from(&dir).map_err(at(to))? {
                names.insert(entry.map_err(at(to))?.file_name().to_bytes().to_vec());
            }
        }
        for name in names.iter().filter(|name| !matches!(name.as_slice(), b"." | b"..")) {
            let path =
                if to.is_empty() { name.clone() } else { [to, b"/", name.as_slice()].concat() };
            match look(place, name).map_err(at(&path))? {
                None => {}
                Some(Found::Dir(below)) => {
                    self.root.mkdir(&path, Mode::RWXU).map_err(at(&path))?;
                    self.directory(&below, &path, depth + 1)?;
                }
                Some(Found::Other { layer, path: from, stat }) => {
                    self.other(layer, &from, &stat, &path)?;
                }
            }
        }
        let Some(top) = place.layers.first() else { return Ok(()) };
        let from = open(top, &place.path, OFlags::DIRECTORY).map_err(at(to))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let out = self.root.exact(to, flags, Mode::empty()).map_err(at(to))?;
        attributes(&from, &out).map_err(at(to))
    }

    fn other(&mut self, layer: &Layer, from: &[u8], stat: &Stat, to: &[u8]) -> Result<(), Failed> {
        let fail = at(to);
        if stat.st_nlink > 1 {
            let inode = (layer.tree.clone(), stat.st_ino);
            if let Some(first) = self.linked.get(&inode).cloned() {
                return self.root.link(&first, to).map_err(fail);
            }
            self.linked.insert(inode, to.to_vec());
        }
        let mtime = (stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or(0));
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                let from = open(layer, from, OFlags::NONBLOCK).map_err(&fail)?;
                let out = self.root.create(to, Mode::RUSR | Mode::WUSR).map_err(&fail)?;
                let (mut source, mut sink) = (File::from(from), File::from(out));
                std::io::copy(&mut source, &mut sink)
                    .map_err(|e| Failed { path: to.to_vec(), why: e.to_string() })?;
                return attributes(&source.into(), &sink.into()).map_err(fail);
            }
            FileType::Symlink => {
                let root = Root::open(&layer.tree).map_err(&fail)?;
                let flags = OFlags::PATH | OFlags::NOFOLLOW;
                let link = root.exact(from, flags, Mode::empty()).map_err(&fail)?;
                let target = rustix::fs::readlinkat(&link, "", Vec::new()).map_err(&fail)?;
                self.root.symlink(target.as_bytes(), to).map_err(&fail)?;
                self.root.chown(to, stat.st_uid, stat.st_gid).map_err(&fail)?;
            }
            // A device node of an image opens nothing in a volume.
            kind => {
                let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
                self.root.mknod(to, kind, mode, stat.st_rdev).map_err(&fail)?;
                self.root.chown(to, stat.st_uid, stat.st_gid).map_err(&fail)?;
            }
        }
        self.root.set_mtime(to, mtime.0, mtime.1).map_err(fail)
    }
}

fn open(layer: &Layer, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let root = Root::open(&layer.tree)?;
    root.exact(path, OFlags::RDONLY | OFlags::NOFOLLOW | flags, Mode::empty())
}

/// Gives `to` all that `from` has besides its content.
fn attributes(from: &OwnedFd, to: &OwnedFd) -> Result<(), Errno> {
    let stat = rustix::fs::fstat(from)?;
    apply(
        to.as_fd(),
        &Attributes {
            uid: stat.st_uid,
            gid: stat.st_gid,
            mode: stat.st_mode & 0o7777,
            mtime: (stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or(0)),
            xattrs: &xattrs(from)?,
        },
    )
}

fn xattrs(fd: &OwnedFd) -> Result<Xattrs, Errno> {
    let mut names = vec![0; 64 << 10];
    let length = match rustix::fs::flistxattr(fd, &mut names[..]) {
        Ok(length) => length,
        Err(Errno::OPNOTSUPP) => 0,
        Err(error) => return Err(error),
    };
    let mut found = Xattrs::new();
    for name in names[..length].split(|b| *b == 0).filter(|n| !n.is_empty()) {
        if fate(name) != Fate::Drop {
            let mut value = vec![0; 64 << 10];
            let length = rustix::fs::fgetxattr(fd, name, &mut value[..])?;
            value.truncate(length);
            found.push((name.to_vec(), value));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    #[test]
    fn a_directory_is_copied_as_the_stacked_layers_show_it() {
        let dir = tempfile::tempdir().unwrap();
        let (lower, upper, out) =
            (dir.path().join("lower"), dir.path().join("upper"), dir.path().join("out"));
        for path in ["lower/data/sub", "lower/data/gone", "upper/data", "out"] {
            fs::create_dir_all(dir.path().join(path)).unwrap();
        }
        fs::write(lower.join("data/sub/below"), "below").unwrap();
        fs::write(lower.join("data/both"), "lower").unwrap();
        fs::write(upper.join("data/both"), "upper").unwrap();
        fs::hard_link(upper.join("data/both"), upper.join("data/linked")).unwrap();
        fs::write(lower.join("data/.wh"), "").unwrap();
        symlink("../../outside", upper.join("data/link")).unwrap();
        fs::set_permissions(upper.join("data"), fs::Permissions::from_mode(0o1770)).unwrap();
        fs::set_permissions(upper.join("data/both"), fs::Permissions::from_mode(0o640)).unwrap();
        let layer = |tree: &Path| Layer {
            digest: format!("sha256:{}", "0".repeat(64)).parse().unwrap(),
            tree: tree.to_owned(),
        };
        let layers = [layer(&upper), layer(&lower)];
        assert!(copy_directory(&layers, "/data", &out).unwrap());
        assert!(!copy_directory(&layers, "/none", &out).unwrap());
        assert!(!copy_directory(&layers, "/data/both", &out).unwrap());
        assert_eq!(fs::read_to_string(out.join("both")).unwrap(), "upper");
        assert_eq!(fs::read_to_string(out.join("sub/below")).unwrap(), "below");
        let both = fs::metadata(out.join("both")).unwrap();
        assert_eq!((both.mode() & 0o7777, both.nlink()), (0o640, 2));
        assert_eq!(both.ino(), fs::metadata(out.join("linked")).unwrap().ino());
        assert_eq!(both.mtime_nsec(), fs::metadata(upper.join("data/both")).unwrap().mtime_nsec());
        assert_eq!(fs::read_link(out.join("link")).unwrap(), Path::new("../../outside"));
        assert_eq!(fs::metadata(&out).unwrap().mode() & 0o7777, 0o1770);
    }
}
