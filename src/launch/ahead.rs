//! The wait for a move between cgroups, begun before there is anything to move.
//!
//! Whoever writes to a `cgroup.procs` takes a lock over the forks of the whole machine, and the kernel
//! lets all processors pass by before it has it: some ten milliseconds. For about as long afterwards
//! nobody has to wait again. systemd moves init into its scope at the end of a chain of messages, and
//! the pod has nothing else to do by then; so the lock is asked for at the beginning, and what is
//! moved is a child that is where it goes already. The machine waits no more often than before.

use super::{CgroupChoice, decide};
use crate::systemd::detect::{self, Surroundings};
use rocket_plan::Cgroup;
use rocket_sys::aside::{self, Aside};
use rustix::fs::{CWD, Mode, OFlags};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// What is begun longer ago may be over before systemd moves anything.
const FRESH: Duration = Duration::from_millis(8);

/// The wait that was begun, if one was.
#[derive(Debug, Default)]
pub struct Ahead(Option<(Aside, Instant)>);

impl Ahead {
    /// Begins it if a pod that is started so gets a scope.
    pub fn begin(choice: CgroupChoice) -> Self {
        let around = match choice {
            CgroupChoice::Auto | CgroupChoice::Scope => Surroundings::of_self(),
            CgroupChoice::Unit | CgroupChoice::None => return Self::default(),
        };
        match decide(choice, &around) {
            Ok(Cgroup::Scope) => Self::wait(around.cgroup.as_deref()),
            _ => Self::default(),
        }
    }

    /// When the pod is there: this one, unless it took too long to prepare it.
    pub(super) fn or_again(self, cgroup: Option<&str>) -> Self {
        match self.0 {
            Some((_, begun)) if begun.elapsed() < FRESH => self,
            _ => Self::wait(cgroup),
        }
    }

    /// In the caller's own cgroup. Where that cannot be, systemd waits as it would have.
    fn wait(cgroup: Option<&str>) -> Self {
        let begin = || {
            let file = detect::cgroup_dir(cgroup?).join("cgroup.procs");
            let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let file = rustix::fs::openat(CWD, file, flags, Mode::empty()).ok()?;
            aside::write(file.as_fd(), b"0").ok()
        };
        Self(begin().map(|aside| (aside, Instant::now())))
    }
}
