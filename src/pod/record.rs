//! The exit record of a pod, read back: how each app ended, and the pod.

use super::directory::EXIT_RECORD;
use crate::files::Dir;
use rocket_plan::{AppExit, ExitRecord, PodExit, RecordError, decode_records};
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Everything the record says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The last end of each app, in order of ending.
    pub apps: Vec<AppExit>,
    /// The end of the pod; `None` if init did not live to write it.
    pub pod: Option<PodExit>,
}

/// A record that cannot be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// A system call failed.
    #[error("cannot read {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A checksum is wrong in the middle.
    #[error("cannot trust {path}")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: RecordError,
    },
}

/// Reads the record of a pod directory; a missing file is an empty record.
///
/// # Errors
/// The file cannot be read, or is damaged elsewhere than at its end.
pub fn read(dir: &Path) -> Result<Record, ReadError> {
    parse(dir, std::fs::read(dir.join(EXIT_RECORD)))
}

/// The same of an open pod directory.
///
/// # Errors
/// As [`read`].
pub fn read_in(dir: &Dir) -> Result<Record, ReadError> {
    parse(dir.path(), dir.read(EXIT_RECORD))
}

fn parse(dir: &Path, bytes: io::Result<Vec<u8>>) -> Result<Record, ReadError> {
    let path = || dir.join(EXIT_RECORD);
    let bytes = match bytes {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Record::default()),
        Err(source) => return Err(ReadError::Io { path: path(), source }),
    };
    let lines =
        decode_records(&bytes).map_err(|source| ReadError::Corrupt { path: path(), source })?;
    let mut record = Record::default();
    for (index, line) in lines.iter().enumerate() {
        match serde_json::from_str(line) {
            Ok(ExitRecord::App(exit)) => {
                record.apps.retain(|known| known.app != exit.app);
                record.apps.push(exit);
            }
            Ok(ExitRecord::Pod(exit)) => record.pod = Some(exit),
            // The checksum is right, so it was written so: by a newer release.
            Err(_) => {
                let source = RecordError::Corrupt(index + 1);
                return Err(ReadError::Corrupt { path: path(), source });
            }
        }
    }
    Ok(record)
}
