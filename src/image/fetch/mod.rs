//! From a reference to a stored image: read, unpack in the sandbox, compare digests, vouch, store.

mod aci;
mod ahead;
mod beside;
mod depend;
mod discover;
mod judge;
mod oci;
mod registry;
mod web;

pub(crate) use ahead::Watch;
pub(crate) use oci::MAX_LAYERS;

use crate::image::believe::Trust;
use crate::image::digest::{Algo, Digest};
use crate::image::error::ImageError;
use crate::image::local::Host;
use crate::image::manifest::ImageManifest;
use crate::image::oci::{DockerArchive, Layout};
use crate::image::reference::{NameRef, Reference};
use crate::image::store::{Evidence, Fetched, ImageId, Store, Stored, TempDir, Verified};
use crate::image::transport::Remote;
use crate::image::trust::{Beside, Proof};
use crate::image::unpack::Report;
use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// A blob on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Its place among the image's layers, from 1.
    pub layer: usize,
    /// How many layers the image has.
    pub layers: usize,
    /// Bytes that are here.
    pub done: u64,
    /// Bytes that it has.
    pub total: u64,
}

/// Told what happens during a fetch.
pub trait Reporter {
    /// Something worth a line.
    fn note(&mut self, text: &str);
    /// Blobs of `what` come, these.
    fn transfer(&mut self, _what: &str, _blobs: &[Transfer]) {}
    /// Work on `what` has come to `done` of `total` bytes.
    fn progress(&mut self, what: &str, done: u64, total: u64);
}

/// When somebody else is asked for an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Pull {
    /// Never: the store has it, or the fetch fails.
    Never,
    /// When the store does not have it.
    Missing,
    /// Always: what the store has is only what need not come again.
    Update,
}

/// A fetch.
pub struct Fetch<'a> {
    /// Where to.
    pub store: &'a Store,
    /// How what is elsewhere is reached.
    pub remote: &'a Remote,
    /// What this host says itself.
    pub host: &'a Host,
    /// Whom it believes.
    pub trust: &'a Trust,
    /// When others are asked; none = for a name when it is missing, else always.
    pub pull: Option<Pull>,
    /// What discovery looks for, while it does.
    pub wanted: Option<NameRef>,
    /// Names may come to mean something older.
    pub allow_downgrade: bool,
    /// The name to store it under, instead of its own.
    pub name: Option<NameRef>,
    /// Set when it is to stop.
    pub interrupted: &'a AtomicBool,
    /// Who listens.
    pub reporter: &'a mut dyn Reporter,
}

impl Fetch<'_> {
    /// Fetches one reference.
    pub fn run(&mut self, reference: &Reference) -> Result<Stored, ImageError> {
        let stored = self.with_dependencies(reference, &mut Vec::new());
        match stored {
            // Whatever it looks like from below.
            Err(_) if self.interrupted.load(Ordering::Relaxed) => Err(ImageError::Interrupted),
            stored => stored,
        }
    }

    fn bring(&mut self, reference: &Reference) -> Result<Stored, ImageError> {
        let elsewhere = matches!(
            reference,
            Reference::Name(_) | Reference::Digest(_) | Reference::Url(_) | Reference::Docker(_)
        );
        let pull = self.pull.unwrap_or(Pull::Update);
        if elsewhere && pull != Pull::Update {
            match self.store.resolve(reference) {
                Ok(id) if pull == Pull::Never || self.believed(&id, reference) => {
                    return Ok(Stored { id, replaced: None });
                }
                Err(error) if pull == Pull::Never => return Err(error),
                _ => {}
            }
        }
        match reference {
            Reference::AciFile(path) => {
                let beside = Beside::an_aci(path)
                    .map_err(|e| ImageError::io("read what lies beside", path, e))?;
                self.aci(path, &path.display().to_string(), &beside)
            }
            Reference::OciDir { dir, tag } => self.layout(&Layout::open(dir)?, dir, tag.as_deref()),
            Reference::OciArchive { file, tag } => {
                self.layout(&Layout::open_archive(file)?, file, tag.as_deref())
            }
            Reference::DockerArchive { file, name } => {
                let (archive, start, full) = DockerArchive::open(file, name.as_deref())?;
                self.archived(&archive, start, file, name.as_deref(), full.as_deref())
            }
            Reference::Url(url) => self.web(url),
            Reference::Docker(image) => self.docker(image),
            Reference::Name(name) => self.named(name),
            Reference::Digest(_) => {
                let id = self.store.resolve(reference)?;
                Ok(Stored { id, replaced: None })
            }
        }
    }

    /// Why this host believes in an image that came from `source`.
    fn evidence(&self, id: &ImageId, source: &str) -> Result<Evidence, ImageError> {
        Ok(match self.host.evidence(id)? {
            Evidence::LocalFile => Evidence::none(source),
            known => known,
        })
    }

    /// Stores a fetched image with what vouches for it.
    fn store(
        &mut self,
        temp: &TempDir,
        image: Fetched,
        proof: Proof,
    ) -> Result<Stored, ImageError> {
        let evidence = self.evidence(&image.id, &image.source)?;
        self.store.commit(temp, Verified { image, evidence, proof })
    }

    /// Tells what an unpacking left out.
    fn tell(&mut self, what: &str, report: &Report) {
        if report.devices > 0 {
            let text = format!("{what}: left out {} device nodes below /dev", report.devices);
            self.reporter.note(&text);
        }
        if !report.dropped_xattrs.is_empty() {
            let names = report.dropped_xattrs.join(", ");
            self.reporter.note(&format!("{what}: left out extended attributes: {names}"));
        }
        if !report.landlock {
            let text = "the kernel has no Landlock: the unpack worker was confined without it";
            self.reporter.note(text);
        }
    }
}

/// Refuses what this host cannot run at all.
fn check_platform(source: &str, manifest: &ImageManifest) -> Result<(), ImageError> {
    let (os, arch) = (manifest.label("os"), manifest.label("arch"));
    let host = host_arch();
    if os.is_none_or(|os| os == "linux") && arch.is_none_or(|arch| arch == host) {
        return Ok(());
    }
    let (os, arch) = (os.unwrap_or("any"), arch.unwrap_or("any"));
    let problem = format!("the image is for {os}/{arch}, this host is linux/{host}");
    Err(ImageError::bad(source, problem))
}

/// This host's architecture in appc's words.
pub(crate) fn host_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "x86" => "i386",
        other => other,
    }
}

/// Opens a regular file that somebody named, without being held up by a pipe or a device.
pub(crate) fn open_regular(path: &Path) -> Result<(File, u64), ImageError> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let fd = rustix::fs::open(path, flags, Mode::empty())
        .map_err(|e| ImageError::io("open", path, e))?;
    let file = File::from(fd);
    let found = file.metadata().map_err(|e| ImageError::io("stat", path, e))?;
    if !found.is_file() {
        let problem = "it is not a regular file";
        return Err(ImageError::bad(path.display().to_string(), problem));
    }
    Ok((file, found.len()))
}

/// Reads until somebody says stop.
pub(crate) struct Stoppable<'a, R> {
    pub from: R,
    pub stop: &'a AtomicBool,
}

impl<R: std::io::Read> std::io::Read for Stoppable<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(std::io::Error::other("the fetch has ended"));
        }
        self.from.read(buffer)
    }
}

/// Copies a source into the store's own space, so that nobody changes it while it is read, and hashes
/// it on the way: what the worker will say about these bytes is not needed for knowing them.
pub(crate) fn copy_in(
    algo: Algo,
    source: &mut impl std::io::Read,
    from: &Path,
    to: &Path,
) -> Result<(File, Digest), ImageError> {
    use crate::image::digest::Hasher;
    use std::io::Write;
    let mut copy = File::create_new(to).map_err(|e| ImageError::io("make", to, e))?;
    let mut hasher = Hasher::new(algo);
    let mut buffer = vec![0; 256 << 10];
    loop {
        let count = source.read(&mut buffer).map_err(|e| ImageError::io("read", from, e))?;
        let piece = buffer.get(..count).unwrap_or_default();
        if piece.is_empty() {
            break;
        }
        hasher.update(piece);
        copy.write_all(piece).map_err(|e| ImageError::io("write", to, e))?;
    }
    // The worker gets a descriptor it cannot write through.
    let copy = File::open(to).map_err(|e| ImageError::io("open", to, e))?;
    Ok((copy, hasher.finish()))
}

/// Digest of a file's bytes, from its start.
pub(crate) fn digest_of(algo: Algo, file: &mut File, path: &Path) -> Result<Digest, ImageError> {
    use crate::image::digest::Hasher;
    use std::io::{Read, Seek};
    let read = |e| ImageError::io("read", path, e);
    file.rewind().map_err(read)?;
    let mut hasher = Hasher::new(algo);
    let mut buffer = vec![0; 256 << 10];
    loop {
        let count = file.read(&mut buffer).map_err(read)?;
        if count == 0 {
            break;
        }
        hasher.update(buffer.get(..count).unwrap_or_default());
    }
    file.rewind().map_err(read)?;
    Ok(hasher.finish())
}

/// The id of an image whose blob is known.
fn same_blob(store: &Store, digest: &Digest) -> Result<Option<ImageId>, ImageError> {
    let images = store.images()?;
    Ok(images.into_iter().find(|image| image.blobs().contains(digest)).map(|image| image.id))
}
