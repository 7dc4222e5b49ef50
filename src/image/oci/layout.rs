//! The layout: `oci-layout`, `index.json`, `blobs/`, in a directory or in a tar archive.

use super::packed::Packed;
use super::source::{Blobs, MAX_JSON, bad, digest, json};
use super::{Descriptor, Index};
use crate::image::digest::Digest;
use crate::image::error::ImageError;
use crate::image::fetch::{Watch, copy_in, open_regular};
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Where a layout's index keeps the tag.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// Where containerd's tools keep the full name.
const FULL_NAME: &str = "io.containerd.image.name";

/// A layout on disk.
#[derive(Debug)]
pub struct Layout {
    path: PathBuf,
    name: String,
    /// The archive, when it is one.
    packed: Option<Packed>,
}

impl Layout {
    /// Opens a layout.
    pub fn open(dir: &Path) -> Result<Self, ImageError> {
        let name = format!("oci:{}", dir.display());
        Self { path: dir.to_owned(), name, packed: None }.checked()
    }

    /// Opens a layout in a tar archive.
    pub fn open_archive(path: &Path) -> Result<Self, ImageError> {
        let name = format!("oci-archive:{}", path.display());
        let (file, _) = open_regular(path)?;
        let packed = Packed::open(file).map_err(|e| ImageError::bad(&name, e))?;
        Self { path: path.to_owned(), name, packed: Some(packed) }.checked()
    }

    fn checked(self) -> Result<Self, ImageError> {
        let layout = self;
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Marker {
            image_layout_version: String,
        }
        let found = match &layout.packed {
            Some(packed) => packed.has("oci-layout"),
            None => layout.path.join("oci-layout").exists(),
        };
        if !found {
            return Err(bad(&layout, "this is no OCI image layout: it has no file oci-layout"));
        }
        let marker: Marker = json(&layout, "oci-layout", &layout.read("oci-layout")?)?;
        if !marker.image_layout_version.starts_with("1.") {
            let version = marker.image_layout_version;
            return Err(bad(&layout, format!("its layout version {version:?} is not supported")));
        }
        Ok(layout)
    }

    /// The document with this tag, or the only one, and the tag or name that the index gives it.
    pub fn start(&self, tag: Option<&str>) -> Result<(Descriptor, Option<String>), ImageError> {
        let index: Index = json(self, "index.json", &self.read("index.json")?)?;
        tagged(self, index, tag)
    }

    /// One file of the layout, how long it is, and its path for messages.
    fn open_file(&self, path: &str) -> Result<(Box<dyn Read + '_>, u64, PathBuf), ImageError> {
        let full = self.path.join(path);
        if let Some(packed) = &self.packed {
            let (part, size) =
                packed.get(path).ok_or_else(|| bad(self, format!("it has no file {path}")))?;
            return Ok((Box::new(part), size, full));
        }
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        let fd = rustix::fs::open(&full, flags, Mode::empty())
            .map_err(|e| ImageError::io("open", &full, e))?;
        let file = File::from(fd);
        let found = file.metadata().map_err(|e| ImageError::io("stat", &full, e))?;
        if found.is_file() {
            Ok((Box::new(file), found.len(), full))
        } else {
            Err(bad(self, format!("{path} is not a regular file")))
        }
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, ImageError> {
        let (file, _, full) = self.open_file(path)?;
        let mut bytes = Vec::new();
        file.take(MAX_JSON + 1)
            .read_to_end(&mut bytes)
            .map_err(|e| ImageError::io("read", full, e))?;
        if bytes.len() as u64 > MAX_JSON {
            return Err(bad(self, format!("{path} is larger than {MAX_JSON} bytes")));
        }
        Ok(bytes)
    }
}

impl Blobs for Layout {
    fn name(&self) -> &str {
        &self.name
    }

    fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, ImageError> {
        self.read(&blob_path(&digest(self, descriptor)?))
    }

    fn copy(
        &self,
        descriptor: &Descriptor,
        to: &Path,
        watch: &Watch<'_>,
    ) -> Result<(File, Digest), ImageError> {
        let digest = digest(self, descriptor)?;
        let (file, size, full) = self.open_file(&blob_path(&digest))?;
        if size != descriptor.size {
            let wanted = descriptor.size;
            let text = format!("the blob {digest} has {size} bytes, its descriptor says {wanted}");
            return Err(bad(self, text));
        }
        copy_in(digest.algo(), &mut watch.reader(file), &full, to)
    }
}

fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algo().name(), digest.hex())
}

/// The document that a layout's index lists under a tag, or the only one it lists.
fn tagged(
    source: &dyn Blobs,
    index: Index,
    tag: Option<&str>,
) -> Result<(Descriptor, Option<String>), ImageError> {
    let manifests = index.manifests;
    let names: Vec<&str> =
        manifests.iter().filter_map(|m| m.annotations.get(REF_NAME)).map(String::as_str).collect();
    let listed = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let fits = |descriptor: &Descriptor| match tag {
        None => true,
        Some(tag) => descriptor.annotations.get(REF_NAME).is_some_and(|name| {
            name == tag || name.rsplit_once(':').is_some_and(|(_, last)| last == tag)
        }),
    };
    let mut found: Vec<Descriptor> = manifests.iter().filter(|m| fits(m)).cloned().collect();
    match (found.len(), found.pop()) {
        (1, Some(descriptor)) => {
            let annotations = &descriptor.annotations;
            let name = [FULL_NAME, REF_NAME].iter().find_map(|k| annotations.get(*k)).cloned();
            Ok((descriptor, name))
        }
        (0, _) | (_, None) => Err(match tag {
            Some(tag) => bad(source, format!("it has no tag {tag} (tags: {listed})")),
            None => bad(source, "its index is empty"),
        }),
        _ => {
            let text = format!("it holds several images; say which, with :TAG (tags: {listed})");
            Err(bad(source, text))
        }
    }
}
