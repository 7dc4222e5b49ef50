//! Where pod files lie, and which of them count.

use crate::diagnostic::Diagnostic;
use crate::pod::PodFile;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// A pod file with its drop-ins, read and merged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The pod's name: of the file, when that is a name.
    pub name: Option<String>,
    /// What it says.
    pub pod: PodFile,
    /// SHA-256 in hex over the names and bytes of the sources, in order.
    pub digest: String,
    /// The files that were merged: the pod file, then drop-ins in the order they apply.
    pub sources: Vec<PathBuf>,
}

/// Why a pod file cannot be had.
#[derive(Debug)]
pub enum LoadError {
    /// This is not the name of a pod.
    BadName(String),
    /// No directory of the search path has it.
    NotFound {
        /// The name.
        name: String,
        /// Where it was searched.
        dirs: Vec<PathBuf>,
    },
    /// An empty file or a link to /dev/null says that there is no such pod.
    Masked(PathBuf),
    /// A file could not be read.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The files are wrong: at least one diagnostic, in the order of the files.
    Invalid(Vec<Diagnostic>),
}

impl fmt::Display for LoadError {
    /// [`LoadError::Invalid`] gives its first diagnostic and how many there are besides.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadName(name) => write!(f, "{name:?} is not a pod's name"),
            Self::NotFound { name, dirs } => {
                write!(f, "there is no pod file {name}.toml in ")?;
                for (index, dir) in dirs.iter().enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    write!(f, "{comma}{}", dir.display())?;
                }
                Ok(())
            }
            Self::Masked(path) => write!(f, "the pod is masked by {}", path.display()),
            Self::Unreadable { path, .. } => write!(f, "cannot read {}", path.display()),
            Self::Invalid(diagnostics) => match diagnostics.split_first() {
                None => f.write_str("the pod file is wrong"),
                Some((first, [])) => first.fmt(f),
                Some((first, rest)) => write!(f, "{first} (and {} more)", rest.len()),
            },
        }
    }
}

impl std::error::Error for LoadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable { error, .. } => Some(error),
            _ => None,
        }
    }
}

/// Reads the pod file of `name` and its drop-ins from the directories of `dirs`, most important
/// first.
pub fn load(dirs: &[PathBuf], name: &str) -> Result<Loaded, LoadError> {
    Err(LoadError::NotFound { name: name.to_owned(), dirs: dirs.to_vec() })
}

/// Reads one pod file that lies anywhere, without drop-ins.
pub fn load_file(path: &Path) -> Result<Loaded, LoadError> {
    Err(LoadError::Unreadable { path: path.to_owned(), error: io::ErrorKind::NotFound.into() })
}

/// Names of the pods that `dirs` have, sorted; templates end with `@`. Masked ones are left out.
pub fn list(dirs: &[PathBuf]) -> Result<Vec<String>, LoadError> {
    let _ = dirs;
    Ok(Vec::new())
}
