//! The list `files` of a layer: one line an inode, safe to print, exact to the byte. See docs/store.md.

use crate::image::digest::Digest;
use std::io::{self, BufRead, Write};

/// First line of the format.
const HEADER: &str = "rocket-files 1";
/// A line longer than this is not one of ours.
const LONGEST: u64 = 8 << 20;

/// Extended attributes: name and value, sorted by name.
pub type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// What every inode has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// Permission bits with set-id and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time: seconds and nanoseconds.
    pub mtime: (i64, u32),
    /// Extended attributes.
    pub xattrs: Xattrs,
}

/// What an inode is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Dir,
    /// A regular file.
    File {
        /// Bytes in it.
        size: u64,
        /// SHA-256 of them.
        digest: Digest,
    },
    /// A symbolic link to this text.
    Symlink(Vec<u8>),
    /// One more name of the inode listed earlier under this path.
    Link(Vec<u8>),
    /// A named pipe.
    Fifo,
    /// Hides the name in the layers below.
    Whiteout,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Absolute path inside the image.
    pub path: Vec<u8>,
    /// What is there.
    pub kind: Kind,
    /// Its attributes.
    pub meta: Meta,
}

/// Why a list cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// Reading failed.
    #[error("cannot read the file list")]
    Io(#[from] io::Error),
    /// A line that is not of this format.
    #[error("line {0} of the file list is damaged")]
    Line(usize),
}

fn escape(out: &mut Vec<u8>, bytes: &[u8], also: u8) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for &byte in bytes {
        if (0x21..=0x7e).contains(&byte) && byte != b'\\' && byte != also {
            out.push(byte);
        } else {
            out.extend_from_slice(b"\\x");
            out.push(DIGITS[usize::from(byte >> 4)]);
            out.push(DIGITS[usize::from(byte & 15)]);
        }
    }
}

fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let (b'x', high, low) = (bytes.next()?, bytes.next()?, bytes.next()?) else { return None };
        let digit = |byte: u8| char::from(byte).to_digit(16);
        out.push(u8::try_from(digit(high)? << 4 | digit(low)?).ok()?);
    }
    Some(out)
}

/// Any bytes as text that is safe on a terminal and in a message.
pub fn printable(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
        _ => {
            let mut out = Vec::new();
            escape(&mut out, bytes, b'\\');
            String::from_utf8(out).unwrap_or_default()
        }
    }
}

impl Record {
    fn line(&self) -> Vec<u8> {
        let Meta { mode, uid, gid, mtime, xattrs } = &self.meta;
        let (letter, size, digest, target) = match &self.kind {
            Kind::Dir => ('d', None, None, None),
            Kind::File { size, digest } => ('f', Some(*size), Some(digest), None),
            Kind::Symlink(target) => ('l', None, None, Some(target)),
            Kind::Link(target) => ('h', None, None, Some(target)),
            Kind::Fifo => ('p', None, None, None),
            Kind::Whiteout => ('w', None, None, None),
        };
        let size = size.map_or("-".to_owned(), |size| size.to_string());
        let digest = digest.map_or("-".to_owned(), Digest::to_string);
        let head =
            format!("{letter} {mode:04o} {uid} {gid} {}.{:09} {size} {digest} ", mtime.0, mtime.1);
        let mut line = head.into_bytes();
        escape(&mut line, &self.path, b'\\');
        line.push(b' ');
        match target {
            Some(target) => escape(&mut line, target, b'\\'),
            None => line.push(b'-'),
        }
        for (name, value) in xattrs {
            line.push(b' ');
            escape(&mut line, name, b'=');
            line.push(b'=');
            escape(&mut line, value, b'\\');
        }
        line.push(b'\n');
        line
    }

    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split(' ');
        let letter = fields.next()?;
        let mode = u32::from_str_radix(fields.next()?, 8).ok().filter(|m| *m <= 0o7777)?;
        let uid = fields.next()?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        let (seconds, nanos) = fields.next()?.split_once('.')?;
        let mtime = (seconds.parse().ok()?, nanos.parse().ok().filter(|n| *n < 1_000_000_000)?);
        let (size, digest) = (fields.next()?, fields.next()?);
        let path = unescape(fields.next()?).filter(|path| path.first() == Some(&b'/'))?;
        let target = unescape(fields.next()?)?;
        let kind = match letter {
            "d" => Kind::Dir,
            "f" => Kind::File { size: size.parse().ok()?, digest: digest.parse().ok()? },
            "l" => Kind::Symlink(target),
            "h" => Kind::Link(target),
            "p" => Kind::Fifo,
            "w" => Kind::Whiteout,
            _ => return None,
        };
        let mut xattrs = Vec::new();
        for field in fields {
            let (name, value) = field.split_once('=')?;
            xattrs.push((unescape(name)?, unescape(value)?));
        }
        Some(Self { path, kind, meta: Meta { mode, uid, gid, mtime, xattrs } })
    }
}

/// Writes a list.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    count: u64,
}

impl<W: Write> Writer<W> {
    /// Begins a list.
    pub fn new(mut out: W) -> io::Result<Self> {
        writeln!(out, "{HEADER}")?;
        Ok(Self { out, count: 0 })
    }

    /// Adds a line.
    pub fn add(&mut self, record: &Record) -> io::Result<()> {
        self.count += 1;
        self.out.write_all(&record.line())
    }

    /// Ends the list: a list without its last line is a torn one.
    pub fn finish(mut self) -> io::Result<u64> {
        writeln!(self.out, "end {}", self.count)?;
        self.out.flush()?;
        Ok(self.count)
    }
}

/// Reads a list, giving each record to `take`.
pub fn read<E: From<FilesError>>(
    mut input: impl BufRead,
    mut take: impl FnMut(Record) -> Result<(), E>,
) -> Result<u64, E> {
    let mut line = String::new();
    let mut number = 0;
    loop {
        line.clear();
        number += 1;
        let bad = || E::from(FilesError::Line(number));
        io::Read::take(&mut input, LONGEST).read_line(&mut line).map_err(FilesError::Io)?;
        let text = line.strip_suffix('\n').ok_or_else(bad)?;
        if number == 1 {
            if text != HEADER {
                return Err(bad());
            }
        } else if let Some(count) = text.strip_prefix("end ") {
            let count: u64 = count.parse().map_err(|_| bad())?;
            return if count + 2 == number as u64 { Ok(count) } else { Err(bad()) };
        } else {
            take(Record::parse(text).ok_or_else(bad)?)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::digest::Algo;

    fn round_trip(records: &[Record]) -> Vec<Record> {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes).unwrap();
        for record in records {
            writer.add(record).unwrap();
        }
        writer.finish().unwrap();
        assert!(bytes.iter().all(|b| *b == b'\n' || (0x20..=0x7e).contains(b)));
        let mut back = Vec::new();
        read(bytes.as_slice(), |record| {
            back.push(record);
            Ok::<_, FilesError>(())
        })
        .unwrap();
        back
    }

    #[test]
    fn any_bytes_survive() {
        let every: Vec<u8> = (1..=255).collect();
        let path = [b"/".as_slice(), &every].concat();
        let meta = Meta {
            mode: 0o4755,
            uid: 7,
            gid: 8,
            mtime: (-5, 999_999_999),
            xattrs: vec![
                (b"user.a=b c".to_vec(), (0..=255).collect()),
                (b"user.e".to_vec(), vec![]),
            ],
        };
        let digest = Digest::of(Algo::Sha256, b"x");
        let kinds = [
            Kind::Dir,
            Kind::File { size: u64::MAX, digest },
            Kind::Symlink(b"-".to_vec()),
            Kind::Symlink(every),
            Kind::Link(b"/a b".to_vec()),
            Kind::Fifo,
            Kind::Whiteout,
        ];
        let records = kinds.map(|kind| Record { path: path.clone(), kind, meta: meta.clone() });
        assert_eq!(round_trip(&records), records);
    }

    #[test]
    fn torn_and_foreign_lists_are_refused() {
        let good = "rocket-files 1\nd 0755 0 0 0.000000000 - - / -\nend 1\n";
        let ok = |text: &str| read(text.as_bytes(), |_| Ok::<_, FilesError>(())).is_ok();
        assert!(ok(good));
        for end in 0..good.len() {
            assert!(!ok(&good[..end]), "{end}");
        }
        for (from, to) in
            [("files 1", "files 2"), ("end 1", "end 2"), ("d 0", "q 0"), (" / ", " x ")]
        {
            assert!(!ok(&good.replace(from, to)), "{to}");
        }
    }
}
