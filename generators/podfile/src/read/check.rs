//! What only the whole can tell: names that must exist, an order that must be possible.

use super::section::{Report, Section};
use crate::AppMount;
use crate::pod::{ExitPolicy, Network, PodFile, VolumeKind};
use crate::suggest;
use crate::tree::{Node, Pos, Table, Value};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

/// Checks references between the parts, and puts the apps in start order.
pub(super) fn references(pod: &mut PodFile, top: &Section<'_>) {
    let report = top.report;
    let empty = Table::default();
    let table = |key| match top.node(key) {
        Some(Node { value: Value::Table(table), .. }) => table,
        _ => &empty,
    };
    let (apps, volumes, ports) = (table("app"), table("volume"), table("port"));
    let credentials = table("credentials");
    if apps.entries.is_empty() {
        let pos = top.node("app").map_or(top.pos, |node| node.pos);
        let hint = Some("[app.NAME] with at least image = \"…\"".to_owned());
        report.error_with(pos, "the pod has no app", hint);
    }
    for (name, entry) in &apps.entries {
        let Value::Table(app) = &entry.node.value else { continue };
        for key in ["after", "requires"] {
            for (pos, other) in strings(app.get(key)) {
                if other == name {
                    report.error(pos, format!("the app {name:?} names itself"));
                } else {
                    exists(report, pos, other, apps, "app");
                }
            }
        }
        for (pos, credential) in strings(app.get("credentials")) {
            exists(report, pos, credential, credentials, "credential");
        }
        if let Some(Node { value: Value::Table(mounts), .. }) = app.get("mounts") {
            for mount in mounts.entries.values() {
                let volume = match &mount.node.value {
                    Value::Table(keys) => keys.get("volume"),
                    _ => Some(&mount.node),
                };
                refers(report, volume, volumes, "volume");
            }
            for (target, mount) in &mounts.entries {
                shared_memory(report, pod, app_mount(pod, name, target), mount.key);
            }
        }
    }
    for entry in volumes.entries.values() {
        let Value::Table(volume) = &entry.node.value else { continue };
        for key in ["uid", "gid"] {
            if let Some(Node { value: Value::Integer(Some(id)), pos }) = volume.get(key)
                && *id > 65_535
                && pod.security.user_namespace
            {
                report
                    .error(*pos, format!("{key} {id} is not among the ids of the pod, 0 to 65535"));
            }
        }
    }
    for entry in ports.entries.values() {
        if let Value::Table(port) = &entry.node.value {
            refers(report, port.get("app"), apps, "app");
        }
        // A socket that systemd opens lies outside the pod's network.
        let activated = match &entry.node.value {
            Value::Table(port) => {
                matches!(port.get("activation"), Some(Node { value: Value::Boolean(true), .. }))
            }
            _ => false,
        };
        if pod.network == Network::None && top.node("network").is_some() && !activated {
            let message = "network = \"none\" has no ports: nothing outside can reach the pod";
            let hint = "activation = true has systemd listen for it".to_owned();
            report.error_with(entry.key, message, Some(hint));
        }
    }
    for (name, entry) in &table("sysctls").entries {
        if pod.network == Network::Host && name.starts_with("net.") {
            let message = format!("{name} is the host's: network = \"host\" has none of its own");
            report.error(entry.key, message);
        }
    }
    if let (ExitPolicy::App(app), Some(node)) = (&pod.exit_policy, top.node("exit-policy")) {
        exists(report, node.pos, app, apps, "app");
    }
    twice(report, ports);
    start_order(pod, apps, report);
}

fn app_mount<'a>(pod: &'a PodFile, app: &str, target: &str) -> Option<&'a AppMount> {
    let app = pod.apps.iter().find(|other| other.name == app)?;
    app.mounts.iter().find(|mount| mount.target == target.trim_end_matches('/'))
}

/// The one place below `/dev` that is not rocket's alone.
fn shared_memory(report: &Report, pod: &PodFile, mount: Option<&AppMount>, pos: Pos) {
    let Some(mount) = mount.filter(|mount| mount.target == "/dev/shm") else { return };
    let kind = pod.volume(&mount.volume).map(|volume| &volume.kind);
    if kind.is_some_and(|kind| !matches!(kind, VolumeKind::Tmpfs { .. })) {
        report.error(pos, "\"/dev/shm\" takes a volume of kind = \"tmpfs\" only");
    }
}

fn refers(report: &Report, node: Option<&Node>, table: &Table, what: &str) {
    if let Some(Node { value: Value::String(name), pos }) = node {
        exists(report, *pos, name, table, what);
    }
}

fn exists(report: &Report, pos: Pos, name: &str, table: &Table, what: &str) {
    if table.entries.contains_key(name) {
        return;
    }
    let names: Vec<&str> = table.entries.keys().map(String::as_str).collect();
    let hint = match suggest::nearest(name, &names) {
        Some(near) => Some(format!("did you mean {near:?}?")),
        None if names.is_empty() || names.len() > 12 => None,
        None => Some(format!("there are: {}", names.join(", "))),
    };
    report.error_with(pos, format!("there is no {what} {name:?} in this pod"), hint);
}

/// Two ports of the pod with one number and protocol can only be a slip.
fn twice(report: &Report, ports: &Table) {
    let mut seen = BTreeMap::new();
    for (name, entry) in ports.in_order() {
        let Value::Table(port) = &entry.node.value else { continue };
        let Some(Node { value: Value::Integer(Some(number)), pos }) = port.get("port") else {
            continue;
        };
        let protocol = match port.get("protocol") {
            Some(Node { value: Value::String(protocol), .. }) => protocol.as_str(),
            _ => "tcp",
        };
        if let Some(other) = seen.insert((*number, protocol.to_owned()), name) {
            report.error(*pos, format!("the port {number}/{protocol} is {other:?} already"));
        }
    }
}

fn strings(node: Option<&Node>) -> Vec<(Pos, &str)> {
    let Some(Node { value: Value::Array(items), .. }) = node else { return Vec::new() };
    items
        .iter()
        .filter_map(|item| match &item.value {
            Value::String(text) => Some((item.pos, text.as_str())),
            _ => None,
        })
        .collect()
}

/// Sorts the apps so that each comes after those it names, and otherwise as written.
fn start_order(pod: &mut PodFile, tables: &Table, report: &Report) {
    let index: BTreeMap<&str, usize> =
        pod.apps.iter().enumerate().map(|(i, app)| (app.name.as_str(), i)).collect();
    let mut waits: Vec<usize> = vec![0; pod.apps.len()];
    let mut followers: Vec<Vec<usize>> = vec![Vec::new(); pod.apps.len()];
    for (this, app) in pod.apps.iter().enumerate() {
        let before: BTreeSet<usize> = app
            .after
            .iter()
            .chain(&app.requires)
            .filter_map(|name| index.get(name.as_str()).copied())
            .filter(|other| *other != this)
            .collect();
        waits[this] = before.len();
        for other in before {
            followers[other].push(this);
        }
    }
    let mut free: BinaryHeap<Reverse<usize>> =
        waits.iter().enumerate().filter(|(_, n)| **n == 0).map(|(i, _)| Reverse(i)).collect();
    let mut order = Vec::with_capacity(pod.apps.len());
    while let Some(Reverse(next)) = free.pop() {
        order.push(next);
        for &follower in &followers[next] {
            waits[follower] -= 1;
            if waits[follower] == 0 {
                free.push(Reverse(follower));
            }
        }
    }
    if order.len() < pod.apps.len() {
        let stuck: Vec<&str> = (0..pod.apps.len())
            .filter(|i| waits[*i] > 0)
            .map(|i| pod.apps[i].name.as_str())
            .collect();
        let pos = stuck.first().and_then(|name| {
            let Value::Table(app) = &tables.get(name)?.value else { return None };
            app.get("after").or_else(|| app.get("requires")).map(|node| node.pos)
        });
        let pos = pos.unwrap_or(Pos { file: 0, offset: 0 });
        let message = format!("these apps wait for each other in a circle: {}", stuck.join(", "));
        report.error(pos, message);
        return;
    }
    let mut rank = vec![0; order.len()];
    for (position, app) in order.into_iter().enumerate() {
        rank[app] = position;
    }
    let mut apps: Vec<_> = std::mem::take(&mut pod.apps).into_iter().zip(rank).collect();
    apps.sort_by_key(|(_, rank)| *rank);
    pod.apps = apps.into_iter().map(|(app, _)| app).collect();
}
