//! Raw system calls of the probe: the one file with `unsafe` outside `stage1/sys`.
//!
//! The probe tries calls that rocket itself never makes, with wrong numbers and through side doors;
//! wrappers for them in `stage1/sys` would only invite use. Nothing that is installed links this.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::fmt;

/// An argument of a system call.
#[derive(Debug)]
pub enum Arg<'a> {
    /// A number; never an address.
    Int(i64),
    /// A string, which gets its NUL byte here.
    Text(&'a str),
    /// Bytes that the kernel reads.
    In(&'a [u8]),
    /// Bytes that the kernel may write.
    Out(&'a mut [u8]),
    /// No pointer.
    Null,
}

/// A kernel's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub i32);

const NAMES: [(i32, &str); 28] = [
    (libc::EPERM, "EPERM"),
    (libc::ENOENT, "ENOENT"),
    (libc::ESRCH, "ESRCH"),
    (libc::EIO, "EIO"),
    (libc::ENXIO, "ENXIO"),
    (libc::ENOEXEC, "ENOEXEC"),
    (libc::EBADF, "EBADF"),
    (libc::EAGAIN, "EAGAIN"),
    (libc::EACCES, "EACCES"),
    (libc::EFAULT, "EFAULT"),
    (libc::EBUSY, "EBUSY"),
    (libc::EEXIST, "EEXIST"),
    (libc::EXDEV, "EXDEV"),
    (libc::ENODEV, "ENODEV"),
    (libc::ENOTDIR, "ENOTDIR"),
    (libc::EINVAL, "EINVAL"),
    (libc::EMFILE, "EMFILE"),
    (libc::ENOTTY, "ENOTTY"),
    (libc::ENOSPC, "ENOSPC"),
    (libc::EROFS, "EROFS"),
    (libc::ENOSYS, "ENOSYS"),
    (libc::ELOOP, "ELOOP"),
    (libc::ENOKEY, "ENOKEY"),
    (libc::EOPNOTSUPP, "EOPNOTSUPP"),
    (libc::EAFNOSUPPORT, "EAFNOSUPPORT"),
    (libc::EPROTONOSUPPORT, "EPROTONOSUPPORT"),
    (libc::ESOCKTNOSUPPORT, "ESOCKTNOSUPPORT"),
    (libc::ECONNREFUSED, "ECONNREFUSED"),
];

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(number, _)| *number == self.0) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "errno {}", self.0),
        }
    }
}

/// Makes a system call.
///
/// # Errors
/// What the kernel answers.
pub fn call(number: i64, args: &mut [Arg<'_>]) -> Result<i64, Errno> {
    let (words, _strings) = words(args);
    let [a, b, c, d, e, f] = words;
    // SAFETY: every address comes from a borrow or a string that lives over the call; how much the
    // kernel reads or writes there is the table's business, whose buffers are larger than any answer.
    // A mistake ends one child of the probe, which then has not succeeded.
    let rc = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    if rc < 0 {
        Err(Errno(std::io::Error::last_os_error().raw_os_error().unwrap_or(0)))
    } else {
        Ok(rc)
    }
}

fn words(args: &mut [Arg<'_>]) -> ([i64; 6], Vec<CString>) {
    let mut words = [0; 6];
    let mut strings = Vec::new();
    for (word, arg) in words.iter_mut().zip(args) {
        *word = match arg {
            Arg::Int(number) => *number,
            Arg::Text(text) => {
                let text = CString::new(*text).unwrap_or_default();
                let address = text.as_ptr() as i64;
                strings.push(text);
                address
            }
            Arg::In(bytes) => bytes.as_ptr() as i64,
            Arg::Out(bytes) => bytes.as_mut_ptr() as i64,
            Arg::Null => 0,
        };
    }
    (words, strings)
}

/// A system call without arguments by the door for 32-bit programs (`int 0x80`).
#[cfg(target_arch = "x86_64")]
#[must_use]
pub fn call_i386(number: u32) -> i64 {
    let answer: u64;
    // SAFETY: the kernel keeps all registers but rax, and older ones r8 to r11, which are named; a
    // call without arguments touches no memory. rbx, which Rust reserves, is not touched.
    unsafe {
        std::arch::asm!(
            "int 0x80",
            inlateout("rax") u64::from(number) => answer,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    // The answer is 32 bits wide.
    i64::from(answer as u32 as i32)
}

/// A fork by a system call of its own with `flags`; the child ends at once with 0.
///
/// # Errors
/// What the kernel answers.
pub fn fork_with(number: i64, args: &mut [Arg<'_>]) -> Result<i64, Errno> {
    let (words, _strings) = words(args);
    let [a, b, c, d, e, f] = words;
    // SAFETY: as in `call`; without a stack of its own and without CLONE_VM the child has a copy of
    // this one, and does nothing with it but end.
    unsafe {
        match libc::syscall(number, a, b, c, d, e, f) {
            0 => libc::_exit(0),
            rc if rc < 0 => Err(Errno(std::io::Error::last_os_error().raw_os_error().unwrap_or(0))),
            child => {
                libc::syscall(libc::SYS_wait4, child, 0, libc::__WALL, 0);
                Ok(child)
            }
        }
    }
}

/// The caller's ids.
#[must_use]
pub fn effective_uid() -> u32 {
    // SAFETY: takes nothing, cannot fail.
    unsafe { libc::geteuid() }
}

/// Lets a signal pass by.
pub fn ignore(signal: i32) {
    // SAFETY: ignoring a signal runs no code of ours.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

/// A pointer's value, for structures that hold addresses.
#[must_use]
pub fn address(bytes: &[u8]) -> u64 {
    bytes.as_ptr() as u64
}
