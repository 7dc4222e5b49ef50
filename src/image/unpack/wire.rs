//! What parent and worker say to each other: one JSON object a packet, descriptors beside it.

use crate::image::digest::{Algo, Digest};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;

/// Version of these messages: parent and worker are one program, so any difference is a mistake.
pub(super) const VERSION: u32 = 1;
/// Descriptors sent with one message.
pub(super) const MAX_FDS: usize = 100;
/// Longest message.
const MAX_MESSAGE: usize = 32 << 10;

/// What kind of archive it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// An ACI: `manifest` and `rootfs/`.
    Aci,
    /// An OCI layer over lower layers.
    Layer,
}

/// The job. Its packet carries the archive and the target directory; then come the lower layers,
/// bottom first, each as its tree and its file list.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Job {
    pub version: u32,
    pub kind: Kind,
    /// Hash of the uncompressed archive.
    pub hash: HashName,
    pub blob_size: u64,
    pub lowers: usize,
}

/// A hash algorithm on the wire.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) enum HashName {
    Sha256,
    Sha512,
}

impl From<Algo> for HashName {
    fn from(algo: Algo) -> Self {
        match algo {
            Algo::Sha256 => Self::Sha256,
            Algo::Sha512 => Self::Sha512,
        }
    }
}

impl From<HashName> for Algo {
    fn from(name: HashName) -> Self {
        match name {
            HashName::Sha256 => Self::Sha256,
            HashName::Sha512 => Self::Sha512,
        }
    }
}

/// What the worker says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Event {
    /// It left the host's namespaces and waits for its id maps.
    Isolated,
    /// Bytes of the archive read so far.
    Progress(u64),
    /// It is done.
    Done(Report),
    /// It failed: on what, why.
    Failed(String),
}

/// What became of an archive.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Digest of the uncompressed archive.
    pub content: Digest,
    /// Inodes in the tree.
    pub inodes: u64,
    /// Bytes of file content in the tree.
    pub bytes: u64,
    /// The layer means the same over any other layers.
    pub self_contained: bool,
    /// Device nodes below /dev that were left out.
    pub devices: u64,
    /// Extended attributes that an image has no say in, and were left out.
    pub dropped_xattrs: Vec<String>,
    /// Whether Landlock confined the worker.
    pub landlock: bool,
}

/// Sends one message with descriptors.
pub(super) fn send(
    socket: BorrowedFd<'_>,
    message: &impl Serialize,
    fds: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    if bytes.len() > MAX_MESSAGE {
        return Err(io::Error::other("the message is too long"));
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::other("too many descriptors in one message"));
    }
    loop {
        match sendmsg(socket, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL) {
            Err(Errno::INTR) => {}
            other => return Ok(other.map(|_| ())?),
        }
    }
}

/// Receives one message and its descriptors; nothing when the other side is gone.
pub(super) fn receive<T: DeserializeOwned>(
    socket: BorrowedFd<'_>,
) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = vec![0; MAX_MESSAGE];
    let flags = RecvFlags::CMSG_CLOEXEC;
    let count = loop {
        let mut parts = [IoSliceMut::new(&mut bytes)];
        match recvmsg(socket, &mut parts, &mut control, flags) {
            Err(Errno::INTR) => {}
            other => break other?.bytes,
        }
    };
    if count == 0 {
        return Ok(None);
    }
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    let message = serde_json::from_slice(bytes.get(..count).unwrap_or_default())?;
    Ok(Some((message, fds)))
}

/// Sends without descriptors.
pub(super) fn tell(socket: &impl AsFd, event: &Event) -> io::Result<()> {
    send(socket.as_fd(), event, &[])
}
