//! What `docker save` writes: a tar archive with `manifest.json`, which lists images, each with its
//! configuration and layers. The older form has each layer as `ID/layer.tar`, the newer has blobs named
//! by digest. Neither holds a registry's manifest, so one is made, always the same for the same image.

use super::packed::Packed;
use super::source::{Blobs, MAX_JSON, bad, digest, json};
use super::{Config, Descriptor};
use crate::image::digest::{Algo, Digest, Hasher};
use crate::image::error::ImageError;
use crate::image::fetch::{MAX_LAYERS, Watch, copy_in, open_regular};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";

/// An archive by `docker save`.
#[derive(Debug)]
pub struct DockerArchive {
    path: PathBuf,
    name: String,
    packed: Packed,
    /// Where each blob of the chosen image is.
    places: BTreeMap<Digest, String>,
    /// The manifest that was made.
    manifest: Vec<u8>,
}

/// One image of `manifest.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

impl DockerArchive {
    /// Opens an archive and takes the image with this name, or the only one. Gives also where to start,
    /// and the image's full name if it has one.
    pub fn open(
        path: &Path,
        wanted: Option<&str>,
    ) -> Result<(Self, Descriptor, Option<String>), ImageError> {
        let name = format!("docker-archive:{}", path.display());
        let (file, _) = open_regular(path)?;
        let packed = Packed::open(file).map_err(|e| ImageError::bad(&name, e))?;
        let (places, manifest) = (BTreeMap::new(), Vec::new());
        let mut archive = Self { path: path.to_owned(), name, packed, places, manifest };
        if !archive.packed.has("manifest.json") {
            let text = "this is no archive by docker save: it has no file manifest.json";
            return Err(bad(&archive, text));
        }
        let listed: Vec<Listed> = json(&archive, "manifest.json", &archive.read("manifest.json")?)?;
        let (image, tag) = archive.one(listed, wanted)?;
        let start = archive.take(&image)?;
        Ok((archive, start, tag.map(|tag| full(&tag))))
    }

    /// The image that is meant, and the name by which it was found.
    fn one(
        &self,
        listed: Vec<Listed>,
        wanted: Option<&str>,
    ) -> Result<(Listed, Option<String>), ImageError> {
        let names: Vec<String> =
            listed.iter().flat_map(|image| image.repo_tags.iter().flatten()).cloned().collect();
        let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let mut found = Vec::new();
        for image in listed {
            let mut tags = image.repo_tags.iter().flatten();
            let tag = match wanted {
                None => tags.next().cloned(),
                Some(wanted) => match tags.find(|tag| fits(tag, wanted)) {
                    None => continue,
                    tag => tag.cloned(),
                },
            };
            found.push((image, tag));
        }
        match (found.len(), found.pop(), wanted) {
            (1, Some(image), _) => Ok(image),
            (0, _, None) => Err(bad(self, "it holds no image")),
            (0, _, Some(wanted)) => {
                Err(bad(self, format!("it has no image {wanted} (names: {names})")))
            }
            _ => {
                let text =
                    format!("it holds several images; say which, with :NAME (names: {names})");
                Err(bad(self, text))
            }
        }
    }

    /// Finds an image's blobs and makes its manifest.
    fn take(&mut self, image: &Listed) -> Result<Descriptor, ImageError> {
        let layers = image.layers.clone().unwrap_or_default();
        if layers.len() > MAX_LAYERS {
            return Err(bad(self, format!("the image has more than {MAX_LAYERS} layers")));
        }
        let config_bytes = self.read(&image.config)?;
        let config: Config = json(self, &image.config, &config_bytes)?;
        let config_digest = Digest::of(Algo::Sha256, &config_bytes);
        let descriptor = |kind: &str, digest: &Digest, size: u64| serde_json::json!({"mediaType": kind, "digest": digest.oci(), "size": size});
        let config_size = config_bytes.len() as u64;
        self.places.insert(config_digest.clone(), image.config.clone());
        let mut hashed: BTreeMap<&str, Digest> = BTreeMap::new();
        let mut list = Vec::new();
        for (index, path) in layers.iter().enumerate() {
            let (_, size) = self.part(path)?;
            let diff_id = config.rootfs.diff_ids.get(index);
            let digest = match hashed.get(path.as_str()) {
                Some(digest) => digest.clone(),
                None => self.layer_digest(path, diff_id)?,
            };
            hashed.insert(path, digest.clone());
            list.push(descriptor(LAYER, &digest, size));
            self.places.insert(digest, path.clone());
        }
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(CONFIG, &config_digest, config_size),
            "layers": list,
        });
        self.manifest = manifest.to_string().into_bytes();
        Ok(Descriptor {
            media_type: MANIFEST.to_owned(),
            digest: Digest::of(Algo::Sha256, &self.manifest).oci(),
            size: self.manifest.len() as u64,
            annotations: BTreeMap::new(),
            platform: None,
        })
    }

    /// The digest that a layer's bytes should have. Whether they have it is seen when they are copied.
    fn layer_digest(&self, path: &str, diff_id: Option<&Digest>) -> Result<Digest, ImageError> {
        if let Some((algo, hex)) = path.strip_prefix("blobs/").and_then(|p| p.split_once('/'))
            && let Ok(digest) = format!("{algo}:{hex}").parse()
        {
            return Ok(digest);
        }
        let io = |e: io::Error| ImageError::io("read", self.path.join(path), e);
        let (part, _) = self.part(path)?;
        let mut head = Vec::new();
        part.take(265).read_to_end(&mut head).map_err(io)?;
        if let Some(diff_id) = diff_id.filter(|_| head.get(257..262) == Some(b"ustar")) {
            // Uncompressed, as `docker save` has it.
            return Ok(diff_id.clone());
        }
        let (mut part, _) = self.part(path)?;
        let mut hasher = Hasher::new(Algo::Sha256);
        let mut buffer = vec![0; 256 << 10];
        loop {
            let count = part.read(&mut buffer).map_err(io)?;
            if count == 0 {
                return Ok(hasher.finish());
            }
            hasher.update(buffer.get(..count).unwrap_or_default());
        }
    }

    fn part(&self, path: &str) -> Result<(super::packed::Part<'_>, u64), ImageError> {
        self.packed.get(path).ok_or_else(|| bad(self, format!("it has no file {path}")))
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, ImageError> {
        let (part, size) = self.part(path)?;
        if size > MAX_JSON {
            return Err(bad(self, format!("{path} is larger than {MAX_JSON} bytes")));
        }
        let mut bytes = Vec::new();
        let mut part = part;
        part.read_to_end(&mut bytes)
            .map_err(|e| ImageError::io("read", self.path.join(path), e))?;
        Ok(bytes)
    }

    fn place(&self, descriptor: &Descriptor) -> Result<&str, ImageError> {
        let digest = digest(self, descriptor)?;
        let lost = || bad(self, format!("it has no blob {digest}"));
        self.places.get(&digest).map(String::as_str).ok_or_else(lost)
    }
}

impl Blobs for DockerArchive {
    fn name(&self) -> &str {
        &self.name
    }

    fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, ImageError> {
        if descriptor.digest == Digest::of(Algo::Sha256, &self.manifest).oci() {
            return Ok(self.manifest.clone());
        }
        self.read(self.place(descriptor)?)
    }

    fn copy(
        &self,
        descriptor: &Descriptor,
        to: &Path,
        watch: &Watch<'_>,
    ) -> Result<(File, Digest), ImageError> {
        let path = self.place(descriptor)?;
        let (part, _) = self.part(path)?;
        let algo = digest(self, descriptor)?.algo();
        copy_in(algo, &mut watch.reader(part), &self.path.join(path), to)
    }
}

/// Whether a name of an archive is the one that is asked for: whole, without its host and path, or its
/// tag alone.
fn fits(tag: &str, wanted: &str) -> bool {
    let tail = tag.rsplit('/').next().unwrap_or(tag);
    let full = full(tag);
    wanted == tag || wanted == full || wanted == tail || tail.rsplit(':').next() == Some(wanted)
}

/// A name with its host, as Docker reads a short one.
fn full(name: &str) -> String {
    match name.split_once('/') {
        None => format!("docker.io/library/{name}"),
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => name.to_owned(),
        Some(_) => format!("docker.io/{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{fits, full};

    #[test]
    fn short_names_are_dockers() {
        assert_eq!(full("nginx:1"), "docker.io/library/nginx:1");
        assert_eq!(full("team/app:1"), "docker.io/team/app:1");
        assert_eq!(full("localhost/app:1"), "localhost/app:1");
        assert_eq!(full("reg.example:5000/app:1"), "reg.example:5000/app:1");
        for wanted in ["docker.io/library/nginx:1", "nginx:1", "1"] {
            assert!(fits("nginx:1", wanted), "{wanted}");
        }
        assert!(fits("reg.example:5000/app:1", "app:1") && !fits("nginx:1", "nginx"));
    }
}
