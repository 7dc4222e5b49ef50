//! PAX extended headers.

use super::sparse;
use crate::image::files::{Xattrs, printable};

/// Largest value of one extended attribute, as the kernel has it.
const MAX_XATTR: usize = 64 << 10;
const MAX_XATTRS: usize = 128;

/// What an extended header says about the entry after it.
#[derive(Debug, Default)]
pub(super) struct Records {
    pub path: Option<Vec<u8>>,
    pub linkpath: Option<Vec<u8>>,
    pub size: Option<u64>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub mtime: Option<(i64, u32)>,
    pub xattrs: Xattrs,
    pub sparse: Option<sparse::Records>,
}

/// Key and value.
type Pair<'a> = (&'a [u8], &'a [u8]);

/// Splits `LENGTH KEY=VALUE\n` records.
fn records(mut bytes: &[u8]) -> Result<Vec<Pair<'_>>, String> {
    let mut out = Vec::new();
    while !bytes.is_empty() {
        let damaged = || "its extended header is damaged".to_owned();
        let space = bytes.iter().take(20).position(|b| *b == b' ').ok_or_else(damaged)?;
        let length: usize = text(&bytes[..space])?.parse().map_err(|_| damaged())?;
        let record = bytes.get(space + 1..length).ok_or_else(damaged)?;
        let record = record.strip_suffix(b"\n").ok_or_else(damaged)?;
        let equals = record.iter().position(|b| *b == b'=').ok_or_else(damaged)?;
        out.push((&record[..equals], &record[equals + 1..]));
        bytes = &bytes[length..];
    }
    Ok(out)
}

fn text(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|_| "its extended header is not text".to_owned())
}

/// Reads the header of one entry.
pub(super) fn parse(bytes: &[u8]) -> Result<Records, String> {
    let mut out = Records::default();
    for (key, value) in records(bytes)? {
        let number = || -> Result<u64, String> {
            let shown = printable(key);
            text(value)?.parse().map_err(|_| format!("its extended {shown} is not a number"))
        };
        let id = || -> Result<u32, String> {
            u32::try_from(number()?).map_err(|_| format!("its {} is too large", printable(key)))
        };
        match key {
            b"path" => out.path = Some(name(key, value)?),
            b"linkpath" => out.linkpath = Some(name(key, value)?),
            b"size" => out.size = Some(number()?),
            b"uid" => out.uid = Some(id()?),
            b"gid" => out.gid = Some(id()?),
            b"mtime" => out.mtime = Some(time(text(value)?).ok_or("its extended time is damaged")?),
            _ => {
                if let Some(key) = key.strip_prefix(b"GNU.sparse.") {
                    out.sparse.get_or_insert_default().take(key, value)?;
                } else if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    xattr(&mut out.xattrs, name, value)?;
                }
            }
        }
    }
    out.xattrs.sort();
    Ok(out)
}

pub(super) fn name(key: &[u8], value: &[u8]) -> Result<Vec<u8>, String> {
    if value.is_empty() || value.contains(&0) {
        return Err(format!("its extended {} is empty or holds a NUL byte", printable(key)));
    }
    Ok(value.to_vec())
}

fn xattr(xattrs: &mut Xattrs, name: &[u8], value: &[u8]) -> Result<(), String> {
    if name.is_empty() || name.len() > 255 || name.contains(&0) {
        return Err("the name of an extended attribute is empty or too long".to_owned());
    }
    if value.len() > MAX_XATTR || xattrs.len() >= MAX_XATTRS {
        let shown = printable(name);
        return Err(format!("the extended attribute {shown} is too large, or there are too many"));
    }
    xattrs.retain(|(known, _)| known != name);
    xattrs.push((name.to_vec(), value.to_vec()));
    Ok(())
}

/// Seconds with a fraction, perhaps negative.
fn time(text: &str) -> Option<(i64, u32)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let digits: String = fraction.chars().chain(std::iter::repeat('0')).take(9).collect();
    let nanos: u32 = digits.parse().ok()?;
    if whole.starts_with('-') && nanos > 0 {
        Some((seconds.checked_sub(1)?, 1_000_000_000 - nanos))
    } else {
        Some((seconds, nanos))
    }
}

/// Global headers may comment; they may not rename or resize what follows.
pub(super) fn check_global(bytes: &[u8]) -> Result<(), String> {
    for (key, _) in records(bytes)? {
        if [&b"path"[..], b"linkpath", b"size"].contains(&key) || key.starts_with(b"GNU.sparse.") {
            let shown = printable(key);
            return Err(format!("a global extended header sets {shown} for every entry"));
        }
    }
    Ok(())
}
