//! The pod manifest: the reified appc PodManifest (appc 0.8.11, pods.md), the record of what runs,
//! for people and for the metadata service. stage1 never reads it.

use super::credentials;
use super::meta::Meta;
use rocket_plan::{AppPlan, MountSource, PodPlan};
use serde_json::{Value, json};

/// File in the pod directory.
pub const FILE: &str = "pod";
const AC_VERSION: &str = "0.8.11";

/// The manifest of a pod.
pub fn reify(plan: &PodPlan, meta: &Meta) -> Value {
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
    let mut annotations = vec![json!({ "name": "rocket/uuid", "value": plan.uuid })];
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
        "volumes": volumes(plan),
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

/// Volumes as `(name, target, read-only, volume)`; the kernel's own mounts are not in a manifest.
fn volume_of(source: &MountSource) -> Option<(String, Value)> {
    match source {
        MountSource::Descriptor(name) => {
            let name = name.strip_prefix("volume:")?.split(':').nth(1)?.to_owned();
            let volume = json!({ "name": name, "kind": "host", "readOnly": false });
            Some((name, volume))
        }
        MountSource::SharedTmpfs { name, mode, uid, gid, .. } => {
            let name = name.strip_prefix("volume-")?.to_owned();
            let volume = json!({
                "name": name, "kind": "empty", "mode": format!("{mode:04o}"), "uid": uid, "gid": gid,
            });
            Some((name, volume))
        }
        _ => None,
    }
}

fn volume_mounts(app: &AppPlan) -> Vec<Value> {
    app.mounts
        .iter()
        .filter_map(|mount| {
            let (name, _) = volume_of(&mount.source)?;
            Some(json!({ "volume": name, "path": mount.target }))
        })
        .collect()
}

fn volumes(plan: &PodPlan) -> Vec<Value> {
    let mut seen: Vec<(String, Value)> = Vec::new();
    for (name, volume) in
        plan.apps.iter().flat_map(|app| &app.mounts).filter_map(|mount| volume_of(&mount.source))
    {
        if seen.iter().all(|(known, _)| *known != name) {
            seen.push((name, volume));
        }
    }
    seen.into_iter().map(|(_, volume)| volume).collect()
}
