//! A pod manifest of appc (0.8.11, pods.md) as the tree of the pod file that means the same, each
//! value in its own place: what is wrong with it is found and said by what reads pod files.

use crate::tree::{Entry, Node, Pos, Problem, Table, Value};
use std::collections::BTreeSet;

/// What every app has from rocket itself, and a manifest that rocket wrote repeats.
const OWN_VARIABLES: [&str; 4] =
    ["AC_APP_NAME", "container", "container_uuid", "CREDENTIALS_DIRECTORY"];
/// What `rocket cat-manifest` says of one instance, and no pod is asked for.
const RECORDED: [&str; 3] = ["rocket/uuid", "rocket/pod-name", "rocket/pod-file-digest"];
const NETWORK: &str = "rocket/network";

/// Translates; what has no counterpart is a problem.
pub(crate) fn pod_file(manifest: &Node) -> Result<Node, Vec<Problem>> {
    let mut translator = Translator { problems: Vec::new(), volumes: Table::default() };
    let pod = translator.pod(manifest);
    match translator.problems.is_empty() {
        true => Ok(Node { pos: manifest.pos, value: Value::Table(pod) }),
        false => Err(translator.problems),
    }
}

struct Translator {
    problems: Vec<Problem>,
    volumes: Table,
}

fn put(table: &mut Table, key: &str, node: Node) {
    table.entries.insert(key.to_owned(), Entry { key: node.pos, node });
}

fn text(pos: Pos, text: impl Into<String>) -> Node {
    Node { pos, value: Value::String(text.into()) }
}

fn table(pos: Pos, table: Table) -> Node {
    Node { pos, value: Value::Table(table) }
}

impl Translator {
    fn say(&mut self, pos: Pos, message: impl Into<String>, hint: Option<&str>) {
        let hint = hint.map(str::to_owned);
        self.problems.push(Problem { pos, message: message.into(), hint });
    }

    /// An object with these names only; `null` is as good as nothing.
    fn object<'a>(&mut self, node: &'a Node, what: &str, keys: &[&str]) -> Option<&'a Table> {
        let Value::Table(found) = &node.value else {
            self.say(
                node.pos,
                format!("{what}: expected an object, found {}", node.value.kind()),
                None,
            );
            return None;
        };
        for (name, entry) in &found.entries {
            if !keys.contains(&name.as_str()) {
                let message = format!("{name:?} of {what} is not supported in a pod manifest");
                self.say(entry.key, message, None);
            }
        }
        Some(found)
    }

    fn list<'a>(&mut self, of: &'a Table, key: &str) -> &'a [Node] {
        match of.get(key).map(|node| (&node.value, node.pos)) {
            Some((Value::Array(list), _)) => list,
            None | Some((Value::Other("null"), _)) => &[],
            Some((other, pos)) => {
                self.say(pos, format!("{key}: expected a list, found {}", other.kind()), None);
                &[]
            }
        }
    }

    fn string<'a>(&mut self, of: &'a Table, pos: Pos, key: &str) -> Option<&'a str> {
        match of.get(key).map(|node| (&node.value, node.pos)) {
            Some((Value::String(text), _)) => Some(text),
            None => {
                self.say(pos, format!("{key:?} is missing"), None);
                None
            }
            Some((other, pos)) => {
                self.say(pos, format!("{key}: expected a string, found {}", other.kind()), None);
                None
            }
        }
    }

    /// Name and value of each entry of a list of such pairs.
    fn pairs<'a>(&mut self, of: &'a Table, key: &str) -> Vec<(&'a str, &'a Node)> {
        let mut pairs = Vec::new();
        for node in self.list(of, key) {
            let Some(pair) = self.object(node, key, &["name", "value"]) else { continue };
            let name = self.string(pair, node.pos, "name");
            match (name, pair.get("value")) {
                (Some(name), Some(value)) => pairs.push((name, value)),
                (_, None) => self.say(node.pos, "\"value\" is missing", None),
                (None, _) => {}
            }
        }
        pairs
    }

    fn copy(&mut self, from: &Table, to: &mut Table, keys: &[(&str, &str)]) {
        for (theirs, ours) in keys {
            if let Some(node) = from.get(theirs).filter(|node| !is_null(node)) {
                put(to, ours, node.clone());
            }
        }
    }

    fn pod(&mut self, manifest: &Node) -> Table {
        const KEYS: [&str; 9] = [
            "acVersion",
            "acKind",
            "apps",
            "volumes",
            "isolators",
            "annotations",
            "ports",
            "userAnnotations",
            "userLabels",
        ];
        let mut pod = Table::default();
        let Some(top) = self.object(manifest, "the manifest", &KEYS) else { return pod };
        for (name, value) in self.pairs(top, "annotations") {
            if name == NETWORK {
                put(&mut pod, "network", value.clone());
            } else if name.starts_with("rocket/") && !RECORDED.contains(&name) {
                self.say(value.pos, format!("there is no annotation {name:?} of rocket's"), None);
            }
        }
        if pod.get("network").is_none() {
            let message = format!(
                "the manifest has no annotation {NETWORK:?}, and no network is the default"
            );
            let hint = "\"annotations\": [{\"name\": \"rocket/network\", \"value\": \"none\"}], or \"host\"";
            self.say(manifest.pos, message, Some(hint));
        }
        // One complaint a place: the network is the one to know of.
        if self.string(top, manifest.pos, "acKind").is_some_and(|kind| kind != "PodManifest") {
            let pos = top.get("acKind").map_or(manifest.pos, |node| node.pos);
            self.say(pos, "this is not a PodManifest", None);
        }
        self.string(top, manifest.pos, "acVersion");
        self.pod_volumes(top);
        let mut ports = Table::default();
        let mut apps = Table::default();
        for node in self.list(top, "apps") {
            self.app(node, &mut apps, &mut ports);
        }
        self.host_ports(top, &mut ports);
        let (limits, _) = self.isolators(top, true);
        let pos = top.get("apps").map_or(manifest.pos, |node| node.pos);
        put(&mut pod, "app", table(pos, apps));
        for (key, of) in
            [("volume", std::mem::take(&mut self.volumes)), ("port", ports), ("limits", limits)]
        {
            if !of.entries.is_empty() {
                put(&mut pod, key, table(manifest.pos, of));
            }
        }
        pod
    }

    fn pod_volumes(&mut self, top: &Table) {
        for node in self.list(top, "volumes") {
            let keys = ["name", "kind", "source", "readOnly", "recursive", "mode", "uid", "gid"];
            let Some(of) = self.object(node, "a volume", &keys) else { continue };
            let Some(name) = self.string(of, node.pos, "name") else { continue };
            let mut volume = Table::default();
            let same = [("kind", "kind"), ("readOnly", "read-only")];
            self.copy(of, &mut volume, &same);
            // appc gives owners and modes to volumes of the host, too, and means nothing by it.
            let more: &[(&str, &str)] = match of.get("kind").map(|node| &node.value) {
                Some(Value::String(kind)) if kind == "host" => {
                    &[("source", "source"), ("recursive", "recursive")]
                }
                _ => &[("mode", "mode"), ("uid", "uid"), ("gid", "gid")],
            };
            self.copy(of, &mut volume, more);
            if let Some(kind) = of.get("kind")
                && !matches!(&kind.value, Value::String(kind) if kind == "host" || kind == "empty")
            {
                self.say(kind.pos, "a volume of a pod manifest is \"host\" or \"empty\"", None);
            }
            if self.volumes.get(name).is_some() {
                self.say(node.pos, format!("the volume {name:?} is there twice"), None);
            }
            put(&mut self.volumes, name, table(node.pos, volume));
        }
    }

    fn app(&mut self, node: &Node, apps: &mut Table, ports: &mut Table) {
        let keys = ["name", "image", "app", "readOnlyRootFS", "mounts", "annotations"];
        let Some(of) = self.object(node, "an app", &keys) else { return };
        let Some(name) = self.string(of, node.pos, "name") else { return };
        let mut app = Table::default();
        if let Some(image) = self.image(of, node.pos) {
            put(&mut app, "image", image);
        }
        for (name, value) in self.pairs(of, "annotations") {
            if name == "rocket/credentials" {
                let message = "the manifest has the names of the credentials, and not where they come \
                               from";
                let hint = "write a pod file in TOML, with [credentials]; or leave this out";
                self.say(value.pos, message, Some(hint));
            } else if name.starts_with("rocket/") {
                let message = format!("{name:?} cannot be asked for in a pod manifest");
                self.say(value.pos, message, Some("write a pod file in TOML"));
            }
        }
        let mut mounts = Table::default();
        for mount in self.list(of, "mounts") {
            let Some(of) = self.object(mount, "a mount", &["volume", "path"]) else { continue };
            let path = self.string(of, mount.pos, "path");
            let volume = of.get("volume").cloned();
            match (path, volume) {
                (Some(path), Some(volume)) => put(&mut mounts, path, volume),
                (_, None) => self.say(mount.pos, "\"volume\" is missing", None),
                (None, _) => {}
            }
        }
        let mut security = Table::default();
        self.copy(of, &mut security, &[("readOnlyRootFS", "read-only")]);
        if let Some(section) = of.get("app").filter(|node| !is_null(node)) {
            self.section(section, name, &mut app, &mut security, &mut mounts, ports);
        }
        for (key, of) in [("security", security), ("mounts", mounts)] {
            if !of.entries.is_empty() {
                put(&mut app, key, table(node.pos, of));
            }
        }
        if apps.get(name).is_some() {
            self.say(node.pos, format!("the app {name:?} is there twice"), None);
        }
        put(apps, name, table(node.pos, app));
    }

    /// A name with labels, an id, or both.
    fn image(&mut self, app: &Table, pos: Pos) -> Option<Node> {
        let Some(node) = app.get("image") else {
            self.say(pos, "\"image\" is missing", None);
            return None;
        };
        let of = self.object(node, "an image", &["name", "id", "labels"])?;
        let get = |key: &str| match of.get(key).map(|node| &node.value) {
            Some(Value::String(text)) => text.as_str(),
            _ => "",
        };
        let (mut wanted, id) = (get("name").to_owned(), get("id"));
        for (name, value) in self.pairs(of, "labels") {
            if let Value::String(value) = &value.value {
                wanted.push_str(&format!(",{name}={value}"));
            }
        }
        if wanted.is_empty() {
            wanted.push_str(id);
        } else if !id.is_empty() && !wanted.contains('@') {
            wanted.push_str(&format!("@{id}"));
        }
        Some(text(node.pos, wanted))
    }

    /// The `app` of an app: what its image would say otherwise.
    fn section(
        &mut self,
        node: &Node,
        name: &str,
        app: &mut Table,
        security: &mut Table,
        mounts: &mut Table,
        ports: &mut Table,
    ) {
        const KEYS: [&str; 12] = [
            "exec",
            "user",
            "group",
            "supplementaryGIDs",
            "workingDirectory",
            "environment",
            "eventHandlers",
            "isolators",
            "mountPoints",
            "ports",
            "userAnnotations",
            "userLabels",
        ];
        let Some(of) = self.object(node, "app", &KEYS) else { return };
        let same = [
            ("exec", "exec"),
            ("user", "user"),
            ("group", "group"),
            ("workingDirectory", "working-directory"),
        ];
        self.copy(of, app, &same);
        if let Some(groups) = of.get("supplementaryGIDs").filter(|node| !is_null(node)) {
            let list = self.list(of, "supplementaryGIDs").iter().map(|group| match group.value {
                Value::Integer(Some(number)) => text(group.pos, number.to_string()),
                _ => group.clone(),
            });
            let value = Value::Array(list.collect());
            put(app, "supplementary-groups", Node { pos: groups.pos, value });
        }
        let mut environment = Table::default();
        for (name, value) in self.pairs(of, "environment") {
            if !OWN_VARIABLES.contains(&name) {
                put(&mut environment, name, value.clone());
            }
        }
        put(app, "environment", table(node.pos, environment));
        for handler in self.list(of, "eventHandlers") {
            let Some(of) = self.object(handler, "an event handler", &["name", "exec"]) else {
                continue;
            };
            match (self.string(of, handler.pos, "name"), of.get("exec")) {
                (Some(name @ ("pre-start" | "post-stop")), Some(exec)) => {
                    put(app, name, exec.clone())
                }
                (Some(_), Some(_)) => {
                    self.say(handler.pos, "a handler is pre-start or post-stop", None)
                }
                (_, None) => self.say(handler.pos, "\"exec\" is missing", None),
                (None, _) => {}
            }
        }
        self.mount_points(of, mounts);
        self.app_ports(of, name, node.pos, ports);
        let (limits, more) = self.isolators(of, false);
        security.entries.extend(more.entries);
        if !limits.entries.is_empty() {
            put(app, "limits", table(node.pos, limits));
        }
    }

    /// A mount point takes the volume of its name; without one it gets an empty one.
    fn mount_points(&mut self, of: &Table, mounts: &mut Table) {
        for point in self.list(of, "mountPoints") {
            let Some(of) = self.object(point, "a mount point", &["name", "path", "readOnly"])
            else {
                continue;
            };
            let (name, path) =
                (self.string(of, point.pos, "name"), self.string(of, point.pos, "path"));
            let (Some(name), Some(path)) = (name, path) else { continue };
            if self.volumes.get(name).is_none() {
                let mut volume = Table::default();
                put(&mut volume, "kind", text(point.pos, "empty"));
                put(&mut self.volumes, name, table(point.pos, volume));
            }
            if mounts.get(path).is_none() {
                let mut mount = Table::default();
                put(&mut mount, "volume", text(point.pos, name));
                self.copy(of, &mut mount, &[("readOnly", "read-only")]);
                put(mounts, path, table(point.pos, mount));
            }
        }
    }

    fn app_ports(&mut self, of: &Table, app: &str, pos: Pos, ports: &mut Table) {
        for node in self.list(of, "ports") {
            let keys = ["name", "protocol", "port", "count", "socketActivated"];
            let Some(of) = self.object(node, "a port", &keys) else { continue };
            let Some(name) = self.string(of, node.pos, "name") else { continue };
            if let Some(count) = of.get("count")
                && !matches!(count.value, Value::Integer(Some(1)))
            {
                self.say(count.pos, "a range of ports is not supported", None);
            }
            let mut port = Table::default();
            let same =
                [("protocol", "protocol"), ("port", "port"), ("socketActivated", "activation")];
            self.copy(of, &mut port, &same);
            put(&mut port, "app", text(pos, app));
            if ports.get(name).is_some() {
                self.say(node.pos, format!("the port {name:?} is there twice"), None);
            }
            put(ports, name, table(node.pos, port));
        }
    }

    /// Ports of the host: of one that systemd listens on any, of another the port itself.
    fn host_ports(&mut self, top: &Table, ports: &mut Table) {
        let mut seen = BTreeSet::new();
        for node in self.list(top, "ports") {
            let Some(of) = self.object(node, "a port of the pod", &["name", "hostPort", "hostIP"])
            else {
                continue;
            };
            let Some(name) = self.string(of, node.pos, "name") else { continue };
            if !seen.insert(name) {
                self.say(node.pos, format!("the port {name:?} of the pod is there twice"), None);
                continue;
            }
            if let Some(ip) = of.get("hostIP")
                && !matches!(ip.value, Value::String(_))
            {
                let found = ip.value.kind();
                self.say(ip.pos, format!("hostIP: expected a string, found {found}"), None);
                continue;
            }
            let Some(Entry { node: Node { value: Value::Table(port), .. }, .. }) =
                ports.entries.get_mut(name)
            else {
                self.say(node.pos, format!("no app of the manifest has the port {name:?}"), None);
                continue;
            };
            let number = |node: Option<&Node>| match node.map(|node| &node.value) {
                Some(Value::Integer(number)) => *number,
                _ => None,
            };
            let Some(host) = number(of.get("hostPort")) else {
                self.say(node.pos, "hostPort: expected a number", None);
                continue;
            };
            let activated =
                matches!(port.get("activation"), Some(Node { value: Value::Boolean(true), .. }));
            if activated {
                let address = match of.get("hostIP").map(|node| &node.value) {
                    Some(Value::String(ip)) if ip.contains(':') => format!("[{ip}]:{host}"),
                    Some(Value::String(ip)) if !ip.is_empty() => format!("{ip}:{host}"),
                    _ => host.to_string(),
                };
                let list = Value::Array(vec![text(node.pos, address)]);
                put(port, "listen", Node { pos: node.pos, value: list });
            } else if number(port.get("port")) != Some(host) || of.get("hostIP").is_some() {
                let message =
                    format!("the port {name:?} is not forwarded from another one of the host");
                let hint = "with socketActivated in the app's port systemd listens on hostPort";
                self.say(node.pos, message, Some(hint));
            }
        }
    }

    /// Limits and security of isolators.
    fn isolators(&mut self, of: &Table, of_pod: bool) -> (Table, Table) {
        let (mut limits, mut security) = (Table::default(), Table::default());
        let mut seen = BTreeSet::new();
        for (name, value) in self.pairs(of, "isolators") {
            if !seen.insert(name) {
                // appc lets one that counts be any of them.
                self.say(value.pos, format!("the isolator {name:?} is there twice"), None);
                continue;
            }
            match (name, of_pod) {
                ("os/linux/no-new-privileges", false) => {
                    put(&mut security, "no-new-privileges", value.clone());
                }
                ("os/linux/capabilities-retain-set", false) => {
                    let Some(set) = self.object(value, name, &["set"]) else { continue };
                    match set.get("set").filter(|node| !is_null(node)) {
                        Some(list) => put(&mut security, "capabilities", list.clone()),
                        None => self.say(value.pos, format!("{name}: \"set\" is missing"), None),
                    }
                }
                ("resource/memory", _) => {
                    if let Some(limit) = self.limit(value, name) {
                        put(&mut limits, "memory-max", text(value.pos, memory(&limit)));
                    }
                }
                ("resource/cpu", _) => {
                    let Some(limit) = self.limit(value, name) else { continue };
                    match cpu(&limit) {
                        Some(quota) => put(&mut limits, "cpu-quota", text(value.pos, quota)),
                        None => {
                            self.say(value.pos, format!("{limit:?} is no amount of CPUs"), None)
                        }
                    }
                }
                _ => {
                    let message =
                        format!("the isolator {name:?} is not supported in a pod manifest");
                    self.say(value.pos, message, Some("write a pod file in TOML"));
                }
            }
        }
        (limits, security)
    }

    /// The `limit` of a resource; a `request` is what is set aside, and nothing is.
    fn limit(&mut self, value: &Node, name: &str) -> Option<String> {
        let of = self.object(value, name, &["limit"])?;
        match of.get("limit").map(|node| &node.value) {
            Some(Value::String(text)) => Some(text.clone()),
            Some(Value::Integer(Some(number))) => Some(number.to_string()),
            _ => {
                self.say(value.pos, format!("{name}: \"limit\" is missing"), None);
                None
            }
        }
    }
}

fn is_null(node: &Node) -> bool {
    matches!(node.value, Value::Other("null"))
}

/// Powers of 1024 are `Ki`, … there and `K`, … here; those of 1000 are counted out.
fn memory(limit: &str) -> String {
    let number = limit.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = limit.get(number.len()..).unwrap_or_default();
    let power = match unit {
        "k" | "K" => 1,
        "M" => 2,
        "G" => 3,
        "T" => 4,
        _ => return limit.strip_suffix('i').unwrap_or(limit).to_owned(),
    };
    let bytes = number.parse().ok().and_then(|n: u64| n.checked_mul(1000_u64.checked_pow(power)?));
    bytes.map_or_else(|| limit.to_owned(), |bytes| bytes.to_string())
}

/// CPUs, or thousandths of one, as a percentage.
fn cpu(limit: &str) -> Option<String> {
    let thousandths: u64 = match limit.strip_suffix('m') {
        Some(number) => number.parse().ok()?,
        None => limit.parse::<u64>().ok()?.checked_mul(1000)?,
    };
    Some(format!("{}.{}%", thousandths / 10, thousandths % 10))
}
