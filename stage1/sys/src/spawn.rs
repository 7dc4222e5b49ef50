//! Starting another program from a front-end that may have threads: everything is prepared before
//! the fork, and the child makes nothing but system calls.

use std::ffi::{CStr, CString, c_char, c_int};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use crate::clone::{Cloned, exit_now, fork, os_error};
use crate::error::{Error, Result};
use crate::fds;

/// The program to run.
#[derive(Clone, Copy, Debug)]
pub enum Program<'a> {
    /// By path.
    Path(&'a CStr),
    /// An open executable.
    Fd(BorrowedFd<'a>),
}

/// Another program and what it starts with.
#[derive(Clone, Copy, Debug)]
pub struct Command<'a> {
    /// The program.
    pub program: Program<'a>,
    /// Its arguments, from `argv[0]`.
    pub argv: &'a [CString],
    /// Its whole environment.
    pub envp: &'a [CString],
    /// Descriptors and the numbers they get; may name 0, 1 and 2. Every other descriptor from 3
    /// up is closed by the exec.
    pub fds: &'a [(BorrowedFd<'a>, RawFd)],
    /// Its working directory.
    pub cwd: Option<BorrowedFd<'a>>,
    /// It starts with every signal blocked (else: with the caller's mask).
    pub block_signals: bool,
}

/// A program that was started.
#[derive(Debug)]
pub struct Child {
    /// Its PID.
    pub pid: i32,
    /// The process itself.
    pub pidfd: OwnedFd,
}

/// The command in the form the kernel takes, made before the fork.
struct Prepared<'a> {
    program: *const c_char,
    program_fd: c_int,
    argv: Vec<*const c_char>,
    envp: Vec<*const c_char>,
    /// `(source, target)`, the source a duplicate above every target.
    fds: Vec<(RawFd, RawFd)>,
    cwd: Option<RawFd>,
    /// Keeps the duplicates open.
    _held: Vec<OwnedFd>,
    _lives: std::marker::PhantomData<&'a ()>,
}

/// The lowest number above all those the command wants.
fn above(command: &Command<'_>) -> RawFd {
    command.fds.iter().map(|(_, n)| *n).max().unwrap_or(2).max(2).saturating_add(1)
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|s| s.as_ptr()).chain(std::iter::once(std::ptr::null())).collect()
}

impl<'a> Prepared<'a> {
    fn new(command: &Command<'a>) -> Result<Self> {
        let above = above(command);
        let mut held = Vec::with_capacity(command.fds.len() + 2);
        let mut pairs = Vec::with_capacity(command.fds.len());
        for (fd, number) in command.fds {
            let copy = fds::dup_above(*fd, above)?;
            pairs.push((copy.as_raw_fd(), *number));
            held.push(copy);
        }
        let mut hold = |fd: BorrowedFd<'_>| -> Result<RawFd> {
            let copy = fds::dup_above(fd, above)?;
            let number = copy.as_raw_fd();
            held.push(copy);
            Ok(number)
        };
        let cwd = command.cwd.map(&mut hold).transpose()?;
        let (program, program_fd) = match command.program {
            Program::Path(path) => (path.as_ptr(), libc::AT_FDCWD),
            Program::Fd(fd) => (c"".as_ptr(), hold(fd)?),
        };
        Ok(Self {
            program,
            program_fd,
            argv: pointers(command.argv),
            envp: pointers(command.envp),
            fds: pairs,
            cwd,
            _held: held,
            _lives: std::marker::PhantomData,
        })
    }

    /// Turns this process into the program; only async-signal-safe calls. Returns errno.
    fn exec(&self) -> c_int {
        // SAFETY: integers only; marks what the program must not inherit.
        if unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) }
            < 0
        {
            return errno();
        }
        for (source, target) in &self.fds {
            // SAFETY: integers only. Sources lie above all targets, so none is overwritten.
            if unsafe { libc::dup3(*source, *target, 0) } < 0 {
                return errno();
            }
        }
        if let Some(cwd) = self.cwd {
            // SAFETY: an integer only.
            if unsafe { libc::fchdir(cwd) } < 0 {
                return errno();
            }
        }
        let flags = if self.program_fd == libc::AT_FDCWD { 0 } else { libc::AT_EMPTY_PATH };
        // SAFETY: the arrays end with a null pointer and, like the strings they point to, outlive
        // the call: `Command` borrows them.
        unsafe {
            libc::syscall(
                libc::SYS_execveat,
                self.program_fd,
                self.program,
                self.argv.as_ptr(),
                self.envp.as_ptr(),
                flags,
            );
        }
        errno()
    }
}

fn errno() -> c_int {
    io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)
}

/// Starts the program as a child. Returns when the exec has succeeded or failed.
///
/// # Errors
/// What preparing, forking or the exec said.
pub fn spawn(command: &Command<'_>) -> Result<Child> {
    let prepared = Prepared::new(command)?;
    let (report, low) = fds::pipe()?;
    let tell = fds::dup_above(low.as_fd(), above(command))?;
    drop(low);
    // Blocked over the fork, so that no handler of the caller runs in the child.
    let mask = crate::signal::block_all()?;
    let cloned = fork();
    if let Ok(Cloned::Child) = cloned {
        if !command.block_signals {
            // Handlers of the caller must not run here: its dispositions are cleared by the exec.
            let _ = crate::signal::restore(&mask);
        }
        let code = prepared.exec().to_ne_bytes();
        // SAFETY: the buffer is as long as we say.
        unsafe {
            libc::write(tell.as_raw_fd(), code.as_ptr().cast(), code.len());
        }
        exit_now(127);
    }
    crate::signal::restore(&mask)?;
    drop(tell);
    let Cloned::Parent { pid, pidfd } = cloned? else {
        return Err(Error::new("clone3", "", os_error(libc::EIO)));
    };
    let child = Child { pid, pidfd };
    let mut code = [0; 4];
    match read_full(&report, &mut code) {
        4 => {
            let _ = crate::pidfd::wait(child.pidfd.as_fd());
            Err(Error::new("exec", describe(command.program), os_error(c_int::from_ne_bytes(code))))
        }
        _ => Ok(child),
    }
}

fn read_full(fd: &OwnedFd, buffer: &mut [u8]) -> usize {
    let mut done = 0;
    while done < buffer.len() {
        match rustix::io::read(fd, &mut buffer[done..]) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => break,
        }
    }
    done
}

/// Turns the calling process into the program; returns only when that failed. Descriptors of the
/// caller may have been replaced by then: print the error and exit.
pub fn exec(command: &Command<'_>) -> Error {
    let prepared = match Prepared::new(command) {
        Ok(prepared) => prepared,
        Err(error) => return error,
    };
    if command.block_signals
        && let Err(error) = crate::signal::block_all()
    {
        return error;
    }
    let code = prepared.exec();
    Error::new("exec", describe(command.program), os_error(code))
}

fn describe(program: Program<'_>) -> String {
    match program {
        Program::Path(path) => path.to_string_lossy().into_owned(),
        Program::Fd(fd) => format!("descriptor {}", fd.as_raw_fd()),
    }
}

/// Whether a number is an open descriptor of this process, borrowed for as long as the caller
/// says. Standard streams only: they belong to nobody in particular.
pub fn standard(number: RawFd) -> Option<OwnedFd> {
    if !(0..=2).contains(&number) {
        return None;
    }
    // SAFETY: an integer only; the duplicate is a new descriptor.
    let copy = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) };
    // SAFETY: just made by the kernel, so open and without another owner.
    (copy >= 0).then(|| unsafe { OwnedFd::from_raw_fd(copy) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(list: &[&str]) -> Vec<CString> {
        list.iter().map(|s| CString::new(*s).unwrap()).collect()
    }

    fn read_all(fd: &OwnedFd) -> String {
        let mut text = String::new();
        let mut part = [0; 512];
        while let Ok(n @ 1..) = rustix::io::read(fd, &mut part) {
            text.push_str(&String::from_utf8_lossy(&part[..n]));
        }
        text
    }

    fn run(argv: &[&str], extra: &[(BorrowedFd<'_>, RawFd)], block_signals: bool) -> String {
        let (read, write) = fds::pipe().unwrap();
        let directory = rustix::fs::open(
            "/usr",
            rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC,
            rustix::fs::Mode::empty(),
        )
        .unwrap();
        let mut list = vec![(write.as_fd(), 1)];
        list.extend_from_slice(extra);
        let program = CString::new(argv[0]).unwrap();
        let command = Command {
            program: Program::Path(&program),
            argv: &strings(argv),
            envp: &strings(&["PATH=/usr/bin:/bin"]),
            fds: &list,
            cwd: Some(directory.as_fd()),
            block_signals,
        };
        let child = spawn(&command).unwrap();
        drop(list);
        drop(write);
        let text = read_all(&read);
        assert_eq!(crate::pidfd::wait(child.pidfd.as_fd()).unwrap(), crate::pidfd::Exit::Code(0));
        text
    }

    #[test]
    fn the_child_has_its_descriptors_at_their_numbers_and_no_others() {
        let extra = fds::sealed_memfd("extra", b"x").unwrap();
        fds::set_cloexec(extra.as_fd(), false).unwrap();
        let list = [(extra.as_fd(), 7), (extra.as_fd(), 3)];
        let text = run(&["/bin/sh", "-c", "pwd; ls /proc/self/fd"], &list, false);
        let lines: Vec<_> = text.lines().collect();
        // 4 is the directory that ls reads.
        assert_eq!(lines, ["/usr", "0", "1", "2", "3", "4", "7"]);
    }

    #[test]
    fn signals_are_blocked_when_asked() {
        let text = run(&["/bin/grep", "SigBlk", "/proc/self/status"], &[], true);
        assert_eq!(text.trim(), "SigBlk:\tfffffffe7ffbfeff");
        let text = run(&["/bin/grep", "SigBlk", "/proc/self/status"], &[], false);
        assert_eq!(text.trim(), "SigBlk:\t0000000000000000");
    }

    #[test]
    fn a_missing_program_is_an_error_with_its_name() {
        let command = Command {
            program: Program::Path(c"/no/such/program"),
            argv: &[],
            envp: &[],
            fds: &[],
            cwd: None,
            block_signals: false,
        };
        let error = spawn(&command).unwrap_err();
        assert_eq!(error.errno(), Some(libc::ENOENT));
        assert!(error.to_string().contains("/no/such/program"));
    }
}
