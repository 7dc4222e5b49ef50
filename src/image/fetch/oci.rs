//! An OCI image from a layout directory.

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
    descriptor: &'a Descriptor,
    compression: Compression,
    diff_id: &'a Digest,
    /// Identity of this layer over all those below.
    chain: Digest,
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
        let mut done: Vec<Unpacked> = Vec::new();
        for (index, layer) in wanted.iter().enumerate() {
            let what = format!("layer {}/{}", index + 1, wanted.len());
            let unpacked = self.layer(&layout, &temp, layer, &done, &what)?;
            done.push(unpacked);
        }
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

    /// Brings one layer: from the store, or unpacked against those below it.
    fn layer(
        &mut self,
        layout: &Layout,
        temp: &TempDir,
        wanted: &Wanted<'_>,
        below: &[Unpacked],
        what: &str,
    ) -> Result<Unpacked, ImageError> {
        let blob_digest = layout.digest(wanted.descriptor)?;
        let stored = match self.store.layer(&wanted.chain)? {
            Some(_) => Some(wanted.chain.clone()),
            None => {
                self.store.layer(wanted.diff_id)?.filter(|l| l.self_contained).map(|l| l.diff_id)
            }
        };
        let have_blob = self.store.blob_path(&blob_digest).exists();
        if let Some(key) = stored
            && have_blob
        {
            let dir = self.store.layer_dir(&key);
            let layer = NewLayer { key, fresh: None };
            return Ok(Unpacked { layer, dir, blob: (blob_digest, None) });
        }
        let (mut file, path) = layout.open_blob(wanted.descriptor)?;
        let copy_path = temp.path().join(format!("blob-{}", below.len()));
        let name = format!("{} {what}", layout.name());
        let (copy, found) = copy_in(blob_digest.algo(), &mut file, &path, &copy_path)?;
        expect(&name, "blob", &blob_digest, &found)?;
        let target = temp.dir(&format!("layer-{}", below.len()))?;
        let lowers: Vec<PathBuf> = below.iter().map(|l| l.dir.clone()).collect();
        let size = wanted.descriptor.size;
        let source = Source {
            name: &name,
            file: &copy,
            size,
            kind: Kind::Layer,
            compression: Some(wanted.compression),
            hash: wanted.diff_id.algo(),
        };
        let reporter = &mut *self.reporter;
        let mut progress = |done| reporter.progress(&name, done, size);
        let report = unpack::unpack(&source, &target, &lowers, &mut progress)?;
        expect(&name, "uncompressed layer", wanted.diff_id, &report.content)?;
        unpack::finish(&target)?;
        self.tell(&name, &report);
        let key = if report.self_contained { wanted.diff_id } else { &wanted.chain };
        let record = LayerRecord {
            version: VERSION,
            diff_id: wanted.diff_id.clone(),
            self_contained: report.self_contained,
            inodes: report.inodes,
            bytes: report.bytes,
        };
        let layer = NewLayer { key: key.clone(), fresh: Some((target.clone(), record)) };
        let blob = (blob_digest, (!have_blob).then_some(copy_path));
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
    for (descriptor, diff_id) in layers.iter().zip(diff_ids) {
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
        out.push(Wanted { descriptor, compression, diff_id, chain: next });
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
