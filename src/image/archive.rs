//! Reading tar, strictly and within limits: ustar, PAX, GNU long names and sparse files; nothing is
//! unpacked here.
//!
//! The crate `tar` knows the header's fields; the order of records is read here, because sizes, names
//! and counts that an archive claims must be bounded before memory is given to them.

mod pax;
mod sparse;
#[cfg(test)]
mod tests;

pub use sparse::{Map, Run};

use crate::image::files::{Xattrs, printable};
use std::io::{self, BufRead};

const BLOCK: usize = 512;
/// Largest extended header or long name.
const MAX_EXTENSION: u64 = 1 << 20;

/// Why an archive is refused.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// Reading failed; decompression errors come this way too.
    #[error("cannot read the archive: {0}")]
    Io(#[from] io::Error),
    /// The archive ends inside an entry.
    #[error("the archive is truncated: it ends inside {0}")]
    Truncated(String),
    /// A header whose checksum is wrong.
    #[error("the archive is damaged: the header at byte {0} has a wrong checksum")]
    Checksum(u64),
    /// A header field that cannot be.
    #[error("{entry}: {problem}")]
    Header {
        /// The entry.
        entry: String,
        /// What is wrong.
        problem: String,
    },
}

type Result<T> = std::result::Result<T, ArchiveError>;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink,
    /// A hard link.
    Link,
    /// A named pipe.
    Fifo,
    /// A character or block device.
    Device,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Path as written.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: EntryKind,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time.
    pub mtime: (i64, u32),
    /// Bytes of content; only files have any.
    pub size: u64,
    /// Which of them the archive holds, when it leaves out holes.
    pub sparse: Option<Map>,
    /// Target of a link.
    pub link: Vec<u8>,
    /// Extended attributes, sorted by name.
    pub xattrs: Xattrs,
}

/// A tar stream.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    offset: u64,
    /// Content of the current entry not read yet, and the padding after it.
    left: u64,
    padding: u64,
    name: String,
    ended: bool,
}

/// Extensions collected for the entry that follows.
#[derive(Debug, Default)]
struct Pending {
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    pax: Option<pax::Records>,
}

impl<R: BufRead> Reader<R> {
    /// Reads from a stream.
    pub fn new(input: R) -> Self {
        Self { input, offset: 0, left: 0, padding: 0, name: String::new(), ended: false }
    }

    /// Where the stream is: right after [`Self::next_entry`], where that entry's content begins.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether the end marker was seen.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// The stream, to read what follows the end marker.
    pub fn into_inner(self) -> R {
        self.input
    }

    /// The next entry, or nothing at the end. Content that was not read is skipped.
    pub fn next_entry(&mut self) -> Result<Option<Entry>> {
        self.skip_content()?;
        let mut pending = Pending::default();
        loop {
            let at = self.offset;
            let Some(header) = self.header()? else {
                return if pending.long_name.is_some() || pending.pax.is_some() {
                    Err(ArchiveError::Truncated("an extended header".to_owned()))
                } else {
                    Ok(None)
                };
            };
            check_sum(&header, at)?;
            let bad = |problem: String| ArchiveError::Header {
                entry: printable(&header.path_bytes()),
                problem,
            };
            let size = number(&header.as_old().size)
                .and_then(|size| u64::try_from(size).ok())
                .ok_or_else(|| bad("the size in its header is not a number".to_owned()))?;
            match header.as_old().linkflag[0] {
                b'L' => pending.long_name = Some(self.long_name(size)?),
                b'K' => pending.long_link = Some(self.long_name(size)?),
                b'x' | b'X' => {
                    let bytes = self.extension(size)?;
                    pending.pax = Some(pax::parse(&bytes).map_err(bad)?);
                }
                b'g' => {
                    let bytes = self.extension(size)?;
                    pax::check_global(&bytes).map_err(bad)?;
                }
                b'V' => self.take_content(size, "a volume label"),
                _ => return self.entry(&header, size, pending).map(Some),
            }
            self.skip_content()?;
        }
    }

    fn entry(&mut self, header: &tar::Header, size: u64, pending: Pending) -> Result<Entry> {
        let mut pax = pending.pax.unwrap_or_default();
        // Such a file's own path is one that only tar itself would give it.
        let path = pax
            .sparse
            .as_mut()
            .and_then(|sparse| sparse.name.take())
            .or(pax.path)
            .or(pending.long_name)
            .unwrap_or_else(|| header.path_bytes().into_owned());
        let shown = printable(path.get(..200).unwrap_or(&path));
        let bad = |problem: &str| ArchiveError::Header {
            entry: shown.clone(),
            problem: problem.to_owned(),
        };
        if path.is_empty() {
            return Err(bad("an entry has no name"));
        }
        let old = header.as_old();
        let kind = match old.linkflag[0] {
            b'0' | 0 | b'7' if path.ends_with(b"/") => EntryKind::Dir,
            b'0' | 0 | b'7' => EntryKind::File,
            b'1' => EntryKind::Link,
            b'2' => EntryKind::Symlink,
            b'3' | b'4' => EntryKind::Device,
            b'5' => EntryKind::Dir,
            b'6' => EntryKind::Fifo,
            b'S' if path.ends_with(b"/") => return Err(bad("a directory that is a sparse file")),
            b'S' => EntryKind::File,
            b'M' => return Err(bad("multi-volume archives are not supported")),
            other => {
                let flag = printable(&[other]);
                return Err(bad(&format!("entries of type {flag:?} are not supported")));
            }
        };
        if pax.size.is_some_and(|real| size != 0 && real != size) {
            return Err(bad("its two headers disagree about its size"));
        }
        let size = if kind == EntryKind::File { pax.size.unwrap_or(size) } else { 0 };
        let small = |field: &[u8], what: &str| {
            number(field)
                .and_then(|value| u32::try_from(value).ok())
                .ok_or_else(|| bad(&format!("the {what} in its header is not a number")))
        };
        let mode = small(&old.mode, "mode")? & 0o7777;
        let uid = pax.uid.map_or_else(|| small(&old.uid, "owner"), Ok)?;
        let gid = pax.gid.map_or_else(|| small(&old.gid, "group"), Ok)?;
        // chown(2) takes the last number for "leave it", so a file with it would be root's.
        if uid == u32::MAX || gid == u32::MAX {
            return Err(bad("its owner is no user or group id"));
        }
        let mtime = match pax.mtime {
            Some(mtime) => mtime,
            None => (number(&old.mtime).ok_or_else(|| bad("its time is not a number"))?, 0),
        };
        let link = pax
            .linkpath
            .or(pending.long_link)
            .or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned))
            .unwrap_or_default();
        if matches!(kind, EntryKind::Symlink | EntryKind::Link) && link.is_empty() {
            return Err(bad("a link without a target"));
        }
        if link.len() >= 4096 || link.contains(&0) {
            return Err(bad("its link target is longer than 4095 bytes or holds a NUL byte"));
        }
        let sparse = self.sparse(header, kind, size, pax.sparse, &shown)?;
        let size = sparse.as_ref().map_or(size, Map::size);
        Ok(Entry { path, kind, mode, uid, gid, mtime, size, sparse, link, xattrs: pax.xattrs })
    }

    /// Begins an entry's content, `stored` bytes; of a sparse file what the archive holds of it.
    fn sparse(
        &mut self,
        header: &tar::Header,
        kind: EntryKind,
        stored: u64,
        pax: Option<sparse::Records>,
        shown: &str,
    ) -> Result<Option<Map>> {
        let bad = |problem| ArchiveError::Header { entry: shown.to_owned(), problem };
        let old = header.as_old().linkflag[0] == b'S';
        if (old || kind != EntryKind::File) && pax.is_some() {
            return Err(bad("it is said to be a sparse file, and is none".to_owned()));
        }
        let mut block = [0; BLOCK];
        if old {
            let mut table = sparse::Old::header(header).map_err(bad)?;
            while table.more() {
                if self.block(&mut block)? < BLOCK {
                    return Err(ArchiveError::Truncated(shown.to_owned()));
                }
                table.block(&block).map_err(bad)?;
            }
            self.take_content(stored, shown);
            return table.finish(stored).map(Some).map_err(bad);
        }
        self.take_content(stored, shown);
        match pax.map(sparse::Records::form).transpose().map_err(bad)? {
            None => Ok(None),
            Some(sparse::Form::Known { pieces, size }) => {
                Map::new(pieces, size, stored).map(Some).map_err(bad)
            }
            Some(sparse::Form::Ahead { size }) => {
                let mut table = sparse::Ahead::default();
                loop {
                    if self.left < BLOCK as u64 {
                        return Err(sparse::cut(shown));
                    }
                    if self.block(&mut block)? < BLOCK {
                        return Err(ArchiveError::Truncated(shown.to_owned()));
                    }
                    self.left -= BLOCK as u64;
                    if table.block(&block).map_err(bad)? {
                        return table.finish(size, self.left).map(Some).map_err(bad);
                    }
                }
            }
        }
    }

    fn take_content(&mut self, size: u64, name: &str) {
        self.left = size;
        self.padding = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
        name.clone_into(&mut self.name);
    }

    /// The next piece of the current entry's content; empty at its end.
    pub fn content(&mut self) -> Result<&[u8]> {
        if self.left == 0 {
            return Ok(&[]);
        }
        let piece = self.input.fill_buf()?;
        if piece.is_empty() {
            return Err(ArchiveError::Truncated(self.name.clone()));
        }
        let take = usize::try_from(self.left).unwrap_or(usize::MAX).min(piece.len());
        Ok(&piece[..take])
    }

    /// Says that `count` bytes of the last piece were used.
    pub fn consume(&mut self, count: usize) {
        self.input.consume(count);
        self.left = self.left.saturating_sub(count as u64);
        self.offset += count as u64;
    }

    fn skip_content(&mut self) -> Result<()> {
        while self.left > 0 || self.padding > 0 {
            if self.left == 0 {
                self.left = std::mem::take(&mut self.padding);
            }
            let count = self.content()?.len();
            self.consume(count);
        }
        Ok(())
    }

    fn extension(&mut self, size: u64) -> Result<Vec<u8>> {
        if size > MAX_EXTENSION {
            return Err(ArchiveError::Header {
                entry: format!("the extended header at byte {}", self.offset),
                problem: format!("it is larger than {MAX_EXTENSION} bytes"),
            });
        }
        self.take_content(size, "an extended header");
        let mut bytes = Vec::new();
        loop {
            let piece = self.content()?;
            if piece.is_empty() {
                return Ok(bytes);
            }
            bytes.extend_from_slice(piece);
            let count = piece.len();
            self.consume(count);
        }
    }

    fn long_name(&mut self, size: u64) -> Result<Vec<u8>> {
        let mut name = self.extension(size)?;
        let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
        name.truncate(end);
        Ok(name)
    }

    /// The next header block; nothing at the end marker or at the end of the stream.
    fn header(&mut self) -> Result<Option<tar::Header>> {
        if self.ended {
            return Ok(None);
        }
        let mut block = [0; BLOCK];
        for first in [true, false] {
            match self.block(&mut block)? {
                0 => return Ok(None),
                BLOCK => {}
                _ => return Err(ArchiveError::Truncated("a header".to_owned())),
            }
            if block.iter().any(|byte| *byte != 0) {
                if !first {
                    return Err(ArchiveError::Header {
                        entry: format!("the header at byte {}", self.offset - BLOCK as u64),
                        problem: "it follows a block of zeros".to_owned(),
                    });
                }
                return Ok(Some(tar::Header::from_byte_slice(&block).clone()));
            }
        }
        self.ended = true;
        Ok(None)
    }

    fn block(&mut self, block: &mut [u8; BLOCK]) -> Result<usize> {
        let mut filled = 0;
        while filled < BLOCK {
            let piece = self.input.fill_buf()?;
            if piece.is_empty() {
                break;
            }
            let take = piece.len().min(BLOCK - filled);
            block[filled..filled + take].copy_from_slice(&piece[..take]);
            self.input.consume(take);
            filled += take;
        }
        self.offset += filled as u64;
        Ok(filled)
    }
}

fn check_sum(header: &tar::Header, at: u64) -> Result<()> {
    let stated = number(&header.as_old().cksum);
    let (mut unsigned, mut signed) = (0i64, 0i64);
    for (index, byte) in header.as_bytes().iter().enumerate() {
        let byte = if (148..156).contains(&index) { b' ' } else { *byte };
        unsigned += i64::from(byte);
        signed += i64::from(byte.cast_signed());
    }
    if stated == Some(unsigned) || stated == Some(signed) {
        Ok(())
    } else {
        Err(ArchiveError::Checksum(at))
    }
}

/// A number of a header: octal text, or GNU's base 256.
fn number(field: &[u8]) -> Option<i64> {
    if let Some((first, rest)) = field.split_first()
        && first & 0x80 != 0
    {
        // Two's complement over the whole field; the top bit only marks the form.
        let negative = first & 0x40 != 0;
        let mut value = i128::from(first & 0x7f);
        if negative {
            value -= 0x80;
        }
        for byte in rest {
            value = value.checked_mul(256)?.checked_add(i128::from(*byte))?;
        }
        return i64::try_from(value).ok();
    }
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    let text = std::str::from_utf8(&field[..end]).ok()?.trim_matches(' ');
    if text.is_empty() {
        return Some(0);
    }
    if !text.bytes().all(|byte| (b'0'..=b'7').contains(&byte)) {
        return None;
    }
    i64::from_str_radix(text, 8).ok()
}
