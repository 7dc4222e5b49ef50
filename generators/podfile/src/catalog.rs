//! All pod files of a search path at once.

use crate::diagnostic::Diagnostic;
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
    misnamed: Vec<PathBuf>,
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
        let mut misnamed = Vec::new();
        for (index, dir) in dirs.iter().enumerate() {
            if let Err(error) =
                look_through(dir, bit(index), &mut pods, &mut instances, &mut misnamed)
            {
                problems.push(unreadable(dir, error));
            }
        }
        pods.retain(|name, places| {
            places.files != 0 && is_name(name.strip_suffix('@').unwrap_or(name))
        });
        misnamed.sort();
        (Self { dirs, pods, instances, misnamed }, problems)
    }

    /// Files that look like a pod's and are none, because their name is no pod's: `Web.toml`,
    /// `my_web.toml`, and `web@1.toml`, for an instance has drop-ins only. In order.
    pub fn misnamed(&self) -> &[PathBuf] {
        &self.misnamed
    }

    /// What is wrong with one of them, for people.
    pub fn misnaming(file: &Path) -> Diagnostic {
        let stem = file.file_stem().unwrap_or_default().to_string_lossy();
        let (why, hint) = match parse_instance(&stem) {
            Some(of) if of.instance.is_some() => (
                format!("{stem:?} is an instance of a template, which has no file of its own"),
                format!("write {}@.toml, and what differs into {stem}.toml.d/10.toml", of.name),
            ),
            _ => (
                format!("{stem:?} is not a pod's name, and the file is not read"),
                "names have letters a-z, digits and -, and begin with a letter or digit".to_owned(),
            ),
        };
        let (file, hint) = (file.to_owned(), Some(hint));
        Diagnostic { file, line: 1, column: 1, message: why, hint }
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
    misnamed: &mut Vec<PathBuf>,
) -> io::Result<()> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let name = entry?.file_name();
        // A name that is not UTF-8 is no pod's; editors and package managers hide what is theirs.
        let Some(name) = name.to_str().filter(|name| !name.starts_with('.')) else { continue };
        if let Some(stem) = name.strip_suffix(".toml.d") {
            if parse_instance(stem).is_some_and(|named| named.instance.is_some()) {
                instances.insert(stem.to_owned());
                continue;
            }
            pods.entry(stem.to_owned()).or_default().drop_ins |= place;
        } else if let Some(stem) = name.strip_suffix(".toml") {
            if !is_name(stem.strip_suffix('@').unwrap_or(stem)) {
                misnamed.push(dir.join(name));
                continue;
            }
            pods.entry(stem.to_owned()).or_default().files |= place;
        } else if let Some(stem) = name.strip_suffix(".json") {
            if !is_name(stem) {
                misnamed.push(dir.join(name));
                continue;
            }
            pods.entry(stem.to_owned()).or_default().files |= place;
        }
    }
    Ok(())
}

/// Directories past the last bit share it, and are asked for each file.
fn bit(index: usize) -> u64 {
    1 << index.min(63)
}
