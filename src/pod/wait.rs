//! Waiting for the end of a pod, without asking again and again.
//!
//! init's end is a descriptor that becomes readable (pidfd_open(2)). The moment between its end and
//! that of the last app is bounded by the kernel killing a PID namespace, and is looked at in short
//! steps.

use super::directory::{PID, State};
use super::life::{self, Life, LifeError};
use crate::config::paths::Paths;
use rocket_sys::pidfd;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// How long a step is while the kernel clears up.
const STEP: Duration = Duration::from_millis(2);
/// How long a step is while a pod that holds its lock has not written init's PID yet.
const STARTING: Duration = Duration::from_millis(10);

/// Waits until the pod is dead or `end` has come; says whether it is dead. A pod directory that is
/// gone belongs to a dead pod.
///
/// # Errors
/// The directory cannot be read.
pub fn dead(paths: &Paths, uuid: Uuid, end: Option<Instant>) -> Result<bool, LifeError> {
    loop {
        let dir = State::Run.path(paths, uuid);
        let life = if dir.is_dir() { life::of(paths, uuid)? } else { Life::Dead };
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        if life == Life::Dead {
            return Ok(true);
        }
        if left.is_some_and(|left| left.is_zero()) {
            return Ok(false);
        }
        match (life, init(&dir)) {
            (Life::Alive, Some(init)) if !ended(&init, left) => {}
            (Life::Alive, Some(_)) | (Life::Ending, _) => pause(STEP, left),
            (Life::Alive, None) => pause(STARTING, left),
            (Life::Dead, _) => return Ok(true),
        }
    }
}

/// The pod's init, as long as it lives. The lock is held, so the PID is init's and nobody else's.
fn init(dir: &std::path::Path) -> Option<OwnedFd> {
    let text = std::fs::read_to_string(dir.join(PID)).ok()?;
    pidfd::open(text.trim().parse().ok()?).ok()
}

/// Waits for the process; `false` when the time was over first.
fn ended(init: &OwnedFd, left: Option<Duration>) -> bool {
    let mut fds = [PollFd::new(init, PollFlags::IN)];
    let timeout = left.and_then(|left| Timespec::try_from(left).ok());
    // An interrupted wait is begun again by the caller.
    poll(&mut fds, timeout.as_ref()).is_ok_and(|count| count > 0)
}

fn pause(step: Duration, left: Option<Duration>) {
    std::thread::sleep(left.map_or(step, |left| left.min(step)));
}
