//! What a pod's credentials are read from: systemd's directory under the pod's own unit, else the
//! files themselves. Only descriptors of them go on, and no error has a byte of their content.

use super::LaunchError;
use super::descriptors::Descriptors;
use crate::config::paths::POD_FILES;
use crate::pod::credentials::{self, Origin, PodFileAt, Record, Wanted};
use crate::pod::meta::Meta;
use crate::systemd::creds;
use rocket_podfile::{CredentialSource, PodFile, credential_places};
use rocket_sys::fds::sealed_memfd;
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, openat2};
use std::env;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// A credential that an app is to have and that cannot be had.
#[derive(Debug, Error)]
pub enum CredentialError {
    /// systemd has not handed it over.
    #[error(
        "credential {name:?}: the unit has not got it from systemd; what the pod file loads it from is in none of the places of LoadCredential= (systemd.exec(5)), or systemctl daemon-reload has not been run"
    )]
    NotHandedOver {
        /// Its name.
        name: String,
    },
    /// A file cannot be read.
    #[error("credential {name:?}: cannot read {path}")]
    Read {
        /// Its name.
        name: String,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is in no store.
    #[error("credential {name:?}: there is no {from} in {}", places(.from, *.encrypted))]
    NotFound {
        /// Its name.
        name: String,
        /// What it is loaded from.
        from: String,
        /// In the stores of encrypted ones.
        encrypted: bool,
    },
    /// The pod file has changed, or went away.
    #[error(
        "credential {0:?} is written in the pod file, which is not there any more as the pod was prepared from it: prepare the pod anew"
    )]
    PodFileChanged(String),
}

fn places(from: &str, encrypted: bool) -> String {
    let list = credential_places(from, encrypted);
    let dirs = list.iter().filter_map(|path| path.parent());
    dirs.map(|dir| dir.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// Opens every credential of a pod. `own_unit`: this process is the pod's own unit.
pub(super) fn open(
    dir: &Path,
    meta: &Meta,
    own_unit: bool,
    descriptors: &mut Descriptors,
) -> Result<(), LaunchError> {
    let Some(record) = credentials::read(dir)? else { return Ok(()) };
    // Set by the drop-in that has LoadCredential= of this very pod file.
    let handed_over = own_unit && env::var_os("ROCKET_POD_DIGEST").is_some();
    let directory = env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    let mut pod_file = None;
    for wanted in &record.credentials {
        let fd = match (&wanted.from, handed_over) {
            (_, true) => from_systemd(wanted, directory.as_deref())?,
            (Origin::Load(from), false) => load(&wanted.name, from)?,
            (Origin::LoadEncrypted(from), false) => decrypt(&wanted.name, from)?,
            (Origin::PodFile, false) => {
                let pod = match pod_file.take() {
                    Some(pod) => pod,
                    None => reread(&record, meta, &wanted.name)?,
                };
                let fd = set(&pod, &wanted.name)?;
                pod_file = Some(pod);
                fd
            }
        };
        descriptors.add(credentials::descriptor(&wanted.name), fd);
    }
    Ok(())
}

/// What systemd has put into the unit's directory.
fn from_systemd(wanted: &Wanted, directory: Option<&Path>) -> Result<OwnedFd, CredentialError> {
    let missing = || CredentialError::NotHandedOver { name: wanted.name.clone() };
    let directory = directory.ok_or_else(missing)?;
    let path = directory.join(&wanted.name);
    match open_file(&path, ResolveFlags::NO_SYMLINKS) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(missing()),
        opened => opened.map_err(|source| read_error(&wanted.name, &path, source)),
    }
}

fn read_error(name: &str, path: &Path, source: io::Error) -> CredentialError {
    CredentialError::Read { name: name.to_owned(), path: path.to_owned(), source }
}

/// A regular file, opened to be read.
fn open_file(path: &Path, resolve: ResolveFlags) -> io::Result<OwnedFd> {
    // Without blocking, should it be a pipe.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    let resolve = resolve | ResolveFlags::NO_MAGICLINKS;
    let fd = openat2(CWD, path, flags, Mode::empty(), resolve)?;
    match FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode) {
        FileType::RegularFile => Ok(fd),
        _ => Err(io::Error::other("it is not a regular file")),
    }
}

/// The first file that `from` may mean and that is there.
fn find(name: &str, from: &str, encrypted: bool) -> Result<(PathBuf, OwnedFd), CredentialError> {
    for path in credential_places(from, encrypted) {
        match open_file(&path, ResolveFlags::empty()) {
            Ok(fd) => return Ok((path, fd)),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !from.starts_with('/') => {}
            Err(source) => return Err(read_error(name, &path, source)),
        }
    }
    let (name, from) = (name.to_owned(), from.to_owned());
    Err(CredentialError::NotFound { name, from, encrypted })
}

fn load(name: &str, from: &str) -> Result<OwnedFd, CredentialError> {
    find(name, from, false).map(|(_, fd)| fd)
}

fn decrypt(name: &str, from: &str) -> Result<OwnedFd, CredentialError> {
    let (path, _) = find(name, from, true)?;
    creds::decrypt(name, &path)
        .and_then(|bytes| memory(name, &bytes))
        .map_err(|source| read_error(name, &path, source))
}

fn memory(name: &str, bytes: &[u8]) -> io::Result<OwnedFd> {
    sealed_memfd(name, bytes).map_err(io::Error::other)
}

/// The pod file once more, if it is still what the pod was prepared from.
fn reread(record: &Record, meta: &Meta, name: &str) -> Result<PodFile, CredentialError> {
    let loaded = match &record.pod_file {
        Some(PodFileAt::Name(pod)) => {
            let dirs: Vec<PathBuf> = POD_FILES.iter().map(PathBuf::from).collect();
            rocket_podfile::load(&dirs, pod).ok()
        }
        Some(PodFileAt::File(path)) => rocket_podfile::load_file(path).ok(),
        None => None,
    };
    loaded
        .filter(|loaded| Some(&loaded.digest) == meta.pod_file_digest.as_ref())
        .map(|loaded| loaded.pod)
        .ok_or_else(|| CredentialError::PodFileChanged(name.to_owned()))
}

fn set(pod: &PodFile, name: &str) -> Result<OwnedFd, CredentialError> {
    let found = pod.credentials.iter().find(|credential| credential.name == name);
    let Some(CredentialSource::Set(text)) = found.map(|credential| &credential.source) else {
        return Err(CredentialError::PodFileChanged(name.to_owned()));
    };
    memory(name, text.as_bytes())
        .map_err(|source| read_error(name, Path::new("the pod file"), source))
}
