//! A start that fails while stage0's request for a scope is under way.
//!
//! systemd makes the scope around init's PID. Were init gone by then, the scope would never have had
//! a process, so nothing would ever empty it: it and its cgroup would stay for ever. So init stays
//! until it has been moved, the start is called off, or it has waited long enough.

use std::fs::File;
use std::io::{Read, Seek};
use std::time::{Duration, Instant};

use rocket_plan::{Cgroup, PodPlan};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::tether::Tether;

/// How long a request to systemd may be under way.
const LONGEST: Duration = Duration::from_secs(3);
/// How often init looks where it is.
const STEP: Duration = Duration::from_millis(5);

/// Where init was when it was cloned.
#[derive(Debug)]
pub struct Place {
    /// `/proc/self/cgroup`, opened while the host's procfs was in reach: a file, no directory.
    file: File,
    before: String,
}

impl Place {
    /// Notes where init is; `None` unless it is to be moved.
    pub fn here(plan: &PodPlan) -> Option<Self> {
        if plan.cgroup != Cgroup::Scope {
            return None;
        }
        let mut file = File::open("/proc/self/cgroup").ok()?;
        let mut before = String::new();
        file.read_to_string(&mut before).ok()?;
        Some(Self { file, before })
    }

    fn has_changed(&mut self) -> bool {
        let mut now = String::new();
        let read = self.file.rewind().and_then(|()| self.file.read_to_string(&mut now));
        // Where it cannot be told, waiting would not help.
        read.is_err() || now != self.before
    }

    /// Waits as the module says.
    pub fn linger(mut self, tether: &Tether) {
        let begun = Instant::now();
        let mut open = true;
        while !self.has_changed() && begun.elapsed() < LONGEST {
            if !open {
                std::thread::sleep(STEP);
                continue;
            }
            let timeout = Timespec::try_from(STEP).ok();
            let readable = {
                let mut fds = [PollFd::new(tether, PollFlags::IN)];
                poll(&mut fds, timeout.as_ref()).is_ok_and(|count| count > 0)
            };
            // A byte is a word about this start: it is over. The end of stage0 is not: its request
            // may still be on its way.
            match readable.then(|| tether.await_word()) {
                Some(true) => return,
                Some(false) => open = false,
                None => {}
            }
        }
    }
}
