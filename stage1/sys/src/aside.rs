//! A write that takes its time, made by a process of its own.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use crate::clone::{CloneArgs, Cloned, exit_now, raw_clone};
use crate::error::{Error, Result};
use crate::{pidfd, signal};

/// A child that makes one system call and ends. Dropping this waits for it.
#[derive(Debug)]
pub struct Aside(OwnedFd);

impl Drop for Aside {
    fn drop(&mut self) {
        let _ = pidfd::wait(self.0.as_fd());
    }
}

/// Begins to write `bytes` to `file` in a child that holds no other descriptor of the caller's, so that
/// neither a lock nor a pipe outlives the caller in it. Whether the write succeeds is not told.
///
/// # Errors
/// Whatever `clone3(2)` says.
pub fn write(file: BorrowedFd<'_>, bytes: &[u8]) -> Result<Aside> {
    // Blocked over the clone, so that no handler of the caller runs in the child.
    let mask = signal::block_all()?;
    let cloned = raw_clone(CloneArgs::default());
    if let Ok(Cloned::Child) = cloned {
        // Nothing but system calls here: the caller may have threads.
        // SAFETY: the child uses none of its descriptors again but the one that it puts at 0, and
        // ends below without running any destructor; the buffer is as long as we say.
        unsafe {
            if libc::syscall(libc::SYS_dup3, file.as_raw_fd(), 0, 0) == 0
                && libc::syscall(libc::SYS_close_range, 1, u32::MAX, 0) == 0
            {
                libc::write(0, bytes.as_ptr().cast(), bytes.len());
            }
        }
        exit_now(0);
    }
    signal::restore(&mask)?;
    match cloned? {
        Cloned::Parent { pidfd, .. } => Ok(Aside(pidfd)),
        Cloned::Child => Err(Error::new("clone3", "", crate::clone::os_error(libc::EIO))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn what_is_written_arrives_and_the_child_holds_nothing_else() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let (mut held, witness) = std::io::pipe().unwrap();
        let (blocked, full) = std::io::pipe().unwrap();
        // A full pipe keeps the child waiting.
        rustix::io::ioctl_fionbio(&full, true).unwrap();
        while (&full).write(&[0; 4096]).is_ok() {}
        rustix::io::ioctl_fionbio(&full, false).unwrap();
        let waiting = write(full.as_fd(), b"x").unwrap();
        drop(witness);
        // The end comes only if the child that waits has not kept the other end.
        assert_eq!(held.read(&mut [0]).unwrap(), 0);
        drop(blocked);
        drop(waiting);

        drop(write(writer.as_fd(), b"word").unwrap());
        drop(writer);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "word");
    }
}
