//! Writing tar headers: ustar, with PAX records for what ustar cannot say.

/// An entry to write.
#[derive(Debug, Default)]
pub(super) struct Entry<'a> {
    pub path: &'a [u8],
    pub kind: u8,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime: (i64, u32),
    pub size: u64,
    pub link: &'a [u8],
    pub xattrs: &'a [(Vec<u8>, Vec<u8>)],
}

const MAX_ID: u32 = 0o7_777_777;
const MAX_OCTAL: u64 = 0o77_777_777_777;

impl Entry<'_> {
    /// The header blocks, with the extended header before them where one is needed.
    pub fn blocks(&self) -> Vec<u8> {
        let mut records = Vec::new();
        let mut add = |key: &[u8], value: &[u8]| records.extend(record(key, value));
        if self.path.len() > 100 {
            add(b"path", self.path);
        }
        if self.link.len() > 100 {
            add(b"linkpath", self.link);
        }
        if self.size > MAX_OCTAL {
            add(b"size", self.size.to_string().as_bytes());
        }
        for (key, id) in [(&b"uid"[..], self.uid), (b"gid", self.gid)] {
            if id > MAX_ID {
                add(key, id.to_string().as_bytes());
            }
        }
        let (seconds, nanos) = self.mtime;
        let plain = u64::try_from(seconds).ok().filter(|s| *s <= MAX_OCTAL);
        if plain.is_none() || nanos != 0 {
            add(b"mtime", time(seconds, nanos).as_bytes());
        }
        for (name, value) in self.xattrs {
            add(&[b"SCHILY.xattr.", name.as_slice()].concat(), value);
        }
        let mut out = Vec::new();
        if !records.is_empty() {
            let extended =
                Entry { path: b"././@PaxHeader", kind: b'x', mode: 0o644, ..Entry::default() };
            out.extend(extended.block(records.len() as u64, 0));
            out.extend_from_slice(&records);
            out.resize(out.len().next_multiple_of(512), 0);
        }
        out.extend(self.block(self.size, plain.unwrap_or(0)));
        out
    }

    fn block(&self, size: u64, mtime: u64) -> Vec<u8> {
        let mut header = tar::Header::new_ustar();
        let old = header.as_old_mut();
        put(&mut old.name, self.path);
        put(&mut old.linkname, self.link);
        old.linkflag = [self.kind];
        header.set_mode(self.mode & 0o7777);
        header.set_uid(if self.uid > MAX_ID { 0 } else { self.uid.into() });
        header.set_gid(if self.gid > MAX_ID { 0 } else { self.gid.into() });
        header.set_size(if size > MAX_OCTAL { 0 } else { size });
        header.set_mtime(mtime);
        header.set_cksum();
        header.as_bytes().to_vec()
    }
}

/// As much of a name as fits.
fn put(field: &mut [u8; 100], bytes: &[u8]) {
    let length = bytes.len().min(100);
    field[..length].copy_from_slice(&bytes[..length]);
}

/// One PAX record; its length counts itself.
fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let body = key.len() + value.len() + 3;
    let mut length = body + 1;
    while length.to_string().len() + body != length {
        length = length.to_string().len() + body;
    }
    [length.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat()
}

/// A time with its fraction, without needless digits.
fn time(seconds: i64, nanos: u32) -> String {
    let (sign, whole, nanos) = if seconds < 0 && nanos > 0 {
        ("-", (seconds + 1).unsigned_abs(), 1_000_000_000 - nanos)
    } else if seconds < 0 {
        ("-", seconds.unsigned_abs(), 0)
    } else {
        ("", seconds.unsigned_abs(), nanos)
    };
    let fraction = format!("{nanos:09}");
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{sign}{whole}{point}{fraction}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::archive::Reader;

    #[test]
    fn what_is_written_is_read_back() {
        let long = "d/".repeat(90) + "file";
        let xattrs = vec![(b"user.a".to_vec(), b"\0=\n".to_vec())];
        let cases = [
            Entry { path: b"a", kind: b'0', mode: 0o4755, size: 3, ..Entry::default() },
            Entry { path: long.as_bytes(), kind: b'5', xattrs: &xattrs, ..Entry::default() },
            Entry { path: b"l", kind: b'2', link: long.as_bytes(), ..Entry::default() },
            Entry { path: b"o", kind: b'0', uid: u32::MAX - 1, gid: 3_000_000, ..Entry::default() },
            Entry { path: b"t", kind: b'0', mtime: (5, 120), ..Entry::default() },
            Entry { path: b"n", kind: b'0', mtime: (-5, 250_000_000), ..Entry::default() },
            Entry { path: b"m", kind: b'0', mtime: (-5, 0), ..Entry::default() },
            Entry { path: b"h", kind: b'0', mtime: (MAX_OCTAL as i64 + 1, 0), ..Entry::default() },
        ];
        for entry in cases {
            let mut bytes = entry.blocks();
            bytes.resize(bytes.len() + 512, 0);
            let read = Reader::new(bytes.as_slice()).next_entry().unwrap().unwrap();
            assert_eq!(read.path, entry.path);
            assert_eq!((read.mode, read.uid, read.gid), (entry.mode, entry.uid, entry.gid));
            assert_eq!((read.mtime, read.size), (entry.mtime, entry.size));
            assert_eq!((read.link.as_slice(), read.xattrs.as_slice()), (entry.link, entry.xattrs));
        }
    }
}
