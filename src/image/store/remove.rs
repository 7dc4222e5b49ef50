//! Out of the store: images by name or id, layers and blobs when nobody needs them.

use super::record::RefRecord;
use super::{ImageId, Store, TempDir, digests, list, load};
use crate::image::digest::Digest;
use crate::image::error::ImageError;
use crate::image::store::StoreLock;
use std::collections::BTreeSet;
use std::path::Path;

/// What a removal freed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Layers that are gone.
    pub layers: Vec<Digest>,
    /// Blobs that are gone.
    pub blobs: Vec<Digest>,
}

/// The store's exclusive lock: what pods use is to be asked while it is held, so that no pod comes
/// to use a layer between the question and the removal.
#[derive(Debug)]
pub struct Removal<'a> {
    store: &'a Store,
    #[expect(dead_code, reason = "holds the lock")]
    lock: StoreLock,
}

impl Store {
    /// Begins removing: waits until nobody fetches or prepares.
    pub fn removal(&self) -> Result<Removal<'_>, ImageError> {
        Ok(Removal { store: self, lock: self.lock_exclusive()? })
    }
}

impl Removal<'_> {
    /// Removes an image and its names; layers in `used` (and those of other images) stay.
    pub fn image(&self, id: &ImageId, used: &BTreeSet<Digest>) -> Result<Removed, ImageError> {
        self.store.remove(id, used)
    }

    /// Removes layers and blobs that neither an image nor `used` names.
    pub fn gc(&self, used: &BTreeSet<Digest>) -> Result<Removed, ImageError> {
        self.store.gc(used)
    }
}

impl Store {
    fn remove(&self, id: &ImageId, used: &BTreeSet<Digest>) -> Result<Removed, ImageError> {
        let dir = self.image_dir(id);
        if !dir.is_dir() {
            return Err(ImageError::NotFound(id.to_string()));
        }
        let image = self.image(id).ok();
        let temp = self.temp()?;
        let refs = self.dir.join("refs");
        for name in list(&refs)? {
            let path = refs.join(name);
            let record: Option<RefRecord> = load(&path)?;
            if record.is_some_and(|record| record.id == *id) {
                std::fs::remove_file(&path).map_err(|e| ImageError::io("remove", &path, e))?;
            }
        }
        put_away(&dir, &temp, "image")?;
        let Some(image) = image else { return Ok(Removed::default()) };
        let layers = image.layers.into_iter().map(|layer| layer.digest).collect();
        self.free(&temp, layers, image.blobs, used)
    }

    fn gc(&self, used: &BTreeSet<Digest>) -> Result<Removed, ImageError> {
        let temp = self.temp()?;
        let (layers, blobs) = (digests(&self.dir, "layers")?, digests(&self.dir, "blobs")?);
        self.free(&temp, layers, blobs, used)
    }

    /// Removes those of `layers` and `blobs` that nobody needs.
    fn free(
        &self,
        temp: &TempDir,
        layers: Vec<Digest>,
        blobs: Vec<Digest>,
        used: &BTreeSet<Digest>,
    ) -> Result<Removed, ImageError> {
        let images = self.records()?;
        let kept_layers: BTreeSet<&Digest> = images.iter().flat_map(|i| &i.layers).collect();
        let kept_blobs: BTreeSet<&Digest> = images.iter().flat_map(|i| &i.blobs).collect();
        let mut removed = Removed::default();
        for layer in layers {
            let path = self.layer_dir(&layer);
            if !kept_layers.contains(&layer) && !used.contains(&layer) && path.exists() {
                put_away(&path, temp, &layer.to_string())?;
                removed.layers.push(layer);
            }
        }
        for blob in blobs {
            let path = self.blob_path(&blob);
            if !kept_blobs.contains(&blob) && path.exists() {
                std::fs::remove_file(&path).map_err(|e| ImageError::io("remove", &path, e))?;
                removed.blobs.push(blob);
            }
        }
        Ok(removed)
    }
}

/// Takes a directory out of sight in one step; the temporary directory's end removes it.
fn put_away(path: &Path, temp: &TempDir, name: &str) -> Result<(), ImageError> {
    std::fs::rename(path, temp.path().join(name)).map_err(|e| ImageError::io("remove", path, e))
}
