//! Decompressing a stream: what it is says its first bytes, never a name. Members, frames and streams
//! that follow one another are one archive; what else follows is refused. Memory is bounded, and what
//! would need more is refused before it is given.

use flate2::FlushDecompress;
use std::io::{self, Read};
use zstd::zstd_safe::{self, DCtx, DParameter, InBuffer, OutBuffer};

/// Largest window of a Zstandard frame: what its program calls `--long=27`.
const MAX_ZSTD_WINDOW: u64 = 128 << 20;
const MAX_ZSTD_WINDOW_LOG: u32 = 27;
/// What unpacking xz may need: a dictionary of 64 MiB and what liblzma has beside it. The next larger
/// dictionary that the format can say is one of 96 MiB.
const MAX_XZ_MEMORY: u64 = 72 << 20;
const BUFFER: usize = 128 << 10;
/// As much of a beginning as any format needs to be told.
const HEAD: usize = 18;

/// How a stream is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Not at all.
    None,
    /// gzip.
    Gzip,
    /// bzip2.
    Bzip2,
    /// xz, with LZMA2.
    Xz,
    /// Zstandard.
    Zstd,
}

impl Format {
    fn name(self) -> &'static str {
        match self {
            Self::None => "uncompressed",
            Self::Gzip => "gzip",
            Self::Bzip2 => "bzip2",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
        }
    }

    /// What the first bytes of an archive say, and which of them are known and of no use.
    fn detect(head: &[u8]) -> io::Result<Self> {
        let refuse = |text: &str| Err(io::Error::other(text.to_owned()));
        let unsupported = |name: &str| {
            let text = format!(
                "it is compressed with {name}, which is not supported; repack it with gzip, bzip2, \
                 xz or zstd"
            );
            Err(io::Error::other(text))
        };
        match head {
            [] => refuse("the file is empty"),
            [0x1f, 0x8b, ..] => Ok(Self::Gzip),
            [0x1f, 0x9d, ..] => unsupported("compress"),
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Self::Zstd),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Ok(Self::Xz),
            _ if bzip2_member(head) => Ok(Self::Bzip2),
            [0x04, 0x22, 0x4d, 0x18, ..] => unsupported("lz4"),
            [b'L', b'Z', b'I', b'P', 0 | 1, ..] => unsupported("lzip"),
            [0x5d, 0, 0, _, _, ..] => unsupported("the old lzma format"),
            [b'P', b'K', 3, 4, ..] => refuse("this is a zip file, not a tar archive"),
            _ if encrypted(head) => refuse(
                "it is encrypted with OpenPGP, which is not supported; decrypt it first (gpg --decrypt)",
            ),
            _ if head.starts_with(b"-----BEGIN PGP SIG") => {
                refuse("this is a signature, not an image")
            }
            _ => Ok(Self::None),
        }
    }

    /// Whether another member, frame or stream begins like this.
    fn follows(self, head: &[u8]) -> bool {
        match self {
            Self::Gzip => head.starts_with(&[0x1f, 0x8b]),
            // A cut beginning is told by its decoder.
            Self::Bzip2 => head.starts_with(b"BZh"),
            Self::Zstd => {
                matches!(head, [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..])
            }
            // liblzma knows by itself, and the padding between streams.
            Self::None | Self::Xz => false,
        }
    }
}

/// The text before it could begin a tar archive's first name; what follows it could not.
fn bzip2_member(head: &[u8]) -> bool {
    let after = match head {
        [b'B', b'Z', b'h', b'1'..=b'9', after @ ..] => after,
        _ => return false,
    };
    after.starts_with(&[0x31, 0x41, 0x59, 0x26, 0x53, 0x59])
        || after.starts_with(&[0x17, 0x72, 0x45, 0x38, 0x50, 0x90])
}

/// The beginning of an encrypted OpenPGP message, armoured or not: a packet with a session key.
fn encrypted(head: &[u8]) -> bool {
    match head {
        [0x8c | 0xc3, length, version, ..] => {
            (4..0x80).contains(length) && (4..=6).contains(version)
        }
        [0x84 | 0xc1, _, 3, ..] | [0x85 | 0xc1, _, _, 3, ..] => true,
        _ => head.starts_with(b"-----BEGIN PGP MES"),
    }
}

/// A decoder at work.
enum Decoder {
    /// Bytes pass as they are.
    None,
    Gzip(Box<flate2::Decompress>),
    Bzip2(Box<bzip2::Decompress>),
    Xz(Box<liblzma::stream::Stream>),
    Zstd(Box<DCtx<'static>>),
}

/// What a step of a decoder came to.
struct Step {
    read: usize,
    written: usize,
    ended: bool,
}

impl Decoder {
    fn new(format: Format) -> io::Result<Self> {
        Ok(match format {
            Format::None => Self::None,
            Format::Gzip => Self::Gzip(Box::new(flate2::Decompress::new_gzip(15))),
            Format::Bzip2 => Self::Bzip2(Box::new(bzip2::Decompress::new(false))),
            Format::Xz => {
                let concatenated = liblzma::stream::CONCATENATED;
                let stream =
                    liblzma::stream::Stream::new_stream_decoder(MAX_XZ_MEMORY, concatenated)?;
                Self::Xz(Box::new(stream))
            }
            Format::Zstd => {
                let no_memory = || io::Error::from(io::ErrorKind::OutOfMemory);
                let mut context = DCtx::try_create().ok_or_else(no_memory)?;
                let limit = DParameter::WindowLogMax(MAX_ZSTD_WINDOW_LOG);
                context.set_parameter(limit).map_err(zstd_error)?;
                Self::Zstd(Box::new(context))
            }
        })
    }

    fn step(&mut self, input: &[u8], output: &mut [u8], last: bool) -> io::Result<Step> {
        let difference = |before: u64, after: u64| {
            usize::try_from(after.saturating_sub(before)).unwrap_or(usize::MAX)
        };
        match self {
            Self::None => {
                let count = input.len().min(output.len());
                if let (Some(from), Some(to)) = (input.get(..count), output.get_mut(..count)) {
                    to.copy_from_slice(from);
                }
                Ok(Step { read: count, written: count, ended: last })
            }
            Self::Gzip(decoder) => {
                let before = (decoder.total_in(), decoder.total_out());
                let status = decoder
                    .decompress(input, output, FlushDecompress::None)
                    .map_err(io::Error::other)?;
                Ok(Step {
                    read: difference(before.0, decoder.total_in()),
                    written: difference(before.1, decoder.total_out()),
                    ended: status == flate2::Status::StreamEnd,
                })
            }
            Self::Bzip2(decoder) => {
                let before = (decoder.total_in(), decoder.total_out());
                let status = decoder.decompress(input, output).map_err(io::Error::other)?;
                Ok(Step {
                    read: difference(before.0, decoder.total_in()),
                    written: difference(before.1, decoder.total_out()),
                    ended: status == bzip2::Status::StreamEnd,
                })
            }
            Self::Xz(decoder) => xz_step(decoder, input, output, last),
            Self::Zstd(decoder) => {
                let mut from = InBuffer::around(input);
                let mut to = OutBuffer::around(output);
                let left = decoder.decompress_stream(&mut to, &mut from).map_err(zstd_error)?;
                Ok(Step { read: from.pos(), written: to.pos(), ended: left == 0 })
            }
        }
    }
}

fn xz_step(
    decoder: &mut liblzma::stream::Stream,
    input: &[u8],
    output: &mut [u8],
    last: bool,
) -> io::Result<Step> {
    use liblzma::stream::{Action, Error, Status};
    let action = if last { Action::Finish } else { Action::Run };
    let before = (decoder.total_in(), decoder.total_out());
    match decoder.process(input, output, action) {
        Ok(status) => Ok(Step {
            read: usize::try_from(decoder.total_in() - before.0).unwrap_or(usize::MAX),
            written: usize::try_from(decoder.total_out() - before.1).unwrap_or(usize::MAX),
            ended: status == Status::StreamEnd,
        }),
        Err(Error::MemLimit) => {
            // It takes no limit below what it needs, so it can be asked.
            let needed = (MAX_XZ_MEMORY >> 20..=5 << 10)
                .find(|mib| decoder.set_memlimit(mib << 20).is_ok())
                .map_or_else(|| "more than 5 GiB".to_owned(), |mib| format!("{mib} MiB"));
            Err(refused(format!(
                "its xz stream needs {needed} of memory, the limit is {} MiB (a dictionary of \
                 64 MiB): pack it with a smaller dictionary",
                MAX_XZ_MEMORY >> 20
            )))
        }
        Err(error) => Err(io::Error::other(error)),
    }
}

fn zstd_error(code: usize) -> io::Error {
    io::Error::other(zstd_safe::get_error_name(code))
}

/// An error that says everything by itself.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refused(String);

fn refused(text: String) -> io::Error {
    io::Error::other(Refused(text))
}

/// What the header of a Zstandard frame asks for; nothing when there is too little of it.
fn zstd_window(head: &[u8]) -> Option<u64> {
    let (magic, rest) = head.split_at_checked(4)?;
    if magic != [0x28, 0xb5, 0x2f, 0xfd] {
        return Some(0);
    }
    let (descriptor, rest) = rest.split_first()?;
    if descriptor & 0x20 == 0 {
        let window = rest.first()?;
        let base = 1u64 << (10 + (window >> 3));
        return Some(base + base / 8 * u64::from(window & 7));
    }
    // A single segment: its window is its content.
    let skip = [0usize, 1, 2, 4].get(usize::from(descriptor & 3)).copied()?;
    let length = [1usize, 2, 4, 8].get(usize::from(descriptor >> 6)).copied()?;
    let field = rest.get(skip..skip + length)?;
    let value = field.iter().rev().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
    Some(if length == 2 { value + 256 } else { value })
}

/// The bytes behind the compression.
pub(crate) struct Decompress<R> {
    input: R,
    /// Holds what was read and not used yet, from `at` to `end`.
    buffer: Vec<u8>,
    at: usize,
    end: usize,
    eof: bool,
    format: Format,
    decoder: Decoder,
    /// Before the first member, or between two.
    between: bool,
    members: u64,
    done: bool,
}

impl<R: Read> Decompress<R> {
    /// Looks what it is.
    pub fn new(input: R) -> io::Result<Self> {
        let mut new = Self {
            input,
            buffer: vec![0; BUFFER],
            at: 0,
            end: 0,
            eof: false,
            format: Format::None,
            decoder: Decoder::None,
            between: true,
            members: 0,
            done: false,
        };
        new.format = Format::detect(new.want(HEAD)?)?;
        new.decoder = Decoder::new(new.format)?;
        Ok(new)
    }

    /// What is buffered, at least `count` bytes unless there are no more.
    fn want(&mut self, count: usize) -> io::Result<&[u8]> {
        while !self.eof && self.end - self.at < count {
            self.buffer.copy_within(self.at..self.end, 0);
            self.end -= self.at;
            self.at = 0;
            let space = self.buffer.get_mut(self.end..).unwrap_or_default();
            match self.input.read(space) {
                Ok(0) => self.eof = true,
                Ok(count) => self.end += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.buffer.get(self.at..self.end).unwrap_or_default())
    }

    /// Comes to the next member, if there is one, and checks what it wants.
    fn next_member(&mut self) -> io::Result<()> {
        let (format, first) = (self.format, self.members == 0);
        self.members += 1;
        let head = self.want(HEAD)?;
        if !first && head.is_empty() {
            self.done = true;
            return Ok(());
        }
        if !first && !format.follows(head) {
            return self.only_zeros();
        }
        if format == Format::Zstd {
            let window = zstd_window(head).unwrap_or(0);
            if window > MAX_ZSTD_WINDOW {
                return Err(refused(format!(
                    "its zstd stream needs a window of {} MiB, the limit is {} MiB: pack it without \
                     --ultra, with --long=27 at most",
                    window.div_ceil(1 << 20),
                    MAX_ZSTD_WINDOW >> 20
                )));
            }
        } else if !first {
            self.decoder = Decoder::new(format)?;
        }
        Ok(())
    }

    /// Zeros may fill up the last block of a tape; nothing else may follow.
    fn only_zeros(&mut self) -> io::Result<()> {
        loop {
            let piece = self.want(1)?;
            if piece.is_empty() {
                self.done = true;
                return Ok(());
            }
            if piece.iter().any(|byte| *byte != 0) {
                return Err(refused(format!(
                    "something follows the end of its {} stream that does not belong to it",
                    self.format.name()
                )));
            }
            self.at = self.end;
        }
    }

    fn some(&mut self, output: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.done || output.is_empty() {
                return Ok(0);
            }
            if self.between {
                self.next_member()?;
                self.between = false;
                continue;
            }
            self.want(1)?;
            let input = self.buffer.get(self.at..self.end).unwrap_or_default();
            let last = input.is_empty();
            let step = self.decoder.step(input, output, last)?;
            self.at += step.read;
            if step.ended {
                match self.format {
                    Format::None | Format::Xz => self.done = true,
                    _ => self.between = true,
                }
            } else if step.written == 0 && step.read == 0 && last {
                return Err(io::Error::other("it is cut off"));
            }
            if step.written > 0 {
                return Ok(step.written);
            }
        }
    }
}

impl<R: Read> Read for Decompress<R> {
    fn read(&mut self, output: &mut [u8]) -> io::Result<usize> {
        let damaged = |error: io::Error, format: Format| {
            if format == Format::None || error.get_ref().is_some_and(|e| e.is::<Refused>()) {
                return error;
            }
            io::Error::new(
                error.kind(),
                format!("the {} stream is damaged: {error}", format.name()),
            )
        };
        self.some(output).map_err(|error| damaged(error, self.format))
    }
}

#[cfg(test)]
mod tests;
