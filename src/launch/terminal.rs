//! The caller's terminal in front of a pseudo-terminal inside a pod.
//!
//! What runs there has it as its controlling terminal, so that job control and window size work
//! inside and nothing inside can type into the caller's terminal (TIOCSTI). The caller's is in raw
//! mode meanwhile and is put back however this ends, by a keeper after SIGKILL.

use super::keeper::Keeper;
use super::keys::{DetachKeys, Watch};
use super::{LaunchError, failed, io_error};
use rocket_sys::pidfd;
use rocket_sys::signal::SignalFd;
use rocket_sys::spawn::Child;
use rocket_sys::tty::{self, RawMode};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The signal that says that the window has another size.
pub(super) const SIGWINCH: i32 = 28;
/// SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGWINCH.
pub(super) const WATCHED: [i32; 5] = [1, 2, 3, 15, SIGWINCH];
/// More than this typed and not taken is not read yet.
const TYPED_LIMIT: usize = 64 * 1024;
/// Most that is carried before signals and keys have their turn.
const TURN: usize = 16;

/// Whether the caller sits at a terminal.
pub(super) fn at_terminal() -> bool {
    tty::is_tty(io::stdin().as_fd()) && tty::is_tty(io::stdout().as_fd())
}

/// A new pseudo-terminal of the caller's size: master, which never makes its users wait, and slave.
pub(super) fn make() -> Result<(OwnedFd, OwnedFd), LaunchError> {
    let (master, slave) = tty::open_pair().map_err(failed("make a terminal"))?;
    rustix::io::ioctl_fionbio(&master, true)
        .map_err(|error| io_error("set up a terminal")(error.into()))?;
    resize(&master);
    Ok((master, slave))
}

/// A terminal without a size is still a terminal.
fn resize(master: &OwnedFd) {
    if tty::copy_size(io::stdin().as_fd(), master.as_fd()).is_err() {
        let _ = tty::copy_size(io::stdout().as_fd(), master.as_fd());
    }
}

/// What a turn of carrying came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Go on.
    More,
    /// The detach keys were typed.
    Detach,
}

/// Carries bytes between the caller's streams and a master. The caller's terminal is in raw mode
/// from [`Self::begin`] until this is dropped.
pub(super) struct Bridge {
    // In the order of their ends: settings back first, then the keeper may go.
    raw: Option<RawMode>,
    keeper: Option<Keeper>,
    master: OwnedFd,
    watch: Watch,
    typing: bool,
    showing: bool,
    typed: Vec<u8>,
    stdin: io::Stdin,
    stdout: io::Stdout,
}

impl Bridge {
    /// To a master; `interactive`: what is typed goes there.
    pub(super) fn new(
        master: OwnedFd,
        interactive: bool,
        keys: DetachKeys,
    ) -> Result<Self, LaunchError> {
        let stdin = io::stdin();
        let keeper = if interactive && tty::is_tty(stdin.as_fd()) {
            Some(Keeper::start(stdin.as_fd())?)
        } else {
            None
        };
        Ok(Self {
            raw: None,
            keeper,
            master,
            watch: Watch::new(keys),
            typing: interactive,
            showing: true,
            typed: Vec::new(),
            stdin,
            stdout: io::stdout(),
        })
    }

    /// Takes the caller's terminal.
    pub(super) fn begin(&mut self) -> Result<(), LaunchError> {
        if let Some(keeper) = &mut self.keeper {
            keeper.ready()?;
            let raw = RawMode::enter(self.stdin.as_fd()).map_err(failed("prepare the terminal"))?;
            self.raw = Some(raw);
        }
        Ok(())
    }

    /// Hands on the caller's window size.
    pub(super) fn resize(&self) {
        resize(&self.master);
    }

    /// What to wait for.
    pub(super) fn interest(&self) -> Vec<PollFd<'_>> {
        let mut fds = Vec::with_capacity(2);
        if self.typing && self.typed.len() < TYPED_LIMIT {
            fds.push(PollFd::new(&self.stdin, PollFlags::IN));
        }
        if self.showing {
            let write = if self.typed.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
            fds.push(PollFd::new(&self.master, PollFlags::IN | write));
        }
        fds
    }

    /// Carries what is there, without waiting for more.
    pub(super) fn turn(&mut self) -> Turn {
        for _ in 0..TURN {
            if self.typing && self.typed.len() < TYPED_LIMIT && is_ready(self.stdin.as_fd()) {
                let mut bytes = [0; 4096];
                match rustix::io::read(&self.stdin, &mut bytes) {
                    Ok(count @ 1..) => {
                        let bytes = bytes.get(..count).unwrap_or_default();
                        if self.watch.typed(bytes, &mut self.typed) {
                            return Turn::Detach;
                        }
                    }
                    Err(Errno::INTR | Errno::AGAIN) => {}
                    Ok(_) | Err(_) => self.typing = false,
                }
            }
            self.hand_on();
            if !self.show() {
                break;
            }
        }
        Turn::More
    }

    /// Shows what is left of a master whose users are gone.
    pub(super) fn drain(&mut self) {
        while self.show() {}
    }

    /// Shows bytes that were written before.
    pub(super) fn show_past(&self, bytes: &[u8]) {
        write_all(self.stdout.as_fd(), bytes);
    }

    fn hand_on(&mut self) {
        while !self.typed.is_empty() {
            match rustix::io::write(&self.master, &self.typed) {
                Ok(count) => drop(self.typed.drain(..count.min(self.typed.len()))),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => self.typed.clear(),
            }
        }
    }

    /// Whether something was shown.
    fn show(&mut self) -> bool {
        if !self.showing {
            return false;
        }
        let mut bytes = [0; 8192];
        match rustix::io::read(&self.master, &mut bytes) {
            Ok(count @ 1..) => {
                let bytes = bytes.get(..count).unwrap_or_default();
                self.showing = write_all(self.stdout.as_fd(), bytes);
                self.showing
            }
            Err(Errno::INTR) => true,
            Err(Errno::AGAIN) => false,
            Ok(_) | Err(_) => {
                self.showing = false;
                false
            }
        }
    }
}

/// Whether reading would not wait.
fn is_ready(fd: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|count| count > 0)
}

/// Writes it all; `false` when nobody takes it.
fn write_all(to: BorrowedFd<'_>, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        match rustix::io::write(to, bytes) {
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            // Somebody else made the caller's terminal so.
            Err(Errno::AGAIN) => {
                let mut fds = [PollFd::from_borrowed_fd(to, PollFlags::OUT)];
                let _ = poll(&mut fds, None);
            }
            Err(_) => return false,
        }
    }
    true
}

/// Starts a child on a new pseudo-terminal and carries bytes until it ends; gives its status.
pub(super) fn carry(
    start: impl FnOnce(BorrowedFd<'_>) -> Result<Child, LaunchError>,
) -> Result<i32, LaunchError> {
    let (master, slave) = make()?;
    let mut bridge = Bridge::new(master, true, DetachKeys::default())?;
    let child = start(slave.as_fd())?;
    drop(slave);
    let signals = SignalFd::of(&WATCHED).map_err(failed("watch signals"))?;
    bridge.begin()?;
    loop {
        let mut fds =
            vec![PollFd::new(&child.pidfd, PollFlags::IN), PollFd::new(&signals, PollFlags::IN)];
        fds.extend(bridge.interest());
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(io_error("wait for the command")(error.into())),
        }
        let ended = fds.first().is_some_and(|fd| !fd.revents().is_empty());
        drop(fds);
        while let Some(signal) = signals.next().map_err(failed("read a signal"))? {
            if signal == SIGWINCH {
                bridge.resize();
            } else {
                // It may have ended meanwhile, which the next round sees.
                let _ = pidfd::send_signal(child.pidfd.as_fd(), signal);
            }
        }
        bridge.turn();
        if ended {
            bridge.drain();
            let exit = pidfd::wait(child.pidfd.as_fd()).map_err(failed("wait for the command"))?;
            return Ok(exit.status());
        }
    }
}
