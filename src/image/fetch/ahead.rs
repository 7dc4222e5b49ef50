//! What goes on beside the unpacking of a layer: the next blob is copied, and what is written is on
//! its way to the disk.

use crate::image::digest::Digest;
use crate::image::error::ImageError;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Scope, ScopedJoinHandle};

/// After so many bytes more the disk gets to work. Small images are left to the one sync at the end.
const STEP: u64 = 32 << 20;

/// Writing back while more is written, so that the sync at the end, which alone decides whether an
/// image is stored, finds little to wait for. It runs in a thread of its own.
#[derive(Debug)]
pub(super) struct Flush {
    written: AtomicU64,
    kick: SyncSender<()>,
}

impl Flush {
    /// Starts the thread, for the file system that `dir` is in.
    pub fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        dir: &'scope Path,
    ) -> (Self, Flushing<'scope>) {
        let (kick, kicked) = sync_channel(1);
        let thread = scope.spawn(move || {
            // Opened now: an error from here on is told to this descriptor, and to no later one.
            let fd = File::open(dir).map_err(|e| ImageError::io("open", dir, e))?;
            for () in kicked {
                rustix::fs::syncfs(&fd).map_err(|e| ImageError::io("sync", dir, e))?;
            }
            Ok(())
        });
        (Self { written: AtomicU64::new(0), kick }, Flushing(thread))
    }

    /// So many bytes more were written, about.
    pub fn wrote(&self, bytes: u64) {
        let before = self.written.fetch_add(bytes, Ordering::Relaxed);
        if before / STEP != before.saturating_add(bytes) / STEP {
            // Full: it is about to start again anyway.
            let _ = self.kick.try_send(());
        }
    }
}

/// The thread of [`Flush`], which ends when that is dropped.
pub(super) struct Flushing<'scope>(ScopedJoinHandle<'scope, Result<(), ImageError>>);

impl Flushing<'_> {
    /// Waits for it. What could not be written is an error here: a later sync would not hear of it.
    pub fn finish(self) -> Result<(), ImageError> {
        let lost = |_| ImageError::bad("the store", "the thread that syncs it failed");
        self.0.join().map_err(lost)?
    }
}

/// A blob in the store's own space, and what its bytes are.
pub(super) type Copied = Result<(File, Digest), ImageError>;

/// Copies blobs in order, no more than one before it is asked for.
#[derive(Debug)]
pub(super) struct Ahead<'a> {
    copied: Receiver<Copied>,
    stop: &'a AtomicBool,
}

impl<'a> Ahead<'a> {
    /// Starts with the first order. `copy` gets each order and a check to make while it reads;
    /// after the first error nothing more is copied.
    pub fn start<'scope, T: Send + 'scope>(
        scope: &'scope Scope<'scope, '_>,
        stop: &'a AtomicBool,
        orders: Vec<T>,
        copy: impl Fn(T) -> Copied + Send + 'scope,
    ) -> Self {
        // Without room: whoever sends waits until it is taken.
        let (send, copied) = sync_channel(0);
        scope.spawn(move || {
            for order in orders {
                let result = copy(order);
                let failed = result.is_err();
                if send.send(result).is_err() || failed {
                    return;
                }
            }
        });
        Self { copied, stop }
    }

    /// The next one, in the order of the orders.
    pub fn next(&self) -> Copied {
        let lost = |_| ImageError::bad("the store", "the thread that copies blobs failed");
        self.copied.recv().map_err(lost)?
    }
}

impl Drop for Ahead<'_> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Reads until it is told to stop, and says how far it is.
pub(super) struct Stoppable<'a> {
    /// What is read.
    pub file: File,
    /// Told so.
    pub stop: &'a AtomicBool,
    /// Is told of what is read, and so about to be written.
    pub flush: &'a Flush,
}

impl Read for Stoppable<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(io::Error::other("the fetch has ended"));
        }
        let count = self.file.read(buffer)?;
        self.flush.wrote(count as u64);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::digest::Algo;
    use std::sync::Mutex;

    #[test]
    fn blobs_come_in_order_one_ahead_and_none_after_an_error() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("file");
        std::fs::write(&path, "").unwrap();
        let (stop, copied) = (AtomicBool::new(false), Mutex::new(Vec::new()));
        let copy = |order: u8| {
            copied.lock().unwrap().push(order);
            match order {
                3 => Err(ImageError::bad("3", "no")),
                _ => Ok((File::open(&path).unwrap(), Digest::of(Algo::Sha256, &[order]))),
            }
        };
        std::thread::scope(|scope| {
            let ahead = Ahead::start(scope, &stop, vec![1, 2, 3, 4], copy);
            for order in [1, 2] {
                let (_, digest) = ahead.next().unwrap();
                assert_eq!(digest, Digest::of(Algo::Sha256, &[order]));
                assert!(copied.lock().unwrap().len() <= usize::from(order) + 1);
            }
            assert!(ahead.next().is_err());
            assert!(ahead.next().is_err());
        });
        assert_eq!(*copied.lock().unwrap(), [1, 2, 3]);
        assert!(stop.into_inner());
    }

    #[test]
    fn one_who_leaves_early_is_not_held_up() {
        let root = tempfile::tempdir().unwrap();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let (flush, flushing) = Flush::start(scope, root.path());
            let read = |()| {
                let file = File::open("/dev/zero").unwrap();
                let mut endless = Stoppable { file, stop: &stop, flush: &flush };
                let error = io::copy(&mut endless, &mut io::sink()).unwrap_err();
                Err(ImageError::bad("zeros", error.to_string()))
            };
            std::thread::scope(|scope| drop(Ahead::start(scope, &stop, vec![()], read)));
            drop(flush);
            flushing.finish().unwrap();
        });
    }
}
