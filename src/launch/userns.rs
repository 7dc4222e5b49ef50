//! The pod's user namespace: made for a start, given to the mounts that show the pod's ids.

use super::LaunchError;
use super::descriptors::Descriptors;
use crate::config::paths::Paths;
use crate::pod::ids;
use crate::pod::meta::Meta;
use crate::pod::name::PodName;
use crate::pod::sources::{Origin, Source};
use rocket_plan::{IdMap, Network, PodPlan, descriptor};
use rocket_sys::mount;
use rocket_sys::userns::{self, IdRange};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// A source that cannot show the pod's ids.
#[derive(Debug, Error)]
#[error(
    "{what} ({path}, on {kind}) cannot be given the ids of the pod's user namespace: {reason}; {remedy}"
)]
pub struct IdmapError {
    what: String,
    path: PathBuf,
    kind: String,
    // Not a source in the sense of errors: it is in the text.
    reason: io::Error,
    remedy: String,
}

/// File systems by the number that statfs(2) gives: those that one may meet.
const KINDS: &[(u64, &str)] = &[
    (0xef53, "ext4"),
    (0x5846_5342, "xfs"),
    (0x9123_683e, "btrfs"),
    (0x0102_1994, "tmpfs"),
    (0x794c_7630, "overlay"),
    (0x6969, "nfs"),
    (0xff53_4d42, "cifs"),
    (0xfe53_4d42, "smb"),
    (0x6573_5546, "fuse"),
    (0x0102_1997, "9p"),
    (0x4d44, "vfat"),
    (0x2011_bab0, "exfat"),
    (0x2fc1_2fc1, "zfs"),
    (0xf2f5_2010, "f2fs"),
    (0x00c0_ffee, "hostfs"),
    (0x9fa0, "proc"),
    (0x6265_6572, "sysfs"),
    (0x6367_7270, "cgroup2"),
    (0x7371_7368, "squashfs"),
    (0x9660, "iso9660"),
    (0x5346_544e, "ntfs"),
    (0xe0f5_e1e2, "erofs"),
    (0x00c3_6400, "ceph"),
];

fn kind(mount: BorrowedFd<'_>) -> String {
    match rustix::fs::fstatfs(mount) {
        Ok(found) => {
            let magic = u64::try_from(found.f_type).unwrap_or(0) & 0xffff_ffff;
            let known = KINDS.iter().find(|(number, _)| *number == magic);
            known
                .map_or_else(|| format!("a file system {magic:#x}"), |(_, name)| (*name).to_owned())
        }
        Err(_) => "an unknown file system".to_owned(),
    }
}

/// Makes the namespace that the plan asks for, and hands it to stage1. `None` if it asks for none.
pub(super) fn create(
    paths: &Paths,
    plan: &PodPlan,
    meta: &Meta,
    descriptors: &mut Descriptors,
) -> Result<Option<OwnedFd>, LaunchError> {
    let Some(map) = plan.namespaces.user else {
        return Ok(None);
    };
    let name = meta.name.as_deref().and_then(|name| PodName::new(name).ok());
    ids::confirm(paths, map, meta.uuid, name.as_ref())?;
    let IdMap { base, count } = map;
    let range = IdRange { inside: 0, outside: base, count };
    let network = plan.namespaces.network == Network::None;
    let made = userns::create(range, network)
        .map_err(|error| LaunchError::UserNamespace { source: io::Error::other(error) })?;
    let user = made.user.try_clone().map_err(super::io_error("duplicate a namespace"))?;
    descriptors.add(descriptor::USER_NAMESPACE, made.user);
    if let Some(network) = made.network {
        descriptors.add(descriptor::NETWORK_NAMESPACE, network);
    }
    Ok(Some(user))
}

/// Gives a source's detached mount the ids of the pod.
pub(super) fn idmap(
    source: &Source,
    mount: BorrowedFd<'_>,
    user: BorrowedFd<'_>,
    paths: &Paths,
    pod: &Path,
) -> Result<(), IdmapError> {
    mount::idmap(mount, user, source.recursive).map_err(|error| {
        let (what, own) = describe(&source.name);
        let path = match &source.origin {
            Origin::Pod(below) => pod.join(below),
            Origin::State(below) => paths.state().join(below),
            Origin::Host(path) => path.clone(),
        };
        let without = "security.user-namespace = false in the pod file does without";
        let remedy = match own {
            Some(volume) => {
                format!("volume.{volume}.idmap = false mounts it as it is, or {without}")
            }
            None => format!("{without}, or move rocket's state to ext4, xfs or btrfs"),
        };
        let reason = match error.errno() {
            Some(libc_einval) if libc_einval == rustix::io::Errno::INVAL.raw_os_error() => {
                io::Error::other("this file system, or one mounted below it, has no id maps")
            }
            Some(number) => io::Error::from_raw_os_error(number),
            None => io::Error::other(error),
        };
        IdmapError { what, path, kind: kind(mount), reason, remedy }
    })
}

/// A source in words, and the volume that it is of.
fn describe(name: &str) -> (String, Option<&str>) {
    let parts: Vec<&str> = name.split(':').collect();
    match parts.as_slice() {
        ["volume", app, volume, _] => (format!("volume {volume:?} of app {app:?}"), Some(*volume)),
        ["volume", app, volume] => (format!("volume {volume:?} of app {app:?}"), None),
        ["lower", app, _] => (format!("a layer of the image of app {app:?}"), None),
        ["etc", app, file] => (format!("/etc/{file} of app {app:?}"), None),
        _ => (name.to_owned(), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_in_words() {
        let (what, volume) = describe("volume:web:data:3");
        assert_eq!((what.as_str(), volume), ("volume \"data\" of app \"web\"", Some("data")));
        assert_eq!(describe("lower:web:0").0, "a layer of the image of app \"web\"");
        assert_eq!(describe("x"), ("x".to_owned(), None));
    }

    #[test]
    fn the_reason_is_given_once() {
        let error = IdmapError {
            what: "volume v".to_owned(),
            path: "/net".into(),
            kind: "nfs".to_owned(),
            reason: io::Error::other("it has no id maps"),
            remedy: "do without".to_owned(),
        };
        assert!(error.to_string().contains("it has no id maps; do without"));
        assert!(std::error::Error::source(&error).is_none(), "it would be printed again");
    }
}
