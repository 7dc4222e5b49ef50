//! The new layer as a list: what the model became.

use super::lower::OPAQUE;
use super::{Body, ROOT, Tree, join};
use crate::image::files::{Kind, Meta, Record};
use std::collections::BTreeMap;
use std::rc::Rc;

impl Tree {
    /// Gives every inode of the new layer to `visit`, parents before children, in sorted order.
    pub fn records<E>(&self, mut visit: impl FnMut(Record) -> Result<(), E>) -> Result<(), E> {
        let mut first_names: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
        let mut todo = vec![(ROOT, Vec::new())];
        while let Some((node, path)) = todo.pop() {
            let shown = absolute(&path);
            match &self.nodes[node].body {
                Body::Inode(inode) => {
                    let seen = first_names.get(&(Rc::as_ptr(inode) as usize)).cloned();
                    let inode_ref = inode.borrow();
                    let kind = match seen {
                        Some(first) => Kind::Link(first),
                        None => {
                            first_names.insert(Rc::as_ptr(inode) as usize, shown.clone());
                            inode_ref.kind.clone()
                        }
                    };
                    visit(Record { path: shown, kind, meta: inode_ref.meta.clone() })?;
                }
                Body::Dir(dir) => {
                    let mut meta = dir.meta.clone();
                    if dir.opaque {
                        meta.xattrs.push((OPAQUE.to_vec(), b"y".to_vec()));
                    }
                    visit(Record { path: shown, kind: Kind::Dir, meta })?;
                    if !dir.opaque {
                        let gone =
                            dir.hidden.keys().filter(|name| !dir.children.contains_key(*name));
                        for name in gone {
                            let path = absolute(&join(&path, name));
                            visit(Record { path, kind: Kind::Whiteout, meta: Meta::default() })?;
                        }
                    }
                    let ours = dir.children.iter().filter(|(_, child)| self.nodes[**child].ours);
                    todo.extend(ours.rev().map(|(name, child)| (*child, join(&path, name))));
                }
            }
        }
        Ok(())
    }
}

fn absolute(path: &[u8]) -> Vec<u8> {
    [b"/", path].concat()
}
