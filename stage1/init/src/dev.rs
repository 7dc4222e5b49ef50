//! An app's `/dev`: a small tmpfs with the plan's nodes and what every program expects.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rocket_plan::Device;
use rocket_sys::mount::{self, Attributes};
use rocket_sys::root::Root;
use rustix::fs::{AtFlags, Gid, Mode, Uid};
use rustix::io::Errno;

use crate::descriptors::Descriptors;
use crate::failure::{Context, Result};
use crate::ops::At;
use crate::rootfs;

/// Links that every program expects.
const LINKS: [(&str, &str); 6] = [
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("/proc/kcore", "core"),
    ("pts/ptmx", "ptmx"),
];

/// The group that terminals belong to, in every distribution.
pub const TTY: u32 = 5;

const PLAIN: Attributes = Attributes { read_only: false, nosuid: true, nodev: true, noexec: true };

/// Makes `/dev` at a place in an app's root; `shm` is a detached mount of the pod's tmpfs, `tty` the
/// group of terminals as the host sees it.
pub fn make(
    root: &Root,
    at: At<'_>,
    devices: &[Device],
    descriptors: &mut Descriptors,
    shm: Option<OwnedFd>,
    tty: u32,
) -> Result<()> {
    let target = rootfs::ensure_directory(root, at.path)?;
    // The nodes are mounts of their own. One that an app makes beside them must not open: as root
    // it may have CAP_MKNOD.
    let options = [("mode", "0755"), ("size", "65536")];
    let tmpfs = mount::new_filesystem("tmpfs", &options, PLAIN).context(|| in_dev(at))?;
    mount::attach(tmpfs.as_fd(), target.as_fd()).context(|| in_dev(at))?;
    for device in devices {
        let node = descriptors.take(&device.source)?;
        // The node is the host's own. Without a user namespace root of the app is its owner: this keeps
        // it from changing mode, owner and times, and hinders nobody who reads or writes.
        let frozen = Attributes { read_only: true, ..Attributes::default() };
        mount::restrict(node.as_fd(), frozen, false)
            .context(|| format!("make {} of app {} read-only", device.path, at.app))?;
        let target = rootfs::ensure_file(root, &device.path)?;
        mount::attach(node.as_fd(), target.as_fd())
            .context(|| format!("bind {} of app {}", device.path, at.app))?;
    }
    for (to, name) in LINKS {
        rustix::fs::symlinkat(to, &tmpfs, name).context(|| in_dev(at))?;
    }
    let tty = tty.to_string();
    let pts = [("ptmxmode", "0666"), ("mode", "0620"), ("gid", tty.as_str())];
    let pts_attributes = Attributes { nosuid: true, noexec: true, ..Attributes::default() };
    let pts = mount::new_filesystem("devpts", &pts, pts_attributes).context(|| in_dev(at))?;
    // The one directory here whose kernel does not ask who makes it.
    let root = Some(rustix::fs::fstat(&tmpfs).context(|| in_dev(at))?.st_uid);
    let (uid, gid) = (root.map(Uid::from_raw), root.map(Gid::from_raw));
    rustix::fs::chownat(&pts, "", uid, gid, AtFlags::EMPTY_PATH).context(|| in_dev(at))?;
    attach(at, tmpfs.as_fd(), "pts", pts.as_fd())?;
    if let Some(shm) = shm {
        attach(at, tmpfs.as_fd(), "shm", shm.as_fd())?;
    }
    match mount::new_filesystem("mqueue", &[], PLAIN) {
        Ok(mqueue) => attach(at, tmpfs.as_fd(), "mqueue", mqueue.as_fd())?,
        // A kernel built without POSIX message queues.
        Err(e) if e.errno() == Some(Errno::NODEV.raw_os_error()) => {}
        Err(e) => return Err(e).context(|| in_dev(at)),
    }
    Ok(())
}

fn in_dev(at: At<'_>) -> String {
    format!("make {} of app {}", at.path, at.app)
}

fn attach(at: At<'_>, dev: BorrowedFd<'_>, name: &str, what: BorrowedFd<'_>) -> Result<()> {
    let say = || format!("mount {}/{name} of app {}", at.path, at.app);
    rustix::fs::mkdirat(dev, name, Mode::from_bits_truncate(0o755)).context(say)?;
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
    let target = rustix::fs::openat(dev, name, flags, Mode::empty()).context(say)?;
    mount::attach(what, target.as_fd()).context(say)
}
