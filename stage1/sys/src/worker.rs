//! First steps of a sandboxed child: drop inherited descriptors, leave the host's namespaces.

use rustix::io::{Errno, Result};
use rustix::thread::UnshareFlags;

/// Closes every descriptor from `first` on, whoever left it open.
pub fn close_from(first: u32) -> Result<()> {
    // SAFETY: the call takes numbers only. The caller is the first code of a fresh process, before
    // anything in it owns a descriptor from `first` on, so no owner is left with a closed number.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) };
    if result == 0 { Ok(()) } else { Err(last_error()) }
}

/// Puts the calling process into new user, mount, network, IPC and UTS namespaces.
pub fn isolate() -> Result<()> {
    let flags = UnshareFlags::NEWUSER
        | UnshareFlags::NEWNS
        | UnshareFlags::NEWNET
        | UnshareFlags::NEWIPC
        | UnshareFlags::NEWUTS;
    // SAFETY: CLONE_FILES is not among the flags, so no thread's descriptors become another's.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}

fn last_error() -> Errno {
    let error = std::io::Error::last_os_error();
    Errno::from_io_error(&error).unwrap_or(Errno::INVAL)
}
