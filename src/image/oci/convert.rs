//! An OCI configuration in appc's words, so that everything behind the store knows one form.

use super::{Config, RunConfig};
use crate::image::manifest::{
    Annotation, App, EnvironmentVariable, ImageManifest, Label, MountPoint, Port, STOP_SIGNAL,
};
use crate::image::name::{AcIdentifier, AcName, NameError, squeeze};
use std::collections::{BTreeMap, BTreeSet};

/// What the image's own passwd and group say about its user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Primary group, when the image's user names none.
    pub gid: Option<u32>,
    /// Further groups.
    pub supplementary: Vec<u32>,
}

/// Converts a configuration. What cannot be said in appc's form is left out and listed.
pub fn manifest(
    name: AcIdentifier,
    labels: &BTreeMap<String, String>,
    config: &Config,
    account: &Account,
) -> Result<(ImageManifest, Vec<String>), NameError> {
    let mut left_out = Vec::new();
    let mut manifest = ImageManifest::new(name);
    for (key, value) in labels.iter().filter(|(key, _)| !["os", "arch"].contains(&key.as_str())) {
        manifest
            .labels
            .push(Label { name: AcIdentifier::new(key.as_str())?, value: value.clone() });
    }
    manifest.labels.push(Label { name: AcIdentifier::new("os")?, value: "linux".to_owned() });
    if let Some(arch) = arch(&config.architecture, config.variant.as_deref()) {
        manifest.labels.push(Label { name: AcIdentifier::new("arch")?, value: arch.to_owned() });
    }
    let run = config.config.clone().unwrap_or_default();
    let mut annotate = |key: &str, value: Option<&String>| {
        if let (Some(value), Ok(name)) = (value.filter(|v| !v.is_empty()), AcIdentifier::new(key)) {
            manifest.annotations.push(Annotation { name, value: value.clone() });
        }
    };
    let created = config.created.as_ref().filter(|t| crate::image::manifest::rfc3339(t));
    annotate("created", created);
    annotate("authors", config.author.as_ref());
    annotate(STOP_SIGNAL, run.stop_signal.as_ref());
    let app = app(&run, account, &mut left_out);
    // An image without a program is still one: the pod file can say what to run.
    manifest.app = Some(app);
    Ok((manifest, left_out))
}

fn app(run: &RunConfig, account: &Account, left_out: &mut Vec<String>) -> App {
    let mut exec = run.entrypoint.clone().unwrap_or_default();
    exec.extend(run.cmd.clone().unwrap_or_default());
    let (user, group) = match run.user.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (run.user.as_str(), None),
    };
    let group = match group.filter(|group| !group.is_empty()) {
        Some(group) => group.to_owned(),
        None => account.gid.unwrap_or(0).to_string(),
    };
    App {
        exec,
        user: if user.is_empty() { "0".to_owned() } else { user.to_owned() },
        group,
        supplementary_gids: account.supplementary.clone(),
        working_directory: working_dir(&run.working_dir),
        environment: environment(run, left_out),
        mount_points: mount_points(run, left_out),
        ports: ports(run, left_out),
        user_labels: run.labels.clone().unwrap_or_default(),
        ..App::default()
    }
}

fn working_dir(dir: &str) -> Option<String> {
    match dir {
        "" => None,
        _ if dir.starts_with('/') => Some(dir.to_owned()),
        _ => Some(format!("/{dir}")),
    }
}

fn environment(run: &RunConfig, left_out: &mut Vec<String>) -> Vec<EnvironmentVariable> {
    let mut variables: Vec<EnvironmentVariable> = Vec::new();
    for entry in run.env.iter().flatten() {
        let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
        let mut bytes = name.bytes();
        let first = bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
        let valid = first && bytes.all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
        if !valid || value.contains('\0') {
            left_out.push(format!("the environment variable {name:?}"));
            continue;
        }
        // The last one counts, as it does in the environment itself.
        variables.retain(|known| known.name != name);
        variables.push(EnvironmentVariable { name: name.to_owned(), value: value.to_owned() });
    }
    variables
}

fn mount_points(run: &RunConfig, left_out: &mut Vec<String>) -> Vec<MountPoint> {
    let mut points = Vec::new();
    let mut taken = BTreeSet::new();
    for path in run.volumes.iter().flatten().map(|(path, _)| path) {
        let base = squeeze(path, "").unwrap_or_else(|| "volume".to_owned());
        let named = unique(&base, &mut taken);
        match AcName::new(named) {
            Ok(name) if path.starts_with('/') => {
                points.push(MountPoint { name, path: path.clone(), read_only: false });
            }
            _ => left_out.push(format!("the volume {path:?}")),
        }
    }
    points
}

fn ports(run: &RunConfig, left_out: &mut Vec<String>) -> Vec<Port> {
    let mut ports = Vec::new();
    let mut taken = BTreeSet::new();
    for text in run.exposed_ports.iter().flatten().map(|(text, _)| text) {
        let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let valid = match (first.parse::<u32>(), last.parse::<u32>()) {
            (Ok(first), Ok(last)) if 1 <= first && first <= last && last <= 65535 => {
                Some((first, last - first + 1))
            }
            _ => None,
        };
        let protocol = protocol.to_ascii_lowercase();
        let name = squeeze(&format!("{range}-{protocol}"), "").unwrap_or_default();
        match (valid, AcName::new(unique(&name, &mut taken))) {
            (Some((port, count)), Ok(name)) if !protocol.is_empty() => {
                ports.push(Port { name, protocol, port, count, socket_activated: false });
            }
            _ => left_out.push(format!("the port {text:?}")),
        }
    }
    ports
}

/// A name not taken yet.
fn unique(base: &str, taken: &mut BTreeSet<String>) -> String {
    let mut name = base.to_owned();
    let mut number = 2;
    while !taken.insert(name.clone()) {
        name = format!("{base}-{number}");
        number += 1;
    }
    name
}

/// Go's architecture in appc's words, where appc has one.
fn arch(arch: &str, variant: Option<&str>) -> Option<&'static str> {
    Some(match (arch, variant) {
        ("amd64", _) => "amd64",
        ("386", _) => "i386",
        ("arm64", _) => "aarch64",
        ("arm", Some("v6")) => "armv6l",
        ("arm", _) => "armv7l",
        ("ppc64le", _) => "ppc64le",
        ("s390x", _) => "s390x",
        _ => return None,
    })
}

/// Reads what an image's passwd and group say about `user`, a name or number without group.
pub fn account(user: &str, passwd: &str, group: &str) -> Account {
    let fields = |line: &str| -> Vec<String> { line.split(':').map(str::to_owned).collect() };
    let found = passwd.lines().map(fields).find(|f| {
        f.first().is_some_and(|name| name == user) || f.get(2).is_some_and(|uid| uid == user)
    });
    let Some(found) = found else { return Account::default() };
    let name = found.first().cloned().unwrap_or_default();
    let gid = found.get(3).and_then(|gid| gid.parse().ok());
    let member = |f: &Vec<String>| f.get(3).is_some_and(|m| m.split(',').any(|m| m == name));
    let supplementary = group
        .lines()
        .map(fields)
        .filter(member)
        .filter_map(|f| f.get(2)?.parse().ok())
        .filter(|found| Some(*found) != gid)
        .collect();
    Account { gid, supplementary }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_configuration_becomes_a_valid_manifest() {
        let config: Config = serde_json::from_value(json!({
            "created": "2026-01-02T03:04:05.678Z", "author": "A", "os": "linux",
            "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": []},
            "config": {
                "User": "web:www", "Env": ["PATH=/bin", "A=1", "A=2=3", "1=x", "E"],
                "Entrypoint": ["/bin/web"], "Cmd": ["-f"], "WorkingDir": "srv",
                "Volumes": {"/data": {}, "/data/": {}, "rel": {}},
                "ExposedPorts": {"80/tcp": {}, "5000-5002/udp": {}, "0/tcp": {}},
                "Labels": {"k": "v"}, "StopSignal": "SIGQUIT"
            }
        }))
        .unwrap();
        let labels = BTreeMap::from([("version".to_owned(), "1".to_owned())]);
        let name = AcIdentifier::new("example.com/web").unwrap();
        let (manifest, left_out) = manifest(name, &labels, &config, &Account::default()).unwrap();
        manifest.validate().unwrap();
        assert_eq!(manifest.stop_signal(), Some("SIGQUIT"));
        assert_eq!((manifest.label("version"), manifest.label("arch")), (Some("1"), Some("amd64")));
        let app = manifest.app.unwrap();
        assert_eq!(app.exec, ["/bin/web", "-f"]);
        assert_eq!((app.user.as_str(), app.group.as_str()), ("web", "www"));
        assert_eq!(app.working_directory.as_deref(), Some("/srv"));
        let env: Vec<String> =
            app.environment.iter().map(|v| format!("{}={}", v.name, v.value)).collect();
        assert_eq!(env, ["PATH=/bin", "A=2=3", "E="]);
        let ports: Vec<(u32, u32)> = app.ports.iter().map(|p| (p.port, p.count)).collect();
        assert_eq!(ports, [(5000, 3), (80, 1)]);
        let points: Vec<&str> = app.mount_points.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(points, ["data", "data-2"]);
        assert_eq!(left_out.len(), 3, "{left_out:?}");
    }

    #[test]
    fn the_images_own_files_know_its_user() {
        let passwd = "root:x:0:0:::\nweb:x:101:102:::\n";
        let group = "web:x:102:\nlogs:x:7:root,web\nx:x:8:web2\n";
        let web = Account { gid: Some(102), supplementary: vec![7] };
        assert_eq!(account("web", passwd, group), web);
        assert_eq!(account("101", passwd, group), web);
        assert_eq!(account("55", passwd, group), Account::default());
    }
}
