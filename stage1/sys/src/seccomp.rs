//! Installing a compiled system call filter.

use crate::error::{Error, Result};

/// Installs a classic BPF program, `[code, jt, jf, k]` an instruction, for the caller and all it
/// execs. Needs no-new-privileges or CAP_SYS_ADMIN; sets neither.
///
/// # Errors
/// Whatever `seccomp(2)` says; `EINVAL` for a program that is empty or too long.
pub fn install(program: &[(u16, u8, u8, u32)]) -> Result<()> {
    let mut code: Vec<libc::sock_filter> = program
        .iter()
        .map(|(code, jt, jf, k)| libc::sock_filter { code: *code, jt: *jt, jf: *jf, k: *k })
        .collect();
    let len = u16::try_from(code.len())
        .map_err(|_| Error::new("seccomp", "", rustix::io::Errno::INVAL))?;
    let filter = libc::sock_fprog { len, filter: code.as_mut_ptr() };
    // SAFETY: the program's length is its own; the kernel copies and checks it in the call.
    let rc = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const filter)
    };
    if rc < 0 { Err(Error::last("seccomp", "")) } else { Ok(()) }
}
