//! Objects of Kubernetes: a pod file for each Pod and each template of one.

mod app;
mod beside;
mod pod;

use super::sheet::Sheet;
use super::yaml::{Yaml, read as read_yaml};
use super::{ImportError, Input, Loss, Options, Place};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// What pods refer to.
#[derive(Default)]
struct Objects {
    /// ConfigMaps, by name.
    configs: BTreeMap<String, Data>,
    /// Secrets, decoded.
    secrets: BTreeMap<String, Data>,
    claims: BTreeMap<String, Yaml>,
    /// Places of the data that some variable has.
    used: RefCell<BTreeSet<Place>>,
}

/// Keys with their text and where they stand.
type Data = BTreeMap<String, (String, Place)>;

/// Kinds with a template of a pod.
const WORKLOADS: [&str; 7] =
    ["Pod", "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob"];

/// Reads all documents of all files; a List is what is in it.
pub(super) fn read(
    inputs: &[Input],
    options: &Options,
) -> Result<(Vec<Sheet>, Vec<Loss>), ImportError> {
    let mut documents = Vec::new();
    let mut others = Vec::new();
    for input in inputs {
        for document in read_yaml(input)? {
            match document.get_text("kind") {
                Some("List") => {
                    others.extend(document.others(&["apiVersion", "kind", "items"]).cloned());
                    if let Some(items) = document.get("items") {
                        documents.extend(items.list("items")?.iter().cloned());
                    }
                }
                Some(_) => documents.push(document),
                None => return Err(ImportError::new(&document.place, "an object without a kind")),
            }
        }
    }
    let mut objects = Objects::default();
    let mut losses: Vec<Loss> = others
        .iter()
        .map(|key| loss(&key.place, &format!("List {}", key.text), "a list is what is in it", ""))
        .collect();
    for document in &documents {
        let kind = document.get_text("kind").unwrap_or_default();
        let name = document.get("metadata").and_then(|m| m.get_text("name")).unwrap_or_default();
        match kind {
            "ConfigMap" => {
                let data = data(document, kind, false, &mut losses)?;
                objects.configs.insert(name.to_owned(), data);
            }
            "Secret" => {
                let data = data(document, kind, true, &mut losses)?;
                objects.secrets.insert(name.to_owned(), data);
            }
            "PersistentVolumeClaim" => {
                claim(document, name, &mut losses)?;
                objects.claims.insert(name.to_owned(), document.clone());
            }
            kind if WORKLOADS.contains(&kind) => {}
            kind => {
                let why = match kind {
                    "Service" | "Ingress" | "NetworkPolicy" => {
                        "a pod is on the host's network, by its own ports"
                    }
                    "ServiceAccount" | "Role" | "RoleBinding" | "ClusterRole"
                    | "ClusterRoleBinding" => "there is no API server to have rights at",
                    "Namespace" => "pods have no name spaces",
                    "HorizontalPodAutoscaler" | "PodDisruptionBudget" => {
                        "nobody changes the number of pods"
                    }
                    "PersistentVolume" | "StorageClass" => "volumes are directories of this host",
                    _ => "not a kind of object that is imported",
                };
                losses.push(loss(&document.place, &format!("{kind} {name}"), why, ""));
            }
        }
    }
    let mut sheets = Vec::new();
    for document in &documents {
        let kind = document.get_text("kind").unwrap_or_default();
        if WORKLOADS.contains(&kind) {
            sheets.push(pod::workload(kind, document, &objects, options)?);
        }
    }
    let used = objects.used.take();
    for (kind, all) in [("ConfigMap", &objects.configs), ("Secret", &objects.secrets)] {
        for (name, data) in all {
            for (key, (_, place)) in data.iter().filter(|(_, (_, place))| !used.contains(place)) {
                let key = format!("{kind} {name} data.{key}");
                losses.push(loss(
                    place,
                    &key,
                    "no variable of a pod takes it",
                    "write it into a file, and mount that",
                ));
            }
        }
    }
    Ok((sheets, losses))
}

fn loss(place: &Place, key: &str, why: &str, todo: &str) -> Loss {
    Loss { place: place.clone(), key: key.to_owned(), why: why.to_owned(), todo: todo.to_owned() }
}

/// `metadata` of what a pod refers to: by its name, and nothing else.
fn metadata(kind: &str, value: &Yaml, losses: &mut Vec<Loss>) {
    for key in value.others(&["name"]) {
        let name = format!("{kind} metadata.{}", key.text);
        losses.push(loss(&key.place, &name, "it means nothing to a pod file", ""));
    }
}

/// `data`, `stringData`.
fn data(
    document: &Yaml,
    kind: &str,
    encoded: bool,
    losses: &mut Vec<Loss>,
) -> Result<Data, ImportError> {
    let mut all = BTreeMap::new();
    for (key, value) in document.map(kind)? {
        match key.text.as_str() {
            "apiVersion" | "kind" => {}
            "metadata" => metadata(kind, value, losses),
            "data" | "stringData" => {
                for (key_of, value) in value.map("data")? {
                    let text = value.text("data")?;
                    let text = if encoded && key.text == "data" {
                        let bytes = super::scalar::base64(text);
                        bytes.and_then(|bytes| String::from_utf8(bytes).ok())
                    } else {
                        Some(text.to_owned())
                    };
                    match text {
                        Some(text) => {
                            all.insert(key_of.text.clone(), (text, key_of.place.clone()));
                        }
                        None => {
                            let key = format!("{kind}.data.{}", key_of.text);
                            losses.push(loss(&key_of.place, &key, "not text in base64", ""));
                        }
                    }
                }
            }
            "immutable" | "type" => {
                let key_name = format!("{kind}.{}", key.text);
                losses.push(loss(&key.place, &key_name, "it means nothing to a pod file", ""));
            }
            other => losses.push(loss(&key.place, &format!("{kind}.{other}"), "unknown key", "")),
        }
    }
    Ok(all)
}

fn claim(document: &Yaml, name: &str, losses: &mut Vec<Loss>) -> Result<(), ImportError> {
    for (key, value) in document.map("a claim")? {
        match key.text.as_str() {
            "apiVersion" | "kind" => {}
            "metadata" => metadata("PersistentVolumeClaim", value, losses),
            "spec" => {
                for (key, _) in value.map("spec")? {
                    let name = format!("PersistentVolumeClaim {name} spec.{}", key.text);
                    let why = "a volume is a directory of this host, without a size or a class";
                    losses.push(loss(&key.place, &name, why, ""));
                }
            }
            other => losses.push(loss(&key.place, other, "unknown key", "")),
        }
    }
    Ok(())
}
