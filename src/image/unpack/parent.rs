//! The parent's side: start the worker, give it its job and its id maps, hear it out.

use super::wire::{Event, Job, Kind, MAX_FDS, Report, VERSION, receive, send};
use crate::image::digest::Algo;
use crate::image::error::ImageError;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often it is looked whether somebody said stop.
const LOOK: Duration = Duration::from_millis(100);
/// Name of the manifest that the worker takes out of an ACI.
pub(super) const MANIFEST: &[u8] = b"manifest";
/// The hidden subcommand that is the worker.
pub const SUBCOMMAND: &str = "__unpack";

/// Told how many bytes of the archive were read.
pub type Progress<'a> = &'a mut dyn FnMut(u64);

/// The archive.
#[derive(Debug)]
pub struct Source<'a> {
    /// What people call it, for messages.
    pub name: &'a str,
    /// Its bytes.
    pub file: &'a File,
    /// How many.
    pub size: u64,
    /// What it is.
    pub kind: Kind,
    /// Hash of the uncompressed bytes.
    pub hash: Algo,
}

/// Unpacks into `target`, an empty directory: afterwards it holds `tree`, `files` and, for an ACI,
/// `manifest`. `lowers` are layers' directories, bottom first.
pub fn unpack(
    source: &Source<'_>,
    target: &Path,
    lowers: &[PathBuf],
    progress: Progress<'_>,
) -> Result<Report, ImageError> {
    unpack_until(&AtomicBool::new(false), source, target, lowers, progress)
}

/// The same, and ends the worker when `stop` is set: what it made so far is the caller's to remove.
pub fn unpack_until(
    stop: &AtomicBool,
    source: &Source<'_>,
    target: &Path,
    lowers: &[PathBuf],
    progress: Progress<'_>,
) -> Result<Report, ImageError> {
    let target_fd = File::open(target).map_err(|e| ImageError::io("open", target, e))?;
    let start = |e: io::Error| ImageError::Worker { subject: source.name.to_owned(), source: e };
    let (ours, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map_err(|e| start(e.into()))?;
    let child = Command::new("/proc/self/exe")
        .arg(SUBCOMMAND)
        .env_clear()
        .current_dir("/")
        .stdin(theirs)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(start)?;
    let mut worker = Worker { child, socket: ours };
    let job = Job {
        version: VERSION,
        kind: source.kind,
        hash: source.hash.into(),
        blob_size: source.size,
        lowers: lowers.len(),
    };
    match worker.run(stop, &job, source.file, &target_fd, lowers, progress) {
        Ok(Ok(report)) => Ok(report),
        Ok(Err(problem)) => Err(ImageError::bad(source.name, problem)),
        Err(error) => Err(start(error)),
    }
}

struct Worker {
    child: Child,
    socket: OwnedFd,
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Already gone after a report; after an error of ours it must not go on writing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Worker {
    fn run(
        &mut self,
        stop: &AtomicBool,
        job: &Job,
        input: &File,
        target: &File,
        lowers: &[PathBuf],
        progress: Progress<'_>,
    ) -> io::Result<Result<Report, String>> {
        const { assert!(MAX_FDS >= 2) };
        let told = self.send(job, &[input.as_fd(), target.as_fd()]);
        let told = told.and_then(|()| {
            // One after the other: an image may have more layers than we may have descriptors.
            lowers.iter().try_for_each(|lower| {
                let (tree, files) = open_lower(lower)?;
                self.send(&(), &[tree.as_fd(), files.as_fd()])
            })
        });
        if let Err(error) = told {
            return Err(self.died().unwrap_or(error));
        }
        loop {
            self.wait(stop)?;
            match receive::<Event>(self.socket.as_fd())? {
                Some((Event::Isolated, _)) => {
                    self.map_ids()?;
                    self.send(&(), &[])?;
                }
                Some((Event::Progress(count), _)) => progress(count),
                Some((Event::Done(report), _)) => return Ok(Ok(report)),
                Some((Event::Failed(problem), _)) => return Ok(Err(problem)),
                None => {
                    let silent = || io::Error::other("the unpack worker ended without a word");
                    return Err(self.died().unwrap_or_else(silent));
                }
            }
        }
    }

    /// Waits until the worker says something.
    fn wait(&self, stop: &AtomicBool) -> io::Result<()> {
        let look = rustix::time::Timespec::try_from(LOOK).ok();
        loop {
            if stop.load(Ordering::Relaxed) {
                return Err(io::Error::other("somebody said stop"));
            }
            let mut fds = [PollFd::new(&self.socket, PollFlags::IN)];
            match poll(&mut fds, look.as_ref()) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn send(&self, message: &impl serde::Serialize, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        send(self.socket.as_fd(), message, fds)
    }

    /// Every id of ours stays itself, so that the tree gets its real owners.
    fn map_ids(&self) -> io::Result<()> {
        for name in ["uid_map", "gid_map"] {
            let own = std::fs::read_to_string(format!("/proc/self/{name}"))?;
            let map = identity(&own).ok_or_else(|| io::Error::other("the id map is unreadable"))?;
            std::fs::write(format!("/proc/{}/{name}", self.child.id()), map)?;
        }
        Ok(())
    }

    /// How the worker ended, if it did.
    fn died(&mut self) -> Option<io::Error> {
        let status: ExitStatus = self.child.wait().ok()?;
        (!status.success()).then(|| io::Error::other(format!("the unpack worker died: {status}")))
    }
}

/// A layer below: its tree as a mount of its own, from whose root `..` leads nowhere, and its list.
fn open_lower(dir: &Path) -> io::Result<(OwnedFd, File)> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = open_tree(CWD, dir.join("tree"), flags)?;
    Ok((tree, File::open(dir.join("files"))?))
}

/// From our own id map, the map that keeps every id we have.
fn identity(own: &str) -> Option<String> {
    let mut map = String::new();
    for line in own.lines() {
        let mut fields = line.split_whitespace();
        let (inside, _, count) = (fields.next()?, fields.next()?, fields.next()?);
        map.push_str(&format!("{inside} {inside} {count}\n"));
    }
    Some(map)
}

#[cfg(test)]
mod tests {
    #[test]
    fn id_maps_become_identities() {
        let own = "         0          0 4294967295\n";
        assert_eq!(super::identity(own).as_deref(), Some("0 0 4294967295\n"));
        assert_eq!(
            super::identity("0 1000 1\n1 100000 65536\n").as_deref(),
            Some("0 0 1\n1 1 65536\n")
        );
        assert_eq!(super::identity("0 0"), None);
    }
}
