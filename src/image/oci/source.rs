//! Where the blobs of an OCI image come from: a layout, an archive, a registry. What they hold is read
//! and judged in one place, whatever the source.

use super::{Config, Descriptor, Document, Index, Manifest, PlatformRecord, document, is_config};
use crate::image::digest::Digest;
use crate::image::error::ImageError;
use crate::image::fetch::Watch;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::path::Path;

/// Largest JSON document.
pub(crate) const MAX_JSON: u64 = 8 << 20;
/// Indexes in indexes.
const MAX_NESTING: usize = 4;

/// A source of blobs. Nothing it says is believed: whoever asks compares digests and sizes.
pub(crate) trait Blobs: Sync {
    /// What it is called in messages.
    fn name(&self) -> &str;

    /// The bytes of a manifest or configuration; more than [`MAX_JSON`] are an error.
    fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, ImageError>;

    /// Copies a blob to `to`, a file that it makes in the store's own space, and says what the bytes
    /// are. Another number of bytes than the descriptor has is an error.
    fn copy(
        &self,
        descriptor: &Descriptor,
        to: &Path,
        watch: &Watch<'_>,
    ) -> Result<(File, Digest), ImageError>;

    /// How many blobs it is worth copying at once.
    fn parallel(&self) -> usize {
        1
    }
}

/// An error of what a source holds.
pub(crate) fn bad(source: &dyn Blobs, problem: impl Into<String>) -> ImageError {
    ImageError::bad(source.name(), problem)
}

/// What this host runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    /// Architecture in Go's words.
    pub arch: &'static str,
}

impl Platform {
    /// This host's.
    pub fn host() -> Self {
        let arch = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "x86" => "386",
            "aarch64" => "arm64",
            other => other,
        };
        Self { arch }
    }

    fn fits(&self, platform: &PlatformRecord) -> bool {
        platform.os == "linux" && platform.architecture == self.arch
    }
}

/// One platform's image.
#[derive(Debug)]
pub(crate) struct Found {
    /// Digest of the manifest: the image's id.
    pub digest: Digest,
    /// The manifest.
    pub manifest: Manifest,
    /// Its bytes.
    pub manifest_bytes: Vec<u8>,
    /// The configuration.
    pub config: Config,
    /// Digest of the configuration.
    pub config_digest: Digest,
    /// Its bytes.
    pub config_bytes: Vec<u8>,
}

/// Which image a reference means.
#[derive(Debug)]
pub(crate) enum Chosen {
    /// One that is known already; nothing more was read.
    Known(Digest),
    /// One that is not.
    Found(Box<Found>),
}

/// From a document to the image for a platform. An image that `known` says yes to is not read.
pub(crate) fn choose(
    source: &dyn Blobs,
    start: Descriptor,
    platform: &Platform,
    known: &dyn Fn(&Digest) -> bool,
) -> Result<Chosen, ImageError> {
    let mut here = start;
    for _ in 0..MAX_NESTING {
        if document(&here.media_type) == Document::Manifest {
            let digest = digest(source, &here)?;
            if known(&digest) {
                return Ok(Chosen::Known(digest));
            }
        }
        let bytes = read(source, &here)?;
        match kind(source, &here, &bytes)? {
            Document::Index => {
                let index: Index = json(source, &here.digest, &bytes)?;
                here = for_platform(source, index.manifests, platform)?;
            }
            Document::Manifest => {
                return image(source, &here, bytes, platform).map(|f| Chosen::Found(Box::new(f)));
            }
            Document::Old => {
                let text = format!(
                    "{} is a manifest of Docker's schema 1, which is not supported: it names no \
                     digest of the image",
                    here.digest
                );
                return Err(bad(source, text));
            }
            Document::Other => {
                let problem = format!(
                    "{} has the media type {:?}, which is no image",
                    here.digest, here.media_type
                );
                return Err(bad(source, problem));
            }
        }
    }
    Err(bad(source, "its indexes are nested too deeply"))
}

fn for_platform(
    source: &dyn Blobs,
    manifests: Vec<Descriptor>,
    platform: &Platform,
) -> Result<Descriptor, ImageError> {
    let shown: Vec<String> = manifests
        .iter()
        .filter_map(|m| m.platform.as_ref())
        .map(|p| format!("{}/{}", p.os, p.architecture))
        .collect();
    let fits = |m: &Descriptor| m.platform.as_ref().is_some_and(|p| platform.fits(p));
    manifests.into_iter().find(fits).ok_or_else(|| {
        let arch = platform.arch;
        let shown = shown.join(", ");
        bad(source, format!("it has no image for linux/{arch} (platforms: {shown})"))
    })
}

/// The kind of a document: by its descriptor, and by itself where that is silent.
fn kind(source: &dyn Blobs, descriptor: &Descriptor, bytes: &[u8]) -> Result<Document, ImageError> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Typed {
        media_type: Option<String>,
    }
    let own = json::<Typed>(source, &descriptor.digest, bytes)?.media_type.unwrap_or_default();
    let said = &descriptor.media_type;
    if !own.is_empty() && !said.is_empty() && own != *said {
        let digest = &descriptor.digest;
        let text = format!("{digest} is said to be {said:?} and says {own:?} itself");
        return Err(bad(source, text));
    }
    Ok(document(if said.is_empty() { &own } else { said }))
}

fn image(
    source: &dyn Blobs,
    descriptor: &Descriptor,
    manifest_bytes: Vec<u8>,
    platform: &Platform,
) -> Result<Found, ImageError> {
    let manifest: Manifest = json(source, &descriptor.digest, &manifest_bytes)?;
    if manifest.schema_version != 2 {
        let version = manifest.schema_version;
        return Err(bad(source, format!("manifest schema version {version} is not supported")));
    }
    if !is_config(&manifest.config.media_type) {
        let kind = &manifest.config.media_type;
        let text =
            format!("its configuration is of type {kind:?}: this is an artifact, not an image");
        return Err(bad(source, text));
    }
    let config_bytes = read(source, &manifest.config)?;
    let config: Config = json(source, &manifest.config.digest, &config_bytes)?;
    if config.os != "linux" || config.architecture != platform.arch {
        let (os, arch) = (&config.os, &config.architecture);
        let host = platform.arch;
        return Err(bad(
            source,
            format!("the image is for {os}/{arch}, this host is linux/{host}"),
        ));
    }
    Ok(Found {
        digest: digest(source, descriptor)?,
        config_digest: digest(source, &manifest.config)?,
        manifest,
        manifest_bytes,
        config,
        config_bytes,
    })
}

/// A descriptor's digest.
pub(crate) fn digest(source: &dyn Blobs, descriptor: &Descriptor) -> Result<Digest, ImageError> {
    if descriptor.digest.contains(':') {
        descriptor.digest.parse().map_err(|e| bad(source, format!("{e}")))
    } else {
        Err(bad(source, format!("{:?} is not a digest", descriptor.digest)))
    }
}

/// Reads a document and compares it with its descriptor.
fn read(source: &dyn Blobs, descriptor: &Descriptor) -> Result<Vec<u8>, ImageError> {
    let digest = digest(source, descriptor)?;
    let bytes = source.document(descriptor)?;
    let (length, wanted) = (bytes.len() as u64, descriptor.size);
    if length != wanted {
        let text = format!("the blob {digest} has {length} bytes, its descriptor says {wanted}");
        return Err(bad(source, text));
    }
    let found = Digest::of(digest.algo(), &bytes);
    if found != digest {
        let text = format!("the blob {digest} is damaged: its digest is {found}");
        return Err(bad(source, text));
    }
    Ok(bytes)
}

/// Reads JSON.
pub(crate) fn json<T: DeserializeOwned>(
    source: &dyn Blobs,
    what: &str,
    bytes: &[u8],
) -> Result<T, ImageError> {
    serde_json::from_slice(bytes).map_err(|e| bad(source, format!("{what} cannot be read: {e}")))
}
