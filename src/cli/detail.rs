//! What is known of each app of a pod: by its directory, by its leaf, and by its init.

use crate::config::paths::Paths;
use crate::pod::control::{self, AppStatus, PodStatus};
use crate::pod::list::{Info, Status};
use crate::pod::usage::{self, Usage};
use std::collections::BTreeMap;

/// One app now.
#[derive(Clone, Debug, Default)]
pub struct AppDetail {
    /// What init says, if it says something.
    pub live: Option<AppStatus>,
    /// What it uses, while it has a leaf.
    pub usage: Option<Usage>,
    /// What it may use.
    pub limits: BTreeMap<&'static str, String>,
}

/// Every app of each pod, in the order of its manifest. The inits are asked once and together, and
/// not waited for long.
pub fn of(paths: &Paths, pods: &[&Info]) -> Vec<Vec<AppDetail>> {
    let running = pods.iter().filter(|pod| pod.status == Status::Running);
    let dirs: Vec<_> = running.map(|pod| pod.state.path(paths, pod.uuid)).collect();
    let mut statuses = control::statuses(&dirs).into_iter();
    let status = |pod: &Info| match pod.status {
        Status::Running => statuses.next().flatten(),
        _ => None,
    };
    let statuses: Vec<_> = pods.iter().copied().map(status).collect();
    pods.iter().zip(statuses).map(|(pod, status)| of_one(pod, status)).collect()
}

fn of_one(pod: &Info, status: Option<PodStatus>) -> Vec<AppDetail> {
    let apps = pod.meta.iter().flat_map(|meta| &meta.apps);
    if pod.status != Status::Running {
        return apps.map(|_| AppDetail::default()).collect();
    }
    let live = status.unwrap_or_default().apps;
    apps.map(|app| {
        let leaf = pod.cgroup.as_ref().and_then(|record| usage::leaf(record, &app.name));
        AppDetail {
            live: live.iter().find(|live| live.name == app.name).cloned(),
            usage: leaf.as_deref().and_then(usage::read),
            limits: leaf.as_deref().map(usage::limits).unwrap_or_default(),
        }
    })
    .collect()
}

/// Bytes in words of at most three digits.
pub fn size(bytes: u64) -> String {
    let units = ["B", "K", "M", "G", "T", "P", "E"];
    let mut scaled = u128::from(bytes) * 10;
    let mut unit = 0;
    while scaled >= 10_000 && unit + 1 < units.len() {
        scaled /= 1024;
        unit += 1;
    }
    let name = units.get(unit).copied().unwrap_or_default();
    if unit == 0 || scaled >= 1000 {
        format!("{}{name}", scaled / 10)
    } else {
        format!("{}.{}{name}", scaled / 10, scaled % 10)
    }
}

/// Hundredths of a percent as a percentage.
pub fn hundredths(value: u64) -> String {
    format!("{}.{:02}%", value / 100, value % 100)
}

/// Microseconds in words.
pub fn time(usec: u64) -> String {
    match usec / 1_000_000 {
        0..=99 => format!("{}.{:02}s", usec / 1_000_000, usec / 10_000 % 100),
        seconds @ 100..=5999 => format!("{}min{:02}s", seconds / 60, seconds % 60),
        seconds => format!("{}h{:02}min", seconds / 3600, seconds / 60 % 60),
    }
}

/// What is used in one line.
pub fn line(usage: &Usage) -> Option<String> {
    let mut words = Vec::new();
    words.extend(usage.cpu_usec.map(|usec| format!("cpu {}", time(usec))));
    if let Some(memory) = usage.memory {
        let peak = usage.memory_peak.map(|peak| format!(" (peak {})", size(peak)));
        words.push(format!("memory {}{}", size(memory), peak.unwrap_or_default()));
    }
    words.extend(usage.tasks.map(|tasks| format!("tasks {tasks}")));
    let oom = usage.oom_kills.filter(|kills| *kills > 0);
    words.extend(oom.map(|kills| format!("killed for want of memory: {kills}")));
    let pressure =
        usage.pressure.iter().map(|(name, value)| format!("{name} {}", hundredths(*value)));
    let pressure: Vec<String> = pressure.collect();
    words.extend((!pressure.is_empty()).then(|| format!("waiting for {}", pressure.join(" "))));
    (!words.is_empty()).then(|| words.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_short() {
        let table = [(0, "0B"), (999, "999B"), (1000, "0.9K"), (1536, "1.5K"), (200 << 20, "200M")];
        for (bytes, text) in table {
            assert_eq!(size(bytes), text, "{bytes}");
        }
        assert_eq!(size(u64::MAX), "15.9E");
        assert_eq!(time(1_230_000), "1.23s");
        assert_eq!(time(125_000_000), "2min05s");
        assert_eq!(time(7_260_000_000), "2h01min");
    }
}
