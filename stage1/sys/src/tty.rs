//! Terminals: pseudo-terminal pairs, controlling terminal, size, raw mode.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::pty::OpenptFlags;
use rustix::termios::{OptionalActions, Termios};

use crate::error::{Error, Result};

/// A new pseudo-terminal of the caller's devpts: `(master, slave)`, close-on-exec, and neither
/// becomes the controlling terminal.
///
/// # Errors
/// Whatever the kernel says.
pub fn open_pair() -> Result<(OwnedFd, OwnedFd)> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = rustix::pty::openpt(flags).map_err(|e| Error::new("openpt", "", e))?;
    rustix::pty::unlockpt(&master).map_err(|e| Error::new("unlockpt", "", e))?;
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags)
        .map_err(|e| Error::new("ioctl TIOCGPTPEER", "", e))?;
    Ok((master, slave))
}

/// Makes the terminal the caller's controlling one; the caller must lead a session without one.
///
/// # Errors
/// Whatever the kernel says.
pub fn make_controlling(tty: BorrowedFd<'_>) -> Result<()> {
    rustix::process::ioctl_tiocsctty(tty).map_err(|e| Error::new("ioctl TIOCSCTTY", "", e))
}

/// Gives `to` the window size of `from`.
///
/// # Errors
/// Whatever the kernel says, for example `ENOTTY`.
pub fn copy_size(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
    let size = rustix::termios::tcgetwinsize(from)
        .map_err(|e| Error::new("read the size of", "the terminal", e))?;
    rustix::termios::tcsetwinsize(to, size)
        .map_err(|e| Error::new("set the size of", "the terminal", e))
}

/// Whether a descriptor is a terminal.
pub fn is_tty(fd: BorrowedFd<'_>) -> bool {
    rustix::termios::isatty(fd)
}

/// The settings of a terminal at one moment, to be put back.
#[derive(Debug)]
pub struct Saved(Termios);

impl Saved {
    /// As they are now.
    ///
    /// # Errors
    /// Whatever the kernel says, for example `ENOTTY`.
    pub fn of(tty: BorrowedFd<'_>) -> Result<Self> {
        rustix::termios::tcgetattr(tty).map(Self).map_err(|e| Error::new("tcgetattr", "", e))
    }

    /// Puts them back, keeping what was typed ahead.
    ///
    /// # Errors
    /// Whatever the kernel says.
    pub fn put_back(&self, tty: BorrowedFd<'_>) -> Result<()> {
        rustix::termios::tcsetattr(tty, OptionalActions::Now, &self.0)
            .map_err(|e| Error::new("tcsetattr", "", e))
    }

    /// Puts them back if the terminal is still as [`RawMode`] makes it of them.
    ///
    /// # Errors
    /// Whatever the kernel says.
    pub fn put_back_if_raw(&self, tty: BorrowedFd<'_>) -> Result<()> {
        let now = Self::of(tty)?.0;
        let mut raw = self.0.clone();
        raw.make_raw();
        let same = now.input_modes == raw.input_modes
            && now.output_modes == raw.output_modes
            && now.local_modes == raw.local_modes;
        if same { self.put_back(tty) } else { Ok(()) }
    }
}

/// A terminal in raw mode until this is dropped.
#[derive(Debug)]
pub struct RawMode {
    tty: OwnedFd,
    before: Termios,
}

impl RawMode {
    /// Switches the terminal to raw mode, keeping what was typed ahead; keeps a duplicate of the descriptor for the way back.
    ///
    /// # Errors
    /// Whatever the kernel says, for example `ENOTTY`.
    pub fn enter(tty: BorrowedFd<'_>) -> Result<Self> {
        let tty = crate::fds::dup_above(tty, 3)?;
        let before =
            rustix::termios::tcgetattr(&tty).map_err(|e| Error::new("tcgetattr", "", e))?;
        let mut raw = before.clone();
        raw.make_raw();
        rustix::termios::tcsetattr(&tty, OptionalActions::Now, &raw)
            .map_err(|e| Error::new("tcsetattr", "", e))?;
        Ok(Self { tty, before })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // Nothing can be done about a terminal that is gone.
        let _ = rustix::termios::tcsetattr(self.tty.as_fd(), OptionalActions::Drain, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_a_terminal_and_raw_mode_ends_with_its_guard() {
        let Ok((master, slave)) = open_pair() else {
            eprintln!("skipped: no devpts here");
            return;
        };
        assert!(is_tty(slave.as_fd()));
        let before = rustix::termios::tcgetattr(&slave).unwrap().local_modes;
        let guard = RawMode::enter(slave.as_fd()).unwrap();
        assert_ne!(rustix::termios::tcgetattr(&slave).unwrap().local_modes, before);
        let saved = Saved(guard.before.clone());
        drop(guard);
        assert_eq!(rustix::termios::tcgetattr(&slave).unwrap().local_modes, before);
        copy_size(slave.as_fd(), master.as_fd()).unwrap();
        let modes = || rustix::termios::tcgetattr(&slave).unwrap().local_modes;
        let set = |to: &Termios| {
            rustix::termios::tcsetattr(&slave, OptionalActions::Now, to).unwrap();
        };
        // Left raw by somebody who died: put back. Changed by another since: left alone.
        let mut raw = saved.0.clone();
        raw.make_raw();
        set(&raw);
        saved.put_back_if_raw(slave.as_fd()).unwrap();
        assert_eq!(modes(), before);
        let mut other = saved.0.clone();
        other.local_modes.remove(rustix::termios::LocalModes::ECHO);
        set(&other);
        saved.put_back_if_raw(slave.as_fd()).unwrap();
        assert_ne!(modes(), before);
    }
}
