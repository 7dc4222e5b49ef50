//! All pod files of a search path at once.

use crate::pod::PodFile;
use crate::search::{self, LoadError, Loaded, unreadable};
use crate::values::name::{is_name, parse_instance};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What the directories of a search path hold, looked at once: with a thousand pods, asking each
/// directory for each file that is not there is most of the work.
#[derive(Debug)]
pub struct Catalog<'a> {
    dirs: &'a [PathBuf],
    pods: BTreeMap<String, Places>,
    /// Instances that have a directory of drop-ins of their own.
    instances: BTreeSet<String>,
}

/// In which directories there is something of a pod: one bit a directory.
#[derive(Clone, Copy, Debug, Default)]
struct Places {
    files: u64,
    drop_ins: u64,
}

impl<'a> Catalog<'a> {
    /// Looks through `dirs`, most important first. One that is not there holds nothing.
    pub fn scan(dirs: &'a [PathBuf]) -> Result<Self, LoadError> {
        let (catalog, mut unreadable) = Self::scan_readable(dirs);
        if unreadable.is_empty() { Ok(catalog) } else { Err(unreadable.swap_remove(0)) }
    }

    /// The same for whoever must go on without a directory that cannot be read, such as a link in
    /// a circle: what the others hold, and what is wrong with each such directory.
    pub fn scan_readable(dirs: &'a [PathBuf]) -> (Self, Vec<LoadError>) {
        let mut pods: BTreeMap<String, Places> = BTreeMap::new();
        let mut instances = BTreeSet::new();
        let mut problems = Vec::new();
        for (index, dir) in dirs.iter().enumerate() {
            if let Err(error) = look_through(dir, bit(index), &mut pods, &mut instances) {
                problems.push(unreadable(dir, error));
            }
        }
        pods.retain(|name, places| {
            places.files != 0 && is_name(name.strip_suffix('@').unwrap_or(name))
        });
        (Self { dirs, pods, instances }, problems)
    }

    /// The names, sorted; templates end with `@`. Masked pods are among them.
    pub fn names(&self) -> Vec<&str> {
        self.pods.keys().map(String::as_str).collect()
    }

    /// Instances of templates that have drop-ins of their own, `web@1`, sorted.
    pub fn instances(&self) -> impl Iterator<Item = &str> {
        self.instances.iter().map(String::as_str)
    }

    /// Whether there is the template that `instance`, such as `web@1`, is one of.
    pub fn has_template_of(&self, instance: &str) -> bool {
        parse_instance(instance)
            .filter(|named| named.instance.is_some())
            .is_some_and(|named| self.pods.contains_key(&format!("{}@", named.name)))
    }

    /// The same as [`crate::load`], for a name that [`Catalog::names`] gave, or an instance of a
    /// template.
    pub fn load(&self, name: &str) -> Result<Loaded, LoadError> {
        let (files, drop_ins) = self.dirs_of(name);
        search::load_from(&files, &drop_ins, name)
    }

    /// What is right in the files of a pod that [`Catalog::load`] found wrong, with defaults for the
    /// rest: never to start it, but a pod that is running has to keep its limits. `None` when not
    /// even the syntax is right.
    pub fn salvage(&self, name: &str) -> Option<PodFile> {
        let (files, drop_ins) = self.dirs_of(name);
        search::salvage_from(&files, &drop_ins, name)
    }

    /// The directories that have the pod file `name`, and those that have drop-ins of it.
    fn dirs_of(&self, name: &str) -> (Vec<PathBuf>, Vec<PathBuf>) {
        let Some(places) = self.pods.get(name).copied() else {
            return (self.dirs.to_vec(), self.dirs.to_vec());
        };
        let of = |mask: u64| {
            let dirs = self.dirs.iter().enumerate();
            dirs.filter(|(index, _)| mask & bit(*index) != 0).map(|(_, dir)| dir.clone()).collect()
        };
        (of(places.files), of(places.drop_ins))
    }
}

/// Adds what lies in one directory, whose bit is `place`.
fn look_through(
    dir: &Path,
    place: u64,
    pods: &mut BTreeMap<String, Places>,
    instances: &mut BTreeSet<String>,
) -> io::Result<()> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        // A name that is not UTF-8 is no pod's.
        let Ok(name) = entry?.file_name().into_string() else { continue };
        if let Some(stem) = name.strip_suffix(".toml.d") {
            if parse_instance(stem).is_some_and(|named| named.instance.is_some()) {
                instances.insert(stem.to_owned());
                continue;
            }
            pods.entry(stem.to_owned()).or_default().drop_ins |= place;
        } else if let Some(stem) = name.strip_suffix(".toml") {
            pods.entry(stem.to_owned()).or_default().files |= place;
        } else if let Some(stem) = name.strip_suffix(".json").filter(|stem| is_name(stem)) {
            pods.entry(stem.to_owned()).or_default().files |= place;
        }
    }
    Ok(())
}

/// Directories past the last bit share it, and are asked for each file.
fn bit(index: usize) -> u64 {
    1 << index.min(63)
}
