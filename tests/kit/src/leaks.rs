//! What the machine holds, so that a test can show that it holds no more afterwards.

use crate::run;
use std::collections::BTreeMap;
use std::fs::read_to_string;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Everything that rocket could leave behind, each kind of thing with how often it is there.
#[derive(Debug, PartialEq, Eq)]
pub struct Held(BTreeMap<String, usize>);

impl Held {
    /// Counts what is there now.
    #[must_use]
    pub fn now() -> Self {
        let mut held = BTreeMap::new();
        let mut add =
            |kind: &str, what: String| *held.entry(format!("{kind} {what}")).or_insert(0) += 1;
        mounts().into_iter().for_each(|mount| add("mount", mount));
        for dir in tree(Path::new("/sys/fs/cgroup")) {
            add("cgroup", dir.display().to_string());
        }
        units().into_iter().for_each(|unit| add("unit", unit));
        locks().into_iter().for_each(|lock| add("lock", lock));
        orphans().into_iter().for_each(|base| add("ids without a pod", base));
        for process in processes() {
            add("process", process.name.clone());
            if process.lasting() {
                (0..process.descriptors).for_each(|_| add("descriptor of", process.name.clone()));
            }
        }
        Self(held)
    }

    /// What is there more often than before; empty when nothing is.
    #[must_use]
    pub fn more_than(&self, before: &Self) -> Vec<String> {
        let more = self.0.iter().filter_map(|(what, count)| {
            let was = before.0.get(what).copied().unwrap_or(0);
            (*count > was).then(|| format!("{what}: {was} before, {count} now"))
        });
        more.collect()
    }

    /// Fails the test unless there is soon no more than in `self`.
    ///
    /// Soon, not at once: systemd forgets units and closes descriptors a moment later.
    #[track_caller]
    pub fn wait_for_no_more(&self) {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let more = Self::now().more_than(self);
            if more.is_empty() {
                return;
            }
            assert!(Instant::now() < end, "left behind:\n{}", more.join("\n"));
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

/// Mounts that PID 1 sees: where, and of what type.
fn mounts() -> Vec<String> {
    let text = read_to_string("/proc/1/mountinfo").unwrap();
    let mount = |line: &str| {
        let (left, right) = line.split_once(" - ")?;
        Some(format!("{} {}", right.split(' ').next()?, left.split(' ').nth(4)?))
    };
    text.lines().filter_map(mount).collect()
}

/// A cgroup and all below it.
#[must_use]
pub fn tree(dir: &Path) -> Vec<PathBuf> {
    let mut found = vec![dir.to_owned()];
    // A cgroup may go while it is looked at.
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(tree(&entry.path()));
        }
    }
    found
}

fn units() -> Vec<String> {
    let done = run("systemctl", ["list-units", "--all", "--plain", "--no-legend", "--no-pager"]);
    let first = |line: &str| line.split_whitespace().next().map(str::to_owned);
    done.ok().stdout.lines().filter_map(first).collect()
}

/// Locks by kind and file, not by who holds them.
fn locks() -> Vec<String> {
    let text = read_to_string("/proc/locks").unwrap();
    let lock = |line: &str| {
        let words: Vec<_> = line.split_whitespace().filter(|word| *word != "->").collect();
        Some(format!("{} {}", words.get(1)?, words.get(5)?))
    };
    text.lines().filter_map(lock).collect()
}

/// Ranges of ids that belong to a pod without a directory.
fn orphans() -> Vec<String> {
    let pods = Path::new("/var/lib/rocket/pods");
    let entries = std::fs::read_dir("/var/lib/rocket/ids").into_iter().flatten().flatten();
    let orphan = |entry: std::fs::DirEntry| {
        let owner = std::fs::read_link(entry.path()).ok()?;
        let uuid = owner.to_str()?.strip_prefix("pod:")?.to_owned();
        let mut states = std::fs::read_dir(pods).into_iter().flatten().flatten();
        let known = states.any(|state| state.path().join(&uuid).exists());
        (!known).then(|| entry.file_name().to_string_lossy().into_owned())
    };
    entries.filter_map(orphan).collect()
}

struct Process {
    name: String,
    descriptors: usize,
}

impl Process {
    /// Part of the bed itself: a descriptor it keeps is one too many.
    fn lasting(&self) -> bool {
        ["systemd", "systemd-journal", "systemd-logind", "dbus-daemon"].contains(&&*self.name)
    }
}

/// The processes of the bed. The test and its runner are among them, before and after.
fn processes() -> Vec<Process> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let dir = entry.path();
        // A process may end while it is looked at.
        let stat = read_to_string(dir.join("stat")).ok();
        let Some(name) = stat.as_deref().and_then(name_of) else { continue };
        let descriptors = std::fs::read_dir(dir.join("fd")).map_or(0, Iterator::count);
        found.push(Process { name, descriptors });
    }
    found
}

fn name_of(stat: &str) -> Option<String> {
    Some(stat.split_once('(')?.1.rsplit_once(')')?.0.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_is_named_and_what_went_is_not() {
        let held = |pairs: &[(&str, usize)]| {
            Held(pairs.iter().map(|(what, count)| ((*what).to_owned(), *count)).collect())
        };
        let before = held(&[("mount a", 1), ("unit b", 2)]);
        let after = held(&[("mount a", 2), ("unit b", 1), ("lock c", 1)]);
        let more = after.more_than(&before);
        assert_eq!(more, ["lock c: 0 before, 1 now", "mount a: 1 before, 2 now"]);
        assert!(before.more_than(&before).is_empty());
    }

    #[test]
    fn a_process_name_may_hold_brackets() {
        assert_eq!(name_of("12 (a) b)) S 1 2").as_deref(), Some("a) b)"));
    }
}
