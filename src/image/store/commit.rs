//! Into the store: everything is made in `tmp/`, synced once, then renamed.

use super::record::{self, EvidenceRecord, Format, ImageRecord, LayerRecord, RefRecord, VERSION};
use super::{Evidence, ImageId, Store, TempDir};
use crate::image::check::list_digest;
use crate::image::digest::{Algo, Digest};
use crate::image::error::ImageError;
use crate::image::manifest::ImageManifest;
use crate::image::time;
use crate::image::trust::{Finding, Proof};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A layer of an image about to be stored.
#[derive(Debug)]
pub(crate) struct NewLayer {
    /// Its key.
    pub key: Digest,
    /// Where it was unpacked, and its record; nothing when the store has it.
    pub fresh: Option<(PathBuf, LayerRecord)>,
}

/// An image whose digests are right: nobody has vouched for it yet.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub id: ImageId,
    pub format: Format,
    pub manifest: ImageManifest,
    /// The manifest's bytes as they came, when they are appc's.
    pub manifest_bytes: Option<Vec<u8>>,
    /// More files of the image: what an OCI image said itself.
    pub originals: Vec<(&'static str, Vec<u8>)>,
    pub config: Option<Digest>,
    /// Images that it lies on, the first lowest; theirs are the layers below its own.
    pub dependencies: Vec<ImageId>,
    /// Topmost first.
    pub layers: Vec<NewLayer>,
    /// Blobs, and where the new ones are.
    pub blobs: Vec<(Digest, Option<PathBuf>)>,
    /// What was fetched.
    pub source: String,
    /// The name and labels to store it under.
    pub name: (String, BTreeMap<String, String>),
}

/// An image and why this host believes in it. The only thing that is stored.
#[derive(Debug)]
pub(crate) struct Verified {
    pub image: Fetched,
    pub evidence: Evidence,
    pub proof: Proof,
}

/// What storing changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The image.
    pub id: ImageId,
    /// What the name meant before, when it meant something else.
    pub replaced: Option<ImageId>,
}

impl Store {
    /// Stores an image. The caller holds the shared lock.
    pub(crate) fn commit(&self, temp: &TempDir, verified: Verified) -> Result<Stored, ImageError> {
        let Verified { image, evidence, proof } = verified;
        let image_dir = self.image_dir(&image.id);
        let known = image_dir.join("image.json").exists();
        let fresh = temp.dir("image")?;
        let before: Option<EvidenceRecord> = record::load(&image_dir.join("evidence"))?;
        let proofs = merged(before.map(|before| before.proofs).unwrap_or_default(), proof);
        write_image(&fresh, &image, evidence, proofs)?;
        for layer in &image.layers {
            if let Some((dir, record)) = &layer.fresh {
                write_layer(dir, record)?;
            }
        }
        self.sync()?;
        for (digest, path) in &image.blobs {
            if let Some(path) = path {
                settle(path, &self.blob_path(digest))?;
            }
        }
        for layer in &image.layers {
            if let Some((path, _)) = &layer.fresh {
                settle(path, &self.layer_dir(&layer.key))?;
            }
            if !self.layer_dir(&layer.key).join("tree").is_dir() {
                return Err(ImageError::bad(
                    layer.key.to_string(),
                    "the layer vanished from the store",
                ));
            }
        }
        if known {
            let content = std::fs::read(fresh.join("evidence"));
            let content = content.map_err(|e| ImageError::io("read", &fresh, e))?;
            record::replace(&image_dir.join("evidence"), &temp.path().join("evidence"), &content)?;
        } else {
            settle(&fresh, &image_dir)?;
        }
        self.point(temp, &image)
    }

    /// Makes the image's name mean it.
    fn point(&self, temp: &TempDir, image: &Fetched) -> Result<Stored, ImageError> {
        let (name, labels) = image.name.clone();
        let record = RefRecord { version: VERSION, name, labels, id: image.id.clone() };
        let path = self.dir.join("refs").join(record.file_name());
        let before: Option<RefRecord> = record::load(&path)?;
        if before.as_ref() != Some(&record) {
            record::replace(&path, &temp.path().join("ref"), &record::bytes(&record))?;
        }
        let replaced = before.map(|before| before.id).filter(|id| *id != image.id);
        Ok(Stored { id: image.id.clone(), replaced })
    }
}

/// Writes a layer's record, with the digest of its list.
pub(super) fn write_layer(dir: &Path, record: &LayerRecord) -> Result<(), ImageError> {
    let list = dir.join("files");
    let digest = list_digest(&list).map_err(|e| ImageError::io("read", &list, e))?;
    let record = LayerRecord { files: Some(digest), ..record.clone() };
    write(&dir.join("meta"), &record::bytes(&record))?;
    // The manifest of an ACI belongs to the image, not to its layer.
    let _ = std::fs::remove_file(dir.join("manifest"));
    Ok(())
}

/// What is kept of several fetches: the last of each name, unless that one brought no good signature and
/// an earlier one did.
fn merged(mut proofs: Vec<Proof>, new: Proof) -> Vec<Proof> {
    let good = |proof: &Proof| proof.findings.iter().any(|f| matches!(f, Finding::Good { .. }));
    if proofs.iter().any(|known| known.name == new.name && good(known) && !good(&new)) {
        return proofs;
    }
    proofs.retain(|known| known.name != new.name);
    proofs.push(new);
    proofs
}

fn write_image(
    dir: &Path,
    image: &Fetched,
    evidence: Evidence,
    proofs: Vec<Proof>,
) -> Result<(), ImageError> {
    let manifest = image.manifest_bytes.clone().unwrap_or_else(|| image.manifest.to_json());
    let mut documents = vec![("manifest", &manifest)];
    documents.extend(image.originals.iter().map(|(name, bytes)| (*name, bytes)));
    let digest = |bytes: &[u8]| Digest::of(Algo::Sha256, bytes);
    let digests = documents.iter().map(|(name, bytes)| ((*name).to_owned(), digest(bytes)));
    let record = ImageRecord {
        version: VERSION,
        id: image.id.clone(),
        format: image.format,
        layers: image.layers.iter().map(|layer| layer.key.clone()).collect(),
        blobs: image.blobs.iter().map(|(digest, _)| digest.clone()).collect(),
        config: image.config.clone(),
        dependencies: image.dependencies.clone(),
        documents: digests.collect(),
        stored: time::now(),
    };
    let evidence = EvidenceRecord {
        version: VERSION,
        evidence,
        proofs,
        source: image.source.clone(),
        recorded: time::now(),
    };
    write(&dir.join("image.json"), &record::bytes(&record))?;
    write(&dir.join("evidence"), &record::bytes(&evidence))?;
    for (name, bytes) in documents {
        write(&dir.join(name), bytes)?;
    }
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), ImageError> {
    std::fs::write(path, bytes).map_err(|e| ImageError::io("write", path, e))
}

/// Renames into place; who finds the name taken has lost the race and keeps nothing.
fn settle(from: &Path, to: &Path) -> Result<(), ImageError> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // The temporary directory takes the loser's copy away.
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(ImageError::io("store", to, error)),
    }
}
