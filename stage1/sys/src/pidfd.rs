//! Processes by descriptor: no signal ever reaches a recycled PID.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions};

use crate::error::{Error, Result};

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// With this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl Exit {
    /// What a shell shows: the code, or 128 + signal.
    pub fn status(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
        }
    }
}

/// Opens a process.
///
/// # Errors
/// `ESRCH` when there is none; `EINVAL` for numbers below 1.
pub fn open(pid: i32) -> Result<OwnedFd> {
    let fail = |e| Error::new("pidfd_open", pid.to_string(), e);
    let pid = Some(pid).filter(|p| *p > 0).and_then(Pid::from_raw).ok_or(fail(Errno::INVAL))?;
    rustix::process::pidfd_open(pid, PidfdFlags::empty()).map_err(fail)
}

/// Sends any signal number, also a real-time one.
///
/// # Errors
/// `ESRCH` when the process has been reaped.
pub fn send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<()> {
    // SAFETY: a descriptor, two integers and a null pointer, which the call allows.
    let rc = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    if rc < 0 {
        return Err(Error::last("pidfd_send_signal", crate::signal::name(signal)));
    }
    Ok(())
}

/// Waits for a child to end and reaps it. Blocks, restarting when a signal comes in.
///
/// # Errors
/// `ECHILD` when it is not a child of the caller.
pub fn wait(pidfd: BorrowedFd<'_>) -> Result<Exit> {
    loop {
        match waitid(pidfd, WaitIdOptions::EXITED) {
            Err(e) if e.errno() == Some(Errno::INTR.raw_os_error()) => {}
            Ok(None) => {}
            Ok(Some(exit)) => return Ok(exit),
            Err(e) => return Err(e),
        }
    }
}

/// Reaps a child if it has ended.
///
/// # Errors
/// `ECHILD` when it is not a child of the caller.
pub fn try_wait(pidfd: BorrowedFd<'_>) -> Result<Option<Exit>> {
    waitid(pidfd, WaitIdOptions::EXITED | WaitIdOptions::NOHANG)
}

fn waitid(pidfd: BorrowedFd<'_>, options: WaitIdOptions) -> Result<Option<Exit>> {
    let status = rustix::process::waitid(WaitId::PidFd(pidfd), options)
        .map_err(|e| Error::new("waitid", "", e))?;
    Ok(status.and_then(|s| {
        s.exit_status().map(Exit::Code).or_else(|| s.terminating_signal().map(Exit::Signal))
    }))
}

/// Whether the process has ended (reaped or not).
///
/// # Errors
/// Whatever `poll(2)` says.
pub fn has_ended(pidfd: BorrowedFd<'_>) -> Result<bool> {
    let pidfd = pidfd.as_fd();
    let mut fds = [rustix::event::PollFd::new(&pidfd, rustix::event::PollFlags::IN)];
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    let n =
        rustix::event::poll(&mut fds, Some(&now)).map_err(|e| Error::new("poll", "pidfd", e))?;
    Ok(n > 0)
}

/// Any ended child, reaped: its PID and how it ended; `None` when none has ended or there is none.
///
/// # Errors
/// Whatever `waitpid(2)` says.
pub fn reap_any() -> Result<Option<(i32, Exit)>> {
    loop {
        let options = rustix::process::WaitOptions::NOHANG;
        match rustix::process::wait(options) {
            Ok(Some((pid, status))) => {
                let exit = status
                    .exit_status()
                    .map(Exit::Code)
                    .or_else(|| status.terminating_signal().map(Exit::Signal));
                if let Some(exit) = exit {
                    return Ok(Some((pid.as_raw_pid(), exit)));
                }
            }
            Ok(None) | Err(Errno::CHILD) => return Ok(None),
            Err(Errno::INTR) => {}
            Err(e) => return Err(Error::new("wait", "", e)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_is_not_there() {
        assert!(open(0).is_err());
        assert!(open(-1).is_err());
        assert!(open(i32::MAX).is_err());
    }
}
