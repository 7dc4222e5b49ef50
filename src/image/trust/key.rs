//! Public keys: read from the files that their programs write, and named by their fingerprints.
//!
//! Reading is all that happens here: a key counts only where `ring` found it.

use super::armor::{base64, dearmor};
use serde::{Deserialize, Serialize};
use sha1::{Digest as _, Sha1};
use sha2::Sha256;
use std::fmt;

/// Largest key file that is read.
pub const MAX_KEY: u64 = 1 << 20;

/// Which program's keys and signatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Ed25519 as minisign and signify-like programs write it.
    Minisign,
    /// OpenPGP, checked by `gpgv`.
    OpenPgp,
    /// ECDSA on P-256 as `cosign` writes it, without its certificates.
    Cosign,
}

impl Kind {
    /// The word in policies, listings and messages.
    pub fn word(self) -> &'static str {
        match self {
            Self::Minisign => "minisign",
            Self::OpenPgp => "openpgp",
            Self::Cosign => "cosign",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Why bytes are no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Of none of the kinds.
    #[error(
        "it is no public key: neither one of minisign (a line that begins with RW), nor OpenPGP, nor a \
         PEM public key of cosign"
    )]
    Unknown,
    /// A key that must stay where it is.
    #[error("it holds a secret key; export the public one instead")]
    Secret,
    /// Of a kind, and damaged.
    #[error("it is no whole {0} key: {1}")]
    Damaged(Kind, String),
    /// Of a kind, and more than one.
    #[error("it holds {0} keys; write one key to a file")]
    Several(usize),
}

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Of which program.
    pub kind: Kind,
    /// What people compare: OpenPGP's own fingerprint, minisign's whole key, SHA-256 of cosign's.
    pub fingerprint: String,
    /// The bytes as they are stored: minisign's and cosign's text, OpenPGP without its armor.
    pub data: Vec<u8>,
}

impl Key {
    /// Reads a key file.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, KeyError> {
        if bytes.first().is_some_and(|first| first & 0x80 != 0) {
            return openpgp(bytes.to_vec());
        }
        let text = std::str::from_utf8(bytes).map_err(|_| KeyError::Unknown)?;
        if text.contains("-----BEGIN PGP PUBLIC KEY BLOCK-----") {
            let binary = dearmor(text, "PGP PUBLIC KEY BLOCK")
                .map_err(|why| KeyError::Damaged(Kind::OpenPgp, why))?;
            return openpgp(binary);
        }
        if text.contains("PRIVATE KEY") || text.contains("minisign encrypted secret key") {
            return Err(KeyError::Secret);
        }
        if text.contains("-----BEGIN PUBLIC KEY-----") {
            return cosign(text);
        }
        minisign(text)
    }

    /// Whether `text` is this key's fingerprint, as people write it: in either case, with blanks or
    /// colons between. Only a whole one counts.
    pub fn is_called(&self, text: &str) -> bool {
        let hexadecimal = self.kind != Kind::Minisign;
        let plain: String =
            text.chars().filter(|c| !(c.is_whitespace() || hexadecimal && *c == ':')).collect();
        let plain = plain.strip_prefix("0x").filter(|_| hexadecimal).unwrap_or(&plain);
        match self.kind {
            Kind::Minisign => plain == self.fingerprint,
            Kind::OpenPgp | Kind::Cosign => plain.eq_ignore_ascii_case(&self.fingerprint),
        }
    }
}

/// minisign's: a comment, and a line of base64 with `Ed`, eight bytes of key id, and the key.
fn minisign(text: &str) -> Result<Key, KeyError> {
    let mut lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with("untrusted comment:"));
    let line = lines.next().filter(|line| line.starts_with("RW")).ok_or(KeyError::Unknown)?;
    let damaged = |why: &str| KeyError::Damaged(Kind::Minisign, why.to_owned());
    let bytes = base64(line).ok_or_else(|| damaged("its base64 cannot be read"))?;
    if bytes.len() != 42 || !bytes.starts_with(b"Ed") {
        return Err(damaged("it is not 42 bytes that begin with Ed"));
    }
    match lines.count() {
        0 => {
            let data = format!("untrusted comment: minisign public key\n{line}\n").into_bytes();
            Ok(Key { kind: Kind::Minisign, fingerprint: line.to_owned(), data })
        }
        more => Err(KeyError::Several(more + 1)),
    }
}

/// cosign's: a SubjectPublicKeyInfo of an uncompressed point on P-256 (RFC 5480).
fn cosign(text: &str) -> Result<Key, KeyError> {
    // SEQUENCE { SEQUENCE { id-ecPublicKey, prime256v1 }, BIT STRING { 04 … } }
    const HEAD: [u8; 27] = [
        0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08,
        0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
    ];
    let damaged = |why: &str| KeyError::Damaged(Kind::Cosign, why.to_owned());
    let count = text.matches("-----BEGIN PUBLIC KEY-----").count();
    if count > 1 {
        return Err(KeyError::Several(count));
    }
    let bytes = dearmor(text, "PUBLIC KEY").map_err(|why| damaged(&why))?;
    if bytes.len() != HEAD.len() + 64 || !bytes.starts_with(&HEAD) {
        return Err(damaged("it is not a key on the curve P-256"));
    }
    let fingerprint = crate::image::digest::hex(&Sha256::digest(&bytes));
    Ok(Key { kind: Kind::Cosign, fingerprint, data: text.as_bytes().to_vec() })
}

/// OpenPGP's, without armor: packets of RFC 9580, section 4.2; the first is the primary key.
fn openpgp(data: Vec<u8>) -> Result<Key, KeyError> {
    let damaged = |why: &str| KeyError::Damaged(Kind::OpenPgp, why.to_owned());
    let (mut rest, mut first, mut primaries) = (data.as_slice(), None, 0);
    while !rest.is_empty() {
        let (tag, body, after) = packet(rest).ok_or_else(|| damaged("it is cut, or no packet"))?;
        match tag {
            5 | 7 => return Err(KeyError::Secret),
            6 => {
                primaries += 1;
                first = first.or(Some(body));
            }
            _ if first.is_none() => return Err(damaged("it does not begin with a public key")),
            _ => {}
        }
        rest = after;
    }
    let body = first.ok_or(KeyError::Unknown)?;
    if primaries > 1 {
        return Err(KeyError::Several(primaries));
    }
    let fingerprint = fingerprint(body).ok_or_else(|| {
        damaged(&format!("its version is {}; 4 and 6 are known", body.first().unwrap_or(&0)))
    })?;
    Ok(Key { kind: Kind::OpenPgp, fingerprint, data })
}

/// RFC 9580, section 5.5.4.
fn fingerprint(body: &[u8]) -> Option<String> {
    let hex = match body.first()? {
        4 => {
            let length = u16::try_from(body.len()).ok()?.to_be_bytes();
            let digest = Sha1::new().chain_update([0x99]).chain_update(length).chain_update(body);
            crate::image::digest::hex(&digest.finalize())
        }
        6 => {
            let length = u32::try_from(body.len()).ok()?.to_be_bytes();
            let digest = Sha256::new().chain_update([0x9b]).chain_update(length).chain_update(body);
            crate::image::digest::hex(&digest.finalize())
        }
        _ => return None,
    };
    Some(hex.to_ascii_uppercase())
}

/// One packet: its type, its body, what follows. Bodies in parts are for data only, never for keys.
fn packet(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&head, rest) = bytes.split_first()?;
    let number = |bytes: &[u8]| bytes.iter().fold(0usize, |n, byte| (n << 8) | usize::from(*byte));
    let (tag, octets, length, rest) = match head & 0xc0 {
        0xc0 => {
            let (&one, rest) = rest.split_first()?;
            let (tag, one) = (head & 0x3f, usize::from(one));
            match one {
                0..192 => (tag, 0, one, rest),
                192..224 => {
                    let (&two, rest) = rest.split_first()?;
                    (tag, 0, ((one - 192) << 8) + usize::from(two) + 192, rest)
                }
                255 => (tag, 4, 0, rest),
                _ => return None,
            }
        }
        0x80 => (((head >> 2) & 0x0f), [1, 2, 4, usize::MAX][usize::from(head & 3)], 0, rest),
        _ => return None,
    };
    let (length, rest) = match octets {
        0 => (length, rest),
        octets => {
            let (bytes, rest) = rest.split_at_checked(octets)?;
            (number(bytes), rest)
        }
    };
    let (body, after) = rest.split_at_checked(length)?;
    Some((tag, body, after))
}
