//! Where an archive goes: hashed, compressed, hashed again, and into a file that has its name only when
//! it is whole.

use super::Compression;
use crate::image::digest::{Algo, Digest, Hasher};
use crate::image::error::ImageError;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// A file, with the digest of what went into it where somebody wants to know.
struct Hashed {
    file: File,
    hasher: Option<Hasher>,
    size: u64,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        if let (Some(hasher), Some(written)) = (&mut self.hasher, bytes.get(..count)) {
            hasher.update(written);
        }
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

type Out = BufWriter<Hashed>;

/// The archive's compressor.
enum Encoder {
    None(Out),
    Gzip(flate2::write::GzEncoder<Out>),
    Zstd(zstd::stream::write::Encoder<'static, Out>),
}

impl Encoder {
    fn new(file: Hashed, compression: Compression) -> io::Result<Self> {
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

    fn finish(self) -> io::Result<Hashed> {
        let out = match self {
            Self::None(out) => out,
            Self::Gzip(out) => out.finish()?,
            Self::Zstd(out) => out.finish()?,
        };
        let hashed = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        match hashed.file.sync_all() {
            // A pipe has nothing that could be waited for.
            Err(error) if error.kind() != io::ErrorKind::InvalidInput => Err(error),
            _ => Ok(hashed),
        }
    }
}

/// What an archive came to.
pub(super) struct Written {
    /// Digest of the archive before it was compressed.
    pub plain: Digest,
    /// Digest and size of the file, where they were asked for.
    pub file: Option<(Digest, u64)>,
}

/// An archive being written.
pub(super) struct Sink {
    hasher: Hasher,
    out: Encoder,
    path: PathBuf,
}

impl Sink {
    /// Writes into `file`, which messages call `path`. `stored`: the digest of the file itself is wanted.
    pub fn new(
        file: File,
        path: &Path,
        (plain, stored): (Algo, Option<Algo>),
        compression: Compression,
    ) -> Result<Self, ImageError> {
        let file = Hashed { file, hasher: stored.map(Hasher::new), size: 0 };
        let out = Encoder::new(file, compression).map_err(|e| ImageError::io("write", path, e))?;
        Ok(Self { hasher: Hasher::new(plain), out, path: path.to_owned() })
    }

    pub fn write(&mut self, bytes: &[u8]) -> Result<(), ImageError> {
        self.hasher.update(bytes);
        self.out.write(bytes).map_err(|e| ImageError::io("write", &self.path, e))
    }

    /// Ends the archive; its bytes are on the disk then.
    pub fn finish(mut self) -> Result<Written, ImageError> {
        self.write(&[0; 1024])?;
        let done = self.out.finish().map_err(|e| ImageError::io("write", &self.path, e))?;
        let size = done.size;
        let file = done.hasher.map(|hasher| (hasher.finish(), size));
        Ok(Written { plain: self.hasher.finish(), file })
    }
}

/// A file that goes away unless it was finished.
pub(super) struct Unfinished(Option<PathBuf>);

impl Unfinished {
    /// Nothing that could go away.
    pub fn none() -> Self {
        Self(None)
    }

    pub fn into_place(mut self, output: &Path) -> Result<(), ImageError> {
        if let Some(path) = &self.0 {
            std::fs::rename(path, output).map_err(|e| ImageError::io("make", output, e))?;
        }
        self.0 = None;
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// A new file beside `output`, which it is to replace.
pub(super) fn beside(output: &Path) -> Result<(File, Unfinished), ImageError> {
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
    let made = File::options().read(true).write(true).create_new(true).open(&temp);
    let file = made.map_err(|e| ImageError::io("make", output, e))?;
    Ok((file, Unfinished(Some(temp))))
}

/// A file without a name, on the file system of `output`.
pub(super) fn scratch(output: &Path) -> Result<File, ImageError> {
    let place = output.with_file_name(".scratch");
    // Its name goes at once; the descriptor is what stays.
    Ok(beside(&place)?.0)
}
