//! New processes and namespaces.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::thread::{ThreadNameSpaceType, UnshareFlags};

use crate::error::{Error, Result};

/// Proof that this process had one thread when it was asked, given out by [`SingleThread::prove`].
/// A program that holds one must not start threads: then a child made by [`clone3`] may do
/// everything its parent may, because no lock can be held by a thread that is not there.
#[derive(Clone, Copy, Debug)]
pub struct SingleThread(());

impl SingleThread {
    /// Counts this process's threads.
    ///
    /// # Errors
    /// `EAGAIN` when there are several, or what reading `/proc/self/task` says.
    pub fn prove() -> Result<Self> {
        let stat = rustix::fs::stat("/proc/self/task")
            .map_err(|e| Error::new("count the threads in", "/proc/self/task", e))?;
        if stat.st_nlink == 3 {
            Ok(Self(()))
        } else {
            Err(Error::new("be single-threaded", "", rustix::io::Errno::AGAIN))
        }
    }
}

/// Namespaces, by flag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Namespaces(u64);

impl Namespaces {
    /// None.
    pub const NONE: Self = Self(0);
    /// Processes.
    pub const PID: Self = Self(libc::CLONE_NEWPID as u64);
    /// Mounts.
    pub const MOUNT: Self = Self(libc::CLONE_NEWNS as u64);
    /// System V IPC and POSIX message queues.
    pub const IPC: Self = Self(libc::CLONE_NEWIPC as u64);
    /// Host name.
    pub const UTS: Self = Self(libc::CLONE_NEWUTS as u64);
    /// Network.
    pub const NETWORK: Self = Self(libc::CLONE_NEWNET as u64);
    /// The root of the cgroup tree.
    pub const CGROUP: Self = Self(libc::CLONE_NEWCGROUP as u64);
    /// Users and capabilities.
    pub const USER: Self = Self(libc::CLONE_NEWUSER as u64);

    /// Both sets.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn bits(self) -> u32 {
        // All flags of the constants above lie in the lower 32 bits.
        (self.0 & u64::from(u32::MAX)) as u32
    }
}

/// What [`clone3`] makes.
#[derive(Clone, Copy, Debug, Default)]
pub struct CloneArgs<'a> {
    /// New namespaces of the child.
    pub namespaces: Namespaces,
    /// The child becomes a sibling: its parent is the caller's parent.
    pub sibling: bool,
    /// The child starts in this cgroup2 directory.
    pub cgroup: Option<BorrowedFd<'a>>,
}

/// Which side of the clone this is.
#[derive(Debug)]
pub enum Cloned {
    /// The new process.
    Child,
    /// The old one.
    Parent {
        /// The child's PID as the caller sees it.
        pid: i32,
        /// The child.
        pidfd: OwnedFd,
    },
}

/// clone3 only: it does not fit the integer that libc gives its flags.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

#[repr(C, align(8))]
#[derive(Default)]
struct RawArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Makes a process: a copy of this one, like fork, in the namespaces and cgroup asked for.
///
/// # Errors
/// Whatever `clone3(2)` says.
pub fn clone3(_single: SingleThread, args: CloneArgs<'_>) -> Result<Cloned> {
    raw_clone(args)
}

pub(crate) fn raw_clone(args: CloneArgs<'_>) -> Result<Cloned> {
    let mut pidfd: libc::c_int = -1;
    let mut flags = args.namespaces.0 | libc::CLONE_PIDFD as u64;
    let mut raw = RawArgs { pidfd: (&raw mut pidfd) as u64, ..RawArgs::default() };
    if args.sibling {
        // The kernel wants exit_signal 0 here; the sibling inherits the caller's own.
        flags |= libc::CLONE_PARENT as u64;
    } else {
        raw.exit_signal = libc::SIGCHLD as u64;
    }
    if let Some(cgroup) = args.cgroup {
        flags |= CLONE_INTO_CGROUP;
        raw.cgroup = u64::try_from(cgroup.as_raw_fd()).unwrap_or_default();
    }
    raw.flags = flags;
    // SAFETY: without CLONE_VM and with stack 0 this is a fork: the child runs on a copy of this
    // stack and memory. The struct lives over the call and its size is passed. Callers either are
    // single-threaded (the token) or make only async-signal-safe calls in the child (`spawn`).
    let rc = unsafe { libc::syscall(libc::SYS_clone3, &raw mut raw, size_of::<RawArgs>()) };
    match rc {
        0 => Ok(Cloned::Child),
        pid if pid > 0 => {
            // SAFETY: CLONE_PIDFD made the kernel store a new descriptor of ours there.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Cloned::Parent { pid: i32::try_from(pid).unwrap_or(i32::MAX), pidfd })
        }
        _ => Err(Error::last("clone3", "")),
    }
}

/// [`raw_clone`] for `spawn`, whose child keeps to async-signal-safe calls.
pub(crate) fn fork() -> Result<Cloned> {
    raw_clone(CloneArgs::default())
}

/// Moves the caller into new namespaces (for PID: its future children).
///
/// # Errors
/// Whatever `unshare(2)` says.
pub fn unshare(namespaces: Namespaces) -> Result<()> {
    let flags = UnshareFlags::from_bits_retain(namespaces.bits());
    // SAFETY: the flags can only name namespaces (the constants above), never CLONE_FILES or
    // CLONE_VM, so descriptors and memory stay shared as the rest of the process expects.
    unsafe { rustix::thread::unshare_unsafe(flags) }.map_err(|e| Error::new("unshare", "", e))
}

/// Moves the caller into namespaces of another process. Mount: root and working directory become
/// that namespace's root.
///
/// # Errors
/// Whatever `setns(2)` says.
pub fn enter(pidfd: BorrowedFd<'_>, namespaces: Namespaces) -> Result<()> {
    let types = ThreadNameSpaceType::from_bits_retain(namespaces.bits());
    rustix::thread::move_into_thread_name_spaces(pidfd, types)
        .map_err(|e| Error::new("setns", "", e))
}

/// Ends the process at once, without running destructors or exit handlers: for children made by
/// [`clone3`], which share them with their parent.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit never returns and touches no memory.
    unsafe { libc::_exit(code) }
}

/// Kept as a plain function so that `io` errors of helpers read the same everywhere.
pub(crate) fn os_error(errno: i32) -> io::Error {
    io::Error::from_raw_os_error(errno)
}
