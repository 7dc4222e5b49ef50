//! Layered configuration: what a vendor ships, what this boot adds, what the administrator says.
//!
//! `rocket.toml` and then `rocket.toml.d/*.toml`, in order of file name, of `/usr/lib/rocket`,
//! `/run/rocket` and `/etc/rocket`: a later file's key replaces an earlier one's, key by key, and a drop-in
//! hides those of its name in earlier layers. An
//! unknown key is an error with file, line and column; a missing file is none.

use super::paths::{self, DEFAULT_STATE};
use serde::Deserialize;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Configuration that cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file says something it cannot say.
    #[error("{path}:{line}:{column}: {message}")]
    Form {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
        /// What is wrong.
        message: String,
    },
}

/// A value and the file it comes from; `None` = built in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting<T> {
    /// The value.
    pub value: T,
    /// Where it was said last.
    pub source: Option<PathBuf>,
}

impl<T> Setting<T> {
    fn built_in(value: T) -> Self {
        Self { value, source: None }
    }

    fn replace(&mut self, value: Option<T>, path: &Path) {
        if let Some(value) = value {
            *self = Self { value, source: Some(path.to_owned()) };
        }
    }
}

/// Everything that can be configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `state-dir`: directory of all of rocket's state.
    pub state_dir: Setting<PathBuf>,
    /// `ids.first`: the first id that user namespaces of pods may have.
    pub ids_first: Setting<u32>,
    /// `ids.last`: the last one.
    pub ids_last: Setting<u32>,
    /// `fetch.timeout`: seconds for each step of a request, and each wait in a transfer.
    pub fetch_timeout: Setting<u64>,
    /// `fetch.retries`: how often a request is made again that failed for a passing reason.
    pub fetch_retries: Setting<u32>,
    /// `fetch.parallel`: how many blobs come at once.
    pub fetch_parallel: Setting<usize>,
    /// `gc.grace-period`: seconds that dead pods without a name stay.
    pub gc_grace_period: Setting<u64>,
    /// `gc.expire-prepared`: seconds that prepared pods stay; 0 = for ever.
    pub gc_expire_prepared: Setting<u64>,
    /// `gc.keep`: how many dead instances of a named pod stay.
    pub gc_keep: Setting<usize>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            state_dir: Setting::built_in(PathBuf::from(DEFAULT_STATE)),
            // The range that systemd keeps for containers.
            ids_first: Setting::built_in(524_288),
            ids_last: Setting::built_in(1_879_048_191),
            fetch_timeout: Setting::built_in(30),
            fetch_retries: Setting::built_in(3),
            fetch_parallel: Setting::built_in(4),
            gc_grace_period: Setting::built_in(1800),
            gc_expire_prepared: Setting::built_in(0),
            gc_keep: Setting::built_in(3),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct File {
    #[serde(default, deserialize_with = "absolute")]
    state_dir: Option<PathBuf>,
    #[serde(default)]
    ids: Ids,
    #[serde(default)]
    fetch: FetchKeys,
    #[serde(default)]
    gc: Gc,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct FetchKeys {
    timeout: Option<std::num::NonZeroU64>,
    retries: Option<u32>,
    parallel: Option<std::num::NonZeroUsize>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Ids {
    #[serde(default, deserialize_with = "id")]
    first: Option<u32>,
    #[serde(default, deserialize_with = "id")]
    last: Option<u32>,
}

/// Ids below are the host's own. A range with 4294967295 in it is one that the kernel does not map.
const POD_IDS: std::ops::RangeInclusive<u32> = 65_536..=4_294_901_759;

fn id<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
    let id = u32::deserialize(from)?;
    if POD_IDS.contains(&id) {
        return Ok(Some(id));
    }
    let (least, most) = (POD_IDS.start(), POD_IDS.end());
    Err(serde::de::Error::custom(format!("{id} is not an id for pods; write {least} to {most}")))
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Gc {
    grace_period: Option<u64>,
    expire_prepared: Option<u64>,
    keep: Option<usize>,
}

/// A path that means the same whatever the working directory is.
fn absolute<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<PathBuf>, D::Error> {
    let path = PathBuf::deserialize(from)?;
    if path.is_absolute() {
        return Ok(Some(path));
    }
    Err(serde::de::Error::custom(format!("{path:?} is no absolute path")))
}

impl Config {
    /// Reads this host's configuration.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn load() -> Result<Self, ConfigError> {
        let dirs = paths::config();
        Self::from_dirs(&dirs.iter().map(PathBuf::as_path).collect::<Vec<_>>())
    }

    /// Reads the layers of `dirs`, the most important last.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn from_dirs(dirs: &[&Path]) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        for (index, dir) in dirs.iter().enumerate() {
            config.add(&dir.join("rocket.toml"))?;
            for path in drop_ins(&dir.join("rocket.toml.d"))? {
                // A drop-in hides those of its name in earlier layers: an empty one masks them.
                let name = path.file_name().unwrap_or_default();
                let later = dirs.iter().skip(index + 1);
                if !later.into_iter().any(|dir| dir.join("rocket.toml.d").join(name).exists()) {
                    config.add(&path)?;
                }
            }
        }
        Ok(config)
    }

    fn add(&mut self, path: &Path) -> Result<(), ConfigError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(ConfigError::Io { path: path.to_owned(), source }),
        };
        let file: File = toml::from_str(&text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            let (line, column) = position(&text, start);
            let message = error.message().to_owned();
            ConfigError::Form { path: path.to_owned(), line, column, message }
        })?;
        self.state_dir.replace(file.state_dir, path);
        self.ids_first.replace(file.ids.first, path);
        self.ids_last.replace(file.ids.last, path);
        self.fetch_timeout.replace(file.fetch.timeout.map(u64::from), path);
        self.fetch_retries.replace(file.fetch.retries, path);
        self.fetch_parallel.replace(file.fetch.parallel.map(usize::from), path);
        self.gc_grace_period.replace(file.gc.grace_period, path);
        self.gc_expire_prepared.replace(file.gc.expire_prepared, path);
        self.gc_keep.replace(file.gc.keep, path);
        Ok(())
    }

    /// Every key, its value as text, and where it was said.
    pub fn entries(&self) -> Vec<(&'static str, String, Option<&Path>)> {
        vec![
            (
                "state-dir",
                self.state_dir.value.display().to_string(),
                self.state_dir.source.as_deref(),
            ),
            ("ids.first", self.ids_first.value.to_string(), self.ids_first.source.as_deref()),
            ("ids.last", self.ids_last.value.to_string(), self.ids_last.source.as_deref()),
            (
                "fetch.timeout",
                self.fetch_timeout.value.to_string(),
                self.fetch_timeout.source.as_deref(),
            ),
            (
                "fetch.retries",
                self.fetch_retries.value.to_string(),
                self.fetch_retries.source.as_deref(),
            ),
            (
                "fetch.parallel",
                self.fetch_parallel.value.to_string(),
                self.fetch_parallel.source.as_deref(),
            ),
            (
                "gc.grace-period",
                self.gc_grace_period.value.to_string(),
                self.gc_grace_period.source.as_deref(),
            ),
            (
                "gc.expire-prepared",
                self.gc_expire_prepared.value.to_string(),
                self.gc_expire_prepared.source.as_deref(),
            ),
            ("gc.keep", self.gc_keep.value.to_string(), self.gc_keep.source.as_deref()),
        ]
    }
}

fn drop_ins(dir: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let failed = |source| ConfigError::Io { path: dir.to_owned(), source };
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or(before).chars().count() + 1;
    (line, column)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_layers_win_key_by_key_and_say_where() {
        let root = tempfile::tempdir().unwrap();
        let (vendor, local) = (root.path().join("usr"), root.path().join("etc"));
        for dir in [&vendor, &local.join("rocket.toml.d")] {
            std::fs::create_dir_all(dir).unwrap();
        }
        std::fs::write(vendor.join("rocket.toml"), "[gc]\nkeep = 5\ngrace-period = 60\n").unwrap();
        std::fs::write(local.join("rocket.toml.d/10.toml"), "[gc]\nkeep = 1\n").unwrap();
        let config = Config::from_dirs(&[&vendor, &local]).unwrap();
        assert_eq!((config.gc_keep.value, config.gc_grace_period.value), (1, 60));
        assert_eq!(config.gc_keep.source, Some(local.join("rocket.toml.d/10.toml")));
        assert_eq!(config.state_dir.source, None);
    }

    #[test]
    fn unknown_keys_are_errors_with_their_place() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("rocket.toml"), "[gc]\nkeeep = 5\n").unwrap();
        let error = Config::from_dirs(&[root.path()]).unwrap_err().to_string();
        assert!(error.contains("rocket.toml:2:1: unknown field `keeep`"), "{error}");
    }

    #[test]
    fn a_drop_in_hides_those_of_its_name_and_a_state_has_one_place() {
        let root = tempfile::tempdir().unwrap();
        let (vendor, local) = (root.path().join("usr"), root.path().join("etc"));
        for dir in [&vendor, &local] {
            std::fs::create_dir_all(dir.join("rocket.toml.d")).unwrap();
        }
        std::fs::write(vendor.join("rocket.toml.d/10.toml"), "[gc]\nkeep = 5\n").unwrap();
        let read = || Config::from_dirs(&[&vendor, &local]);
        assert_eq!(read().unwrap().gc_keep.value, 5);
        std::os::unix::fs::symlink("/dev/null", local.join("rocket.toml.d/10.toml")).unwrap();
        assert_eq!(read().unwrap().gc_keep, Config::default().gc_keep);
        for path in ["", "pods", "./pods"] {
            std::fs::write(local.join("rocket.toml"), format!("state-dir = {path:?}")).unwrap();
            let error = read().unwrap_err().to_string();
            assert!(error.contains("rocket.toml:1:13: ") && error.contains("absolute"), "{error}");
        }
    }

    #[test]
    fn ids_that_no_pod_can_have_are_refused_where_they_stand() {
        let dir = tempfile::tempdir().unwrap();
        for (id, good) in [
            ("65536", true),
            ("4294901759", true),
            ("0", false),
            ("65535", false),
            ("4294901760", false),
            ("4294967295", false),
        ] {
            for key in ["first", "last"] {
                std::fs::write(dir.path().join("rocket.toml"), format!("[ids]\n{key} = {id}\n"))
                    .unwrap();
                match Config::from_dirs(&[dir.path()]) {
                    Ok(_) => assert!(good, "{key} = {id}"),
                    Err(error) => {
                        let text = error.to_string();
                        assert!(!good && text.contains("write 65536 to 4294901759"), "{text}");
                        assert!(text.contains("rocket.toml:2:"), "{text}");
                    }
                }
            }
        }
    }
}
