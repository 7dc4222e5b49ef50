//! OCI image layouts: from a directory and a tag to one platform's manifest, configuration and layers.

pub mod convert;
mod docker;
mod layout;
mod packed;
pub(crate) mod source;

pub use docker::DockerArchive;
pub use layout::Layout;
pub use source::Platform;

use crate::image::digest::Digest;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Points at a blob.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What it is.
    #[serde(default)]
    pub media_type: String,
    /// Its digest, as written.
    pub digest: String,
    /// Its size in bytes.
    pub size: u64,
    /// Free data; the tag among it.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// What it runs on, in an index.
    #[serde(default)]
    pub platform: Option<PlatformRecord>,
}

/// A platform as an index writes it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct PlatformRecord {
    /// Architecture in Go's words.
    #[serde(default)]
    pub architecture: String,
    /// Operating system.
    #[serde(default)]
    pub os: String,
    /// Variant of the architecture.
    #[serde(default)]
    pub variant: Option<String>,
}

/// An index: a list of manifests.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    #[serde(default)]
    pub schema_version: u32,
    /// What is listed.
    #[serde(default)]
    pub manifests: Vec<Descriptor>,
}

/// A manifest: one platform's configuration and layers.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    #[serde(default)]
    pub schema_version: u32,
    /// The configuration.
    pub config: Descriptor,
    /// The layers, bottom first.
    #[serde(default)]
    pub layers: Vec<Descriptor>,
    /// Free data.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

/// An image configuration.
#[derive(Clone, Debug, Deserialize)]
pub struct Config {
    /// When it was made.
    #[serde(default)]
    pub created: Option<String>,
    /// Who made it.
    #[serde(default)]
    pub author: Option<String>,
    /// Operating system.
    #[serde(default)]
    pub os: String,
    /// Architecture.
    #[serde(default)]
    pub architecture: String,
    /// Variant of the architecture.
    #[serde(default)]
    pub variant: Option<String>,
    /// How to run it.
    #[serde(default)]
    pub config: Option<RunConfig>,
    /// The uncompressed layers.
    pub rootfs: RootFs,
}

/// The uncompressed layers.
#[derive(Clone, Debug, Deserialize)]
pub struct RootFs {
    /// Digests of the uncompressed layers, bottom first.
    #[serde(default)]
    pub diff_ids: Vec<Digest>,
}

/// How to run an image.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RunConfig {
    /// User and group.
    pub user: String,
    /// Environment.
    pub env: Option<Vec<String>>,
    /// Program.
    pub entrypoint: Option<Vec<String>>,
    /// Arguments, or program and arguments.
    pub cmd: Option<Vec<String>>,
    /// Places for volumes.
    pub volumes: Option<BTreeMap<String, serde_json::Value>>,
    /// Working directory.
    pub working_dir: String,
    /// Ports.
    pub exposed_ports: Option<BTreeMap<String, serde_json::Value>>,
    /// Labels.
    pub labels: Option<BTreeMap<String, String>>,
    /// Signal to stop with.
    pub stop_signal: Option<String>,
}

/// What kind of document a media type announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Document {
    /// A list of manifests.
    Index,
    /// One platform's manifest.
    Manifest,
    /// A manifest of the first kind that Docker had.
    Old,
    /// Something else.
    Other,
}

/// Reads a media type.
pub fn document(media_type: &str) -> Document {
    match media_type {
        "application/vnd.oci.image.index.v1+json"
        | "application/vnd.docker.distribution.manifest.list.v2+json" => Document::Index,
        "application/vnd.oci.image.manifest.v1+json"
        | "application/vnd.docker.distribution.manifest.v2+json" => Document::Manifest,
        "application/vnd.docker.distribution.manifest.v1+json"
        | "application/vnd.docker.distribution.manifest.v1+prettyjws" => Document::Old,
        _ => Document::Other,
    }
}

/// Whether a media type is an image configuration's.
pub fn is_config(media_type: &str) -> bool {
    media_type == "application/vnd.oci.image.config.v1+json"
        || media_type == "application/vnd.docker.container.image.v1+json"
}

/// Whether a media type is a layer's. How it is compressed say its bytes: not everybody who writes
/// registries keeps to the type.
pub fn is_layer(media_type: &str) -> bool {
    matches!(
        media_type,
        "application/vnd.oci.image.layer.v1.tar"
            | "application/vnd.oci.image.layer.v1.tar+gzip"
            | "application/vnd.oci.image.layer.v1.tar+zstd"
            | "application/vnd.docker.image.rootfs.diff.tar"
            | "application/vnd.docker.image.rootfs.diff.tar.gzip"
            | "application/vnd.docker.image.rootfs.diff.tar.zstd"
    )
}
