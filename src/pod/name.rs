//! Pod names and who has them: `names/NAME` holds a UUID, `names/NAME.lock` is held for a pod's life.

use crate::config::paths::Paths;
use crate::files::{self, Durability};
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use thiserror::Error;
use uuid::Uuid;

/// A valid pod name: `[a-z0-9]+(-[a-z0-9]+)*`, at most 63 characters; or, for an instance of a
/// template, two of these with `@` between.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodName(String);

/// What can go wrong with a name.
#[derive(Debug, Error)]
pub enum NameError {
    /// Not of the form.
    #[error(
        "{0:?} is not a pod name: lower-case letters and digits, joined by single dashes, at most 63; \
         NAME@INSTANCE for one of a template"
    )]
    Invalid(String),
    /// A pod that lives has it.
    #[error("the pod name {name:?} is taken by {holder}")]
    Taken {
        /// The name.
        name: String,
        /// Who has it, in words.
        holder: String,
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

impl PodName {
    /// Checks the form.
    ///
    /// # Errors
    /// [`NameError::Invalid`].
    pub fn new(text: &str) -> Result<Self, NameError> {
        if rocket_podfile::is_pod_name(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError::Invalid(text.to_owned()))
        }
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The instance, of a template's.
    pub fn instance(&self) -> Option<&str> {
        self.0.split_once('@').map(|(_, instance)| instance)
    }

    /// The unit that runs the pod file of this name.
    pub fn unit(&self) -> String {
        format!("rocket@{}.service", self.0)
    }
}

impl std::fmt::Display for PodName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// The held lock of a name.
#[derive(Debug)]
pub struct NameLock {
    name: PodName,
    file: File,
    paths: Paths,
}

/// The pod that had the name last, alive or not.
///
/// # Errors
/// Any IO error but "not found"; a file that holds no UUID counts as nobody.
pub fn holder(paths: &Paths, name: &PodName) -> Result<Option<Uuid>, NameError> {
    let path = paths.names().join(name.as_str());
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Uuid::try_parse(text.trim()).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(NameError::Io { what: "read", path, source }),
    }
}

impl NameLock {
    /// Takes the lock of `name` for a new pod.
    ///
    /// # Errors
    /// [`NameError::Taken`] if a living pod holds it.
    pub fn claim(paths: &Paths, name: &PodName) -> Result<Self, NameError> {
        let dir = paths.names();
        files::make_private_dirs(&dir).map_err(|source| NameError::Io {
            what: "make directory",
            path: dir.clone(),
            source,
        })?;
        let path = dir.join(format!("{name}.lock"));
        let failed = |what| {
            let path = path.clone();
            move |source| NameError::Io { what, path, source }
        };
        loop {
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(&path)
                .map_err(failed("open"))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let holder = match holder(paths, name)? {
                        Some(uuid) => format!("pod {uuid}"),
                        None => "a pod that is being made".to_owned(),
                    };
                    return Err(NameError::Taken { name: name.to_string(), holder });
                }
                Err(TryLockError::Error(error)) => return Err(failed("lock")(error)),
            }
            // The last holder may have removed the file between the open and the lock.
            let ours = file.metadata().map_err(failed("stat"))?;
            match std::fs::metadata(&path) {
                Ok(there) if there.ino() == ours.ino() && there.dev() == ours.dev() => {
                    return Ok(Self { name: name.clone(), file, paths: paths.clone() });
                }
                _ => {}
            }
        }
    }

    /// The name.
    pub fn name(&self) -> &PodName {
        &self.name
    }

    /// The lock, to be inherited by init.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Writes down who has the name now.
    ///
    /// # Errors
    /// Any IO error.
    pub fn assign(&self, uuid: Uuid) -> Result<(), NameError> {
        let path = self.paths.names().join(self.name.as_str());
        files::write(&path, format!("{uuid}\n").as_bytes(), Durability::Durable)
            .map_err(|source| NameError::Io { what: "write", path, source })
    }

    /// Forgets the name: no pod directory bears it any more.
    ///
    /// # Errors
    /// Any IO error but "not found".
    pub fn forget(self) -> Result<(), NameError> {
        for path in [
            self.paths.names().join(self.name.as_str()),
            self.paths.names().join(format!("{}.lock", self.name)),
        ] {
            match std::fs::remove_file(&path) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(NameError::Io { what: "remove", path, source });
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// The host name of a pod that says none. The kernel takes 64 bytes, a label of a domain has 63, and
/// a template's name with its instance's may have twice that.
pub(crate) fn host_name_of(name: &str) -> String {
    let name = name.replace('@', "-");
    name.get(..63).unwrap_or(&name).trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_are_as_long_as_the_kernel_takes() {
        let long = "a".repeat(62);
        let table = [
            ("web", "web".to_owned()),
            ("web@1", "web-1".to_owned()),
            (&format!("{long}@1"), long.clone()),
            (&format!("{long}b@1"), format!("{long}b")),
        ];
        for (name, expected) in table {
            assert_eq!(host_name_of(name), expected, "{name}");
        }
    }

    #[test]
    fn names_have_one_form() {
        for good in ["a", "web", "web-1", "0", "web@1", "web@blue-2", &"a".repeat(63)] {
            assert!(PodName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "a--b", "Web", "a_b", "a.b", "a/b", "..", "a@", "@a", "a@b@c"] {
            assert!(PodName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_name_has_one_living_holder_and_says_who() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::new(root.path());
        let name = PodName::new("web").unwrap();
        let lock = NameLock::claim(&paths, &name).unwrap();
        let uuid = Uuid::new_v4();
        lock.assign(uuid).unwrap();
        let error = NameLock::claim(&paths, &name).unwrap_err().to_string();
        assert!(error.contains(&uuid.to_string()), "{error}");
        drop(lock);
        let lock = NameLock::claim(&paths, &name).unwrap();
        assert_eq!(holder(&paths, &name).unwrap(), Some(uuid));
        lock.forget().unwrap();
        assert_eq!(holder(&paths, &name).unwrap(), None);
        assert_eq!(std::fs::read_dir(paths.names()).unwrap().count(), 0);
    }
}
