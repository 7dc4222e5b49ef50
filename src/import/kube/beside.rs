//! What a container has from the objects beside it: variables out of maps and secrets, and volumes.

use super::Objects;
use super::pod::Declared;
use crate::import::container::{Container, Mount};
use crate::import::value::Value;
use crate::import::yaml::Yaml;
use crate::import::{ImportError, Place};

/// What becomes of a secret that is a variable.
const IN_THE_CLEAR: &str = "the secret's value stands in the pod file in the clear";
const KEEP_IT: &str = "chmod 0600 the file, or make it a credential";

pub(super) fn variable(
    app: &mut Container<'_>,
    item: &Yaml,
    objects: &Objects,
) -> Result<(), ImportError> {
    let name = item.get_text("name").unwrap_or_default().to_owned();
    let key = format!("env.{name}");
    if name.is_empty() {
        return Err(ImportError::new(&item.place, "a variable without a name"));
    }
    for (field, value) in item.map("env")? {
        let place = &field.place;
        match field.text.as_str() {
            "name" => {}
            "value" => {
                let text = value.text("value")?;
                if text.contains("$(") {
                    let why = "$(NAME) is not expanded: the value is as it is written";
                    app.lose(place, &key, why, "write what it stands for");
                }
                app.env(&name, text, &item.place);
            }
            "valueFrom" => {
                for (source, value) in value.map("valueFrom")? {
                    let of = match source.text.as_str() {
                        "configMapKeyRef" => &objects.configs,
                        "secretKeyRef" => &objects.secrets,
                        "fieldRef" | "resourceFieldRef" => {
                            let why = "a field of the object is not known to the app";
                            app.lose(place, &key, why, "AC_APP_NAME and container_uuid are set");
                            continue;
                        }
                        _ => {
                            app.lose(&source.place, &key, "unknown key", "");
                            continue;
                        }
                    };
                    for other in value.others(&["name", "key"]) {
                        app.lose(&other.place, &format!("{key}.{}", other.text), "unknown key", "");
                    }
                    let object = value.get_text("name").unwrap_or_default();
                    let entry = value.get_text("key").unwrap_or_default();
                    match of.get(object).and_then(|data| data.get(entry)) {
                        Some((text, place)) => {
                            objects.used.borrow_mut().insert(place.clone());
                            let text = text.clone();
                            if source.text == "secretKeyRef" {
                                app.lose(&source.place, &key, IN_THE_CLEAR, KEEP_IT);
                            }
                            app.env(&name, &text, &item.place);
                        }
                        None => {
                            let why = format!("{entry} of {object} is not in this input");
                            app.lose(place, &key, &why, "import it together, or write environment");
                        }
                    }
                }
            }
            _ => app.lose(place, &key, "unknown key", ""),
        }
    }
    Ok(())
}

pub(super) fn variables(
    app: &mut Container<'_>,
    item: &Yaml,
    objects: &Objects,
) -> Result<(), ImportError> {
    let prefix = item.get_text("prefix").unwrap_or_default().to_owned();
    for (field, value) in item.map("envFrom")? {
        let of = match field.text.as_str() {
            "prefix" => continue,
            "configMapRef" => &objects.configs,
            "secretRef" => &objects.secrets,
            _ => {
                app.lose(&field.place, "envFrom", "unknown key", "");
                continue;
            }
        };
        for other in value.others(&["name"]) {
            app.lose(&other.place, &format!("envFrom.{}", other.text), "unknown key", "");
        }
        let object = value.get_text("name").unwrap_or_default();
        match of.get(object) {
            Some(data) => {
                if field.text == "secretRef" {
                    app.lose(&field.place, "envFrom", IN_THE_CLEAR, KEEP_IT);
                }
                for (name, (text, place)) in data {
                    objects.used.borrow_mut().insert(place.clone());
                    app.env(&format!("{prefix}{name}"), text, &item.place);
                }
            }
            None => {
                let why = format!("{object} is not in this input");
                app.lose(&field.place, "envFrom", &why, "import it together, or write environment");
            }
        }
    }
    Ok(())
}

pub(super) fn mount(
    app: &mut Container<'_>,
    item: &Yaml,
    declared: &Declared,
) -> Result<(), ImportError> {
    let volume = item.get_text("name").unwrap_or_default().to_owned();
    let target = item.get_text("mountPath").unwrap_or_default().to_owned();
    let read_only = item.get_text("readOnly") == Some("true");
    for (key, _) in item.map("volumeMounts")? {
        match key.text.as_str() {
            "name" | "mountPath" | "readOnly" => {}
            "subPath" | "subPathExpr" => {}
            "mountPropagation" | "recursiveReadOnly" => {
                let why = "what is mounted later on the host does not show inside";
                app.lose(&key.place, &format!("volumeMounts.{}", key.text), why, "");
            }
            other => app.lose(&key.place, &format!("volumeMounts.{other}"), "unknown key", ""),
        }
    }
    let name = format!("volumeMounts.{volume}");
    let part = item.get_text("subPath").or(item.get_text("subPathExpr"));
    let mut mount = match declared.volumes.get(&volume) {
        Some(Ok(mount)) => mount.clone(),
        Some(Err(todo)) => {
            app.lose(&item.place, &name, &format!("nothing is mounted at {target}"), todo);
            return Ok(());
        }
        // A template of claims declares it elsewhere.
        None => Mount { kind: "volume".to_owned(), source: volume.clone(), ..Mount::default() },
    };
    if let Some(part) = part {
        if mount.kind != "bind" || part.contains("..") || part.contains('$') {
            let why = format!("{part} of a volume cannot be mounted alone: nothing is at {target}");
            app.lose(&item.place, &name, &why, "a volume of its own");
            return Ok(());
        }
        mount.source = format!("{}/{part}", mount.source);
    }
    mount.read_only |= read_only;
    mount.target = target;
    if mount.kind.starts_with("pod-") {
        return shared(app, &mount, &item.place);
    }
    app.mount(&mount, &name, &item.place)
}

/// An `emptyDir`: one for all containers that mount it.
fn shared(app: &mut Container<'_>, mount: &Mount, place: &Place) -> Result<(), ImportError> {
    if !mount.target.starts_with('/') {
        return Err(ImportError::new(place, format!("{:?} is not an absolute path", mount.target)));
    }
    let kind = mount.kind.trim_start_matches("pod-").to_owned();
    let volume = app.sheet.volume(
        &format!("{}:{}", mount.kind, mount.source),
        &mount.source,
        |sheet, at| {
            sheet.set(at, "kind", kind.as_str(), place);
            sheet.set(at, "mode", "0777", place);
            if let Some(size) = mount.options.iter().find_map(|option| option.strip_prefix("size="))
            {
                sheet.set(at, "size", size, place);
            }
        },
    );
    let value = match mount.read_only {
        true => Value::Table(vec![
            ("volume".to_owned(), volume.into()),
            ("read-only".to_owned(), true.into()),
        ]),
        false => volume.into(),
    };
    let mounts = format!("{}.mounts", app.at);
    app.sheet.set(&mounts, &mount.target, value, place);
    Ok(())
}
