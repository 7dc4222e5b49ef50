//! An archive as the source: what unpacking it would leave, written as [`super::walk`] writes a tree.
//!
//! Contents wait in a file without a name, so that entries can come in any order, twice, and from a pipe.

use super::header::Entry;
use super::sink::Sink;
use super::{Form, clamped, padding};
use crate::image::archive::{self, EntryKind, Reader};
use crate::image::error::ImageError;
use crate::image::files::{Xattrs, printable};
use crate::image::unpack::{Decompress, Fate, fate};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;

/// What a fetch takes, too.
const MAX_ENTRIES: usize = 2_000_000;
const MAX_DEPTH: usize = 500;
const MAX_PATH: usize = 4096;
const MAX_NAME: usize = 255;

/// A path, taken apart; sorted so that a directory's entries follow it.
type Path = Vec<Vec<u8>>;

/// An inode that unpacking would make.
struct Node {
    kind: EntryKind,
    mode: u32,
    uid: u32,
    gid: u32,
    mtime: (i64, u32),
    size: u64,
    link: Vec<u8>,
    xattrs: Xattrs,
    /// Where its content is in the scratch file.
    at: u64,
}

/// A directory that no entry speaks of.
fn implied() -> Node {
    Node {
        kind: EntryKind::Dir,
        mode: 0o755,
        uid: 0,
        gid: 0,
        mtime: (0, 0),
        size: 0,
        link: Vec::new(),
        xattrs: Vec::new(),
        at: 0,
    }
}

/// What an archive holds.
struct Tree {
    nodes: Vec<Node>,
    paths: BTreeMap<Path, usize>,
}

/// Writes what the archive `input` holds; `name` is what messages call it.
pub(super) fn copy(
    sink: &mut Sink,
    input: &mut dyn Read,
    name: &str,
    scratch: File,
    (form, clamp): (Form, Option<i64>),
) -> Result<Vec<String>, ImageError> {
    let mut spool = Spool { out: BufWriter::with_capacity(256 << 10, scratch), at: 0 };
    let mut tree = read(input, name, &mut spool, form)?;
    let spool = spool.out.into_inner().map_err(|e| broken(name, &e.into_error()))?;
    tree.parents(name)?;
    tree.write(sink, name, &spool, (form, clamp))?;
    Ok(Vec::new())
}

/// Where contents wait.
struct Spool {
    out: BufWriter<File>,
    at: u64,
}

fn broken(name: &str, error: &dyn std::error::Error) -> ImageError {
    ImageError::bad(name, error.to_string())
}

fn read(
    input: &mut dyn Read,
    name: &str,
    spool: &mut Spool,
    form: Form,
) -> Result<Tree, ImageError> {
    let plain = Decompress::new(input).map_err(|e| broken(name, &e))?;
    let mut reader = Reader::new(BufReader::with_capacity(256 << 10, plain));
    let mut tree = Tree { nodes: Vec::new(), paths: BTreeMap::new() };
    while let Some(entry) = reader.next_entry().map_err(|e| broken(name, &e))? {
        let fail =
            |problem: &str| ImageError::bad(format!("{name}: {}", printable(&entry.path)), problem);
        if tree.nodes.len() >= MAX_ENTRIES {
            return Err(fail("the archive has more than 2000000 entries"));
        }
        let path = apart(&entry.path).map_err(fail)?;
        if form == Form::Oci && path.iter().any(|part| part.starts_with(b".wh.")) {
            return Err(fail("in an OCI image this name would hide a file; pack an ACI"));
        }
        match entry.kind {
            EntryKind::Link => {
                let target = apart(&entry.link).map_err(fail)?;
                let node = tree.paths.get(&target).copied();
                let node = node.ok_or_else(|| fail("a hard link to what comes nowhere before"))?;
                if tree.nodes.get(node).is_some_and(|node| node.kind == EntryKind::Dir) {
                    return Err(fail("a hard link to a directory"));
                }
                tree.paths.insert(path, node);
            }
            EntryKind::Device if path.len() > 1 && path.first().is_some_and(|p| p == b"dev") => {}
            EntryKind::Device => {
                return Err(fail("device nodes outside /dev cannot be part of an image"));
            }
            kind => {
                if path.is_empty() && kind != EntryKind::Dir {
                    return Err(fail("the root has to be a directory"));
                }
                let at = spool.at;
                spool.take(&mut reader, name)?;
                let archive::Entry { mode, uid, gid, mtime, size, link, mut xattrs, .. } = entry;
                xattrs.retain(|(name, _)| fate(name) != Fate::Drop);
                let link = if kind == EntryKind::Symlink { link } else { Vec::new() };
                tree.paths.insert(path, tree.nodes.len());
                tree.nodes.push(Node { kind, mode, uid, gid, mtime, size, link, xattrs, at });
            }
        }
    }
    if !reader.ended() {
        return Err(ImageError::bad(name, "the archive is truncated: it has no end"));
    }
    // Whether a compressed stream is whole shows at its end.
    io::copy(&mut reader.into_inner(), &mut io::sink()).map_err(|e| broken(name, &e))?;
    Ok(tree)
}

impl Spool {
    fn take<R: io::BufRead>(
        &mut self,
        reader: &mut Reader<R>,
        name: &str,
    ) -> Result<(), ImageError> {
        loop {
            let piece = reader.content().map_err(|e| broken(name, &e))?;
            if piece.is_empty() {
                return Ok(());
            }
            self.out.write_all(piece).map_err(|e| broken(name, &e))?;
            let count = piece.len();
            self.at += count as u64;
            reader.consume(count);
        }
    }
}

/// A path inside the root, or why it is none.
fn apart(path: &[u8]) -> Result<Path, &'static str> {
    let parts = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".");
    let parts: Path = parts.map(<[u8]>::to_vec).collect();
    if parts.iter().any(|part| part == b"..") {
        return Err("the path climbs with \"..\"");
    }
    if path.contains(&0) {
        return Err("the path holds a NUL byte");
    }
    let long = path.len() > MAX_PATH || parts.iter().any(|part| part.len() > MAX_NAME);
    if long || parts.len() > MAX_DEPTH {
        return Err("the path is longer or deeper than a file system takes");
    }
    Ok(parts)
}

impl Tree {
    /// Makes the directories that no entry speaks of, and refuses what lies below none.
    fn parents(&mut self, name: &str) -> Result<(), ImageError> {
        let mut missing: BTreeSet<Path> = BTreeSet::new();
        if !self.paths.contains_key(&Path::new()) {
            missing.insert(Path::new());
        }
        for path in self.paths.keys() {
            for length in 0..path.len() {
                let Some(parent) = path.get(..length) else { continue };
                match self.paths.get(parent).and_then(|index| self.nodes.get(*index)) {
                    Some(node) if node.kind == EntryKind::Dir => {}
                    Some(_) => {
                        let subject = format!("{name}: {}", printable(&path.join(&b'/')));
                        let parent = printable(&parent.join(&b'/'));
                        let problem = format!(
                            "it lies below {parent}, which is no directory in this archive; \
                             extract it, and pack the directory"
                        );
                        return Err(ImageError::bad(subject, problem));
                    }
                    None => {
                        missing.insert(parent.to_vec());
                    }
                }
            }
        }
        for path in missing {
            self.paths.insert(path, self.nodes.len());
            self.nodes.push(implied());
        }
        Ok(())
    }

    fn write(
        &self,
        sink: &mut Sink,
        name: &str,
        spool: &File,
        (form, clamp): (Form, Option<i64>),
    ) -> Result<(), ImageError> {
        let mut first: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
        let mut buffer = vec![0; 256 << 10];
        for (parts, index) in &self.paths {
            let Some(node) = self.nodes.get(*index) else { continue };
            let mut path = form.top().to_vec();
            for part in parts {
                path.push(b'/');
                path.extend_from_slice(part);
            }
            let mut entry = Entry {
                path: &path,
                kind: b'0',
                mode: node.mode,
                uid: node.uid,
                gid: node.gid,
                mtime: clamped(node.mtime, clamp),
                size: 0,
                link: &node.link,
                xattrs: &node.xattrs,
            };
            let shown;
            match node.kind {
                EntryKind::Dir => {
                    shown = [path.as_slice(), b"/"].concat();
                    (entry.path, entry.kind) = (&shown, b'5');
                    sink.write(&entry.blocks())?;
                    continue;
                }
                EntryKind::Symlink => (entry.kind, entry.xattrs) = (b'2', &[]),
                EntryKind::Fifo => (entry.kind, entry.xattrs) = (b'6', &[]),
                _ => entry.size = node.size,
            }
            if let Some(known) = first.get(index) {
                let link = Entry { kind: b'1', link: known, size: 0, xattrs: &[], ..entry };
                sink.write(&link.blocks())?;
                continue;
            }
            sink.write(&entry.blocks())?;
            let mut at = node.at;
            let mut left = entry.size;
            while left > 0 {
                let want = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
                let piece = &mut buffer[..want];
                spool.read_exact_at(piece, at).map_err(|e| broken(name, &e))?;
                sink.write(piece)?;
                (at, left) = (at + want as u64, left - want as u64);
            }
            sink.write(padding(entry.size))?;
            first.insert(*index, path);
        }
        Ok(())
    }
}
