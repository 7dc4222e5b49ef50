//! Where something is mounted: a place inside an app's root, gone to step by step.
//!
//! No step is left to a string: each is opened beneath the root with no link followed, and links are
//! gone through here, inside the root. All of it happens before the first app runs, so this pod's own
//! apps cannot exchange a step meanwhile. Another pod can, in a volume that both have: what it makes
//! a link of is refused as one, or was gone through as one here and leads to a place in this root.

use std::collections::{HashSet, VecDeque};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rocket_sys::root::Root;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, StatxAttributes, StatxFlags};
use rustix::io::Errno;

use crate::failure::{Context, Failure, Result};

/// As many links as the kernel follows.
const MAX_LINKS: usize = 40;
/// File systems that are the kernel's: proc, sysfs, cgroup2 (statfs(2)).
const KERNEL: [u64; 3] = [0x9fa0, 0x6265_6572, 0x6367_7270];

/// The mounts of the app that is being set up in which missing places may be made: its root and what
/// is the pod's own. What the host lends stays as it is.
#[derive(Debug, Default)]
pub struct Own(HashSet<u64>);

impl Own {
    /// Begins anew, with an app's root.
    pub fn root(&mut self, root: BorrowedFd<'_>) -> Result<()> {
        self.0.clear();
        self.add(root)
    }

    /// Adds a mount that is the pod's own.
    pub fn add(&mut self, mount: BorrowedFd<'_>) -> Result<()> {
        self.0.insert(look(mount)?.mount);
        Ok(())
    }
}

struct Seen {
    mount: u64,
    is_mount: bool,
    kind: FileType,
}

fn look(fd: BorrowedFd<'_>) -> Result<Seen> {
    let wanted = StatxFlags::MNT_ID | StatxFlags::TYPE;
    let stat = rustix::fs::statx(fd, c"", AtFlags::EMPTY_PATH, wanted)
        .context(|| "stat a mount".to_owned())?;
    Ok(Seen {
        mount: stat.stx_mnt_id,
        is_mount: stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT),
        kind: FileType::from_raw_mode(stat.stx_mode.into()),
    })
}

/// The place for a mount at `path`; what is missing of it is made, 0755, where that may be.
pub fn place(root: &Root, path: &str, directory: bool, own: &Own) -> Result<OwnedFd> {
    let fail = |why: &str| Failure::rocket(format!("cannot mount there: {why}"));
    let mut walk = Walk { root, here: Vec::new(), own };
    let mut todo: VecDeque<Vec<u8>> = parts(path.as_bytes()).collect();
    let mut links = 0;
    let mut found = None;
    while let Some(part) = todo.pop_front() {
        if part == b".." {
            walk.here.pop();
            found = None;
            continue;
        }
        let Some(fd) = walk.step(&part)? else {
            walk.make(&part, directory || !todo.is_empty())?;
            walk.here.push(part);
            continue;
        };
        match look(fd.as_fd())?.kind {
            FileType::Symlink => {
                links += 1;
                if links > MAX_LINKS {
                    return Err(fail("too many symbolic links"));
                }
                let target = rustix::fs::readlinkat(&fd, c"", Vec::new())
                    .context(|| "read a symbolic link".to_owned())?;
                if target.as_bytes().starts_with(b"/") {
                    walk.here.clear();
                }
                for part in parts(target.as_bytes()).collect::<Vec<_>>().into_iter().rev() {
                    todo.push_front(part);
                }
            }
            FileType::Directory => walk.here.push(part),
            _ if !todo.is_empty() => {
                return Err(fail(&format!("{} is not a directory", walk.shown(&part))));
            }
            _ => {
                found = Some(());
                walk.here.push(part);
            }
        }
    }
    if walk.here.is_empty() {
        return Err(fail("it would hide the whole root"));
    }
    // appc 0.8.11, ace.md: a directory takes the place of a file.
    if directory && found.is_some() {
        walk.replace()?;
    }
    let fd = walk.open()?;
    let seen = look(fd.as_fd())?;
    if seen.is_mount {
        return Err(fail(
            "something is mounted there already (with a host volume comes what the host has mounted below it, \
             unless it has recursive = false)",
        ));
    }
    if !directory && seen.kind == FileType::Directory {
        return Err(fail("a directory is there, and what is to be mounted is none"));
    }
    let kind = rustix::fs::fstatfs(&fd).context(|| "look at a file system".to_owned())?.f_type;
    if u64::try_from(kind).is_ok_and(|kind| KERNEL.contains(&kind)) {
        return Err(fail("it lies below /proc or /sys"));
    }
    Ok(fd)
}

fn parts(path: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    path.split(|b| *b == b'/').filter(|p| !matches!(*p, b"" | b".")).map(<[u8]>::to_vec)
}

/// On the way: `here` holds no link and no `..`.
struct Walk<'a> {
    root: &'a Root,
    here: Vec<Vec<u8>>,
    own: &'a Own,
}

impl Walk<'_> {
    fn shown(&self, part: &[u8]) -> String {
        let path = [self.here.join(&b'/').as_slice(), part].join(&b'/');
        String::from_utf8_lossy(&path).into_owned()
    }

    fn exact(&self, path: &[u8], flags: OFlags) -> std::result::Result<OwnedFd, Errno> {
        self.root.exact(path, OFlags::PATH | flags, Mode::empty())
    }

    /// What `part` is here; `None` if nothing.
    fn step(&self, part: &[u8]) -> Result<Option<OwnedFd>> {
        let mut path = self.here.clone();
        path.push(part.to_vec());
        match self.exact(&path.join(&b'/'), OFlags::NOFOLLOW) {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(e).context(|| format!("look up {}", self.shown(part))),
        }
    }

    /// The directory here, if missing things may be made in it.
    fn owned(&self, part: &[u8]) -> Result<OwnedFd> {
        let say = || format!("open the directory of {}", self.shown(part));
        let parent = self.exact(&self.here.join(&b'/'), OFlags::DIRECTORY).context(say)?;
        if self.own.0.contains(&look(parent.as_fd())?.mount) {
            return Ok(parent);
        }
        Err(Failure::rocket(format!(
            "{} is not there, and nothing is made in what is the host's",
            self.shown(part)
        )))
    }

    fn make(&self, part: &[u8], directory: bool) -> Result<()> {
        let parent = self.owned(part)?;
        let say = || format!("make {}", self.shown(part));
        if directory {
            return rustix::fs::mkdirat(&parent, part, Mode::from_bits_truncate(0o755))
                .context(say);
        }
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let mode = Mode::from_bits_truncate(0o644);
        rustix::fs::openat(&parent, part, flags, mode).map(drop).context(say)
    }

    /// Makes a directory of the file here.
    fn replace(&mut self) -> Result<()> {
        let Some(name) = self.here.pop() else { return Ok(()) };
        let parent = self.owned(&name)?;
        let say = || format!("remove the file {}", self.shown(&name));
        rustix::fs::unlinkat(&parent, name.as_slice(), AtFlags::empty()).context(say)?;
        self.make(&name, true)?;
        self.here.push(name);
        Ok(())
    }

    fn open(&self) -> Result<OwnedFd> {
        let path = self.here.join(&b'/');
        self.exact(&path, OFlags::NOFOLLOW)
            .context(|| format!("open {}", String::from_utf8_lossy(&path)))
    }
}
