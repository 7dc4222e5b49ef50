//! The archive's bytes: read and decompressed in one thread, hashed in another, parsed in a third.

use crate::image::digest::{Algo, Digest, Hasher};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

const PIECE: usize = 256 << 10;
const QUEUE: usize = 8;
/// An archive may grow this much beyond …
const FREE_GROWTH: u64 = 1 << 30;
/// … this many times its compressed size.
const MAX_RATIO: u64 = 200;

/// How an archive is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, of one or several members.
    Gzip,
    /// Zstandard.
    Zstd,
}

impl Compression {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// What the first bytes of an archive say.
    fn detect(bytes: &[u8]) -> io::Result<Self> {
        let refuse = |name: &str| {
            let text = format!("{name} compression is not supported by this release");
            Err(io::Error::other(text))
        };
        match bytes {
            [] => Err(io::Error::other("the file is empty")),
            [0x1f, 0x8b, ..] => Ok(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Ok(Self::Zstd),
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Self::Zstd),
            [b'B', b'Z', b'h', ..] => refuse("bzip2"),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => refuse("xz"),
            [b'P', b'K', 3, 4, ..] => {
                Err(io::Error::other("this is a zip file, not a tar archive"))
            }
            _ => Ok(Self::None),
        }
    }
}

/// The uncompressed bytes, as pieces from the reading thread.
#[derive(Debug)]
pub(super) struct Pieces {
    from: Receiver<io::Result<Arc<Vec<u8>>>>,
    piece: Arc<Vec<u8>>,
    at: usize,
}

impl BufRead for Pieces {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.piece.len() {
            self.at = 0;
            // A closed channel is the end: errors are sent through it.
            self.piece = self.from.recv().unwrap_or_else(|_| Ok(Arc::default()))?;
        }
        Ok(self.piece.get(self.at..).unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        self.at = (self.at + count).min(self.piece.len());
    }
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut piece = self.fill_buf()?;
        let count = piece.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

/// The threads behind the pieces.
#[derive(Debug)]
pub(super) struct Digests {
    reading: JoinHandle<bool>,
    content: JoinHandle<Digest>,
}

impl Digests {
    /// Digest of the uncompressed archive, once everything was read.
    pub fn finish(self) -> io::Result<Digest> {
        let lost = || io::Error::other("a reading thread failed");
        if !self.reading.join().map_err(|_| lost())? {
            return Err(lost());
        }
        self.content.join().map_err(|_| lost())
    }
}

/// Counts what passes.
struct Tap<F> {
    input: File,
    count: u64,
    progress: F,
}

impl<F: FnMut(u64)> Read for Tap<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.count += count as u64;
        (self.progress)(self.count);
        Ok(count)
    }
}

/// Starts reading.
pub(super) fn start(
    input: File,
    size: u64,
    compression: Option<Compression>,
    hash: Algo,
    progress: impl FnMut(u64) + Send + 'static,
) -> (Pieces, Digests) {
    let (to_parser, from) = sync_channel(QUEUE);
    let (to_hasher, hashed) = sync_channel::<Arc<Vec<u8>>>(QUEUE);
    let tap = Tap { input, count: 0, progress };
    let limit = size.saturating_mul(MAX_RATIO).saturating_add(FREE_GROWTH);
    let reading = std::thread::spawn(move || {
        let result = read(tap, compression, limit, &to_parser, &to_hasher);
        match result {
            Ok(()) => true,
            Err(error) => {
                // The parser has gone when it failed itself: its error is the one that counts.
                let _ = to_parser.send(Err(error));
                false
            }
        }
    });
    let content = std::thread::spawn(move || {
        let mut hasher = Hasher::new(hash);
        for piece in hashed {
            hasher.update(&piece);
        }
        hasher.finish()
    });
    (Pieces { from, piece: Arc::default(), at: 0 }, Digests { reading, content })
}

fn read<F: FnMut(u64)>(
    tap: Tap<F>,
    wanted: Option<Compression>,
    limit: u64,
    to_parser: &SyncSender<io::Result<Arc<Vec<u8>>>>,
    to_hasher: &SyncSender<Arc<Vec<u8>>>,
) -> io::Result<()> {
    let mut input = BufReader::with_capacity(PIECE, tap);
    let found = Compression::detect(input.fill_buf()?)?;
    let compression = wanted.unwrap_or(found);
    if compression != found {
        return Err(io::Error::other(format!(
            "it is said to be compressed with {}, and the bytes say {}",
            compression.name(),
            found.name()
        )));
    }
    let mut total = 0;
    let mut pump = |source: &mut dyn Read| loop {
        let mut piece = Vec::with_capacity(PIECE);
        source.take(PIECE as u64).read_to_end(&mut piece).map_err(|e| {
            io::Error::new(e.kind(), format!("the {} stream is damaged: {e}", compression.name()))
        })?;
        if piece.is_empty() {
            return Ok::<(), io::Error>(());
        }
        total += piece.len() as u64;
        if total > limit {
            return Err(io::Error::other(format!(
                "it grows to more than {limit} bytes when uncompressed: refused as a bomb"
            )));
        }
        let piece = Arc::new(piece);
        let gone = || io::Error::other("the parser stopped");
        to_hasher.send(Arc::clone(&piece)).map_err(|_| gone())?;
        to_parser.send(Ok(piece)).map_err(|_| gone())?;
    };
    let mut input = match compression {
        Compression::None => {
            pump(&mut input)?;
            input
        }
        Compression::Gzip => {
            let mut decoder = flate2::bufread::MultiGzDecoder::new(input);
            pump(&mut decoder)?;
            decoder.into_inner()
        }
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
            decoder.window_log_max(27)?;
            pump(&mut decoder)?;
            decoder.finish()
        }
    };
    // What follows the compressed data is none of ours, but has to be readable.
    io::copy(&mut input, &mut io::sink()).map(|_| ())
}
