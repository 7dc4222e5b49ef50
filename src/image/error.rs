//! What can go wrong with images.

use crate::image::manifest::ManifestError;
use crate::image::reference::ReferenceError;
use std::io;
use std::path::PathBuf;

/// A failure of the store or of an image.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// A system call failed on a path.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A text is no reference.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// A manifest breaks a rule.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The store does not have it.
    #[error("the image {0} is not in the store")]
    NotFound(String),
    /// More than one image fits.
    #[error("{wanted} could be {} images: {}", candidates.len(), candidates.join(", "))]
    Ambiguous {
        /// What was asked for.
        wanted: String,
        /// What fits.
        candidates: Vec<String>,
    },
    /// The unpack worker could not do its work.
    #[error("cannot unpack {subject}")]
    Worker {
        /// The archive.
        subject: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Nobody who counts vouches for it.
    #[error("{0}")]
    Untrusted(Box<crate::image::believe::Untrusted>),
    /// It is signed, and older than what the name means now.
    #[error(
        "{source_name} is not taken as {name}: it was made {}, and what is called {name} here was made {known}",
        made.as_ref().map_or("at no known time".to_owned(), |made| format!("on {made}"))
    )]
    Older {
        /// What was asked for.
        source_name: String,
        /// The name.
        name: String,
        /// When it was made, as it says.
        made: Option<String>,
        /// When what the name means now was made.
        known: String,
    },
    /// It lies on images that the store does not have, or does not believe.
    #[error(
        "{source_name} depends on {}, which the store does not have",
        missing.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
    )]
    Needs {
        /// What was asked for.
        source_name: String,
        /// What is missing.
        missing: Vec<crate::image::reference::NameRef>,
    },
    /// An image that it lies on cannot be had.
    #[error("{source_name} depends on {name}")]
    Dependency {
        /// What was asked for.
        source_name: String,
        /// On what it lies.
        name: Box<crate::image::reference::NameRef>,
        /// Why that cannot be had.
        #[source]
        source: Box<ImageError>,
    },
    /// Somebody said stop.
    #[error("interrupted")]
    Interrupted,
    /// What is elsewhere cannot be had.
    #[error("{subject}: {problem}")]
    Remote {
        /// What was asked for.
        subject: String,
        /// Why.
        problem: String,
        /// What would help.
        hint: Option<String>,
    },
    /// An image or an archive is not what it should be.
    #[error("{subject}: {problem}")]
    Bad {
        /// The file, image or blob.
        subject: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl ImageError {
    /// A failed system call.
    pub fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
        source: impl Into<io::Error>,
    ) -> Self {
        Self::Io { action, path: path.into(), source: source.into() }
    }

    /// Something that is not what it should be.
    pub fn bad(subject: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Bad { subject: subject.into(), problem: problem.into() }
    }

    /// What to do next, if anything helps.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Reference(error) => Some(error.hint().to_owned()),
            Self::Remote { hint, .. } => hint.clone(),
            Self::Needs { missing, .. } => Some(
                missing
                    .iter()
                    .map(|name| format!("rocket fetch {name}"))
                    .collect::<Vec<_>>()
                    .join("; "),
            ),
            Self::Dependency { source, .. } => source.hint(),
            Self::Untrusted(untrusted) => Some(untrusted.hint()),
            Self::Older { .. } => {
                Some("if that is meant: rocket fetch --allow-downgrade".to_owned())
            }
            Self::Interrupted => {
                Some("the store is as it was; the next fetch goes on with what came".to_owned())
            }
            Self::NotFound(wanted) if wanted.contains("://") => {
                Some(format!("bring it in first: rocket fetch {wanted}"))
            }
            Self::NotFound(wanted) => Some(format!(
                "bring it in first: rocket fetch FILE.aci or oci:DIR[:TAG]; rocket image list shows what is there (wanted: {wanted})"
            )),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => Some(
                "images are root's: run it as root, or with --state-dir of your own".to_owned(),
            ),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => Some(
                "the store is as it was; make room, for example with rocket image rm".to_owned(),
            ),
            Self::Bad { problem, .. } if problem.contains("No space left on device") => Some(
                "the store is as it was; make room, for example with rocket image rm".to_owned(),
            ),
            Self::Ambiguous { .. } => {
                Some("say which one: give its version, or more digits of its digest".to_owned())
            }
            _ => None,
        }
    }
}
