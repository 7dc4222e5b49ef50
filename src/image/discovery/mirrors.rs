//! `mirrors.d/*.toml`: places that are asked before a name's own host.

use super::place::{Form, covers, expand};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where images lie below a place: what `rocket image publish` writes.
pub const TEMPLATE: &str = "images/{name}/{version}-{os}-{arch}.{ext}";

/// A place that may have images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A directory: a mounted disk, a stick.
    Dir(PathBuf),
    /// A directory of a web server: `https://HOST/PATH`.
    Web(String),
    /// A prefix of a registry: `HOST/PREFIX`, without its scheme.
    Registry(String),
}

impl Place {
    /// Reads one as people write it.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let trimmed = text.trim_end_matches('/');
        if text.starts_with('/') {
            return Ok(Self::Dir(PathBuf::from(text)));
        }
        if let Some(rest) = text.strip_prefix("docker://") {
            return match rest.trim_end_matches('/') {
                "" => Err(format!("{text:?} names no registry")),
                rest => Ok(Self::Registry(rest.to_owned())),
            };
        }
        let host = ["https://", "http://"].iter().find_map(|scheme| trimmed.strip_prefix(scheme));
        match host {
            Some(rest) if !rest.is_empty() && !rest.contains(['@', '?', '#']) => {
                Ok(Self::Web(trimmed.to_owned()))
            }
            _ => Err(format!(
                "{text:?} is no place: a directory from /, https://HOST/PATH or docker://HOST/PREFIX"
            )),
        }
    }

    /// Where an image lies in a directory or on a web server.
    pub fn address(
        &self,
        name: &str,
        labels: &BTreeMap<String, String>,
        arch: &str,
        form: Form,
    ) -> Option<String> {
        let below = expand(TEMPLATE, name, labels, arch, form.extension())?;
        match self {
            Self::Dir(dir) => Some(dir.join(below).display().to_string()),
            Self::Web(base) => Some(format!("{base}/{below}")),
            Self::Registry(_) => None,
        }
    }
}

/// All mirrors, by the prefix that they are for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mirrors {
    by_prefix: BTreeMap<String, Vec<Place>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct File {
    version: u32,
    #[serde(default)]
    prefix: BTreeMap<String, Table>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Table {
    places: Vec<String>,
}

impl Mirrors {
    /// Adds a file's; those of a prefix replace what an earlier file said of the same.
    ///
    /// # Errors
    /// Offset in the text, and what is wrong there.
    pub fn add(&mut self, _path: &Path, text: &str) -> Result<(), (usize, String)> {
        let file: File = toml::from_str(text)
            .map_err(|e| (e.span().map_or(0, |span| span.start), e.message().to_owned()))?;
        if file.version != 1 {
            return Err((0, format!("version {} is not known; this is for 1", file.version)));
        }
        let mut found = Vec::new();
        for (prefix, table) in file.prefix {
            let at = |word: &str| text.find(word).unwrap_or(0);
            if !prefix.is_empty() && crate::image::name::AcIdentifier::new(prefix.as_str()).is_err()
            {
                return Err((at(&prefix), format!("{prefix:?} is no prefix of image names")));
            }
            let places =
                table.places.iter().map(|word| Place::parse(word).map_err(|why| (at(word), why)));
            found.push((prefix, places.collect::<Result<Vec<_>, _>>()?));
        }
        self.by_prefix.extend(found);
        Ok(())
    }

    /// The places for a name: those of its longest prefix; "" is every name's.
    pub fn places(&self, name: &str) -> &[Place] {
        let fits = |prefix: &str| prefix.is_empty() || covers(prefix, name);
        let found = self.by_prefix.iter().filter(|(prefix, _)| fits(prefix));
        found.max_by_key(|(prefix, _)| prefix.len()).map_or(&[], |(_, places)| places)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_by_the_longest_prefix() {
        let mut mirrors = Mirrors::default();
        let text = "version = 1\n[prefix.\"\"]\nplaces = [\"/mnt/stick\"]\n[prefix.\"example.com/a\"]\n\
             places = [\"https://m.test/x/\", \"docker://r.test:5000/team\", \"/srv/i\"]\n";
        mirrors.add(Path::new("m.toml"), text).unwrap();
        assert_eq!(mirrors.places("example.com/ab"), [Place::Dir("/mnt/stick".into())]);
        let places = mirrors.places("example.com/a/b");
        assert_eq!(places[1], Place::Registry("r.test:5000/team".to_owned()));
        let address =
            |place: &Place| place.address("example.com/a/b", &BTreeMap::new(), "amd64", Form::Oci);
        assert_eq!(
            address(&places[0]).unwrap(),
            "https://m.test/x/images/example.com/a/b/latest-linux-amd64.oci"
        );
        assert_eq!(address(&places[1]), None);
        assert_eq!(
            address(&places[2]).unwrap(),
            "/srv/i/images/example.com/a/b/latest-linux-amd64.oci"
        );
        for (text, words) in [
            ("version = 2\n", "version 2"),
            ("version = 1\n[prefix.\"A\"]\nplaces = []\n", "no prefix"),
            ("version = 1\n[prefix.a]\nplaces = [\"relative\"]\n", "no place"),
            ("version = 1\n[prefix.a]\nplaces = [\"https://u@h/\"]\n", "no place"),
            ("version = 1\n[prefix.a]\nplaces = [\"docker://\"]\n", "names no registry"),
            ("version = 1\n[prefix.a]\nplace = []\n", "place"),
        ] {
            let (_, why) = Mirrors::default().add(Path::new("m.toml"), text).unwrap_err();
            assert!(why.contains(words), "{text}: {why}");
        }
    }
}
