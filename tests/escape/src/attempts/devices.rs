//! Device nodes: made, found, brought along.

use crate::protection::Protection::{
    self, Capabilities, Devices, NoDev, RootNoDev, Seccomp, UserNamespace,
};
use crate::sys::{Arg, call};
use crate::world::{World, directory, refuse};
use crate::{Attempt, Fail, Outcome};
use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};

const NODE: &[Protection] = &[UserNamespace, Seccomp, NoDev, Devices];
const LISTED: &[Protection] = &[UserNamespace, Devices];

pub const ATTEMPTS: &[Attempt] = &[
    Attempt::new("mknod-null", "make a node like /dev/null and write to it", NODE, null).harmless(),
    Attempt::new(
        "mknod-disk",
        "make a node of the host's disk and read its super block",
        NODE,
        disk,
    ),
    Attempt::new(
        "mknod-mem",
        "make a node like /dev/mem and open it",
        &[UserNamespace, Seccomp, Capabilities, NoDev, Devices],
        memory,
    ),
    Attempt::new(
        "mknod-kmsg",
        "make a node like /dev/kmsg and write to the kernel's log",
        NODE,
        kmsg_made,
    ),
    Attempt::new("mknod-fuse", "make a node like /dev/fuse and open it", NODE, fuse),
    Attempt::new(
        "image-node",
        "open the node of the host's disk that the image brought",
        &[RootNoDev],
        image_node,
    ),
    Attempt::new("dev-disk", "find the host's disk in /dev and read it", LISTED, listed_disk),
    Attempt::new("dev-kmsg", "write to the kernel's log through /dev/kmsg", LISTED, kmsg),
];

/// Where nodes may be made: what an app can write to.
const PLACES: [&str; 5] = ["/vol", "/tmp", "/dev", "/dev/shm", "/"];

fn make(path: &str, kind: u32, major: i64, minor: i64) -> Result<(), Fail> {
    let device = (major << 8) | minor;
    let mode = i64::from(kind | 0o666);
    call(libc::SYS_mknod, &mut [Arg::Text(path), Arg::Int(mode), Arg::Int(device)])?;
    Ok(())
}

/// A node of the host's disk, where the suite's pods may have it open.
pub(super) fn disk_node(world: &World) -> Result<String, Fail> {
    let (major, minor) = numbers(&world.told("DISK")?)?;
    let path = format!("/vol/disk-{}", std::process::id());
    make(&path, libc::S_IFBLK, major, minor)?;
    Ok(path)
}

fn numbers(device: &str) -> Result<(i64, i64), Fail> {
    let pair = device.split_once(':').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    pair.ok_or_else(|| Fail::Impossible(format!("{device} names no device")))
}

/// Makes the node wherever that goes and hands it to `open`; the last failure if none does.
fn anywhere(kind: u32, (major, minor): (i64, i64), open: impl Fn(&str) -> Outcome) -> Outcome {
    let mut last = refuse("nowhere to make it");
    for place in PLACES {
        let path = format!("{place}/node-{}", std::process::id());
        last = make(&path, kind, major, minor).and_then(|()| open(&path));
        drop(fs::remove_file(&path));
        if last.is_ok() {
            break;
        }
    }
    last
}

fn null(_: &World) -> Outcome {
    anywhere(libc::S_IFCHR, (1, 3), |path| {
        OpenOptions::new().write(true).open(path)?.write_all(b"x")?;
        Ok(format!("wrote to {path}"))
    })
}

/// The magic number of ext4, 0xEF53, lies 1080 bytes into the disk.
fn superblock(path: &str) -> Outcome {
    let mut bytes = [0; 2048];
    fs::File::open(path)?.read_exact(&mut bytes)?;
    match bytes.get(1080..1082) {
        Some([0x53, 0xEF]) => Ok(format!("{path}: the super block of an ext4")),
        _ => Ok(format!("{path}: 2048 bytes of a disk")),
    }
}

fn disk(world: &World) -> Outcome {
    anywhere(libc::S_IFBLK, numbers(&world.told("DISK")?)?, superblock)
}

fn memory(_: &World) -> Outcome {
    anywhere(libc::S_IFCHR, (1, 1), |path| {
        fs::File::open(path)?;
        Ok(format!("{path}: the machine's memory"))
    })
}

fn log(path: &str) -> Outcome {
    OpenOptions::new().write(true).open(path)?.write_all(b"escape suite\n")?;
    Ok("a line in the kernel's log".into())
}

fn kmsg_made(_: &World) -> Outcome {
    anywhere(libc::S_IFCHR, (1, 11), log)
}

fn fuse(_: &World) -> Outcome {
    anywhere(libc::S_IFCHR, (10, 229), |path| {
        OpenOptions::new().read(true).write(true).open(path)?;
        Ok(format!("{path}: a connection to the kernel's FUSE"))
    })
}

fn image_node(_: &World) -> Outcome {
    let found = fs::symlink_metadata("/disk");
    match found {
        Ok(meta) if meta.file_type().is_block_device() => superblock("/disk"),
        Ok(meta) => refuse(format!("/disk has mode {:o}", meta.mode())),
        Err(error) => refuse(format!("the image's node is not there: {error}")),
    }
}

fn listed_disk(_: &World) -> Outcome {
    let entries = fs::read_dir("/dev")?.flatten();
    let mut disks =
        entries.filter(|e| fs::metadata(e.path()).is_ok_and(|m| m.file_type().is_block_device()));
    match disks.next() {
        Some(disk) => superblock(&disk.path().display().to_string()),
        None => refuse("no disk in /dev"),
    }
}

fn kmsg(_: &World) -> Outcome {
    let _ = directory("kmsg");
    log("/dev/kmsg")
}
