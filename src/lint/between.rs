//! What does not fit together between pods: circles of order, ports that two want, pods that are
//! named and not there.

use super::{Finding, Pod, Severity};
use rocket_podfile::{ListenAddress, Network, Protocol};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;

/// `known` are all pods of the search path, also those that are not looked at or wrong; templates
/// end with `@`.
pub fn check(pods: &[Pod], known: &[String]) -> Vec<Finding> {
    let mut found = missing(pods, known);
    found.extend(circles(pods));
    found.extend(too_early(pods));
    found.extend(clashes(pods));
    found
}

/// The pod whose unit this is.
fn pod_of(unit: &str) -> Option<&str> {
    unit.strip_prefix("rocket@")?.strip_suffix(".service")
}

/// Lists of `[unit]` that name other pods, with the key.
fn lists(pod: &Pod) -> [(&'static str, &Vec<String>); 5] {
    let unit = &pod.loaded.pod.unit;
    [
        ("after", &unit.after),
        ("before", &unit.before),
        ("requires", &unit.requires),
        ("wants", &unit.wants),
        ("conflicts", &unit.conflicts),
    ]
}

fn missing(pods: &[Pod], known: &[String]) -> Vec<Finding> {
    let is_known = |name: &str| {
        let template = name.split_once('@').map(|(template, _)| format!("{template}@"));
        known.iter().any(|pod| pod == name || template.as_deref() == Some(pod.as_str()))
    };
    let mut found = Vec::new();
    for pod in pods {
        for (key, list) in lists(pod) {
            for (index, unit) in list.iter().enumerate() {
                if let Some(name) = pod_of(unit).filter(|name| !is_known(name)) {
                    let text = match key {
                        "requires" => format!("there is no pod {name}: this one does not start"),
                        "wants" => {
                            format!("there is no pod {name}: its start fails, and this one goes on")
                        }
                        _ => format!("there is no pod {name}: {key} has no effect"),
                    };
                    let path = format!("unit.{key}.{index}");
                    found.push(pod.warn("pod-missing", &path, text, None));
                }
            }
        }
    }
    found
}

/// Circles of `after` and `before`: systemd breaks one by leaving a start out, which one nobody
/// can tell beforehand.
fn circles(pods: &[Pod]) -> Vec<Finding> {
    let mut later: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for pod in pods {
        for other in pod.loaded.pod.unit.after.iter().filter_map(|unit| pod_of(unit)) {
            later.entry(&pod.name).or_default().insert(other);
        }
        for other in pod.loaded.pod.unit.before.iter().filter_map(|unit| pod_of(unit)) {
            later.entry(other).or_default().insert(&pod.name);
        }
    }
    let mut found = Vec::new();
    let mut told: BTreeSet<Vec<&str>> = BTreeSet::new();
    for pod in pods {
        let Some(circle) = way_back(&later, &pod.name) else { continue };
        let mut members = circle.clone();
        members.sort_unstable();
        if !told.insert(members) {
            continue;
        }
        let text = format!(
            "pods wait for each other: {}; systemd leaves one of these starts out",
            circle.iter().chain(circle.first()).copied().collect::<Vec<_>>().join(" after ")
        );
        let mut finding = pod.warn("dependency-circle", "unit.after", text, None);
        finding.severity = Severity::Error;
        found.push(finding);
    }
    found
}

/// What comes before every service of systemd's default dependencies (bootup(7)), and so before
/// every pod.
const EARLY: [&str; 18] = [
    "basic.target",
    "sysinit.target",
    "sockets.target",
    "paths.target",
    "slices.target",
    "local-fs.target",
    "local-fs-pre.target",
    "swap.target",
    "cryptsetup.target",
    "cryptsetup-pre.target",
    "veritysetup.target",
    "systemd-journald.service",
    "systemd-journald.socket",
    "systemd-modules-load.service",
    "systemd-sysctl.service",
    "systemd-tmpfiles-setup.service",
    "systemd-udevd.service",
    "systemd-udev-trigger.service",
];

/// Pods that want to be before what they are after: a circle at boot.
fn too_early(pods: &[Pod]) -> Vec<Finding> {
    let mut found = Vec::new();
    for pod in pods {
        for (index, unit) in pod.loaded.pod.unit.before.iter().enumerate() {
            if EARLY.contains(&unit.as_str()) {
                let text = format!(
                    "a pod starts after {unit}: before it is a circle, and at boot systemd leaves \
                     one of these starts out"
                );
                let path = format!("unit.before.{index}");
                let mut finding = pod.warn("dependency-circle", &path, text, None);
                finding.severity = Severity::Error;
                found.push(finding);
            }
        }
    }
    found
}

/// The shortest way from `start` back to itself.
fn way_back<'a>(
    later: &BTreeMap<&'a str, BTreeSet<&'a str>>,
    start: &'a str,
) -> Option<Vec<&'a str>> {
    let mut from: BTreeMap<&str, &str> = BTreeMap::new();
    let mut queue = std::collections::VecDeque::from([start]);
    while let Some(here) = queue.pop_front() {
        for next in later.get(here).into_iter().flatten() {
            if *next == start {
                let mut way = vec![here];
                while let Some(before) = way.last().and_then(|at| from.get(at)) {
                    way.push(before);
                }
                way.reverse();
                return Some(way);
            }
            if !from.contains_key(next) {
                from.insert(next, here);
                queue.push_back(next);
            }
        }
    }
    None
}

/// An address that a pod wants of the host.
struct Want<'a> {
    pod: &'a Pod,
    port: &'a str,
    protocol: Protocol,
    address: ListenAddress,
    /// Its sockets of IPv6 leave IPv4 alone.
    apart: bool,
}

fn clashes(pods: &[Pod]) -> Vec<Finding> {
    let mut wants: Vec<Want<'_>> = Vec::new();
    let mut found = Vec::new();
    for pod in pods {
        let file = &pod.loaded.pod;
        for port in &file.ports {
            let own = ListenAddress::Port(port.port);
            let addresses = match (port.activation, port.listen.is_empty()) {
                (true, false) => port.listen.clone(),
                (true, true) => vec![own],
                (false, _) if file.network == Network::Host => vec![own],
                (false, _) => continue,
            };
            let apart = ListenAddress::apart(&addresses);
            for address in addresses {
                let protocol = port.protocol;
                let want = Want { pod, port: &port.name, protocol, address, apart };
                let taken = wants.iter().find(|other| overlap(other, &want));
                if let Some(other) = taken {
                    let text = format!(
                        "{} is wanted by port {} of pod {} too: only one of them gets it",
                        want.address, other.port, other.pod.name
                    );
                    let path = format!("port.{}", port.name);
                    let mut finding = pod.warn("port-clash", &path, text, None);
                    finding.severity = Severity::Error;
                    found.push(finding);
                }
                wants.push(want);
            }
        }
    }
    found
}

/// Whether both cannot be listened on at once.
fn overlap(one: &Want<'_>, other: &Want<'_>) -> bool {
    use ListenAddress::{Abstract, Inet, Port, Unix};
    match (&one.address, &other.address) {
        // A file is one whatever is spoken there; to Path `//` and `/./` are `/`.
        (Unix(one), Unix(other)) => Path::new(one) == Path::new(other),
        _ if one.protocol != other.protocol => false,
        (Abstract(one), Abstract(other)) => one == other,
        (Port(a) | Inet(_, a), Port(b) | Inet(_, b)) => {
            let (first, second) = (families(one), families(other));
            a == b
                && ((first.v4 && second.v4) || (first.v6 && second.v6))
                && (first.any || second.any || first.ip == second.ip)
        }
        _ => false,
    }
}

/// What of the network an address takes.
struct Families {
    v4: bool,
    v6: bool,
    any: bool,
    ip: Option<IpAddr>,
}

fn families(want: &Want<'_>) -> Families {
    match want.address {
        ListenAddress::Inet(ip, _) => {
            let any = ip.is_unspecified();
            // The address that stands for all of IPv6 takes IPv4 as well, unless it is told not to.
            let v4 = ip.is_ipv4() || any && !want.apart;
            Families { v4, v6: ip.is_ipv6(), any, ip: Some(ip) }
        }
        _ => Families { v4: true, v6: true, any: true, ip: None },
    }
}
