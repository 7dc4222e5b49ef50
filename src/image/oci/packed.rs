//! A layout packed in a tar archive, read where it lies: the archive is walked once for where each of
//! its files begins, and those are then read by their place. Nothing is unpacked.

use crate::image::archive::{ArchiveError, EntryKind, Reader};
use crate::image::files::printable;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;

/// More files than any image has blobs.
const MAX_FILES: usize = 20_000;

/// Where the files of an archive are.
#[derive(Debug)]
pub(super) struct Packed {
    file: File,
    places: BTreeMap<String, (u64, u64)>,
    /// Symbolic links, by which `docker save` says that two layers are one.
    links: BTreeMap<String, String>,
}

impl Packed {
    /// Walks through an archive; an error is what is wrong with it.
    pub fn open(file: File) -> Result<Self, String> {
        let (mut places, mut links) = (BTreeMap::new(), BTreeMap::new());
        let mut reader = Reader::new(BufReader::with_capacity(256 << 10, &file));
        loop {
            let entry = match reader.next_entry() {
                Ok(Some(entry)) => entry,
                Ok(None) => break,
                Err(ArchiveError::Checksum(0)) => {
                    return Err("this is no tar archive, or it is compressed".to_owned());
                }
                Err(error) => return Err(error.to_string()),
            };
            if !matches!(entry.kind, EntryKind::File | EntryKind::Symlink) {
                continue;
            }
            let shown = printable(&entry.path);
            if entry.sparse.is_some() {
                return Err(format!("{shown}: the archive holds it as a sparse file"));
            }
            let path = String::from_utf8(entry.path).unwrap_or_default();
            let path = path.strip_prefix("./").unwrap_or(&path).to_owned();
            let known = if entry.kind == EntryKind::Symlink {
                let link = String::from_utf8(entry.link).unwrap_or_default();
                let twice = places.contains_key(&path);
                links.insert(path, link).is_some() || twice
            } else {
                let twice = links.contains_key(&path);
                places.insert(path, (reader.offset(), entry.size)).is_some() || twice
            };
            if known {
                return Err(format!("{shown}: the archive names this path twice"));
            }
            if places.len() + links.len() > MAX_FILES {
                return Err(format!("it holds more than {MAX_FILES} files"));
            }
        }
        if !reader.ended() {
            return Err("it is truncated: it ends without its end marker".to_owned());
        }
        drop(reader);
        Ok(Self { file, places, links })
    }

    /// Whether it has a file.
    pub fn has(&self, path: &str) -> bool {
        self.get(path).is_some()
    }

    /// One of its files, and how long it is.
    pub fn get(&self, path: &str) -> Option<(Part<'_>, u64)> {
        let (at, left) = match self.places.get(path) {
            Some(place) => *place,
            // One link, to a file of the archive.
            None => *self.places.get(&beside(path, self.links.get(path)?)?)?,
        };
        Some((Part { file: &self.file, at, left }, left))
    }
}

/// Where a link leads, inside the archive.
fn beside(path: &str, link: &str) -> Option<String> {
    if link.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = path.split('/').collect();
    parts.pop();
    for part in link.split('/').filter(|part| !matches!(*part, "" | ".")) {
        if part == ".." {
            parts.pop()?;
        } else {
            parts.push(part);
        }
    }
    Some(parts.join("/"))
}

/// A part of a file, read by its place, so that several can be read at once.
#[derive(Debug)]
pub(super) struct Part<'a> {
    file: &'a File,
    at: u64,
    left: u64,
}

impl Read for Part<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.read_at(buffer.get_mut(..most).unwrap_or_default(), self.at)?;
        self.at += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}
