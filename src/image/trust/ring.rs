//! Which keys this host has, and for which names each counts.
//!
//! Below each trust directory, `root.d/` holds keys for every name and `prefix.d/PREFIX/` keys for the
//! names below one, the slashes of the prefix written `%2F`. Of files with the same place in several
//! directories the most important one counts; an empty file there masks the others.

use super::key::{Key, KeyError, MAX_KEY};
use super::scope::Scope;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// A file that is not read as a key, and why; the others count all the same.
#[derive(Debug, thiserror::Error)]
pub enum RingProblem {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is no key.
    #[error("{}: {source}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        source: KeyError,
    },
    /// A directory whose name is no prefix.
    #[error("{} is called after no prefix of image names", .0.display())]
    Prefix(PathBuf),
}

/// A key and where it counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Key,
    /// For which names.
    pub scope: Scope,
    /// Its file.
    pub path: PathBuf,
}

/// All keys of this host.
#[derive(Clone, Debug, Default)]
pub struct Ring {
    entries: Vec<Entry>,
}

impl Ring {
    /// A ring of these.
    pub fn new(entries: Vec<Entry>) -> Self {
        Self { entries }
    }

    /// Reads the trust directories, the most important last. What cannot be used is named beside.
    pub fn load(dirs: &[PathBuf]) -> (Self, Vec<RingProblem>) {
        let mut files: BTreeMap<(Scope, OsString), PathBuf> = BTreeMap::new();
        let mut problems = Vec::new();
        for dir in dirs {
            let mut places = vec![(Scope::Root, dir.join("root.d"))];
            for path in list(&dir.join("prefix.d"), &mut problems) {
                let name = path.file_name().and_then(|name| name.to_str());
                match name.map(|name| Scope::prefix(&name.replace("%2F", "/"))) {
                    Some(Ok(scope)) => places.push((scope, path)),
                    _ => problems.push(RingProblem::Prefix(path)),
                }
            }
            for (scope, place) in places {
                for path in list(&place, &mut problems) {
                    let name = path.file_name().unwrap_or_default().to_owned();
                    files.insert((scope.clone(), name), path);
                }
            }
        }
        let mut entries = Vec::new();
        for ((scope, _), path) in files {
            match read(&path) {
                Ok(bytes) if bytes.is_empty() => {}
                Ok(bytes) => match Key::parse(&bytes) {
                    Ok(key) => entries.push(Entry { key, scope, path }),
                    Err(source) => problems.push(RingProblem::Key { path, source }),
                },
                Err(source) => problems.push(RingProblem::Io { path, source }),
            }
        }
        (Self { entries }, problems)
    }

    /// All of them.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Those that count for a name, the narrowest scope first.
    pub fn for_name(&self, name: &str) -> Vec<&Entry> {
        let mut found: Vec<_> = self.entries.iter().filter(|e| e.scope.covers(name)).collect();
        found.sort_by_key(|entry| std::cmp::Reverse(entry.scope.depth()));
        found
    }
}

/// The name of the directory of a prefix below `prefix.d`.
pub fn directory_name(prefix: &str) -> String {
    prefix.replace('/', "%2F")
}

/// What is in a directory that may be missing, hidden files apart.
fn list(dir: &Path, problems: &mut Vec<RingProblem>) -> Vec<PathBuf> {
    let read = || -> io::Result<Vec<PathBuf>> {
        std::fs::read_dir(dir)?.map(|entry| entry.map(|entry| entry.path())).collect()
    };
    match read() {
        Ok(mut paths) => {
            let hidden = |path: &PathBuf| {
                path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
            };
            paths.retain(|path| !hidden(path));
            paths.sort();
            paths
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(source) => {
            problems.push(RingProblem::Io { path: dir.to_owned(), source });
            Vec::new()
        }
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MAX_KEY + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_KEY {
        return Err(io::Error::other("it is larger than any key"));
    }
    Ok(bytes)
}
