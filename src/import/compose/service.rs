//! One service.

use super::Project;
use super::deploy::{blkio, deploy, healthcheck, replicas};
use super::outside::{config, networks, port, secret, secret_path, volume};
use crate::import::container::{Container, Source};
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
