//! The small files of the store. Each says its version.

use crate::image::digest::Digest;
use crate::image::error::ImageError;
use crate::image::store::{Evidence, ImageId};
use crate::image::trust::Proof;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

/// Version of every record here.
pub(crate) const VERSION: u32 = 1;
/// Largest record read.
const MAX_RECORD: u64 = 16 << 20;

/// What an image was before it was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// An App Container Image.
    Aci,
    /// An OCI (or Docker) image.
    Oci,
}

/// `images/ID/image.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ImageRecord {
    pub version: u32,
    pub id: ImageId,
    pub format: Format,
    /// Topmost first.
    pub layers: Vec<Digest>,
    pub blobs: Vec<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Digest>,
    /// Images that it lies on, the first lowest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dependencies: Vec<ImageId>,
    /// SHA-256 of the documents beside it; older records have none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub documents: BTreeMap<String, Digest>,
    pub stored: String,
}

/// `images/ID/evidence`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct EvidenceRecord {
    pub version: u32,
    #[serde(flatten)]
    pub evidence: Evidence,
    /// What vouches for it, name by name; older records have none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub proofs: Vec<Proof>,
    /// What was fetched.
    pub source: String,
    pub recorded: String,
}

/// `layers/ALGO/HEX/meta`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LayerRecord {
    pub version: u32,
    /// Digest of the uncompressed archive.
    pub diff_id: Digest,
    /// The layer means the same over any other layers.
    pub self_contained: bool,
    pub inodes: u64,
    pub bytes: u64,
    /// SHA-256 of the list `files`; older records have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<Digest>,
}

/// `urls/…`: what a web address gave.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct UrlRecord {
    pub version: u32,
    pub url: String,
    pub id: ImageId,
    /// The server's name for what it gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// Seconds since 1970 until which it need not be asked again.
    pub fresh_until: u64,
}

/// `refs/…`: a name with its labels, and what it means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RefRecord {
    pub version: u32,
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub id: ImageId,
}

impl RefRecord {
    /// Its file name: readable where it can be, a digest where it would be too long.
    pub fn file_name(&self) -> String {
        let mut text = self.name.clone();
        for (key, value) in &self.labels {
            text.push_str(&format!(",{key}={value}"));
        }
        let mut escaped = String::new();
        for byte in text.bytes() {
            if byte.is_ascii_alphanumeric() || b"-_.,=".contains(&byte) {
                escaped.push(char::from(byte));
            } else {
                escaped.push_str(&format!("%{byte:02X}"));
            }
        }
        if escaped.len() > 200 {
            use crate::image::digest::Algo;
            return Digest::of(Algo::Sha256, text.as_bytes()).to_string();
        }
        escaped
    }
}

/// A record with a version.
pub(crate) trait Versioned {
    /// The version it was written with.
    fn version(&self) -> u32;
}

macro_rules! versioned {
    ($($type:ty),*) => { $(impl Versioned for $type {
        fn version(&self) -> u32 { self.version }
    })* };
}
versioned!(ImageRecord, EvidenceRecord, LayerRecord, RefRecord, UrlRecord);

/// Reads a record; nothing when there is none.
pub(crate) fn load<T: DeserializeOwned + Versioned>(path: &Path) -> Result<Option<T>, ImageError> {
    let Some(bytes) = read_limited(path)? else { return Ok(None) };
    let damaged = |e: &dyn std::fmt::Display| {
        ImageError::bad(path.display().to_string(), format!("the record is damaged: {e}"))
    };
    let value: T = serde_json::from_slice(&bytes).map_err(|e| damaged(&e))?;
    if value.version() != VERSION {
        return Err(damaged(&format!("version {} is not known", value.version())));
    }
    Ok(Some(value))
}

/// Reads a small file; nothing when there is none.
pub(crate) fn read_limited(path: &Path) -> Result<Option<Vec<u8>>, ImageError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(ImageError::io("open", path, error)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_RECORD).read_to_end(&mut bytes).map_err(|e| ImageError::io("read", path, e))?;
    Ok(Some(bytes))
}

/// A record as it is written.
pub(crate) fn bytes(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(value).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

/// Writes a file whole or not at all: beside, synced, renamed.
pub(crate) fn replace(path: &Path, temp: &Path, content: &[u8]) -> Result<(), ImageError> {
    let write = |e| ImageError::io("write", path, e);
    let mut file = File::create(temp).map_err(write)?;
    file.write_all(content).and_then(|()| file.sync_all()).map_err(write)?;
    std::fs::rename(temp, path).map_err(write)?;
    match path.parent() {
        Some(dir) => File::open(dir).and_then(|dir| dir.sync_all()).map_err(write),
        None => Ok(()),
    }
}
