//! The keeper of a terminal: a small process that outlives this one and puts the terminal's settings
//! back when it died without having done so. Nothing else could after SIGKILL.
//!
//! It is this program again, in a session of its own, so that neither the terminal's signals nor a
//! signal to the job reach it. It ends with the process it serves.

use super::{LaunchError, failed, io_error};
use rocket_sys::spawn::{Child, Command, Program};
use rocket_sys::tty::Saved;
use rocket_sys::{fds, pidfd, proc, spawn};
use std::ffi::{CStr, CString};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

/// What this program is called as.
pub const SUBCOMMAND: &str = "__terminal-keeper";
const NAME: &CStr = c"__terminal-keeper";
/// The number of its socket.
const SOCKET: i32 = 3;

/// A keeper at work, until it is dropped.
#[derive(Debug)]
pub(super) struct Keeper {
    child: Child,
    socket: UnixStream,
}

impl Keeper {
    /// Starts one for a terminal as it is now. It is at work after [`Self::ready`].
    pub(super) fn start(tty: BorrowedFd<'_>) -> Result<Self, LaunchError> {
        let (socket, theirs) = UnixStream::pair().map_err(io_error("make a socket pair"))?;
        let child = spawn::spawn(&Command {
            program: Program::Path(c"/proc/self/exe"),
            argv: &[c"rocket".to_owned(), CString::from(NAME)],
            envp: &[],
            fds: &[(tty, 0), (theirs.as_fd(), SOCKET)],
            cwd: None,
            block_signals: true,
        })
        .map_err(failed("start the terminal's keeper"))?;
        Ok(Self { child, socket })
    }

    /// Waits until it has seen how the terminal is.
    pub(super) fn ready(&mut self) -> Result<(), LaunchError> {
        let read = self.socket.read_exact(&mut [0]);
        read.map_err(io_error("wait for the terminal's keeper"))
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // One that is gone already cannot be told.
        let _ = self.socket.write_all(b".");
        let _ = pidfd::wait(self.child.pidfd.as_fd());
    }
}

/// The keeper's own life.
pub fn main() -> ExitCode {
    match keep() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn keep() -> Result<(), LaunchError> {
    let socket = fds::inherit(SOCKET).map_err(failed("keep a terminal"))?;
    let mut socket = UnixStream::from(socket);
    proc::new_session().map_err(failed("start a session"))?;
    let _ = proc::set_name(c"rocket-keeper");
    let _ = std::env::set_current_dir("/");
    let tty = io::stdin();
    let saved = Saved::of(tty.as_fd()).map_err(failed("look at the terminal"))?;
    socket.write_all(b"r").map_err(io_error("say so"))?;
    match socket.read(&mut [0]) {
        Ok(1..) => Ok(()),
        // Its owner is dead, and only a terminal that is still as the owner had it is put back:
        // a shell may have taken over meanwhile.
        Ok(0) | Err(_) => saved.put_back_if_raw(tty.as_fd()).map_err(failed("restore it")),
    }
}
