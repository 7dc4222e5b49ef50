//! `meta.json`: what a pod directory says about itself, and `cgroup.json`: where it ran.

use crate::files::{self, Dir, Durability};
use rocket_plan::IdMap;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;
use uuid::Uuid;

/// Version of both files.
pub const VERSION: u32 = 1;
/// How [`Meta::weakened`] says that the pod has no cgroup, whoever wanted that.
pub const NO_CGROUP: &str = "--cgroup=none: no limits, and no list of devices";
/// How [`Meta::weakened`] says that the pod shares the host's user namespace.
pub const NO_USER_NAMESPACE: &str = "security.user-namespace = false";
const META: &str = "meta.json";
const CGROUP: &str = "cgroup.json";

/// A file of a pod directory that cannot be read or written.
#[derive(Debug, Error)]
pub enum MetaError {
    /// A system call failed.
    #[error("cannot {what} {path}")]
    Io {
        /// The verb.
        what: &'static str,
        /// Its object.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Its content is not what this release writes.
    #[error("cannot read {path}: not in the form this release writes")]
    Form {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// Its version is another.
    #[error("{path} has version {found}, this release reads version {VERSION}")]
    Version {
        /// The file.
        path: PathBuf,
        /// What it says.
        found: u32,
    },
}

/// `meta.json`, written once, before the pod is sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Meta {
    /// [`VERSION`].
    pub version: u32,
    /// The pod.
    pub uuid: Uuid,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Unix time in milliseconds.
    pub created_ms: u64,
    /// The instance that had the name before.
    pub previous: Option<Uuid>,
    /// Digest of the pod file it was made from, as the generator computes it.
    pub pod_file_digest: Option<String>,
    /// One line for people.
    pub description: Option<String>,
    /// Its apps.
    pub apps: Vec<AppMeta>,
    /// Pod limits as systemd directives.
    pub limits: Vec<(String, String)>,
    /// Slice of its unit.
    pub slice: Option<String>,
    /// How long a stop in order may take, in milliseconds.
    pub stop_timeout_ms: u64,
    /// How long a start may take, in milliseconds; `None` = for ever.
    pub start_timeout_ms: Option<u64>,
    /// Made by a `run` that goes on to run it: prepared and unlocked, its maker has died.
    pub for_run: bool,
    /// The ids of its user namespace; `None` = it shares the host's.
    #[serde(default)]
    pub ids: Option<IdMap>,
    /// What weakens a default, in words, for status.
    pub weakened: Vec<String>,
    /// What will not be as one might think, in words, said at each start.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// One app in `meta.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AppMeta {
    /// App name.
    pub name: String,
    /// Image name as asked for.
    pub image: String,
    /// Full digest of the image.
    pub image_id: String,
    /// Digests of its layers, topmost first: what gc must keep.
    pub layers: Vec<String>,
    /// Names of the credentials it has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub credentials: Vec<String>,
}

/// `cgroup.json`, written at each start before init may go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CgroupRecord {
    /// [`VERSION`].
    pub version: u32,
    /// Boot it was recorded in.
    pub boot_id: String,
    /// Path below the cgroup2 mount; `None` = the pod has no cgroup.
    pub path: Option<String>,
    /// Inode of that directory: a later unit of the same name has another.
    pub inode: u64,
    /// The unit that owns it.
    pub unit: Option<String>,
    /// The unit's invocation (systemd.exec(5), `INVOCATION_ID`): a restarted service may keep its
    /// directory, not its invocation.
    pub invocation: Option<String>,
}

impl Meta {
    /// Reads `meta.json` of a pod directory.
    ///
    /// # Errors
    /// Missing, or not of this version.
    pub fn read(dir: &Path) -> Result<Self, MetaError> {
        Self::parse(dir, std::fs::read(dir.join(META)))
    }

    /// The same of an open one.
    ///
    /// # Errors
    /// Missing, or not of this version.
    pub fn read_in(dir: &Dir) -> Result<Self, MetaError> {
        Self::parse(dir.path(), dir.read(META))
    }

    fn parse(dir: &Path, bytes: io::Result<Vec<u8>>) -> Result<Self, MetaError> {
        let meta: Self = parse(|| dir.join(META), bytes)?;
        check(|| dir.join(META), meta.version)?;
        Ok(meta)
    }

    /// Whether the pod was asked to share the host's user namespace.
    pub fn without_user_namespace(&self) -> bool {
        self.weakened.iter().any(|word| word == NO_USER_NAMESPACE)
    }

    /// Writes it.
    ///
    /// # Errors
    /// Any IO error.
    pub fn write(&self, dir: &Path) -> Result<(), MetaError> {
        write(&dir.join(META), self)
    }
}

impl CgroupRecord {
    /// Reads `cgroup.json`; `None` if the pod never got that far.
    ///
    /// # Errors
    /// Not of this version.
    pub fn read(dir: &Path) -> Result<Option<Self>, MetaError> {
        Self::parse(dir, std::fs::read(dir.join(CGROUP)))
    }

    /// The same of an open one.
    ///
    /// # Errors
    /// Not of this version.
    pub fn read_in(dir: &Dir) -> Result<Option<Self>, MetaError> {
        Self::parse(dir.path(), dir.read(CGROUP))
    }

    fn parse(dir: &Path, bytes: io::Result<Vec<u8>>) -> Result<Option<Self>, MetaError> {
        if bytes.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            return Ok(None);
        }
        let record: Self = parse(|| dir.join(CGROUP), bytes)?;
        check(|| dir.join(CGROUP), record.version)?;
        Ok(Some(record))
    }

    /// Writes it.
    ///
    /// # Errors
    /// Any IO error.
    pub fn write(&self, dir: &Path) -> Result<(), MetaError> {
        write(&dir.join(CGROUP), self)
    }
}

fn check(path: impl Fn() -> PathBuf, found: u32) -> Result<(), MetaError> {
    if found == VERSION { Ok(()) } else { Err(MetaError::Version { path: path(), found }) }
}

/// Reads a JSON file of a pod directory.
///
/// # Errors
/// [`MetaError::Io`] or [`MetaError::Form`].
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<T, MetaError> {
    parse(|| path.to_owned(), std::fs::read(path))
}

/// Makes a value of what a read gave. The path is for errors only.
fn parse<T: DeserializeOwned>(
    path: impl Fn() -> PathBuf,
    bytes: io::Result<Vec<u8>>,
) -> Result<T, MetaError> {
    let bytes = bytes.map_err(|source| MetaError::Io { what: "read", path: path(), source })?;
    serde_json::from_slice(&bytes).map_err(|source| MetaError::Form { path: path(), source })
}

/// Writes a JSON file of a pod directory, atomically.
///
/// # Errors
/// [`MetaError::Io`].
pub fn write<T: Serialize>(path: &Path, value: &T) -> Result<(), MetaError> {
    let failed = |source| MetaError::Io { what: "write", path: path.to_owned(), source };
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|e| failed(io::Error::other(e)))?;
    bytes.push(b'\n');
    files::write(path, &bytes, Durability::Atomic).map_err(failed)
}
