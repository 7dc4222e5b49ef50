//! The wait for a move between cgroups, begun before there is anything to move.
//!
//! Whoever writes to a `cgroup.procs` takes a lock over the forks of the whole machine, and the kernel
//! lets all processors pass by before it has it: some ten milliseconds. For about as long afterwards
//! nobody has to wait again. systemd moves init into its scope at the end of a chain of messages, and
//! the pod has nothing else to do by then; so the lock is asked for at the beginning, and what is
//! moved is a child that is where it goes already. The machine waits no more often than before.

use crate::systemd::detect;
use rocket_sys::aside::{self, Aside};
use rustix::fs::{CWD, Mode, OFlags};
use std::os::fd::AsFd;

/// Begins it in the caller's own cgroup. Where that cannot be, systemd waits as it would have.
pub(super) fn begin(cgroup: Option<&str>) -> Option<Aside> {
    let file = detect::cgroup_dir(cgroup?).join("cgroup.procs");
    let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = rustix::fs::openat(CWD, file, flags, Mode::empty()).ok()?;
    aside::write(file.as_fd(), b"0").ok()
}
