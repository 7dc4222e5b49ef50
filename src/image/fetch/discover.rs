//! An image by its name: from the places that are configured, then from where its host says.

use super::{Fetch, Pull, host_arch};
use crate::image::believe::read_rules;
use crate::image::digest::Digest;
use crate::image::discovery::{Form, Mirrors, Page, Place, expand, pages};
use crate::image::error::ImageError;
use crate::image::oci::Layout;
use crate::image::reference::{DockerRef, NameRef, Reference};
use crate::image::store::{ImageId, KeyLock, Stored};
use crate::image::trust::{Beside, Statement};
use std::path::{Path, PathBuf};

impl Fetch<'_> {
    /// Fetches an image by its name.
    pub(super) fn named(&mut self, name: &NameRef) -> Result<Stored, ImageError> {
        let reference = Reference::Name(name.clone());
        let known = self.store.resolve(&reference);
        match (self.pull.unwrap_or(Pull::Missing), known) {
            (Pull::Never, known) => return known.map(|id| Stored { id, replaced: None }),
            (Pull::Missing, Ok(id)) if self.believed(&id, &reference) => {
                return Ok(Stored { id, replaced: None });
            }
            (_, Err(error @ ImageError::Ambiguous { .. })) => return Err(error),
            _ => {}
        }
        self.wanted = Some(name.clone());
        let found = self.search(name);
        self.wanted = None;
        found
    }

    /// Asks one place after the other.
    fn search(&mut self, name: &NameRef) -> Result<Stored, ImageError> {
        let mut asked = Asked::default();
        let mut mirrors = Mirrors::default();
        read_rules(&self.remote.config, "mirrors.d", &mut |path, text| mirrors.add(path, text))?;
        for place in mirrors.places(name.name.as_str()) {
            if let Some(stored) = self.place(place, name, &mut asked)? {
                return Ok(stored);
            }
        }
        for page_of in pages(name.name.as_str()) {
            let Some(page) = self.page(page_of, &mut asked)? else { continue };
            let templates: Vec<String> =
                page.templates(name.name.as_str()).map(str::to_owned).collect();
            if templates.is_empty() {
                asked.note(page_of, "its page says nothing of the name");
                continue;
            }
            for template in templates {
                if let Some(stored) = self.template(&template, name, &mut asked)? {
                    return Ok(stored);
                }
            }
            // Whoever speaks for the name has spoken.
            break;
        }
        Err(asked.error(name))
    }

    fn place(
        &mut self,
        place: &Place,
        name: &NameRef,
        asked: &mut Asked,
    ) -> Result<Option<Stored>, ImageError> {
        let (plain, labels) = (name.name.as_str(), &name.labels);
        if let Place::Registry(base) = place {
            let tag = labels.get("version").map_or("latest", String::as_str);
            let text = format!("{base}/{plain}:{tag}");
            let Ok(image) = DockerRef::parse(&text) else {
                asked.note(&format!("docker://{text}"), "it is no address of an image");
                return Ok(None);
            };
            let before = self.name.replace(name.clone());
            let stored = self.docker(&image);
            self.name = before;
            return asked.take(&format!("docker://{text}"), stored);
        }
        for form in Form::ALL {
            let Some(address) = place.address(plain, labels, host_arch(), form) else {
                asked.note(&format!("{place:?}"), "the name's labels make no address");
                continue;
            };
            let stored = match place {
                Place::Dir(_) if !Path::new(&address).exists() => {
                    asked.note(&address, "there is no such file");
                    continue;
                }
                Place::Dir(_) => self.file(Path::new(&address), form, name),
                _ => self.address(&address, form, name),
            };
            if let Some(stored) = asked.take(&address, stored)? {
                return Ok(Some(stored));
            }
        }
        Ok(None)
    }

    /// Addresses that a page's template makes.
    fn template(
        &mut self,
        template: &str,
        name: &NameRef,
        asked: &mut Asked,
    ) -> Result<Option<Stored>, ImageError> {
        for form in Form::ALL {
            let extension = form.extension();
            let plain = name.name.as_str();
            let Some(address) = expand(template, plain, &name.labels, host_arch(), extension)
            else {
                asked.note(template, "the name's labels do not fill this template");
                return Ok(None);
            };
            // A page is the word of a stranger: it leads to web servers and nowhere else.
            if !address.starts_with("https://") && !address.starts_with("http://") {
                asked.note(&address, "its scheme is not supported");
                return Ok(None);
            }
            let stored = self.address(&address, form, name);
            if let Some(stored) = asked.take(&address, stored)? {
                return Ok(Some(stored));
            }
        }
        Ok(None)
    }

    /// An image in a file of a directory.
    fn file(&mut self, path: &Path, form: Form, name: &NameRef) -> Result<Stored, ImageError> {
        let beside = |e| ImageError::io("read what lies beside", path, e);
        match form {
            Form::Aci => {
                let beside = Beside::an_aci(path).map_err(beside)?;
                self.aci(path, &path.display().to_string(), &beside)
            }
            Form::Oci => {
                let beside = Beside::a_layout(path).map_err(beside)?;
                self.archive(path, &path.display().to_string(), name, beside)
            }
        }
    }

    /// An image at an address of a web server.
    fn address(&mut self, url: &str, form: Form, name: &NameRef) -> Result<Stored, ImageError> {
        match form {
            Form::Aci => self.web(url),
            Form::Oci => self.web_oci(url, name),
        }
    }

    /// An OCI archive from a web server. Its statement comes first: what it names may be here already.
    fn web_oci(&mut self, url: &str, name: &NameRef) -> Result<Stored, ImageError> {
        let endpoint = self.remote.web(url)?;
        let about = format!("{url}{}", Beside::STATEMENT);
        let mut beside = Beside { statement: self.small(&endpoint, &about)?, signatures: vec![] };
        if beside.statement.is_some() {
            beside.signatures = self.beside_url(&endpoint, &about)?.signatures;
        }
        let said = beside.statement.as_deref().and_then(|bytes| Statement::parse(bytes).ok());
        if let Some(said) = said
            && self.complete(&said.digest)
            && said.name == name.name
        {
            return self.again(&said.digest, url, name, &beside);
        }
        let key = format!("url-{}", Digest::of(crate::image::Algo::Sha256, url.as_bytes()));
        let reporter = &mut *self.reporter;
        let _key = KeyLock::take(&self.store.tmp(), &key, || {
            reporter.note(&format!("{url}: waiting for another fetch"));
        })?;
        let dir = self.partial_dir()?;
        let (path, tag) = (dir.join(&key), dir.join(format!("{key}.etag")));
        self.download(url, &endpoint, None, &path, &tag)?;
        let stored = self.archive(&path, url, name, beside);
        let _ = std::fs::remove_file(&path);
        let _ = std::fs::remove_file(&tag);
        stored
    }

    fn archive(
        &mut self,
        path: &Path,
        origin: &str,
        name: &NameRef,
        beside: Beside,
    ) -> Result<Stored, ImageError> {
        let layout = Layout::open_archive(path)?;
        let (start, _) = layout.start(None)?;
        let name = (name.name.clone(), name.labels.clone());
        let origin = origin.to_owned();
        let findings = Vec::new();
        self.oci(super::oci::Wish { source: &layout, start, name, origin, beside, findings })
    }

    /// The page of a name; nothing where there is none.
    fn page(&mut self, of: &str, asked: &mut Asked) -> Result<Option<Page>, ImageError> {
        let root = if of.contains('/') { "" } else { "/" };
        let url = format!("{}{root}?ac-discovery=1", self.remote.page(of)?);
        match self.body(&url)? {
            Err(why) => {
                asked.note(&url, &why);
                Ok(None)
            }
            Ok(bytes) => match Page::parse(&bytes) {
                Ok(page) => Ok(Some(page)),
                Err(error) => {
                    asked.note(&url, &error.to_string());
                    Ok(None)
                }
            },
        }
    }

    /// The keys that a prefix's own host offers for it: where each came from, and its bytes.
    ///
    /// # Errors
    /// No page, or no key; what was asked.
    pub fn keys(&mut self, prefix: &NameRef) -> Result<Vec<(String, Vec<u8>)>, ImageError> {
        let mut asked = Asked::default();
        for of in pages(prefix.name.as_str()) {
            let Some(page) = self.page(of, &mut asked)? else { continue };
            let urls: Vec<String> =
                page.keys_for(prefix.name.as_str()).map(str::to_owned).collect();
            let mut found = Vec::new();
            for url in urls {
                match self.body(&url)? {
                    Ok(bytes) => found.push((url, bytes)),
                    Err(why) => asked.note(&url, &why),
                }
            }
            if !found.is_empty() {
                return Ok(found);
            }
            asked.note(of, "its page leads to no key for the prefix");
        }
        Err(asked.error(prefix))
    }

    /// The directory of what comes in parts.
    pub(super) fn partial_dir(&self) -> Result<PathBuf, ImageError> {
        use std::os::unix::fs::DirBuilderExt;
        let dir = self.store.partial();
        let made = std::fs::DirBuilder::new().mode(0o700).recursive(true).create(&dir);
        made.map_err(|e| ImageError::io("make the directory", &dir, e))?;
        Ok(dir)
    }

    /// An image that is here already, with what came beside it now.
    fn again(
        &mut self,
        digest: &Digest,
        url: &str,
        name: &NameRef,
        beside: &Beside,
    ) -> Result<Stored, ImageError> {
        let _shared = self.store.lock_shared()?;
        let labels = &name.labels;
        let proof = self.oci_proof((name.name.as_str(), labels), url, &[digest], beside)?;
        let id = ImageId::new(digest.clone());
        let proof = self.judge(&id, &(name.name.to_string(), labels.clone()), proof)?;
        self.point_known(&id, (name.name.to_string(), labels.clone()), url, proof)
    }

    /// Refuses an ACI that is another one than was asked for (appc specification, discovery.md: the
    /// manifest's name and labels must be those of the request).
    pub(super) fn as_wanted(
        &self,
        source: &str,
        manifest: &crate::image::manifest::ImageManifest,
        id: &ImageId,
    ) -> Result<(), ImageError> {
        let Some(wanted) = &self.wanted else { return Ok(()) };
        let bad = |problem: String| Err(ImageError::bad(source, problem));
        if manifest.name != wanted.name {
            return bad(format!("the image is called {}, not {}", manifest.name, wanted.name));
        }
        for (key, value) in &wanted.labels {
            let has = manifest.label(key);
            // Whoever gives out one file as the latest says nothing of that inside.
            let latest = key == "version" && value == "latest";
            if has != Some(value) && !latest {
                let has = has.map_or("none".to_owned(), |has| format!("{has:?}"));
                return bad(format!("its label {key} is {has}, not {value:?}"));
            }
        }
        self.pinned(source, id)
    }

    /// Refuses another digest than the name was pinned to.
    pub(super) fn pinned(&self, source: &str, id: &ImageId) -> Result<(), ImageError> {
        let pin = self.wanted.as_ref().and_then(|wanted| wanted.digest.as_ref());
        match pin.filter(|pin| *pin != id.digest()) {
            Some(pin) => Err(ImageError::bad(source, format!("the image is {id}, not {pin}"))),
            None => Ok(()),
        }
    }
}

/// What was asked, and what came of it.
#[derive(Default)]
struct Asked {
    answers: Vec<String>,
    /// An image that was found and not believed says more than all that was not found.
    refused: Option<ImageError>,
}

impl Asked {
    fn note(&mut self, what: &str, answer: &str) {
        self.answers.push(format!("{what}: {answer}"));
    }

    /// An image, or one answer more; what ends a search ends it.
    fn take(
        &mut self,
        address: &str,
        stored: Result<Stored, ImageError>,
    ) -> Result<Option<Stored>, ImageError> {
        match stored {
            Ok(stored) => Ok(Some(stored)),
            Err(error @ (ImageError::Interrupted | ImageError::Needs { .. })) => Err(error),
            Err(error) => {
                let text = error.to_string();
                self.note(address, text.strip_prefix(&format!("{address}: ")).unwrap_or(&text));
                if matches!(error, ImageError::Untrusted(_) | ImageError::Older { .. }) {
                    self.refused.get_or_insert(error);
                }
                Ok(None)
            }
        }
    }

    fn error(self, name: &NameRef) -> ImageError {
        if let Some(refused) = self.refused {
            return refused;
        }
        let mut problem = "it is not in the store, and nobody who was asked has it".to_owned();
        for answer in self.answers {
            problem.push_str(&format!("\n  {answer}"));
        }
        let hint =
            "mirrors.d says where else to look; an address or a file can be fetched directly";
        ImageError::Remote { subject: name.to_string(), problem, hint: Some(hint.to_owned()) }
    }
}
