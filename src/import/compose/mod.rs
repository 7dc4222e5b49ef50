//! A project of Docker Compose: one pod, an app a service.

mod deploy;
mod interpolate;
mod outside;
mod service;

use super::container::{self, begins_empty};
use super::sheet::{Sheet, name_of};
use super::value::Value;
use super::yaml::{Key, Node, Yaml, read as read_yaml};
use super::{ImportError, Input, Loss, Options, Place};
use std::collections::{BTreeMap, BTreeSet};

/// What services refer to.
#[derive(Default)]
struct Project {
    name: String,
    /// Volumes with a driver that puts something else than a directory there.
    volumes: BTreeMap<String, Yaml>,
    secrets: BTreeMap<String, Yaml>,
    configs: BTreeMap<String, Yaml>,
    /// Services that others wait for until they have ended well.
    oneshots: BTreeSet<String>,
    /// Services that are imported.
    services: BTreeSet<String>,
}

/// Reads one file.
pub(super) fn read(
    inputs: &[Input],
    options: &Options,
) -> Result<(Vec<Sheet>, Vec<Loss>), ImportError> {
    let mut sheets = Vec::new();
    let mut losses = Vec::new();
    for input in inputs {
        for document in read_yaml(input)? {
            let (sheet, lost) = project(document, options)?;
            sheets.push(sheet);
            losses.extend(lost);
        }
    }
    Ok((sheets, losses))
}

fn project(mut top: Yaml, options: &Options) -> Result<(Sheet, Vec<Loss>), ImportError> {
    let mut unset = BTreeSet::new();
    top.map_texts(&mut |place, text| {
        interpolate::fill(text, place, &options.variables, &mut unset)
    })?;
    let directory = options.base.rsplit('/').next().unwrap_or_default();
    let name = top.get_text("name").or(options.name.as_deref()).unwrap_or(directory).to_owned();
    let mut sheet = Sheet::new(&name, &top.place);
    let mut losses: Vec<Loss> = unset
        .into_iter()
        .map(|(place, name)| Loss {
            place,
            key: format!("${{{name}}}"),
            why: "the variable is not set: it is empty".to_owned(),
            todo: "set it in .env or with --env-file, and import again".to_owned(),
        })
        .collect();
    let mut project = Project { name: sheet.name.clone(), ..Project::default() };
    let mut services: &[(Key, Yaml)] = &[];
    for (key, value) in top.map("a compose file")? {
        let loss = |why: &str, todo: &str| Loss {
            place: key.place.clone(),
            key: key.text.clone(),
            why: why.to_owned(),
            todo: todo.to_owned(),
        };
        match key.text.as_str() {
            "services" => services = value.map("services")?,
            "name" => {}
            "version" => losses.push(loss("the version of the format means nothing any more", "")),
            "volumes" => project.volumes = table(value, "volumes")?,
            "secrets" | "configs" => {
                let all = table(value, &key.text)?;
                for (name, declared) in &all {
                    for other in declared.others(&["file", "external", "environment", "content"]) {
                        losses.push(Loss {
                            place: other.place.clone(),
                            key: format!("{}.{name}.{}", key.text, other.text),
                            why: "it has no counterpart".to_owned(),
                            todo: String::new(),
                        });
                    }
                }
                match key.text.as_str() {
                    "secrets" => project.secrets = all,
                    _ => project.configs = all,
                }
            }
            "networks" => {
                for (name, network) in value.map("networks")? {
                    let internal = network.get_text("internal") == Some("true");
                    let why = if internal {
                        "an internal network: the pod is on the host's, which reaches everywhere"
                    } else {
                        "a pod has no networks of its own yet: it is on the host's"
                    };
                    losses.push(Loss {
                        place: name.place.clone(),
                        key: format!("networks.{}", name.text),
                        why: why.to_owned(),
                        todo: String::new(),
                    });
                }
            }
            "include" => {
                losses.push(loss(
                    "other files are not read",
                    "docker compose config prints one whole file",
                ));
            }
            x if x.starts_with("x-") => {
                losses.push(loss("an extension means nothing to compose itself", ""))
            }
            _ => losses.push(loss("unknown key", "")),
        }
    }
    plan(&mut project, services, options)?;
    for (key, service) in services {
        if !project.services.contains(&key.text) {
            losses.push(Loss {
                place: key.place.clone(),
                key: format!("services.{}", key.text),
                why: "the service is only for profiles that were not asked for".to_owned(),
                todo: "--profile NAME".to_owned(),
            });
            continue;
        }
        service::service(&mut sheet, &project, key, service, options)?;
    }
    if sheet.apps.is_empty() {
        return Err(ImportError::new(&top.place, "there is no service in this compose file"));
    }
    unused(&mut losses, &sheet, &project);
    for (what, all) in [("secrets", &project.secrets), ("configs", &project.configs)] {
        for (name, declared) in all {
            let wants = |service: &Yaml| match service.get(what).map(|list| &list.node) {
                Some(Node::List(list)) => list.iter().any(|item| match &item.node {
                    Node::Scalar(text) => text == name,
                    _ => item.get_text("source") == Some(name.as_str()),
                }),
                _ => false,
            };
            let imported = services.iter().filter(|(key, _)| project.services.contains(&key.text));
            if !imported.map(|(_, service)| service).any(wants) {
                losses.push(Loss {
                    place: declared.place.clone(),
                    key: format!("{what}.{name}"),
                    why: "no service that is imported uses it".to_owned(),
                    todo: String::new(),
                });
            }
        }
    }
    Ok((sheet, losses))
}

fn table(value: &Yaml, what: &str) -> Result<BTreeMap<String, Yaml>, ImportError> {
    let entries = value.map(what)?.iter();
    Ok(entries
        .map(|(key, value)| {
            let value = Yaml { place: key.place.clone(), node: value.node.clone() };
            (key.text.clone(), value)
        })
        .collect())
}

/// Which services are wanted, and which of them are to end.
fn plan(
    project: &mut Project,
    services: &[(Key, Yaml)],
    options: &Options,
) -> Result<(), ImportError> {
    for (key, service) in services {
        let profiles = match service.get("profiles") {
            Some(profiles) => profiles.texts("profiles")?,
            None => Vec::new(),
        };
        let asked = |profile: &str| options.profiles.iter().any(|p| p == profile || p == "*");
        if profiles.is_empty() || profiles.iter().any(|(_, profile)| asked(profile)) {
            project.services.insert(key.text.clone());
        }
        if let Some(Node::Map(map)) = service.get("depends_on").map(|depends| &depends.node) {
            for (other, how) in map {
                if how.get_text("condition") == Some("service_completed_successfully") {
                    project.oneshots.insert(other.text.clone());
                }
            }
        }
    }
    Ok(())
}

/// What is declared and never used is not in the pod file.
fn unused(losses: &mut Vec<Loss>, sheet: &Sheet, project: &Project) {
    let used = |name: &str| sheet.volumes.iter().any(|(what, _)| *what == format!("named:{name}"));
    for (name, volume) in project.volumes.iter().filter(|(name, _)| !used(name)) {
        losses.push(Loss {
            place: volume.place.clone(),
            key: format!("volumes.{name}"),
            why: "no service that is imported mounts it".to_owned(),
            todo: String::new(),
        });
    }
}

/// A volume that is declared at the top: managed, a directory of the host, or a tmpfs.
fn declare(
    sheet: &mut Sheet,
    project: &Project,
    name: &str,
    place: &Place,
) -> Result<(), ImportError> {
    let what = format!("named:{name}");
    if sheet.volumes.iter().any(|(other, _)| *other == what) {
        return Ok(());
    }
    let Some(declared) = project.volumes.get(name) else {
        return Err(ImportError::new(
            place,
            format!("there is no volume {name:?} in this project"),
        )
        .hint("declare it below volumes, or write ./DIR for a directory"));
    };
    let mut real = name.to_owned();
    let mut options: BTreeMap<&str, (&str, &Place)> = BTreeMap::new();
    let mut lost: Vec<(&Place, String, &str, &str)> = Vec::new();
    for (key, value) in declared.map("a volume")? {
        match key.text.as_str() {
            "name" => value.text("name")?.clone_into(&mut real),
            "driver" if value.text("driver")? == "local" => {}
            "driver" => lost.push((
                &key.place,
                "driver".to_owned(),
                "volumes are directories of this host",
                "",
            )),
            "driver_opts" => {
                for (key, value) in value.map("driver_opts")? {
                    options.insert(&key.text, (value.text("an option")?, &key.place));
                }
            }
            "external" => {}
            x if x.starts_with("x-") => {
                lost.push((
                    &key.place,
                    x.to_owned(),
                    "an extension means nothing to compose itself",
                    "",
                ));
            }
            "labels" => {
                lost.push((&key.place, "labels".to_owned(), "a pod file has no labels", ""))
            }
            other => lost.push((&key.place, other.to_owned(), "unknown key", "")),
        }
    }
    let place = &declared.place;
    let key = format!("volumes.{name}");
    let option = |name: &str| options.get(name).map(|(text, _)| *text).unwrap_or_default();
    let bind = option("o").split(',').any(|o| o == "bind" || o == "rbind");
    let device = option("device");
    let host = bind && device.starts_with('/');
    let tmpfs = !host && option("type") == "tmpfs";
    let mut title = String::new();
    sheet.volume(&what, name, |sheet, at| {
        at.clone_into(&mut title);
        if host {
            sheet.set(at, "kind", "host", place);
            sheet.set(at, "source", device, place);
        } else if tmpfs {
            sheet.set(at, "kind", "tmpfs", place);
        } else {
            sheet.set(at, "kind", "state", place);
            begins_empty(sheet, at, &real, true, &key, place);
            if !options.is_empty() {
                let todo = "mount it on the host, and use kind = \"host\"";
                sheet.lose(
                    at,
                    place,
                    &format!("{key}.driver_opts"),
                    "what a driver would mount there",
                    todo,
                );
            }
        }
    });
    for (name, (text, place)) in options.iter().filter(|_| host || tmpfs) {
        let key = format!("{key}.driver_opts.{name}");
        match *name {
            "o" => container::declared(sheet, &title, host, text, &key, place),
            "type" | "device" => {}
            _ => sheet.lose(&title, place, &key, "unknown key", ""),
        }
    }
    for (place, lost, why, todo) in lost {
        sheet.lose(&title, place, &format!("{key}.{lost}"), why, todo);
    }
    Ok(())
}

/// A secret or config of the top: its file of the host, or why there is none.
fn file_of(declared: Option<&Yaml>) -> Result<&str, &'static str> {
    let Some(declared) = declared else { return Err("it is not declared") };
    match declared.get_text("file") {
        Some(file) => Ok(file),
        None if declared.get("external").is_some() => Err("it is kept elsewhere (external)"),
        None if declared.get("environment").is_some() => {
            Err("it comes from the caller's environment")
        }
        None if declared.get("content").is_some() => {
            Err("it is written in the compose file itself")
        }
        None => Err("no file is named"),
    }
}

/// A credential, and its name.
fn credential(sheet: &mut Sheet, name: &str, file: String, place: &Place) -> String {
    let credential = name_of(name);
    sheet.set(
        "credentials",
        &credential,
        Value::Table(vec![("load".to_owned(), file.into())]),
        place,
    );
    credential
}
