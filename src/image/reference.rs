//! What a person writes to mean an image. Pure text in, a typed wish out.

mod docker;

pub use docker::DockerRef;

use crate::image::digest::{Digest, DigestPrefix};
use crate::image::name::{AcIdentifier, NameError};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// An image as asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// An image name with labels, perhaps pinned: `example.com/app:1.0,os=linux@sha512-…`.
    Name(NameRef),
    /// A digest of a stored image, perhaps shortened.
    Digest(DigestPrefix),
    /// An ACI on disk: `./app.aci`, `/dir/app.aci`.
    AciFile(PathBuf),
    /// An OCI image layout on disk: `oci:DIR[:TAG]`.
    OciDir {
        /// The layout's directory.
        dir: PathBuf,
        /// The tag inside it; may be left out when the layout holds one image.
        tag: Option<String>,
    },
    /// An ACI on a web server: `https://HOST/PATH`.
    Url(String),
    /// An OCI image layout in a tar archive: `oci-archive:FILE[:TAG]`.
    OciArchive {
        /// The archive.
        file: PathBuf,
        /// The tag inside it; may be left out when it holds one image.
        tag: Option<String>,
    },
    /// An archive by `docker save`: `docker-archive:FILE[:NAME[:TAG]]`.
    DockerArchive {
        /// The archive.
        file: PathBuf,
        /// The image's name in it, or its tag; may be left out when it holds one image.
        name: Option<String>,
    },
    /// An image in a registry: `docker://HOST/REPOSITORY[:TAG][@DIGEST]`.
    Docker(DockerRef),
}

/// A name, labels that must match, and perhaps the digest it must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameRef {
    /// The image name.
    pub name: AcIdentifier,
    /// Labels that must be equal; a label that is absent here matches anything.
    pub labels: BTreeMap<String, String>,
    /// The digest the image must have.
    pub digest: Option<Digest>,
}

/// Why a text is no reference this release understands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Nothing there.
    #[error("an image reference must not be empty")]
    Empty,
    /// A scheme that is known and not built yet.
    #[error("{reference}: {scheme} references are not supported by this release")]
    Scheme {
        /// What was asked for.
        reference: String,
        /// The scheme's name.
        scheme: &'static str,
    },
    /// Not the address of an image in a registry.
    #[error("{reference} means no image of a registry: {problem}")]
    Docker {
        /// What was asked for.
        reference: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// Not the address of a file on a web server.
    #[error("{0} is no address of an image")]
    Url(String),
    /// A registry's host and port look like a name with a version.
    #[error("{0} looks like a registry address, not an image name")]
    Registry(String),
    /// A digest cut too short.
    #[error("{0} is too short: an image digest needs its algorithm and at least 8 digits")]
    ShortDigest(String),
    /// The name does not follow the grammar.
    #[error("{reference} is not an image name")]
    Name {
        /// What was asked for.
        reference: String,
        /// What is wrong.
        source: NameError,
    },
    /// A label without value, twice, or named `name`.
    #[error("{reference}: the label {label:?} {problem}")]
    Label {
        /// What was asked for.
        reference: String,
        /// The label as written.
        label: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// What follows `@` is no full digest.
    #[error("{reference}: what follows @ must be a full digest")]
    Pin {
        /// What was asked for.
        reference: String,
    },
}

impl ReferenceError {
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Scheme { .. } => {
                "copy it to disk first, for example: skopeo copy docker://… oci:DIR:TAG, then: rocket fetch oci:DIR:TAG"
            }
            Self::Registry(_) => "images of a registry are written docker://HOST:PORT/NAME[:TAG]",
            Self::Docker { .. } => {
                "it looks like docker://registry.example/team/app:1.0, or docker://nginx for Docker Hub"
            }
            Self::Url(_) => {
                "it looks like https://HOST/PATH/app.aci: no user, no fragment, nothing but ASCII"
            }
            Self::ShortDigest(_) => "rocket image list shows the digests",
            _ => {
                "a reference is NAME[:VERSION], a digest, ./FILE.aci, /DIR/FILE.aci, oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:NAME] or docker://HOST/NAME[:TAG]"
            }
        }
    }
}

const LATER: [(&str, &str); 3] = [
    ("docker-daemon:", "docker-daemon:"),
    ("containers-storage:", "containers-storage:"),
    ("dir:", "dir:"),
];

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        if text.starts_with('/') || text.starts_with("./") || text.starts_with("../") {
            return Ok(Self::AciFile(PathBuf::from(text)));
        }
        if let Some((_, scheme)) = LATER.iter().find(|(prefix, _)| text.starts_with(prefix)) {
            return Err(ReferenceError::Scheme { reference: text.to_owned(), scheme });
        }
        if text.starts_with("https://") || text.starts_with("http://") {
            return url(text);
        }
        if let Some(rest) = text.strip_prefix("docker://") {
            let bad = |problem| ReferenceError::Docker { reference: text.to_owned(), problem };
            return DockerRef::parse(rest).map(Self::Docker).map_err(bad);
        }
        if let Some(rest) = text.strip_prefix("oci:") {
            return layout(rest).map(|(dir, tag)| Self::OciDir { dir, tag });
        }
        if let Some(rest) = text.strip_prefix("docker-archive:") {
            let (file, name) = match rest.split_once(':') {
                Some((file, name)) if !name.is_empty() => (file, Some(name.to_owned())),
                _ => (rest.strip_suffix(':').unwrap_or(rest), None),
            };
            if file.is_empty() {
                return Err(ReferenceError::Empty);
            }
            return Ok(Self::DockerArchive { file: PathBuf::from(file), name });
        }
        if let Some(rest) = text.strip_prefix("oci-archive:") {
            return layout(rest).map(|(file, tag)| Self::OciArchive { file, tag });
        }
        if let Some(rest) = ["sha256", "sha512"].iter().find_map(|a| text.strip_prefix(a))
            && let Some(hex) = rest.strip_prefix([':', '-'])
            && hex.bytes().all(|b| b.is_ascii_hexdigit())
        {
            return DigestPrefix::parse(text)
                .map(Self::Digest)
                .ok_or_else(|| ReferenceError::ShortDigest(text.to_owned()));
        }
        name_ref(text).map(Self::Name)
    }
}

fn url(text: &str) -> Result<Reference, ReferenceError> {
    let host = text.split_once("://").and_then(|(_, rest)| rest.split('/').next());
    let plain = text.bytes().all(|b| b.is_ascii_graphic()) && !text.contains('#');
    if plain && host.is_some_and(|host| !host.is_empty() && !host.contains(['@', '?'])) {
        return Ok(Reference::Url(text.to_owned()));
    }
    Err(ReferenceError::Url(text.replace(|c: char| c.is_control(), "\u{fffd}")))
}

/// A path and perhaps a tag.
fn layout(rest: &str) -> Result<(PathBuf, Option<String>), ReferenceError> {
    let (dir, tag) = match rest.rsplit_once(':') {
        Some((dir, tag)) if !tag.contains('/') && !tag.is_empty() => (dir, Some(tag.to_owned())),
        _ => (rest, None),
    };
    if dir.is_empty() {
        return Err(ReferenceError::Empty);
    }
    Ok((PathBuf::from(dir), tag))
}

fn name_ref(text: &str) -> Result<NameRef, ReferenceError> {
    let reference = || text.to_owned();
    let (body, digest) = match text.split_once('@') {
        Some((body, pin)) => {
            let digest = pin.parse().map_err(|_| ReferenceError::Pin { reference: reference() })?;
            (body, Some(digest))
        }
        None => (text, None),
    };
    let mut parts = body.split(',');
    let head = parts.next().unwrap_or_default();
    let (name, version) = match head.split_once(':') {
        Some((_, version)) if version.contains('/') => {
            return Err(ReferenceError::Registry(reference()));
        }
        Some((name, version)) => (name, Some(version)),
        None => (head, None),
    };
    let name = AcIdentifier::new(name)
        .map_err(|source| ReferenceError::Name { reference: reference(), source })?;
    let mut labels = BTreeMap::new();
    let mut add = |label: &str, key: &str, value: &str| {
        let problem = if key == "name" {
            "cannot be called name"
        } else if AcIdentifier::new(key).is_err() {
            "is not a valid label name"
        } else if value.is_empty() {
            "has no value"
        } else if labels.insert(key.to_owned(), value.to_owned()).is_some() {
            "is given twice"
        } else {
            return Ok(());
        };
        Err(ReferenceError::Label { reference: reference(), label: label.to_owned(), problem })
    };
    if let Some(version) = version {
        add("version", "version", version)?;
    }
    for part in parts {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        add(part, key, value)?;
    }
    Ok(NameRef { name, labels, digest })
}

impl fmt::Display for NameRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)?;
        if let Some(version) = self.labels.get("version") {
            write!(f, ":{version}")?;
        }
        for (key, value) in self.labels.iter().filter(|(key, _)| *key != "version") {
            write!(f, ",{key}={value}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Digest(prefix) => prefix.fmt(f),
            Self::AciFile(path) => path.display().fmt(f),
            Self::OciDir { dir, tag: Some(tag) } => write!(f, "oci:{}:{tag}", dir.display()),
            Self::OciDir { dir, tag: None } => write!(f, "oci:{}", dir.display()),
            Self::OciArchive { file, tag: Some(tag) } => {
                write!(f, "oci-archive:{}:{tag}", file.display())
            }
            Self::OciArchive { file, tag: None } => write!(f, "oci-archive:{}", file.display()),
            Self::DockerArchive { file, name: Some(name) } => {
                write!(f, "docker-archive:{}:{name}", file.display())
            }
            Self::DockerArchive { file, name: None } => {
                write!(f, "docker-archive:{}", file.display())
            }
            Self::Docker(image) => image.fmt(f),
            Self::Url(url) => f.write_str(url),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Reference, ReferenceError> {
        text.parse()
    }

    #[test]
    fn every_form_has_its_meaning() {
        let full = format!("example.com/app:1.0,os=linux@sha512-{}", "a".repeat(128));
        let Ok(Reference::Name(name)) = parse(&full) else { panic!("{:?}", parse(&full)) };
        assert_eq!(name.to_string(), full);
        assert_eq!(name.labels.len(), 2);
        assert_eq!(parse("./a.aci"), Ok(Reference::AciFile("./a.aci".into())));
        assert_eq!(parse("/x/a"), Ok(Reference::AciFile("/x/a".into())));
        let oci = |dir: &str, tag: Option<&str>| {
            Ok(Reference::OciDir { dir: dir.into(), tag: tag.map(str::to_owned) })
        };
        assert_eq!(parse("oci:dir"), oci("dir", None));
        assert_eq!(parse("oci:/d/x:latest"), oci("/d/x", Some("latest")));
        assert_eq!(parse("oci:a:b/c"), oci("a:b/c", None));
        let archive = Reference::OciArchive { file: "x/a.tar".into(), tag: Some("v1".into()) };
        assert_eq!(parse("oci-archive:x/a.tar:v1"), Ok(archive.clone()));
        assert_eq!(archive.to_string(), "oci-archive:x/a.tar:v1");
        let docker = Reference::DockerArchive {
            file: "x/a.tar".into(),
            name: Some("localhost/a:v1".into()),
        };
        assert_eq!(parse("docker-archive:x/a.tar:localhost/a:v1"), Ok(docker.clone()));
        assert_eq!(docker.to_string(), "docker-archive:x/a.tar:localhost/a:v1");
        assert!(matches!(parse("sha512:0123abcd"), Ok(Reference::Digest(_))));
    }

    #[test]
    fn what_is_not_supported_is_refused_by_name() {
        for (scheme, _) in LATER {
            let error = parse(&format!("{scheme}x"));
            assert!(matches!(error, Err(ReferenceError::Scheme { .. })), "{scheme}");
        }
        assert!(matches!(parse("https://user@h/a"), Err(ReferenceError::Url(_))));
        assert!(matches!(parse("https:///a"), Err(ReferenceError::Url(_))));
        assert_eq!(parse("https://h/a?b"), Ok(Reference::Url("https://h/a?b".into())));
        assert!(matches!(parse("docker://h/a:b:c"), Err(ReferenceError::Docker { .. })));
        assert!(matches!(parse("host:5000/x"), Err(ReferenceError::Registry(_))));
        assert!(matches!(parse("sha256-0123"), Err(ReferenceError::ShortDigest(_))));
        assert!(matches!(parse("Upper/case"), Err(ReferenceError::Name { .. })));
        assert!(matches!(parse("a,b"), Err(ReferenceError::Label { .. })));
        assert!(matches!(parse("a,name=x"), Err(ReferenceError::Label { .. })));
        assert!(matches!(parse("a:1,version=2"), Err(ReferenceError::Label { .. })));
        assert!(matches!(parse("a@sha256-00"), Err(ReferenceError::Pin { .. })));
        assert_eq!(parse(""), Err(ReferenceError::Empty));
    }
}
