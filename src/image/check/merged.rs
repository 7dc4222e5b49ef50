//! The tree that an image's stacked layers show, from their lists, and its digest.

use super::tree::read_list;
use crate::image::digest::{Algo, Digest};
use crate::image::error::ImageError;
use crate::image::files::{Kind, Record, Writer};
use crate::image::store::Store;
use std::collections::BTreeMap;
use std::ops::Bound;

/// What is where: path to record. A further name of an inode has the record of its first.
#[derive(Debug, Default)]
pub struct Merged {
    records: BTreeMap<Vec<u8>, (Record, Inode)>,
}

/// A layer and the first name in it: names of one inode have the same.
type Inode = (usize, Vec<u8>);

/// Lays the lists of `layers`, topmost first, over one another.
///
/// # Errors
/// A list cannot be read.
pub fn merged(store: &Store, layers: &[Digest]) -> Result<Merged, ImageError> {
    let mut merged = Merged::default();
    for (number, layer) in layers.iter().rev().enumerate() {
        let (records, _) = read_list(&store.layer_dir(layer))
            .map_err(|e| ImageError::bad(format!("the file list of {layer}"), e))?;
        let mut inodes: BTreeMap<Vec<u8>, Record> = BTreeMap::new();
        for record in records {
            merged.lay(number, record, &mut inodes);
        }
    }
    Ok(merged)
}

impl Merged {
    fn lay(&mut self, layer: usize, mut record: Record, inodes: &mut BTreeMap<Vec<u8>, Record>) {
        let path = record.path.clone();
        let mut inode = (layer, path.clone());
        let opaque =
            record.meta.xattrs.iter().any(|(name, _)| name == crate::image::tree::lower::OPAQUE);
        record.meta.xattrs.retain(|(name, _)| !name.starts_with(b"trusted.overlay."));
        match &record.kind {
            Kind::Dir if !opaque => {}
            Kind::Dir => self.hide_below(&path),
            Kind::Link(first) => {
                inode = (layer, first.clone());
                let Some(known) = inodes.get(first) else { return };
                record.kind = known.kind.clone();
                record.meta = known.meta.clone();
                self.hide_below(&path);
            }
            _ => self.hide_below(&path),
        }
        if record.kind == Kind::Whiteout {
            self.records.remove(&path);
            return;
        }
        if inode.1 == path {
            inodes.insert(path.clone(), record.clone());
        }
        self.records.insert(path, (record, inode));
    }

    fn hide_below(&mut self, path: &[u8]) {
        let prefix = [path.strip_suffix(b"/").unwrap_or(path), b"/"].concat();
        let range = (Bound::Excluded(prefix.clone()), Bound::Unbounded);
        let below = self.records.range::<Vec<u8>, _>(range);
        let below: Vec<_> =
            below.map(|(path, _)| path.clone()).take_while(|p| p.starts_with(&prefix)).collect();
        for path in below {
            self.records.remove(&path);
        }
    }

    /// What is at a path; of a further name of an inode what its first name has.
    pub fn get(&self, path: &[u8]) -> Option<&Record> {
        self.records.get(path).map(|(record, _)| record)
    }

    /// Paths directly or indirectly below a directory.
    pub fn below<'a>(&'a self, path: &[u8]) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let prefix = [path.strip_suffix(b"/").unwrap_or(path), b"/"].concat();
        let range = (Bound::Excluded(prefix.clone()), Bound::Unbounded);
        let below = self.records.range::<Vec<u8>, _>(range);
        below.map(|(path, _)| path.as_slice()).take_while(move |p| p.starts_with(&prefix))
    }

    /// The tree as a list, in the form of a layer's: the same bytes on every host.
    pub fn list(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut first: BTreeMap<&Inode, &[u8]> = BTreeMap::new();
        let mut write = |out: &mut Vec<u8>| -> std::io::Result<()> {
            let mut writer = Writer::new(out)?;
            for (path, (record, inode)) in &self.records {
                let mut record = record.clone();
                record.path.clone_from(path);
                match first.get(inode) {
                    Some(first) => record.kind = Kind::Link(first.to_vec()),
                    None => {
                        first.insert(inode, path);
                    }
                }
                writer.add(&record)?;
            }
            writer.finish().map(drop)
        };
        // Writing to memory does not fail.
        let _ = write(&mut out);
        out
    }

    /// SHA-256 of [`Merged::list`].
    pub fn digest(&self) -> Digest {
        Digest::of(Algo::Sha256, &self.list())
    }
}
