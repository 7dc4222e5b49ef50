//! What an app uses and may use: the files of its leaf, as plain data.

use super::meta::CgroupRecord;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where cgroups are.
const CGROUPS: &str = "/sys/fs/cgroup";
/// The files of a leaf that are limits; `max` in them is none.
const LIMITS: [&str; 13] = [
    "cpu.idle",
    "cpu.max",
    "cpu.weight",
    "cpuset.cpus",
    "memory.max",
    "memory.high",
    "memory.low",
    "memory.min",
    "memory.swap.max",
    "pids.max",
    "io.bfq.weight",
    "io.max",
    "io.weight",
];

/// Numbers of one leaf. What the host does not account is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Usage {
    /// Processor time since its start, in microseconds.
    pub cpu_usec: Option<u64>,
    /// Bytes of memory now.
    pub memory: Option<u64>,
    /// The most there was at a time.
    pub memory_peak: Option<u64>,
    /// Processes and threads.
    pub tasks: Option<u64>,
    /// Bytes read from block devices.
    pub io_read: Option<u64>,
    /// Bytes written to them.
    pub io_write: Option<u64>,
    /// How often the kernel killed for want of memory.
    pub oom_kills: Option<u64>,
    /// Hundredths of a percent of the last ten seconds in which some task waited for the
    /// processor, memory, or IO.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub pressure: BTreeMap<&'static str, u64>,
}

/// The directory of an app's leaf.
pub fn leaf(record: &CgroupRecord, app: &str) -> Option<PathBuf> {
    Some(cgroup(record)?.join(format!("app-{app}")))
}

/// The directory of a pod's cgroup.
pub fn cgroup(record: &CgroupRecord) -> Option<PathBuf> {
    Some(Path::new(CGROUPS).join(record.path.as_ref()?.trim_start_matches('/')))
}

/// Reads the numbers of a leaf; `None` when it is not there.
pub fn read(leaf: &Path) -> Option<Usage> {
    if !leaf.is_dir() {
        return None;
    }
    let text = |file: &str| std::fs::read_to_string(leaf.join(file)).ok();
    let number = |file: &str| text(file)?.trim().parse().ok();
    let io = text("io.stat");
    let io = |key: &str| io.as_deref().map(|text| sum(text, key));
    let mut pressure = BTreeMap::new();
    for (name, file) in
        [("cpu", "cpu.pressure"), ("memory", "memory.pressure"), ("io", "io.pressure")]
    {
        if let Some(value) = text(file).as_deref().and_then(some_avg10) {
            pressure.insert(name, value);
        }
    }
    Some(Usage {
        cpu_usec: text("cpu.stat").and_then(|text| field(&text, "usage_usec")),
        memory: number("memory.current"),
        memory_peak: number("memory.peak"),
        tasks: number("pids.current").or_else(|| tasks(leaf)),
        io_read: io("rbytes"),
        io_write: io("wbytes"),
        oom_kills: text("memory.events").and_then(|text| field(&text, "oom_kill")),
        pressure,
    })
}

/// The same of a pod's own cgroup, which has no processes itself: without the pids controller
/// nobody counts them.
pub fn read_pod(cgroup: &Path) -> Option<Usage> {
    let counted = cgroup.join("pids.current").exists();
    read(cgroup).map(|usage| Usage { tasks: usage.tasks.filter(|_| counted), ..usage })
}

/// The limits that are set on a cgroup.
pub fn limits(leaf: &Path) -> BTreeMap<&'static str, String> {
    let mut limits = BTreeMap::new();
    for file in LIMITS {
        let Ok(text) = std::fs::read_to_string(leaf.join(file)) else { continue };
        let text = text.trim();
        if !is_default(file, text) {
            limits.insert(file, text.to_owned());
        }
    }
    limits
}

/// Whether a file says what it says where nobody has limited anything.
fn is_default(file: &str, text: &str) -> bool {
    match file {
        "memory.low" | "memory.min" | "cpu.idle" => text == "0",
        // The weight of what is idle is 0, and cpu.idle says so.
        "cpu.weight" => matches!(text, "100" | "0"),
        "io.weight" | "io.bfq.weight" => text.trim_start_matches("default ") == "100",
        _ => text.is_empty() || text == "max" || text.starts_with("max "),
    }
}

/// Without the pids controller the processes, at least, can be counted.
fn tasks(leaf: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(leaf.join("cgroup.threads")).ok()?;
    u64::try_from(text.lines().count()).ok()
}

/// `KEY VALUE` on a line of its own.
fn field(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

/// The sum of `KEY=VALUE` over all lines.
fn sum(text: &str, key: &str) -> u64 {
    text.split_whitespace()
        .filter_map(|word| word.strip_prefix(key)?.strip_prefix('=')?.parse::<u64>().ok())
        .fold(0, u64::saturating_add)
}

/// Hundredths of the percent that `some avg10=1.23 …` says.
fn some_avg10(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("some "))?;
    let value = line.split_whitespace().find_map(|word| word.strip_prefix("avg10="))?;
    let (whole, part) = value.split_once('.')?;
    Some(whole.parse::<u64>().ok()?.saturating_mul(100).saturating_add(part.parse().ok()?))
}

/// Bytes that a tree takes on disk, each inode once.
pub fn bytes(tree: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let mut seen = std::collections::BTreeSet::new();
    let mut total = 0u64;
    let mut todo = vec![tree.to_owned()];
    while let Some(path) = todo.pop() {
        let Ok(meta) = std::fs::symlink_metadata(&path) else { continue };
        if meta.nlink() > 1 && !meta.is_dir() && !seen.insert((meta.dev(), meta.ino())) {
            continue;
        }
        total = total.saturating_add(meta.blocks().saturating_mul(512));
        if meta.is_dir() {
            let entries = std::fs::read_dir(&path).into_iter().flatten().flatten();
            todo.extend(entries.map(|entry| entry.path()));
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_the_kernel_writes_them() {
        let dir = tempfile::tempdir().unwrap();
        let leaf = dir.path();
        assert_eq!(read(&leaf.join("gone")), None);
        assert_eq!(read(leaf), Some(Usage::default()));
        let write = |file: &str, text: &str| std::fs::write(leaf.join(file), text).unwrap();
        write("cpu.stat", "usage_usec 1500\nuser_usec 1000\n");
        write("memory.current", "4096\n");
        write("memory.peak", "8192\n");
        write("pids.current", "3\n");
        write("io.stat", "8:0 rbytes=10 wbytes=20 rios=1\n8:16 rbytes=1 wbytes=2\n");
        write("memory.events", "oom 4\noom_kill 2\n");
        write("cpu.pressure", "some avg10=1.07 avg60=0.00 total=5\nfull avg10=0.00\n");
        write("memory.max", "max\n");
        write("pids.max", "64\n");
        write("cpu.max", "max 100000\n");
        for (file, text) in [
            ("cpu.weight", "100\n"),
            ("cpu.idle", "0\n"),
            ("cpuset.cpus", "\n"),
            ("io.weight", "default 100\n"),
            ("memory.low", "0\n"),
        ] {
            write(file, text);
        }
        let usage = read(leaf).unwrap();
        assert_eq!(usage.cpu_usec, Some(1500));
        assert_eq!(
            (usage.memory, usage.memory_peak, usage.tasks),
            (Some(4096), Some(8192), Some(3))
        );
        assert_eq!((usage.io_read, usage.io_write), (Some(11), Some(22)));
        assert_eq!(usage.oom_kills, Some(2));
        assert_eq!(usage.pressure, BTreeMap::from([("cpu", 107)]));
        assert_eq!(limits(leaf), BTreeMap::from([("pids.max", "64".to_owned())]));
    }

    #[test]
    fn hard_links_are_counted_once() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, vec![1; 100_000]).unwrap();
        let before = bytes(dir.path());
        assert!(before >= 100_000);
        std::fs::hard_link(&file, dir.path().join("again")).unwrap();
        assert_eq!(bytes(dir.path()), before);
    }
}
