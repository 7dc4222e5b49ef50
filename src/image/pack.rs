//! A root file system becomes an image, an ACI or an OCI one: the same tree gives the same bytes.
//!
//! Entries are sorted; owner, mode, time, extended attributes and hard links are as on disk, or as in the
//! archive. `SOURCE_DATE_EPOCH` clamps times to at most that moment. Nothing of the host or of now is written.

mod header;
mod oci;
mod sink;
mod tarball;
mod walk;

use crate::image::digest::Algo;
use crate::image::error::ImageError;
use crate::image::files::printable;
use crate::image::manifest::ImageManifest;
use crate::image::store::ImageId;
use sink::{Sink, Unfinished, beside, scratch};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// What to pack.
#[derive(Debug)]
pub struct Request<'a> {
    /// The tree.
    pub source: Source<'a>,
    /// What it says about itself.
    pub manifest: &'a ImageManifest,
    /// Where it goes.
    pub output: &'a Output,
    /// How to compress it.
    pub compression: Compression,
    /// No time is later than this.
    pub clamp: Option<i64>,
    /// An OCI image's user has the group that the image's own passwd gives it.
    pub primary_group: bool,
}

/// Where a root file system comes from.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// A directory.
    Dir(&'a Path),
    /// An archive, perhaps compressed; standard input when it is `-`.
    Tar(&'a Path),
}

/// Where an image goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// An ACI.
    Aci(PathBuf),
    /// An OCI layout, new or added to, and the tag in it.
    OciDir(PathBuf, String),
    /// An OCI layout in a new archive, and the tag in it.
    OciArchive(PathBuf, String),
}

/// What is made of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Aci,
    Oci,
    /// A plain archive.
    Plain,
}

impl Form {
    /// The root's name in the archive.
    fn top(self) -> &'static [u8] {
        match self {
            Self::Aci => b"rootfs",
            Self::Oci | Self::Plain => b".",
        }
    }
}

/// What came of it.
#[derive(Debug)]
pub struct Packed {
    /// The image's id.
    pub id: ImageId,
    /// Things a person should know.
    pub notes: Vec<String>,
}

/// How a packed archive is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

/// Writes a tree that is no image as a plain tar archive, to a file or to standard output; what a
/// person should know.
pub fn archive(
    tree: &Path,
    output: Option<&Path>,
    clamp: Option<i64>,
) -> Result<Vec<String>, ImageError> {
    let path = output.unwrap_or(Path::new("standard output"));
    let (file, unfinished) = match output {
        Some(output) => beside(output)?,
        None => {
            let out = io::stdout().as_fd().try_clone_to_owned();
            (out.map_err(|e| ImageError::io("write", path, e))?.into(), Unfinished::none())
        }
    };
    let mut sink = Sink::new(file, path, (Algo::Sha256, None), Compression::None)?;
    let notes = walk::walk(&mut sink, tree, Form::Plain, clamp)?;
    sink.finish()?;
    unfinished.into_place(path)?;
    Ok(notes)
}

/// Packs.
pub fn pack(request: &Request<'_>) -> Result<Packed, ImageError> {
    request.manifest.validate()?;
    match request.output {
        Output::Aci(file) => aci(request, file),
        Output::OciDir(dir, tag) => oci::layout(request, dir, tag),
        Output::OciArchive(file, tag) => oci::archive(request, file, tag),
    }
}

fn aci(request: &Request<'_>, output: &Path) -> Result<Packed, ImageError> {
    let (file, unfinished) = beside(output)?;
    let mut sink = Sink::new(file, output, (Algo::Sha512, None), request.compression)?;
    manifest_entry(&mut sink, request)?;
    let notes = tree(&mut sink, request, Form::Aci, output)?;
    let written = sink.finish()?;
    unfinished.into_place(output)?;
    Ok(Packed { id: ImageId::new(written.plain), notes })
}

/// Writes the tree; what has to wait does so on the file system of `output`.
fn tree(
    sink: &mut Sink,
    request: &Request<'_>,
    form: Form,
    output: &Path,
) -> Result<Vec<String>, ImageError> {
    match request.source {
        Source::Dir(dir) => walk::walk(sink, dir, form, request.clamp),
        Source::Tar(file) => {
            let scratch = scratch(output)?;
            let how = (form, request.clamp);
            if file == Path::new("-") {
                let mut input = io::stdin().lock();
                return tarball::copy(sink, &mut input, "standard input", scratch, how);
            }
            let mut input = File::open(file).map_err(|e| ImageError::io("open", file, e))?;
            tarball::copy(sink, &mut input, &file.display().to_string(), scratch, how)
        }
    }
}

fn manifest_entry(sink: &mut Sink, request: &Request<'_>) -> Result<(), ImageError> {
    let bytes = request.manifest.to_json();
    let entry = header::Entry {
        path: b"manifest",
        kind: b'0',
        mode: 0o644,
        mtime: (request.clamp.unwrap_or(0).max(0), 0),
        size: bytes.len() as u64,
        ..header::Entry::default()
    };
    sink.write(&entry.blocks())?;
    sink.write(&bytes)?;
    sink.write(padding(bytes.len() as u64))
}

/// The zeros after content of this size.
fn padding(size: u64) -> &'static [u8] {
    const ZEROS: [u8; 512] = [0; 512];
    let rest = usize::try_from(size % 512).unwrap_or(0);
    if rest == 0 { &[] } else { &ZEROS[rest..] }
}

fn in_tree(path: &[u8]) -> String {
    let inside = path.strip_prefix(b"rootfs").or_else(|| path.strip_prefix(b"."));
    printable(inside.filter(|p| !p.is_empty()).unwrap_or(b"/"))
}

/// A time, but no later than asked for.
fn clamped((seconds, nanos): (i64, u32), clamp: Option<i64>) -> (i64, u32) {
    match clamp {
        Some(latest) if seconds >= latest => (latest, 0),
        _ => (seconds, nanos),
    }
}
