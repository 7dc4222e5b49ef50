//! What starts a pod besides its own unit: sockets and a timer. Drop-ins of the packaged templates
//! `rocket@.socket` and `rocket@.timer`, so that `enable` and presets work as for the service.

use crate::drop_in::{header, source};
use crate::unit_text::UnitText;
use rocket_podfile::{ListenAddress, PodFile, Port, Protocol, Schedule};
use std::path::{Path, PathBuf};

/// A drop-in: of which unit, and its text.
#[derive(Debug, PartialEq, Eq)]
pub struct DropIn {
    /// The unit.
    pub unit: String,
    /// The text.
    pub text: String,
}

/// The socket unit of a port: one a port, because a unit's sockets share one name.
pub fn socket_unit(pod: &str, port: &str) -> String {
    format!("rocket@{pod}:{port}.socket")
}

/// The ports that systemd listens on.
pub fn activated(pod: &PodFile) -> impl Iterator<Item = &Port> {
    pod.ports.iter().filter(|port| port.activation)
}

/// The drop-ins of the pod's sockets and its timer.
pub fn of_pod(name: &str, pod: &PodFile, sources: &[PathBuf]) -> Vec<DropIn> {
    let sockets = activated(pod).map(|port| DropIn {
        unit: socket_unit(name, &port.name),
        text: socket(name, port, sources),
    });
    let timer = pod.schedule.iter().map(|schedule| DropIn {
        unit: format!("rocket@{name}.timer"),
        text: timer(name, schedule, sources),
    });
    sockets.chain(timer).collect()
}

fn begin(description: &str, sources: &[PathBuf]) -> UnitText {
    let mut unit = UnitText::default();
    header(&mut unit, sources.iter().map(PathBuf::as_path));
    unit.section("Unit");
    source(&mut unit, sources.first().map(PathBuf::as_path));
    unit.text("Description", description);
    unit
}

fn socket(name: &str, port: &Port, sources: &[PathBuf]) -> String {
    let mut unit = begin(&format!("Port {} of pod {name}", port.name), sources);
    unit.section("Socket");
    unit.plain("Service", &format!("rocket@{name}.service"));
    unit.plain("FileDescriptorName", &port.name);
    // What comes while the pod is being restarted waits here.
    unit.plain("Backlog", "4096");
    let directive = match port.protocol {
        Protocol::Tcp => "ListenStream",
        Protocol::Udp => "ListenDatagram",
    };
    let own = [ListenAddress::Port(port.port)];
    let addresses = if port.listen.is_empty() { &own[..] } else { &port.listen };
    let apart = ListenAddress::apart(addresses);
    for address in addresses {
        match address {
            // A bare port is both families, also where they are kept apart.
            ListenAddress::Port(port) if apart => {
                unit.plain(directive, &format!("0.0.0.0:{port}"));
                unit.plain(directive, &format!("[::]:{port}"));
            }
            _ => unit.text(directive, &address.to_string()),
        }
    }
    if apart {
        // Else the address of IPv6 would take the port of IPv4 too.
        unit.plain("BindIPv6Only", "ipv6-only");
    }
    if addresses.iter().any(|address| matches!(address, ListenAddress::Unix(_))) {
        unit.plain("RemoveOnStop", "yes");
    }
    unit.finish()
}

fn timer(name: &str, schedule: &Schedule, sources: &[PathBuf]) -> String {
    let mut unit = begin(&format!("Timer of pod {name}"), sources);
    unit.section("Timer");
    for event in &schedule.calendar {
        unit.text("OnCalendar", event);
    }
    if let Some(time) = schedule.after_boot {
        unit.plain("OnBootSec", &time.to_string());
    }
    if let Some(time) = schedule.every {
        unit.plain("OnUnitInactiveSec", &time.to_string());
        if schedule.after_boot.is_none() && schedule.calendar.is_empty() {
            // Counts from an end, and the first run has to begin somewhere.
            unit.plain("OnActiveSec", "0");
        }
    }
    if schedule.persistent {
        unit.plain("Persistent", "yes");
    }
    if let Some(time) = schedule.random_delay {
        unit.plain("RandomizedDelaySec", &time.to_string());
    }
    if let Some(time) = schedule.accuracy {
        unit.plain("AccuracySec", &time.to_string());
    }
    unit.finish()
}

/// The pods that `pod:NAME` of a pod file names, templates' instances among them.
pub fn named_pods(pod: &PodFile) -> impl Iterator<Item = &str> {
    let unit = &pod.unit;
    [&unit.after, &unit.before, &unit.requires, &unit.wants, &unit.conflicts]
        .into_iter()
        .flatten()
        .filter_map(|unit| pod_of(unit))
}

/// The pod whose unit this is.
pub fn pod_of(unit: &str) -> Option<&str> {
    unit.strip_prefix("rocket@")?.strip_suffix(".service")
}

/// The pod whose service, socket or timer a file name in a directory of units is.
pub fn pod_of_link(path: &Path) -> Option<&str> {
    let name = path.file_name()?.to_str()?.strip_prefix("rocket@")?;
    name.strip_suffix(".service")
        .or_else(|| name.strip_suffix(".timer"))
        .or_else(|| name.strip_suffix(".socket")?.split_once(':').map(|(pod, _)| pod))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_name_pods() {
        let table = [
            ("rocket@web.service", Some("web")),
            ("rocket@web@1.service", Some("web@1")),
            ("rocket@web@1:http.socket", Some("web@1")),
            ("rocket@web.timer", Some("web")),
            ("rocket@web.socket", None),
            ("nginx.service", None),
        ];
        for (name, expected) in table {
            assert_eq!(pod_of_link(&Path::new("/x").join(name)), expected, "{name}");
        }
    }
}
