//! A root file system on disk becomes an ACI: the same tree gives the same bytes.
//!
//! Entries are sorted; owner, mode, time, extended attributes and hard links are as on disk.
//! `SOURCE_DATE_EPOCH` clamps times to at most that moment. Nothing of the host or of now is written.

mod header;
mod walk;

use crate::image::digest::{Algo, Hasher};
use crate::image::error::ImageError;
use crate::image::files::printable;
use crate::image::manifest::ImageManifest;
use crate::image::store::ImageId;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// What to pack.
#[derive(Debug)]
pub struct Request<'a> {
    /// The tree.
    pub rootfs: &'a Path,
    /// What it says about itself.
    pub manifest: &'a ImageManifest,
    /// The file to make.
    pub output: &'a Path,
    /// How to compress it.
    pub compression: Compression,
    /// No time is later than this.
    pub clamp: Option<i64>,
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

/// The archive's compressor.
enum Encoder {
    None(BufWriter<File>),
    Gzip(flate2::write::GzEncoder<BufWriter<File>>),
    Zstd(zstd::stream::write::Encoder<'static, BufWriter<File>>),
}

impl Encoder {
    fn new(file: File, compression: Compression) -> io::Result<Self> {
        let out = BufWriter::with_capacity(256 << 10, file);
        Ok(match compression {
            Compression::None => Self::None(out),
            // Neither name nor time go into the header.
            Compression::Gzip => {
                Self::Gzip(flate2::GzBuilder::new().write(out, flate2::Compression::new(6)))
            }
            Compression::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(out, 3)?;
                encoder.include_checksum(true)?;
                Self::Zstd(encoder)
            }
        })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::None(out) => out.write_all(bytes),
            Self::Gzip(out) => out.write_all(bytes),
            Self::Zstd(out) => out.write_all(bytes),
        }
    }

    fn finish(self) -> io::Result<()> {
        let out = match self {
            Self::None(out) => out,
            Self::Gzip(out) => out.finish()?,
            Self::Zstd(out) => out.finish()?,
        };
        match out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all() {
            // A pipe has nothing that could be waited for.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            result => result,
        }
    }
}

/// Where the archive goes: hashed, then compressed.
struct Sink {
    hasher: Hasher,
    out: Encoder,
    path: PathBuf,
}

impl Sink {
    fn write(&mut self, bytes: &[u8]) -> Result<(), ImageError> {
        self.hasher.update(bytes);
        self.out.write(bytes).map_err(|e| ImageError::io("write", &self.path, e))
    }
}

/// A file that goes away unless it was finished.
struct Unfinished(Option<PathBuf>);

impl Unfinished {
    fn into_place(mut self, output: &Path) -> Result<(), ImageError> {
        if let Some(path) = &self.0 {
            std::fs::rename(path, output).map_err(|e| ImageError::io("make", output, e))?;
        }
        self.0 = None;
        Ok(())
    }
}

/// A new file beside `output`, which it is to replace.
fn beside(output: &Path) -> Result<(File, Unfinished), ImageError> {
    let name = output.file_name().ok_or_else(|| {
        ImageError::bad(output.display().to_string(), "the output needs a file name")
    })?;
    // The rename at the end would put a file where a device, a pipe or a symlink was.
    if std::fs::symlink_metadata(output).is_ok_and(|there| !there.is_file()) {
        let subject = output.display().to_string();
        return Err(ImageError::bad(subject, "there is something that is no regular file"));
    }
    let temp =
        output.with_file_name(format!(".{}.{}", name.to_string_lossy(), uuid::Uuid::new_v4()));
    let file = File::create_new(&temp).map_err(|e| ImageError::io("make", output, e))?;
    Ok((file, Unfinished(Some(temp))))
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
            (out.map_err(|e| ImageError::io("write", path, e))?.into(), Unfinished(None))
        }
    };
    let out =
        Encoder::new(file, Compression::None).map_err(|e| ImageError::io("write", path, e))?;
    let mut sink = Sink { hasher: Hasher::new(Algo::Sha256), out, path: path.to_owned() };
    let notes = walk::walk(&mut sink, tree, b".", clamp)?;
    sink.write(&[0; 1024])?;
    sink.out.finish().map_err(|e| ImageError::io("write", path, e))?;
    unfinished.into_place(path)?;
    Ok(notes)
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Packs.
pub fn pack(request: &Request<'_>) -> Result<Packed, ImageError> {
    request.manifest.validate()?;
    let (file, unfinished) = beside(request.output)?;
    let make = |e| ImageError::io("make", request.output, e);
    let out = Encoder::new(file, request.compression).map_err(make)?;
    let mut sink = Sink { hasher: Hasher::new(Algo::Sha512), out, path: request.output.to_owned() };
    manifest_entry(&mut sink, request)?;
    let notes = walk::walk(&mut sink, request.rootfs, b"rootfs", request.clamp)?;
    sink.write(&[0; 1024])?;
    sink.out.finish().map_err(|e| ImageError::io("write", request.output, e))?;
    unfinished.into_place(request.output)?;
    Ok(Packed { id: ImageId::new(sink.hasher.finish()), notes })
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
    printable(path.strip_prefix(b"rootfs").filter(|p| !p.is_empty()).unwrap_or(b"/"))
}
