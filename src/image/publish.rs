//! Images as static files, for any web server or disk: what `discovery` finds again.
//!
//! ```text
//! index.html                                   who looks finds what there is; programs find the templates
//! images/NAME/VERSION-OS-ARCH.aci              an ACI as it was fetched, .minisig and .asc beside it
//! images/NAME/VERSION-OS-ARCH.oci              an OCI layout in a tar archive, .statement… beside it
//! keys/NAME                                    public keys
//! ```
//! Files that are right are not touched; each one is replaced whole.

use crate::files::{self, Durability};
use crate::image::digest::Digest;
use crate::image::discovery::{Form, expand, mirrors::TEMPLATE};
use crate::image::error::ImageError;
use crate::image::export::{self, Target};
use crate::image::fetch::host_arch;
use crate::image::oci::Layout;
use crate::image::store::{Format, ImageId, Store, StoredImage};
use crate::image::trust::signature::longer;
use crate::image::trust::{Beside, Key, Proof, Signature};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, Permissions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// What a publication did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// Files that were written, below the directory.
    pub written: Vec<PathBuf>,
    /// Images whose files were right already.
    pub unchanged: usize,
}

/// A directory that is published.
pub struct Site<'a> {
    /// The directory.
    pub dir: &'a Path,
    /// Its address, where that is not `https://` and the first segment of the names.
    pub base: Option<&'a str>,
}

impl Site<'_> {
    /// Writes an image under each of its names, with its signatures. The caller holds the shared lock.
    ///
    /// # Errors
    /// The image cannot be read, a name makes no path, a file cannot be written.
    pub fn image(
        &self,
        store: &Store,
        id: &ImageId,
        published: &mut Published,
    ) -> Result<(), ImageError> {
        let image = store.image(id)?;
        let mut names = store.labelled(id)?;
        if names.is_empty() {
            names.push((image.name().to_string(), image.manifest.label_map()));
        }
        for (name, mut labels) in names {
            for key in ["os", "arch"] {
                if let Some(value) = image.manifest.label(key) {
                    labels.entry(key.to_owned()).or_insert_with(|| value.to_owned());
                }
            }
            let form = match image.format {
                Format::Aci => Form::Aci,
                Format::Oci => Form::Oci,
            };
            let below = expand(TEMPLATE, &name, &labels, host_arch(), form.extension())
                .ok_or_else(|| ImageError::bad(&name, "its labels make no name of a file"))?;
            let path = self.dir.join(&below);
            if same(&path, &image) {
                published.unchanged += 1;
            } else {
                self.write_image(store, &image, &path)?;
                published.written.push(PathBuf::from(&below));
            }
            if let Some(proof) = image.proofs.iter().find(|proof| proof.name == name) {
                self.signatures(proof, &path, form, published)?;
            }
        }
        Ok(())
    }

    fn write_image(
        &self,
        store: &Store,
        image: &StoredImage,
        path: &Path,
    ) -> Result<(), ImageError> {
        let fail = |e| ImageError::io("write", path, e);
        let dir = path.parent().unwrap_or(self.dir);
        directories(dir).map_err(fail)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let part = dir.join(format!(".{name}.{}", std::process::id()));
        let write = || -> Result<(), ImageError> {
            let mut out = BufWriter::with_capacity(1 << 20, File::create(&part).map_err(fail)?);
            export::export(store, &image.id, Target::File(&mut out))?;
            out.flush().map_err(fail)?;
            out.get_ref().sync_all().map_err(fail)?;
            std::fs::set_permissions(&part, Permissions::from_mode(0o644)).map_err(fail)?;
            // Signatures of what was there are of something else.
            for stale in [path.to_owned(), longer(path, Beside::STATEMENT)] {
                for kind in Beside::KINDS {
                    remove(&longer(&stale, Signature::extension(kind))).map_err(fail)?;
                }
            }
            remove(&longer(path, Beside::STATEMENT)).map_err(fail)?;
            std::fs::rename(&part, path).map_err(fail)
        };
        write().inspect_err(|_| {
            let _ = std::fs::remove_file(&part);
        })
    }

    fn signatures(
        &self,
        proof: &Proof,
        path: &Path,
        form: Form,
        published: &mut Published,
    ) -> Result<(), ImageError> {
        let mut signed = path.to_owned();
        match (form, &proof.statement) {
            (Form::Aci, _) => {}
            (Form::Oci, None) => return Ok(()),
            (Form::Oci, Some(statement)) => {
                signed = longer(path, Beside::STATEMENT);
                self.small(&signed, statement.as_bytes(), published)?;
            }
        }
        for (kind, bytes) in proof.signatures() {
            self.small(&longer(&signed, Signature::extension(kind)), &bytes, published)?;
        }
        Ok(())
    }

    /// Adds a public key.
    ///
    /// # Errors
    /// It is none, or cannot be read or written.
    pub fn key(&self, path: &Path, published: &mut Published) -> Result<(), ImageError> {
        let bytes = std::fs::read(path).map_err(|e| ImageError::io("read", path, e))?;
        let shown = path.display().to_string();
        Key::parse(&bytes).map_err(|e| ImageError::bad(&shown, e.to_string()))?;
        let name = path.file_name().and_then(|name| name.to_str());
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        let name =
            name.filter(|name| name.chars().all(plain) && !name.starts_with('.')).ok_or_else(
                || ImageError::bad(&shown, "its name has characters that addresses escape"),
            )?;
        self.small(&self.dir.join("keys").join(name), &bytes, published)
    }

    /// Writes the page that lists all there is.
    ///
    /// # Errors
    /// The directory cannot be read or written.
    pub fn index(&self, published: &mut Published) -> Result<(), ImageError> {
        let files = walk(&self.dir.join("images"))?;
        let keys: Vec<PathBuf> = walk(&self.dir.join("keys"))?.into_keys().collect();
        let page = page(&files, &keys, self.base);
        self.small(&self.dir.join("index.html"), page.as_bytes(), published)
    }

    fn small(
        &self,
        path: &Path,
        bytes: &[u8],
        published: &mut Published,
    ) -> Result<(), ImageError> {
        let fail = |e| ImageError::io("write", path, e);
        if std::fs::read(path).is_ok_and(|known| known == bytes) {
            return Ok(());
        }
        directories(path.parent().unwrap_or(self.dir)).map_err(fail)?;
        files::write(path, bytes, Durability::Durable).map_err(fail)?;
        std::fs::set_permissions(path, Permissions::from_mode(0o644)).map_err(fail)?;
        published.written.push(path.strip_prefix(self.dir).unwrap_or(path).to_owned());
        Ok(())
    }
}

/// Whether a file is this image already.
fn same(path: &Path, image: &StoredImage) -> bool {
    match image.format {
        Format::Aci => {
            let Ok(mut file) = File::open(path) else { return false };
            let blob = image.blobs().first();
            let found = blob
                .and_then(|blob| crate::image::fetch::digest_of(blob.algo(), &mut file, path).ok());
            found.is_some() && found.as_ref() == blob
        }
        Format::Oci => Layout::open_archive(path).and_then(|layout| layout.start(None)).is_ok_and(
            |(start, _)| start.digest.parse::<Digest>().ok().as_ref() == Some(image.id.digest()),
        ),
    }
}

fn directories(dir: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o755).create(dir)
}

fn remove(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// Files below a directory and how long they are; hidden ones are somebody's work in progress.
fn walk(root: &Path) -> Result<BTreeMap<PathBuf, u64>, ImageError> {
    let (mut found, mut todo) = (BTreeMap::new(), vec![root.to_owned()]);
    while let Some(dir) = todo.pop() {
        let fail = |e| ImageError::io("read", &dir, e);
        let entries = match std::fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            Err(e) => return Err(fail(e)),
        };
        for entry in entries {
            let path = entry.map_err(fail)?.path();
            let meta = std::fs::symlink_metadata(&path).map_err(fail)?;
            let hidden = path.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(b"."));
            if meta.is_dir() {
                todo.push(path);
            } else if meta.is_file() && !hidden {
                let below = path.strip_prefix(root).unwrap_or(&path).to_owned();
                found.insert(below, meta.len());
            }
        }
    }
    Ok(found)
}

fn escape(text: &str) -> String {
    let mut out = String::new();
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            other => out.push(other),
        }
    }
    out
}

/// The page: from the files that are there, always the same.
fn page(files: &BTreeMap<PathBuf, u64>, keys: &[PathBuf], base: Option<&str>) -> String {
    let text = |path: &Path| escape(&path.to_string_lossy());
    let mut hosts = BTreeSet::new();
    let mut rows = String::new();
    for (path, size) in files {
        let form = path.extension().and_then(|e| e.to_str());
        let (Some(form @ ("aci" | "oci")), Some(name)) = (form, path.parent()) else { continue };
        if let Some(host) = name.components().next() {
            hosts.insert(host.as_os_str().to_string_lossy().into_owned());
        }
        let signed = match form {
            "oci" => longer(path, Beside::STATEMENT),
            _ => path.clone(),
        };
        let beside = Beside::KINDS.iter().map(|kind| longer(&signed, Signature::extension(*kind)));
        let beside = std::iter::once(signed.clone()).filter(|it| it != path).chain(beside);
        let links: Vec<String> = beside
            .filter(|path| files.contains_key(path))
            .map(|path| {
                let word = path.extension().unwrap_or_default().to_string_lossy().into_owned();
                format!("<a href=\"images/{}\">{}</a>", text(&path), escape(&word))
            })
            .collect();
        let links = if links.is_empty() { "none".to_owned() } else { links.join(" ") };
        let stem = path.file_stem().unwrap_or_default();
        rows.push_str(&format!(
            "<tr><td>{}</td><td><a href=\"images/{}\">{}</a></td><td>{form}</td><td>{size}</td><td>{links}</td></tr>\n",
            text(name), text(path), text(Path::new(stem)),
        ));
    }
    let mut head = String::new();
    for host in &hosts {
        let base =
            base.map_or_else(|| format!("https://{host}"), |b| b.trim_end_matches('/').to_owned());
        let (host, base) = (escape(host), escape(&base));
        head.push_str(&format!(
            "<meta name=\"ac-discovery\" content=\"{host} {base}/{TEMPLATE}\">\n"
        ));
        for key in keys {
            head.push_str(&format!(
                "<meta name=\"ac-discovery-pubkeys\" content=\"{host} {base}/keys/{}\">\n",
                text(key)
            ));
        }
    }
    let links: Vec<String> = keys
        .iter()
        .map(|key| format!("<li><a href=\"keys/{0}\">{0}</a></li>\n", text(key)))
        .collect();
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n{head}<title>Images</title>\n\
         </head>\n<body>\n<h1>Images</h1>\n<table>\n<tr><th>name</th><th>version and platform</th>\
         <th>form</th><th>bytes</th><th>signatures</th></tr>\n{rows}</table>\n\
         <h1>Keys</h1>\n<ul>\n{}</ul>\n</body>\n</html>\n",
        links.concat()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::discovery::Page;

    #[test]
    fn the_page_says_to_programs_what_it_says_to_people() {
        let files: BTreeMap<PathBuf, u64> = [
            ("example.com/app/1.0-linux-amd64.aci", 10),
            ("example.com/app/1.0-linux-amd64.aci.asc", 1),
            ("other.test/b/latest-linux-amd64.oci", 20),
            ("other.test/b/latest-linux-amd64.oci.statement", 2),
            ("other.test/b/latest-linux-amd64.oci.statement.minisig", 2),
            ("other.test/b/<b>.aci", 2),
        ]
        .map(|(path, size)| (PathBuf::from(path), size))
        .into();
        let text = page(&files, &["k.pub".into()], None);
        assert!(text.contains(">asc</a>") && text.contains(">statement</a>"), "{text}");
        assert!(text.contains("&lt;b&gt;") && !text.contains("<b>"), "{text}");
        let read = Page::parse(text.as_bytes()).unwrap();
        let template = |name| read.templates(name).next().map(str::to_owned);
        assert_eq!(template("example.com/app"), Some(format!("https://example.com/{TEMPLATE}")));
        assert_eq!(read.keys_for("other.test/b").next(), Some("https://other.test/keys/k.pub"));
        let read = Page::parse(page(&files, &[], Some("http://h/x/")).as_bytes()).unwrap();
        assert_eq!(read.templates("other.test").next(), Some(&*format!("http://h/x/{TEMPLATE}")));
    }
}
