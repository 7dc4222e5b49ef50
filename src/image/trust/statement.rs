//! Statements: what is signed where the signed bytes alone do not say which image they are for.
//!
//! A manifest of an OCI image names neither its repository nor its tag. A statement does: a small JSON
//! document of name, labels and digest, signed like a file (docs/trust.md). cosign's payload says the same
//! in its own words (`simple signing`), and is read into the same form.

use super::decide::Finding;
use crate::image::digest::Digest;
use crate::image::name::AcIdentifier;
use crate::image::time;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Largest statement, and largest signature, that is read.
pub const MAX_BESIDE: u64 = 64 << 10;
/// What a statement says it is.
const KIND: &str = "rocket.statement";
/// Of which version.
const VERSION: u32 = 1;

/// What somebody says of an image, before anybody asked who.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    kind: String,
    version: u32,
    /// The image's name.
    pub name: AcIdentifier,
    /// Its labels: version, and os and arch where it is for one platform only.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The manifest, or the index above it.
    pub digest: Digest,
    /// When it was made, RFC 3339; who has seen a newer one of the same name refuses it.
    pub created: String,
    /// From when on it counts no more, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
}

impl Statement {
    /// A statement of this moment.
    pub fn new(
        name: AcIdentifier,
        labels: BTreeMap<String, String>,
        digest: Digest,
        created: String,
        expires: Option<String>,
    ) -> Self {
        Self { kind: KIND.to_owned(), version: VERSION, name, labels, digest, created, expires }
    }

    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let it: Self = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        if it.kind != KIND {
            return Err(format!("its kind is {:?}, not {KIND:?}", it.kind));
        }
        if it.version != VERSION {
            return Err(format!("version {} is not known; this is for {VERSION}", it.version));
        }
        for (what, text) in [("created", Some(&it.created)), ("expires", it.expires.as_ref())] {
            if let Some(text) = text.filter(|text| time::parse(text).is_none()) {
                return Err(format!("{what} is {text:?}, which is no time of RFC 3339"));
            }
        }
        Ok(it)
    }

    /// As it is written to a file and signed.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// Why it is not about the image that was asked for, if it is not.
    pub fn mismatch(&self, wanted: &About<'_>) -> Option<String> {
        if !wanted.digests.contains(&&self.digest) {
            return Some(format!("it is about another image, {}", self.digest));
        }
        let differs = |(key, value): (&String, &String)| {
            let asked = wanted.labels.get(key)?;
            (asked != value)
                .then(|| format!("it is about {key} {value}, and {asked} was asked for"))
        };
        self.labels.iter().find_map(differs)
    }
}

/// The image that was asked for, and found.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// Labels that were asked for.
    pub labels: &'a BTreeMap<String, String>,
    /// Its digest, and those of the indexes that led to it.
    pub digests: &'a [&'a Digest],
}

/// What findings about a statement's bytes say of an image: the name it has, unless it is about another.
pub fn bind(findings: Vec<Finding>, statement: &Statement, about: &About<'_>) -> Vec<Finding> {
    let mismatch = statement.mismatch(about);
    let one = |finding| match (finding, &mismatch) {
        (Finding::Good { kind, .. }, Some(why)) => Finding::Bad { kind, why: why.clone() },
        (Finding::Good { kind, fingerprint, .. }, None) => {
            let name = Some(statement.name.to_string());
            Finding::Good { kind, fingerprint, name }
        }
        (other, _) => other,
    };
    findings.into_iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::digest::Algo;
    use crate::image::trust::Kind;

    fn statement() -> Statement {
        let labels = [("version", "1.0"), ("arch", "amd64")];
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let digest = Digest::of(Algo::Sha256, b"manifest");
        let name = AcIdentifier::new("example.com/db").unwrap();
        Statement::new(name, labels, digest, "2026-11-24T10:00:00Z".to_owned(), None)
    }

    #[test]
    fn what_is_written_is_read() {
        let it = statement();
        assert_eq!(Statement::parse(&it.bytes()), Ok(it.clone()));
        let text = String::from_utf8(it.bytes()).unwrap();
        for (from, to, words) in [
            ("rocket.statement", "other", "kind"),
            ("\"version\": 1,", "\"version\": 2,", "version 2"),
            ("example.com/db", "Example.com/db", "lower-case"),
            ("10:00:00Z", "yesterday", "RFC 3339"),
            ("\"created\"", "\"more\": 1, \"created\"", "unknown field"),
            ("sha256", "md5", "digest"),
        ] {
            let why = Statement::parse(text.replacen(from, to, 1).as_bytes()).unwrap_err();
            assert!(why.contains(words), "{to}: {why}");
        }
    }

    #[test]
    fn it_is_about_one_image_only() {
        let it = statement();
        let other = Digest::of(Algo::Sha256, b"other");
        let labels = |list: &[(&str, &str)]| -> BTreeMap<String, String> {
            list.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
        };
        let good = Finding::Good { kind: Kind::Minisign, fingerprint: "A".to_owned(), name: None };
        let check = |asked: &[(&str, &str)], digests: &[&Digest]| {
            let labels = labels(asked);
            let about = About { labels: &labels, digests };
            bind(vec![good.clone()], &it, &about).remove(0)
        };
        for (asked, digests) in [
            (&[][..], vec![&it.digest]),
            (&[("version", "1.0")], vec![&other, &it.digest]),
            (&[("os", "linux")], vec![&it.digest]),
        ] {
            let Finding::Good { name, .. } = check(asked, &digests) else { panic!("{asked:?}") };
            assert_eq!(name.as_deref(), Some("example.com/db"));
        }
        for (asked, digests, words) in [
            (&[][..], vec![&other], "another image"),
            (&[("version", "2.0")], vec![&it.digest], "version 1.0, and 2.0"),
            (&[("arch", "arm64")], vec![&it.digest], "arch amd64"),
        ] {
            let Finding::Bad { why, .. } = check(asked, &digests) else { panic!("{asked:?}") };
            assert!(why.contains(words), "{why}");
        }
    }
}
