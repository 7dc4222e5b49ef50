//! The archive's bytes: read and decompressed in one thread, hashed in another, parsed in a third.

use super::decompress::Decompress;
use crate::image::digest::{Algo, Digest, Hasher};
use std::fs::File;
use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

const PIECE: usize = 256 << 10;
const QUEUE: usize = 8;
/// An archive may grow this much beyond …
const FREE_GROWTH: u64 = 1 << 30;
/// … this many times its compressed size.
const MAX_RATIO: u64 = 200;

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
    hash: Algo,
    progress: impl FnMut(u64) + Send + 'static,
) -> (Pieces, Digests) {
    let (to_parser, from) = sync_channel(QUEUE);
    let (to_hasher, hashed) = sync_channel::<Arc<Vec<u8>>>(QUEUE);
    let tap = Tap { input, count: 0, progress };
    let limit = size.saturating_mul(MAX_RATIO).saturating_add(FREE_GROWTH);
    let reading = std::thread::spawn(move || {
        let result = read(tap, limit, &to_parser, &to_hasher);
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
    limit: u64,
    to_parser: &SyncSender<io::Result<Arc<Vec<u8>>>>,
    to_hasher: &SyncSender<Arc<Vec<u8>>>,
) -> io::Result<()> {
    let mut input = Decompress::new(tap)?;
    let mut total = 0;
    loop {
        let mut piece = Vec::with_capacity(PIECE);
        input.by_ref().take(PIECE as u64).read_to_end(&mut piece)?;
        if piece.is_empty() {
            return Ok(());
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
    }
}
