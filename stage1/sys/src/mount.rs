//! Mounts, by descriptor wherever the kernel allows it.

use std::ffi::CStr;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, UnmountFlags,
};

use crate::error::{Error, Result};

/// A detached copy of the mount at `path` (seen from `dir`; an empty path is `dir` itself), with
/// everything mounted below it when `recursive`.
///
/// # Errors
/// Whatever `open_tree(2)` says.
pub fn open_tree_clone(dir: BorrowedFd<'_>, path: &CStr, recursive: bool) -> Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    if path.is_empty() {
        flags |= OpenTreeFlags::AT_EMPTY_PATH;
    }
    rustix::mount::open_tree(dir, path, flags)
        .map_err(|e| Error::new("open_tree", path.to_string_lossy(), e))
}

/// The same for a path seen from the working directory.
///
/// # Errors
/// Whatever `open_tree(2)` says.
pub fn open_tree_path(path: &CStr, recursive: bool) -> Result<OwnedFd> {
    open_tree_clone(CWD, path, recursive)
}

/// Attaches a mount at the file or directory that `target` is.
///
/// # Errors
/// Whatever `move_mount(2)` says.
pub fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(mount, c"", target, c"", flags)
        .map_err(|e| Error::new("move_mount", "", e))
}

/// Attaches a mount at a path seen from the working directory.
///
/// # Errors
/// Whatever `move_mount(2)` says.
pub fn attach_at(mount: BorrowedFd<'_>, target: &CStr) -> Result<()> {
    rustix::mount::move_mount(mount, c"", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .map_err(|e| Error::new("move_mount", target.to_string_lossy(), e))
}

/// Attributes of a mount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Nothing can be written through it.
    pub read_only: bool,
    /// Set-id bits and file capabilities do nothing.
    pub nosuid: bool,
    /// Device nodes do not open.
    pub nodev: bool,
    /// Nothing can be executed.
    pub noexec: bool,
}

impl Attributes {
    /// Whether none is set.
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }

    fn bits(self) -> u64 {
        let mut bits = 0;
        for (on, flag) in [
            (self.read_only, libc::MOUNT_ATTR_RDONLY),
            (self.nosuid, libc::MOUNT_ATTR_NOSUID),
            (self.nodev, libc::MOUNT_ATTR_NODEV),
            (self.noexec, libc::MOUNT_ATTR_NOEXEC),
        ] {
            if on {
                bits |= flag;
            }
        }
        bits
    }
}

#[repr(C)]
#[derive(Default)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

fn mount_setattr(mount: BorrowedFd<'_>, recursive: bool, attr: &MountAttr) -> Result<()> {
    let mut flags = libc::AT_EMPTY_PATH;
    if recursive {
        flags |= libc::AT_RECURSIVE;
    }
    // SAFETY: the path is a C string, the struct lives over the call and its size is passed.
    let rc = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(attr),
            size_of::<MountAttr>(),
        )
    };
    if rc < 0 { Err(Error::last("mount_setattr", "")) } else { Ok(()) }
}

/// Adds attributes to a mount (never removes one), and to everything below it when `recursive`.
///
/// # Errors
/// Whatever `mount_setattr(2)` says.
pub fn restrict(mount: BorrowedFd<'_>, attributes: Attributes, recursive: bool) -> Result<()> {
    let attr = MountAttr { attr_set: attributes.bits(), ..MountAttr::default() };
    mount_setattr(mount, recursive, &attr)
}

/// Takes a detached mount and all below it out of its peer groups, so that what is mounted or
/// unmounted there elsewhere does not show in it, nor the other way round; and adds attributes to
/// every one of them.
///
/// # Errors
/// Whatever `mount_setattr(2)` says.
pub fn isolate(mount: BorrowedFd<'_>, attributes: Attributes) -> Result<()> {
    let attr = MountAttr {
        attr_set: attributes.bits(),
        propagation: libc::MS_PRIVATE,
        ..MountAttr::default()
    };
    mount_setattr(mount, true, &attr)
}

/// Gives a detached mount the id map of a user namespace, and everything below it when `recursive`:
/// what lies there under an id inside the namespace is seen under the one outside.
///
/// # Errors
/// Whatever `mount_setattr(2)` says; `EINVAL` for a file system that cannot do it.
pub fn idmap(mount: BorrowedFd<'_>, user_namespace: BorrowedFd<'_>, recursive: bool) -> Result<()> {
    let attr = MountAttr {
        attr_set: libc::MOUNT_ATTR_IDMAP,
        userns_fd: u64::try_from(user_namespace.as_raw_fd()).unwrap_or(u64::MAX),
        ..MountAttr::default()
    };
    mount_setattr(mount, recursive, &attr)
}

/// A new file system instance as a detached mount.
///
/// # Errors
/// Whatever the kernel says, with the messages it left in the file system context.
pub fn new_filesystem(
    kind: &'static str,
    options: &[(&str, &str)],
    attributes: Attributes,
) -> Result<OwnedFd> {
    let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)
        .map_err(|e| Error::new("fsopen", kind, e))?;
    let fail = |operation, object: &str, errno: Errno| {
        Error::new(operation, object, errno).with_log(messages(context.as_fd()))
    };
    for (key, value) in options {
        let result = if value.is_empty() {
            rustix::mount::fsconfig_set_flag(&context, *key)
        } else {
            rustix::mount::fsconfig_set_string(&context, *key, *value)
        };
        result.map_err(|e| fail("set an option of", &format!("{kind}: {key}={value}"), e))?;
    }
    rustix::mount::fsconfig_create(&context).map_err(|e| fail("make a file system of", kind, e))?;
    let mut flags = MountAttrFlags::empty();
    for (on, flag) in [
        (attributes.read_only, MountAttrFlags::MOUNT_ATTR_RDONLY),
        (attributes.nosuid, MountAttrFlags::MOUNT_ATTR_NOSUID),
        (attributes.nodev, MountAttrFlags::MOUNT_ATTR_NODEV),
        (attributes.noexec, MountAttrFlags::MOUNT_ATTR_NOEXEC),
    ] {
        if on {
            flags |= flag;
        }
    }
    rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, flags)
        .map_err(|e| fail("fsmount", kind, e))
}

/// What the kernel logged in a file system context: one message a read, `e text`, `w text`, ….
fn messages(context: BorrowedFd<'_>) -> Vec<String> {
    let mut out = Vec::new();
    let mut buffer = [0; 1024];
    while let Ok(n) = rustix::io::read(context, &mut buffer) {
        if n == 0 || out.len() == 16 {
            break;
        }
        let text = String::from_utf8_lossy(buffer.get(..n).unwrap_or_default());
        let text = text.trim_end();
        out.push(text.get(2..).unwrap_or(text).to_owned());
    }
    out
}

/// An overlay at `target` by `mount(2)`, the one way 6.1 takes many layers. All names are seen
/// from the working directory; the whole option text must stay below a page.
///
/// # Errors
/// Whatever `mount(2)` says; `ENAMETOOLONG` for an option text that would be cut.
pub fn overlay(target: &CStr, options: &CStr) -> Result<()> {
    if options.to_bytes().len() >= 4095 {
        return Err(Error::new("mount overlay on", target.to_string_lossy(), Errno::NAMETOOLONG));
    }
    rustix::mount::mount(c"overlay", target, c"overlay", MountFlags::empty(), Some(options))
        .map_err(|e| Error::new("mount overlay on", target.to_string_lossy(), e))
}

/// Makes every mount of the namespace private: nothing goes in or out.
///
/// # Errors
/// Whatever `mount(2)` says.
pub fn make_all_private() -> Result<()> {
    let flags = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change(c"/", flags).map_err(|e| Error::new("make private", "/", e))
}

/// Makes the directory `root` the root of the mount namespace and detaches the old one with all
/// that is mounted in it. The working directory becomes the new root.
///
/// # Errors
/// Whatever `fchdir(2)`, `pivot_root(2)` or `umount2(2)` says.
pub fn pivot_into(root: BorrowedFd<'_>) -> Result<()> {
    rustix::process::fchdir(root).map_err(|e| Error::new("chdir", "the new root", e))?;
    rustix::process::pivot_root(c".", c".").map_err(|e| Error::new("pivot_root", "", e))?;
    // Old and new root are stacked on one another; the old one is what "." names now.
    rustix::mount::unmount(c".", UnmountFlags::DETACH)
        .map_err(|e| Error::new("umount", "the old root", e))?;
    rustix::process::chdir(c"/").map_err(|e| Error::new("chdir", "/", e))
}
