//! Ranges of ids for user namespaces: one entry a range in `ids/`, made with an exclusive create, so
//! no two pods ever have the same.
//!
//! An entry is a symbolic link, named by the first id, that says whose the range is: `pod:UUID`, or
//! `name:NAME` for a pod with `state` volumes, whose next instances have the same one. It is there
//! with its whole content or not at all. What a pod directory has is noted in it, and goes with it.

mod check;
mod reserved;

use super::directory::State;
use super::name::{self, NameError, NameLock, PodName};
use crate::config::paths::Paths;
use crate::files;
use reserved::Reserved;
use rocket_plan::IdMap;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use thiserror::Error;
use uuid::Uuid;

/// How many ids a pod has.
pub const COUNT: u32 = 65_536;
/// The note in a pod directory: a symbolic link to the first id of its range.
pub const NOTE: &str = "ids";

/// Stands for the range that a start would choose. No pod ever has the host's root.
pub const FORESEEN: IdMap = IdMap { base: 0, count: COUNT };

/// The least id that a pod may have: those of the host's accounts are below.
pub const LEAST: u32 = COUNT;
/// The greatest. The kernel maps no range with 4294967295 in it, which is no id.
pub const GREATEST: u32 = u32::MAX - COUNT;

/// Where ranges may lie: whole ones of [`COUNT`] only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// The first id.
    pub first: u32,
    /// The last id.
    pub last: u32,
}

/// Why there is no range.
#[derive(Debug, Error)]
pub enum IdsError {
    /// The pool holds none.
    #[error("ids.first = {} and ids.last = {} leave no range of {COUNT} ids for a pod", .0.first, .0.last)]
    Pool(Pool),
    /// All are taken.
    #[error(
        "no range of {COUNT} ids is free from {} to {}: each belongs to a pod (see {ids}) or to accounts of the host",
        .pool.first, .pool.last
    )]
    Full {
        /// The pool.
        pool: Pool,
        /// Where the entries are.
        ids: PathBuf,
    },
    /// A prepared pod's range is somebody else's by now.
    #[error("the ids of pod {uuid} from {base} on belong to {owner} now")]
    Lost {
        /// The pod.
        uuid: Uuid,
        /// The first id.
        base: u32,
        /// Who has them.
        owner: String,
    },
    /// An entry that rocket did not write so.
    #[error("{path} is damaged: {found}; {remedy}")]
    Damaged {
        /// The entry.
        path: PathBuf,
        /// What is there instead.
        found: String,
        /// What to do.
        remedy: String,
    },
    /// A range that is known, and that no pod may have (any more).
    #[error("{whose} has the ids from {base} on (see {path}), {why}; {remedy}")]
    Forbidden {
        /// Who would have it.
        whose: String,
        /// The first id.
        base: u32,
        /// Where that is said.
        path: PathBuf,
        /// Why it may not.
        why: String,
        /// What to do.
        remedy: String,
    },
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
}

fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> IdsError {
    let path = path.to_owned();
    move |source| IdsError::Io { what, path, source }
}

/// Whose a range is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A pod directory's.
    Pod(Uuid),
    /// A name's, for as long as it has pods or `state` volumes.
    Name(PodName),
}

impl Owner {
    fn text(&self) -> String {
        match self {
            Self::Pod(uuid) => format!("pod:{uuid}"),
            Self::Name(name) => format!("name:{name}"),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        match text.split_once(':')? {
            ("pod", uuid) => Uuid::try_parse(uuid).ok().map(Self::Pod),
            ("name", name) => PodName::new(name).ok().map(Self::Name),
            _ => None,
        }
    }

    /// Where the search begins: spread over the pool, so that it rarely meets a taken range.
    fn seed(&self) -> u64 {
        // FNV-1a.
        self.text().bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
    }
}

impl Pool {
    /// The first ids of its ranges, from the one that `seed` picks on.
    fn bases(self, seed: u64) -> impl Iterator<Item = u32> {
        // Below it are the host's own.
        let first = self.first.max(LEAST).div_ceil(COUNT);
        // One past the last whole one.
        let last = u64::from(self.last.min(GREATEST));
        let end = u32::try_from((last + 1) / u64::from(COUNT)).unwrap_or(0);
        let slots = end.saturating_sub(first);
        let start = u32::try_from(seed % u64::from(slots.max(1))).unwrap_or(0);
        (0..slots).map(move |step| {
            let slot = (u64::from(start) + u64::from(step)) % u64::from(slots);
            (first + u32::try_from(slot).unwrap_or(0)).saturating_mul(COUNT)
        })
    }
}

fn entry(paths: &Paths, base: u32) -> PathBuf {
    paths.ids().join(base.to_string())
}

fn pointer(paths: &Paths, name: &PodName) -> PathBuf {
    // No range is called this, and no name has a dot.
    paths.ids().join(format!("name.{name}"))
}

fn read(path: &Path) -> Result<Option<String>, IdsError> {
    match std::fs::read_link(path) {
        Ok(target) => Ok(Some(target.to_string_lossy().into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        // What readlink(2) says of anything else than a link.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            Err(check::damaged(path, "no symbolic link".to_owned()))
        }
        Err(error) => Err(io_error("read", path)(error)),
    }
}

/// The range that a name's pointer names.
fn read_pointer(paths: &Paths, name: &PodName) -> Result<Option<u32>, IdsError> {
    let path = pointer(paths, name);
    read(&path)?.map(|text| check::base(&path, &text)).transpose()
}

/// Whose an entry says a range is.
fn read_owner(path: &Path) -> Result<Option<Owner>, IdsError> {
    let Some(text) = read(path)? else { return Ok(None) };
    match Owner::parse(&text) {
        Some(owner) => Ok(Some(owner)),
        None => Err(check::damaged(path, format!("{text:?} is neither a pod nor a name"))),
    }
}

/// Takes an entry if nobody has it.
fn take(paths: &Paths, base: u32, owner: &Owner) -> Result<bool, IdsError> {
    let path = entry(paths, base);
    match symlink(owner.text(), &path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(io_error("make", &path)(error)),
    }
}

/// Takes a range for a pod directory, and notes it there. `name` is that of a pod whose ranges are
/// to be the same from one instance to the next: it has a `state` volume now.
///
/// # Errors
/// [`IdsError`]; nothing is taken then.
pub fn claim(
    paths: &Paths,
    pool: Pool,
    uuid: Uuid,
    dir: &Path,
    name: Option<&PodName>,
    state: bool,
) -> Result<IdMap, IdsError> {
    let ids = paths.ids();
    files::make_private_dirs(&ids).map_err(io_error("make directory", &ids))?;
    let base = match name {
        Some(name) => match remembered(paths, pool, name)? {
            None if state => Some(for_name(paths, pool, name)?),
            known => known,
        },
        None => None,
    };
    let base = match base {
        Some(base) => base,
        None => {
            let owner = Owner::Pod(uuid);
            let base = search(paths, pool, &owner, |_| Ok(()))?;
            let note = dir.join(NOTE);
            if let Err(error) = symlink(base.to_string(), &note) {
                free(paths, base, &owner)?;
                return Err(io_error("make", &note)(error));
            }
            base
        }
    };
    Ok(IdMap { base, count: COUNT })
}

/// The first free range, after `before` has been told of each one that is tried.
fn search(
    paths: &Paths,
    pool: Pool,
    owner: &Owner,
    before: impl Fn(u32) -> Result<(), IdsError>,
) -> Result<u32, IdsError> {
    let reserved = Reserved::of_host(Path::new("/etc"));
    let mut any = false;
    for base in pool.bases(owner.seed()) {
        any = true;
        if reserved.touches(base, COUNT) {
            continue;
        }
        before(base)?;
        if take(paths, base, owner)? {
            return Ok(base);
        }
    }
    Err(if any { IdsError::Full { pool, ids: paths.ids() } } else { IdsError::Pool(pool) })
}

/// The range that a name has, if it has one. The name is the caller's: it holds its lock.
fn remembered(paths: &Paths, pool: Pool, name: &PodName) -> Result<Option<u32>, IdsError> {
    let Some(base) = read_pointer(paths, name)? else { return Ok(None) };
    check::of_name(name, base, &pointer(paths, name), pool, Path::new("/etc"))?;
    let owner = Owner::Name(name.clone());
    // An entry that a power cut took is made again, unless somebody was faster.
    if take(paths, base, &owner)? || read_owner(&entry(paths, base))? == Some(owner) {
        return Ok(Some(base));
    }
    Ok(None)
}

/// A new range for a name: first the pointer, then the entry, so that an entry without a pointer to
/// it is nobody's. Both are made durable, as the volumes are that depend on them.
fn for_name(paths: &Paths, pool: Pool, name: &PodName) -> Result<u32, IdsError> {
    let path = pointer(paths, name);
    let point = |base: u32| {
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_error("remove", &path)(error));
            }
            _ => {}
        }
        symlink(base.to_string(), &path).map_err(io_error("make", &path))
    };
    let base = search(paths, pool, &Owner::Name(name.clone()), point)?;
    let ids = paths.ids();
    std::fs::File::open(&ids).and_then(|dir| dir.sync_all()).map_err(io_error("sync", &ids))?;
    Ok(base)
}

/// Removes an entry, if it is still this owner's.
fn free(paths: &Paths, base: u32, owner: &Owner) -> Result<(), IdsError> {
    let path = entry(paths, base);
    if read(&path)? == Some(owner.text()) {
        std::fs::remove_file(&path).map_err(io_error("remove", &path))?;
    }
    Ok(())
}

/// The note of the pod directory at `dir`, to be read before that is removed.
pub fn noted(dir: &Path) -> Option<u32> {
    read(&dir.join(NOTE)).ok().flatten()?.parse().ok()
}

/// Gives back what a pod directory had, after it was removed: files in it belonged to these ids.
///
/// # Errors
/// Any IO error; gc finds the entry then.
pub fn release(paths: &Paths, uuid: Uuid, noted: Option<u32>) -> Result<(), IdsError> {
    match noted {
        Some(base) => free(paths, base, &Owner::Pod(uuid)),
        None => Ok(()),
    }
}

/// Whether the range of a prepared pod is still its own; an entry that a power cut took is made
/// again.
///
/// # Errors
/// [`IdsError::Lost`] if it is not, [`IdsError::Forbidden`] if no pod may have it any more.
pub fn confirm(
    paths: &Paths,
    map: IdMap,
    uuid: Uuid,
    name: Option<&PodName>,
) -> Result<(), IdsError> {
    let owners = [Some(Owner::Pod(uuid)), name.cloned().map(Owner::Name)];
    let path = entry(paths, map.base);
    check::of_pod(uuid, map, &path, Path::new("/etc"))?;
    let found = match read_owner(&path)? {
        Some(found) => Some(found),
        None if take(paths, map.base, &Owner::Pod(uuid))? => return Ok(()),
        None => read_owner(&path)?,
    };
    if owners.contains(&found) {
        return Ok(());
    }
    let owner = found.map_or_else(|| "nobody".to_owned(), |owner| owner.text());
    Err(IdsError::Lost { uuid, base: map.base, owner })
}

/// What [`sweep`] came upon.
#[derive(Debug, Default)]
pub struct Swept {
    /// First ids of what it freed.
    pub freed: Vec<u32>,
    /// Entries that tell nothing: they stay as they are, and keep no other.
    pub damaged: Vec<IdsError>,
}

/// Frees the ranges of pod directories that are gone, and of names without pods and volumes.
///
/// # Errors
/// Any IO error.
pub fn sweep(paths: &Paths) -> Result<Swept, IdsError> {
    let ids = paths.ids();
    let mut swept = Swept::default();
    let entries = match std::fs::read_dir(&ids) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(swept),
        Err(error) => return Err(io_error("read directory", &ids)(error)),
    };
    for file in entries {
        let file = file.map_err(io_error("read directory", &ids))?.file_name();
        let Some(text) = file.to_str() else { continue };
        let found = if let Some(name) = text.strip_prefix("name.") {
            let Ok(name) = PodName::new(name) else { continue };
            sweep_name(paths, &name)
        } else if let Ok(base) = text.parse() {
            sweep_entry(paths, base)
        } else {
            continue;
        };
        match found {
            Ok(freed) => swept.freed.extend(freed),
            Err(damaged @ IdsError::Damaged { .. }) => swept.damaged.push(damaged),
            Err(error) => return Err(error),
        }
    }
    Ok(swept)
}

fn sweep_entry(paths: &Paths, base: u32) -> Result<Option<u32>, IdsError> {
    let Some(owner) = read_owner(&entry(paths, base))? else { return Ok(None) };
    let leaked = match &owner {
        // Moves of a pod go through these states in this order, and only forward.
        Owner::Pod(uuid) => State::ALL.iter().all(|state| !state.path(paths, *uuid).exists()),
        // One whose pointer says nothing that can be read may still be the name's.
        Owner::Name(name) => match read_pointer(paths, name) {
            Ok(at) => at != Some(base),
            Err(IdsError::Damaged { .. }) => false,
            Err(error) => return Err(error),
        },
    };
    if leaked {
        free(paths, base, &owner)?;
    }
    Ok(leaked.then_some(base))
}

/// A name keeps its range while it has a pod directory or a volume.
fn sweep_name(paths: &Paths, name: &PodName) -> Result<Option<u32>, IdsError> {
    let kept = || {
        let volumes = std::fs::read_dir(paths.volumes().join(name.as_str()));
        let has_volumes = volumes.is_ok_and(|mut list| list.next().is_some());
        has_volumes || !matches!(name::holder(paths, name), Ok(None))
    };
    if kept() {
        return Ok(None);
    }
    // Whoever prepares or runs a pod of this name holds the lock.
    let lock = match NameLock::claim(paths, name) {
        Ok(lock) if !kept() => lock,
        Ok(_) | Err(NameError::Taken { .. }) => return Ok(None),
        Err(NameError::Io { what, path, source }) => {
            return Err(IdsError::Io { what, path, source });
        }
        Err(NameError::Invalid(_)) => return Ok(None),
    };
    let path = pointer(paths, name);
    let base = read_pointer(paths, name);
    if let Ok(Some(base)) = base {
        free(paths, base, &Owner::Name(name.clone()))?;
        std::fs::remove_file(&path).map_err(io_error("remove", &path))?;
    }
    // The lock file was made for this look only.
    lock.forget()
        .map_err(|error| io_error("forget the name in", &paths.names())(io::Error::other(error)))?;
    base
}

#[cfg(test)]
mod tests;
