//! User namespaces: made by a short-lived child, mapped from outside, entered later.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::thread::LinkNameSpaceType;

use crate::caps;
use crate::clone::{CloneArgs, Cloned, exit_now, raw_clone};
use crate::error::{Error, Result};
use crate::{fds, pidfd, proc, signal};

/// A contiguous range of ids, the same for users and groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdRange {
    /// The first id inside the namespace.
    pub inside: u32,
    /// The first id outside.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

/// A user namespace that nobody has to be in: its descriptor keeps it.
#[derive(Debug)]
pub struct UserNamespace {
    /// The namespace.
    pub user: OwnedFd,
    /// The network namespace that belongs to it, if one was asked for.
    pub network: Option<OwnedFd>,
}

/// Makes a user namespace with this one range, that belongs to its first id outside, and perhaps a network namespace that belongs to it,
/// which is why its root may bind low ports there. `setgroups(2)` stays allowed inside.
///
/// # Errors
/// Whatever the kernel says; `ENOSPC` when `user.max_user_namespaces` are there.
pub fn create(range: IdRange, network: bool) -> Result<UserNamespace> {
    let (held, release) = fds::pipe()?;
    let (made, tell) = fds::pipe()?;
    let kinds = libc::CLONE_NEWUSER | if network { libc::CLONE_NEWNET } else { 0 };
    // Blocked over the clone, so that no handler of the caller runs in the child.
    let mask = signal::block_all()?;
    let cloned = raw_clone(CloneArgs::default());
    if let Ok(Cloned::Child) = cloned {
        // Nothing but system calls here: the caller may have had threads. The read ends when the
        // last writing end is closed, by the parent's drop or by its death.
        // SAFETY: the number is the child's own copy of a descriptor that nothing in it uses again:
        // the process ends below without running any destructor.
        unsafe { libc::close(release.as_raw_fd()) };
        let said = unshare_as(range.outside, kinds).to_ne_bytes();
        // SAFETY: the buffer is as long as we say.
        unsafe { libc::write(tell.as_raw_fd(), said.as_ptr().cast(), said.len()) };
        let mut byte = [0u8];
        // SAFETY: the buffer is as long as we say.
        unsafe { libc::read(held.as_raw_fd(), byte.as_mut_ptr().cast(), byte.len()) };
        exit_now(0);
    }
    signal::restore(&mask)?;
    let Cloned::Parent { pid, pidfd } = cloned? else {
        return Err(Error::new("clone3", "", crate::clone::os_error(libc::EIO)));
    };
    drop(tell);
    let made = unshared(made).and_then(|()| describe(pid, range, network));
    drop(release);
    pidfd::wait(pidfd.as_fd())?;
    made
}

/// Puts the caller into namespaces of these kinds that belong to `owner`: what a user namespace
/// uses up, like inotify instances, the kernel counts against its owner too, and were that the
/// host's root, one pod could leave it none. The number of the error, or 0. System calls only.
fn unshare_as(owner: u32, kinds: libc::c_int) -> i32 {
    /// `SECBIT_NO_SETUID_FIXUP`: capabilities stay in force when the id changes.
    const KEEP: libc::c_ulong = 1 << 2;
    let failed = |answer: i64| answer != 0;
    // SAFETY: integers only.
    let refused = unsafe {
        failed(libc::syscall(libc::SYS_prctl, libc::PR_SET_SECUREBITS, KEEP, 0, 0, 0))
            || failed(libc::syscall(libc::SYS_setresuid, u32::MAX, owner, u32::MAX))
            || failed(libc::syscall(libc::SYS_unshare, kinds))
    };
    // SAFETY: the address is this thread's own error number.
    if refused { unsafe { *libc::__errno_location() } } else { 0 }
}

/// Waits for what the child says of its namespaces.
fn unshared(made: OwnedFd) -> Result<()> {
    let failed = |e| Error::new("unshare", "a user namespace", e);
    let mut said = [0; 4];
    std::fs::File::from(made).read_exact(&mut said).map_err(failed)?;
    match i32::from_ne_bytes(said) {
        0 => Ok(()),
        number => Err(failed(crate::clone::os_error(number))),
    }
}

/// The id of the user, outside, to whom a user namespace belongs.
///
/// # Errors
/// Whatever the kernel says; `EINVAL` where it is no user namespace.
pub fn owner(user: BorrowedFd<'_>) -> Result<u32> {
    /// `NS_GET_OWNER_UID`.
    const OWNER: libc::Ioctl = 0xb704;
    let mut owner = u32::MAX;
    // SAFETY: the kernel writes one uid_t, for which there is room.
    if unsafe { libc::ioctl(user.as_raw_fd(), OWNER, &raw mut owner) } == 0 {
        Ok(owner)
    } else {
        Err(Error::new("ioctl", "a user namespace", io::Error::last_os_error()))
    }
}

/// Maps the namespace of a process that waits, and opens it.
fn describe(pid: i32, range: IdRange, network: bool) -> Result<UserNamespace> {
    let line = format!("{} {} {}\n", range.inside, range.outside, range.count);
    for file in ["uid_map", "gid_map"] {
        let path = format!("/proc/{pid}/{file}");
        let failed = |e| Error::new("write", &path, e);
        let mut map = OpenOptions::new().write(true).open(&path).map_err(failed)?;
        map.write_all(line.as_bytes()).map_err(failed)?;
    }
    let open = |kind: &str| {
        let path = format!("/proc/{pid}/ns/{kind}");
        rustix::fs::openat(CWD, &path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|e| Error::new("open", path, e))
    };
    let network = if network { Some(open("net")?) } else { None };
    Ok(UserNamespace { user: open("user")?, network })
}

/// Moves the caller into a user namespace as its root: user, group and file system ids 0, no
/// groups, every capability inside and none outside. Not dumpable afterwards, whatever
/// `fs.suid_dumpable` says.
///
/// # Errors
/// Whatever `setns(2)` or the change of ids says.
pub fn enter(user: BorrowedFd<'_>) -> Result<()> {
    rustix::thread::move_into_link_name_space(user, Some(LinkNameSpaceType::User))
        .map_err(|e| Error::new("setns", "the user namespace", e))?;
    proc::set_ids(0, 0, &[])?;
    proc::set_dumpable(false)
}

/// Moves the caller into a network namespace.
///
/// # Errors
/// Whatever `setns(2)` says.
pub fn enter_network(network: BorrowedFd<'_>) -> Result<()> {
    rustix::thread::move_into_link_name_space(network, Some(LinkNameSpaceType::Network))
        .map_err(|e| Error::new("setns", "the network namespace", e))
}

/// What the caller makes in file systems belongs to these ids from here on. Every capability it has
/// stays in force: the kernel drops those about files when a process leaves id 0 this way.
///
/// # Errors
/// `EPERM` where the ids did not change, or what `capset(2)` says.
pub fn make_files_as(uid: u32, gid: u32) -> Result<()> {
    let sets = caps::get()?;
    for (call, name, id) in
        [(libc::SYS_setfsgid, "setfsgid", gid), (libc::SYS_setfsuid, "setfsuid", uid)]
    {
        // SAFETY: integers only.
        unsafe { libc::syscall(call, id) };
        // The calls never fail: they give back what was before. All ones change nothing.
        // SAFETY: integers only.
        let now = unsafe { libc::syscall(call, u32::MAX) };
        if u32::try_from(now) != Ok(id) {
            return Err(Error::new(name, id.to_string(), rustix::io::Errno::PERM));
        }
    }
    caps::set(sets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    const RANGE: IdRange = IdRange { inside: 0, outside: 1_000_000, count: 65_536 };

    #[test]
    fn a_namespace_outlives_its_maker_and_is_another() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: needs root");
            return;
        }
        let made = create(RANGE, true).unwrap();
        let inode = |fd: &OwnedFd| rustix::fs::fstat(fd).unwrap().st_ino;
        let own = |kind: &str| std::fs::metadata(format!("/proc/self/ns/{kind}")).unwrap().ino();
        assert_ne!(inode(&made.user), own("user"));
        assert_eq!(owner(made.user.as_fd()).unwrap(), RANGE.outside);
        assert_ne!(inode(made.network.as_ref().unwrap()), own("net"));
        assert!(create(RANGE, false).unwrap().network.is_none());
    }

    #[test]
    fn an_impossible_map_is_an_error_that_names_the_file() {
        let range = IdRange { count: 0, ..RANGE };
        let error = create(range, false).unwrap_err().to_string();
        assert!(error.contains("uid_map"), "{error}");
    }
}
