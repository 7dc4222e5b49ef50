//! Where pod files lie, and which of them count.

use crate::catalog::Catalog;
use crate::diagnostic::Diagnostic;
use crate::merge;
use crate::places::Places;
use crate::pod::PodFile;
use crate::read;
use crate::template;
use crate::tree::{self, Node, Problem, Sources, Value};
use crate::values::name::{is_name, parse_instance};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
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
    /// What was read of each of them.
    pub texts: Vec<String>,
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
                write!(f, "there is no pod file {name}.toml or {name}.json in ")?;
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

/// The largest file that is read.
const LARGEST: u64 = 1 << 20;

/// A file of the search path.
enum Found {
    /// An empty file, or a link to /dev/null.
    Mask,
    /// A text.
    Text(String),
}

/// Reads the pod file of `name` and its drop-ins from the directories of `dirs`, most important
/// first. `name` may be `web@1`, which is an instance of `web@.toml`.
pub fn load(dirs: &[PathBuf], name: &str) -> Result<Loaded, LoadError> {
    load_from(dirs, dirs, name)
}

/// The same, and where everything was written.
pub fn load_with_places(dirs: &[PathBuf], name: &str) -> Result<(Loaded, Places), LoadError> {
    collect(dirs, dirs, name)?.finish_with_places(Some(name.to_owned()))
}

/// The same, with drop-ins from directories of their own.
pub(crate) fn load_from(
    dirs: &[PathBuf],
    drop_in_dirs: &[PathBuf],
    name: &str,
) -> Result<Loaded, LoadError> {
    collect(dirs, drop_in_dirs, name)?.finish(Some(name.to_owned()))
}

/// What can be made out of files that [`load_from`] found wrong: what is right in them, with
/// defaults in place of the rest. `None` when not even the syntax is right.
pub(crate) fn salvage_from(
    dirs: &[PathBuf],
    drop_in_dirs: &[PathBuf],
    name: &str,
) -> Option<PodFile> {
    let merge = collect(dirs, drop_in_dirs, name).ok()?;
    merged(&merge.sources, merge.paths.len(), merge.instance.as_deref()).0
}

/// Reads the files that make up the pod `name`.
fn collect(dirs: &[PathBuf], drop_in_dirs: &[PathBuf], name: &str) -> Result<Merge, LoadError> {
    let instance = parse_instance(name).ok_or_else(|| LoadError::BadName(name.to_owned()))?;
    let at = if instance.instance.is_some() { "@" } else { "" };
    let file_name = format!("{}{at}.toml", instance.name);
    // A manifest is no template: it has no word for the instance.
    let manifest = instance.instance.is_none().then(|| format!("{}.json", instance.name));
    let mut merge = Merge { instance: instance.instance.map(str::to_owned), ..Merge::default() };
    for dir in dirs {
        let mut found = None;
        for file_name in std::iter::once(&file_name).chain(&manifest) {
            let path = dir.join(file_name);
            let Some(source) = read_source(&path)? else { continue };
            if found.is_some() {
                return Err(both(path));
            }
            found = Some((file_name, path, source));
        }
        match found {
            None => {}
            Some((_, path, Found::Mask)) => return Err(LoadError::Masked(path)),
            Some((file_name, path, Found::Text(text))) => {
                merge.add(file_name, path, text);
                break;
            }
        }
    }
    if merge.paths.is_empty() {
        return Err(LoadError::NotFound { name: name.to_owned(), dirs: dirs.to_vec() });
    }
    // Those of an instance and of its template apply together; of two with one name the
    // instance's counts.
    let mut found: BTreeMap<String, (String, PathBuf)> = BTreeMap::new();
    let of_instance = instance.instance.map(|_| format!("{name}.toml.d"));
    for dir in std::iter::once(format!("{file_name}.d")).chain(of_instance) {
        for (drop_in, path) in drop_ins(drop_in_dirs, &dir)? {
            found.insert(drop_in, (dir.clone(), path));
        }
    }
    for (drop_in, (dir, path)) in found {
        if let Some(Found::Text(text)) = read_source(&path)? {
            merge.add(&format!("{dir}/{drop_in}"), path, text);
        }
    }
    Ok(merge)
}

/// Two files of one directory for one pod: nothing says which one is meant.
fn both(file: PathBuf) -> LoadError {
    let message =
        "there is a .toml of this pod beside this file, and only one can be meant".to_owned();
    let hint = Some("remove one of them".to_owned());
    LoadError::Invalid(vec![Diagnostic { file, line: 1, column: 1, message, hint }])
}

/// Reads one pod file that lies anywhere, without drop-ins.
pub fn load_file(path: &Path) -> Result<Loaded, LoadError> {
    let (merge, name) = collect_file(path)?;
    merge.finish(name)
}

/// The same, and where everything was written.
pub fn load_file_with_places(path: &Path) -> Result<(Loaded, Places), LoadError> {
    let (merge, name) = collect_file(path)?;
    merge.finish_with_places(name)
}

fn collect_file(path: &Path) -> Result<(Merge, Option<String>), LoadError> {
    let text = match read_source(path)? {
        Some(Found::Text(text)) => text,
        Some(Found::Mask) => return Err(LoadError::Masked(path.to_owned())),
        None => return Err(unreadable(path, io::ErrorKind::NotFound.into())),
    };
    let file_name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let stem = file_name.strip_suffix(".toml");
    if stem.and_then(|stem| stem.strip_suffix('@')).is_some_and(is_name) {
        let message = "this is a template, and only an instance of it is a pod".to_owned();
        let hint = Some("name it: NAME@INSTANCE, for example web@1".to_owned());
        let problem = Diagnostic { file: path.to_owned(), line: 1, column: 1, message, hint };
        return Err(LoadError::Invalid(vec![problem]));
    }
    let stem = stem.or_else(|| file_name.strip_suffix(".json"));
    let name = stem.filter(|name| is_name(name)).map(str::to_owned);
    let mut merge = Merge::default();
    merge.add(&file_name, path.to_owned(), text);
    Ok((merge, name))
}

/// Names of the pods that `dirs` have, sorted; templates end with `@`. Masked ones are left out.
pub fn list(dirs: &[PathBuf]) -> Result<Vec<String>, LoadError> {
    let catalog = Catalog::scan(dirs)?;
    let mut names = catalog.names();
    names.retain(|name| {
        let files = [format!("{name}.toml"), format!("{name}.json")];
        let first = dirs
            .iter()
            .flat_map(|dir| files.iter().map(|file| dir.join(file)))
            .find(|path| path.symlink_metadata().is_ok());
        first.is_none_or(|path| !is_mask(&path))
    });
    Ok(names.into_iter().map(str::to_owned).collect())
}

/// The files that become one pod file.
#[derive(Default)]
struct Merge {
    sources: Sources,
    paths: Vec<PathBuf>,
    digest: Sha256,
    /// Of a template.
    instance: Option<String>,
}

impl Merge {
    fn add(&mut self, name: &str, path: PathBuf, text: String) {
        // Lengths in front, so that no two sequences of names and bytes look alike.
        for part in [name, &text] {
            self.digest.update((part.len() as u64).to_le_bytes());
            self.digest.update(part);
        }
        self.sources.add(path.clone(), text);
        self.paths.push(path);
    }

    fn finish_with_places(self, name: Option<String>) -> Result<(Loaded, Places), LoadError> {
        // Of a file that is wrong nobody asks for places, and there may be very many.
        let pod = self.read()?;
        let (tree, _) = merged_tree(&self.sources, self.paths.len(), self.instance.as_deref());
        let places = tree.map(|tree| Places::new(&tree, &self.sources)).unwrap_or_default();
        Ok((self.loaded(name, pod), places))
    }

    fn finish(self, name: Option<String>) -> Result<Loaded, LoadError> {
        let pod = self.read()?;
        Ok(self.loaded(name, pod))
    }

    fn read(&self) -> Result<PodFile, LoadError> {
        match merged(&self.sources, self.paths.len(), self.instance.as_deref()) {
            (Some(pod), problems) if problems.is_empty() => Ok(pod),
            (_, problems) => Err(LoadError::Invalid(self.sources.diagnostics(problems))),
        }
    }

    fn loaded(self, name: Option<String>, pod: PodFile) -> Loaded {
        let digest = hex(&self.digest.finalize());
        Loaded { name, pod, digest, sources: self.paths, texts: self.sources.into_texts() }
    }
}

/// Parses, merges and reads the files of `sources`. What comes with problems is what is right in
/// them. `instance` is that of a template.
pub(crate) fn merged(
    sources: &Sources,
    files: usize,
    instance: Option<&str>,
) -> (Option<PodFile>, Vec<Problem>) {
    let (tree, mut problems) = merged_tree(sources, files, instance);
    let Some(tree) = tree else { return (None, problems) };
    let (pod, found) = read::read(&tree);
    problems.extend(found);
    (pod, problems)
}

/// Parses and merges the files of `sources`; no tree when one of them has no right syntax.
fn merged_tree(
    sources: &Sources,
    files: usize,
    instance: Option<&str>,
) -> (Option<Node>, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut tree: Option<Node> = None;
    for file in 0..files {
        match (tree::parse(sources.text(file), file), &mut tree) {
            (Err(found), _) => problems.extend(found),
            (Ok(first), None) => tree = Some(first),
            (Ok(drop_in), Some(_)) if tree::is_json(sources.text(file)) => {
                let message = "a drop-in is TOML, not a pod manifest".to_owned();
                problems.push(Problem { pos: drop_in.pos, message, hint: None });
            }
            (Ok(drop_in), Some(Node { value: Value::Table(base), .. })) => {
                if let Value::Table(drop_in) = drop_in.value {
                    merge::merge(base, drop_in, &mut problems);
                }
            }
            (Ok(_), Some(_)) => {}
        }
    }
    // Half a tree would only give errors that come from the missing half.
    let mut tree = tree.filter(|_| problems.is_empty());
    if let (Some(tree), Some(instance)) = (&mut tree, instance) {
        template::expand(tree, instance, &mut problems);
    }
    (tree, problems)
}

/// The drop-ins in the order they apply: by file name, one of a higher directory in place of one
/// of the same name below.
fn drop_ins(dirs: &[PathBuf], drop_in_dir: &str) -> Result<Vec<(String, PathBuf)>, LoadError> {
    let files = first_of_each(dirs, drop_in_dir)?;
    Ok(files
        .into_iter()
        .filter(|(name, _)| name.ends_with(".toml") && !name.starts_with('.'))
        .collect())
}

/// Every file name below `dirs`/`below`, with the path in the first directory that has it.
fn first_of_each(dirs: &[PathBuf], below: &str) -> Result<BTreeMap<String, PathBuf>, LoadError> {
    let mut files = BTreeMap::new();
    for dir in dirs {
        let dir = dir.join(below);
        let entries = match fs::read_dir(&dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => continue,
            entries => entries.map_err(|error| unreadable(&dir, error))?,
        };
        for entry in entries {
            let entry = entry.map_err(|error| unreadable(&dir, error))?;
            // A name that is not UTF-8 is no pod's and no drop-in's.
            if let Ok(name) = entry.file_name().into_string() {
                files.entry(name).or_insert_with(|| entry.path());
            }
        }
    }
    Ok(files)
}

/// Reads a file; `None` = there is none.
fn read_source(path: &Path) -> Result<Option<Found>, LoadError> {
    /// The same on every architecture that rocket is built for.
    const O_NONBLOCK: i32 = 0o4000;
    // Opened first and looked at then, so that both are about one file; without blocking, should it
    // be a pipe.
    let mut file = match OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && !path.is_symlink() => {
            return Ok(None);
        }
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(None),
        file => file.map_err(|error| unreadable(path, error))?,
    };
    let metadata = file.metadata().map_err(|error| unreadable(path, error))?;
    if masks(&metadata) {
        return Ok(Some(Found::Mask));
    }
    if !metadata.is_file() {
        return Err(unreadable(path, io::Error::other("it is not a regular file")));
    }
    let mut bytes = Vec::new();
    let length = usize::try_from(metadata.len().min(LARGEST)).unwrap_or(0);
    bytes.reserve_exact(length + 1);
    file.by_ref()
        .take(LARGEST + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable(path, error))?;
    if bytes.len() as u64 > LARGEST {
        return Err(unreadable(path, io::Error::other("it is larger than 1 MiB")));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some(Found::Text(text))),
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(error.as_bytes().get(..valid).unwrap_or_default());
            let (line, column) = tree::line_and_column(&text, valid);
            Err(LoadError::Invalid(vec![Diagnostic {
                file: path.to_owned(),
                line,
                column,
                message: "the file is not UTF-8 from here on".to_owned(),
                hint: None,
            }]))
        }
    }
}

fn is_mask(path: &Path) -> bool {
    // A dangling link is a file that cannot be read, and that is said when it is loaded.
    fs::metadata(path).is_ok_and(|metadata| masks(&metadata))
}

fn masks(metadata: &fs::Metadata) -> bool {
    /// Major 1, minor 3.
    const DEV_NULL: u64 = 0x103;
    (metadata.is_file() && metadata.len() == 0)
        || (metadata.file_type().is_char_device() && metadata.rdev() == DEV_NULL)
}

pub(crate) fn unreadable(path: &Path, error: io::Error) -> LoadError {
    LoadError::Unreadable { path: path.to_owned(), error }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| char::from(DIGITS[usize::from(value & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}
