//! The pod manifest: the reified appc PodManifest (appc 0.8.11, pods.md), the record of what runs,
//! for people and for the metadata service. stage1 never reads it.

use super::credentials;
use super::meta::Meta;
use super::sources::{Origin, Source};
use rocket_plan::{AppPlan, MountSource, Network, PodPlan};
use serde_json::{Value, json};
use std::path::Path;

/// File in the pod directory.
pub const FILE: &str = "pod";
const AC_VERSION: &str = "0.8.11";

/// The manifest of a pod.
///
/// What it says can be asked for again, as a pod manifest: `state` is where kept volumes are then.
pub fn reify(plan: &PodPlan, meta: &Meta, sources: &[Source], state: &Path) -> Value {
    let apps: Vec<Value> = plan
        .apps
        .iter()
        .map(|app| {
            let image = meta.apps.iter().find(|known| known.name == app.name);
            let name = image.map_or("", |image| image.image.as_str());
            // An image id of appc has a dash where a digest has a colon.
            let mut json = json!({
                "name": app.name,
                "image": { "name": name, "id": app.image_id.replacen(':', "-", 1) },
                "app": app_section(app),
                "readOnlyRootFS": app.root.read_only,
                "mounts": volume_mounts(app),
            });
            let credentials = credentials::names(app).join(",");
            if !credentials.is_empty()
                && let Some(object) = json.as_object_mut()
            {
                let list = json!([{ "name": "rocket/credentials", "value": credentials }]);
                object.insert("annotations".to_owned(), list);
            }
            json
        })
        .collect();
    let network = match plan.namespaces.network {
        Network::Host => "host",
        Network::None => "none",
    };
    let mut annotations = vec![
        json!({ "name": "rocket/network", "value": network }),
        json!({ "name": "rocket/uuid", "value": plan.uuid }),
    ];
    if let Some(name) = &plan.name {
        annotations.push(json!({ "name": "rocket/pod-name", "value": name }));
    }
    if let Some(digest) = &meta.pod_file_digest {
        annotations.push(json!({ "name": "rocket/pod-file-digest", "value": digest }));
    }
    json!({
        "acVersion": AC_VERSION,
        "acKind": "PodManifest",
        "apps": apps,
        "volumes": volumes(plan, sources, state),
        "isolators": [],
        "annotations": annotations,
        "ports": [],
    })
}

fn app_section(app: &AppPlan) -> Value {
    let environment: Vec<Value> = app
        .environment
        .iter()
        .filter_map(|entry| entry.split_once('='))
        .map(|(name, value)| json!({ "name": name, "value": value }))
        .collect();
    let capabilities: Vec<String> = app
        .capabilities
        .bounding
        .iter()
        .map(|name| format!("CAP_{}", name.to_ascii_uppercase()))
        .collect();
    json!({
        "exec": app.argv,
        "user": app.uid.to_string(),
        "group": app.gid.to_string(),
        "supplementaryGIDs": app.groups,
        "workingDirectory": app.working_directory,
        "environment": environment,
        "isolators": [
            { "name": "os/linux/capabilities-retain-set", "value": { "set": capabilities } },
            { "name": "os/linux/no-new-privileges", "value": app.no_new_privileges },
        ],
    })
}

/// Name of the volume that a mount is; the kernel's own mounts are not in a manifest.
fn volume_of(source: &MountSource) -> Option<&str> {
    match source {
        // `volume:APP:NAME:…`
        MountSource::Descriptor(name) => name.strip_prefix("volume:")?.split(':').nth(1),
        MountSource::SharedTmpfs { name, .. } => name.strip_prefix("volume-"),
        _ => None,
    }
}

/// The volume itself.
fn volume(name: &str, mount: &MountSource, sources: &[Source], state: &Path) -> Value {
    let source = match mount {
        MountSource::SharedTmpfs { mode, uid, gid, .. } => {
            let mode = format!("{mode:04o}");
            return json!({ "name": name, "kind": "empty", "mode": mode, "uid": uid, "gid": gid });
        }
        MountSource::Descriptor(descriptor) => {
            sources.iter().find(|source| source.name == *descriptor)
        }
        _ => None,
    };
    let host = |path: &Path, recursive: bool| {
        json!({
            "name": name, "kind": "host", "source": path, "recursive": recursive, "readOnly": false,
        })
    };
    match source.map(|source| (&source.origin, source.recursive)) {
        Some((Origin::Host(path), recursive)) => host(path, recursive),
        Some((Origin::State(below), _)) => host(&state.join(below), true),
        Some((Origin::Pod(_), _)) | None => json!({ "name": name, "kind": "empty" }),
    }
}

fn volume_mounts(app: &AppPlan) -> Vec<Value> {
    app.mounts
        .iter()
        .filter_map(|mount| {
            let name = volume_of(&mount.source)?;
            Some(json!({ "volume": name, "path": mount.target }))
        })
        .collect()
}

fn volumes(plan: &PodPlan, sources: &[Source], state: &Path) -> Vec<Value> {
    let mut seen: Vec<(&str, Value)> = Vec::new();
    for mount in plan.apps.iter().flat_map(|app| &app.mounts) {
        if let Some(name) = volume_of(&mount.source)
            && seen.iter().all(|(known, _)| *known != name)
        {
            seen.push((name, volume(name, &mount.source, sources, state)));
        }
    }
    seen.into_iter().map(|(_, volume)| volume).collect()
}
