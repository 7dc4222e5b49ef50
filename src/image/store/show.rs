//! What can be told of an image's layers: how large, shared with whom, made by what.

use super::{Format, ImageId, Store};
use crate::image::digest::Digest;
use crate::image::error::ImageError;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A step that an OCI image's configuration says it was made by.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Step {
    /// When, as its maker wrote it.
    pub created: Option<String>,
    /// The command.
    pub created_by: Option<String>,
    /// A remark.
    pub comment: Option<String>,
    /// The layer it made, if it made one.
    pub layer: Option<Digest>,
    /// Bytes of that layer.
    pub bytes: Option<u64>,
}

#[derive(Deserialize)]
struct Written {
    #[serde(default)]
    history: Option<Vec<WrittenStep>>,
}

#[derive(Deserialize)]
struct WrittenStep {
    created: Option<String>,
    created_by: Option<String>,
    comment: Option<String>,
    #[serde(default)]
    empty_layer: bool,
}

impl Store {
    /// Inodes and bytes of a layer.
    pub fn layer_size(&self, layer: &Digest) -> Result<(u64, u64), ImageError> {
        Ok(self.layer(layer)?.map_or((0, 0), |record| (record.inodes, record.bytes)))
    }

    /// The images that have each layer.
    pub fn sharers(&self) -> Result<BTreeMap<Digest, BTreeSet<ImageId>>, ImageError> {
        let mut sharers: BTreeMap<Digest, BTreeSet<ImageId>> = BTreeMap::new();
        for image in self.records()? {
            for layer in image.layers {
                sharers.entry(layer).or_default().insert(image.id.clone());
            }
        }
        Ok(sharers)
    }

    /// How an image was made, the last step first; of an ACI, which does not say, its layers.
    pub fn history(&self, id: &ImageId) -> Result<Vec<Step>, ImageError> {
        let record = self.record(id)?;
        let mut written = Vec::new();
        if record.format == Format::Oci {
            let bytes = self.document(id, "oci-config.json")?;
            let bytes = bytes.ok_or_else(|| ImageError::NotFound(id.to_string()))?;
            let damaged = |_| ImageError::bad(id.to_string(), "its configuration is damaged");
            let config: Written = serde_json::from_slice(&bytes).map_err(damaged)?;
            written = config.history.unwrap_or_default();
        }
        // Bottom first, as the steps are.
        let mut layers = record.layers.into_iter().rev();
        let mut steps = Vec::new();
        for step in written {
            let layer = if step.empty_layer { None } else { layers.next() };
            let WrittenStep { created, created_by, comment, .. } = step;
            steps.push(Step { created, created_by, comment, layer, bytes: None });
        }
        let nameless = |layer| Step {
            created: None,
            created_by: None,
            comment: None,
            layer: Some(layer),
            bytes: None,
        };
        steps.extend(layers.map(nameless));
        for step in &mut steps {
            if let Some(layer) = &step.layer {
                step.bytes = Some(self.layer_size(layer)?.1);
            }
        }
        steps.reverse();
        Ok(steps)
    }
}
