//! What of the kernel an app sees in `/dev`, `/proc` and `/sys`.

use super::sources::{Origin, Source};
use rocket_plan::{Device, DeviceKind, DeviceRule};
use std::path::PathBuf;

/// Device nodes every app has (appc OS-SPEC, linux), all character devices, with their numbers.
const DEVICES: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];
/// Of terminals: `/dev/ptmx`, and what it makes below `/dev/pts`.
const TERMINALS: [(u32, Option<u32>); 2] = [(5, Some(2)), (136, None)];
/// Hidden: they show or reach into the host's kernel.
pub const MASKED: [&str; 22] = [
    "/proc/acpi",
    "/proc/config.gz",
    "/proc/interrupts",
    "/proc/kallsyms",
    "/proc/kcore",
    "/proc/keys",
    "/proc/kmsg",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/vmallocinfo",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/fs/bpf",
    "/sys/fs/pstore",
    "/sys/kernel/debug",
    "/sys/kernel/notes",
    "/sys/kernel/security",
    "/sys/kernel/tracing",
    "/sys/module",
];
/// Read-only: writing there would change the host.
pub const READ_ONLY: [&str; 7] = [
    "/proc/asound",
    "/proc/bus",
    "/proc/driver",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// Whether every app has a node of this name in `/dev`.
pub fn is_usual(name: &str) -> bool {
    DEVICES.iter().any(|(known, ..)| *known == name)
}

/// A device node of the host that an app is granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostDevice {
    /// Where it is, on the host and in the app.
    pub path: String,
    /// Block or character.
    pub kind: DeviceKind,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
}

/// The nodes of an app, and which devices it can open: what comes from the host is added to `sources`.
pub fn devices(
    app: &str,
    granted: &[HostDevice],
    sources: &mut Vec<Source>,
) -> (Vec<Device>, Vec<DeviceRule>) {
    let mut nodes: Vec<Device> = Vec::new();
    let mut rules = Vec::new();
    let mut add = |path: String| {
        if nodes.iter().any(|node| node.path == path) {
            return;
        }
        let name = path.strip_prefix("/dev/").unwrap_or(&path);
        let source = format!("device:{app}:{name}");
        let origin = Origin::Host(PathBuf::from(&path));
        sources.push(Source {
            name: source.clone(),
            origin,
            recursive: false,
            follow_symlinks: false,
            // Everybody may use the usual ones, whoever they are said to belong to.
            idmap: false,
        });
        nodes.push(Device { path, source });
    };
    let character =
        |major, minor, mknod| DeviceRule { kind: DeviceKind::Character, major, minor, mknod };
    for (name, major, minor) in DEVICES {
        add(format!("/dev/{name}"));
        rules.push(character(major, Some(minor), true));
    }
    rules.extend(TERMINALS.map(|(major, minor)| character(major, minor, false)));
    for device in granted {
        add(device.path.clone());
        let HostDevice { kind, major, minor, .. } = *device;
        rules.push(DeviceRule { kind, major, minor: Some(minor), mknod: false });
    }
    (nodes, rules)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_granted_device_is_a_node_and_a_rule() {
        let mut sources = Vec::new();
        let fuse = HostDevice {
            path: "/dev/fuse".to_owned(),
            kind: DeviceKind::Character,
            major: 10,
            minor: 229,
        };
        let (nodes, rules) = devices("web", &[fuse], &mut sources);
        assert_eq!(nodes.len(), 7);
        assert_eq!(nodes[6].path, "/dev/fuse");
        assert_eq!(sources[6].name, "device:web:fuse");
        assert_eq!((rules.len(), rules[8].major, rules[8].minor), (9, 10, Some(229)));
        assert!(!rules[8].mknod && rules[0].mknod);
    }
}
