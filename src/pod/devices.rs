//! Devices that the pod file grants, looked up on the host.

use super::surface::HostDevice;
use rocket_plan::DeviceKind;
use rustix::fs::FileType;
use std::io;
use std::os::unix::fs::MetadataExt;
use thiserror::Error;

/// What is granted and is no device.
#[derive(Debug, Error)]
pub enum DeviceError {
    /// It is something else.
    #[error("{0} is not a device node of this host, which security.devices takes{1}")]
    NotOne(String, &'static str),
    /// It cannot be looked at.
    #[error("cannot look up the device {path}")]
    Io {
        /// The path.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// The numbers of granted devices: they, not the paths, are what the kernel is told.
///
/// # Errors
/// [`DeviceError`].
pub fn look_up(paths: &[String]) -> Result<Vec<HostDevice>, DeviceError> {
    paths.iter().map(one).collect()
}

fn one(path: &String) -> Result<HostDevice, DeviceError> {
    let meta = std::fs::symlink_metadata(path)
        .map_err(|source| DeviceError::Io { path: path.clone(), source })?;
    let no = |why| DeviceError::NotOne(path.clone(), why);
    let kind = match FileType::from_raw_mode(meta.mode()) {
        FileType::BlockDevice => DeviceKind::Block,
        FileType::CharacterDevice => DeviceKind::Character,
        FileType::Symlink => return Err(no(": it is a link; name what it points to")),
        _ => return Err(no("")),
    };
    let (major, minor) = (rustix::fs::major(meta.rdev()), rustix::fs::minor(meta.rdev()));
    Ok(HostDevice { path: path.clone(), kind, major, minor })
}
