//! Which instances of templates there are. Nobody lists them, so they are those that somebody has
//! enabled, has given drop-ins of their own, or names as `pod:NAME@INSTANCE` in a pod file.

use crate::triggers::pod_of_link;
use rocket_podfile::Catalog;
use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// Where enabled units are linked, and administrators write drop-ins. `ROCKET_UNIT_PATH`, separated by colons, says otherwise.
const UNITS: [&str; 3] = ["/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system"];

/// Where units lie, most important first.
pub fn unit_dirs() -> Vec<PathBuf> {
    match env::var_os("ROCKET_UNIT_PATH").filter(|path| !path.is_empty()) {
        Some(path) => env::split_paths(&path).collect(),
        None => UNITS.iter().map(PathBuf::from).collect(),
    }
}

/// The instances of the templates of `catalog`, sorted.
pub fn find(catalog: &Catalog<'_>, units: &[PathBuf]) -> BTreeSet<String> {
    // The usual host has no template, and then nothing in the directories of units is looked at.
    if !catalog.names().iter().any(|name| name.ends_with('@')) {
        return BTreeSet::new();
    }
    let mut found: BTreeSet<String> = catalog.instances().map(str::to_owned).collect();
    for dir in units {
        for entry in entries(dir) {
            let name = entry.to_string_lossy();
            if name.ends_with(".wants") || name.ends_with(".requires") {
                let links = entries(&entry);
                found.extend(links.iter().filter_map(|link| pod_of_link(link)).map(str::to_owned));
            }
        }
    }
    found.retain(|name| catalog.has_template_of(name));
    found
}

/// What cannot be read names nothing: the generator goes on.
fn entries(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
}
