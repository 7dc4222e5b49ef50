//! An ACI from a file.

use super::depend::stack;
use super::{Fetch, Stoppable, check_platform, copy_in, digest_of, open_regular, same_blob};
use crate::image::digest::Algo;
use crate::image::error::ImageError;
use crate::image::manifest::ImageManifest;
use crate::image::store::{
    Fetched, Format, ImageId, KeyLock, LayerRecord, NewLayer, Stored, VERSION,
};
use crate::image::trust::Beside;
use crate::image::unpack::{self, Kind, Source};
use std::path::Path;

impl Fetch<'_> {
    /// Fetches an ACI file.
    pub(super) fn aci(
        &mut self,
        path: &Path,
        from: &str,
        beside: &Beside,
    ) -> Result<Stored, ImageError> {
        let name = from.to_owned();
        let (mut file, size) = open_regular(path)?;
        if size == 0 {
            return Err(ImageError::bad(name, "the file is empty"));
        }
        // The digest is known only after reading; equal archives have equal sizes at least.
        let key = format!("aci-{size}");
        let reporter = &mut *self.reporter;
        let _key = KeyLock::take(&self.store.tmp(), &key, || {
            reporter.note(&format!("{name}: waiting for another fetch"));
        })?;
        let _shared = self.store.lock_shared()?;
        if let Some(stored) = self.known_aci(&mut file, path, (from, size), beside)? {
            return Ok(stored);
        }
        let temp = self.store.temp()?;
        let blob = temp.path().join("blob");
        let mut from = Stoppable { from: &mut file, stop: self.interrupted };
        let (copy, blob_digest) = copy_in(Algo::Sha256, &mut from, path, &blob)?;
        let target = temp.dir("layer")?;
        let source = Source { name: &name, file: &copy, size, kind: Kind::Aci, hash: Algo::Sha512 };
        let reporter = &mut *self.reporter;
        reporter.progress(&name, 0, size);
        let report = unpack::unpack_until(self.interrupted, &source, &target, &[], &mut |done| {
            reporter.progress(&name, done, size)
        })?;
        unpack::finish(&target)?;
        self.tell(&name, &report);
        let manifest_path = target.join("manifest");
        let bytes =
            std::fs::read(&manifest_path).map_err(|e| ImageError::io("read", &manifest_path, e))?;
        let manifest = ImageManifest::parse(&bytes)?;
        check_platform(&name, &manifest)?;
        check_supported(&name, &manifest)?;
        let below = self.below(&name, &manifest)?;
        let record = LayerRecord {
            version: VERSION,
            diff_id: report.content.clone(),
            self_contained: report.self_contained,
            inodes: report.inodes,
            bytes: report.bytes,
            files: None,
        };
        let fresh = self.store.layer(&report.content)?.is_none();
        let layer =
            NewLayer { key: report.content.clone(), fresh: fresh.then_some((target, record)) };
        let layers = stack(&name, layer, &below)?;
        let stored_name = match &self.name {
            Some(name) => (name.name.to_string(), name.labels.clone()),
            None => (manifest.name.to_string(), manifest.label_map()),
        };
        let id = ImageId::new(report.content);
        self.as_wanted(&name, &manifest, &id)?;
        let proof = self.aci_proof(&copy, &manifest, (&stored_name.0, &name), beside)?;
        let proof = self.judge(&id, &stored_name, proof)?;
        let image = Fetched {
            id,
            format: Format::Aci,
            manifest,
            manifest_bytes: Some(bytes),
            originals: Vec::new(),
            config: None,
            layers,
            dependencies: below.into_iter().map(|image| image.id).collect(),
            blobs: vec![(blob_digest, Some(blob))],
            source: name,
            name: stored_name,
        };
        self.store(&temp, image, proof)
    }

    /// An ACI that was stored before needs no second unpacking.
    fn known_aci(
        &mut self,
        file: &mut std::fs::File,
        path: &Path,
        (from, size): (&str, u64),
        beside: &Beside,
    ) -> Result<Option<Stored>, ImageError> {
        let sizes = |blob: &crate::image::Digest| {
            std::fs::metadata(self.store.blob_path(blob)).is_ok_and(|found| found.len() == size)
        };
        if !self.store.images()?.iter().flat_map(|image| image.blobs()).any(sizes) {
            return Ok(None);
        }
        let digest = digest_of(Algo::Sha256, file, path)?;
        let Some(id) = same_blob(self.store, &digest)? else { return Ok(None) };
        let image = self.store.image(&id)?;
        if image.format != Format::Aci {
            return Ok(None);
        }
        let name = match &self.name {
            Some(name) => (name.name.to_string(), name.labels.clone()),
            None => (image.manifest.name.to_string(), image.manifest.label_map()),
        };
        self.as_wanted(from, &image.manifest, &id)?;
        // The bytes whose digest is known, not the file, which somebody may exchange meanwhile.
        let Ok(blob) = std::fs::File::open(self.store.blob_path(&digest)) else { return Ok(None) };
        let proof = self.aci_proof(&blob, &image.manifest, (&name.0, from), beside)?;
        let proof = self.judge(&id, &name, proof)?;
        let temp = self.store.temp()?;
        let layers =
            image.layers.iter().map(|layer| NewLayer { key: layer.digest.clone(), fresh: None });
        let image = Fetched {
            id,
            format: Format::Aci,
            layers: layers.collect(),
            dependencies: image.dependencies,
            manifest: image.manifest,
            manifest_bytes: None,
            originals: Vec::new(),
            config: None,
            blobs: vec![(digest, None)],
            source: from.to_owned(),
            name,
        };
        self.store(&temp, image, proof).map(Some)
    }
}

/// Refuses by name what this release cannot render.
fn check_supported(source: &str, manifest: &ImageManifest) -> Result<(), ImageError> {
    if manifest.path_whitelist.is_empty() {
        return Ok(());
    }
    Err(ImageError::bad(source, "pathWhitelist of images is not supported by this release"))
}
