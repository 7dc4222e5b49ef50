//! Containers of a pod.

use super::Objects;
use super::beside::{mount, variable, variables};
use super::pod::Declared;
use crate::import::container::{Container, Source};
use crate::import::scalar::{cpu_quota, quantity, size_text};
use crate::import::sheet::Sheet;
use crate::import::yaml::{Key, Yaml};
use crate::import::{ImportError, Options, Place};

/// What the pod says for all its containers.
#[derive(Default)]
pub(super) struct Pod {
    pub(super) restart: &'static str,
    pub(super) oneshot: bool,
    pub(super) host_network: bool,
    pub(super) grace: Option<String>,
    pub(super) security: Option<Yaml>,
}

/// Reads `initContainers` and `containers`, in that order.
pub(super) fn containers(
    sheet: &mut Sheet,
    spec: &Yaml,
    pod: &Pod,
    declared: &Declared,
    objects: &Objects,
    options: &Options,
) -> Result<(), ImportError> {
    let mut before: Vec<String> = Vec::new();
    for (list, first) in [("initContainers", true), ("containers", false)] {
        let Some(all) = spec.get(list) else { continue };
        for container in all.list(list)? {
            let name = container.get_text("name").unwrap_or_default().to_owned();
            // A sidecar is an init container that stays.
            let sidecar = first && container.get_text("restartPolicy") == Some("Always");
            let mut app =
                Container::new(sheet, options, Source::Kubernetes, &name, &container.place);
            app.prefix = format!("{list}.{name}.");
            let oneshot = first && !sidecar || pod.oneshot && !first;
            if oneshot {
                app.set("kind", "oneshot", &container.place);
            }
            for other in &before {
                let at = app.at.clone();
                app.sheet.push(&at, "after", other.as_str(), &container.place);
                app.sheet.push(&at, "requires", other.as_str(), &container.place);
            }
            let restart = match (oneshot, pod.restart) {
                (true, "no") => "no",
                (true, _) => "on-failure",
                (false, _) if sidecar => "always",
                (false, policy) => policy,
            };
            app.restart(restart, &container.place);
            app.network(if pod.host_network { "host" } else { "own" }, &container.place);
            if let Some(grace) = &pod.grace {
                app.set("stop-timeout", grace.as_str(), &container.place);
            }
            if let Some(security) = &pod.security {
                context(&mut app, security, "securityContext", true)?;
            }
            for (key, value) in container.map("a container")? {
                field(&mut app, key, value, declared, objects)?;
            }
            let name = app.name.clone();
            app.finish()?;
            if first {
                before.push(name);
            }
        }
    }
    Ok(())
}

fn field(
    app: &mut Container<'_>,
    key: &Key,
    value: &Yaml,
    declared: &Declared,
    objects: &Objects,
) -> Result<(), ImportError> {
    let name = key.text.as_str();
    let place = &key.place;
    let words = |value: &Yaml| -> Result<Vec<String>, ImportError> {
        Ok(value.texts(name)?.into_iter().map(|(_, word)| word.to_owned()).collect())
    };
    match name {
        "name" => {}
        "image" => app.image(value.text(name)?, &value.place),
        "command" => app.entrypoint(words(value)?, &value.place),
        "args" => app.command(words(value)?, &value.place),
        "workingDir" => app.option("workdir", value.text(name)?, name, place)?,
        "env" => {
            for item in value.list(name)? {
                variable(app, item, objects)?;
            }
        }
        "envFrom" => {
            for item in value.list(name)? {
                variables(app, item, objects)?;
            }
        }
        "ports" => {
            for item in value.list(name)? {
                port(app, item)?;
            }
        }
        "resources" => resources(app, value)?,
        "volumeMounts" => {
            for item in value.list(name)? {
                mount(app, item, declared)?;
            }
        }
        "livenessProbe" => probe(app, name, value, place)?,
        "readinessProbe" | "startupProbe" => {
            app.lose(place, name, "ready = {…} is for a later release", "have others try again");
        }
        "securityContext" => context(app, value, name, false)?,
        // Looked at before.
        "restartPolicy" => {}
        "stdin" | "stdinOnce" if value.text(name)? == "true" => {
            app.option("interactive", "true", name, place)?
        }
        "tty" if value.text(name)? == "true" => app.option("tty", "true", name, place)?,
        "stdin" | "stdinOnce" | "tty" => {}
        "imagePullPolicy" => app.option("pull", "", name, place)?,
        "lifecycle" => {
            let todo = "pre-start and post-stop are programs of the image";
            app.lose(place, name, "hooks of a running container", todo);
        }
        "terminationMessagePath" | "terminationMessagePolicy" => {
            app.lose(place, name, "how an app ended is in the pod's record", "rocket status");
        }
        "volumeDevices" | "resizePolicy" => app.lose(place, name, "that is for a cluster", ""),
        _ => app.lose(place, name, "unknown key", ""),
    }
    Ok(())
}

fn port(app: &mut Container<'_>, item: &Yaml) -> Result<(), ImportError> {
    let number =
        |key: &str| item.get_text(key).and_then(|text| text.parse::<u16>().ok()).filter(|n| *n > 0);
    let Some(port) = number("containerPort") else {
        app.lose(&item.place, "ports", "no containerPort that is a port", "");
        return Ok(());
    };
    // A port of a container is where it listens; on the host's network that is where it is reached.
    let host = number("hostPort").unwrap_or(port);
    let protocol = item.get_text("protocol").unwrap_or("TCP");
    for (key, _) in item.map("ports")? {
        match key.text.as_str() {
            "containerPort" | "hostPort" | "protocol" | "hostIP" => {}
            "name" => app.lose(
                &key.place,
                "ports.name",
                "probes name ports, and nothing else here does",
                "",
            ),
            other => app.lose(&key.place, &format!("ports.{other}"), "unknown key", ""),
        }
    }
    let address = item.get_text("hostIP");
    app.publish_parts(address, Some((host, host)), (port, port), protocol, "ports", &item.place);
    Ok(())
}

fn resources(app: &mut Container<'_>, value: &Yaml) -> Result<(), ImportError> {
    for (side, value) in value.map("resources")? {
        for (resource, value) in value.map("resources")? {
            let name = format!("resources.{}.{}", side.text, resource.text);
            let place = &resource.place;
            let text = value.text(&name)?;
            match (side.text.as_str(), resource.text.as_str(), quantity(text)) {
                ("limits", "memory", Some(amount)) => {
                    app.limit("memory-max", size_text(amount / 1000), place);
                }
                ("requests", "memory", Some(amount)) => {
                    app.limit("memory-low", size_text(amount / 1000), place);
                }
                ("limits", "cpu", Some(amount)) => match cpu_quota(amount) {
                    Some(quota) => app.limit("cpu-quota", quota, place),
                    None => app.lose(place, &name, "no quota at all", ""),
                },
                // The kubelet makes shares of 1024 a processor of it.
                ("requests", "cpu", Some(amount)) => {
                    let weight =
                        crate::import::scalar::cpu_weight(amount.saturating_mul(1024) / 1000);
                    match weight {
                        Some(weight) => app.limit("cpu-weight", weight, place),
                        None => app.lose(place, &name, "not a weight", ""),
                    }
                }
                (_, "memory" | "cpu", None) => {
                    app.lose(place, &name, &format!("{text:?} is not understood"), "limits");
                }
                (_, "ephemeral-storage", _) => {
                    app.lose(place, &name, "an app's root has no quota", "")
                }
                (_, other, _) if other.contains('/') => {
                    app.lose(place, &name, "devices have names", "security.devices");
                }
                _ => app.lose(place, &name, "unknown key", ""),
            }
        }
    }
    Ok(())
}

fn probe(
    app: &mut Container<'_>,
    name: &str,
    value: &Yaml,
    place: &Place,
) -> Result<(), ImportError> {
    let port = |value: &Yaml| value.get_text("port").and_then(|port| port.parse::<i64>().ok());
    for (key, value) in value.map(name)? {
        let at = format!("{name}.{}", key.text);
        match key.text.as_str() {
            "exec" => {
                let words = match value.get("command") {
                    Some(command) => command.texts(&at)?,
                    None => Vec::new(),
                };
                let words: Vec<String> =
                    words.into_iter().map(|(_, word)| word.to_owned()).collect();
                app.probe("command", words, place);
            }
            "tcpSocket" => match port(value) {
                Some(port) => app.probe("tcp", port, place),
                None => app.lose(&key.place, &at, "a port has a number", ""),
            },
            "httpGet" => match port(value) {
                Some(port) => {
                    app.probe("http", port, place);
                    if let Some(path) = value.get_text("path") {
                        app.probe_with("path", path, place);
                    }
                    for (key, _) in value.map(&at)? {
                        if !["path", "port"].contains(&key.text.as_str()) {
                            app.lose(
                                &key.place,
                                &format!("{at}.{}", key.text),
                                "a plain GET is all there is",
                                "",
                            );
                        }
                    }
                }
                None => app.lose(&key.place, &at, "a port has a number", ""),
            },
            "periodSeconds" => app.probe_with("interval", format!("{}s", value.text(&at)?), place),
            "timeoutSeconds" => app.probe_with("timeout", format!("{}s", value.text(&at)?), place),
            "failureThreshold" => app.option("health-retries", value.text(&at)?, &at, place)?,
            "initialDelaySeconds"
            | "successThreshold"
            | "terminationGracePeriodSeconds"
            | "grpc" => {
                app.lose(&key.place, &at, "it has no counterpart", "");
            }
            _ => app.lose(&key.place, &at, "unknown key", ""),
        }
    }
    Ok(())
}

/// `securityContext`, of the pod (`whole`) or of a container.
fn context(
    app: &mut Container<'_>,
    value: &Yaml,
    at: &str,
    whole: bool,
) -> Result<(), ImportError> {
    for (key, value) in value.map(at)? {
        let name = format!("{at}.{}", key.text);
        let place = &key.place;
        match key.text.as_str() {
            "runAsUser" => app.user(value.text(&name)?, place),
            "runAsGroup" => app.set("group", value.text(&name)?, place),
            "supplementalGroups" if whole => {
                for (place, group) in value.texts(&name)? {
                    app.option("group-add", group, &name, place)?;
                }
            }
            "fsGroup" | "fsGroupChangePolicy" | "supplementalGroupsPolicy" => {
                let todo = "gid and mode of [volume.NAME], or chgrp on the host";
                app.lose(place, &name, "rocket does not change owners of files", todo);
            }
            "runAsNonRoot" => {
                let why = "whether the image's user is root is not looked at";
                app.lose(place, &name, why, "user = \"…\"");
            }
            "readOnlyRootFilesystem" => {
                app.option("read-only", value.text(&name)?, &name, place)?
            }
            "allowPrivilegeEscalation" => {
                app.security("no-new-privileges", value.text(&name)? != "true", place);
            }
            "privileged" => app.option("privileged", value.text(&name)?, &name, place)?,
            "capabilities" => {
                for (side, value) in value.map(&name)? {
                    let option = match side.text.as_str() {
                        "add" => "cap-add",
                        "drop" => "cap-drop",
                        _ => {
                            app.lose(&side.place, &name, "unknown key", "");
                            continue;
                        }
                    };
                    for (place, capability) in value.texts(&name)? {
                        app.option(option, capability, &name, place)?;
                    }
                }
            }
            "seccompProfile" | "appArmorProfile" => {
                let (option, builtin) = match key.text.as_str() {
                    "seccompProfile" => ("seccomp", "builtin"),
                    _ => ("apparmor", "unconfined"),
                };
                for other in value.others(&["type", "localhostProfile"]) {
                    let name = format!("{name}.{}", other.text);
                    app.lose(&other.place, &name, "unknown key", "");
                }
                let profile = match value.get_text("type") {
                    Some("Unconfined") => "unconfined",
                    Some("RuntimeDefault") => builtin,
                    _ => value.get_text("localhostProfile").unwrap_or_default(),
                };
                app.option("security-opt", &format!("{option}={profile}"), &name, place)?;
            }
            "seLinuxOptions" => app.option("security-opt", "label=seLinuxOptions", &name, place)?,
            "sysctls" if whole => {
                for item in value.list(&name)? {
                    for other in item.others(&["name", "value"]) {
                        let name = format!("{name}.{}", other.text);
                        app.lose(&other.place, &name, "unknown key", "");
                    }
                    let part = |part| item.get_text(part).unwrap_or_default();
                    let text = format!("{}={}", part("name"), part("value"));
                    app.option("sysctl", &text, &name, &item.place)?;
                }
            }
            "procMount" | "windowsOptions" => {
                app.lose(place, &name, "what /proc hides is rocket's to say", "")
            }
            _ => app.lose(place, &name, "unknown key", ""),
        }
    }
    Ok(())
}
