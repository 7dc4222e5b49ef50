//! Signals: masks, dispositions, signalfd, names.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::error::{Error, Result};

/// A saved signal mask.
#[derive(Clone, Copy)]
pub struct Mask(libc::sigset_t);

impl std::fmt::Debug for Mask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mask")
    }
}

fn full() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigfillset initialises the whole set it is given.
    unsafe {
        libc::sigfillset(set.as_mut_ptr());
        set.assume_init()
    }
}

fn empty() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset initialises the whole set it is given.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        set.assume_init()
    }
}

fn set_mask(set: &libc::sigset_t) -> Result<Mask> {
    let mut old = MaybeUninit::uninit();
    // SAFETY: both pointers are valid for the call, and `old` is written when it succeeds.
    let rc = unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, set, old.as_mut_ptr()) };
    if rc != 0 {
        return Err(Error::new("pthread_sigmask", "", io::Error::from_raw_os_error(rc)));
    }
    // SAFETY: initialised by the successful call above.
    Ok(Mask(unsafe { old.assume_init() }))
}

/// Blocks every signal of the calling thread and returns the mask before.
///
/// # Errors
/// Whatever the kernel says.
pub fn block_all() -> Result<Mask> {
    set_mask(&full())
}

/// Lets every signal through.
///
/// # Errors
/// Whatever the kernel says.
pub fn unblock_all() -> Result<Mask> {
    set_mask(&empty())
}

/// Sets a mask saved before.
///
/// # Errors
/// Whatever the kernel says.
pub fn restore(mask: &Mask) -> Result<()> {
    set_mask(&mask.0).map(|_| ())
}

/// Sets every signal's disposition to the default, as a program expects it after an exec by a
/// shell. (Rust's runtime ignores SIGPIPE, and ignored dispositions survive an exec.)
pub fn reset_handlers() {
    for signal in 1..=64 {
        if matches!(signal, libc::SIGKILL | libc::SIGSTOP | 32 | 33) {
            continue;
        }
        // SAFETY: SIG_DFL installs no code, so nothing can run in a bad state afterwards.
        unsafe {
            libc::signal(signal, libc::SIG_DFL);
        }
    }
}

/// A descriptor that becomes readable when a (blocked) signal is pending; non-blocking.
#[derive(Debug)]
pub struct SignalFd(OwnedFd);

impl std::os::fd::AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl SignalFd {
    /// For all signals; they must be blocked.
    ///
    /// # Errors
    /// Whatever `signalfd(2)` says.
    pub fn all() -> Result<Self> {
        Self::over(&full())
    }

    fn over(set: &libc::sigset_t) -> Result<Self> {
        // SAFETY: the set is valid for the call; the descriptor returned is new and ours.
        let fd = unsafe { libc::signalfd(-1, set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        if fd < 0 {
            return Err(Error::last("signalfd", ""));
        }
        // SAFETY: just returned by the kernel, so open and without another owner.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// For these signals, which are blocked from here on.
    ///
    /// # Errors
    /// Whatever `sigprocmask(2)` or `signalfd(2)` say.
    pub fn of(signals: &[i32]) -> Result<Self> {
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: sigemptyset initialises the set it is given.
        let mut set = unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            set.assume_init()
        };
        for signal in signals {
            // SAFETY: the set is initialised; a number that is no signal is refused with -1.
            unsafe { libc::sigaddset(&mut set, *signal) };
        }
        // SAFETY: the set is valid for the call, and the old mask is not asked for.
        if unsafe { libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) } < 0 {
            return Err(Error::last("sigprocmask", ""));
        }
        Self::over(&set)
    }

    /// The next pending signal's number, or `None`.
    ///
    /// # Errors
    /// Whatever `read(2)` says.
    pub fn next(&self) -> Result<Option<i32>> {
        let mut info = MaybeUninit::<libc::signalfd_siginfo>::zeroed();
        let size = size_of::<libc::signalfd_siginfo>();
        // SAFETY: the buffer is as long as we say.
        let n = unsafe { libc::read(self.0.as_raw_fd(), info.as_mut_ptr().cast(), size) };
        match usize::try_from(n) {
            Ok(n) if n == size => {
                // SAFETY: all-zero is valid for this plain struct, and the kernel has filled it.
                let number = unsafe { info.assume_init() }.ssi_signo;
                Ok(i32::try_from(number).ok())
            }
            Ok(_) => Ok(None),
            Err(_) => match io::Error::last_os_error() {
                e if e.kind() == io::ErrorKind::WouldBlock => Ok(None),
                e if e.kind() == io::ErrorKind::Interrupted => Ok(None),
                e => Err(Error::new("read", "signalfd", e)),
            },
        }
    }
}

/// Sends a signal to a process (`pid` > 0), a process group (< -1) or everyone (-1).
///
/// # Errors
/// Whatever `kill(2)` says; 0 is refused.
pub fn kill(pid: i32, signal: i32) -> Result<()> {
    if pid == 0 {
        return Err(Error::new("kill", "0", rustix::io::Errno::INVAL));
    }
    // SAFETY: kill takes two integers and touches no memory.
    let rc = unsafe { libc::kill(pid, signal) };
    if rc < 0 { Err(Error::last("kill", pid.to_string())) } else { Ok(()) }
}

/// Signal names without `SIG`, by number.
const NAMES: &[(&str, i32)] = &[
    ("HUP", libc::SIGHUP),
    ("INT", libc::SIGINT),
    ("QUIT", libc::SIGQUIT),
    ("ILL", libc::SIGILL),
    ("TRAP", libc::SIGTRAP),
    ("ABRT", libc::SIGABRT),
    ("BUS", libc::SIGBUS),
    ("FPE", libc::SIGFPE),
    ("KILL", libc::SIGKILL),
    ("USR1", libc::SIGUSR1),
    ("SEGV", libc::SIGSEGV),
    ("USR2", libc::SIGUSR2),
    ("PIPE", libc::SIGPIPE),
    ("ALRM", libc::SIGALRM),
    ("TERM", libc::SIGTERM),
    ("STKFLT", libc::SIGSTKFLT),
    ("CHLD", libc::SIGCHLD),
    ("CONT", libc::SIGCONT),
    ("STOP", libc::SIGSTOP),
    ("TSTP", libc::SIGTSTP),
    ("TTIN", libc::SIGTTIN),
    ("TTOU", libc::SIGTTOU),
    ("URG", libc::SIGURG),
    ("XCPU", libc::SIGXCPU),
    ("XFSZ", libc::SIGXFSZ),
    ("VTALRM", libc::SIGVTALRM),
    ("PROF", libc::SIGPROF),
    ("WINCH", libc::SIGWINCH),
    ("IO", libc::SIGIO),
    ("PWR", libc::SIGPWR),
    ("SYS", libc::SIGSYS),
];

/// First and last real-time signal as programs see them (the C library keeps two for itself).
const RT: (i32, i32) = (34, 64);

/// `SIGTERM`, `SIGRTMIN+3`, … of a number.
pub fn name(number: i32) -> String {
    if let Some((name, _)) = NAMES.iter().find(|(_, n)| *n == number) {
        return format!("SIG{name}");
    }
    if (RT.0..=RT.1).contains(&number) {
        return match number - RT.0 {
            0 => "SIGRTMIN".to_owned(),
            n => format!("SIGRTMIN+{n}"),
        };
    }
    format!("signal {number}")
}

/// The number of `SIGTERM`, `term`, `15`, `RTMIN+3`, `SIGRTMAX-1`.
pub fn number(name: &str) -> Option<i32> {
    if let Ok(number) = name.parse::<i32>() {
        return (1..=RT.1).contains(&number).then_some(number);
    }
    let upper = name.to_ascii_uppercase();
    let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some((_, number)) = NAMES.iter().find(|(n, _)| *n == bare) {
        return Some(*number);
    }
    let number = if let Some(rest) = bare.strip_prefix("RTMIN") {
        let offset = if rest.is_empty() { 0 } else { rest.strip_prefix('+')?.parse().ok()? };
        RT.0.checked_add(offset)?
    } else {
        let rest = bare.strip_prefix("RTMAX")?;
        let offset = if rest.is_empty() { 0 } else { rest.strip_prefix('-')?.parse().ok()? };
        RT.1.checked_sub(offset)?
    };
    (RT.0..=RT.1).contains(&number).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_go_both_ways() {
        for n in (1..=31).chain(34..=64) {
            assert_eq!(number(&name(n)), Some(n), "{n}");
        }
        assert_eq!(number("term"), Some(15));
        assert_eq!(number("RTMAX-1"), Some(63));
        for bad in ["", "SIG", "0", "65", "-1", "RTMIN+31", "RTMIN+x", "FOO", "RTMAX-99999999999"] {
            assert_eq!(number(bad), None, "{bad}");
        }
    }
}
