//! Mounting, unmounting, remounting.

use crate::protection::Protection::{
    Capabilities, Devices, NoDev, ReadOnly, Seccomp, UserNamespace,
};
use crate::sys::{Arg, call};
use crate::world::{World, change, directory, is_mounted, mount, refuse, write};
use crate::{Attempt, Outcome};
use std::fs;

const INSIDE: &[crate::protection::Protection] = &[Seccomp, Capabilities];
const ALL: &[crate::protection::Protection] = &[UserNamespace, Seccomp, Capabilities];
const DISK: &[crate::protection::Protection] =
    &[UserNamespace, Seccomp, Capabilities, NoDev, Devices];

pub const ATTEMPTS: &[Attempt] = &[
    Attempt::new("mount-tmpfs", "mount a tmpfs and find it in mountinfo", INSIDE, tmpfs).harmless(),
    Attempt::new("mount-bind-over", "bind another file over /etc/passwd", INSIDE, bind).harmless(),
    Attempt::new("mount-new-api", "fsopen, fsmount and move_mount a tmpfs", INSIDE, new_api)
        .harmless(),
    Attempt::new("open-tree", "clone the root as a detached mount", INSIDE, open_tree).harmless(),
    Attempt::new("pivot-root", "make another directory the root", INSIDE, pivot).harmless(),
    Attempt::new("mount-proc", "mount a procfs without masks and read kallsyms", ALL, procfs)
        .harmless(),
    Attempt::new("mount-sysfs", "mount a sysfs that can be written", ALL, sysfs),
    Attempt::new("mount-disk", "mount the host's root disk and read a canary", DISK, disk),
    Attempt::new(
        "mount-hostfs",
        "mount the file system of the machine below a user-mode kernel",
        ALL,
        hostfs,
    ),
    Attempt::new("mount-binfmt-misc", "mount binfmt_misc and register an interpreter", ALL, binfmt),
    Attempt::new("umount-mask", "unmount what covers /proc/kallsyms and read it", ALL, umount)
        .harmless(),
    Attempt::new(
        "remount-proc-sys",
        "remount /proc/sys writable and write to it",
        ALL,
        remount_proc,
    ),
    Attempt::new("remount-sys", "remount /sys writable and write to it", ALL, remount_sys),
    Attempt::new(
        "mount-setattr-sys",
        "take read-only from /sys with mount_setattr",
        ALL,
        setattr_sys,
    ),
    Attempt::new(
        "remount-volume",
        "remount a read-only volume writable and write to it",
        ALL,
        remount_volume,
    )
    .harmless(),
    Attempt::new(
        "write-read-only-volume",
        "write to a read-only volume",
        &[ReadOnly],
        write_volume,
    )
    .harmless(),
];

fn tmpfs(_: &World) -> Outcome {
    let at = directory("tmpfs")?;
    mount("none", &at, "tmpfs", 0)?;
    if is_mounted(&at) { Ok(format!("a tmpfs at {at}")) } else { refuse("not mounted") }
}

fn bind(_: &World) -> Outcome {
    let file = format!("{}/passwd", directory("bind")?);
    fs::write(&file, "escape:x:0:0::/:/bin/sh\n")?;
    mount(&file, "/etc/passwd", "", libc::MS_BIND)?;
    let seen = fs::read_to_string("/etc/passwd")?;
    call(
        libc::SYS_umount2,
        &mut [Arg::Text("/etc/passwd"), Arg::Int(i64::from(libc::MNT_DETACH))],
    )?;
    if seen.starts_with("escape:") {
        Ok("another /etc/passwd".into())
    } else {
        refuse("the old one")
    }
}

fn new_api(_: &World) -> Outcome {
    let at = directory("api")?;
    let fs = call(libc::SYS_fsopen, &mut [Arg::Text("tmpfs"), Arg::Int(0)])?;
    // FSCONFIG_CMD_CREATE
    let create = &mut [Arg::Int(fs), Arg::Int(6), Arg::Null, Arg::Null, Arg::Int(0)];
    call(libc::SYS_fsconfig, create)?;
    let fd = call(libc::SYS_fsmount, &mut [Arg::Int(fs), Arg::Int(0), Arg::Int(0)])?;
    // MOVE_MOUNT_F_EMPTY_PATH
    let to = &mut [Arg::Int(fd), Arg::Text(""), Arg::Int(-100), Arg::Text(&at), Arg::Int(4)];
    call(libc::SYS_move_mount, to)?;
    if is_mounted(&at) { Ok(format!("a tmpfs at {at}")) } else { refuse("not mounted") }
}

fn open_tree(_: &World) -> Outcome {
    let fd = call(libc::SYS_open_tree, &mut [Arg::Int(-100), Arg::Text("/tmp"), Arg::Int(1)])?;
    let names = fs::read_dir(format!("/proc/self/fd/{fd}"))?.count();
    Ok(format!("a mount of its own with {names} entries"))
}

fn pivot(_: &World) -> Outcome {
    call(libc::SYS_unshare, &mut [Arg::Int(i64::from(libc::CLONE_NEWNS))])?;
    mount("none", "/", "", libc::MS_REC | libc::MS_PRIVATE)?;
    let at = directory("pivot")?;
    mount("none", &at, "tmpfs", 0)?;
    fs::write(format!("{at}/mark"), "new")?;
    std::env::set_current_dir(&at)?;
    call(libc::SYS_pivot_root, &mut [Arg::Text("."), Arg::Text(".")])?;
    call(libc::SYS_umount2, &mut [Arg::Text("."), Arg::Int(i64::from(libc::MNT_DETACH))])?;
    let mark = fs::read_to_string("/mark")?;
    Ok(format!("{mark} root"))
}

/// What masks hide, in a procfs at that place.
fn symbols(proc: &str) -> Outcome {
    match fs::read_to_string(format!("{proc}/kallsyms"))?.lines().count() {
        0 => refuse("nothing in kallsyms"),
        count => Ok(format!("{count} symbols")),
    }
}

fn procfs(_: &World) -> Outcome {
    let at = directory("proc")?;
    mount("none", &at, "proc", 0)?;
    symbols(&at)
}

fn sysfs(_: &World) -> Outcome {
    let at = directory("sys")?;
    mount("none", &at, "sysfs", 0)?;
    change(&format!("{at}/kernel/uevent_helper"), "/bin/false")
}

fn disk(world: &World) -> Outcome {
    let (node, at) = (super::devices::disk_node(world)?, directory("disk")?);
    mount(&node, &at, "ext4", 0)?;
    let path = format!("{at}{}", world.told("SECRET")?);
    world.has_token(&fs::read_to_string(&path)?, &path)
}

fn hostfs(_: &World) -> Outcome {
    let at = directory("hostfs")?;
    let known = fs::read_to_string("/proc/filesystems")?.contains("\thostfs\n");
    if !known {
        return Err(crate::Fail::Impossible("this kernel has no hostfs".into()));
    }
    mount("none", &at, "hostfs", 0)?;
    let names = fs::read_dir(&at)?.count();
    if names > 5 { Ok(format!("{names} names of another machine")) } else { refuse("empty") }
}

fn binfmt(_: &World) -> Outcome {
    let at = directory("binfmt")?;
    mount("none", &at, "binfmt_misc", 0)?;
    write(format!("{at}/register"), ":escape:M::ESCAPE::/bin/false:")?;
    let entry = format!("{at}/escape");
    let text = fs::read_to_string(&entry)?;
    write(&entry, "-1")?;
    Ok(text.lines().take(2).collect::<Vec<_>>().join(" "))
}

fn umount(_: &World) -> Outcome {
    let flags = i64::from(libc::MNT_DETACH);
    call(libc::SYS_umount2, &mut [Arg::Text("/proc/kallsyms"), Arg::Int(flags)])?;
    symbols("/proc")
}

fn remount_proc(_: &World) -> Outcome {
    mount("none", "/proc/sys", "", libc::MS_REMOUNT | libc::MS_BIND)?;
    change("/proc/sys/kernel/core_pattern", "escaped")
}

fn remount_sys(_: &World) -> Outcome {
    mount("none", "/sys", "", libc::MS_REMOUNT | libc::MS_BIND)?;
    change("/sys/kernel/uevent_helper", "/bin/false")
}

fn setattr_sys(_: &World) -> Outcome {
    // struct mount_attr: set, clear, propagation, user namespace; MOUNT_ATTR_RDONLY is 1.
    let attr: Vec<u8> = [0u64, 1, 0, 0].into_iter().flat_map(u64::to_ne_bytes).collect();
    let args = &mut [Arg::Int(-100), Arg::Text("/sys"), Arg::Int(0), Arg::In(&attr), Arg::Int(32)];
    call(libc::SYS_mount_setattr, args)?;
    change("/sys/kernel/uevent_helper", "/bin/true")
}

fn remount_volume(_: &World) -> Outcome {
    mount("none", "/closed", "", libc::MS_REMOUNT | libc::MS_BIND)?;
    fs::write("/closed/by-remount", "x")?;
    Ok("wrote /closed/by-remount".into())
}

fn write_volume(_: &World) -> Outcome {
    fs::write("/closed/plain", "x")?;
    Ok("wrote /closed/plain".into())
}
