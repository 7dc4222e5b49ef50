//! Programs that the kernel asks before a process of a cgroup opens or makes a device node.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::error::{Error, Result};

/// `enum bpf_cmd`.
const PROG_LOAD: libc::c_long = 5;
const PROG_ATTACH: libc::c_long = 8;
/// BPF_PROG_TYPE_CGROUP_DEVICE.
const TYPE_DEVICE: u32 = 15;
/// BPF_CGROUP_DEVICE.
const AT_DEVICE: u32 = 6;
/// BPF_F_ALLOW_MULTI: beside the programs of the cgroups above, all of which have to agree.
const MULTI: u32 = 2;

/// The part of `union bpf_attr` that BPF_PROG_LOAD reads here.
#[repr(C)]
struct Load {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

/// The part that BPF_PROG_ATTACH reads.
#[repr(C)]
struct Attach {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
}

/// Makes `program` (eBPF, an instruction a word, in this machine's order) decide about the devices of
/// all processes in `cgroup`. It goes with the cgroup.
///
/// # Errors
/// Whatever `bpf(2)` says: `EINVAL` or `ENOSYS` from a kernel that is built without it.
pub fn decide_devices(cgroup: BorrowedFd<'_>, program: &[u64]) -> Result<()> {
    let count = u32::try_from(program.len())
        .map_err(|_| Error::new("bpf", "load", rustix::io::Errno::TOOBIG))?;
    let license = c"";
    let load = Load {
        kind: TYPE_DEVICE,
        count,
        instructions: program.as_ptr() as u64,
        license: license.as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
    };
    // SAFETY: the struct is as long as we say and, like the program and the licence it points to,
    // lives over the call; the kernel copies and verifies all of it.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, PROG_LOAD, &raw const load, size_of::<Load>()) };
    if fd < 0 {
        return Err(Error::last("bpf", "load"));
    }
    let number = i32::try_from(fd).map_err(|_| Error::last("bpf", "load"))?;
    // SAFETY: the kernel has just made this descriptor (close-on-exec) for us alone.
    let program = unsafe { OwnedFd::from_raw_fd(number) };
    let attach = Attach {
        target: cgroup.as_raw_fd().cast_unsigned(),
        program: program.as_raw_fd().cast_unsigned(),
        kind: AT_DEVICE,
        flags: MULTI,
    };
    // SAFETY: the struct is as long as we say and lives over the call.
    let rc = unsafe {
        libc::syscall(libc::SYS_bpf, PROG_ATTACH, &raw const attach, size_of::<Attach>())
    };
    if rc < 0 { Err(Error::last("bpf", "attach")) } else { Ok(()) }
}
