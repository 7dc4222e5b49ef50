//! Descriptors: inheriting them by number, handing them on, closing the rest.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Mutex;

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

use crate::error::{Error, Result};

/// Numbers that [`inherit`] has handed out: one number has one owner.
static INHERITED: Mutex<Vec<RawFd>> = Mutex::new(Vec::new());

/// Takes ownership of a descriptor this program was started with, and sets close-on-exec.
///
/// Call it early, before anything in the program opens descriptors of its own: a number that was
/// not inherited could be somebody else's by then. Each number is handed out once.
///
/// # Errors
/// A number below 3, one that is not open, or one that was taken before.
pub fn inherit(number: RawFd) -> Result<OwnedFd> {
    let fail = |errno: Errno| Error::new("inherit descriptor", number.to_string(), errno);
    if number < 3 {
        return Err(fail(Errno::INVAL));
    }
    let mut taken = INHERITED.lock().map_err(|_| fail(Errno::BUSY))?;
    if taken.contains(&number) {
        return Err(fail(Errno::BUSY));
    }
    // SAFETY: fcntl on a number touches no memory; the number is tried before it is owned.
    let rc = unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
    if rc < 0 {
        return Err(Error::last("inherit descriptor", number.to_string()));
    }
    taken.push(number);
    // SAFETY: the number is open (just tried), was inherited and, by INHERITED, has no other owner.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Closes every descriptor from 3 up whose number is not in `keep`.
///
/// For the start of a program, before it opens anything: what is closed here must have no owner.
///
/// # Errors
/// Whatever `close_range(2)` says.
pub fn close_others(keep: &[RawFd]) -> Result<()> {
    for (first, last) in gaps(keep) {
        close_range(first, last, 0)?;
    }
    Ok(())
}

/// The ranges from 3 up that leave out the numbers of `keep`.
fn gaps(keep: &[RawFd]) -> Vec<(u32, u32)> {
    let mut keep: Vec<u32> =
        keep.iter().filter_map(|n| u32::try_from(*n).ok()).filter(|n| *n >= 3).collect();
    keep.sort_unstable();
    keep.dedup();
    let mut out = Vec::new();
    let mut next = 3;
    for number in keep {
        if number > next {
            out.push((next, number - 1));
        }
        next = number + 1;
    }
    out.push((next, u32::MAX));
    out
}

fn close_range(first: u32, last: u32, flags: u32) -> Result<()> {
    // SAFETY: close_range takes three integers and touches no memory.
    let rc = unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) };
    if rc < 0 { Err(Error::last("close_range", "")) } else { Ok(()) }
}

/// Sets close-on-exec on every descriptor from 3 up.
///
/// # Errors
/// Whatever `close_range(2)` says.
pub fn cloexec_all() -> Result<()> {
    close_range(3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC)
}

/// Sets or clears close-on-exec.
///
/// # Errors
/// Whatever `fcntl(2)` says.
pub fn set_cloexec(fd: BorrowedFd<'_>, on: bool) -> Result<()> {
    let flags = if on { rustix::io::FdFlags::CLOEXEC } else { rustix::io::FdFlags::empty() };
    rustix::io::fcntl_setfd(fd, flags)
        .map_err(|e| Error::new("fcntl F_SETFD", fd.as_raw_fd().to_string(), e))
}

/// Makes descriptor `number` a duplicate of `fd`, open over an exec.
///
/// For a process that is about to exec: whatever owned `number` in it loses it.
///
/// # Errors
/// Whatever `dup3(2)` says.
pub fn dup_to(fd: BorrowedFd<'_>, number: RawFd) -> Result<()> {
    if fd.as_raw_fd() == number {
        return set_cloexec(fd, false);
    }
    // SAFETY: dup3 takes integers and touches no memory.
    let rc = unsafe { libc::dup3(fd.as_raw_fd(), number, 0) };
    if rc < 0 { Err(Error::last("dup3", number.to_string())) } else { Ok(()) }
}

/// A duplicate at a number of at least `lowest`, close-on-exec.
///
/// # Errors
/// Whatever `fcntl(2)` says.
pub fn dup_above(fd: BorrowedFd<'_>, lowest: RawFd) -> Result<OwnedFd> {
    rustix::io::fcntl_dupfd_cloexec(fd, lowest)
        .map_err(|e| Error::new("fcntl F_DUPFD_CLOEXEC", fd.as_raw_fd().to_string(), e))
}

/// A close-on-exec pipe: `(read, write)`.
///
/// # Errors
/// Whatever `pipe2(2)` says.
pub fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map_err(|e| Error::new("pipe2", "", e))
}

/// An anonymous file with `bytes` in it, sealed against change, at offset 0.
///
/// # Errors
/// Whatever the kernel says to making, writing or sealing it.
pub fn sealed_memfd(name: &str, bytes: &[u8]) -> Result<OwnedFd> {
    use rustix::fs::{MemfdFlags, SealFlags};
    let fail = |e: Errno| Error::new("memfd", name, e);
    let fd = rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)
        .map_err(fail)?;
    let mut rest = bytes;
    while !rest.is_empty() {
        let n = rustix::io::write(&fd, rest).map_err(fail)?;
        rest = rest.get(n..).unwrap_or_default();
    }
    rustix::fs::fcntl_add_seals(
        &fd,
        SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE,
    )
    .map_err(fail)?;
    rustix::fs::seek(&fd, rustix::fs::SeekFrom::Start(0)).map_err(fail)?;
    Ok(fd)
}

/// Most descriptors one packet may carry.
pub const MAX_PASSED: usize = 8;

/// Sends one packet with descriptors on a unix socket; never raises SIGPIPE.
///
/// # Errors
/// Whatever `sendmsg(2)` says; `EMSGSIZE` for more than [`MAX_PASSED`] descriptors.
pub fn send_with_fds(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    fds: &[BorrowedFd<'_>],
) -> Result<usize> {
    if fds.len() > MAX_PASSED {
        return Err(Error::new("sendmsg", "", Errno::MSGSIZE));
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_PASSED))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(fds));
    }
    rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)
        .map_err(|e| Error::new("sendmsg", "", e))
}

/// A packet and the descriptors that came with it (close-on-exec).
#[derive(Debug)]
pub struct Packet {
    /// The bytes; empty = the other side is gone.
    pub bytes: Vec<u8>,
    /// The descriptors, in the order they were sent.
    pub fds: Vec<OwnedFd>,
    /// Whether bytes or descriptors were cut off.
    pub truncated: bool,
}

/// Receives one packet of at most `limit` bytes.
///
/// # Errors
/// Whatever `recvmsg(2)` says.
pub fn recv_with_fds(socket: BorrowedFd<'_>, limit: usize) -> Result<Packet> {
    let mut bytes = vec![0; limit];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_PASSED))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = rustix::net::recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut bytes)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )
    .map_err(|e| Error::new("recvmsg", "", e))?;
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    bytes.truncate(got.bytes);
    let cut = rustix::net::ReturnFlags::TRUNC | rustix::net::ReturnFlags::CTRUNC;
    Ok(Packet { bytes, fds, truncated: got.flags.intersects(cut) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn gaps_leave_out_what_is_kept() {
        assert_eq!(gaps(&[]), vec![(3, u32::MAX)]);
        assert_eq!(gaps(&[3, 4, 7, 7, -1, 1]), vec![(5, 6), (8, u32::MAX)]);
    }

    #[test]
    fn packets_carry_descriptors() {
        let (a, b) = rustix::net::socketpair(
            rustix::net::AddressFamily::UNIX,
            rustix::net::SocketType::SEQPACKET,
            rustix::net::SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        let memory = sealed_memfd("test", b"hello").unwrap();
        send_with_fds(a.as_fd(), b"take this", &[memory.as_fd()]).unwrap();
        let packet = recv_with_fds(b.as_fd(), 64).unwrap();
        assert_eq!(packet.bytes, b"take this");
        assert!(!packet.truncated);
        let mut got = [0; 8];
        assert_eq!(rustix::io::read(&packet.fds[0], &mut got).unwrap(), 5);
    }

    #[test]
    fn standard_and_closed_numbers_are_refused() {
        assert!(inherit(2).is_err());
        assert!(inherit(10_000).is_err());
    }
}
