//! The work of hashing, spread over the processors: files of all trees and blobs from one heap.

use super::{Finding, Object, Problem, tree};
use crate::image::digest::{Digest, Hasher};
use crate::image::error::ImageError;
use crate::image::files::{Kind, Record};
use rocket_sys::root::Root;
use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// What is read at once.
const BUFFER: usize = 1 << 20;
/// More threads than this only wait for the disk.
const THREADS: usize = 8;
/// Lines of a list that one thread takes at a time.
const SHARE: usize = 32;

/// Something to compare.
pub(super) enum Job {
    Blob { digest: Digest, path: PathBuf, size: u64 },
    Tree { layer: Digest, root: Root, records: Vec<Record>, names: HashSet<Vec<u8>>, size: u64 },
}

impl Job {
    /// A blob to hash; a missing one is a finding.
    pub fn blob(
        digest: Digest,
        path: PathBuf,
        found: &mut Vec<Finding>,
    ) -> Result<Option<Self>, ImageError> {
        match std::fs::symlink_metadata(&path) {
            Ok(meta) => Ok(Some(Self::Blob { digest, size: meta.len(), path })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                found.push(of_blob(&digest, Problem::Missing, String::new()));
                Ok(None)
            }
            Err(error) => Err(ImageError::io("stat", path, error)),
        }
    }

    /// A tree to compare with its list.
    pub fn tree(layer: Digest, tree: &Path, records: Vec<Record>) -> io::Result<Self> {
        let names = records.iter().map(|record| record.path.clone()).collect();
        let size = records.iter().map(|record| match record.kind {
            Kind::File { size, .. } => size,
            _ => 0,
        });
        let size = size.fold(0, u64::saturating_add);
        Ok(Self::Tree { layer, root: Root::open(tree)?, records, names, size })
    }

    fn size(&self) -> u64 {
        match self {
            Self::Blob { size, .. } | Self::Tree { size, .. } => *size,
        }
    }

    fn shares(&self) -> usize {
        match self {
            Self::Blob { .. } => 1,
            Self::Tree { records, .. } => records.len().div_ceil(SHARE),
        }
    }

    fn work(
        &self,
        share: usize,
        buffer: &mut [u8],
        read: &AtomicU64,
    ) -> Result<Vec<Finding>, ImageError> {
        match self {
            Self::Blob { digest, path, .. } => {
                let mut file = File::open(path).map_err(|e| ImageError::io("open", path, e))?;
                let is = hash(digest, &mut file, buffer, read)
                    .map_err(|e| ImageError::io("read", path, e))?;
                let changed = |is| format!("its digest is {is}");
                let differs =
                    (is != *digest).then(|| of_blob(digest, Problem::Changed, changed(is)));
                Ok(differs.into_iter().collect())
            }
            Self::Tree { layer, root, records, names, .. } => {
                let mut found = Vec::new();
                for record in records.iter().skip(share * SHARE).take(SHARE) {
                    let mut say = |path: &[u8], problem, detail: String| {
                        found.push(Finding {
                            object: Object::Layer,
                            which: layer.to_string(),
                            path: Some(crate::image::files::printable(path)),
                            problem,
                            detail,
                        });
                    };
                    let looked = tree::look(root, record, names, &mut say, &mut |wanted, file| {
                        hash(wanted, file, buffer, read)
                    });
                    // A file that cannot be read is damaged, and the rest is worth looking at.
                    if let Err(error) = looked {
                        say(&record.path, Problem::Changed, format!("it cannot be read: {error}"));
                    }
                }
                Ok(found)
            }
        }
    }
}

fn of_blob(digest: &Digest, problem: Problem, detail: String) -> Finding {
    Finding { object: Object::Blob, which: digest.to_string(), path: None, problem, detail }
}

pub(super) fn hash(
    wanted: &Digest,
    file: &mut File,
    buffer: &mut [u8],
    read: &AtomicU64,
) -> io::Result<Digest> {
    let mut hasher = Hasher::new(wanted.algo());
    loop {
        let count = match file.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            count => count?,
        };
        if count == 0 {
            return Ok(hasher.finish());
        }
        hasher.update(buffer.get(..count).unwrap_or_default());
        read.fetch_add(count as u64, Ordering::Relaxed);
    }
}

/// Does all of it, telling how far it has come ten times a second.
pub(super) fn run(jobs: Vec<Job>, tick: super::Tick<'_>) -> Result<Vec<Finding>, ImageError> {
    let total = jobs.iter().map(Job::size).fold(0, u64::saturating_add);
    let mut tasks: Vec<(&Job, usize)> =
        jobs.iter().flat_map(|job| (0..job.shares()).map(move |share| (job, share))).collect();
    // What is large and cannot be divided first, so that nobody waits for it at the end.
    tasks.sort_by_key(|(job, _)| match job {
        Job::Blob { size, .. } => std::cmp::Reverse(*size),
        Job::Tree { .. } => std::cmp::Reverse(0),
    });
    let (next, read) = (AtomicUsize::new(0), AtomicU64::new(0));
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    let threads = threads.min(THREADS).min(tasks.len());
    std::thread::scope(|scope| {
        let (send, receive) = channel();
        for _ in 0..threads {
            let (send, tasks, next, read) = (send.clone(), &tasks, &next, &read);
            scope.spawn(move || {
                let mut buffer = vec![0; BUFFER];
                while let Some((job, share)) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let found = job.work(*share, &mut buffer, read);
                    if !matches!(&found, Ok(found) if found.is_empty()) && send.send(found).is_err()
                    {
                        return;
                    }
                }
            });
        }
        drop(send);
        let mut all = Vec::new();
        loop {
            match receive.recv_timeout(Duration::from_millis(100)) {
                Ok(found) => all.extend(found?),
                Err(RecvTimeoutError::Timeout) => tick(read.load(Ordering::Relaxed), total),
                Err(RecvTimeoutError::Disconnected) => return Ok(all),
            }
        }
    })
}
