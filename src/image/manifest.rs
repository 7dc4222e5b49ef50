//! The appc image manifest: what an image says about itself. OCI configurations are converted to it.

mod check;

pub use check::ManifestError;
pub(crate) use check::rfc3339;

use crate::image::name::{AcIdentifier, AcName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The version of the appc specification that rocket writes.
pub const AC_VERSION: &str = "0.8.11";
/// Annotation that carries an OCI image's stop signal.
pub const STOP_SIGNAL: &str = "rocket/oci/stop-signal";

/// An appc ImageManifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageManifest {
    /// Always `ImageManifest`.
    pub ac_kind: String,
    /// Version of the specification.
    pub ac_version: String,
    /// The image's name.
    pub name: AcIdentifier,
    /// Labels: version, os, arch and free ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<Label>,
    /// How to run it; absent in images that are only depended on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<App>,
    /// Images that lie below this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dependencies: Vec<Dependency>,
    /// Paths to keep of the rendered tree; empty keeps all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub path_whitelist: Vec<String>,
    /// Free data.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub annotations: Vec<Annotation>,
}

impl ImageManifest {
    /// An empty manifest of this name.
    pub fn new(name: AcIdentifier) -> Self {
        Self {
            ac_kind: "ImageManifest".to_owned(),
            ac_version: AC_VERSION.to_owned(),
            name,
            labels: Vec::new(),
            app: None,
            dependencies: Vec::new(),
            path_whitelist: Vec::new(),
            annotations: Vec::new(),
        }
    }

    /// Reads and validates a manifest.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        let manifest: Self = serde_json::from_slice(bytes).map_err(ManifestError::Json)?;
        manifest.validate()?;
        Ok(manifest)
    }

    /// The manifest as JSON for people and for archives.
    pub fn to_json(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec_pretty(self).unwrap_or_default();
        text.push(b'\n');
        text
    }

    /// A label's value.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|l| l.name.as_str() == name).map(|l| l.value.as_str())
    }

    /// An annotation's value.
    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.annotations.iter().find(|a| a.name.as_str() == name).map(|a| a.value.as_str())
    }

    /// All labels, sorted.
    pub fn label_map(&self) -> BTreeMap<String, String> {
        self.labels.iter().map(|l| (l.name.to_string(), l.value.clone())).collect()
    }

    /// The signal an OCI image wants to be stopped with, as written there (`SIGQUIT`, `3`).
    pub fn stop_signal(&self) -> Option<&str> {
        self.annotation(STOP_SIGNAL)
    }
}

/// A label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// Its name.
    pub name: AcIdentifier,
    /// Its value.
    pub value: String,
}

/// An annotation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Annotation {
    /// Its name.
    pub name: AcIdentifier,
    /// Its value.
    pub value: String,
}

/// How to run an image.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct App {
    /// Program and arguments; a program without `/` is searched in PATH.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exec: Vec<String>,
    /// User: name, number, or a path whose owner is meant.
    pub user: String,
    /// Group: name, number, or a path whose group is meant.
    pub group: String,
    /// More groups, by number.
    #[serde(default, rename = "supplementaryGIDs", skip_serializing_if = "Vec::is_empty")]
    pub supplementary_gids: Vec<u32>,
    /// Programs to run before and after.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub event_handlers: Vec<EventHandler>,
    /// Where to start; `/` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_directory: Option<String>,
    /// Environment.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub environment: Vec<EnvironmentVariable>,
    /// Limits and rights.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub isolators: Vec<Isolator>,
    /// Places for volumes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mount_points: Vec<MountPoint>,
    /// Ports it listens on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
    /// Free data that never influences execution.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub user_annotations: BTreeMap<String, String>,
    /// Free labels that never influence execution.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub user_labels: BTreeMap<String, String>,
}

impl App {
    /// The program of an event handler, with its arguments.
    pub fn handler(&self, name: &str) -> Option<Vec<String>> {
        self.event_handlers.iter().find(|handler| handler.name == name).map(|h| h.exec.clone())
    }
}

/// A program run before or after the app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventHandler {
    /// `pre-start` or `post-stop`.
    pub name: String,
    /// Program and arguments.
    pub exec: Vec<String>,
}

/// One environment variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvironmentVariable {
    /// Its name.
    pub name: String,
    /// Its value, never substituted.
    pub value: String,
}

/// One isolator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Isolator {
    /// Its name.
    pub name: AcIdentifier,
    /// Its value, in the isolator's own form.
    pub value: serde_json::Value,
}

/// A place where a volume belongs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MountPoint {
    /// Name the volume is matched by.
    pub name: AcName,
    /// Absolute path in the image.
    pub path: String,
    /// Mounted read-only.
    #[serde(default)]
    pub read_only: bool,
}

/// A port, or a range of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Port {
    /// Its name.
    pub name: AcName,
    /// `tcp`, `udp`.
    pub protocol: String,
    /// First port.
    pub port: u32,
    /// How many ports.
    #[serde(default = "one")]
    pub count: u32,
    /// Handed over as a listening socket.
    #[serde(default)]
    pub socket_activated: bool,
}

fn one() -> u32 {
    1
}

/// An image below this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Dependency {
    /// Its name.
    pub image_name: AcIdentifier,
    /// Its id, if pinned.
    #[serde(default, rename = "imageID", skip_serializing_if = "Option::is_none")]
    pub image_id: Option<String>,
    /// Labels it must have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<Label>,
    /// Its size in bytes, against endless data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}
