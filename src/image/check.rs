//! What the store holds against what it should hold: blobs and documents against their digests, the
//! trees of layers against their lists. Everything that differs is named.

mod merged;
mod pool;
mod repair;
mod tree;
mod upper;

pub use merged::{Merged, merged};
pub use repair::repair;
pub(crate) use tree::list_digest;
pub use upper::{Ids, upper};

use crate::image::digest::Digest;
use crate::image::error::ImageError;
use crate::image::store::{Format, ImageId, Layer, Store};
use pool::Job;
use serde::Serialize;
use std::collections::BTreeSet;

/// What is wrong with something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Problem {
    /// It is not what it was.
    Changed,
    /// It is gone.
    Missing,
    /// Nobody put it there.
    Added,
}

impl Problem {
    /// As text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Missing => "missing",
            Self::Added => "added",
        }
    }
}

/// What kind of thing it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Object {
    /// A record or document of an image.
    Image,
    /// An archive as it was fetched.
    Blob,
    /// An unpacked layer.
    Layer,
    /// What an app of a pod wrote over its image.
    App,
}

impl Object {
    /// As text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Blob => "blob",
            Self::Layer => "layer",
            Self::App => "app",
        }
    }
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// What it is about.
    pub object: Object,
    /// Which: a digest, or an app.
    pub which: String,
    /// The file in it, safe to print.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What is wrong.
    pub problem: Problem,
    /// In words.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

impl Finding {
    fn image(id: &ImageId, file: &str, problem: Problem, detail: impl Into<String>) -> Self {
        let (which, path) = (id.to_string(), Some(file.to_owned()));
        Self { object: Object::Image, which, path, problem, detail: detail.into() }
    }
}

/// What was looked at already: images share layers and blobs.
#[derive(Debug, Default)]
pub struct Seen {
    layers: BTreeSet<Digest>,
    blobs: BTreeSet<Digest>,
}

/// Told how many bytes were read, of how many.
pub type Tick<'a> = &'a mut dyn FnMut(u64, u64);

/// Compares an image, its documents, blobs and layers, with what they should be. The caller holds the
/// shared lock.
///
/// # Errors
/// It cannot be looked at, or is not there. What is damaged is no error but a [`Finding`].
pub fn image(
    store: &Store,
    id: &ImageId,
    seen: &mut Seen,
    tick: Tick<'_>,
) -> Result<Vec<Finding>, ImageError> {
    let mut found = Vec::new();
    let record = match store.record(id) {
        Ok(record) => record,
        Err(ImageError::Bad { problem, .. }) => {
            return Ok(vec![Finding::image(id, "image.json", Problem::Changed, problem)]);
        }
        Err(error) => return Err(error),
    };
    if record.id != *id {
        let detail = format!("it says that it is of {}", record.id);
        found.push(Finding::image(id, "image.json", Problem::Changed, detail));
    }
    let mut documents = record.documents.clone();
    if record.format == Format::Oci {
        documents.insert("oci-manifest.json".to_owned(), id.digest().clone());
        if let Some(config) = &record.config {
            documents.insert("oci-config.json".to_owned(), config.clone());
        }
    }
    for (name, wanted) in &documents {
        match store.document(id, name)? {
            None => found.push(Finding::image(id, name, Problem::Missing, "")),
            Some(bytes) => {
                let is = Digest::of(wanted.algo(), &bytes);
                if is != *wanted {
                    let detail = format!("its digest is {is}, not {wanted}");
                    found.push(Finding::image(id, name, Problem::Changed, detail));
                }
            }
        }
    }
    if found.is_empty()
        && let Err(error) = store.image(id)
        && let ImageError::Bad { subject, problem } = error
    {
        // A missing layer is named below; this is a record that does not parse.
        if !problem.contains("is missing from the store") {
            let detail = format!("{subject}: {problem}");
            found.push(Finding::image(id, "evidence", Problem::Changed, detail));
        }
    }
    let mut jobs = Vec::new();
    for blob in record.blobs {
        if seen.blobs.insert(blob.clone()) {
            let path = store.blob_path(&blob);
            jobs.push(Job::blob(blob, path, &mut found)?);
        }
    }
    for layer in record.layers {
        if seen.layers.insert(layer.clone()) {
            jobs.push(layer_job(store, &layer, &mut found)?);
        }
    }
    found.extend(pool::run(jobs.into_iter().flatten().collect(), tick)?);
    found.sort();
    Ok(found)
}

/// Compares the trees of layers with their lists. The caller holds the shared lock.
///
/// # Errors
/// They cannot be looked at.
pub fn layers(
    store: &Store,
    layers: &[Digest],
    seen: &mut Seen,
    tick: Tick<'_>,
) -> Result<Vec<Finding>, ImageError> {
    let (mut found, mut jobs) = (Vec::new(), Vec::new());
    for layer in layers {
        if seen.layers.insert(layer.clone()) {
            jobs.push(layer_job(store, layer, &mut found)?);
        }
    }
    found.extend(pool::run(jobs.into_iter().flatten().collect(), tick)?);
    found.sort();
    Ok(found)
}

/// The digests of an image's layers, topmost first, even when their trees are not there.
///
/// # Errors
/// The image is not there, or its record is damaged.
pub fn layers_of(store: &Store, id: &ImageId) -> Result<Vec<Digest>, ImageError> {
    Ok(store.record(id)?.layers)
}

/// The layers with these digests, wherever they are.
pub fn stack(store: &Store, layers: &[Digest]) -> Vec<Layer> {
    let layer = |digest: &Digest| Layer {
        digest: digest.clone(),
        tree: store.layer_dir(digest).join("tree"),
    };
    layers.iter().map(layer).collect()
}

fn layer_job(
    store: &Store,
    layer: &Digest,
    found: &mut Vec<Finding>,
) -> Result<Option<Job>, ImageError> {
    let dir = store.layer_dir(layer);
    let mut damaged = |path: &str, problem, detail: String| {
        let (which, path) = (layer.to_string(), Some(path.to_owned()));
        found.push(Finding { object: Object::Layer, which, path, problem, detail });
    };
    if !dir.is_dir() {
        damaged("/", Problem::Missing, "the whole layer is not there".to_owned());
        return Ok(None);
    }
    let meta = match store.layer(layer) {
        Ok(Some(meta)) => meta,
        Ok(None) => {
            damaged("(its meta)", Problem::Missing, String::new());
            return Ok(None);
        }
        Err(ImageError::Bad { problem, .. }) => {
            damaged("(its meta)", Problem::Changed, problem);
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let (records, is) = match tree::read_list(&dir) {
        Ok(read) => read,
        Err(problem) => {
            damaged("(its file list)", Problem::Changed, problem);
            return Ok(None);
        }
    };
    if let Some(wanted) = meta.files.filter(|wanted| *wanted != is) {
        let detail = format!("its digest is {is}, not {wanted}: it says nothing about the tree");
        damaged("(its file list)", Problem::Changed, detail);
        return Ok(None);
    }
    match Job::tree(layer.clone(), &dir.join("tree"), records) {
        Ok(job) => Ok(Some(job)),
        Err(error) => {
            damaged("/", Problem::Missing, error.to_string());
            Ok(None)
        }
    }
}
