//! `registries.d/*.toml`: how registries are reached.

use super::settings::{layered, parse, read};
use crate::image::error::ImageError;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// How a registry, or a part of one, is reached.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(super) struct Registry {
    /// Who may have its images too, asked first: `HOST[:PORT][/PREFIX]`.
    pub mirrors: Vec<String>,
    /// It is spoken to without encryption.
    pub insecure_http: bool,
    /// Files with certificates of its authorities.
    pub ca: Vec<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    registry: BTreeMap<String, Registry>,
}

/// Every entry, by its prefix. The same prefix in a later file replaces the entry.
pub(super) fn load(config: &[PathBuf]) -> Result<BTreeMap<String, Registry>, ImageError> {
    let mut all = BTreeMap::new();
    for path in layered(config, "registries.d")? {
        let file: File = parse(&path, &read(&path)?)?;
        for (prefix, registry) in file.registry {
            let words = [prefix.as_str()];
            let words = words.into_iter().chain(registry.mirrors.iter().map(String::as_str));
            for word in words {
                if word.is_empty() || word.contains("://") || word.ends_with('/') {
                    let problem = format!("{word:?} is not of the form HOST[:PORT][/PREFIX]");
                    return Err(ImageError::bad(path.display().to_string(), problem));
                }
            }
            all.insert(prefix, registry);
        }
    }
    Ok(all)
}

/// The entry whose prefix of whole segments is the longest.
pub(super) fn most_specific<'a, T>(
    all: &'a BTreeMap<String, T>,
    address: &str,
) -> Option<(&'a str, &'a T)> {
    all.iter()
        .filter(|(prefix, _)| {
            address
                .strip_prefix(prefix.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
        .max_by_key(|(prefix, _)| prefix.len())
        .map(|(prefix, entry)| (prefix.as_str(), entry))
}
