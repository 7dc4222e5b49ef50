//! A layer over its lower layers, in memory: where each archive entry lands, and what it hides.
//!
//! The model starts as the merged view of the lower layers and takes the new layer's entries one by
//! one, as an unpacker over a full root would. Lower names are resolved here, so the disk is only
//! ever written below the new layer's own directory, by paths that hold no symbolic link.

mod hide;
mod link;
pub mod lower;
mod out;
#[cfg(test)]
mod tests;

use crate::image::files::{Kind, Meta, printable};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::rc::Rc;

/// Symbolic links followed in one path, as the kernel counts.
const MAX_LINKS: usize = 40;
/// Longest path, and longest name in it.
const MAX_PATH: usize = 4096;
const MAX_NAME: usize = 255;
/// Directories inside directories.
const MAX_DEPTH: usize = 512;

/// Why an entry cannot be placed.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// The entry breaks a rule.
    #[error("{path}: {problem}")]
    Entry {
        /// Its path.
        path: String,
        /// The rule.
        problem: String,
    },
    /// Writing failed.
    #[error("cannot {action} {path}: {source}")]
    Disk {
        /// What was tried.
        action: &'static str,
        /// Where in the image.
        path: String,
        /// Why.
        source: io::Error,
    },
}

pub(crate) fn entry_error(path: &[u8], problem: impl Into<String>) -> PlaceError {
    PlaceError::Entry { path: printable(path), problem: problem.into() }
}

type Result<T> = std::result::Result<T, PlaceError>;

/// What the model needs done on disk, by link-free paths inside the new layer's directory.
pub trait Disk {
    /// Makes a directory.
    fn mkdir(&mut self, path: &[u8]) -> io::Result<()>;
    /// Removes a file or an empty directory.
    fn remove(&mut self, path: &[u8], dir: bool) -> io::Result<()>;
    /// Gives an inode of the new layer one more name.
    fn link(&mut self, old: &[u8], new: &[u8]) -> io::Result<()>;
    /// Makes again, from lower layer `layer`, the inode `kind` that lies there at `path`.
    fn copy_up(&mut self, layer: usize, path: &[u8], kind: &Kind, meta: &Meta) -> io::Result<()>;
}

/// An inode that is not a directory.
#[derive(Debug)]
pub struct Inode {
    /// What it is.
    pub kind: Kind,
    /// Its attributes.
    pub meta: Meta,
    /// The lower layer it lies in; none for the new layer.
    layer: Option<usize>,
}

#[derive(Debug, Default)]
struct Dir {
    children: BTreeMap<Box<[u8]>, usize>,
    meta: Meta,
    /// Nothing of the lower layers shows through.
    opaque: bool,
    /// A lower layer has this directory too.
    over_lower: bool,
    /// Lower names that went away in this layer, and whether they were directories.
    hidden: BTreeMap<Box<[u8]>, bool>,
}

#[derive(Debug)]
enum Body {
    Dir(Box<Dir>),
    Inode(Rc<std::cell::RefCell<Inode>>),
}

#[derive(Debug)]
struct Node {
    body: Body,
    /// Part of the new layer.
    ours: bool,
    /// Named by an entry of its own, not only as somebody's parent.
    named: bool,
}

/// A place: the directory's node and its link-free path (empty for the root).
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    node: usize,
    path: Vec<u8>,
}

/// The model.
#[derive(Debug)]
pub struct Tree {
    nodes: Vec<Node>,
    /// The layer's meaning depends on what lies below.
    needs_lower: bool,
    /// A second entry for one path is an error (ACI).
    unique: bool,
    /// Names of the lower inodes that have several, by address: who copies one up brings all along.
    names: BTreeMap<usize, Vec<Vec<u8>>>,
}

const ROOT: usize = 0;

/// Attributes of a directory nobody described.
fn plain_dir() -> Meta {
    Meta { mode: 0o755, ..Meta::default() }
}

/// The components of a path; `..` has no place in an archive.
fn components(path: &[u8]) -> Result<Vec<&[u8]>> {
    if path.len() > MAX_PATH {
        return Err(entry_error(&path[..64], "the path is longer than 4096 bytes"));
    }
    let mut parts = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err(entry_error(path, "the path climbs with ..")),
            _ if part.contains(&0) => return Err(entry_error(path, "the path holds a NUL byte")),
            _ if part.len() > MAX_NAME => {
                return Err(entry_error(&part[..64], "the name is longer than 255 bytes"));
            }
            _ => parts.push(part),
        }
    }
    if parts.len() > MAX_DEPTH {
        return Err(entry_error(path, "the path is nested too deeply"));
    }
    Ok(parts)
}

impl Tree {
    /// A new layer over nothing. `unique` makes a second entry for one path an error.
    pub fn new(unique: bool) -> Self {
        let root = Dir { meta: plain_dir(), ..Dir::default() };
        let root = Node { body: Body::Dir(Box::new(root)), ours: true, named: false };
        Self { nodes: vec![root], needs_lower: false, unique, names: BTreeMap::new() }
    }

    /// Whether the layer means the same over any other layers.
    pub fn self_contained(&self) -> bool {
        !self.needs_lower && self.nodes[ROOT].named
    }

    /// How many inodes the model holds, for limits.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is nothing but the root.
    pub fn is_empty(&self) -> bool {
        self.nodes.len() == 1
    }

    fn dir(&self, node: usize) -> Option<&Dir> {
        match &self.nodes[node].body {
            Body::Dir(dir) => Some(dir),
            Body::Inode(_) => None,
        }
    }

    fn dir_mut(&mut self, node: usize) -> Option<&mut Dir> {
        match &mut self.nodes[node].body {
            Body::Dir(dir) => Some(dir),
            Body::Inode(_) => None,
        }
    }

    fn child(&self, node: usize, name: &[u8]) -> Option<usize> {
        self.dir(node)?.children.get(name).copied()
    }

    fn symlink(&self, node: usize) -> Option<Vec<u8>> {
        match &self.nodes[node].body {
            Body::Inode(inode) => match &inode.borrow().kind {
                Kind::Symlink(target) => Some(target.clone()),
                _ => None,
            },
            Body::Dir(_) => None,
        }
    }

    /// Walks to a directory through links, inside the root. `make` makes what is missing and takes
    /// every directory of the way into the new layer; otherwise a missing one gives `None`.
    fn walk(&mut self, parts: &[&[u8]], make: Option<&mut dyn Disk>) -> Result<Option<Place>> {
        let whole = || parts.join(&b'/');
        let mut todo: VecDeque<Vec<u8>> = parts.iter().map(|part| part.to_vec()).collect();
        let mut stack = vec![Place { node: ROOT, path: Vec::new() }];
        let mut links = 0;
        let mut make = make;
        while let Some(name) = todo.pop_front() {
            let Some(here) = stack.last().cloned() else { break };
            match name.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    if stack.len() > 1 {
                        stack.pop();
                    }
                    continue;
                }
                _ => {}
            }
            let found = self.child(here.node, &name);
            if let Some(target) = found.and_then(|node| self.symlink(node)) {
                links += 1;
                if links > MAX_LINKS {
                    return Err(entry_error(&whole(), "too many symbolic links in the path"));
                }
                self.needs_lower |= found.is_some_and(|node| !self.nodes[node].ours);
                if target.first() == Some(&b'/') {
                    stack.truncate(1);
                }
                for part in target.split(|byte| *byte == b'/').rev() {
                    todo.push_front(part.to_vec());
                }
                continue;
            }
            let path = join(&here.path, &name);
            if stack.len() > MAX_DEPTH || path.len() > MAX_PATH || name.len() > MAX_NAME {
                return Err(entry_error(
                    &whole(),
                    "symbolic links lead to a path that is too long",
                ));
            }
            if found.is_some_and(|node| self.dir(node).is_none()) {
                let problem = format!("its parent {} is not a directory", printable(&path));
                return Err(entry_error(&whole(), problem));
            }
            let node = match (found, make.as_deref_mut()) {
                (Some(node), None) => node,
                (None, None) => return Ok(None),
                (found, Some(disk)) => self.take_dir(&here, &name, found, disk)?,
            };
            stack.push(Place { node, path });
        }
        Ok(stack.pop())
    }

    /// Takes the directory `name` of `parent` into the new layer as somebody's parent.
    fn take_dir(
        &mut self,
        parent: &Place,
        name: &[u8],
        found: Option<usize>,
        disk: &mut dyn Disk,
    ) -> Result<usize> {
        if let Some(node) = found
            && self.nodes[node].ours
        {
            return Ok(node);
        }
        self.needs_lower = true;
        let path = join(&parent.path, name);
        disk.mkdir(&path).map_err(|e| disk_error("make the directory", &path, e))?;
        if let Some(node) = found {
            self.nodes[node].ours = true;
            return Ok(node);
        }
        Ok(self.add_dir(parent.node, name, plain_dir()))
    }

    fn add_dir(&mut self, parent: usize, name: &[u8], meta: Meta) -> usize {
        let opaque =
            self.dir(parent).is_some_and(|dir| dir.hidden.get(name).copied().unwrap_or(false));
        let body = Body::Dir(Box::new(Dir { meta, opaque, ..Dir::default() }));
        self.insert(parent, name, body, true)
    }

    fn insert(&mut self, parent: usize, name: &[u8], body: Body, ours: bool) -> usize {
        let node = self.nodes.len();
        self.nodes.push(Node { body, ours, named: false });
        if let Some(dir) = self.dir_mut(parent) {
            dir.children.insert(name.into(), node);
        }
        node
    }

    /// Removes a name from the merged view: on disk what is ours, below by being hidden.
    fn clear(&mut self, parent: &Place, name: &[u8], disk: &mut dyn Disk) -> Result<()> {
        let Some(node) = self.child(parent.node, name) else { return Ok(()) };
        let path = join(&parent.path, name);
        let (is_dir, over_lower) = match self.dir(node) {
            Some(dir) => (true, dir.over_lower),
            None => (false, false),
        };
        if self.nodes[node].ours {
            // Replacing what this very layer made: over other layers it could mean something else.
            self.needs_lower |= is_dir;
            if is_dir {
                let names: Vec<Box<[u8]>> = self
                    .dir(node)
                    .map(|dir| dir.children.keys().cloned().collect())
                    .unwrap_or_default();
                let here = Place { node, path: path.clone() };
                for name in names {
                    self.clear(&here, &name, disk)?;
                }
            }
            disk.remove(&path, is_dir).map_err(|e| disk_error("remove", &path, e))?;
        }
        let hides = !self.nodes[node].ours || over_lower;
        if let Some(dir) = self.dir_mut(parent.node) {
            dir.children.remove(name);
            if hides {
                dir.hidden.insert(name.into(), is_dir);
            }
        }
        Ok(())
    }

    /// The parent of `path` in the new layer, and the last component; `None` for the root itself.
    fn parent<'a>(
        &mut self,
        path: &'a [u8],
        disk: &mut dyn Disk,
    ) -> Result<Option<(Place, &'a [u8])>> {
        let parts = components(path)?;
        let Some((name, dirs)) = parts.split_last() else { return Ok(None) };
        match self.walk(dirs, Some(disk))? {
            Some(place) => Ok(Some((place, name))),
            None => Err(entry_error(path, "its parent cannot be made")),
        }
    }

    /// In an archive that must not name a path twice, only a directory that was no more than
    /// somebody's parent may be described later.
    fn refuse_twice(&self, node: usize, is_dir: bool, path: &[u8]) -> Result<()> {
        let described = self.nodes[node].named || !is_dir || self.dir(node).is_none();
        if self.unique && described {
            return Err(entry_error(path, "the archive names this path twice"));
        }
        Ok(())
    }

    /// Places a directory.
    pub fn put_dir(&mut self, path: &[u8], meta: Meta, disk: &mut dyn Disk) -> Result<()> {
        let node = match self.parent(path, disk)? {
            None => ROOT,
            Some((place, name)) => self.dir_at(&place, name, path, disk)?,
        };
        self.refuse_twice(node, true, path)?;
        self.nodes[node].named = true;
        if let Some(dir) = self.dir_mut(node) {
            dir.meta = meta;
        }
        Ok(())
    }

    fn dir_at(
        &mut self,
        place: &Place,
        name: &[u8],
        path: &[u8],
        disk: &mut dyn Disk,
    ) -> Result<usize> {
        let found = self.child(place.node, name);
        if let Some(node) = found {
            if self.dir(node).is_some() {
                if !self.nodes[node].ours {
                    let at = join(&place.path, name);
                    disk.mkdir(&at).map_err(|e| disk_error("make the directory", &at, e))?;
                    self.nodes[node].ours = true;
                }
                return Ok(node);
            }
            self.refuse_twice(node, false, path)?;
            self.needs_lower |= self.nodes[node].ours;
            self.clear(place, name, disk)?;
        }
        let at = join(&place.path, name);
        disk.mkdir(&at).map_err(|e| disk_error("make the directory", &at, e))?;
        Ok(self.add_dir(place.node, name, plain_dir()))
    }

    /// Places an inode that is not a directory: gives the path to make it at and its handle.
    pub fn put(
        &mut self,
        path: &[u8],
        kind: Kind,
        meta: Meta,
        disk: &mut dyn Disk,
    ) -> Result<(Vec<u8>, Handle)> {
        let Some((place, name)) = self.parent(path, disk)? else {
            return Err(entry_error(b"/", "the root must be a directory"));
        };
        if let Some(node) = self.child(place.node, name) {
            self.refuse_twice(node, false, path)?;
            self.clear(&place, name, disk)?;
        }
        let inode = Rc::new(std::cell::RefCell::new(Inode { kind, meta, layer: None }));
        let node = self.insert(place.node, name, Body::Inode(Rc::clone(&inode)), true);
        self.nodes[node].named = true;
        Ok((join(&place.path, name), Handle(inode)))
    }
}

/// The handle of a placed file: its size and digest are known only after it was written.
#[derive(Debug)]
pub struct Handle(Rc<std::cell::RefCell<Inode>>);

impl Handle {
    /// Says what the file became.
    pub fn written(&self, size: u64, digest: crate::image::digest::Digest) {
        self.0.borrow_mut().kind = Kind::File { size, digest };
    }
}

fn disk_error(action: &'static str, path: &[u8], source: io::Error) -> PlaceError {
    PlaceError::Disk { action, path: printable(path), source }
}

fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    if dir.is_empty() { name.to_vec() } else { [dir, b"/", name].concat() }
}
