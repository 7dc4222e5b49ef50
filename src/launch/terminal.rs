//! The caller's terminal in front of a command inside a pod.
//!
//! The command gets a pseudo-terminal of its own as its controlling terminal, so that job control
//! and window size work inside and nothing inside can type into the caller's terminal (TIOCSTI).
//! The caller's is in raw mode meanwhile and is put back however this ends but by SIGKILL.

use super::{LaunchError, failed, io_error};
use rocket_sys::pidfd;
use rocket_sys::signal::SignalFd;
use rocket_sys::spawn::Child;
use rocket_sys::tty::{self, RawMode};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

const SIGWINCH: i32 = 28;
/// SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGWINCH.
const WATCHED: [i32; 5] = [1, 2, 3, 15, SIGWINCH];

/// Whether the caller sits at a terminal.
pub(super) fn at_terminal() -> bool {
    tty::is_tty(io::stdin().as_fd()) && tty::is_tty(io::stdout().as_fd())
}

/// Starts a child on a new pseudo-terminal and carries bytes until it ends; gives its status.
pub(super) fn carry(
    start: impl FnOnce(BorrowedFd<'_>) -> Result<Child, LaunchError>,
) -> Result<i32, LaunchError> {
    let (stdin, stdout) = (io::stdin(), io::stdout());
    let (master, slave) = tty::open_pair().map_err(failed("make a terminal"))?;
    // A terminal without a size is still a terminal.
    let _ = tty::copy_size(stdin.as_fd(), master.as_fd());
    let child = start(slave.as_fd())?;
    drop(slave);
    let signals = SignalFd::of(&WATCHED).map_err(failed("watch signals"))?;
    let raw = RawMode::enter(stdin.as_fd()).map_err(failed("prepare the terminal"))?;
    let status = relay(&child, &signals, &master, stdin.as_fd(), stdout.as_fd());
    drop(raw);
    status
}

fn relay(
    child: &Child,
    signals: &SignalFd,
    master: &OwnedFd,
    stdin: BorrowedFd<'_>,
    stdout: BorrowedFd<'_>,
) -> Result<i32, LaunchError> {
    let (mut typing, mut showing) = (true, true);
    loop {
        let mut fds =
            vec![PollFd::new(&child.pidfd, PollFlags::IN), PollFd::new(signals, PollFlags::IN)];
        let master_at = showing.then(|| push(&mut fds, master.as_fd()));
        let stdin_at = typing.then(|| push(&mut fds, stdin));
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(io_error("wait for the command")(error.into())),
        }
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        let is_ready = |at: usize| ready.get(at).copied().unwrap_or(false);
        while let Some(signal) = signals.next().map_err(failed("read a signal"))? {
            if signal == SIGWINCH {
                let _ = tty::copy_size(stdin, master.as_fd());
            } else {
                // It may have ended meanwhile, which the next round sees.
                let _ = pidfd::send_signal(child.pidfd.as_fd(), signal);
            }
        }
        if stdin_at.is_some_and(is_ready) {
            typing = copy(stdin, master.as_fd());
        }
        if master_at.is_some_and(is_ready) {
            showing = copy(master.as_fd(), stdout);
        }
        if is_ready(0) {
            while showing && readable(master) {
                showing = copy(master.as_fd(), stdout);
            }
            let exit = pidfd::wait(child.pidfd.as_fd()).map_err(failed("wait for the command"))?;
            return Ok(exit.status());
        }
    }
}

fn push<'a>(fds: &mut Vec<PollFd<'a>>, fd: BorrowedFd<'a>) -> usize {
    fds.push(PollFd::from_borrowed_fd(fd, PollFlags::IN));
    fds.len() - 1
}

/// Carries what is there; `false` when nothing more will come.
fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> bool {
    let mut buffer = [0u8; 8192];
    let count = match rustix::io::read(from, &mut buffer) {
        Ok(0) => return false,
        Ok(count) => count,
        Err(Errno::INTR | Errno::AGAIN) => return true,
        Err(_) => return false,
    };
    let mut rest = buffer.get(..count).unwrap_or_default();
    while !rest.is_empty() {
        match rustix::io::write(to, rest) {
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(_) => return false,
        }
    }
    true
}

/// Whether there is something to read at once.
fn readable(fd: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(fd, PollFlags::IN)];
    let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&now)).is_ok() && fds[0].revents().contains(PollFlags::IN)
}
