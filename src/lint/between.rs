//! What does not fit together between pods: circles of order, ports that two want, pods that are
//! named and not there.

use super::{Finding, Pod, Severity};
use rocket_podfile::{ListenAddress, Network, Protocol};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// `known` are all pods of the search path, also those that are not looked at or wrong; templates
/// end with `@`.
pub fn check(pods: &[Pod], known: &[String]) -> Vec<Finding> {
    let mut found = missing(pods, known);
    found.extend(circles(pods));
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
            for address in addresses {
                let want = Want { pod, port: &port.name, protocol: port.protocol, address };
                let taken = wants.iter().find(|other| {
                    let same_port = std::ptr::eq(other.pod, pod) && other.port == want.port;
                    !same_port
                        && other.protocol == want.protocol
                        && overlap(&other.address, &want.address)
                });
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
fn overlap(one: &ListenAddress, other: &ListenAddress) -> bool {
    use ListenAddress::{Abstract, Inet, Port, Unix};
    let any = |ip: &IpAddr| ip.is_unspecified();
    match (one, other) {
        (Unix(one), Unix(other)) | (Abstract(one), Abstract(other)) => one == other,
        (Port(one), Port(other) | Inet(_, other)) | (Inet(_, one), Port(other)) => one == other,
        (Inet(one_ip, one), Inet(other_ip, other)) => {
            one == other
                && (one_ip == other_ip
                    || one_ip.is_ipv4() == other_ip.is_ipv4() && (any(one_ip) || any(other_ip)))
        }
        _ => false,
    }
}
