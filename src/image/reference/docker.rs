//! `docker://[HOST[:PORT]/]REPOSITORY[:TAG][@DIGEST]`.

use crate::image::digest::{Digest, hex};
use crate::image::name::AcIdentifier;
use std::collections::BTreeMap;
use std::fmt;

/// Docker Hub, where names without a host are.
const HUB: &str = "docker.io";
const MAX_REPOSITORY: usize = 255;
const MAX_TAG: usize = 128;

/// An image in a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DockerRef {
    /// The registry, with a port where one was given, in lower case.
    pub host: String,
    /// The repository.
    pub repository: String,
    /// The tag. Without one and without a digest: `latest`.
    pub tag: Option<String>,
    /// The digest it must have: of its manifest, or of the index that lists it.
    pub digest: Option<Digest>,
}

impl DockerRef {
    /// Reads what follows `docker://`; an error says what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                let digest = digest.parse().map_err(|_| "what follows @ must be a full digest")?;
                (rest, Some(digest))
            }
            None => (text, None),
        };
        let (host, path) = match rest.split_once('/') {
            Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => (host, path),
            _ => (HUB, rest),
        };
        let (repository, tag) = match path.rsplit_once(':') {
            Some((repository, tag)) => (repository, Some(tag.to_owned())),
            None => (path, None),
        };
        let host = host.to_ascii_lowercase();
        let host = if host == "index.docker.io" { HUB.to_owned() } else { host };
        let repository = match repository.contains('/') {
            false if host == HUB => format!("library/{repository}"),
            _ => repository.to_owned(),
        };
        if !is_host(&host) {
            return Err("its host is none: expected HOST or HOST:PORT");
        }
        if repository.len() > MAX_REPOSITORY || !repository.split('/').all(is_component) {
            return Err("its repository is none: small letters and digits, with . _ - / between");
        }
        if tag.as_deref().is_some_and(|tag| !is_tag(tag)) {
            return Err("its tag is none: letters, digits, _ . -, 128 at most");
        }
        Ok(Self { host, repository, tag, digest })
    }

    /// What the registry is asked for.
    pub(crate) fn wanted(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.oci(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => "latest".to_owned(),
        }
    }

    /// The name and labels under which the store has it. Different images have different ones.
    pub(crate) fn stored_as(&self) -> Option<(AcIdentifier, BTreeMap<String, String>)> {
        let name = AcIdentifier::new(identifier(&format!("{}/{}", self.host, self.repository)));
        let mut labels = BTreeMap::new();
        let tag = self.tag.clone().or_else(|| self.digest.is_none().then(|| "latest".to_owned()));
        labels.extend(tag.map(|tag| ("version".to_owned(), tag)));
        labels.extend(self.digest.as_ref().map(|d| ("digest".to_owned(), d.to_string())));
        name.ok().map(|name| (name, labels))
    }
}

/// An address as an AC Identifier, which has single separators only: `:` becomes `~`, and what else
/// does not fit `~HEX~`. No two addresses become the same.
fn identifier(address: &str) -> String {
    let mut out = String::new();
    let mut rest = address;
    while !rest.is_empty() {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let end = rest.find(|c| !plain(c)).unwrap_or(rest.len());
        out.push_str(rest.get(..end).unwrap_or_default());
        rest = rest.get(end..).unwrap_or_default();
        let end = rest.find(plain).unwrap_or(rest.len());
        let run = rest.get(..end).unwrap_or_default();
        rest = rest.get(end..).unwrap_or_default();
        match run {
            "" => {}
            "." | "-" | "_" | "/" => out.push_str(run),
            ":" => out.push('~'),
            _ => out.push_str(&format!("~{}~", hex(run.as_bytes()))),
        }
    }
    out
}

fn is_host(text: &str) -> bool {
    let (name, port) = match text.split_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (text, None),
    };
    let port = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    let label = |label: &str| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        !label.is_empty()
            && label.bytes().all(plain)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    port && name.len() <= 253 && name.split('.').all(label)
}

/// Words of small letters and digits with `.`, `_`, `__` or any number of `-` between them.
fn is_component(text: &str) -> bool {
    let plain = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    if !bytes.first().is_some_and(plain) || !bytes.last().is_some_and(plain) {
        return false;
    }
    text.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        .all(|run| matches!(run, "" | "." | "_" | "__") || run.bytes().all(|b| b == b'-'))
}

fn is_tag(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    !text.is_empty()
        && text.len() <= MAX_TAG
        && !text.starts_with(['.', '-'])
        && text.bytes().all(plain)
}

impl fmt::Display for DockerRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "docker://{}/{}", self.host, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{}", digest.oci()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_say_where_and_what() {
        let digest = "a".repeat(64);
        for (text, shown, wanted) in [
            ("nginx", "docker://docker.io/library/nginx", "latest"),
            ("team/nginx:1.25", "docker://docker.io/team/nginx:1.25", "1.25"),
            ("localhost/x", "docker://localhost/x", "latest"),
            ("Host.example:5000/a/b__c:T_1", "docker://host.example:5000/a/b__c:T_1", "T_1"),
            (&format!("r.example/x:t@sha256:{digest}"), "", &format!("sha256:{digest}")),
        ] {
            let found = DockerRef::parse(text).unwrap();
            assert_eq!(found.wanted(), wanted);
            if !shown.is_empty() {
                assert_eq!(found.to_string(), shown);
            }
            assert_eq!(
                DockerRef::parse(found.to_string().trim_start_matches("docker://")).unwrap(),
                found
            );
        }
        for bad in [
            "",
            "/x",
            "r.example/",
            "r.example/X",
            "r.example/a//b",
            "r.example/../b",
            "r.example:0/x",
            "r.example:99999/x",
            "-r.example/x",
            "r.example/x:",
            "r.example/x:.t",
            "r.example/x@sha256:1",
            "r.example/a_-b",
            "user@r.example/x",
            "[::1]:5000/x",
            "r.example/a___b",
            "r.example/x?y",
        ] {
            assert!(DockerRef::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_image_has_a_name_of_its_own_in_the_store() {
        let names = [
            "h.example:5000/a",
            "h.example/5000/a",
            "h.example-5000/a",
            "h.example/a-b",
            "h.example/a--b",
            "h.example/a_b",
            "h.example/a__b",
            "h.example/a.b",
            "h.example/a---b",
        ];
        let stored: std::collections::BTreeSet<String> = names
            .iter()
            .map(|name| DockerRef::parse(name).unwrap().stored_as().unwrap().0.to_string())
            .collect();
        assert_eq!(stored.len(), names.len(), "{stored:?}");
        assert!(stored.contains("h.example~5000/a"));
    }
}
