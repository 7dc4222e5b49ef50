//! Settings of the pod's namespaces, through its procfs.

use std::os::fd::BorrowedFd;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::failure::{Failure, Result};

/// Sets one. The caller is in the pod's namespaces, which is what proc shows it.
pub fn set(proc: BorrowedFd<'_>, name: &str, value: &str) -> Result<()> {
    let path = format!("sys/{}", name.replace('.', "/"));
    let fail = |why: &str| Failure::rocket(format!("cannot set sysctl {name}={value}: {why}"));
    if path.contains("/../") || path.contains("//") {
        return Err(fail("not a name"));
    }
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let set = || {
        let file = rustix::fs::openat(proc, path, flags, Mode::empty())?;
        rustix::io::write(&file, value.as_bytes()).map(|_| ())
    };
    set().map_err(|e| match e {
        Errno::NOENT => fail(
            "this kernel has no such setting for a pod; it is the whole host's, or not spelt so",
        ),
        Errno::ACCESS | Errno::PERM => fail("it is the whole host's, and no pod can change it"),
        Errno::INVAL | Errno::RANGE => fail("the kernel does not take that value"),
        e => fail(&e.to_string()),
    })
}
