//! What an image takes on the disk, and when somebody last ran it.

use super::{ImageId, Store, load};
use crate::image::digest::Digest;
use crate::image::error::ImageError;
use crate::image::store::record::ImageRecord;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::time::SystemTime;

/// A file of an image whose time says when it was last used. It is empty: a time is all there is to it,
/// and nothing is waited for or lost when it is not written.
const LAST_USED: &str = "lastused";

impl Store {
    /// Remembers that an image is used now. A store that cannot be written to goes without.
    pub fn mark_used(&self, id: &ImageId) {
        let path = self.image_dir(id).join(LAST_USED);
        let file = File::options().create(true).truncate(false).write(true).open(path);
        let _ = file.and_then(|file| file.set_modified(SystemTime::now()));
    }

    /// When an image was last used; nothing when it never was.
    pub fn last_used(&self, id: &ImageId) -> Option<SystemTime> {
        std::fs::metadata(self.image_dir(id).join(LAST_USED)).and_then(|f| f.modified()).ok()
    }

    /// Since when nobody has used an image: since it came here, if nobody ever has.
    pub fn idle_since(&self, id: &ImageId) -> Option<SystemTime> {
        let came = || std::fs::metadata(self.image_dir(id).join("image.json"))?.modified();
        self.last_used(id).or_else(|| came().ok())
    }

    /// Bytes of an image, layers and blobs: what only it has, which its removal frees, and what it shares
    /// with other images.
    pub fn sizes(&self) -> Result<BTreeMap<ImageId, (u64, u64)>, ImageError> {
        let images: Vec<ImageRecord> = self.records()?;
        let count = |of: fn(&ImageRecord) -> &Vec<Digest>| {
            let mut users: BTreeMap<Digest, usize> = BTreeMap::new();
            for image in &images {
                for digest in of(image).iter().collect::<BTreeSet<_>>() {
                    *users.entry(digest.clone()).or_default() += 1;
                }
            }
            users
        };
        let (of_layers, of_blobs) = (count(|image| &image.layers), count(|image| &image.blobs));
        let mut sizes = BTreeMap::new();
        for image in &images {
            let (mut own, mut shared) = (0u64, 0u64);
            let mut add = |bytes: u64, users: Option<&usize>| {
                let several = users.is_some_and(|users| *users > 1);
                let sum = if several { &mut shared } else { &mut own };
                *sum = sum.saturating_add(bytes);
            };
            for layer in image.layers.iter().collect::<BTreeSet<_>>() {
                let bytes = self.layer(layer)?.map_or(0, |record| record.bytes);
                add(bytes, of_layers.get(layer));
            }
            for blob in image.blobs.iter().collect::<BTreeSet<_>>() {
                let bytes = std::fs::metadata(self.blob_path(blob)).map_or(0, |found| found.len());
                add(bytes, of_blobs.get(blob));
            }
            sizes.insert(image.id.clone(), (own, shared));
        }
        Ok(sizes)
    }
}

/// Removes what is known of web addresses whose images are gone.
pub(super) fn sweep_urls(store: &Store) -> Result<(), ImageError> {
    let dir = store.dir().join("urls");
    if !dir.is_dir() {
        return Ok(());
    }
    for name in super::list(&dir)? {
        let path = dir.join(name);
        // What cannot be read says nothing: without it the address is asked again.
        let known = load::<super::UrlRecord>(&path).ok().flatten();
        if known.is_none_or(|known| !store.image_dir(&known.id).is_dir()) {
            std::fs::remove_file(&path).map_err(|e| ImageError::io("remove", &path, e))?;
        }
    }
    Ok(())
}
