//! The pod's part of the cgroup tree: init's leaf, a leaf per app.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rocket_sys::clone::{self, Namespaces};
use rocket_sys::mount::{self, Attributes};
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use crate::failure::{Context, Failure, Result, warn};

const ATTRIBUTES: Attributes =
    Attributes { read_only: false, nosuid: true, nodev: true, noexec: true };
/// The leaf init lives in, so that the pod's own cgroup is an inner node.
const INIT: &str = "init";

/// The pod's cgroup as a detached mount, rooted there by the cgroup namespace: nothing above it
/// can be reached through it.
#[derive(Debug)]
pub struct Tree {
    mount: OwnedFd,
    /// Leaves in which `cgroup.kill` was used.
    killed: RefCell<BTreeSet<String>>,
}

impl Tree {
    /// Takes the tree of the cgroup namespace. `claim`: first make the namespace in the cgroup the
    /// caller is in, then move the caller to the `init` leaf and enable the controllers.
    pub fn open(claim: bool) -> Result<Self> {
        if claim {
            clone::unshare(Namespaces::CGROUP)
                .context(|| "make the cgroup namespace".to_owned())?;
        }
        // Never in the host's cgroup namespace: there, a mount resets the hierarchy's options.
        let mount = mount::new_filesystem("cgroup2", &[], ATTRIBUTES)
            .context(|| "mount the cgroup".to_owned())?;
        if claim {
            populate(mount.as_fd())?;
        }
        Ok(Self { mount, killed: RefCell::default() })
    }

    /// Makes an app's leaf.
    pub fn make_leaf(&self, leaf: &str) -> Result<OwnedFd> {
        make_directory(self.mount.as_fd(), leaf)?;
        self.leaf(leaf)
    }

    /// The pod's own cgroup: that of its unit.
    pub fn top(&self) -> BorrowedFd<'_> {
        self.mount.as_fd()
    }

    /// Gives what init needs to start, stop and remove leaves to `owner`. Limits and the switches of
    /// controllers stay the host's root's: nobody inside can change them.
    pub fn give(&self, owner: u32, leaves: &[&str]) -> Result<()> {
        let give = |directory: BorrowedFd<'_>, name: &str| {
            let (uid, gid) = (Uid::from_raw(owner), Gid::from_raw(owner));
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            match rustix::fs::chownat(directory, name, Some(uid), Some(gid), flags) {
                // Not every kernel has every file.
                Ok(()) | Err(Errno::NOENT) => Ok(()),
                Err(e) => Err(e).context(|| format!("give {name} of a cgroup to user {owner}")),
            }
        };
        let unit = open_directory(self.mount.as_fd(), ".")?;
        give(unit.as_fd(), ".")?;
        give(unit.as_fd(), "cgroup.procs")?;
        for leaf in leaves {
            let leaf = self.leaf(leaf)?;
            for name in [".", "cgroup.procs", "cgroup.kill", "cgroup.freeze"] {
                give(leaf.as_fd(), name)?;
            }
        }
        Ok(())
    }

    /// A leaf's directory, for starting processes in it.
    pub fn leaf(&self, leaf: &str) -> Result<OwnedFd> {
        open_directory(self.mount.as_fd(), leaf)
    }

    /// Whether a process can be cloned straight into a leaf. Newer kernels (seen on 6.18) kill what
    /// is cloned into a cgroup in which `cgroup.kill` was ever used: they compare the count of
    /// kills of the parent's cgroup with that of the child's. Such a child has to move by itself.
    pub fn takes_clones(&self, leaf: &str) -> bool {
        !self.killed.borrow().contains(leaf)
    }

    /// Kills everything in a leaf.
    pub fn kill(&self, leaf: &str) -> Result<()> {
        let directory = self.leaf(leaf)?;
        self.killed.borrow_mut().insert(leaf.to_owned());
        write(directory.as_fd(), "cgroup.kill", "1").context(|| format!("kill {leaf}"))
    }

    /// Kills what a run has left in a leaf, and gives it a moment to be gone: what it holds, a
    /// port perhaps, the next run may need.
    pub fn clear(&self, leaf: &str) {
        let Ok(directory) = self.leaf(leaf) else { return };
        for _ in 0..100 {
            match read(directory.as_fd(), "cgroup.events") {
                Ok(text) if text.lines().any(|line| line == "populated 1") => {}
                _ => return,
            }
            self.killed.borrow_mut().insert(leaf.to_owned());
            let _ = write(directory.as_fd(), "cgroup.kill", "1");
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        warn(&format!("what the last run left in {leaf} does not die"));
    }

    /// A leaf's `memory.events`, where it has the controller.
    pub fn memory_events(&self, leaf: &str) -> Option<OwnedFd> {
        let directory = self.leaf(leaf).ok()?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        rustix::fs::openat(directory, "memory.events", flags, Mode::empty()).ok()
    }

    /// Removes an empty leaf; systemd removes what is left with the unit.
    pub fn remove(&self, leaf: &str) {
        let _ = rustix::fs::unlinkat(&self.mount, leaf, AtFlags::REMOVEDIR);
    }
}

/// Moves the caller into a leaf.
pub fn join(leaf: BorrowedFd<'_>) -> Result<()> {
    write(leaf, "cgroup.procs", "0").context(|| "enter the leaf".to_owned())
}

/// How many processes the kernel has killed, from an open `memory.events`. Reading it also ends
/// its being ready to poll.
pub fn oom_kills(events: BorrowedFd<'_>) -> Option<u64> {
    let mut buffer = [0; 512];
    let n = rustix::io::pread(events, &mut buffer, 0).ok()?;
    oom_kills_in(&String::from_utf8_lossy(buffer.get(..n)?))
}

fn oom_kills_in(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill "))?.parse().ok()
}

/// The unit's cgroup as the entry process sees it, while the host's file system is in sight.
///
/// A move of a process from one cgroup to another waits for all processors (a grace period of RCU: some
/// ten milliseconds), so there is as little of it as can be: init is cloned into its leaf, and
/// the entry process, which is about to end, moves only if it is in the way.
#[derive(Debug)]
pub struct Unit {
    directory: OwnedFd,
    leaf: OwnedFd,
}

impl Unit {
    /// Finds it, and makes init's leaf.
    pub fn of_self() -> Result<Self> {
        let own = std::fs::read_to_string("/proc/self/cgroup")
            .context(|| "read /proc/self/cgroup".to_owned())?;
        let mounts = std::fs::read_to_string("/proc/self/mountinfo")
            .context(|| "read /proc/self/mountinfo".to_owned())?;
        let path =
            own_path(&own).ok_or_else(|| Failure::rocket("this process has no cgroup v2"))?;
        let top = mount_point(&mounts)
            .ok_or_else(|| Failure::rocket("no cgroup v2 file system is mounted"))?;
        let unit = format!("{top}{path}");
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory =
            rustix::fs::open(&unit, flags, Mode::empty()).context(|| format!("open {unit}"))?;
        make_directory(directory.as_fd(), INIT)?;
        let leaf = open_directory(directory.as_fd(), INIT)?;
        Ok(Self { directory, leaf })
    }

    /// init's leaf.
    pub fn leaf(&self) -> BorrowedFd<'_> {
        self.leaf.as_fd()
    }

    /// Moves a process to init's leaf; 0 is the caller.
    pub fn move_to_leaf(&self, pid: i32) -> Result<()> {
        move_to(self.leaf(), pid)
    }

    /// Makes every controller of the unit available to its leaves. The caller moves out of the way
    /// first: a cgroup with processes of its own cannot give controllers to children (EBUSY).
    pub fn enable_controllers(&self) -> Result<()> {
        let unit = self.directory.as_fd();
        let missing = missing_controllers(unit)?;
        if missing.is_empty() {
            return Ok(());
        }
        self.move_to_leaf(0)?;
        enable(unit, &missing);
        Ok(())
    }
}

/// Moves the caller from the cgroup `unit` to init's leaf in it, and enables the controllers.
fn populate(unit: BorrowedFd<'_>) -> Result<()> {
    make_directory(unit, INIT)?;
    let leaf = open_directory(unit, INIT)?;
    move_to(leaf.as_fd(), 0)?;
    enable(unit, &missing_controllers(unit)?);
    Ok(())
}

fn move_to(leaf: BorrowedFd<'_>, pid: i32) -> Result<()> {
    write(leaf, "cgroup.procs", &pid.to_string())
        .context(|| format!("move process {pid} to the {INIT} leaf"))
}

/// The controllers that a cgroup has and does not give to its children.
fn missing_controllers(unit: BorrowedFd<'_>) -> Result<Vec<String>> {
    let list = |file: &str| read(unit, file).context(|| format!("read {file}"));
    let given = list("cgroup.subtree_control")?;
    let all = list("cgroup.controllers")?;
    let missing =
        all.split_whitespace().filter(|word| !given.split_whitespace().any(|w| w == *word));
    Ok(missing.map(str::to_owned).collect())
}

/// Enables controllers: all at once, for each time moves what is in the leaves; one by one where some
/// cannot be.
fn enable(unit: BorrowedFd<'_>, controllers: &[String]) {
    if controllers.is_empty() {
        return;
    }
    let words: Vec<String> = controllers.iter().map(|name| format!("+{name}")).collect();
    if write(unit, "cgroup.subtree_control", &words.join(" ")).is_ok() {
        return;
    }
    for word in words {
        if let Err(e) = write(unit, "cgroup.subtree_control", &word) {
            // A limit that needs it fails by name later.
            warn(&format!("cannot enable the {} controller: {e}", word.trim_start_matches('+')));
        }
    }
}

fn make_directory(parent: BorrowedFd<'_>, name: &str) -> Result<()> {
    match rustix::fs::mkdirat(parent, name, Mode::from_bits_truncate(0o755)) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(e) => Err(e).context(|| format!("make the cgroup {name}")),
    }
}

fn open_directory(parent: BorrowedFd<'_>, name: &str) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::openat(parent, name, flags, Mode::empty())
        .context(|| format!("open the cgroup {name}"))
}

/// Writes a file of a cgroup.
pub fn write(directory: BorrowedFd<'_>, file: &str, value: &str) -> rustix::io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let fd = rustix::fs::openat(directory, file, flags, Mode::empty())?;
    rustix::io::write(&fd, value.as_bytes()).map(|_| ())
}

/// Reads a file of a cgroup, to what limits and lists of controllers may have.
pub fn read(directory: BorrowedFd<'_>, file: &str) -> rustix::io::Result<String> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let fd = rustix::fs::openat(directory, file, flags, Mode::empty())?;
    let mut buffer = [0; 8192];
    let n = rustix::io::read(&fd, &mut buffer)?;
    Ok(String::from_utf8_lossy(buffer.get(..n).unwrap_or_default()).into_owned())
}

/// The v2 line of `/proc/self/cgroup`.
fn own_path(text: &str) -> Option<&str> {
    let path = text.lines().find_map(|l| l.strip_prefix("0::"))?;
    Some(path.trim_end_matches('/'))
}

/// Where `/proc/self/mountinfo` has the whole v2 hierarchy.
fn mount_point(text: &str) -> Option<&str> {
    text.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let mut fields = left.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        (right.starts_with("cgroup2 ") && root == "/").then_some(point)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_the_victims_of_a_lack_of_memory() {
        let text = "low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 1\n";
        assert_eq!(oom_kills_in(text), Some(2));
        assert_eq!(oom_kills_in("low 0\n"), None);
    }

    #[test]
    fn finds_its_own_cgroup() {
        assert_eq!(own_path("1:cpu:/x\n0::/a/b.service\n"), Some("/a/b.service"));
        assert_eq!(own_path("0::/\n"), Some(""));
        assert_eq!(own_path("1:cpu:/x\n"), None);
        let mounts = "30 23 0:26 / /sys rw - sysfs sysfs rw\n\
                      31 30 0:27 /x /mnt rw shared:4 - cgroup2 cgroup rw\n\
                      32 30 0:27 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n";
        assert_eq!(mount_point(mounts), Some("/sys/fs/cgroup"));
        assert_eq!(mount_point("garbage\n"), None);
    }
}
