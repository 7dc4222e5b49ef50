//! Attributes of the calling process: ids, limits, session, exec.

use std::ffi::{CStr, CString, c_char};
use std::io::{self, Read};
use std::os::fd::BorrowedFd;

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

/// Turns the calling process into another program; returns only the error.
pub fn exec(program: &CStr, argv: &[CString], envp: &[CString]) -> io::Error {
    let argv = pointers(argv);
    let envp = pointers(envp);
    // SAFETY: both arrays end with a null pointer and, like their strings, live over the call.
    unsafe {
        libc::execve(program.as_ptr(), argv.as_ptr(), envp.as_ptr());
    }
    io::Error::last_os_error()
}

/// Gives back the memory of code that has run and may never run again, such as a program's setup:
/// the kernel reads pages back from the file when they are needed. `procfs` is a procfs that shows
/// the caller. Best effort: returns how many bytes were considered.
pub fn forget_code(procfs: BorrowedFd<'_>) -> usize {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let Ok(file) = rustix::fs::openat(procfs, "self/maps", flags, Mode::empty()) else { return 0 };
    let mut text = String::new();
    if std::fs::File::from(file).read_to_string(&mut text).is_err() {
        return 0;
    }
    let mut total = 0;
    for (start, length) in text.lines().filter_map(code_mapping) {
        // SAFETY: a private mapping of a file, never writable, holds nothing but what the file
        // holds: dropping its pages changes no byte that a later access sees. The kernel has just
        // named the range, and this process has one thread that maps and unmaps nothing here.
        let rc = unsafe { libc::madvise(start as *mut libc::c_void, length, libc::MADV_DONTNEED) };
        if rc == 0 {
            total += length;
        }
    }
    total
}

/// Start and length of a line of `/proc/PID/maps` that maps a file's code, private and read-only.
fn code_mapping(line: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    if fields.next()? != "r-xp" || !fields.nth(3)?.starts_with('/') {
        return None;
    }
    let start = usize::from_str_radix(start, 16).ok()?;
    let end = usize::from_str_radix(end, 16).ok()?;
    Some((start, end.checked_sub(start)?))
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|s| s.as_ptr()).chain(std::iter::once(std::ptr::null())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_of_files_is_forgotten() {
        let code = "7f00-8000 r-xp 00001000 fd:00 12 /usr/bin/init";
        assert_eq!(code_mapping(code), Some((0x7f00, 0x100)));
        for other in [
            "7f00-8000 r--p 00001000 fd:00 12 /usr/bin/init",
            "7f00-8000 rwxp 00001000 fd:00 12 /usr/bin/init",
            "7f00-8000 r-xp 00000000 00:00 0",
            "7f00-8000 r-xp 00000000 00:00 0 [vdso]",
            "x",
        ] {
            assert_eq!(code_mapping(other), None, "{other}");
        }
    }
}
