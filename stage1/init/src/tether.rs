//! The stream socket to a foreground stage0: bytes in, lines out.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use crate::failure::{Failure, Result};

/// What stage0 can say, once the pod runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Stop in order; the end of stage0 means the same.
    Stop,
    /// Kill everything now.
    Kill,
    /// The pod goes on without a front-end, whose end means nothing any more.
    Detach,
    /// The other side is gone (and: stop in order).
    Gone,
}

/// init's end.
#[derive(Debug)]
pub struct Tether(OwnedFd);

impl Tether {
    /// Takes the descriptor.
    pub fn new(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// Waits for `g`.
    pub fn await_go(&self) -> Result<()> {
        let mut byte = [0];
        loop {
            return match rustix::io::read(&self.0, &mut byte) {
                Ok(1) if byte == *b"g" => Ok(()),
                Ok(0) => Err(Failure::rocket("the front-end ended before the pod had its cgroup")),
                Ok(_) => Err(Failure::rocket("the start was called off")),
                Err(Errno::INTR) => continue,
                Err(e) => Err(Failure::rocket(format!("read the tether: {e}"))),
            };
        }
    }

    /// Reads what there is of a word; `false` at the end of stage0.
    pub fn await_word(&self) -> bool {
        let mut byte = [0];
        !matches!(rustix::io::read(&self.0, &mut byte), Ok(0) | Err(Errno::CONNRESET))
    }

    /// What has come in, without waiting; the strongest of several.
    pub fn commands(&self) -> Option<Command> {
        let mut bytes = [0; 64];
        match rustix::net::recv(&self.0, &mut bytes[..], RecvFlags::DONTWAIT) {
            Ok((_, 0)) => Some(Command::Gone),
            Ok((_, n)) => {
                let got = bytes.get(..n).unwrap_or_default();
                if got.contains(&b'k') {
                    Some(Command::Kill)
                } else if got.contains(&b's') {
                    Some(Command::Stop)
                } else if got.contains(&b'd') {
                    Some(Command::Detach)
                } else {
                    None
                }
            }
            Err(Errno::AGAIN | Errno::INTR) => None,
            Err(_) => Some(Command::Gone),
        }
    }

    /// Sends a line. A front-end that is gone is noticed by reading, not here; one that does not
    /// read must not hold up init.
    pub fn say(&self, line: &str) {
        let line = format!("{line}\n");
        let _ =
            rustix::net::send(&self.0, line.as_bytes(), SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
    }
}

impl AsFd for Tether {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
