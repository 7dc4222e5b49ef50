//! What a service has from outside of itself: networks, ports, volumes, secrets and configs.

use super::{Project, credential, declare, file_of};
use crate::import::ImportError;
use crate::import::container::{Container, Mount, range};
use crate::import::scalar::absolute;
use crate::import::sheet::name_of;
use crate::import::yaml::{Node, Yaml};

/// Where compose puts a secret, as where rocket does.
pub(super) fn secret_path(app: &Container<'_>, value: &str) -> String {
    match value.strip_prefix("/run/secrets/") {
        Some(name) if !name.contains('/') => {
            format!("/run/credentials/{}/{}", app.name, name_of(name))
        }
        _ => value.to_owned(),
    }
}

pub(super) fn networks(app: &mut Container<'_>, value: &Yaml) -> Result<(), ImportError> {
    let Node::Map(map) = &value.node else { return Ok(()) };
    for (key, network) in map {
        for (field, value) in network.map("a network")? {
            if field.text == "aliases" {
                for (place, alias) in value.texts("aliases")? {
                    app.alias(alias, &format!("networks.{}.aliases", key.text), place);
                }
            } else {
                let key = format!("networks.{}.{}", key.text, field.text);
                app.lose(
                    &field.place,
                    &key,
                    "a pod on the host's network has the host's addresses",
                    "",
                );
            }
        }
    }
    Ok(())
}

pub(super) fn port(app: &mut Container<'_>, item: &Yaml) -> Result<(), ImportError> {
    let Node::Map(map) = &item.node else {
        return app.option("publish", item.text("ports")?, "ports", &item.place);
    };
    let (mut target, mut published, mut address, mut protocol) = (None, None, None, "tcp");
    for (key, value) in map {
        let text = value.text("ports")?;
        match key.text.as_str() {
            "target" => target = range(text),
            "published" if text.is_empty() => {}
            "published" => {
                published = range(text);
                if published.is_none() {
                    app.lose(&key.place, "ports.published", &format!("{text:?} is not a port"), "");
                }
            }
            "host_ip" => address = Some(text),
            "protocol" => protocol = text,
            // Descriptions, and what only a swarm knows.
            "name" | "app_protocol" | "mode" => {
                app.lose(
                    &key.place,
                    &format!("ports.{}", key.text),
                    "a port has a number and no more",
                    "",
                );
            }
            other => app.lose(&key.place, &format!("ports.{other}"), "unknown key", ""),
        }
    }
    match target {
        Some(target) => {
            app.publish_parts(address, published, target, protocol, "ports", &item.place)
        }
        None => app.lose(&item.place, "ports", "no target that is a port", ""),
    }
    Ok(())
}

pub(super) fn volume(
    app: &mut Container<'_>,
    project: &Project,
    item: &Yaml,
) -> Result<(), ImportError> {
    let Node::Map(map) = &item.node else {
        let text = item.text("volumes")?;
        if let Some((source, _)) = text.split_once(':')
            && !source.starts_with(['/', '.', '~'])
        {
            declare(app.sheet, project, source, &item.place)?;
        }
        return app.volume(text, &item.place);
    };
    let mut mount = Mount { kind: "volume".to_owned(), ..Mount::default() };
    for (key, value) in map {
        match key.text.as_str() {
            "type" => value.text("type")?.clone_into(&mut mount.kind),
            "source" => value.text("source")?.clone_into(&mut mount.source),
            "target" => value.text("target")?.clone_into(&mut mount.target),
            "read_only" => mount.read_only = value.text("read_only")? == "true",
            "bind" | "volume" | "tmpfs" => {
                for (field, value) in value.map(&key.text)? {
                    let text = value.text(&field.text)?;
                    match (key.text.as_str(), field.text.as_str()) {
                        ("bind", "propagation") => {
                            mount.options.push(format!("bind-propagation={text}"))
                        }
                        ("bind", "create_host_path") => {
                            if text == "true" {
                                let todo = "make the directory before the first start";
                                app.lose(
                                    &field.place,
                                    "volumes.bind",
                                    "rocket never makes a host's path",
                                    todo,
                                );
                            }
                        }
                        ("bind", "selinux") => mount.options.push(text.to_owned()),
                        ("bind", "recursive") if text == "disabled" => {
                            mount.options.push("bind-recursive=disabled".to_owned());
                        }
                        ("bind", "recursive") | ("volume", "nocopy") => {}
                        ("tmpfs", "size" | "mode") => {
                            mount.options.push(format!("tmpfs-{}={text}", field.text));
                        }
                        (_, other) => {
                            let name = format!("volumes.{}.{other}", key.text);
                            app.lose(&field.place, &name, "it has no counterpart", "");
                        }
                    }
                }
            }
            "consistency" => mount.options.push("consistency".to_owned()),
            other => app.lose(&key.place, &format!("volumes.{other}"), "unknown key", ""),
        }
    }
    if mount.kind == "volume" && !mount.source.is_empty() {
        declare(app.sheet, project, &mount.source, &item.place)?;
    }
    app.mount(&mount, "volumes", &item.place)
}

/// Source and target of a secret or config, and what cannot be kept of its long form.
fn reference(
    app: &mut Container<'_>,
    item: &Yaml,
    what: &str,
) -> Result<(String, Option<String>), ImportError> {
    let Node::Map(map) = &item.node else { return Ok((item.text(what)?.to_owned(), None)) };
    let (mut source, mut target) = (String::new(), None);
    for (key, value) in map {
        let text = value.text(what)?;
        match key.text.as_str() {
            "source" => text.clone_into(&mut source),
            "target" => target = Some(text.to_owned()),
            "uid" | "gid" | "mode" => {
                let name = format!("{what}.{}", key.text);
                app.lose(
                    &key.place,
                    &name,
                    "the file keeps its owner and mode",
                    "chown and chmod it on the host",
                );
            }
            other => app.lose(&key.place, &format!("{what}.{other}"), "unknown key", ""),
        }
    }
    Ok((source, target))
}

pub(super) fn secret(
    app: &mut Container<'_>,
    project: &Project,
    item: &Yaml,
) -> Result<(), ImportError> {
    let (source, target) = reference(app, item, "secrets")?;
    match file_of(project.secrets.get(&source)) {
        Ok(file) => {
            let file = absolute(file, &app.options.base, &app.options.home);
            let name = credential(app.sheet, &source, file, &item.place);
            let at = app.at.clone();
            app.sheet.push(&at, "credentials", name.as_str(), &item.place);
            let why = format!("it is a credential, at /run/credentials/{}/{name}", app.name);
            let was =
                target.filter(|t| t.starts_with('/')).unwrap_or(format!("/run/secrets/{source}"));
            let todo =
                format!("what names {was} other than the whole of a variable has to be changed");
            app.lose(&item.place, &format!("secrets.{source}"), &why, &todo);
        }
        Err(why) => {
            let todo =
                "write [credentials], NAME = { load = PATH }, and credentials = [NAME] in the app";
            app.lose(&item.place, &format!("secrets.{source}"), why, todo);
        }
    }
    Ok(())
}

pub(super) fn config(
    app: &mut Container<'_>,
    project: &Project,
    item: &Yaml,
) -> Result<(), ImportError> {
    let (source, target) = reference(app, item, "configs")?;
    match file_of(project.configs.get(&source)) {
        Ok(file) => {
            let mount = Mount {
                kind: "bind".to_owned(),
                source: file.to_owned(),
                target: target.unwrap_or_else(|| format!("/{source}")),
                read_only: true,
                options: Vec::new(),
            };
            app.mount(&mount, "configs", &item.place)
        }
        Err(why) => {
            let todo = "put it into a file of the host, and mount that";
            app.lose(&item.place, &format!("configs.{source}"), why, todo);
            Ok(())
        }
    }
}
