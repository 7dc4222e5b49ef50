//! ACIs that lie on others (appc specification, aci.md, "Dependency Matching" and rendering rules).

use super::{Fetch, MAX_LAYERS, Pull};
use crate::image::digest::Digest;
use crate::image::error::ImageError;
use crate::image::manifest::{Dependency, ImageManifest};
use crate::image::reference::{NameRef, Reference};
use crate::image::store::{NewLayer, Stored, StoredImage};
use std::collections::BTreeSet;

/// How deep images may lie on one another.
const MAX_DEPTH: usize = 16;

impl Fetch<'_> {
    /// Fetches an image and, before it, what it turns out to lie on.
    pub(super) fn with_dependencies(
        &mut self,
        reference: &Reference,
        above: &mut Vec<String>,
    ) -> Result<Stored, ImageError> {
        let (source, missing) = match self.bring(reference) {
            Err(ImageError::Needs { source_name, missing }) if self.pull != Some(Pull::Never) => {
                (source_name, missing)
            }
            done => return done,
        };
        for name in missing {
            let plain = name.name.to_string();
            if above.contains(&plain) {
                let way = above.join(" on ");
                let problem = format!("it depends on itself: {way} on {plain}");
                return Err(ImageError::bad(source, problem));
            }
            if above.len() >= MAX_DEPTH {
                let problem = format!("more than {MAX_DEPTH} images lie on one another");
                return Err(ImageError::bad(source, problem));
            }
            self.reporter.note(&format!("{source}: depends on {name}"));
            above.push(plain);
            let own = self.name.take();
            let found = self.with_dependencies(&Reference::Name(name.clone()), above);
            self.name = own;
            above.pop();
            found.map_err(|error| match error {
                ImageError::Interrupted => error,
                error => ImageError::Dependency {
                    source_name: source.clone(),
                    name: Box::new(name),
                    source: Box::new(error),
                },
            })?;
        }
        self.bring(reference)
    }

    /// The images that an ACI lies on, the first lowest: all of them are in the store and believed, or it
    /// says which ones are not.
    pub(super) fn below(
        &self,
        source: &str,
        manifest: &ImageManifest,
    ) -> Result<Vec<StoredImage>, ImageError> {
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        for dependency in &manifest.dependencies {
            let name = wish(source, dependency)?;
            let reference = Reference::Name(name.clone());
            match self.store.resolve(&reference) {
                Ok(id) if self.believed(&id, &reference) => {
                    let image = self.store.image(&id)?;
                    self.bounded(source, dependency, &image)?;
                    found.push(image);
                }
                Err(error @ ImageError::Ambiguous { .. }) => return Err(error),
                _ => missing.push(name),
            }
        }
        if missing.is_empty() {
            return Ok(found);
        }
        Err(ImageError::Needs { source_name: source.to_owned(), missing })
    }

    /// A dependency may say how large it is.
    fn bounded(
        &self,
        source: &str,
        dependency: &Dependency,
        image: &StoredImage,
    ) -> Result<(), ImageError> {
        let Some(most) = dependency.size else { return Ok(()) };
        for blob in image.blobs() {
            let path = self.store.blob_path(blob);
            let size = std::fs::metadata(&path).map_or(0, |found| found.len());
            if size > most {
                let name = &dependency.image_name;
                let problem =
                    format!("its dependency {name} has {size} bytes, and {most} were said");
                return Err(ImageError::bad(source, problem));
            }
        }
        Ok(())
    }
}

/// What a dependency asks for.
fn wish(source: &str, dependency: &Dependency) -> Result<NameRef, ImageError> {
    let id = dependency.image_id.as_deref().map(str::parse::<Digest>).transpose();
    let digest = id.map_err(|e| {
        let name = &dependency.image_name;
        ImageError::bad(source, format!("the image id of its dependency {name}: {e}"))
    })?;
    let labels = dependency.labels.iter().map(|l| (l.name.to_string(), l.value.clone())).collect();
    Ok(NameRef { name: dependency.image_name.clone(), labels, digest })
}

/// The layers of an image on others, topmost first. Of a layer that occurs twice only the upper one shows:
/// whatever lies between replaces it and is replaced again.
pub(super) fn stack(
    source: &str,
    own: NewLayer,
    below: &[StoredImage],
) -> Result<Vec<NewLayer>, ImageError> {
    let mut seen: BTreeSet<Digest> = [own.key.clone()].into();
    let mut layers = vec![own];
    for image in below.iter().rev() {
        for layer in &image.layers {
            if seen.insert(layer.digest.clone()) {
                layers.push(NewLayer { key: layer.digest.clone(), fresh: None });
            }
        }
    }
    if layers.len() > MAX_LAYERS {
        let problem = format!("it and what it depends on have more than {MAX_LAYERS} layers");
        return Err(ImageError::bad(source, problem));
    }
    Ok(layers)
}
