//! Digests: what images, layers and blobs are called.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256, Sha512};
use std::fmt;
use std::str::FromStr;

/// A hash algorithm that names things in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algo {
    /// SHA-256: OCI manifests, configs, layers and blobs.
    Sha256,
    /// SHA-512: appc image ids, and OCI where the producer chose it.
    Sha512,
}

impl Algo {
    /// The name used in digests and directories.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// Length of the hexadecimal form.
    pub fn hex_len(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }

    /// Finds an algorithm by name.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "sha256" => Some(Self::Sha256),
            "sha512" => Some(Self::Sha512),
            _ => None,
        }
    }
}

/// A full digest. Written `sha512-HEX` (appc's form, also a file name); `sha256:HEX` is read too.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    algo: Algo,
    hex: String,
}

/// Why a text is no digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// No separator between algorithm and value.
    #[error("{0:?} is not a digest (expected sha256-… or sha512-…)")]
    Form(String),
    /// An algorithm the store does not use.
    #[error("the digest algorithm {0:?} is not supported (sha256 and sha512 are)")]
    Algorithm(String),
    /// Wrong length or characters.
    #[error("{0:?} is not a full {1} digest of {2} lower-case hexadecimal digits")]
    Value(String, &'static str, usize),
}

impl Digest {
    /// A digest from its parts; the value must be full, lower-case hexadecimal.
    pub fn new(algo: Algo, hex: &str) -> Result<Self, DigestError> {
        if hex.len() == algo.hex_len() && hex.bytes().all(is_hex) {
            Ok(Self { algo, hex: hex.to_owned() })
        } else {
            Err(DigestError::Value(hex.to_owned(), algo.name(), algo.hex_len()))
        }
    }

    /// The digest of some bytes.
    pub fn of(algo: Algo, bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new(algo);
        hasher.update(bytes);
        hasher.finish()
    }

    /// The algorithm.
    pub fn algo(&self) -> Algo {
        self.algo
    }

    /// The value in lower-case hexadecimal.
    pub fn hex(&self) -> &str {
        &self.hex
    }

    /// The form OCI documents use: `sha256:HEX`.
    pub fn oci(&self) -> String {
        format!("{}:{}", self.algo.name(), self.hex)
    }

    /// A short form for tables: algorithm and 12 digits; accepted as a prefix.
    pub fn short(&self) -> String {
        format!("{}-{}", self.algo.name(), self.hex.get(..12).unwrap_or(&self.hex))
    }
}

fn is_hex(byte: u8) -> bool {
    byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.algo.name(), self.hex)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let (algo, hex) =
            text.split_once([':', '-']).ok_or_else(|| DigestError::Form(text.to_owned()))?;
        let algo = Algo::parse(algo).ok_or_else(|| DigestError::Algorithm(algo.to_owned()))?;
        Self::new(algo, hex)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A shortened digest as people type it: algorithm and at least eight digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DigestPrefix {
    /// The algorithm.
    pub algo: Algo,
    /// The leading digits.
    pub hex: String,
}

impl DigestPrefix {
    /// Reads a prefix; `None` when the text does not have that form at all.
    pub fn parse(text: &str) -> Option<Self> {
        let (algo, hex) = text.split_once([':', '-'])?;
        let algo = Algo::parse(algo)?;
        let fits = (8..=algo.hex_len()).contains(&hex.len()) && hex.bytes().all(is_hex);
        fits.then(|| Self { algo, hex: hex.to_owned() })
    }

    /// Whether `digest` starts with this prefix.
    pub fn matches(&self, digest: &Digest) -> bool {
        digest.algo == self.algo && digest.hex.starts_with(&self.hex)
    }
}

impl fmt::Display for DigestPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.algo.name(), self.hex)
    }
}

/// A running hash.
#[derive(Clone, Debug)]
pub enum Hasher {
    /// SHA-256.
    Sha256(Box<Sha256>),
    /// SHA-512.
    Sha512(Box<Sha512>),
}

impl Hasher {
    /// A fresh hash.
    pub fn new(algo: Algo) -> Self {
        match algo {
            Algo::Sha256 => Self::Sha256(Box::default()),
            Algo::Sha512 => Self::Sha512(Box::default()),
        }
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
        }
    }

    /// The algorithm.
    pub fn algo(&self) -> Algo {
        match self {
            Self::Sha256(_) => Algo::Sha256,
            Self::Sha512(_) => Algo::Sha512,
        }
    }

    /// The digest of everything added.
    pub fn finish(self) -> Digest {
        let algo = self.algo();
        Digest { algo, hex: hex(&self.finish_bytes()) }
    }

    /// The digest as bytes.
    pub fn finish_bytes(self) -> Vec<u8> {
        match self {
            Self::Sha256(hasher) => hasher.finalize().to_vec(),
            Self::Sha512(hasher) => hasher.finalize().to_vec(),
        }
    }
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read_and_one_is_written() {
        let digest = Digest::of(Algo::Sha256, b"");
        assert_eq!(
            digest.hex(),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        assert_eq!(digest.oci().parse::<Digest>(), Ok(digest.clone()));
        assert_eq!(digest.to_string().parse::<Digest>(), Ok(digest));
    }

    #[test]
    fn short_upper_case_and_foreign_digests_are_refused() {
        for bad in ["", "sha256", "sha256-", "md5:abcd", "sha256:E3B0", "sha512-e3b0c442"] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_prefix_has_an_algorithm_and_eight_digits() {
        let digest = Digest::of(Algo::Sha256, b"");
        for good in ["sha256-e3b0c442", "sha256:e3b0c44298fc", &digest.oci()] {
            assert!(DigestPrefix::parse(good).is_some_and(|p| p.matches(&digest)), "{good}");
        }
        for bad in ["e3b0c44298fc", "sha256-e3b0c44", "sha256-E3B0C442", "sha1-e3b0c442"] {
            assert_eq!(DigestPrefix::parse(bad), None, "{bad}");
        }
    }
}
