//! Sparse files, in the four forms that GNU tar gave them: the entry type `S` with a table in the
//! header and in blocks after it, pax records with the numbers one by one (0.0) or as one list (0.1),
//! and a table in front of the content (1.0). Libarchive and Go write the last one.
//!
//! A table is only a claim. It is believed when its pieces are in order, do not overlap, end within the
//! file, and are together what the archive holds of it.

use super::{ArchiveError, BLOCK, number};

/// Most pieces of one file.
const MAX_PIECES: usize = 1 << 17;

/// Where the bytes that an archive holds of a sparse file belong; all else is holes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Map {
    /// Where each piece begins, and how long it is; in order.
    pieces: Vec<(u64, u64)>,
    /// Size of the file.
    size: u64,
}

impl Map {
    /// Checks a table. `stored` is how much the archive holds of the file.
    pub(super) fn new(pieces: Vec<(u64, u64)>, size: u64, stored: u64) -> Result<Self, String> {
        let (mut end, mut total) = (0u64, 0u64);
        for (start, length) in &pieces {
            if *start < end {
                return Err("the pieces of a sparse file overlap, or are out of order".to_owned());
            }
            end = start
                .checked_add(*length)
                .filter(|end| *end <= size)
                .ok_or("a piece of a sparse file lies behind its end")?;
            // No overflow: pieces that do not overlap are no longer than the file.
            total += length;
        }
        if total != stored {
            return Err(format!(
                "the pieces of a sparse file are {total} bytes, the archive holds {stored}"
            ));
        }
        let pieces = pieces.into_iter().filter(|(_, length)| *length > 0).collect();
        Ok(Self { pieces, size })
    }

    /// Size of the file.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// How much of it is holes.
    pub fn holes(&self) -> u64 {
        self.pieces.iter().fold(self.size, |left, (_, length)| left.saturating_sub(*length))
    }

    /// The file from its beginning: runs of stored bytes and holes, in turn.
    pub fn runs(&self) -> impl Iterator<Item = Run> + '_ {
        let mut at = 0;
        let end = [(self.size, 0)];
        self.pieces.iter().copied().chain(end).flat_map(move |(start, length)| {
            let hole = start - at;
            at = start + length;
            [Run::Hole(hole), Run::Stored(length)]
        })
    }
}

/// A part of a sparse file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// So many bytes of the archive.
    Stored(u64),
    /// So many zeros that the archive does not hold.
    Hole(u64),
}

fn too_many() -> String {
    format!("a sparse file has more than {MAX_PIECES} pieces")
}

/// The table of an entry of type `S`: four pieces in the header, 21 in each block that follows.
#[derive(Debug)]
pub(super) struct Old {
    pieces: Vec<(u64, u64)>,
    size: u64,
    more: bool,
}

impl Old {
    pub fn header(header: &tar::Header) -> Result<Self, String> {
        let gnu = header.as_gnu().ok_or("a sparse file in an archive that is not GNU tar's")?;
        let mut out = Self { pieces: Vec::new(), size: 0, more: gnu.isextended[0] != 0 };
        out.size = natural(&gnu.realsize)?;
        for piece in &gnu.sparse {
            out.add(&piece.offset, &piece.numbytes)?;
        }
        Ok(out)
    }

    /// Whether another block of the table follows.
    pub fn more(&self) -> bool {
        self.more
    }

    pub fn block(&mut self, block: &[u8; BLOCK]) -> Result<(), String> {
        let (table, rest) = block.split_at(21 * 24);
        for piece in table.chunks_exact(24) {
            let (offset, length) = piece.split_at(12);
            self.add(offset, length)?;
        }
        self.more = rest.first().is_some_and(|byte| *byte != 0);
        Ok(())
    }

    fn add(&mut self, offset: &[u8], length: &[u8]) -> Result<(), String> {
        // An unused place.
        if offset.iter().chain(length).all(|byte| *byte == 0) {
            return Ok(());
        }
        if self.pieces.len() == MAX_PIECES {
            return Err(too_many());
        }
        self.pieces.push((natural(offset)?, natural(length)?));
        Ok(())
    }

    pub fn finish(self, stored: u64) -> Result<Map, String> {
        Map::new(self.pieces, self.size, stored)
    }
}

fn natural(field: &[u8]) -> Result<u64, String> {
    number(field)
        .and_then(|value| u64::try_from(value).ok())
        .ok_or_else(|| "the table of a sparse file holds what is no number".to_owned())
}

/// What pax records say of a sparse file.
#[derive(Debug, Default)]
pub(super) struct Records {
    pub name: Option<Vec<u8>>,
    version: [Option<u64>; 2],
    size: Option<u64>,
    /// Offsets and lengths in turn.
    numbers: Option<Vec<u64>>,
}

/// Where the table of a file described by pax records is.
#[derive(Debug)]
pub(super) enum Form {
    /// It was in the records.
    Known { pieces: Vec<(u64, u64)>, size: u64 },
    /// It comes before the content.
    Ahead { size: u64 },
}

impl Records {
    /// Takes one record; `key` is without `GNU.sparse.`.
    pub fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        match key {
            b"name" => self.name = Some(super::pax::name(b"GNU.sparse.name", value)?),
            b"major" => self.version[0] = Some(decimal(value)?),
            b"minor" => self.version[1] = Some(decimal(value)?),
            b"size" | b"realsize" => self.size = Some(decimal(value)?),
            b"map" => {
                let numbers: Result<_, String> =
                    value.split(|byte| *byte == b',').map(decimal).collect();
                self.numbers = Some(if value.is_empty() { Vec::new() } else { numbers? });
            }
            b"offset" | b"numbytes" => {
                let numbers = self.numbers.get_or_insert_default();
                if (key == b"offset") != numbers.len().is_multiple_of(2) {
                    return Err("the table of a sparse file is not in pairs".to_owned());
                }
                numbers.push(decimal(value)?);
            }
            // How many there are is seen.
            b"numblocks" => {}
            _ => {
                let key = crate::image::files::printable(key);
                return Err(format!("GNU.sparse.{key} is not known"));
            }
        }
        Ok(())
    }

    pub fn form(self) -> Result<Form, String> {
        let size = self.size.ok_or("a sparse file does not say its size")?;
        match (self.version, self.numbers) {
            ([Some(1), Some(0)], None) => Ok(Form::Ahead { size }),
            ([None | Some(0), None | Some(0 | 1)], numbers) => {
                // A file that is one hole may have an empty table, or none.
                let numbers = numbers.unwrap_or_default();
                if numbers.len() / 2 > MAX_PIECES {
                    return Err(too_many());
                }
                let (pairs, rest) = numbers.as_chunks::<2>();
                if !rest.is_empty() {
                    return Err("the table of a sparse file is not in pairs".to_owned());
                }
                let pieces = pairs.iter().map(|[offset, length]| (*offset, *length)).collect();
                Ok(Form::Known { pieces, size })
            }
            _ => Err("a sparse file of a form that is not known".to_owned()),
        }
    }
}

fn decimal(text: &[u8]) -> Result<u64, String> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text)
        .ok()
        .filter(|_| digits)
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| "the table of a sparse file holds what is no number".to_owned())
}

/// Reads the table before the content: how many pieces, then offset and length of each, a line a
/// number, filled up to a whole block.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    line: Vec<u8>,
    pieces: Option<usize>,
    numbers: Vec<u64>,
}

impl Ahead {
    /// Takes one block; true when the table is complete.
    pub fn block(&mut self, block: &[u8; BLOCK]) -> Result<bool, String> {
        for byte in block {
            if *byte != b'\n' {
                self.line.push(*byte);
                if self.line.len() > 20 {
                    return Err("the table of a sparse file holds what is no number".to_owned());
                }
                continue;
            }
            let value = decimal(&self.line)?;
            self.line.clear();
            let pieces = match self.pieces {
                None => {
                    let pieces = usize::try_from(value).ok().filter(|count| *count <= MAX_PIECES);
                    *self.pieces.insert(pieces.ok_or_else(too_many)?)
                }
                Some(pieces) => {
                    self.numbers.push(value);
                    pieces
                }
            };
            if self.numbers.len() == 2 * pieces {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub fn finish(self, size: u64, stored: u64) -> Result<Map, String> {
        let (pairs, _) = self.numbers.as_chunks::<2>();
        Map::new(pairs.iter().map(|[offset, length]| (*offset, *length)).collect(), size, stored)
    }
}

/// A table that ends too early.
pub(super) fn cut(entry: &str) -> ArchiveError {
    ArchiveError::Header {
        entry: entry.to_owned(),
        problem: "the table of a sparse file is cut off".to_owned(),
    }
}
