//! From what a person types to a pod: name, UUID, or at least 8 hex digits of one.

use super::directory::{DirectoryError, State, scan};
use super::name::{NameError, PodName, holder};
use crate::config::paths::Paths;
use thiserror::Error;
use uuid::Uuid;

/// Fewest hex digits of a shortened UUID.
pub const MIN_PREFIX: usize = 8;

/// A pod and where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The pod.
    pub uuid: Uuid,
    /// Its state directory.
    pub state: State,
}

/// Why there is no pod of that word.
#[derive(Debug, Error)]
pub enum LookupError {
    /// Nothing matches.
    #[error("there is no pod {0:?}")]
    Nothing(String),
    /// The name was used, its last pod is gone.
    #[error("the last pod of the name {name:?}, {uuid}, has been removed")]
    Gone {
        /// The name.
        name: String,
        /// The pod.
        uuid: Uuid,
    },
    /// Several match.
    #[error("{word:?} is ambiguous: {} pods start with it", candidates.len())]
    Ambiguous {
        /// What was typed.
        word: String,
        /// What it could be.
        candidates: Vec<Uuid>,
    },
    /// The state directories cannot be read.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The name cannot be read.
    #[error(transparent)]
    Name(#[from] NameError),
}

/// Finds the pod that `word` means: a name first, then a UUID, then a prefix of one.
///
/// # Errors
/// Nothing or too much matches.
pub fn find(paths: &Paths, word: &str) -> Result<Found, LookupError> {
    let mut gone = None;
    if let Ok(name) = PodName::new(word)
        && let Some(uuid) = holder(paths, &name)?
    {
        match locate(paths, uuid) {
            Some(found) => return Ok(found),
            None => gone = Some(uuid),
        }
    }
    if let Ok(uuid) = Uuid::try_parse(word) {
        return locate(paths, uuid).ok_or_else(|| LookupError::Nothing(word.to_owned()));
    }
    if is_prefix(word) {
        let mut matches = Vec::new();
        for state in State::ALL {
            for uuid in scan(paths, state)? {
                if starts(uuid, word) {
                    matches.push(Found { uuid, state });
                }
            }
        }
        match matches.as_slice() {
            [] => {}
            [one] => return Ok(*one),
            many => {
                let candidates = many.iter().map(|found| found.uuid).collect();
                return Err(LookupError::Ambiguous { word: word.to_owned(), candidates });
            }
        }
    }
    match gone {
        Some(uuid) => Err(LookupError::Gone { name: word.to_owned(), uuid }),
        None => Err(LookupError::Nothing(word.to_owned())),
    }
}

/// The state directory that holds `uuid`. States are asked in the order of a life, so a pod that
/// moves on meanwhile is still met.
pub fn locate(paths: &Paths, uuid: Uuid) -> Option<Found> {
    State::ALL
        .into_iter()
        .find(|state| state.path(paths, uuid).is_dir())
        .map(|state| Found { uuid, state })
}

/// Whether a UUID, with its dashes or without, begins so.
pub fn starts(uuid: Uuid, word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    uuid.to_string().starts_with(&word) || uuid.simple().to_string().starts_with(&word)
}

fn is_prefix(word: &str) -> bool {
    let digits = word.bytes().filter(u8::is_ascii_hexdigit).count();
    digits >= MIN_PREFIX && word.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::directory::Pod;

    #[test]
    fn uuids_shorten_to_eight_digits_and_no_further() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::new(root.path());
        let pod = Pod::create(&paths).unwrap();
        let text = pod.uuid().to_string();
        let expected = Found { uuid: pod.uuid(), state: State::Prepare };
        assert_eq!(find(&paths, &text).unwrap(), expected);
        assert_eq!(find(&paths, &text[..8]).unwrap(), expected);
        assert_eq!(find(&paths, &text[..13]).unwrap(), expected);
        assert_eq!(find(&paths, &text[..13].to_uppercase()).unwrap(), expected);
        let simple = pod.uuid().simple().to_string();
        assert_eq!(find(&paths, &simple[..12]).unwrap(), expected);
        assert_eq!(find(&paths, &simple.to_uppercase()).unwrap(), expected);
        assert!(matches!(find(&paths, &text[..7]), Err(LookupError::Nothing(_))));
        assert!(matches!(find(&paths, "no-such-pod"), Err(LookupError::Nothing(_))));
        assert!(matches!(find(&paths, ""), Err(LookupError::Nothing(_))));
    }
}
