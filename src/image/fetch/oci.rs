//! An OCI image, from wherever its blobs are.

use super::ahead::{Ahead, Flush, Watch};
use super::{Fetch, Transfer};
use crate::image::digest::{Algo, Digest};
use crate::image::error::ImageError;
use crate::image::manifest::ImageManifest;
use crate::image::name::{AcIdentifier, squeeze};
use crate::image::oci::source::{Blobs, Chosen, Found, bad, choose, digest};
use crate::image::oci::{Descriptor, Layout, Platform, convert, is_layer};
use crate::image::store::{
    Fetched, Format, ImageId, KeyLock, Layer, LayerRecord, NewLayer, Stored, TempDir, VERSION,
};
use crate::image::trust::{Beside, Finding, Proof};
use crate::image::unpack::{self, Kind, Source};
use crate::image::view;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// More layers than overlayfs stacks.
pub(crate) const MAX_LAYERS: usize = 500;

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

/// An image as a source has it, and what is to become of it.
pub(super) struct Wish<'a> {
    /// Where its blobs are.
    pub source: &'a dyn Blobs,
    /// Its manifest, or an index that lists it.
    pub start: Descriptor,
    /// The name and labels it is stored under.
    pub name: (AcIdentifier, BTreeMap<String, String>),
    /// What was fetched, for the record.
    pub origin: String,
    /// What came beside it.
    pub beside: Beside,
    /// What signatures elsewhere say of it.
    pub findings: Vec<Finding>,
}

impl Fetch<'_> {
    /// Fetches from a layout, which `path` gives a name where it says none itself.
    pub(super) fn layout(
        &mut self,
        layout: &Layout,
        path: &Path,
        tag: Option<&str>,
    ) -> Result<Stored, ImageError> {
        let (start, ref_name) = layout.start(tag)?;
        self.archived(layout, start, path, tag, ref_name.as_deref())
    }

    /// Fetches from a source on disk: `tag` was asked for, `ref_name` is what the source says.
    pub(super) fn archived(
        &mut self,
        source: &dyn Blobs,
        start: Descriptor,
        path: &Path,
        tag: Option<&str>,
        ref_name: Option<&str>,
    ) -> Result<Stored, ImageError> {
        let name = self.oci_name(path, tag, ref_name)?;
        let origin = match tag {
            Some(tag) => format!("{}:{tag}", source.name()),
            None => source.name().to_owned(),
        };
        let beside =
            Beside::a_layout(path).map_err(|e| ImageError::io("read what lies beside", path, e))?;
        self.oci(Wish { source, start, name, origin, beside, findings: Vec::new() })
    }

    /// Fetches an image from where its blobs are.
    pub(super) fn oci(&mut self, wish: Wish<'_>) -> Result<Stored, ImageError> {
        let _shared = self.store.lock_shared()?;
        let known = |digest: &Digest| self.complete(digest);
        match choose(wish.source, wish.start.clone(), &Platform::host(), &known)? {
            Chosen::Known(digest) => self.known_oci(wish, digest),
            Chosen::Found(found) => {
                let reporter = &mut *self.reporter;
                let digest = &found.digest;
                let _key = KeyLock::take(&self.store.tmp(), &digest.to_string(), || {
                    reporter.note(&format!("{}: waiting for another fetch", digest.short()));
                })?;
                if self.complete(digest) {
                    return self.known_oci(wish, digest.clone());
                }
                // Before anything large comes.
                let proof = self.judged(&wish, digest)?;
                self.new_oci(wish, *found, proof)
            }
        }
    }

    /// Whether the store has all of an image.
    pub(super) fn complete(&self, digest: &Digest) -> bool {
        let image = self.store.image(&ImageId::new(digest.clone()));
        image.is_ok_and(|image| {
            image.format == Format::Oci
                && image.blobs().iter().all(|blob| self.store.blob_path(blob).exists())
        })
    }

    /// Stores an image that is there already under a name, perhaps another one.
    fn known_oci(&mut self, wish: Wish<'_>, digest: Digest) -> Result<Stored, ImageError> {
        let proof = self.judged(&wish, &digest)?;
        let (name, labels) = wish.name;
        self.point_known(&ImageId::new(digest), (name.to_string(), labels), &wish.origin, proof)
    }

    /// Has a name mean an image that is there.
    pub(super) fn point_known(
        &mut self,
        id: &ImageId,
        name: super::judge::Name,
        origin: &str,
        proof: Proof,
    ) -> Result<Stored, ImageError> {
        let image = self.store.image(id)?;
        let kept = image.proofs.contains(&proof)
            || proof.findings.is_empty() && image.proofs.iter().any(|p| p.name == proof.name);
        let meant = self.store.named(&name.0, &name.1)?;
        if kept
            && meant.as_ref() == Some(&image.id)
            && self.evidence(&image.id, origin)? == image.evidence
        {
            // As it should be: nothing is written, and no disk is waited for.
            return Ok(Stored { id: image.id, replaced: None });
        }
        let temp = self.store.temp()?;
        let layers =
            image.layers.iter().map(|layer| NewLayer { key: layer.digest.clone(), fresh: None });
        let blobs = image.blobs().iter().map(|blob| (blob.clone(), None));
        let image = Fetched {
            format: Format::Oci,
            dependencies: Vec::new(),
            layers: layers.collect(),
            blobs: blobs.collect(),
            id: image.id,
            manifest: image.manifest,
            manifest_bytes: None,
            originals: Vec::new(),
            config: image.config,
            source: origin.to_owned(),
            name,
        };
        self.store(&temp, image, proof)
    }

    /// Whether the image is taken, by what came beside it.
    fn judged(&mut self, wish: &Wish<'_>, digest: &Digest) -> Result<Proof, ImageError> {
        let (name, labels) = &wish.name;
        self.pinned(&wish.origin, &ImageId::new(digest.clone()))?;
        let start = wish.start.digest.parse().unwrap_or_else(|_| digest.clone());
        let mut proof =
            self.oci_proof((name.as_str(), labels), &wish.origin, &[digest, &start], &wish.beside)?;
        proof.findings.extend(wish.findings.iter().cloned());
        let id = ImageId::new(digest.clone());
        self.judge(&id, &(name.to_string(), labels.clone()), proof)
    }

    /// Brings an image that the store does not have.
    fn new_oci(
        &mut self,
        wish: Wish<'_>,
        found: Found,
        proof: Proof,
    ) -> Result<Stored, ImageError> {
        let source = wish.source;
        let temp = self.store.temp()?;
        let wanted = wanted(source, &found.manifest.layers, &found.config.rootfs.diff_ids)?;
        let done = self.layers(source, &temp, &wanted)?;
        let stack: Vec<Layer> = done
            .iter()
            .rev()
            .map(|l| Layer { digest: l.layer.key.clone(), tree: l.dir.join("tree") })
            .collect();
        let (name, labels) = wish.name;
        let account = account(&found.config, &stack)?;
        let (manifest, left_out) = convert::manifest(name, &labels, &found.config, &account)
            .map_err(|e| bad(source, e.to_string()))?;
        ImageManifest::validate(&manifest)?;
        if !left_out.is_empty() {
            let text = format!("{}: left out {}", source.name(), left_out.join(", "));
            self.reporter.note(&text);
        }
        let name = (manifest.name.to_string(), labels);
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
            dependencies: Vec::new(),
            layers,
            blobs,
            source: wish.origin,
            name,
        };
        self.store(&temp, image, proof)
    }

    /// Brings every layer, bottom first. While one is unpacked the next ones' blobs are copied.
    fn layers(
        &mut self,
        source: &dyn Blobs,
        temp: &TempDir,
        wanted: &[Wanted<'_>],
    ) -> Result<Vec<Unpacked>, ImageError> {
        let stored =
            wanted.iter().map(|layer| self.stored(layer)).collect::<Result<Vec<_>, _>>()?;
        let missing = wanted.iter().zip(&stored).filter(|(_, stored)| stored.is_none());
        let missing: Vec<&Wanted<'_>> = missing.map(|(layer, _)| layer).collect();
        let (stop, dir) = (AtomicBool::new(false), self.store.dir().to_owned());
        let interrupted = self.interrupted;
        let counts: Vec<AtomicU64> = wanted.iter().map(|_| AtomicU64::new(0)).collect();
        std::thread::scope(|threads| {
            let (flush, flushing) = Flush::start(threads, &dir);
            let done: Result<Vec<Unpacked>, ImageError> = std::thread::scope(|copying| {
                let copy = |layer: &&Wanted<'_>| {
                    let came = counts.get(layer.index);
                    let progress = |count| {
                        came.inspect(|came| came.store(count, Ordering::Relaxed));
                    };
                    let watch =
                        Watch { stop: &stop, interrupted, flush: &flush, progress: &progress };
                    source.copy(layer.descriptor, &layer.copy(temp), &watch)
                };
                let remote = source.parallel() > 1;
                let transfers = || -> Vec<Transfer> {
                    let came = |place: usize| counts.get(place).map(|c| c.load(Ordering::Relaxed));
                    let transfer = |layer: &&Wanted<'_>| Transfer {
                        layer: layer.index + 1,
                        layers: wanted.len(),
                        done: came(layer.index).unwrap_or(0),
                        total: layer.descriptor.size,
                    };
                    missing.iter().map(transfer).collect()
                };
                let workers = source.parallel();
                let ahead = Ahead::start(copying, &stop, workers, &missing, copy);
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
                                source.name(),
                                layer.index + 1,
                                wanted.len()
                            );
                            let reporter = &mut *self.reporter;
                            let mut tick = || {
                                if remote {
                                    reporter.transfer(source.name(), &transfers());
                                }
                            };
                            let copied = ahead.next(&mut tick)?;
                            tick();
                            self.layer(&name, temp, layer, &done, copied, &flush)?
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
        (copy, found): (File, Digest),
        flush: &Flush,
    ) -> Result<Unpacked, ImageError> {
        expect(name, "blob", &wanted.blob, &found)?;
        let target = temp.dir(&format!("layer-{}", wanted.index))?;
        let lowers: Vec<PathBuf> = below.iter().map(|l| l.dir.clone()).collect();
        let size = wanted.descriptor.size;
        let source =
            Source { name, file: &copy, size, kind: Kind::Layer, hash: wanted.diff_id.algo() };
        let (reporter, mut before) = (&mut *self.reporter, 0);
        let mut progress = |done: u64| {
            // At least so much is written, and mostly about twice.
            flush.wrote(done.saturating_sub(before));
            before = done;
            reporter.progress(name, done, size);
        };
        progress(0);
        let report =
            unpack::unpack_until(self.interrupted, &source, &target, &lowers, &mut progress)?;
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
            files: None,
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
                // An archive is called without what its name ends in.
                let base = if dir.is_file() { dir.file_stem() } else { dir.file_name() };
                let base = base.unwrap_or_default().to_string_lossy().into_owned();
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
    source: &dyn Blobs,
    layers: &'a [Descriptor],
    diff_ids: &'a [Digest],
) -> Result<Vec<Wanted<'a>>, ImageError> {
    if layers.is_empty() {
        return Err(bad(source, "the image has no layers"));
    }
    if layers.len() != diff_ids.len() {
        let (layers, diffs) = (layers.len(), diff_ids.len());
        let problem = format!("the manifest has {layers} layers, the configuration {diffs}");
        return Err(bad(source, problem));
    }
    if layers.len() > MAX_LAYERS {
        return Err(bad(source, format!("the image has more than {MAX_LAYERS} layers")));
    }
    let mut chain: Option<Digest> = None;
    let mut out = Vec::new();
    for (index, (descriptor, diff_id)) in layers.iter().zip(diff_ids).enumerate() {
        let media_type = &descriptor.media_type;
        if !is_layer(media_type) {
            let problem = format!("layers of the media type {media_type:?} are not supported");
            return Err(bad(source, problem));
        }
        let next = match &chain {
            None => diff_id.clone(),
            Some(below) => {
                let text = format!("{} {}", below.oci(), diff_id.oci());
                Digest::of(Algo::Sha256, text.as_bytes())
            }
        };
        chain = Some(next.clone());
        let blob = digest(source, descriptor)?;
        out.push(Wanted { index, descriptor, blob, diff_id, chain: next });
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
