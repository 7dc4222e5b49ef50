//! The directory: `oci-layout`, `index.json`, `blobs/`.

use super::{Config, Descriptor, Document, Index, Manifest, PlatformRecord, document, is_config};
use crate::image::digest::Digest;
use crate::image::error::ImageError;
use rustix::fs::{Mode, OFlags};
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Largest JSON document.
const MAX_JSON: u64 = 8 << 20;
/// Indexes in indexes.
const MAX_NESTING: usize = 4;
/// Where a layout's index keeps the tag.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// Where containerd's tools keep the full name.
const FULL_NAME: &str = "io.containerd.image.name";

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

/// A layout on disk.
#[derive(Debug)]
pub struct Layout {
    dir: PathBuf,
    name: String,
}

/// One platform's image in a layout.
#[derive(Debug)]
pub struct Found {
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
    /// The tag or name that the index gives it.
    pub ref_name: Option<String>,
}

impl Layout {
    /// Opens a layout.
    pub fn open(dir: &Path) -> Result<Self, ImageError> {
        let layout = Self { dir: dir.to_owned(), name: format!("oci:{}", dir.display()) };
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Marker {
            image_layout_version: String,
        }
        if !dir.join("oci-layout").exists() {
            return Err(layout.bad("this is no OCI image layout: it has no file oci-layout"));
        }
        let marker: Marker = layout.json("oci-layout", &layout.read("oci-layout", None)?)?;
        if !marker.image_layout_version.starts_with("1.") {
            let version = marker.image_layout_version;
            return Err(layout.bad(format!("its layout version {version:?} is not supported")));
        }
        Ok(layout)
    }

    /// What it is called in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn bad(&self, problem: impl Into<String>) -> ImageError {
        ImageError::bad(self.name.clone(), problem)
    }

    /// Finds the image with this tag, or the only one, for a platform.
    pub fn find(&self, tag: Option<&str>, platform: &Platform) -> Result<Found, ImageError> {
        let index: Index = self.json("index.json", &self.read("index.json", None)?)?;
        let mut here = self.tagged(index.manifests, tag)?;
        let ref_name = [FULL_NAME, REF_NAME].iter().find_map(|k| here.annotations.get(*k)).cloned();
        for _ in 0..MAX_NESTING {
            let bytes = self.document(&here)?;
            let kind = self.kind(&here, &bytes)?;
            match kind {
                Document::Index => {
                    let index: Index = self.json(&here.digest, &bytes)?;
                    here = self.for_platform(index.manifests, platform)?;
                }
                Document::Manifest => return self.image(&here, bytes, ref_name, platform),
                Document::Other => {
                    let problem = format!(
                        "{} has the media type {:?}, which is no image",
                        here.digest, here.media_type
                    );
                    return Err(self.bad(problem));
                }
            }
        }
        Err(self.bad("its indexes are nested too deeply"))
    }

    fn tagged(
        &self,
        manifests: Vec<Descriptor>,
        tag: Option<&str>,
    ) -> Result<Descriptor, ImageError> {
        let names: Vec<&str> = manifests
            .iter()
            .filter_map(|m| m.annotations.get(REF_NAME))
            .map(String::as_str)
            .collect();
        let listed = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let fits = |descriptor: &Descriptor| match tag {
            None => true,
            Some(tag) => descriptor.annotations.get(REF_NAME).is_some_and(|name| {
                name == tag || name.rsplit_once(':').is_some_and(|(_, last)| last == tag)
            }),
        };
        let mut found: Vec<Descriptor> = manifests.iter().filter(|m| fits(m)).cloned().collect();
        match (found.len(), found.pop()) {
            (1, Some(descriptor)) => Ok(descriptor),
            (0, _) | (_, None) => Err(match tag {
                Some(tag) => self.bad(format!("it has no tag {tag} (tags: {listed})")),
                None => self.bad("its index is empty"),
            }),
            _ => {
                Err(self.bad(format!("it holds several images; say oci:DIR:TAG (tags: {listed})")))
            }
        }
    }

    fn for_platform(
        &self,
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
            self.bad(format!("it has no image for linux/{arch} (platforms: {})", shown.join(", ")))
        })
    }

    /// The kind of a document: by its descriptor, and by itself where that is silent.
    fn kind(&self, descriptor: &Descriptor, bytes: &[u8]) -> Result<Document, ImageError> {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Typed {
            media_type: Option<String>,
        }
        let own = self.json::<Typed>(&descriptor.digest, bytes)?.media_type.unwrap_or_default();
        let said = &descriptor.media_type;
        if !own.is_empty() && !said.is_empty() && own != *said {
            let digest = &descriptor.digest;
            return Err(
                self.bad(format!("{digest} is said to be {said:?} and says {own:?} itself"))
            );
        }
        Ok(document(if said.is_empty() { &own } else { said }))
    }

    fn image(
        &self,
        descriptor: &Descriptor,
        manifest_bytes: Vec<u8>,
        ref_name: Option<String>,
        platform: &Platform,
    ) -> Result<Found, ImageError> {
        let manifest: Manifest = self.json(&descriptor.digest, &manifest_bytes)?;
        if manifest.schema_version != 2 {
            let version = manifest.schema_version;
            return Err(self.bad(format!("manifest schema version {version} is not supported")));
        }
        if !is_config(&manifest.config.media_type) {
            let kind = &manifest.config.media_type;
            return Err(self.bad(format!(
                "its configuration is of type {kind:?}: this is an artifact, not an image"
            )));
        }
        let config_bytes = self.document(&manifest.config)?;
        let config: Config = self.json(&manifest.config.digest, &config_bytes)?;
        if config.os != "linux" || config.architecture != platform.arch {
            let (os, arch) = (&config.os, &config.architecture);
            let host = platform.arch;
            return Err(
                self.bad(format!("the image is for {os}/{arch}, this host is linux/{host}"))
            );
        }
        Ok(Found {
            digest: self.digest(descriptor)?,
            config_digest: self.digest(&manifest.config)?,
            manifest,
            manifest_bytes,
            config,
            config_bytes,
            ref_name,
        })
    }

    /// A descriptor's digest.
    pub fn digest(&self, descriptor: &Descriptor) -> Result<Digest, ImageError> {
        if descriptor.digest.contains(':') {
            descriptor.digest.parse().map_err(|e| self.bad(format!("{e}")))
        } else {
            Err(self.bad(format!("{:?} is not a digest", descriptor.digest)))
        }
    }

    /// Opens a blob of the right size; its bytes are compared with the digest by whoever reads them.
    pub fn open_blob(&self, descriptor: &Descriptor) -> Result<(File, PathBuf), ImageError> {
        let digest = self.digest(descriptor)?;
        let path = format!("blobs/{}/{}", digest.algo().name(), digest.hex());
        let file = self.open_file(&path)?;
        let full = self.dir.join(path);
        let size = file.metadata().map_err(|e| ImageError::io("stat", &full, e))?.len();
        if size != descriptor.size {
            let wanted = descriptor.size;
            return Err(self
                .bad(format!("the blob {digest} has {size} bytes, its descriptor says {wanted}")));
        }
        Ok((file, full))
    }

    /// Reads and verifies a JSON blob.
    fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, ImageError> {
        let digest = self.digest(descriptor)?;
        let path = format!("blobs/{}/{}", digest.algo().name(), digest.hex());
        let bytes = self.read(&path, Some(descriptor.size))?;
        let found = Digest::of(digest.algo(), &bytes);
        if found != digest {
            return Err(self.bad(format!("the blob {digest} is damaged: its digest is {found}")));
        }
        Ok(bytes)
    }

    fn open_file(&self, path: &str) -> Result<File, ImageError> {
        let full = self.dir.join(path);
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        let fd = rustix::fs::open(&full, flags, Mode::empty())
            .map_err(|e| ImageError::io("open", &full, e))?;
        let file = File::from(fd);
        if file.metadata().map_err(|e| ImageError::io("stat", &full, e))?.is_file() {
            Ok(file)
        } else {
            Err(self.bad(format!("{path} is not a regular file")))
        }
    }

    fn read(&self, path: &str, size: Option<u64>) -> Result<Vec<u8>, ImageError> {
        let file = self.open_file(path)?;
        let mut bytes = Vec::new();
        let full = self.dir.join(path);
        file.take(MAX_JSON + 1)
            .read_to_end(&mut bytes)
            .map_err(|e| ImageError::io("read", full, e))?;
        let length = bytes.len() as u64;
        if length > MAX_JSON {
            return Err(self.bad(format!("{path} is larger than {MAX_JSON} bytes")));
        }
        match size {
            Some(size) if size != length => {
                Err(self.bad(format!("{path} has {length} bytes, its descriptor says {size}")))
            }
            _ => Ok(bytes),
        }
    }

    fn json<T: DeserializeOwned>(&self, what: &str, bytes: &[u8]) -> Result<T, ImageError> {
        serde_json::from_slice(bytes).map_err(|e| self.bad(format!("{what} cannot be read: {e}")))
    }
}
