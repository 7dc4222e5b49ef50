//! One service.

use super::deploy::{blkio, deploy, healthcheck, replicas};
use super::{Project, credential, declare, file_of};
use crate::import::container::{Container, Mount, Source, range};
use crate::import::scalar::absolute;
use crate::import::sheet::{Sheet, name_of};
use crate::import::yaml::{Key, Node, Yaml};
use crate::import::{ImportError, Options, Place};

/// Keys whose one value an option of `docker run` takes as it is.
const SCALARS: &[(&str, &str)] = &[
    ("blkio_weight", "blkio-weight"),
    ("cgroup", "cgroupns"),
    ("cgroup_parent", "cgroup-parent"),
    ("cpu_period", "cpu-period"),
    ("cpu_quota", "cpu-quota"),
    ("cpu_rt_period", "cpu-rt-period"),
    ("cpu_rt_runtime", "cpu-rt-runtime"),
    ("cpu_shares", "cpu-shares"),
    ("cpus", "cpus"),
    ("cpuset", "cpuset-cpus"),
    ("domainname", "domainname"),
    ("hostname", "hostname"),
    ("init", "init"),
    ("ipc", "ipc"),
    ("isolation", "isolation"),
    ("mac_address", "mac-address"),
    ("mem_limit", "memory"),
    ("mem_reservation", "memory-reservation"),
    ("mem_swappiness", "memory-swappiness"),
    ("memswap_limit", "memory-swap"),
    ("network_mode", "network"),
    ("oom_kill_disable", "oom-kill-disable"),
    ("oom_score_adj", "oom-score-adj"),
    ("pid", "pid"),
    ("pids_limit", "pids-limit"),
    ("platform", "platform"),
    ("privileged", "privileged"),
    ("pull_policy", "pull"),
    ("read_only", "read-only"),
    ("restart", "restart"),
    ("runtime", "runtime"),
    ("shm_size", "shm-size"),
    ("stdin_open", "interactive"),
    ("stop_grace_period", "stop-timeout"),
    ("stop_signal", "stop-signal"),
    ("tty", "tty"),
    ("user", "user"),
    ("userns_mode", "userns"),
    ("uts", "uts"),
    ("volume_driver", "volume-driver"),
    ("working_dir", "workdir"),
];
/// Keys with a list, of which each item is an option.
const LISTS: &[(&str, &str)] = &[
    ("cap_add", "cap-add"),
    ("cap_drop", "cap-drop"),
    ("device_cgroup_rules", "device-cgroup-rule"),
    ("devices", "device"),
    ("dns", "dns"),
    ("dns_opt", "dns-option"),
    ("dns_search", "dns-search"),
    ("expose", "expose"),
    ("external_links", "link"),
    ("group_add", "group-add"),
    ("label_file", "label-file"),
    ("security_opt", "security-opt"),
    ("tmpfs", "tmpfs"),
    ("volumes_from", "volumes-from"),
];

/// Reads it into the pod's sheet.
pub(super) fn service(
    sheet: &mut Sheet,
    project: &Project,
    key: &Key,
    value: &Yaml,
    options: &Options,
) -> Result<(), ImportError> {
    let name = key.text.as_str();
    sheet.host_names.insert(name.to_owned());
    let mut app = Container::new(sheet, options, Source::Docker, name, &key.place);
    app.prefix = format!("services.{name}.");
    if project.oneshots.contains(name) {
        app.set("kind", "oneshot", &key.place);
    }
    for (key, value) in value.map("a service")? {
        let text = key.text.as_str();
        if let Some((_, option)) = SCALARS.iter().find(|(scalar, _)| *scalar == text) {
            app.option(option, value.text(text)?, text, &value.place)?;
        } else if let Some((_, option)) = LISTS.iter().find(|(list, _)| *list == text) {
            for item in items(value, text)? {
                match &item.node {
                    Node::Map(_) => {
                        app.lose(&item.place, text, "the long form is not understood", "")
                    }
                    _ => app.option(option, item.text(text)?, text, &item.place)?,
                }
            }
        } else {
            other(&mut app, project, key, value)?;
        }
    }
    if value.get("image").is_none() && value.get("build").is_some() {
        // The name that compose gives to what it builds.
        let built = format!("{}-{name}", project.name);
        match options.images.get(&built) {
            Some(image) => app.set("image", image.as_str(), &key.place),
            None => app.set("image", format!("localhost/{}", name_of(&built)), &key.place),
        }
    }
    app.finish()
}

fn items<'a>(value: &'a Yaml, what: &str) -> Result<Vec<&'a Yaml>, ImportError> {
    match &value.node {
        Node::Scalar(_) => Ok(vec![value]),
        _ => Ok(value.list(what)?.iter().collect()),
    }
}

/// `[a, b]` as it is, `a b` as a shell splits it.
fn command(app: &Container<'_>, value: &Yaml, what: &str) -> Result<Vec<String>, ImportError> {
    match &value.node {
        Node::Scalar(text) => app.words(text, &value.place),
        _ => Ok(value.texts(what)?.into_iter().map(|(_, word)| word.to_owned()).collect()),
    }
}

/// A name with its value, if it has one.
type Pair<'a> = (&'a Place, String, Option<String>);

/// Pairs of a map, or of a list of `NAME=VALUE`; a name alone has no value.
fn pairs<'a>(
    value: &'a Yaml,
    what: &str,
    separator: &[char],
) -> Result<Vec<Pair<'a>>, ImportError> {
    match &value.node {
        Node::List(list) => list
            .iter()
            .map(|item| {
                let text = item.text(what)?;
                let (name, value) = match text.split_once(separator) {
                    Some((name, value)) => (name, Some(value.to_owned())),
                    None => (text, None),
                };
                Ok((&item.place, name.to_owned(), value))
            })
            .collect(),
        _ => value
            .map(what)?
            .iter()
            .map(|(key, value)| {
                let text = match &value.node {
                    Node::Null => None,
                    _ => Some(value.text(what)?.to_owned()),
                };
                Ok((&key.place, key.text.clone(), text))
            })
            .collect(),
    }
}

fn other(
    app: &mut Container<'_>,
    project: &Project,
    key: &Key,
    value: &Yaml,
) -> Result<(), ImportError> {
    let text = key.text.as_str();
    let place = &key.place;
    match text {
        "image" => app.image(value.text(text)?, &value.place),
        "build" => {
            let todo = format!(
                "build it, then: rocket fetch oci:DIR, and import with --image {}-{}=NAME",
                project.name, app.name
            );
            app.lose(place, text, "rocket does not build images", &todo);
        }
        "container_name" => {
            app.sheet.host_names.insert(value.text(text)?.to_owned());
        }
        "command" if matches!(value.node, Node::Null) => {}
        "command" => {
            let words = command(app, value, text)?;
            app.command(words, &value.place);
        }
        "entrypoint" if matches!(value.node, Node::Null) => {}
        "entrypoint" => {
            let words = command(app, value, text)?;
            app.entrypoint(words, &value.place);
        }
        "environment" => {
            for (place, name, value) in pairs(value, text, &['='])? {
                match value {
                    Some(value) => {
                        let value = secret_path(app, &value);
                        app.env(&name, &value, place);
                    }
                    None => app.option("env", &name, &format!("environment.{name}"), place)?,
                }
            }
        }
        "env_file" => {
            for item in items(value, text)? {
                env_file(app, item)?;
            }
        }
        "annotations" => {
            for (place, name, _) in pairs(value, text, &['='])? {
                app.option("annotation", "", &format!("{text}.{name}"), place)?;
            }
        }
        "labels" => {
            for (place, name, _) in pairs(value, text, &['='])? {
                app.option("label", "", &format!("{text}.{name}"), place)?;
            }
        }
        "sysctls" => {
            for (place, name, value) in pairs(value, text, &['='])? {
                let value = value.unwrap_or_default();
                app.option("sysctl", &format!("{name}={value}"), &format!("{text}.{name}"), place)?;
            }
        }
        "extra_hosts" => {
            for (place, name, value) in pairs(value, text, &['=', ':'])? {
                let value = value.unwrap_or_default();
                app.option(
                    "add-host",
                    &format!("{name}={value}"),
                    &format!("{text}.{name}"),
                    place,
                )?;
            }
        }
        "ulimits" => {
            for (key, value) in value.map(text)? {
                let limit = match &value.node {
                    Node::Map(_) => {
                        for other in value.others(&["soft", "hard"]) {
                            app.lose(
                                &other.place,
                                &format!("ulimits.{}", other.text),
                                "unknown key",
                                "",
                            );
                        }
                        let side = |side| value.get_text(side).unwrap_or_default().to_owned();
                        format!("{}:{}", side("soft"), side("hard"))
                    }
                    _ => value.text(text)?.to_owned(),
                };
                app.option("ulimit", &format!("{}={limit}", key.text), text, &key.place)?;
            }
        }
        "links" => {
            for (_, link) in value.texts(text)? {
                let alias = link.split_once(':').map_or(link, |(_, alias)| alias);
                app.sheet.host_names.insert(alias.to_owned());
            }
        }
        "networks" => networks(app, value)?,
        "ports" => {
            for item in value.list(text)? {
                port(app, item)?;
            }
        }
        "volumes" => {
            for item in value.list(text)? {
                volume(app, project, item)?;
            }
        }
        "depends_on" => depends_on(app, project, value)?,
        "healthcheck" => healthcheck(app, value)?,
        "blkio_config" => blkio(app, value)?,
        "deploy" => deploy(app, value)?,
        "secrets" => {
            for item in value.list(text)? {
                secret(app, project, item)?;
            }
        }
        "configs" => {
            for item in value.list(text)? {
                config(app, project, item)?;
            }
        }
        "logging" => app.option("log-driver", "", text, place)?,
        // Looked at before: a service with another profile is not here.
        "profiles" => {}
        "scale" => replicas(app, value, text)?,
        "extends" => {
            let todo = "docker compose config prints the file with it filled in";
            app.lose(place, text, "what another service says is not read", todo);
        }
        "pre_stop" | "post_start" => {
            let todo = "pre-start and post-stop are programs of the image";
            app.lose(place, text, "hooks of a running container", todo);
        }
        "develop" | "attach" => app.lose(place, text, "that is for working on the project", ""),
        "gpus" => app.option("gpus", "", text, place)?,
        "credential_spec" => app.lose(place, text, "that is for Windows", ""),
        x if x.starts_with("x-") => {
            app.lose(place, text, "an extension means nothing to compose itself", "");
        }
        _ => app.lose(place, text, "unknown key", ""),
    }
    Ok(())
}

fn env_file(app: &mut Container<'_>, item: &Yaml) -> Result<(), ImportError> {
    if let Node::Map(map) = &item.node {
        for (key, value) in map {
            match key.text.as_str() {
                "path" => app.option("env-file", value.text("path")?, "env_file", &value.place)?,
                "required" if value.text("required")? == "false" => {
                    let todo = "make an empty one";
                    app.lose(
                        &key.place,
                        "env_file.required",
                        "a file that is not there fails the start",
                        todo,
                    );
                }
                "required" => {}
                _ => app.lose(&key.place, &format!("env_file.{}", key.text), "unknown key", ""),
            }
        }
        return Ok(());
    }
    app.option("env-file", item.text("env_file")?, "env_file", &item.place)
}

/// Where compose puts a secret, as where rocket does.
fn secret_path(app: &Container<'_>, value: &str) -> String {
    match value.strip_prefix("/run/secrets/") {
        Some(name) if !name.contains('/') => {
            format!("/run/credentials/{}/{}", app.name, name_of(name))
        }
        _ => value.to_owned(),
    }
}

fn networks(app: &mut Container<'_>, value: &Yaml) -> Result<(), ImportError> {
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

fn port(app: &mut Container<'_>, item: &Yaml) -> Result<(), ImportError> {
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

fn volume(app: &mut Container<'_>, project: &Project, item: &Yaml) -> Result<(), ImportError> {
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

fn depends_on(app: &mut Container<'_>, project: &Project, value: &Yaml) -> Result<(), ImportError> {
    let at = app.at.clone();
    let on = |app: &mut Container<'_>, name: &str, place: &Place, required: bool| {
        if !project.services.contains(name) {
            let why = format!("the service {name} is not imported");
            app.lose(place, "depends_on", &why, "--profile NAME");
            return;
        }
        let other = name_of(name);
        app.sheet.push(&at, "after", other.as_str(), place);
        if required {
            app.sheet.push(&at, "requires", other.as_str(), place);
        }
    };
    let Node::Map(map) = &value.node else {
        for (place, name) in value.texts("depends_on")? {
            on(app, name, place, false);
        }
        return Ok(());
    };
    for (service, how) in map {
        let condition = how.get_text("condition").unwrap_or("service_started");
        on(app, &service.text, &service.place, condition == "service_completed_successfully");
        for (key, value) in how.map("depends_on")? {
            match (key.text.as_str(), value.text("depends_on")?) {
                ("condition", "service_started" | "service_completed_successfully") => {}
                ("condition", "service_healthy") => {
                    let why = "it starts when the other's program runs, not when it is healthy";
                    let todo = "have the app try again until it is answered";
                    app.lose(&key.place, "depends_on.condition", why, todo);
                }
                ("required", "true") | ("restart", "false") => {}
                ("required", _) => {
                    app.lose(&key.place, "depends_on.required", "all apps of a pod start", "");
                }
                ("restart", _) => {
                    let why = "a restart of an app leaves the others alone";
                    app.lose(&key.place, "depends_on.restart", why, "");
                }
                _ => app.lose(&key.place, &format!("depends_on.{}", key.text), "unknown key", ""),
            }
        }
    }
    Ok(())
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

fn secret(app: &mut Container<'_>, project: &Project, item: &Yaml) -> Result<(), ImportError> {
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

fn config(app: &mut Container<'_>, project: &Project, item: &Yaml) -> Result<(), ImportError> {
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
