//! Pod manifests of appc are pod files.
#![allow(clippy::unwrap_used)]

use rocket_podfile::{LoadError, list, load, parse};
use std::fs;
use std::path::Path;

const WHOLE: &str = r#"{
  "acVersion": "0.8.11", "acKind": "PodManifest",
  "annotations": [{"name": "rocket/network", "value": "host"}, {"name": "authors", "value": "me"}],
  "apps": [{
    "name": "web",
    "image": {"name": "example.com/web", "id": "sha512-00aa", "labels": [{"name": "version", "value": "1"}]},
    "readOnlyRootFS": true,
    "mounts": [{"volume": "data", "path": "/srv"}],
    "app": {
      "exec": ["/bin/web", "-x"], "user": "7", "group": "8", "supplementaryGIDs": [9],
      "workingDirectory": "/srv",
      "environment": [{"name": "A", "value": "b"}, {"name": "container", "value": "x"}],
      "eventHandlers": [{"name": "pre-start", "exec": ["/bin/before"]}],
      "mountPoints": [{"name": "cache", "path": "/cache", "readOnly": true}],
      "ports": [{"name": "http", "protocol": "tcp", "port": 8080, "socketActivated": true}],
      "isolators": [
        {"name": "resource/memory", "value": {"limit": "64Mi"}},
        {"name": "resource/cpu", "value": {"limit": "250m"}},
        {"name": "os/linux/no-new-privileges", "value": true},
        {"name": "os/linux/capabilities-retain-set", "value": {"set": ["CAP_CHOWN"]}}
      ]
    }
  }],
  "volumes": [{"name": "data", "kind": "host", "source": "/srv/data", "readOnly": true}],
  "isolators": [{"name": "resource/memory", "value": {"limit": "1G"}}],
  "ports": [{"name": "http", "hostPort": 80}]
}"#;

const SAME: &str = r#"
network = "host"
limits = { memory-max = 1000000000 }
[app.web]
image = "example.com/web,version=1@sha512-00aa"
exec = ["/bin/web", "-x"]
user = "7"
group = "8"
supplementary-groups = ["9"]
working-directory = "/srv"
environment = { A = "b" }
pre-start = ["/bin/before"]
mounts = { "/srv" = "data", "/cache" = { volume = "cache", read-only = true } }
security = { read-only = true, no-new-privileges = true, capabilities = ["CAP_CHOWN"] }
limits = { memory-max = "64M", cpu-quota = "25%" }
[volume.data]
kind = "host"
source = "/srv/data"
read-only = true
[volume.cache]
kind = "empty"
[port.http]
app = "web"
port = 8080
activation = true
listen = ["80"]
"#;

#[test]
fn a_manifest_means_the_same_as_its_pod_file() {
    let manifest = parse(Path::new("web.json"), WHOLE).unwrap();
    let mut same = parse(Path::new("web.toml"), SAME).unwrap();
    // Tables keep the order of writing.
    same.volumes.sort_by_key(|volume| volume.name != manifest.volumes[0].name);
    assert_eq!(manifest, same);
}

/// `LINE:COLUMN: MESSAGE` of all that is wrong with the manifest after a change.
fn wrong(from: &str, to: &str) -> Vec<String> {
    assert!(WHOLE.contains(from), "{from}");
    let found = parse(Path::new("x.json"), &WHOLE.replace(from, to)).unwrap_err();
    found.iter().map(|d| format!("{}:{}: {}", d.line, d.column, d.message)).collect()
}

#[test]
fn what_a_pod_file_cannot_say_is_refused_at_its_place() {
    let mut missing = Vec::new();
    for (from, to, expected) in [
        ("rocket/network", "network", "1:1: the manifest has no annotation \"rocket/network\""),
        ("\"value\": \"host\"", "\"value\": \"hots\"", "3:55: "),
        ("\"authors\"", "\"rocket/author\"", "there is no annotation \"rocket/author\""),
        (
            "\"readOnlyRootFS\"",
            "\"readOnlyRoot\"",
            "7:5: \"readOnlyRoot\" of an app is not supported",
        ),
        ("resource/cpu", "resource/block-io", "18:48: the isolator"),
        ("\"250m\"", "\"lots\"", "\"lots\" is no amount of CPUs"),
        ("\"port\": 8080", "\"port\": 808080", "15:61: port takes"),
        (
            "\"socketActivated\": true",
            "\"socketActivated\": false",
            "26:13: the port \"http\" is not forwarded",
        ),
        ("\"hostPort\": 80}", "\"hostPort\": 80,}", "26:45: expected a name"),
        ("\"kind\": \"host\"", "\"kind\": \"state\"", "is \"host\" or \"empty\""),
        ("PodManifest", "ImageManifest", "2:36: this is not a PodManifest"),
    ] {
        let found = wrong(from, to);
        if !found.iter().any(|line| line.contains(expected)) {
            missing.push(format!("{expected}: {found:?}"));
        }
    }
    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn manifests_lie_beside_pod_files_and_take_drop_ins() {
    let [first, second] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let dirs = [first.path().to_owned(), second.path().to_owned()];
    fs::write(second.path().join("web.json"), WHOLE).unwrap();
    fs::create_dir(first.path().join("web.toml.d")).unwrap();
    fs::write(first.path().join("web.toml.d/a.toml"), "description = \"x\"\n").unwrap();
    let loaded = load(&dirs, "web").unwrap();
    assert_eq!(loaded.pod.description.as_deref(), Some("x"));
    assert_eq!(loaded.name.as_deref(), Some("web"));
    assert_eq!(list(&dirs).unwrap(), ["web"]);
    // A more important directory hides it, an empty file masks it.
    fs::write(first.path().join("web.toml"), SAME.replace("/bin/web", "/bin/other")).unwrap();
    assert_eq!(load(&dirs, "web").unwrap().pod.apps[0].exec.as_ref().unwrap()[0], "/bin/other");
    // Two in one directory are one too many, whatever is in them.
    fs::write(first.path().join("web.json"), "").unwrap();
    let Err(LoadError::Invalid(found)) = load(&dirs, "web") else { panic!() };
    assert!(found[0].to_string().contains("web.json:1:1: there is a .toml"), "{found:?}");
    fs::remove_file(first.path().join("web.toml")).unwrap();
    assert!(matches!(load(&dirs, "web"), Err(LoadError::Masked(_))));
    assert!(list(&dirs).unwrap().is_empty());
    // A drop-in is no manifest.
    fs::remove_file(first.path().join("web.json")).unwrap();
    fs::write(first.path().join("web.toml.d/a.toml"), WHOLE).unwrap();
    let error = load(&dirs, "web").unwrap_err().to_string();
    assert!(error.contains("a drop-in is TOML"), "{error}");
}

#[test]
fn credentials_of_a_record_are_refused_with_the_reason() {
    let text = WHOLE.replacen(
        r#""name": "web",
"#,
        r#""name": "web", "annotations": [{"name": "rocket/credentials", "value": "key"}],
"#,
        1,
    );
    let found = parse(Path::new("web.json"), &text).unwrap_err();
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].message.contains("not where they come from"), "{found:#?}");
    assert!(found[0].hint.as_deref().is_some_and(|hint| hint.contains("[credentials]")));
}
