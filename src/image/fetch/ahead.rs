//! What goes on beside the unpacking of a layer: the next blob is copied, and what is written is on
//! its way to the disk.

use crate::image::digest::Digest;
use crate::image::error::ImageError;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Scope, ScopedJoinHandle};

/// After so many bytes more the disk gets to work. Small images are left to the one sync at the end.
const STEP: u64 = 32 << 20;

/// How often somebody who waits is told how far it is.
const TICK: std::time::Duration = std::time::Duration::from_millis(100);

/// Writing back while more is written, so that the sync at the end, which alone decides whether an
/// image is stored, finds little to wait for. It runs in a thread of its own.
#[derive(Debug)]
pub(crate) struct Flush {
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
pub(crate) struct Flushing<'scope>(ScopedJoinHandle<'scope, Result<(), ImageError>>);

impl Flushing<'_> {
    /// Waits for it. What could not be written is an error here: a later sync would not hear of it.
    pub fn finish(self) -> Result<(), ImageError> {
        let lost = |_| ImageError::bad("the store", "the thread that syncs it failed");
        self.0.join().map_err(lost)?
    }
}

/// What copies a blob is told to stop by, and tells of what it has done.
pub(crate) struct Watch<'a> {
    /// Nobody wants it any more.
    pub stop: &'a AtomicBool,
    /// Nobody wants anything any more.
    pub interrupted: &'a AtomicBool,
    /// Is told of what is about to be written.
    pub flush: &'a Flush,
    /// Is told how much of the blob is there.
    pub progress: &'a (dyn Fn(u64) + Sync),
}

impl Watch<'_> {
    /// Whether it is to stop, as an error.
    pub fn check(&self) -> io::Result<()> {
        if self.stop.load(Ordering::Relaxed) || self.interrupted.load(Ordering::Relaxed) {
            return Err(io::Error::other("the fetch has ended"));
        }
        Ok(())
    }

    /// A reader that is watched.
    pub fn reader<R: Read>(&self, from: R) -> Watched<'_, R> {
        Watched { from, watch: self, count: 0 }
    }
}

/// Reads until it is told to stop, and says how far it is.
pub(crate) struct Watched<'a, R> {
    from: R,
    watch: &'a Watch<'a>,
    count: u64,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.watch.check()?;
        let count = self.from.read(buffer)?;
        self.count += count as u64;
        self.watch.flush.wrote(count as u64);
        (self.watch.progress)(self.count);
        Ok(count)
    }
}

/// A blob in the store's own space, and what its bytes are.
pub(super) type Copied = Result<(File, Digest), ImageError>;

/// Copies blobs, some at once, and hands them out in order.
#[derive(Debug)]
pub(super) struct Ahead<'a> {
    shared: Arc<Shared>,
    stop: &'a AtomicBool,
    next: std::cell::Cell<usize>,
}

/// What the copying threads and their customer share.
#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// What is done and not asked for yet, by the place of its order.
    done: BTreeMap<usize, Copied>,
    /// The next order to begin with.
    begin: usize,
    /// How many were asked for.
    asked: usize,
    /// Threads that still work.
    working: usize,
    /// An order failed, or nobody asks any more: no other is begun.
    over: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a> Ahead<'a> {
    /// Starts with the first orders: `workers` at once, and none that is further than that from what
    /// is asked for. After the first error nothing more is begun.
    pub fn start<'scope, T: Sync + 'scope>(
        scope: &'scope Scope<'scope, '_>,
        stop: &'a AtomicBool,
        workers: usize,
        orders: &'scope [T],
        copy: impl Fn(&T) -> Copied + Send + Sync + 'scope,
    ) -> Self {
        let workers = workers.clamp(1, orders.len().max(1));
        let state =
            State { done: BTreeMap::new(), begin: 0, asked: 0, working: workers, over: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let copy = Arc::new(copy);
        for _ in 0..workers {
            let (shared, copy) = (Arc::clone(&shared), Arc::clone(&copy));
            scope.spawn(move || {
                let _leaving = Leaving(&shared);
                while let Some(place) = begin(&shared, workers, orders.len()) {
                    let Some(order) = orders.get(place) else { break };
                    let result = copy(order);
                    let mut state = shared.lock();
                    state.over |= result.is_err();
                    state.done.insert(place, result);
                    shared.changed.notify_all();
                }
            });
        }
        Self { shared, stop, next: std::cell::Cell::new(0) }
    }

    /// The next one, in the order of the orders. Meanwhile `tick` is called every now and then.
    pub fn next(&self, tick: &mut dyn FnMut()) -> Copied {
        let place = self.next.replace(self.next.get() + 1);
        let mut state = self.shared.lock();
        state.asked = place + 1;
        self.shared.changed.notify_all();
        loop {
            if let Some(result) = state.done.remove(&place) {
                return result;
            }
            if state.working == 0 {
                return Err(ImageError::bad("the store", "the thread that copies blobs failed"));
            }
            drop(state);
            tick();
            let look = self.shared.lock();
            state = match look.done.contains_key(&place) || look.working == 0 {
                true => look,
                false => {
                    let waited = self.shared.changed.wait_timeout(look, TICK);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

/// The place of the order that a thread is to begin with, once it may.
fn begin(shared: &Shared, workers: usize, orders: usize) -> Option<usize> {
    let mut state = shared.lock();
    loop {
        if state.over || state.begin >= orders {
            return None;
        }
        if state.begin < state.asked + workers {
            let place = state.begin;
            state.begin += 1;
            return Some(place);
        }
        state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
}

/// Tells of a thread's end, however it ends.
struct Leaving<'a>(&'a Shared);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.lock().working -= 1;
        self.0.changed.notify_all();
    }
}

impl Drop for Ahead<'_> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.shared.lock().over = true;
        self.shared.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::digest::Algo;

    #[test]
    fn blobs_come_in_order_one_ahead_and_none_after_an_error() {
        for workers in [1, 2] {
            let root = tempfile::tempdir().unwrap();
            let path = root.path().join("file");
            std::fs::write(&path, "").unwrap();
            let (stop, copied) = (AtomicBool::new(false), Mutex::new(Vec::new()));
            let copy = |order: &u8| {
                copied.lock().unwrap().push(*order);
                match order {
                    3 => Err(ImageError::bad("3", "no")),
                    _ => Ok((File::open(&path).unwrap(), Digest::of(Algo::Sha256, &[*order]))),
                }
            };
            std::thread::scope(|scope| {
                let orders = &[1, 2, 3, 4, 5];
                let ahead = Ahead::start(scope, &stop, workers, orders, copy);
                for order in [1, 2] {
                    let (_, digest) = ahead.next(&mut || ()).unwrap();
                    assert_eq!(digest, Digest::of(Algo::Sha256, &[order]));
                    assert!(copied.lock().unwrap().len() <= usize::from(order) + workers);
                }
                assert!(ahead.next(&mut || ()).is_err());
                assert!(ahead.next(&mut || ()).is_err());
                drop(ahead);
            });
            let mut copied = copied.into_inner().unwrap();
            copied.sort_unstable();
            assert!(copied.len() < 3 + workers && copied.starts_with(&[1, 2, 3]), "{copied:?}");
            assert!(stop.into_inner());
        }
    }

    #[test]
    fn one_who_leaves_early_is_not_held_up() {
        let root = tempfile::tempdir().unwrap();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let (flush, flushing) = Flush::start(scope, root.path());
            let read = |(): &()| {
                let watch =
                    Watch { stop: &stop, interrupted: &stop, flush: &flush, progress: &|_| () };
                let mut endless = watch.reader(File::open("/dev/zero").unwrap());
                let error = io::copy(&mut endless, &mut io::sink()).unwrap_err();
                Err(ImageError::bad("zeros", error.to_string()))
            };
            let orders = [(), (), ()];
            std::thread::scope(|scope| drop(Ahead::start(scope, &stop, 2, &orders, read)));
            drop(flush);
            flushing.finish().unwrap();
        });
    }
}
