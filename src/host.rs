//! Facts about this host, read once and handed on as plain data.

pub mod block;
pub mod lsm;

use rocket_podfile::HostTotals;

/// What percentages in limits are of: memory in bytes, tasks the kernel allows (proc(5)).
pub fn totals() -> HostTotals {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    HostTotals {
        memory: memory_total(&read("/proc/meminfo")).unwrap_or(u64::MAX),
        tasks: read("/proc/sys/kernel/threads-max").trim().parse().unwrap_or(u64::MAX),
    }
}

/// The most descriptors a process may have (proc(5), `fs.nr_open`), if that can be read.
pub fn most_descriptors() -> Option<u64> {
    std::fs::read_to_string("/proc/sys/fs/nr_open").ok()?.trim().parse().ok()
}

fn memory_total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_bytes() {
        assert_eq!(memory_total("MemFree: 1 kB\nMemTotal:   2048 kB\n"), Some(2 << 20));
        assert_eq!(memory_total(""), None);
    }
}
