//! One line of a layer's list against what is there.

use super::Problem;
use crate::image::digest::{Algo, Digest, Hasher};
use crate::image::files::{self, FilesError, Kind, Meta, Record, Xattrs, printable};
use crate::image::tree::lower::OPAQUE;
use crate::image::unpack::{Fate, fate};
use rocket_sys::root::Root;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

/// Directories inside directories that a fetch takes.
const MAX_DEPTH: usize = 512;

/// Told of a difference: path, what is wrong, in words.
pub(super) type Say<'a> = &'a mut dyn FnMut(&[u8], Problem, String);
/// Hashes a file's bytes.
pub(super) type HashFile<'a> = &'a mut dyn FnMut(&Digest, &mut File) -> io::Result<Digest>;

/// A reader that hashes what goes through it.
struct Hashing<R>(R, Hasher);

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.0.read(buffer)?;
        self.1.update(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}

/// The lines of a layer's list, and its digest; or why it cannot be read.
pub(super) fn read_list(dir: &Path) -> Result<(Vec<Record>, Digest), String> {
    let file = File::open(dir.join("files")).map_err(|e| e.to_string())?;
    let mut input = BufReader::with_capacity(128 << 10, Hashing(file, Hasher::new(Algo::Sha256)));
    let mut records = Vec::new();
    files::read(&mut input, |record| {
        records.push(record);
        Ok::<_, FilesError>(())
    })
    .map_err(|e| e.to_string())?;
    // What follows the last line belongs to the digest too.
    io::copy(&mut input, &mut io::sink()).map_err(|e| e.to_string())?;
    Ok((records, input.into_inner().1.finish()))
}

/// Digest of a layer's list.
pub(crate) fn list_digest(path: &Path) -> io::Result<Digest> {
    let mut input = Hashing(File::open(path)?, Hasher::new(Algo::Sha256));
    let mut buffer = vec![0; 128 << 10];
    while input.read(&mut buffer)? > 0 {}
    Ok(input.1.finish())
}

fn kind_of(stat: &Stat) -> &'static str {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => "a file",
        FileType::Directory => "a directory",
        FileType::Symlink => "a symbolic link",
        FileType::Fifo => "a FIFO",
        FileType::CharacterDevice if stat.st_rdev == 0 => "a whiteout",
        FileType::CharacterDevice => "a character device",
        FileType::BlockDevice => "a block device",
        FileType::Socket => "a socket",
        FileType::Unknown => "something unknown",
    }
}

fn wanted_kind(kind: &Kind) -> &'static str {
    match kind {
        Kind::Dir => "a directory",
        Kind::File { .. } | Kind::Link(_) => "a file",
        Kind::Symlink(_) => "a symbolic link",
        Kind::Fifo => "a FIFO",
        Kind::Whiteout => "a whiteout",
    }
}

/// What a path is, without touching it.
fn stat(root: &Root, path: &[u8]) -> rustix::io::Result<(OwnedFd, Stat)> {
    let fd = root.exact(path, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty())?;
    let stat = rustix::fs::fstat(&fd)?;
    Ok((fd, stat))
}

/// Compares one line with what is there; of a directory also which names it has.
pub(super) fn look(
    root: &Root,
    record: &Record,
    names: &HashSet<Vec<u8>>,
    say: Say<'_>,
    hash: HashFile<'_>,
) -> io::Result<()> {
    let path = record.path.as_slice();
    let (fd, found) = match stat(root, path) {
        Ok(found) => found,
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
            say(path, Problem::Missing, String::new());
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    if let Some(detail) = differs(root, record, &fd, &found, 0, hash)? {
        say(path, Problem::Changed, detail);
    }
    if FileType::from_raw_mode(found.st_mode) == FileType::Directory {
        entries(root, path, names, say, 0)?;
    }
    Ok(())
}

/// What about an inode is not as listed; its owners on disk are `base` higher than the image's.
pub(super) fn differs(
    root: &Root,
    record: &Record,
    fd: &OwnedFd,
    found: &Stat,
    base: u32,
    hash: HashFile<'_>,
) -> io::Result<Option<String>> {
    if kind_of(found) == "a file" && matches!(record.kind, Kind::Link(_)) {
        let Kind::Link(target) = &record.kind else { return Ok(None) };
        let same = match stat(root, target) {
            Ok((_, other)) => (other.st_dev, other.st_ino) == (found.st_dev, found.st_ino),
            Err(_) => false,
        };
        let detail = || format!("it is no longer a link to {}", printable(target));
        return Ok((!same).then(detail));
    }
    let (is, wanted) = (kind_of(found), wanted_kind(&record.kind));
    if is != wanted {
        return Ok(Some(format!("it is {is}, not {wanted}")));
    }
    let mut what = Vec::new();
    let Meta { mode, uid, gid, mtime, xattrs } = &record.meta;
    let open = |flags: OFlags| -> io::Result<OwnedFd> {
        let flags = flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let fd = root.exact(&record.path, flags, Mode::empty())?;
        let again = rustix::fs::fstat(&fd)?;
        if (again.st_dev, again.st_ino) == (found.st_dev, found.st_ino) {
            Ok(fd)
        } else {
            Err(io::Error::other("it was replaced meanwhile"))
        }
    };
    let open = match &record.kind {
        Kind::Whiteout => return Ok(None),
        Kind::File { size, digest } => {
            let mut file = File::from(open(OFlags::empty())?);
            let has = u64::try_from(found.st_size).unwrap_or(0);
            if has != *size {
                what.push(format!("content ({has} bytes, not {size})"));
            } else if hash(digest, &mut file)? != *digest {
                what.push("content".to_owned());
            }
            Some(OwnedFd::from(file))
        }
        Kind::Dir => Some(open(OFlags::DIRECTORY)?),
        Kind::Symlink(target) => {
            let is = rustix::fs::readlinkat(fd.as_fd(), "", Vec::new())?;
            if is.as_bytes() != target {
                let (is, target) = (printable(is.as_bytes()), printable(target));
                what.push(format!("link text ({is}, not {target})"));
            }
            None
        }
        Kind::Fifo | Kind::Link(_) => None,
    };
    let has = found.st_mode & 0o7777;
    if has != *mode && !matches!(record.kind, Kind::Symlink(_)) {
        what.push(format!("mode ({has:04o}, not {mode:04o})"));
    }
    let owner = (found.st_uid.wrapping_sub(base), found.st_gid.wrapping_sub(base));
    if owner != (*uid, *gid) {
        what.push(format!("owner ({}:{}, not {uid}:{gid})", owner.0, owner.1));
    }
    let time = (found.st_mtime, u32::try_from(found.st_mtime_nsec).unwrap_or(0));
    // A directory's time changes with the names in it, which are compared themselves.
    if time != *mtime && !matches!(record.kind, Kind::Dir) {
        what.push("time".to_owned());
    }
    if let Some(fd) = open {
        what.extend(attributes(&fd, xattrs)?);
    }
    Ok((!what.is_empty()).then(|| what.join(", ")))
}

/// The extended attributes that are not as listed.
fn attributes(fd: &OwnedFd, wanted: &Xattrs) -> io::Result<Vec<String>> {
    let mut names = vec![0; 64 << 10];
    let length = match rustix::fs::flistxattr(fd, &mut names[..]) {
        Ok(length) => length,
        Err(Errno::OPNOTSUPP) => 0,
        Err(error) => return Err(error.into()),
    };
    let names = names.get(..length).unwrap_or_default();
    let mut has = Xattrs::new();
    for name in names.split(|b| *b == 0).filter(|name| !name.is_empty()) {
        if fate(name) != Fate::Drop || name == OPAQUE {
            let mut value = vec![0; 64 << 10];
            let length = rustix::fs::fgetxattr(fd, name, &mut value[..])?;
            value.truncate(length);
            has.push((name.to_vec(), value));
        }
    }
    // The mode's group bits are written into an access list, and compared with the mode.
    let counts = |name: &[u8]| name != b"system.posix_acl_access";
    let value = |of: &Xattrs, name: &[u8]| {
        of.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    };
    let mut what = Vec::new();
    for (name, is) in &has {
        match value(wanted, name) {
            None => what.push(format!("attribute {} (added)", printable(name))),
            Some(wanted) if wanted != *is && counts(name) => {
                what.push(format!("attribute {}", printable(name)));
            }
            Some(_) => {}
        }
    }
    let gone = wanted.iter().filter(|(name, _)| value(&has, name).is_none());
    what.extend(gone.map(|(name, _)| format!("attribute {} (missing)", printable(name))));
    Ok(what)
}

/// Names in a directory that no line has, and everything below them.
fn entries(
    root: &Root,
    path: &[u8],
    names: &HashSet<Vec<u8>>,
    say: Say<'_>,
    depth: usize,
) -> io::Result<()> {
    if depth > MAX_DEPTH {
        return Ok(());
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let dir = root.exact(path, flags, Mode::empty())?;
    for entry in Dir::read_from(&dir)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if matches!(name, b"." | b"..") {
            continue;
        }
        let base = path.strip_suffix(b"/").unwrap_or(path);
        let full = [base, b"/", name].concat();
        if names.contains(&full) {
            continue;
        }
        let (_, found) = stat(root, &full)?;
        say(&full, Problem::Added, kind_of(&found).to_owned());
        if FileType::from_raw_mode(found.st_mode) == FileType::Directory {
            entries(root, &full, names, say, depth + 1)?;
        }
    }
    Ok(())
}
