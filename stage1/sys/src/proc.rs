//! Attributes of the calling process: ids, limits, session, exec.

use std::ffi::{CStr, CString, c_char};
use std::io;
use std::marker::PhantomData;

use crate::error::{Error, Result};

/// `RLIMIT_*` by name, lower case without the prefix.
const LIMITS: &[(&str, u32)] = &[
    ("as", libc::RLIMIT_AS),
    ("core", libc::RLIMIT_CORE),
    ("cpu", libc::RLIMIT_CPU),
    ("data", libc::RLIMIT_DATA),
    ("fsize", libc::RLIMIT_FSIZE),
    ("locks", libc::RLIMIT_LOCKS),
    ("memlock", libc::RLIMIT_MEMLOCK),
    ("msgqueue", libc::RLIMIT_MSGQUEUE),
    ("nice", libc::RLIMIT_NICE),
    ("nofile", libc::RLIMIT_NOFILE),
    ("nproc", libc::RLIMIT_NPROC),
    ("rss", libc::RLIMIT_RSS),
    ("rtprio", libc::RLIMIT_RTPRIO),
    ("rttime", libc::RLIMIT_RTTIME),
    ("sigpending", libc::RLIMIT_SIGPENDING),
    ("stack", libc::RLIMIT_STACK),
];

/// Whether a limit of this name exists.
pub fn is_rlimit(name: &str) -> bool {
    LIMITS.iter().any(|(n, _)| *n == name)
}

/// Sets a resource limit; `None` is infinity.
///
/// # Errors
/// `EINVAL` for an unknown name, else what `setrlimit(2)` says.
pub fn set_rlimit(name: &str, soft: Option<u64>, hard: Option<u64>) -> Result<()> {
    let Some((_, resource)) = LIMITS.iter().find(|(n, _)| *n == name) else {
        return Err(Error::new("set limit", name, rustix::io::Errno::INVAL));
    };
    let limit = libc::rlimit {
        rlim_cur: soft.unwrap_or(libc::RLIM_INFINITY),
        rlim_max: hard.unwrap_or(libc::RLIM_INFINITY),
    };
    // SAFETY: the struct lives over the call.
    let rc = unsafe { libc::setrlimit(*resource, &raw const limit) };
    if rc < 0 { Err(Error::last("set limit", name)) } else { Ok(()) }
}

/// Raises the caller's own hard limit to `hard` where it is lower; `None` is infinity.
///
/// # Errors
/// `EINVAL` for an unknown name, else what `getrlimit(2)` or `setrlimit(2)` says.
pub fn raise_hard_limit(name: &str, hard: Option<u64>) -> Result<()> {
    let Some((_, resource)) = LIMITS.iter().find(|(n, _)| *n == name) else {
        return Err(Error::new("raise limit", name, rustix::io::Errno::INVAL));
    };
    let wanted = hard.unwrap_or(libc::RLIM_INFINITY);
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the struct lives over the call.
    if unsafe { libc::getrlimit(*resource, &raw mut limit) } < 0 {
        return Err(Error::last("raise limit", name));
    }
    // Infinity is the largest number.
    if limit.rlim_max >= wanted {
        return Ok(());
    }
    limit.rlim_max = wanted;
    // SAFETY: the struct lives over the call.
    let rc = unsafe { libc::setrlimit(*resource, &raw const limit) };
    if rc < 0 { Err(Error::last("raise limit", name)) } else { Ok(()) }
}

/// Sets the caller's groups, group and user, real, effective and saved, in this order. Raw system
/// calls: for the one thread of the calling process.
///
/// # Errors
/// Whatever the kernel says.
pub fn set_ids(uid: u32, gid: u32, groups: &[u32]) -> Result<()> {
    // SAFETY: the pointer and length are those of one slice.
    if unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) } < 0 {
        return Err(Error::last("setgroups", ""));
    }
    // SAFETY: integers only.
    if unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) } < 0 {
        return Err(Error::last("setresgid", gid.to_string()));
    }
    // SAFETY: integers only.
    if unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) } < 0 {
        return Err(Error::last("setresuid", uid.to_string()));
    }
    Ok(())
}

/// Makes the process (not) readable and traceable by processes without CAP_SYS_PTRACE.
///
/// # Errors
/// Whatever `prctl(2)` says.
pub fn set_dumpable(on: bool) -> Result<()> {
    // SAFETY: integers only.
    let rc = unsafe { libc::prctl(libc::PR_SET_DUMPABLE, u64::from(on), 0u64, 0u64, 0u64) };
    if rc < 0 { Err(Error::last("prctl", "PR_SET_DUMPABLE")) } else { Ok(()) }
}

/// Makes the caller the one that orphans among its descendants are given to.
///
/// # Errors
/// Whatever `prctl(2)` says.
pub fn set_subreaper(on: bool) -> Result<()> {
    // SAFETY: integers only.
    let rc = unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, u64::from(on), 0u64, 0u64, 0u64) };
    if rc < 0 { Err(Error::last("prctl", "PR_SET_CHILD_SUBREAPER")) } else { Ok(()) }
}

/// Sets the name that `ps` and `top` show, at most 15 bytes.
///
/// # Errors
/// Whatever `prctl(2)` says.
pub fn set_name(name: &CStr) -> Result<()> {
    rustix::thread::set_name(name).map_err(|e| Error::new("prctl", "PR_SET_NAME", e))
}

/// Starts a session with the caller as its leader.
///
/// # Errors
/// Whatever `setsid(2)` says.
pub fn new_session() -> Result<()> {
    rustix::process::setsid().map(|_| ()).map_err(|e| Error::new("setsid", "", e))
}

/// Sets the file mode creation mask.
pub fn set_umask(mask: u32) {
    rustix::process::umask(rustix::fs::Mode::from_bits_truncate(mask));
}

/// Sets the UTS host name.
///
/// # Errors
/// Whatever `sethostname(2)` says.
pub fn set_hostname(name: &str) -> Result<()> {
    rustix::system::sethostname(name.as_bytes()).map_err(|e| Error::new("sethostname", name, e))
}

/// Arguments and environment of a program, in the form the kernel takes: made beforehand, so that the
/// exec itself is one system call and needs no memory.
#[derive(Debug)]
pub struct Arguments<'a> {
    argv: Vec<*const c_char>,
    envp: Vec<*const c_char>,
    lives: PhantomData<&'a CString>,
}

impl<'a> Arguments<'a> {
    /// Of these strings.
    pub fn new(argv: &'a [CString], envp: &'a [CString]) -> Self {
        Self { argv: pointers(argv), envp: pointers(envp), lives: PhantomData }
    }

    /// Turns the calling process into the program; returns only the error.
    pub fn exec(&self, program: &CStr) -> io::Error {
        // SAFETY: both arrays end with a null pointer and, like their strings, which are borrowed,
        // live over the call.
        unsafe {
            libc::execve(program.as_ptr(), self.argv.as_ptr(), self.envp.as_ptr());
        }
        io::Error::last_os_error()
    }
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|s| s.as_ptr()).chain(std::iter::once(std::ptr::null())).collect()
}
