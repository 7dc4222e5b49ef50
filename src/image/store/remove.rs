//! Out of the store: images by name or id, layers and blobs when nobody needs them.

use super::record::RefRecord;
use super::usage::sweep_urls;
use super::{ImageId, Store, TempDir, digests, list, load};
use crate::image::digest::Digest;
use crate::image::error::ImageError;
use crate::image::store::StoreLock;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What a removal freed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Layers that are gone.
    pub layers: Vec<Digest>,
    /// Blobs that are gone.
    pub blobs: Vec<Digest>,
}

/// Something in the store that nobody needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unused {
    /// A layer; else a blob.
    pub is_layer: bool,
    /// Which.
    pub digest: Digest,
    /// Where it lies.
    pub path: PathBuf,
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

    /// Removes what [`Store::unused`] has found under this lock.
    pub fn unused(&self, unused: Vec<Unused>) -> Result<Removed, ImageError> {
        let removed = put_all_away(&self.store.temp()?, unused)?;
        sweep_urls(self.store)?;
        Ok(removed)
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
        sweep_urls(self)?;
        let Some(image) = image else { return Ok(Removed::default()) };
        let layers = image.layers.into_iter().map(|layer| layer.digest).collect();
        put_all_away(&temp, self.without_need(layers, image.blobs, used)?)
    }

    /// Layers and blobs that no image names; of layers those that `used` does not name either, and
    /// none at all where that is not known.
    pub fn unused(&self, used: Option<&BTreeSet<Digest>>) -> Result<Vec<Unused>, ImageError> {
        let layers = if used.is_some() { digests(&self.dir, "layers")? } else { Vec::new() };
        let blobs = digests(&self.dir, "blobs")?;
        self.without_need(layers, blobs, used.unwrap_or(&BTreeSet::new()))
    }

    /// Those of `layers` and `blobs` that nobody needs.
    fn without_need(
        &self,
        layers: Vec<Digest>,
        blobs: Vec<Digest>,
        used: &BTreeSet<Digest>,
    ) -> Result<Vec<Unused>, ImageError> {
        let images = self.records()?;
        let kept_layers: BTreeSet<&Digest> = images.iter().flat_map(|i| &i.layers).collect();
        let kept_blobs: BTreeSet<&Digest> = images.iter().flat_map(|i| &i.blobs).collect();
        let layers = layers.into_iter().filter(|l| !kept_layers.contains(l) && !used.contains(l));
        let blobs = blobs.into_iter().filter(|blob| !kept_blobs.contains(blob));
        let layers = layers.map(|l| Unused { is_layer: true, path: self.layer_dir(&l), digest: l });
        let blobs = blobs.map(|b| Unused { is_layer: false, path: self.blob_path(&b), digest: b });
        Ok(layers.chain(blobs).filter(|unused| unused.path.exists()).collect())
    }
}

fn put_all_away(temp: &TempDir, unused: Vec<Unused>) -> Result<Removed, ImageError> {
    let mut removed = Removed::default();
    for Unused { is_layer, digest, path } in unused {
        if is_layer {
            put_away(&path, temp, &digest.to_string())?;
            removed.layers.push(digest);
        } else {
            std::fs::remove_file(&path).map_err(|e| ImageError::io("remove", &path, e))?;
            removed.blobs.push(digest);
        }
    }
    Ok(removed)
}

/// Takes a directory out of sight in one step; the temporary directory's end removes it.
fn put_away(path: &Path, temp: &TempDir, name: &str) -> Result<(), ImageError> {
    std::fs::rename(path, temp.path().join(name)).map_err(|e| ImageError::io("remove", path, e))
}
