//! An OCI image from a registry, through its transport.

use super::oci::Wish;
use super::{Fetch, Watch};
use crate::image::digest::{Algo, Digest, Hasher};
use crate::image::error::ImageError;
use crate::image::oci::source::{Blobs, MAX_JSON, digest};
use crate::image::oci::{Descriptor, Document, document};
use crate::image::reference::{DockerRef, Reference};
use crate::image::store::Stored;
use crate::image::transport::{Endpoint, Fault, Kind, Remote, Request, Session, Sink};
use crate::image::trust::statement::MAX_BESIDE;
use crate::image::trust::{Beside, Finding, Ring, cosign};
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Most signatures of one image that are looked at.
const MAX_SIGNATURES: usize = 32;
/// Longest wait that a server may ask for.
const MAX_WAIT: Duration = Duration::from_secs(60);

impl Fetch<'_> {
    /// Fetches an image from a registry.
    pub(super) fn docker(&mut self, image: &DockerRef) -> Result<Stored, ImageError> {
        let shown = image.to_string();
        let name = match &self.name {
            Some(name) => (name.name.clone(), name.labels.clone()),
            None => image.stored_as().ok_or_else(|| {
                ImageError::bad(shown.as_str(), "no image name can be made of it; use --name")
            })?,
        };
        // What a digest names cannot have changed.
        if image.digest.is_some()
            && self.name.is_none()
            && let Ok(id) = self.store.resolve(&Reference::Docker(image.clone()))
            && self.complete(id.digest())
            && self.believed(&id, &Reference::Docker(image.clone()))
        {
            return Ok(Stored { id, replaced: None });
        }
        let endpoints = self.remote.endpoints(&image.host, &image.repository)?;
        let source = Registry {
            name: shown.clone(),
            remote: self.remote,
            given_up: endpoints.iter().map(|_| AtomicBool::new(false)).collect(),
            endpoints,
            idle: Mutex::new(Vec::new()),
            partial: self.store.partial(),
            first: Mutex::new(None),
            notes: Mutex::new(Vec::new()),
            brought: Mutex::new(Vec::new()),
            maker: std::thread::current().id(),
            interrupted: self.interrupted,
        };
        let stored = source.resolve(image).and_then(|start| {
            let findings = source.cosign(&start, self.trust.ring());
            let beside = Beside::default();
            self.oci(Wish { source: &source, start, name, origin: shown, beside, findings })
        });
        if stored.is_ok() {
            for path in source.brought.into_inner().unwrap_or_else(PoisonError::into_inner) {
                // What stays is swept away one day.
                let _ = std::fs::remove_file(path);
            }
        }
        for note in source.notes.into_inner().unwrap_or_else(PoisonError::into_inner) {
            self.reporter.note(&note);
        }
        stored
    }
}

/// A repository of a registry, and of its mirrors.
struct Registry<'a> {
    name: String,
    remote: &'a Remote,
    endpoints: Vec<Endpoint>,
    /// Endpoints that do not answer; they are not asked again.
    given_up: Vec<AtomicBool>,
    /// Transports that wait for something to do, and whom they speak to.
    idle: Mutex<Vec<(usize, Session)>>,
    partial: PathBuf,
    /// What a tag meant when it was asked.
    first: Mutex<Option<(String, Vec<u8>)>>,
    notes: Mutex<Vec<String>>,
    /// Blobs that came, or were here.
    brought: Mutex<Vec<PathBuf>>,
    /// The thread that outlives all others of this fetch.
    maker: std::thread::ThreadId,
    interrupted: &'a AtomicBool,
}

impl Registry<'_> {
    /// What a tag or a digest means now.
    fn resolve(&self, image: &DockerRef) -> Result<Descriptor, ImageError> {
        let wanted = image.wanted();
        let algo = image.digest.as_ref().map_or(Algo::Sha256, Digest::algo);
        let (bytes, media_type) = self.anywhere(&|| self.stopped(), |endpoint, session| {
            let (bytes, end) = manifest(endpoint, session, &wanted, self.interrupted)?;
            let found = Digest::of(algo, &bytes);
            if image.digest.as_ref().is_some_and(|digest| *digest != found) {
                let text = format!("{} sends a manifest with the digest {found}", endpoint.url);
                return Err(Fault::new(Kind::Refused, text));
            }
            // Not believed, but a server that contradicts itself has something to hide.
            let said = end.digest.as_deref().and_then(|digest| digest.parse::<Digest>().ok());
            if said.is_some_and(|said| said != Digest::of(said.algo(), &bytes)) {
                let text = format!("{} sends a manifest and the digest of another", endpoint.url);
                return Err(Fault::new(Kind::Refused, text));
            }
            Ok((bytes, end.media_type.unwrap_or_default()))
        })?;
        let digest = Digest::of(algo, &bytes).oci();
        // Some servers say "text/plain"; what the document says itself counts then.
        let media_type = match document(&media_type) {
            Document::Other => own_type(&bytes).unwrap_or(media_type),
            _ => media_type,
        };
        let size = bytes.len() as u64;
        *self.first.lock().unwrap_or_else(PoisonError::into_inner) = Some((digest.clone(), bytes));
        Ok(Descriptor {
            media_type,
            digest,
            size,
            annotations: std::collections::BTreeMap::new(),
            platform: None,
        })
    }

    /// What cosign's signatures in the repository say of a document: they lie under a tag made of its
    /// digest. A host without keys of cosign does not ask.
    fn cosign(&self, start: &Descriptor, ring: &Ring) -> Vec<Finding> {
        if !ring.entries().iter().any(|entry| entry.key.kind == cosign::KIND) {
            return Vec::new();
        }
        let tag = format!("{}.sig", start.digest.replace(':', "-"));
        let answer = self.anywhere(&|| self.stopped(), |endpoint, session| {
            manifest(endpoint, session, &tag, self.interrupted).map(|(bytes, _)| bytes)
        });
        // None, or none that can be had: what follows from that is the rule's to say.
        let Ok(bytes) = answer else { return Vec::new() };
        let Ok(list) = serde_json::from_slice::<crate::image::oci::Manifest>(&bytes) else {
            return vec![cosign::unreadable("their list cannot be read")];
        };
        let one = |layer: &Descriptor| -> Option<Finding> {
            let signature = layer.annotations.get(cosign::SIGNATURE)?;
            if layer.size > MAX_BESIDE {
                return Some(cosign::unreadable("what is signed is too large"));
            }
            match self.document(layer) {
                Ok(payload) => Some(cosign::bind(&payload, signature, &start.digest, ring)),
                Err(error) => Some(cosign::unreadable(&error.to_string())),
            }
        };
        list.layers.iter().take(MAX_SIGNATURES).filter_map(one).collect()
    }

    /// Asks one endpoint after the other, and each again while there is hope.
    fn anywhere<T>(
        &self,
        stopped: &dyn Fn() -> bool,
        mut ask: impl FnMut(&Endpoint, &mut Session) -> Result<T, Fault>,
    ) -> Result<T, ImageError> {
        let mut last = Fault::new(Kind::Network, "no server answers");
        for (place, endpoint) in self.endpoints.iter().enumerate() {
            let given_up = self.given_up.get(place);
            if given_up.is_some_and(|given_up| given_up.load(Ordering::Relaxed)) {
                continue;
            }
            // The registry itself is worth some patience, a stand-in is not.
            let tries = if endpoint.mirror { 0 } else { self.remote.retries };
            let fault = match self.patiently(place, endpoint, tries, stopped, &mut ask) {
                Ok(found) => return Ok(found),
                Err(fault) if fault.kind == Kind::Stopped => return Err(self.error(fault)),
                Err(fault) => fault,
            };
            if endpoint.mirror {
                let text = format!("{}: the mirror is passed over: {}", self.name, fault.message);
                self.note(text);
                if fault.kind != Kind::NotFound
                    && let Some(given_up) = given_up
                {
                    given_up.store(true, Ordering::Relaxed);
                }
            }
            last = fault;
        }
        Err(self.error(last))
    }

    fn patiently<T>(
        &self,
        place: usize,
        endpoint: &Endpoint,
        tries: u32,
        stopped: &dyn Fn() -> bool,
        ask: &mut impl FnMut(&Endpoint, &mut Session) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let mut wait = Duration::from_millis(500);
        for tried in 0..=tries {
            let fault = match self.session(place, endpoint).and_then(|mut session| {
                let found = ask(endpoint, &mut session)?;
                if session.usable() {
                    self.idle().push((place, session));
                }
                Ok(found)
            }) {
                Ok(found) => return Ok(found),
                Err(fault) => fault,
            };
            if tried == tries || !fault.passes() {
                return Err(fault);
            }
            let end = Instant::now() + fault.after.map_or(wait, Duration::from_secs).min(MAX_WAIT);
            wait = wait.saturating_mul(2).min(MAX_WAIT);
            while Instant::now() < end {
                if stopped() {
                    return Err(Fault::new(Kind::Stopped, "the fetch has ended"));
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        Err(Fault::new(Kind::Network, "no server answers"))
    }

    fn session(&self, place: usize, endpoint: &Endpoint) -> Result<Session, Fault> {
        let mut idle = self.idle();
        let (me, first) = (std::thread::current().id(), self.maker);
        let fits = |(of, session): &(usize, Session)| {
            *of == place && (session.maker() == me || session.maker() == first)
        };
        match idle.iter().position(fits) {
            Some(at) => Ok(idle.swap_remove(at).1),
            None => {
                drop(idle);
                Session::start(self.remote, endpoint)
            }
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<(usize, Session)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stopped(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    fn note(&self, text: String) {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).push(text);
    }

    fn error(&self, fault: Fault) -> ImageError {
        ImageError::Remote { subject: self.name.clone(), problem: fault.message, hint: fault.hint }
    }

    /// Opens, and locks, the file that a blob comes into, with what an earlier fetch got of it.
    fn open_partial(&self, path: &Path, watch: &Watch<'_>) -> Result<File, ImageError> {
        let io = |action| move |e: std::io::Error| ImageError::io(action, path, e);
        let made = std::fs::DirBuilder::new().mode(0o700).recursive(true).create(&self.partial);
        made.map_err(io("make the directory of"))?;
        loop {
            let mut options = File::options();
            let file = options.read(true).write(true).create(true).truncate(false).open(path);
            let file = file.map_err(io("open"))?;
            // Another fetch may be at it: of another image with the same layer.
            while file.try_lock().is_err() {
                watch.check().map_err(io("wait for"))?;
                std::thread::sleep(Duration::from_millis(50));
            }
            let ours = file.metadata().map_err(io("stat"))?;
            let there = std::fs::metadata(path).is_ok_and(|there| there.ino() == ours.ino());
            if there {
                return Ok(file);
            }
        }
    }
}

impl Blobs for Registry<'_> {
    fn name(&self) -> &str {
        &self.name
    }

    fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, ImageError> {
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((digest, bytes)) = first
            && digest == descriptor.digest
        {
            return Ok(bytes);
        }
        let wanted = digest(self, descriptor)?;
        let manifest_wanted = document(&descriptor.media_type) != Document::Other;
        self.anywhere(&|| self.stopped(), |endpoint, session| {
            let bytes = if manifest_wanted {
                manifest(endpoint, session, &descriptor.digest, self.interrupted)?.0
            } else {
                let mut sink = Memory { bytes: Vec::new(), interrupted: self.interrupted };
                let size = descriptor.size.min(MAX_JSON);
                session.ask(&blob(endpoint, descriptor, size, 0), size, &mut sink)?;
                sink.bytes
            };
            // Here too, so that a mirror that lies is passed over.
            same(endpoint, &wanted, &Digest::of(wanted.algo(), &bytes))?;
            Ok(bytes)
        })
    }

    fn copy(
        &self,
        descriptor: &Descriptor,
        to: &Path,
        watch: &Watch<'_>,
    ) -> Result<(File, Digest), ImageError> {
        let wanted = digest(self, descriptor)?;
        let path = self.partial.join(wanted.to_string());
        let file = self.open_partial(&path, watch)?;
        let at = path.as_path();
        let io = |action| move |e: std::io::Error| ImageError::io(action, at, e);
        let hasher = Hasher::new(wanted.algo());
        let mut sink = Partial { path: at, file, hasher, count: 0, watch };
        sink.catch_up(descriptor.size).map_err(io("read"))?;
        self.anywhere(&|| watch.check().is_err(), |endpoint, session| {
            loop {
                let resumed = sink.count > 0;
                sink.bring(endpoint, session, descriptor)?;
                let Err(fault) = same(endpoint, &wanted, &sink.hasher.clone().finish()) else {
                    return Ok(());
                };
                sink.begin(0)?;
                // What an earlier fetch or another server left may have been wrong, not this server.
                if !resumed {
                    return Err(fault);
                }
            }
        })?;
        // The name here stays until the image is stored: should that fail, it need not come again.
        std::fs::hard_link(at, to).map_err(io("link"))?;
        self.brought.lock().unwrap_or_else(PoisonError::into_inner).push(path.clone());
        // Nobody who is given this descriptor can write through it.
        let file = File::open(to).map_err(|e| ImageError::io("open", to, e))?;
        Ok((file, wanted))
    }

    fn parallel(&self) -> usize {
        self.remote.parallel
    }
}

fn blob<'a>(
    endpoint: &'a Endpoint,
    descriptor: &'a Descriptor,
    size: u64,
    offset: u64,
) -> Request<'a> {
    Request::Blob { repository: &endpoint.repository, digest: &descriptor.digest, size, offset }
}

fn manifest(
    endpoint: &Endpoint,
    session: &mut Session,
    reference: &str,
    interrupted: &AtomicBool,
) -> Result<(Vec<u8>, crate::image::transport::End), Fault> {
    let mut sink = Memory { bytes: Vec::new(), interrupted };
    let repository = &endpoint.repository;
    let request = Request::Resolve { repository, reference, max: MAX_JSON };
    let end = session.ask(&request, MAX_JSON, &mut sink)?;
    Ok((sink.bytes, end))
}

fn same(endpoint: &Endpoint, wanted: &Digest, found: &Digest) -> Result<(), Fault> {
    if wanted == found {
        return Ok(());
    }
    let text = format!("{}: the blob should be {wanted} and is {found}", endpoint.url);
    Err(Fault::new(Kind::Refused, text))
}

/// What a document says that it is.
fn own_type(bytes: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Typed {
        media_type: Option<String>,
        schema_version: Option<u32>,
    }
    let typed: Typed = serde_json::from_slice(bytes).ok()?;
    let old = typed.schema_version == Some(1);
    typed
        .media_type
        .or_else(|| old.then(|| "application/vnd.docker.distribution.manifest.v1+json".to_owned()))
}

/// A small body.
pub(super) struct Memory<'a> {
    pub bytes: Vec<u8>,
    pub interrupted: &'a AtomicBool,
}

impl Sink for Memory<'_> {
    fn stopped(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    fn begin(&mut self, offset: u64) -> Result<(), Fault> {
        self.bytes.clear();
        match offset {
            0 => Ok(()),
            _ => Err(Fault::new(Kind::Refused, "a part comes where all was asked for")),
        }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
}

/// A blob that comes, and what its bytes are so far.
struct Partial<'a> {
    path: &'a Path,
    file: File,
    hasher: Hasher,
    count: u64,
    watch: &'a Watch<'a>,
}

impl Partial<'_> {
    /// Reads what is there: whatever an earlier fetch left, only its digest will tell.
    fn catch_up(&mut self, size: u64) -> std::io::Result<()> {
        if self.file.metadata()?.len() > size {
            self.afresh()?;
        }
        self.file.rewind()?;
        let mut buffer = vec![0; 256 << 10];
        loop {
            self.watch.check()?;
            let length = self.file.read(&mut buffer)?;
            let Some(piece) = buffer.get(..length).filter(|piece| !piece.is_empty()) else {
                (self.watch.progress)(self.count);
                return Ok(());
            };
            self.hasher.update(piece);
            self.count += length as u64;
        }
    }
}

impl Partial<'_> {
    /// Brings what is missing.
    fn bring(
        &mut self,
        endpoint: &Endpoint,
        session: &mut Session,
        descriptor: &Descriptor,
    ) -> Result<(), Fault> {
        if self.count < descriptor.size {
            let request = blob(endpoint, descriptor, descriptor.size, self.count);
            match session.ask(&request, descriptor.size, self) {
                // What is there is not the start of what the server has.
                Err(fault) if fault.kind == Kind::Range => {
                    self.begin(0)?;
                    return Err(Fault { kind: Kind::Server, ..fault });
                }
                other => other.map(drop)?,
            }
        }
        if self.count == descriptor.size {
            return Ok(());
        }
        let text = format!("{} sends {} bytes", endpoint.url, self.count);
        Err(Fault::new(Kind::Network, text))
    }

    /// Forgets what is there. A file with another name is somebody's already: it is left alone.
    fn afresh(&mut self) -> std::io::Result<()> {
        if self.file.metadata()?.nlink() > 1 {
            std::fs::remove_file(self.path)?;
            self.file = File::options().read(true).write(true).create_new(true).open(self.path)?;
            self.file.lock()?;
        }
        self.file.set_len(0)?;
        self.file.rewind()
    }
}

/// A failure of our own disk: no other server helps.
fn disk(error: &std::io::Error) -> Fault {
    Fault::new(Kind::Stopped, format!("cannot write the blob: {error}"))
}

impl Sink for Partial<'_> {
    fn begin(&mut self, offset: u64) -> Result<(), Fault> {
        if offset == self.count {
            return Ok(());
        }
        if offset != 0 {
            return Err(Fault::new(Kind::Refused, "another part comes than was asked for"));
        }
        self.afresh().map_err(|e| disk(&e))?;
        let algo = self.hasher.algo();
        (self.hasher, self.count) = (Hasher::new(algo), 0);
        Ok(())
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.file.write_all(bytes).map_err(|e| disk(&e))?;
        self.hasher.update(bytes);
        self.count += bytes.len() as u64;
        self.watch.flush.wrote(bytes.len() as u64);
        (self.watch.progress)(self.count);
        Ok(())
    }

    fn stopped(&self) -> bool {
        self.watch.check().is_err()
    }
}
