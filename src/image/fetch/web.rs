//! An ACI from a web server, asked for again only when the server says so.

use super::{Fetch, Transfer};
use crate::image::digest::{Algo, Digest};
use crate::image::error::ImageError;
use crate::image::reference::Reference;
use crate::image::store::{KeyLock, Stored, UrlRecord, VERSION, load, replace};
use crate::image::transport::{About, End, Endpoint, Fault, Kind, Request, Session, Sink};
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Largest archive that is taken from a server, which says itself how large it is.
const MAX_ACI: u64 = 64 << 30;
/// Longest wait that a server may ask for.
const MAX_WAIT: Duration = Duration::from_secs(60);
/// Longest time that a server's word counts.
const MAX_FRESH: u64 = 30 * 86_400;

impl Fetch<'_> {
    /// Fetches an ACI from an address.
    pub(super) fn web(&mut self, url: &str) -> Result<Stored, ImageError> {
        let endpoint = self.remote.web(url)?;
        let key = format!("url-{}", Digest::of(Algo::Sha256, url.as_bytes()));
        let reporter = &mut *self.reporter;
        let _key = KeyLock::take(&self.store.tmp(), &key, || {
            reporter.note(&format!("{url}: waiting for another fetch"));
        })?;
        let record_path = self.store.url_record(url);
        // Under another name it is stored anew.
        let reference = Reference::Url(url.to_owned());
        let known = match &self.name {
            Some(_) => None,
            None => load::<UrlRecord>(&record_path)?
                .filter(|known| known.url == url && self.believed(&known.id, &reference)),
        };
        if let Some(known) = known.as_ref().filter(|known| known.fresh_until > now()) {
            return Ok(Stored { id: known.id.clone(), replaced: None });
        }
        let dir = self.partial_dir()?;
        let (path, tag) = (dir.join(&key), dir.join(format!("{key}.etag")));
        let etag = known.as_ref().and_then(|known| known.etag.clone());
        let end = self.download(url, &endpoint, etag.as_deref(), &path, &tag)?;
        let (stored, etag) = match known.filter(|_| end.unchanged) {
            Some(known) => (Stored { id: known.id, replaced: None }, known.etag),
            None => {
                let stored = self
                    .beside_url(&endpoint, url)
                    .and_then(|beside| self.aci(&path, url, &beside));
                // Whole, so of no use to a later fetch, be it good or not.
                let _ = std::fs::remove_file(&path);
                let _ = std::fs::remove_file(&tag);
                (stored?, end.etag)
            }
        };
        let fresh_until = now() + end.max_age.unwrap_or(0).min(MAX_FRESH);
        let id = stored.id.clone();
        let record = UrlRecord { version: VERSION, url: url.to_owned(), id, etag, fresh_until };
        if let Some(dir) = record_path.parent() {
            let made = std::fs::DirBuilder::new().mode(0o700).recursive(true).create(dir);
            made.map_err(|e| ImageError::io("make the directory", dir, e))?;
        }
        let text = serde_json::to_vec(&record).unwrap_or_default();
        replace(&record_path, &dir.join(format!("{key}.record")), &text)?;
        Ok(stored)
    }

    /// Brings the file, going on with what is there of it.
    pub(super) fn download(
        &mut self,
        url: &str,
        endpoint: &Endpoint,
        known: Option<&str>,
        path: &Path,
        tag: &Path,
    ) -> Result<End, ImageError> {
        let io = |action| move |e: std::io::Error| ImageError::io(action, path, e);
        let mut options = File::options();
        let options = options.read(true).write(true).create(true).truncate(false);
        // One of several places is not worth as much patience as the only one.
        let retries = self.remote.retries.min(if self.wanted.is_some() { 1 } else { u32::MAX });
        let (mut wait, mut tried) = (Duration::from_millis(500), 0);
        loop {
            let mut file = options.open(path).map_err(io("open"))?;
            let of = std::fs::read_to_string(tag).ok();
            if of.is_none() {
                file.set_len(0).map_err(io("empty"))?;
            }
            let count = file.seek(SeekFrom::End(0)).map_err(io("read"))?;
            let etag = of.as_deref().filter(|_| count > 0).or(known);
            let request = Request::Get { url, etag, offset: count, max: MAX_ACI };
            let mut sink = Download {
                file,
                tag: tag.to_owned(),
                count,
                about: About::default(),
                url,
                fetch: &mut *self.reporter,
                interrupted: self.interrupted,
            };
            let asked = Session::start(self.remote, endpoint)
                .and_then(|mut session| session.ask(&request, MAX_ACI, &mut sink));
            let fault = match asked {
                Ok(end) => return Ok(end),
                Err(fault) => fault,
            };
            if fault.kind == Kind::Range {
                let _ = std::fs::remove_file(tag);
            } else if !fault.passes() || tried >= retries {
                let (subject, problem) = (url.to_owned(), fault.message);
                return Err(ImageError::Remote { subject, problem, hint: fault.hint });
            }
            if tried >= retries {
                return Err(ImageError::bad(url, "the server has less than it said"));
            }
            tried += 1;
            let end = Instant::now() + fault.after.map_or(wait, Duration::from_secs).min(MAX_WAIT);
            wait = wait.saturating_mul(2).min(MAX_WAIT);
            while Instant::now() < end && !self.interrupted.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A file that comes.
struct Download<'a> {
    file: File,
    /// Where the server's name for it is kept: only with that the rest can be had.
    tag: PathBuf,
    count: u64,
    about: About,
    url: &'a str,
    fetch: &'a mut dyn super::Reporter,
    interrupted: &'a AtomicBool,
}

fn disk(error: &std::io::Error) -> Fault {
    Fault::new(Kind::Stopped, format!("cannot write the file: {error}"))
}

impl Sink for Download<'_> {
    fn about(&mut self, about: About) {
        self.about = about;
    }

    fn begin(&mut self, offset: u64) -> Result<(), Fault> {
        if offset == self.count && offset > 0 {
            return Ok(());
        }
        if offset != 0 {
            return Err(Fault::new(Kind::Refused, "another part comes than was asked for"));
        }
        self.count = 0;
        self.file.set_len(0).and_then(|()| self.file.rewind()).map_err(|e| disk(&e))?;
        // A weak one may name several files.
        match self.about.etag.as_deref().filter(|etag| etag.starts_with('"')) {
            Some(etag) => std::fs::write(&self.tag, etag).map_err(|e| disk(&e)),
            None => {
                let _ = std::fs::remove_file(&self.tag);
                Ok(())
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.file.write_all(bytes).map_err(|e| disk(&e))?;
        self.count += bytes.len() as u64;
        let total = self.about.total.unwrap_or(MAX_ACI).max(self.count);
        let transfer = Transfer { layer: 1, layers: 1, done: self.count, total };
        self.fetch.transfer(self.url, &[transfer]);
        Ok(())
    }

    fn stopped(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }
}
