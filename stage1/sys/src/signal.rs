//! Signals: masks, dispositions, signalfd, names.

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::signalfd;

use crate::error::{Error, Result};

/// A saved signal mask.
#[derive(Clone, Copy, Debug)]
pub struct Mask(SigSet);

fn set_mask(set: &SigSet) -> Result<Mask> {
    let old = set.thread_swap_mask(SigmaskHow::SIG_SETMASK);
    old.map(Mask).map_err(|e| Error::new("pthread_sigmask", "", e))
}

/// Blocks every signal of the calling thread and returns the mask before.
///
/// # Errors
/// Whatever the kernel says.
pub fn block_all() -> Result<Mask> {
    set_mask(&SigSet::all())
}

/// Lets every signal through.
///
/// # Errors
/// Whatever the kernel says.
pub fn unblock_all() -> Result<Mask> {
    set_mask(&SigSet::empty())
}

/// Sets a mask saved before.
///
/// # Errors
/// Whatever the kernel says.
pub fn restore(mask: &Mask) -> Result<()> {
    set_mask(&mask.0).map(|_| ())
}

/// Sets every signal's disposition to the default, as a program expects it after an exec by a
/// shell: ignored ones survive an exec. (Rust's runtime ignores SIGPIPE, and whoever started us may
/// have ignored others, also those the C library keeps for itself.)
pub fn reset_handlers() {
    // `struct sigaction` as the kernel reads it, all zero: SIG_DFL, no flags, empty mask.
    let default = [0u64; 4];
    for signal in (1..=64).filter(|s| !matches!(*s, libc::SIGKILL | libc::SIGSTOP)) {
        // SAFETY: SIG_DFL installs no code, the struct is at least as long as the kernel's, the
        // old action is not asked for, and 8 is the kernel's own size of a signal set.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                default.as_ptr(),
                std::ptr::null::<u64>(),
                8usize,
            );
        }
    }
}

/// Gives one signal its default disposition back: an ignored one survives the exec of this program,
/// and an ignored SIGCHLD makes children vanish before they are waited for.
///
/// # Errors
/// A number that is no signal.
pub fn reset(signal: i32) -> Result<()> {
    // SAFETY: SIG_DFL installs no code, so nothing can run in a bad state afterwards.
    let before = unsafe { libc::signal(signal, libc::SIG_DFL) };
    if before == libc::SIG_ERR { Err(Error::last("signal", signal.to_string())) } else { Ok(()) }
}

/// A descriptor that becomes readable when a (blocked) signal is pending; non-blocking.
#[derive(Debug)]
pub struct SignalFd(signalfd::SignalFd);

impl AsFd for SignalFd {
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
        Self::over(&SigSet::all())
    }

    /// For these signals, which are blocked from here on.
    ///
    /// # Errors
    /// A number that is no signal, or whatever the kernel says.
    pub fn of(signals: &[i32]) -> Result<Self> {
        let mut set = SigSet::empty();
        for signal in signals {
            let signal = Signal::try_from(*signal)
                .map_err(|e| Error::new("signalfd", signal.to_string(), e))?;
            set.add(signal);
        }
        set.thread_block().map_err(|e| Error::new("pthread_sigmask", "", e))?;
        Self::over(&set)
    }

    fn over(set: &SigSet) -> Result<Self> {
        let flags = signalfd::SfdFlags::SFD_CLOEXEC | signalfd::SfdFlags::SFD_NONBLOCK;
        let fd = signalfd::SignalFd::with_flags(set, flags);
        fd.map(Self).map_err(|e| Error::new("signalfd", "", e))
    }

    /// The next pending signal's number, or `None`.
    ///
    /// # Errors
    /// Whatever `read(2)` says.
    pub fn next(&self) -> Result<Option<i32>> {
        match self.0.read_signal() {
            Ok(info) => Ok(info.and_then(|i| i32::try_from(i.ssi_signo).ok())),
            Err(Errno::EINTR) => Ok(None),
            Err(e) => Err(Error::new("read", "signalfd", e)),
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
    fn a_blocked_signal_comes_out_of_the_descriptor_once() {
        let before = block_all().unwrap();
        let signals = SignalFd::all().unwrap();
        assert_eq!(signals.next().unwrap(), None);
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGUSR1).unwrap();
        assert_eq!(signals.next().unwrap(), Some(libc::SIGUSR1));
        assert_eq!(signals.next().unwrap(), None);
        restore(&before).unwrap();
    }

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
