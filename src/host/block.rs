//! Which disk a path is on: what the kernel's `io.max` and systemd's `IO…Max=` mean by it.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, major, makedev, minor};
use thiserror::Error;

/// Major and minor number.
pub type Device = (u32, u32);

/// A path whose disk cannot be told.
#[derive(Debug, Error)]
pub enum BlockError {
    /// It cannot be looked at.
    #[error("cannot look at {path}: {source}")]
    Io {
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Its file system is on no disk, or does not say on which.
    #[error("the file system of {path} is on no block device of its own; name the device instead")]
    NoDevice {
        /// The path.
        path: PathBuf,
    },
}

/// The disk that `path` is, or that the file system it lies on is on. Throttling is of whole disks,
/// so a partition gives its disk; and what lies on one other device (LUKS, LVM) gives that, as it
/// does with systemd, so that the limit of a pod and of its app mean the same.
///
/// # Errors
/// [`BlockError`].
pub fn disk_of(path: &Path) -> Result<Device, BlockError> {
    let io = |source| BlockError::Io { path: path.to_owned(), source };
    let meta = std::fs::metadata(path).map_err(io)?;
    let is_block = FileType::from_raw_mode(meta.mode()) == FileType::BlockDevice;
    let number = if is_block { meta.rdev() } else { meta.dev() };
    let device = (major(number), minor(number));
    let device = if device.0 == 0 { mounted_from(path, device).map_err(io)? } else { Some(device) };
    let whole = device.and_then(|device| whole(Path::new("/sys/dev/block"), device));
    whole.ok_or_else(|| BlockError::NoDevice { path: path.to_owned() })
}

/// A file system with a number of its own (btrfs) may still say what it was mounted from.
fn mounted_from(path: &Path, device: Device) -> std::io::Result<Option<Device>> {
    let path = std::fs::canonicalize(path)?;
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    let Some(source) = source_in(&mounts, &path, device) else { return Ok(None) };
    let meta = std::fs::metadata(source)?;
    if FileType::from_raw_mode(meta.mode()) != FileType::BlockDevice {
        return Ok(None);
    }
    Ok(Some((major(meta.rdev()), minor(meta.rdev()))))
}

/// The source of the innermost mount of `device` above `path`, if that is a device node.
fn source_in<'a>(mountinfo: &'a str, path: &Path, device: Device) -> Option<&'a str> {
    let mut best: Option<(usize, &str)> = None;
    for line in mountinfo.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let mut left = left.split(' ').skip(2);
        let (Some(numbers), Some(point)) = (left.next(), left.nth(1)) else { continue };
        let mut right = right.split(' ');
        let (Some(kind), Some(source)) = (right.next(), right.next()) else { continue };
        let same = numbers == format!("{}:{}", device.0, device.1) || kind == "btrfs";
        if same && path.starts_with(point) && source.starts_with("/dev/") {
            let longer = best.is_none_or(|(length, _)| point.len() >= length);
            best = if longer { Some((point.len(), source)) } else { best };
        }
    }
    best.map(|(_, source)| source)
}

/// Down to the disk, by sysfs.
fn whole(sysfs: &Path, device: Device) -> Option<Device> {
    let mut device = device;
    // Nobody stacks as many; a circle would be the kernel's fault.
    for _ in 0..16 {
        let directory = sysfs.join(format!("{}:{}", device.0, device.1));
        let slaves: Vec<_> = match std::fs::read_dir(directory.join("slaves")) {
            Ok(entries) => entries.flatten().collect(),
            Err(_) => Vec::new(),
        };
        let below = match slaves.as_slice() {
            [one] => one.path(),
            _ if directory.join("partition").exists() => {
                std::fs::canonicalize(&directory).ok()?.parent()?.to_owned()
            }
            _ => return directory.exists().then_some(device),
        };
        let text = std::fs::read_to_string(below.join("dev")).ok()?;
        let (major, minor) = text.trim().split_once(':')?;
        device = (major.parse().ok()?, minor.parse().ok()?);
        // Numbers that are no device number are no device.
        let number = makedev(device.0, device.1);
        if (rustix::fs::major(number), rustix::fs::minor(number)) != device {
            return None;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    /// `vda` with a partition, and a LUKS device on that.
    fn sysfs() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        fs::create_dir_all(at("devices/vda/vda1")).unwrap();
        fs::create_dir_all(at("devices/vda/slaves")).unwrap();
        fs::create_dir_all(at("devices/dm-0/slaves")).unwrap();
        fs::create_dir_all(at("devices/md0/slaves")).unwrap();
        fs::write(at("devices/vda/dev"), "254:0\n").unwrap();
        fs::write(at("devices/vda/vda1/dev"), "254:1\n").unwrap();
        fs::write(at("devices/vda/vda1/partition"), "1\n").unwrap();
        symlink("../../vda/vda1", at("devices/dm-0/slaves/vda1")).unwrap();
        symlink("../../vda/vda1", at("devices/md0/slaves/vda1")).unwrap();
        symlink("../../vda", at("devices/md0/slaves/vda")).unwrap();
        fs::create_dir(at("block")).unwrap();
        for (number, device) in
            [("254:0", "vda"), ("254:1", "vda/vda1"), ("253:0", "dm-0"), ("9:0", "md0")]
        {
            symlink(format!("../devices/{device}"), at("block").join(number)).unwrap();
        }
        dir
    }

    #[test]
    fn limits_are_of_whole_disks() {
        let dir = sysfs();
        let block = dir.path().join("block");
        for (device, disk) in [
            ((254, 0), Some((254, 0))),
            ((254, 1), Some((254, 0))),
            ((253, 0), Some((254, 0))),
            // A stripe over two is itself.
            ((9, 0), Some((9, 0))),
            ((7, 7), None),
        ] {
            assert_eq!(whole(&block, device), disk, "{device:?}");
        }
    }

    #[test]
    fn a_file_system_without_a_device_number_may_name_its_device() {
        let mounts = "22 1 254:1 / / rw - ext4 /dev/vda1 rw\n\
                      30 22 0:30 /root /data rw - btrfs /dev/vdb rw\n\
                      31 22 0:31 / /tmp rw - tmpfs tmpfs rw\nnonsense\n";
        let source = |path: &str, device| source_in(mounts, Path::new(path), device);
        assert_eq!(source("/data/x", (0, 55)), Some("/dev/vdb"));
        assert_eq!(source("/tmp/x", (0, 31)), None);
    }

    #[test]
    fn what_is_on_no_disk_is_refused_by_name() {
        let error = disk_of(Path::new("/proc/self")).unwrap_err();
        assert!(error.to_string().contains("/proc/self is on no block device"), "{error}");
        let error = disk_of(Path::new("/no/such")).unwrap_err();
        assert!(error.to_string().contains("/no/such"), "{error}");
    }
}
