//! The worker's life: take the job, be locked in, unpack, report.

use super::disk::{Fate, Writer, fate, root};
use super::stream::{self, Digests, Pieces};
use super::wire::{Event, Job, Kind, Report, VERSION, receive, tell};
use super::{parent::MANIFEST, sandbox};
use crate::image::archive::{ArchiveError, Entry, EntryKind, Map, Reader, Run};
use crate::image::files::{self, FilesError, Meta, Xattrs, printable};
use crate::image::manifest::{ImageManifest, ManifestError};
use crate::image::tree::{PlaceError, Tree, lower::OPAQUE};
use rocket_sys::root::Root;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::process::ExitCode;

/// Inodes in one layer and everything below it.
const MAX_INODES: usize = 2_000_000;
/// Holes in all files of a layer: they take no place, but time, for they are part of the files' digests.
const MAX_HOLES: u64 = 16 << 30;
/// Largest manifest of an ACI.
const MAX_MANIFEST: u64 = 4 << 20;

#[derive(Debug, thiserror::Error)]
enum WorkerError {
    #[error("{0}")]
    Archive(#[from] ArchiveError),
    #[error("{0}")]
    Place(#[from] PlaceError),
    #[error("{0}")]
    Files(#[from] FilesError),
    #[error("{0}")]
    Manifest(#[from] ManifestError),
    #[error("cannot {action} {on}: {source}")]
    Write { action: &'static str, on: String, source: io::Error },
    #[error("cannot {0}: {1}")]
    Setup(&'static str, io::Error),
    #[error("{0}")]
    Refused(String),
}

type Result<T> = std::result::Result<T, WorkerError>;

/// Runs as the hidden subcommand: the parent's socket is stdin.
pub fn main() -> ExitCode {
    if rocket_sys::worker::close_from(3).is_err() {
        return ExitCode::FAILURE;
    }
    let stdin = io::stdin();
    let Ok(socket) = stdin.as_fd().try_clone_to_owned() else { return ExitCode::FAILURE };
    // Nobody reads a panic's message from stderr here; the parent is told instead.
    if let Ok(socket) = socket.try_clone() {
        std::panic::set_hook(Box::new(move |info| {
            let _ = tell(&socket, &Event::Failed(format!("internal error: {info}")));
        }));
    }
    let event = match run(&socket) {
        Ok(report) => Event::Done(report),
        Err(error) => {
            let text = error.to_string();
            Event::Failed(text.chars().take(4000).collect())
        }
    };
    match tell(&socket, &event) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn run(socket: &OwnedFd) -> Result<Report> {
    let setup = |what| move |e| WorkerError::Setup(what, e);
    let gone = || io::Error::other("the parent said nothing");
    die_with_parent().map_err(setup("tie the worker to its parent"))?;
    let (job, fds) = receive::<Job>(socket.as_fd())
        .and_then(|message| message.ok_or_else(gone))
        .map_err(setup("read the job"))?;
    let mut fds = fds.into_iter();
    let (Some(input), Some(target), VERSION) = (fds.next(), fds.next(), job.version) else {
        return Err(WorkerError::Setup("read the job", gone()));
    };
    sandbox::more_descriptors().map_err(setup("allow more descriptors"))?;
    let mut lowers = Vec::new();
    for _ in 0..job.lowers {
        let (_, fds) = receive::<()>(socket.as_fd())
            .and_then(|message| message.ok_or_else(gone))
            .map_err(setup("read the lower layers"))?;
        let mut fds = fds.into_iter();
        let (Some(tree), Some(list)) = (fds.next(), fds.next()) else {
            return Err(WorkerError::Setup("read the lower layers", gone()));
        };
        lowers.push((tree, list));
    }
    rocket_sys::worker::isolate().map_err(no_namespaces)?;
    tell(socket, &Event::Isolated).map_err(setup("speak to the parent"))?;
    receive::<()>(socket.as_fd())
        .and_then(|message| message.ok_or_else(gone))
        .map_err(setup("get the id maps"))?;
    die_with_parent().map_err(setup("tie the worker to its parent"))?;
    let trees: Vec<&OwnedFd> = lowers.iter().map(|(tree, _)| tree).collect();
    let landlock =
        sandbox::enter(target.as_fd(), &trees).map_err(setup("enter the unpack sandbox"))?;
    let socket = socket.try_clone().map_err(setup("speak to the parent"))?;
    Unpack::new(&job, target, lowers)?.run(&job, input, socket, landlock)
}

/// The kernel's words for forbidden namespaces mislead.
fn no_namespaces(error: rustix::io::Errno) -> WorkerError {
    use rustix::io::Errno;
    if matches!(error, Errno::NOSPC | Errno::USERS | Errno::PERM) {
        return refused(
            "the unpack worker may not make a user namespace: this machine forbids it \
             (sysctl user.max_user_namespaces, or the container this runs in)",
        );
    }
    WorkerError::Setup("make a user namespace for the unpack worker", error.into())
}

fn die_with_parent() -> io::Result<()> {
    let signal = Some(rustix::process::Signal::KILL);
    Ok(rustix::process::set_parent_process_death_signal(signal)?)
}

struct Unpack {
    kind: Kind,
    target: Root,
    tree: Tree,
    disk: Writer,
    devices: u64,
    holes: u64,
    dropped: BTreeSet<String>,
    manifest: bool,
    rootfs: bool,
}

/// Where an entry of an archive belongs.
enum Role {
    Manifest,
    Top,
    Root(Vec<u8>),
}

impl Unpack {
    fn new(job: &Job, target: OwnedFd, lowers: Vec<(OwnedFd, OwnedFd)>) -> Result<Self> {
        let mut tree = Tree::new(job.kind == Kind::Aci);
        let mut roots = Vec::new();
        for (layer, (lower, list)) in lowers.into_iter().enumerate() {
            let list = BufReader::with_capacity(128 << 10, File::from(list));
            files::read(list, |record| {
                if tree.len() > MAX_INODES {
                    return Err(too_many());
                }
                let path = printable(&record.path);
                tree.lay(layer, record).map_err(|_| {
                    WorkerError::Refused(format!("a lower layer's list is wrong at {path}"))
                })
            })?;
            roots.push(root(lower));
        }
        let target = root(target);
        let made = rustix::fs::mkdirat(
            target.exact(b".", OFlags::PATH, Mode::empty()).map_err(setup_io)?,
            "tree",
            Mode::RWXU,
        );
        made.map_err(setup_io)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let root = root(target.exact(b"tree", flags, Mode::empty()).map_err(setup_io)?);
        let disk = Writer { root, lowers: roots, bytes: 0 };
        Ok(Self {
            kind: job.kind,
            target,
            tree,
            disk,
            devices: 0,
            holes: 0,
            dropped: BTreeSet::new(),
            manifest: false,
            rootfs: false,
        })
    }

    fn run(mut self, job: &Job, input: OwnedFd, socket: OwnedFd, landlock: bool) -> Result<Report> {
        let mut told = 0;
        let progress = move |count: u64| {
            if count - told >= 4 << 20 {
                told = count;
                // Progress is a courtesy; a parent that has gone is noticed at the end.
                let _ = tell(&socket, &Event::Progress(count));
            }
        };
        let (pieces, digests) =
            stream::start(File::from(input), job.blob_size, job.hash.into(), progress);
        let pieces = self.entries(pieces)?;
        let content = drain(pieces, digests)?;
        let inodes = self.write_list()?;
        Ok(Report {
            content,
            inodes,
            bytes: self.disk.bytes,
            self_contained: self.tree.self_contained(),
            devices: self.devices,
            dropped_xattrs: self.dropped.into_iter().take(20).collect(),
            landlock,
        })
    }

    fn entries(&mut self, pieces: Pieces) -> Result<Pieces> {
        let mut reader = Reader::new(pieces);
        while let Some(entry) = reader.next_entry()? {
            if self.tree.len() > MAX_INODES {
                return Err(too_many());
            }
            match self.role(&entry)? {
                Role::Manifest => self.take_manifest(&entry, &mut reader)?,
                Role::Top => {}
                Role::Root(path) => self.place(path, entry, &mut reader)?,
            }
        }
        if self.kind == Kind::Aci {
            if !self.manifest {
                return Err(refused("the archive has no manifest: it is not an image archive"));
            }
            if !self.rootfs {
                return Err(refused("the archive has no rootfs directory"));
            }
            if !reader.ended() {
                return Err(refused("the archive is truncated: it ends without its end marker"));
            }
        }
        Ok(reader.into_inner())
    }

    /// An ACI holds exactly `manifest` and `rootfs`.
    fn role(&mut self, entry: &Entry) -> Result<Role> {
        if self.kind == Kind::Layer {
            return Ok(Role::Root(entry.path.clone()));
        }
        let mut parts = entry.path.split(|b| *b == b'/').filter(|p| !p.is_empty() && *p != b".");
        let (first, rest) = (parts.next(), parts.collect::<Vec<_>>().join(&b'/'));
        match first {
            None if entry.kind == EntryKind::Dir => Ok(Role::Top),
            Some(b"manifest") if rest.is_empty() => Ok(Role::Manifest),
            Some(b"rootfs") if rest.is_empty() && entry.kind != EntryKind::Dir => {
                Err(refused("rootfs is not a directory"))
            }
            Some(b"rootfs") => {
                self.rootfs = true;
                Ok(Role::Root(if rest.is_empty() { b".".to_vec() } else { rest }))
            }
            _ => {
                let path = printable(&entry.path);
                Err(refused(format!("{path}: an image archive holds only manifest and rootfs")))
            }
        }
    }

    fn take_manifest(&mut self, entry: &Entry, reader: &mut Reader<Pieces>) -> Result<()> {
        if entry.kind != EntryKind::File {
            return Err(refused("manifest is not a regular file"));
        }
        if std::mem::replace(&mut self.manifest, true) {
            return Err(refused("manifest: the archive names this path twice"));
        }
        if entry.sparse.is_some() {
            return Err(refused("manifest is a sparse file"));
        }
        if entry.size > MAX_MANIFEST {
            return Err(refused("the manifest is larger than 4 MiB"));
        }
        let mut bytes = Vec::new();
        loop {
            let piece = reader.content()?;
            if piece.is_empty() {
                break;
            }
            bytes.extend_from_slice(piece);
            let count = piece.len();
            reader.consume(count);
        }
        ImageManifest::parse(&bytes)?;
        let write =
            |e| WorkerError::Write { action: "write", on: "the manifest".to_owned(), source: e };
        let fd = self.target.create(MANIFEST, Mode::RUSR).map_err(|e| write(e.into()))?;
        File::from(fd).write_all(&bytes).map_err(write)
    }

    fn place(&mut self, path: Vec<u8>, entry: Entry, reader: &mut Reader<Pieces>) -> Result<()> {
        let clean: Vec<&[u8]> =
            path.split(|b| *b == b'/').filter(|p| !p.is_empty() && *p != b".").collect();
        if self.kind == Kind::Layer
            && let Some((name, dirs)) = clean.split_last()
            && let Some(hidden) = name.strip_prefix(b".wh.")
        {
            return self.whiteout(&dirs.join(&b'/'), hidden, &path);
        }
        if entry.kind == EntryKind::Device {
            if clean.first() == Some(&&b"dev"[..]) {
                self.devices += 1;
                return Ok(());
            }
            let path = printable(&path);
            return Err(refused(format!("{path}: device nodes outside /dev are not supported")));
        }
        let kind = entry.kind;
        let meta = self.meta(&entry);
        match kind {
            EntryKind::Dir => self.tree.put_dir(&path, meta, &mut self.disk)?,
            EntryKind::Link => self.link(&path, &entry.link)?,
            EntryKind::Symlink | EntryKind::Fifo => {
                let kind = match kind {
                    EntryKind::Symlink => files::Kind::Symlink(entry.link),
                    _ => files::Kind::Fifo,
                };
                let (at, _) = self.tree.put(&path, kind.clone(), meta.clone(), &mut self.disk)?;
                self.disk.special(&at, &kind, &meta).map_err(|e| write_error("make", &at, e))?;
            }
            EntryKind::File | EntryKind::Device => {
                self.file(&path, meta, entry.sparse.as_ref(), reader)?
            }
        }
        Ok(())
    }

    fn whiteout(&mut self, dir: &[u8], hidden: &[u8], path: &[u8]) -> Result<()> {
        match hidden {
            b".wh..opq" => self.tree.opaque(dir, &mut self.disk)?,
            // What AUFS keeps for itself.
            _ if hidden.starts_with(b".wh.") => {}
            b"" | b"." | b".." => {
                let path = printable(path);
                return Err(refused(format!("{path}: a whiteout of nothing")));
            }
            name => self.tree.whiteout(dir, name, &mut self.disk)?,
        }
        Ok(())
    }

    fn link(&mut self, path: &[u8], target: &[u8]) -> Result<()> {
        let inside = if self.kind == Kind::Aci {
            let target: &[u8] = target.strip_prefix(b"./").unwrap_or(target);
            target.strip_prefix(b"rootfs/").ok_or_else(|| {
                let (path, target) = (printable(path), printable(target));
                refused(format!("{path}: its hard link target {target} is not in rootfs"))
            })?
        } else {
            target
        };
        let (old, new) = self.tree.put_link(path, inside, &mut self.disk)?;
        self.disk
            .root
            .link(&old, &new)
            .map_err(|e| write_error("make the hard link", &new, e.into()))
    }

    fn file(
        &mut self,
        path: &[u8],
        meta: Meta,
        sparse: Option<&Map>,
        reader: &mut Reader<Pieces>,
    ) -> Result<()> {
        self.holes = self.holes.saturating_add(sparse.map_or(0, Map::holes));
        if self.holes > MAX_HOLES {
            let path = printable(path);
            return Err(refused(format!(
                "{path}: the holes of its sparse files are more than {} GiB",
                MAX_HOLES >> 30
            )));
        }
        // The digest is known only at the end; until then the inode is no file yet.
        let (at, handle) = self.tree.put(path, files::Kind::Fifo, meta.clone(), &mut self.disk)?;
        let mut broken = None;
        let mut runs = sparse.map(Map::runs);
        let mut run = 0;
        let written = self.disk.file(&at, &meta, |sink| {
            // What is not sparse is one run to the end of its content.
            while run == 0 {
                match runs.as_mut().map(Iterator::next) {
                    None => run = u64::MAX,
                    Some(Some(Run::Stored(length))) => run = length,
                    Some(Some(Run::Hole(length))) => sink.hole(length)?,
                    Some(None) => return Ok(false),
                }
            }
            let count = match reader.content() {
                Ok(piece) => {
                    let most = usize::try_from(run).unwrap_or(usize::MAX).min(piece.len());
                    sink.data(piece.get(..most).unwrap_or_default())?;
                    most
                }
                Err(error) => {
                    broken = Some(error);
                    return Ok(false);
                }
            };
            reader.consume(count);
            run -= count as u64;
            Ok(count > 0)
        });
        if let Some(error) = broken {
            return Err(error.into());
        }
        let (size, digest) = written.map_err(|e| write_error("write", &at, e))?;
        handle.written(size, digest);
        Ok(())
    }

    fn meta(&mut self, entry: &Entry) -> Meta {
        let holds = matches!(entry.kind, EntryKind::File | EntryKind::Dir);
        let mut xattrs = Xattrs::new();
        for (name, value) in &entry.xattrs {
            let capability = fate(name) == Fate::Parent && entry.kind == EntryKind::File;
            if (fate(name) == Fate::Worker && holds) || capability {
                xattrs.push((name.clone(), value.clone()));
            } else if self.dropped.len() < 100 {
                self.dropped.insert(printable(name));
            }
        }
        let (mode, mtime) = (entry.mode, entry.mtime);
        // The kernel gives every symbolic link this mode.
        let mode = if entry.kind == EntryKind::Symlink { 0o777 } else { mode };
        Meta { mode, uid: entry.uid, gid: entry.gid, mtime, xattrs }
    }

    /// Writes the list, the whiteouts, and last the attributes of directories.
    fn write_list(&mut self) -> Result<u64> {
        let list_error = |e| write_error("write", b"the file list", e);
        let file = self.target.create(b"files", Mode::RUSR).map_err(|e| list_error(e.into()))?;
        let out = BufWriter::with_capacity(128 << 10, File::from(file));
        let mut list = files::Writer::new(out).map_err(list_error)?;
        let mut dirs = Vec::new();
        let disk = &mut self.disk;
        self.tree.records(|record| {
            let path = record.path.get(1..).unwrap_or_default();
            if record.kind == files::Kind::Whiteout {
                disk.whiteout(path).map_err(|e| write_error("make the whiteout", path, e))?;
            }
            list.add(&record).map_err(list_error)?;
            if record.kind == files::Kind::Dir {
                let mut meta = record.meta;
                meta.xattrs.retain(|(name, _)| name != OPAQUE);
                dirs.push((record.path, meta));
            }
            Ok::<_, WorkerError>(())
        })?;
        for (path, meta) in dirs.iter().rev() {
            self.disk
                .directory(path, meta)
                .map_err(|e| write_error("set the attributes of", path, e))?;
        }
        list.finish().map_err(list_error)
    }
}

/// Reads to the end, so that the digest is of everything.
fn drain(mut pieces: Pieces, digests: Digests) -> Result<crate::image::Digest> {
    let archive = |e| WorkerError::Archive(ArchiveError::Io(e));
    let mut rest = [0; 4096];
    while pieces.read(&mut rest).map_err(archive)? > 0 {}
    digests.finish().map_err(archive)
}

fn setup_io(error: rustix::io::Errno) -> WorkerError {
    WorkerError::Setup("open the target directory", error.into())
}

fn too_many() -> WorkerError {
    refused(format!("the image has more than {MAX_INODES} files"))
}

fn refused(text: impl Into<String>) -> WorkerError {
    WorkerError::Refused(text.into())
}

fn write_error(action: &'static str, path: &[u8], source: io::Error) -> WorkerError {
    WorkerError::Write { action, on: printable(path), source }
}
