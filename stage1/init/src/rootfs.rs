//! Places inside an app's root. Every path is resolved by the kernel with the root as its `/`.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

use rocket_sys::root::Root;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::failure::{Context, Result, c_string};

/// The root of an app, seen from init's working directory (`/` of the scratch tmpfs).
pub fn path(app: &str) -> Result<CString> {
    c_string(&format!("apps/{app}"))
}

/// Opens an app's root.
pub fn open(app: &str) -> Result<Root> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = rustix::fs::open(path(app)?, flags, Mode::empty())
        .context(|| format!("open the root of {app}"))?;
    Ok(Root::new(fd))
}

/// What is at `path`, or `None` when nothing is.
pub fn find(root: &Root, path: &str) -> Result<Option<OwnedFd>> {
    match root.resolve(path.as_bytes(), OFlags::PATH) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(e) => Err(e).context(|| format!("look up {path}")),
    }
}

/// The directory at `path`; what is missing of it is made, 0755.
pub fn ensure_directory(root: &Root, path: &str) -> Result<OwnedFd> {
    let parts: Vec<&str> = path.split('/').filter(|p| !p.is_empty()).collect();
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    // The usual case costs one system call.
    if let Ok(fd) = root.resolve(path.as_bytes(), flags) {
        return Ok(fd);
    }
    let mut so_far = String::new();
    let mut here = root.resolve(b"/", flags).context(|| "open the root".to_owned())?;
    for part in parts {
        so_far.push('/');
        so_far.push_str(part);
        here = match root.resolve(so_far.as_bytes(), flags) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => {
                rustix::fs::mkdirat(&here, part, Mode::from_bits_truncate(0o755))
                    .context(|| format!("make the directory {so_far}"))?;
                root.resolve(so_far.as_bytes(), flags).context(|| format!("open {so_far}"))?
            }
            Err(e) => return Err(e).context(|| format!("open the directory {so_far}")),
        };
    }
    Ok(here)
}

/// Something that is not a directory at `path`; an empty file is made if nothing is there.
pub fn ensure_file(root: &Root, path: &str) -> Result<OwnedFd> {
    match root.resolve(path.as_bytes(), OFlags::PATH) {
        Ok(fd) => return Ok(fd),
        Err(Errno::NOENT) => {}
        Err(e) => return Err(e).context(|| format!("look up {path}")),
    }
    let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
    let parent = ensure_directory(root, directory)?;
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    rustix::fs::openat(&parent, name, flags, Mode::from_bits_truncate(0o644))
        .context(|| format!("make the file {path}"))?;
    root.resolve(path.as_bytes(), OFlags::PATH).context(|| format!("open {path}"))
}

/// Whether an open thing is a directory.
pub fn is_directory(fd: impl AsFd) -> Result<bool> {
    let stat = rustix::fs::fstat(fd).context(|| "stat a mount".to_owned())?;
    Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}
