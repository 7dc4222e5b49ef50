//! The image store: immutable layers, images, and the names that point at them. See docs/store.md.

mod commit;
mod record;
mod remove;
mod show;
mod temp;
mod usage;

pub use commit::Stored;
pub(crate) use commit::{Fetched, NewLayer, Verified};
pub use record::Format;
pub(crate) use record::{LayerRecord, UrlRecord, VERSION, load, replace};
pub use remove::{Removal, Removed};
pub use show::Step;
pub use temp::{KeyLock, TempDir};

use crate::image::digest::{Algo, Digest};
use crate::image::error::ImageError;
use crate::image::manifest::ImageManifest;
use crate::image::reference::{NameRef, Reference};
use crate::image::trust::Proof;
pub(crate) use record::ImageRecord;
use record::{EvidenceRecord, RefRecord, read_limited};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// An image's identity: the digest of an ACI's uncompressed archive, or of an OCI platform manifest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ImageId(Digest);

impl ImageId {
    /// The id with this digest.
    pub fn new(digest: Digest) -> Self {
        Self(digest)
    }

    /// The digest.
    pub fn digest(&self) -> &Digest {
        &self.0
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One unpacked layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Its key in the store: chain id or diff id.
    pub digest: Digest,
    /// Its tree, in overlayfs's own form.
    pub tree: PathBuf,
}

/// Where an image came from and why this host believes in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Evidence {
    /// Packed on this machine by root; the host key says so.
    PackedHere,
    /// A file somebody put there: nothing vouches for it.
    LocalFile,
    /// A registry sent it: its digest is right, and nothing vouches for it.
    Registry,
    /// A web server sent it: nothing vouches for it.
    Web,
}

impl Evidence {
    /// What there is to say of an image that nobody vouches for: where it came from.
    pub(crate) fn none(source: &str) -> Self {
        match source.split_once("://") {
            Some(("docker", _)) => Self::Registry,
            Some(("https" | "http", _)) => Self::Web,
            _ => Self::LocalFile,
        }
    }

    /// The word for listings.
    pub fn name(&self) -> &'static str {
        match self {
            Self::PackedHere => "packed-here",
            Self::LocalFile => "local-file",
            Self::Registry => "registry",
            Self::Web => "web",
        }
    }
}

/// An image in the store.
#[derive(Clone, Debug)]
pub struct StoredImage {
    /// Its identity.
    pub id: ImageId,
    /// What it was before it was stored.
    pub format: Format,
    /// Digest of an OCI image's configuration.
    pub config: Option<Digest>,
    /// Its manifest in appc's form.
    pub manifest: ImageManifest,
    /// Its layers, topmost first. The tree of the first has the root directory's own mode and owner.
    pub layers: Vec<Layer>,
    /// Images that it lies on, the first lowest.
    pub dependencies: Vec<ImageId>,
    /// Where it came from.
    pub evidence: Evidence,
    /// What vouches for it, name by name.
    pub proofs: Vec<Proof>,
    /// When it was stored, RFC 3339.
    pub stored: String,
    blobs: Vec<Digest>,
}

impl StoredImage {
    /// The image's name.
    pub fn name(&self) -> &crate::image::name::AcIdentifier {
        &self.manifest.name
    }

    /// The blobs it was fetched as.
    pub fn blobs(&self) -> &[Digest] {
        &self.blobs
    }
}

/// The store's shared lock: while it is held nothing is removed.
#[derive(Debug)]
pub struct StoreLock(#[expect(dead_code, reason = "holds the lock")] File);

/// A name and its labels.
pub type Labelled = (String, BTreeMap<String, String>);

/// The store.
#[derive(Clone, Debug)]
pub struct Store {
    dir: PathBuf,
}

const DIRS: [&str; 8] =
    ["blobs", "blobs/sha256", "layers", "layers/sha256", "layers/sha512", "images", "refs", "tmp"];
const VERSION_FILE: &str = "rocket-store 1\n";

impl Store {
    /// Opens the store, making it at first use.
    pub fn open(dir: &Path) -> Result<Self, ImageError> {
        let make = |path: &Path, recursive| {
            std::fs::DirBuilder::new().mode(0o700).recursive(recursive).create(path)
        };
        make(dir, true).map_err(|e| ImageError::io("make the store", dir, e))?;
        let version = dir.join("version");
        let known = read_limited(&version)?;
        if known.as_deref().is_some_and(|text| text == VERSION_FILE.as_bytes()) {
            return Ok(Self { dir: dir.to_owned() });
        }
        if let Some(other) = known.filter(|text| !text.is_empty()) {
            let other = crate::image::files::printable(other.trim_ascii());
            let problem = format!("its version {other:?} is not known to this rocket");
            return Err(ImageError::bad(dir.display().to_string(), problem));
        }
        for name in DIRS {
            let path = dir.join(name);
            make(&path, true).map_err(|e| ImageError::io("make the directory", &path, e))?;
        }
        // Last: a store without its version is one that is still being made.
        let temp = dir.join(format!("version.{}", uuid::Uuid::new_v4()));
        record::replace(&version, &temp, VERSION_FILE.as_bytes())?;
        Ok(Self { dir: dir.to_owned() })
    }

    /// Opens a store that is there already; makes nothing.
    pub fn open_existing(dir: &Path) -> Result<Option<Self>, ImageError> {
        match read_limited(&dir.join("version"))? {
            Some(text) if text == VERSION_FILE.as_bytes() => Ok(Some(Self { dir: dir.to_owned() })),
            Some(_) => Self::open(dir).map(Some),
            None => Ok(None),
        }
    }

    /// The store's directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn tmp(&self) -> PathBuf {
        self.dir.join("tmp")
    }

    pub(crate) fn layer_dir(&self, digest: &Digest) -> PathBuf {
        self.dir.join("layers").join(digest.algo().name()).join(digest.hex())
    }

    pub(crate) fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.dir.join("blobs").join(digest.algo().name()).join(digest.hex())
    }

    /// What is known of a web address.
    pub(crate) fn url_record(&self, url: &str) -> PathBuf {
        self.dir.join("urls").join(Digest::of(Algo::Sha256, url.as_bytes()).to_string())
    }

    /// Where blobs are kept that came in part.
    pub(crate) fn partial(&self) -> PathBuf {
        self.tmp().join(temp::PARTIAL)
    }

    fn image_dir(&self, id: &ImageId) -> PathBuf {
        self.dir.join("images").join(id.to_string())
    }

    /// A directory for work in progress, after the dead were swept away.
    pub fn temp(&self) -> Result<TempDir, ImageError> {
        temp::sweep(&self.tmp())?;
        TempDir::new(&self.tmp())
    }

    /// A layer's record, if it is stored.
    pub(crate) fn layer(&self, digest: &Digest) -> Result<Option<LayerRecord>, ImageError> {
        load(&self.layer_dir(digest).join("meta"))
    }

    /// Finds a stored image by name or digest; never guesses.
    pub fn resolve(&self, reference: &Reference) -> Result<ImageId, ImageError> {
        match reference {
            Reference::Name(name) => self.resolve_name(name),
            Reference::Digest(prefix) => {
                let ids = self.ids()?.into_iter().filter(|id| prefix.matches(id.digest()));
                one(prefix, ids.map(|id| (id.to_string(), id)).collect())
            }
            Reference::Url(url) => load::<UrlRecord>(&self.url_record(url))?
                .filter(|record| record.url == *url && self.image(&record.id).is_ok())
                .map(|record| record.id)
                .ok_or_else(|| ImageError::NotFound(url.clone())),
            Reference::Docker(image) => {
                let lost = || ImageError::NotFound(reference.to_string());
                let (name, labels) = image.stored_as().ok_or_else(lost)?;
                self.named(name.as_str(), &labels)?.ok_or_else(lost)
            }
            _ => Err(ImageError::NotFound(reference.to_string())),
        }
    }

    /// What a name with these labels, all of them, means: with other labels it is another image.
    pub(crate) fn named(
        &self,
        name: &str,
        labels: &BTreeMap<String, String>,
    ) -> Result<Option<ImageId>, ImageError> {
        let fits = |r: &RefRecord| r.name == name && r.labels == *labels;
        Ok(self.refs()?.into_iter().find(fits).map(|r| r.id))
    }

    fn resolve_name(&self, wanted: &NameRef) -> Result<ImageId, ImageError> {
        let fits = |found: &RefRecord| {
            found.name == wanted.name.as_str()
                && wanted.labels.iter().all(|(key, value)| found.labels.get(key) == Some(value))
                && wanted.digest.as_ref().is_none_or(|digest| digest == found.id.digest())
        };
        let mut found: Vec<RefRecord> = self.refs()?.into_iter().filter(fits).collect();
        if found.iter().map(|r| &r.id).collect::<BTreeSet<_>>().len() > 1
            && !wanted.labels.contains_key("version")
        {
            // What "no version" means where tags are used; anything else would be a guess.
            let latest: Vec<RefRecord> = found
                .iter()
                .filter(|r| r.labels.get("version").is_some_and(|v| v == "latest"))
                .cloned()
                .collect();
            if !latest.is_empty() {
                found = latest;
            }
        }
        let mut candidates = BTreeMap::new();
        for record in found {
            let version = record.labels.get("version").map_or(String::new(), |v| format!(":{v}"));
            let shown = format!("{}{version} ({})", record.name, record.id.digest().short());
            candidates.insert(record.id, shown);
        }
        one(wanted, candidates.into_iter().map(|(id, shown)| (shown, id)).collect())
    }

    /// Reads one image.
    pub fn image(&self, id: &ImageId) -> Result<StoredImage, ImageError> {
        let dir = self.image_dir(id);
        let lost = || ImageError::NotFound(id.to_string());
        let record: ImageRecord = load(&dir.join("image.json"))?.ok_or_else(lost)?;
        let manifest = read_limited(&dir.join("manifest"))?.ok_or_else(lost)?;
        let evidence: EvidenceRecord = load(&dir.join("evidence"))?.ok_or_else(lost)?;
        let layer = |digest: Digest| {
            let tree = self.layer_dir(&digest).join("tree");
            if tree.is_dir() {
                Ok(Layer { digest, tree })
            } else {
                let problem = format!("its layer {digest} is missing from the store");
                Err(ImageError::bad(id.to_string(), problem))
            }
        };
        Ok(StoredImage {
            id: record.id,
            format: record.format,
            config: record.config,
            manifest: ImageManifest::parse(&manifest)?,
            layers: record.layers.into_iter().map(layer).collect::<Result<_, _>>()?,
            dependencies: record.dependencies,
            evidence: evidence.evidence,
            proofs: evidence.proofs,
            stored: record.stored,
            blobs: record.blobs,
        })
    }

    /// What is recorded of an image.
    pub(crate) fn record(&self, id: &ImageId) -> Result<ImageRecord, ImageError> {
        let record = load(&self.image_dir(id).join("image.json"))?;
        record.ok_or_else(|| ImageError::NotFound(id.to_string()))
    }

    /// A document of an image, as it lies there.
    pub(crate) fn document(&self, id: &ImageId, name: &str) -> Result<Option<Vec<u8>>, ImageError> {
        read_limited(&self.image_dir(id).join(name))
    }

    /// Writes the record of a layer that is being made.
    pub(crate) fn write_layer_record(
        &self,
        dir: &Path,
        record: &LayerRecord,
    ) -> Result<(), ImageError> {
        commit::write_layer(dir, record)
    }

    /// Waits until everything written is on the disk.
    pub(crate) fn sync(&self) -> Result<(), ImageError> {
        let dir = File::open(&self.dir).map_err(|e| ImageError::io("open", &self.dir, e))?;
        rustix::fs::syncfs(&dir).map_err(|e| ImageError::io("sync", &self.dir, e))
    }

    /// The ids of all images, also of damaged ones.
    pub fn image_ids(&self) -> Result<Vec<ImageId>, ImageError> {
        self.ids()
    }

    /// Reads every image.
    pub fn images(&self) -> Result<Vec<StoredImage>, ImageError> {
        self.ids()?.iter().map(|id| self.image(id)).collect()
    }

    /// The manifest as it came: an OCI image's own, or the ACI's.
    pub fn original_manifest(&self, id: &ImageId) -> Result<Vec<u8>, ImageError> {
        let dir = self.image_dir(id);
        for name in ["oci-manifest.json", "manifest"] {
            if let Some(bytes) = read_limited(&dir.join(name))? {
                return Ok(bytes);
            }
        }
        Err(ImageError::NotFound(id.to_string()))
    }

    /// The names (with labels) that mean each image.
    pub fn names(&self) -> Result<BTreeMap<ImageId, Vec<String>>, ImageError> {
        let mut names: BTreeMap<ImageId, Vec<String>> = BTreeMap::new();
        for record in self.refs()? {
            let version = record.labels.get("version").map_or(String::new(), |v| format!(":{v}"));
            names.entry(record.id).or_default().push(format!("{}{version}", record.name));
        }
        Ok(names)
    }

    /// The names with labels that mean an image.
    pub fn labelled(&self, id: &ImageId) -> Result<Vec<Labelled>, ImageError> {
        let refs = self.refs()?.into_iter().filter(|r| r.id == *id);
        Ok(refs.map(|r| (r.name, r.labels)).collect())
    }

    /// Keeps everything in the store until the lock is dropped.
    pub fn lock_shared(&self) -> Result<StoreLock, ImageError> {
        let (file, path) = self.lock_file()?;
        file.lock_shared().map_err(|e| ImageError::io("lock", &path, e))?;
        Ok(StoreLock(file))
    }

    /// Keeps everybody else from using the store until the lock is dropped.
    fn lock_exclusive(&self) -> Result<StoreLock, ImageError> {
        let (file, path) = self.lock_file()?;
        file.lock().map_err(|e| ImageError::io("lock", &path, e))?;
        Ok(StoreLock(file))
    }

    fn lock_file(&self) -> Result<(File, PathBuf), ImageError> {
        let path = self.dir.join("lock");
        let mut options = File::options();
        let options = options.create(true).truncate(false).write(true);
        // A store that may only be read can still be looked at: flock(2) needs no write access.
        let file = match options.open(&path) {
            Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => File::open(&path),
            opened => opened,
        };
        Ok((file.map_err(|e| ImageError::io("open", &path, e))?, path))
    }

    fn ids(&self) -> Result<Vec<ImageId>, ImageError> {
        let mut ids: Vec<ImageId> = list(&self.dir.join("images"))?
            .iter()
            .filter_map(|name| name.parse().ok().map(ImageId::new))
            .collect();
        ids.sort();
        Ok(ids)
    }

    fn records(&self) -> Result<Vec<ImageRecord>, ImageError> {
        let load = |id| load(&self.image_dir(id).join("image.json"));
        self.ids()?.iter().filter_map(|id| load(id).transpose()).collect()
    }

    fn refs(&self) -> Result<Vec<RefRecord>, ImageError> {
        let dir = self.dir.join("refs");
        list(&dir)?.iter().filter_map(|name| load(&dir.join(name)).transpose()).collect()
    }
}

/// The one candidate, or why there is none.
fn one(
    wanted: &impl fmt::Display,
    mut found: Vec<(String, ImageId)>,
) -> Result<ImageId, ImageError> {
    match (found.len(), found.pop()) {
        (1, Some((_, id))) => Ok(id),
        (0, _) | (_, None) => Err(ImageError::NotFound(wanted.to_string())),
        (_, Some(last)) => {
            found.push(last);
            let candidates = found.into_iter().map(|(shown, _)| shown).collect();
            Err(ImageError::Ambiguous { wanted: wanted.to_string(), candidates })
        }
    }
}

/// Names in a directory, sorted.
fn list(dir: &Path) -> Result<Vec<String>, ImageError> {
    let read = |e| ImageError::io("read", dir, e);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(read)? {
        names.extend(entry.map_err(read)?.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

/// Digests that name entries of `kind` (layers or blobs).
fn digests(store: &Path, kind: &str) -> Result<Vec<Digest>, ImageError> {
    let mut found = Vec::new();
    for algo in [Algo::Sha256, Algo::Sha512] {
        let dir = store.join(kind).join(algo.name());
        if dir.is_dir() {
            found.extend(list(&dir)?.iter().filter_map(|hex| Digest::new(algo, hex).ok()));
        }
    }
    Ok(found)
}
