//! `LogRateLimitIntervalSec=0` in a drop-in of a pod's unit. systemd.exec(5) says that it turns
//! journald's rate limit off; but of a unit, systemd takes 0 for "not set" and tells journald
//! nothing, whose own limit then holds. With a burst that no app reaches it is as the words say.

use rocket_podfile::TimeSpan;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Lines in journald's interval of 30 s. It multiplies this by up to a dozen with the free space, in
/// 32 bits.
pub const NO_LIMIT: &str = "100000000";

/// Directories of drop-ins of pods' units, by name, the most important first.
#[derive(Debug, Default)]
pub struct DropIns(BTreeMap<String, Vec<PathBuf>>);

impl DropIns {
    /// Those in the directories of units, of which the first is the most important.
    pub fn find(units: &[PathBuf]) -> Self {
        let mut found: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
        for entry in units.iter().filter_map(|dir| fs::read_dir(dir).ok()).flatten().flatten() {
            if let Ok(name) = entry.file_name().into_string()
                && name.starts_with("rocket@")
                && name.ends_with(".service.d")
            {
                found.entry(name).or_default().push(entry.path());
            }
        }
        Self(found)
    }

    /// Whether the administrator has said that this pod's lines are not limited, and not how many
    /// they may be.
    pub fn lift_limit_of(&self, pod: &str) -> bool {
        let names = [format!("rocket@{pod}.service.d"), "rocket@.service.d".to_owned()];
        let dirs = names.iter().filter_map(|name| self.0.get(name)).flatten();
        // The first of a name hides the others; then they are read in the order of their names.
        let mut files: BTreeMap<_, PathBuf> = BTreeMap::new();
        for entry in dirs.filter_map(|dir| fs::read_dir(dir).ok()).flatten().flatten() {
            files.entry(entry.file_name()).or_insert_with(|| entry.path());
        }
        let is_drop_in = |path: &&PathBuf| path.extension().is_some_and(|e| e == "conf");
        let texts: Vec<String> = files.values().filter(is_drop_in).map(|path| read(path)).collect();
        lifts(texts.iter().flat_map(|text| text.lines()))
    }
}

/// What cannot be read says nothing: the generator goes on.
fn read(path: &Path) -> String {
    let regular = fs::metadata(path).is_ok_and(|meta| meta.is_file());
    if regular { fs::read_to_string(path).unwrap_or_default() } else { String::new() }
}

fn lifts<'a>(lines: impl Iterator<Item = &'a str>) -> bool {
    let (mut zero, mut burst) = (false, false);
    for (key, value) in lines.filter_map(|line| line.split_once('=')) {
        match key.trim() {
            "LogRateLimitIntervalSec" => {
                zero = value.trim().parse() == Ok(TimeSpan::Finite(Duration::ZERO));
            }
            "LogRateLimitBurst" => burst = !value.trim().is_empty(),
            _ => {}
        }
    }
    zero && !burst
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_interval_of_nothing_without_a_burst_lifts_the_limit() {
        let lifts = |text: &str| lifts(text.lines());
        assert!(lifts("[Service]\nLogRateLimitIntervalSec=0\n"));
        assert!(lifts("LogRateLimitIntervalSec=5\n LogRateLimitIntervalSec = 0s \n"));
        assert!(!lifts("LogRateLimitIntervalSec=0\nLogRateLimitBurst=5\n"));
        assert!(!lifts("LogRateLimitIntervalSec=0\nLogRateLimitIntervalSec=30s\n"));
        assert!(!lifts("#LogRateLimitIntervalSec=0\nLogRateLimitIntervalSec=\n"));
    }
}
