//! The merged view of the lower layers, from their file lists.

use super::{Body, Inode, ROOT, Tree};
use crate::image::files::{Kind, Record, Xattrs};
use std::cell::RefCell;
use std::rc::Rc;

/// Marks a directory that hides what lies below it.
pub const OPAQUE: &[u8] = b"trusted.overlay.opaque";

/// A record that does not fit the records before it.
#[derive(Debug, PartialEq, Eq)]
pub struct Misfit;

impl Tree {
    /// Lays one record of lower layer `layer` on the model; layers come bottom first.
    pub fn lay(&mut self, layer: usize, record: Record) -> Result<(), Misfit> {
        let Record { path, kind, mut meta } = record;
        let path = path.strip_prefix(b"/").ok_or(Misfit)?;
        let (dir, name) = match path.iter().rposition(|byte| *byte == b'/') {
            Some(at) => (&path[..at], &path[at + 1..]),
            None => (&b""[..], path),
        };
        let parent = self.find(dir).ok_or(Misfit)?;
        if self.dir(parent).is_none() {
            return Err(Misfit);
        }
        match kind {
            Kind::Dir => {
                let opaque = take_opaque(&mut meta.xattrs);
                let found = if name.is_empty() { Some(ROOT) } else { self.child(parent, name) };
                let node = match found.filter(|node| self.dir(*node).is_some()) {
                    Some(node) => node,
                    None => self.insert(parent, name, Body::Dir(Box::default()), false),
                };
                let dir = self.dir_mut(node).ok_or(Misfit)?;
                if opaque {
                    dir.children.clear();
                }
                dir.meta = meta;
                dir.over_lower = true;
            }
            Kind::Whiteout => {
                self.dir_mut(parent).ok_or(Misfit)?.children.remove(name);
            }
            Kind::Link(target) => {
                let first = target.strip_prefix(b"/").ok_or(Misfit)?;
                let node = self.find(first).ok_or(Misfit)?;
                let Body::Inode(inode) = &self.nodes[node].body else { return Err(Misfit) };
                let inode = Rc::clone(inode);
                let names = self.names.entry(Rc::as_ptr(&inode) as usize).or_default();
                if names.is_empty() {
                    names.push(first.to_vec());
                }
                names.push(path.to_vec());
                let body = Body::Inode(inode);
                self.insert(parent, name, body, false);
            }
            kind => {
                let inode = Inode { kind, meta, layer: Some(layer) };
                self.insert(parent, name, Body::Inode(Rc::new(RefCell::new(inode))), false);
            }
        }
        Ok(())
    }

    /// A node by its path, which holds no link.
    pub(super) fn find(&self, path: &[u8]) -> Option<usize> {
        let mut node = ROOT;
        for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            node = self.child(node, name)?;
        }
        Some(node)
    }
}

/// Removes overlayfs's own attributes, which describe one layer and not the image.
fn take_opaque(xattrs: &mut Xattrs) -> bool {
    let opaque = xattrs.iter().any(|(name, value)| name == OPAQUE && value == b"y");
    xattrs.retain(|(name, _)| !name.starts_with(b"trusted.overlay."));
    opaque
}
