//! An OCI image from a layout directory.

use super::ahead::{Ahead, Flush, Stoppable};
use super::{Fetch, copy_in};
use crate::image::digest::{Algo, Digest};
use crate::image::error::ImageError;
use crate::image::manifest::ImageManifest;
use crate::image::name::{AcIdentifier, squeeze};
use crate::image::oci::{Descriptor, Layout, Platform, convert, layer_compression};
use crate::image::store::{
    Fetched, Format, ImageId, KeyLock, Layer, LayerRecord, NewLayer, Stored, TempDir, VERSION,
};
use crate::image::unpack::{self, Compression, Kind, Source};
use crate::image::view;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// More layers than overlayfs stacks.
const MAX_LAYERS: usize = 500;

/// A layer on its way: where it lies now, and what it is.
struct Unpacked {
    layer: NewLayer,
    dir: PathBuf,
    blob: (Digest, Option<PathBuf>),
}

/// One layer as the manifest lists it.
struct Wanted<'a> {
    /// Its place, from the bottom.
    index: usize,
    descriptor: &'a Descriptor,
    blob: Digest,
    compression: Compression,
    diff_id: &'a Digest,
    /// Identity of this layer over all those below.
    chain: Digest,
}

impl Wanted<'_> {
    /// Where its blob is copied to.
    fn copy(&self, temp: &TempDir) -> PathBuf {
        temp.path().join(format!("blob-{}", self.index))
    }
}

impl Fetch<'_> {
    /// Fetches from a layout.
    pub(super) fn oci(&mut self, dir: &Path, tag: Option<&str>) -> Result<Stored, ImageError> {
        let layout = Layout::open(dir)?;
        let found = layout.find(tag, &Platform::host())?;
        let reporter = &mut *self.reporter;
        let _key = KeyLock::take(&self.store.tmp(), &found.digest.to_string(), || {
            reporter.note(&format!("{}: waiting for another fetch", found.digest.short()));
        })?;
        let _shared = self.store.lock_shared()?;
        let temp = self.store.temp()?;
        let wanted = wanted(&layout, &found.manifest.layers, &found.config.rootfs.diff_ids)?;
        let done = self.layers(&layout, &temp, &wanted)?;
        let stack: Vec<Layer> = done
            .iter()
            .rev()
            .map(|l| Layer { digest: l.layer.key.clone(), tree: l.dir.join("tree") })
            .collect();
        let (name, labels) = self.oci_name(dir, tag, found.ref_name.as_deref())?;
        let account = account(&found.config, &stack)?;
        let (manifest, left_out) = convert::manifest(name, &labels, &found.config, &account)
            .map_err(|e| layout.bad(e.to_string()))?;
        ImageManifest::validate(&manifest)?;
        if !left_out.is_empty() {
            let text = format!("{}: left out {}", layout.name(), left_out.join(", "));
            self.reporter.note(&text);
        }
        let name = (manifest.name.to_string(), manifest.label_map());
        let (mut layers, mut blobs) = (Vec::new(), Vec::new());
        for unpacked in done.into_iter().rev() {
            layers.push(unpacked.layer);
            blobs.push(unpacked.blob);
        }
        let image = Fetched {
            id: ImageId::new(found.digest),
            format: Format::Oci,
            manifest,
            manifest_bytes: None,
            originals: vec![
                ("oci-manifest.json", found.manifest_bytes),
                ("oci-config.json", found.config_bytes),
            ],
            config: Some(found.config_digest),
            layers,
            blobs,
            source: match tag {
                Some(tag) => format!("{}:{tag}", layout.name()),
                None => layout.name().to_owned(),
            },
            name,
        };
        self.store(&temp, image)
    }

    /// Brings every layer, bottom first. While one is unpacked the next one's blob is copied.
    fn layers(
        &mut self,
        layout: &Layout,
        temp: &TempDir,
        wanted: &[Wanted<'_>],
    ) -> Result<Vec<Unpacked>, ImageError> {
        let stored =
            wanted.iter().map(|layer| self.stored(layer)).collect::<Result<Vec<_>, _>>()?;
        let missing = wanted.iter().zip(&stored).filter(|(_, stored)| stored.is_none());
        let missing: Vec<&Wanted<'_>> = missing.map(|(layer, _)| layer).collect();
        let (stop, dir) = (AtomicBool::new(false), self.store.dir().to_owned());
        std::thread::scope(|threads| {
            let (flush, flushing) = Flush::start(threads, &dir);
            let done: Result<Vec<Unpacked>, ImageError> = std::thread::scope(|copying| {
                let copy = |layer: &Wanted<'_>| {
                    let (file, path) = layout.open_blob(layer.descriptor)?;
                    let mut file = Stoppable { file, stop: &stop, flush: &flush };
                    copy_in(layer.blob.algo(), &mut file, &path, &layer.copy(temp))
                };
                let ahead = Ahead::start(copying, &stop, missing, copy);
                let mut done: Vec<Unpacked> = Vec::new();
                for (layer, stored) in wanted.iter().zip(stored) {
                    let unpacked = match stored {
                        Some(key) => Unpacked {
                            dir: self.store.layer_dir(&key),
                            layer: NewLayer { key, fresh: None },
                            blob: (layer.blob.clone(), None),
                        },
                        None => {
                            let name = format!(
                                "{} layer {}/{}",
                                layout.name(),
                                layer.index + 1,
                                wanted.len()
                            );
                            self.layer(&name, temp, layer, &done, &ahead, &flush)?
                        }
                    };
                    done.push(unpacked);
                }
                Ok(done)
            });
            drop(flush);
            let flushed = flushing.finish();
            let done = done?;
            flushed?;
            Ok(done)
        })
    }

    /// The key under which the store has a layer, if it has both it and its blob.
    fn stored(&self, wanted: &Wanted<'_>) -> Result<Option<Digest>, ImageError> {
        let key = match self.store.layer(&wanted.chain)? {
            Some(_) => Some(wanted.chain.clone()),
            None => {
                self.store.layer(wanted.diff_id)?.filter(|l| l.self_contained).map(|l| l.diff_id)
            }
        };
        Ok(key.filter(|_| self.store.blob_path(&wanted.blob).exists()))
    }

    /// Brings one layer that is not in the store: unpacked against those below it.
    fn layer(
        &mut self,
        name: &str,
        temp: &TempDir,
        wanted: &Wanted<'_>,
        below: &[Unpacked],
        ahead: &Ahead<'_>,
        flush: &Flush,
    ) -> Result<Unpacked, ImageError> {
        let (copy, found) = ahead.next()?;
        expect(name, "blob", &wanted.blob, &found)?;
        let target = temp.dir(&format!("layer-{}", wanted.index))?;
        let lowers: Vec<PathBuf> = below.iter().map(|l| l.dir.clone()).collect();
        let size = wanted.descriptor.size;
        let source = Source {
            name,
            file: &copy,
            size,
            kind: Kind::Layer,
            compression: Some(wanted.compression),
            hash: wanted.diff_id.algo(),
        };
        let (reporter, mut before) = (&mut *self.reporter, 0);
        let mut progress = |done: u64| {
            // At least so much is written, and mostly about twice.
            flush.wrote(done.saturating_sub(before));
            before = done;
            reporter.progress(name, done, size);
        };
        let report = unpack::unpack(&source, &target, &lowers, &mut progress)?;
        expect(name, "uncompressed layer", wanted.diff_id, &report.content)?;
        unpack::finish(&target)?;
        self.tell(name, &report);
        let key = if report.self_contained { wanted.diff_id } else { &wanted.chain };
        let record = LayerRecord {
            version: VERSION,
            diff_id: wanted.diff_id.clone(),
            self_contained: report.self_contained,
            inodes: report.inodes,
            bytes: report.bytes,
        };
        let layer = NewLayer { key: key.clone(), fresh: Some((target.clone(), record)) };
        let have_blob = self.store.blob_path(&wanted.blob).exists();
        let blob = (wanted.blob.clone(), (!have_blob).then(|| wanted.copy(temp)));
        Ok(Unpacked { layer, dir: target, blob })
    }

    /// The name a layout's image is stored under: as asked, as the index says, or as the directory is called.
    fn oci_name(
        &self,
        dir: &Path,
        tag: Option<&str>,
        ref_name: Option<&str>,
    ) -> Result<(AcIdentifier, BTreeMap<String, String>), ImageError> {
        if let Some(name) = &self.name {
            return Ok((name.name.clone(), name.labels.clone()));
        }
        let full = ref_name.filter(|name| name.contains('/'));
        let (base, version) = match full.map(|name| (name, name.rsplit_once(':'))) {
            Some((_, Some((name, version)))) if !version.contains('/') => {
                (name.to_owned(), Some(version.to_owned()))
            }
            Some((name, _)) => (name.to_owned(), None),
            None => {
                let dir = std::fs::canonicalize(dir).map_err(|e| ImageError::io("find", dir, e))?;
                let base = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
                (base, tag.or(ref_name).map(str::to_owned))
            }
        };
        let name = squeeze(&base, "-._~/").and_then(|name| AcIdentifier::new(name).ok());
        let name = name.ok_or_else(|| {
            let problem = "no image name can be made of it; give one with --name";
            ImageError::bad(format!("oci:{}", dir.display()), problem)
        })?;
        let version = version.or_else(|| tag.map(str::to_owned));
        Ok((name, version.into_iter().map(|v| ("version".to_owned(), v)).collect()))
    }
}

/// Pairs the manifest's layers with the configuration's digests.
fn wanted<'a>(
    layout: &Layout,
    layers: &'a [Descriptor],
    diff_ids: &'a [Digest],
) -> Result<Vec<Wanted<'a>>, ImageError> {
    if layers.is_empty() {
        return Err(layout.bad("the image has no layers"));
    }
    if layers.len() != diff_ids.len() {
        let (layers, diffs) = (layers.len(), diff_ids.len());
        let problem = format!("the manifest has {layers} layers, the configuration {diffs}");
        return Err(layout.bad(problem));
    }
    if layers.len() > MAX_LAYERS {
        return Err(layout.bad(format!("the image has more than {MAX_LAYERS} layers")));
    }
    let mut chain: Option<Digest> = None;
    let mut out = Vec::new();
    for (index, (descriptor, diff_id)) in layers.iter().zip(diff_ids).enumerate() {
        let media_type = &descriptor.media_type;
        let compression = layer_compression(media_type).ok_or_else(|| {
            layout.bad(format!("layers of the media type {media_type:?} are not supported"))
        })?;
        let next = match &chain {
            None => diff_id.clone(),
            Some(below) => {
                let text = format!("{} {}", below.oci(), diff_id.oci());
                Digest::of(Algo::Sha256, text.as_bytes())
            }
        };
        chain = Some(next.clone());
        let blob = layout.digest(descriptor)?;
        out.push(Wanted { index, descriptor, blob, compression, diff_id, chain: next });
    }
    Ok(out)
}

fn expect(name: &str, what: &str, wanted: &Digest, found: &Digest) -> Result<(), ImageError> {
    if wanted == found {
        return Ok(());
    }
    Err(ImageError::bad(name, format!("the {what} should be {wanted} and is {found}")))
}

/// The groups of a user who is named without one, from the image's own files.
fn account(
    config: &crate::image::oci::Config,
    stack: &[Layer],
) -> Result<convert::Account, ImageError> {
    let user = config.config.as_ref().map(|run| run.user.as_str()).unwrap_or_default();
    if user.contains(':') {
        return Ok(convert::Account::default());
    }
    let user = if user.is_empty() { "0" } else { user };
    let text = |path| -> Result<String, ImageError> {
        let bytes = view::read_file(stack, path, 4 << 20)?.unwrap_or_default();
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    Ok(convert::account(user, &text("/etc/passwd")?, &text("/etc/group")?))
}
