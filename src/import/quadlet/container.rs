//! `[Container]`, `[Pod]` and what they refer to.

use super::{Unit, Units, again};
use crate::import::container::{Container, Source, begins_empty, declared, is_known};
use crate::import::sheet::Sheet;
use crate::import::unit_file::Line;
use crate::import::{ImportError, Options, Place};

/// Keys of quadlet and the option of `podman run` that each is.
const OPTIONS: &[(&str, &str)] = &[
    ("AddCapability", "cap-add"),
    ("AddDevice", "device"),
    ("AddHost", "add-host"),
    ("Annotation", "annotation"),
    ("CgroupsMode", "cgroupns"),
    ("DNS", "dns"),
    ("DNSOption", "dns-option"),
    ("DNSSearch", "dns-search"),
    ("DropCapability", "cap-drop"),
    ("EnvironmentFile", "env-file"),
    ("ExposeHostPort", "expose"),
    ("GroupAdd", "group-add"),
    ("HealthCmd", "health-cmd"),
    ("HealthInterval", "health-interval"),
    ("HealthOnFailure", "health-on-failure"),
    ("HealthRetries", "health-retries"),
    ("HealthStartPeriod", "health-start-period"),
    ("HealthTimeout", "health-timeout"),
    ("HostName", "hostname"),
    ("IP", "ip"),
    ("IP6", "ip6"),
    ("Label", "label"),
    ("LogDriver", "log-driver"),
    ("LogOpt", "log-opt"),
    ("Memory", "memory"),
    ("NetworkAlias", "network-alias"),
    ("NoNewPrivileges", "no-new-privileges"),
    ("PidsLimit", "pids-limit"),
    ("PublishPort", "publish"),
    ("Pull", "pull"),
    ("ReadOnly", "read-only"),
    ("ReadOnlyTmpfs", "read-only-tmpfs"),
    ("RunInit", "init"),
    ("Secret", "secret"),
    ("ShmSize", "shm-size"),
    ("StopSignal", "stop-signal"),
    ("StopTimeout", "stop-timeout"),
    ("Sysctl", "sysctl"),
    ("Timezone", "tz"),
    ("Tmpfs", "tmpfs"),
    ("Ulimit", "ulimit"),
    ("UserNS", "userns"),
    ("WorkingDir", "workdir"),
];

/// Keys with several values in one line.
const WORDS: [&str; 7] =
    ["AddCapability", "DropCapability", "Annotation", "Label", "Sysctl", "GroupAdd", "Environment"];

/// Reads `[Container]` into an app.
pub(super) fn container(
    sheet: &mut Sheet,
    units: &Units,
    unit: &Unit,
    lines: &[Line],
    options: &Options,
) -> Result<(), ImportError> {
    let stem = unit.stem().trim_end_matches('@').to_owned();
    sheet.host_names.insert(stem.clone());
    let mut app = Container::new(sheet, options, Source::Podman, &stem, &unit.place);
    // What quadlet starts is `podman run --rm`.
    app.throw_away = true;
    let get =
        |key: &str| lines.iter().rev().find(|line| line.section == "Container" && line.key == key);
    if let Some(line) = get("User") {
        let group = get("Group").map(|line| format!(":{}", line.value)).unwrap_or_default();
        app.user(&format!("{}{group}", line.value), &line.place);
    } else if let Some(line) = get("Group") {
        app.set("group", line.value.as_str(), &line.place);
    }
    for line in lines.iter().filter(|line| line.section == "Container") {
        key(&mut app, units, line)?;
    }
    if lines.iter().any(|l| l.section == "Service" && l.key == "Type" && l.value == "oneshot") {
        app.set("kind", "oneshot", &unit.place);
    }
    app.finish()
}

/// Keys of `[Pod]`, told to its first app.
pub(super) fn pod_keys(
    sheet: &mut Sheet,
    units: &Units,
    first: &str,
    lines: &[Line],
    options: &Options,
) -> Result<(), ImportError> {
    for line in lines.iter().filter(|line| line.section == "Pod") {
        let place = &line.place;
        match line.key.as_str() {
            "PodName" => {}
            // As the pod's network is that of each of its containers.
            "Network" => {
                let wish = match line.value.as_str() {
                    "host" => "host",
                    "none" => "none",
                    _ => "own",
                };
                for network in &mut sheet.networks {
                    network.1 = wish;
                    network.2.clone_from(place);
                }
            }
            "ExitPolicy"
            | "ServiceName"
            | "StopTimeout"
            | "PodmanArgs"
            | "GlobalArgs"
            | "ContainersConfModule"
            | "GIDMap"
            | "UIDMap"
            | "SubGIDMap"
            | "SubUIDMap"
            | "UserNS" => {
                sheet.lose("", place, &line.key, "it has no counterpart for a pod", "");
            }
            "Volume" => {
                for app in sheet.apps.clone() {
                    key(&mut again(sheet, options, &app, place), units, line)?;
                }
            }
            _ => key(&mut again(sheet, options, first, place), units, line)?,
        }
    }
    Ok(())
}

fn key(app: &mut Container<'_>, units: &Units, line: &Line) -> Result<(), ImportError> {
    let (key, value, place) = (line.key.as_str(), line.value.as_str(), &line.place);
    if let Some((_, option)) = OPTIONS.iter().find(|(name, _)| *name == key) {
        let values =
            if WORDS.contains(&key) { app.words(value, place)? } else { vec![value.to_owned()] };
        for value in values {
            match *option {
                "no-new-privileges" => {
                    app.option("security-opt", &format!("no-new-privileges={value}"), key, place)?;
                }
                "env-file" => {
                    // A relative path is relative to the unit.
                    app.option(option, value.trim_start_matches('-'), key, place)?;
                }
                option => app.option(option, &value, key, place)?,
            }
        }
        return Ok(());
    }
    match key {
        "Image" => image(app, units, value, place),
        "ContainerName" => {
            app.sheet.host_names.insert(value.to_owned());
        }
        "Exec" => {
            let words = app.words(value, place)?;
            app.command(words, place);
        }
        "Entrypoint" => {
            let words = match value.starts_with('[') {
                true => serde_json::from_str::<Vec<String>>(value)
                    .map_err(|_| ImportError::new(place, "Entrypoint is not a list of strings"))?,
                false => vec![value.to_owned()],
            };
            app.entrypoint(words, place);
        }
        "Environment" => {
            for word in app.words(value, place)? {
                app.option("env", &word, key, place)?;
            }
        }
        "User" | "Group" | "Pod" | "StartWithPod" => {}
        "Network" => network(app, value, place)?,
        "Volume" => volume(app, units, value, place)?,
        "Mount" => mount(app, units, value, place)?,
        "SeccompProfile" => app.option("security-opt", &format!("seccomp={value}"), key, place)?,
        "AppArmor" => app.option("security-opt", &format!("apparmor={value}"), key, place)?,
        "Mask" | "Unmask" => app.option("security-opt", &format!("mask={value}"), key, place)?,
        "SecurityLabelDisable"
        | "SecurityLabelFileType"
        | "SecurityLabelLevel"
        | "SecurityLabelNested"
        | "SecurityLabelType" => {
            app.option("security-opt", &format!("label={value}"), key, place)?
        }
        "Notify" => app.lose(
            place,
            key,
            "an app is ready when its program is executed",
            "ready = \"notify\" is for a later release",
        ),
        "PodmanArgs" => podman_args(app, value, place)?,
        "AutoUpdate" => {
            app.lose(place, key, "images are not updated behind one's back", "rocket fetch")
        }
        "EnvironmentHost" => {
            app.lose(place, key, "an app has nothing of its starter's environment", "")
        }
        "ServiceName" => app.lose(place, key, "the unit is rocket@NAME.service", ""),
        "HttpProxy" => {
            app.lose(place, key, "an app has nothing of its starter's environment", "environment")
        }
        "Rootfs" => app.lose(place, key, "an app has an image", "rocket image pack"),
        "GIDMap" | "UIDMap" | "SubGIDMap" | "SubUIDMap" => {
            app.lose(place, key, "the ids of a pod's user namespace are rocket's to choose", "");
        }
        _ => app.lose(place, key, "unknown key", ""),
    }
    Ok(())
}

fn image(app: &mut Container<'_>, units: &Units, value: &str, place: &Place) {
    match units.all.get(value) {
        Some(unit) if unit.kind() == "image" => {
            match unit.last("Image", "Image") {
                Some(image) => app.image(image, place),
                None => app.lose(place, "Image", &format!("{value} names no image"), ""),
            }
            for line in
                unit.lines.iter().filter(|line| line.section == "Image" && line.key != "Image")
            {
                let why = "how an image is fetched is said to rocket fetch";
                app.lose(&line.place, &line.key, why, "rocket fetch");
            }
        }
        _ if value.ends_with(".build") => {
            let tag = units.all.get(value).and_then(|unit| unit.last("Build", "ImageTag"));
            let stem = value.trim_end_matches(".build");
            app.image(tag.unwrap_or(&format!("localhost/{stem}")), place);
        }
        _ => app.image(value, place),
    }
}

fn network(app: &mut Container<'_>, value: &str, place: &Place) -> Result<(), ImportError> {
    match value.rsplit_once('.') {
        Some((_, "container")) => {
            let why = format!("{value}'s network is shared inside a pod");
            app.lose(place, "Network", &why, "Pod=, and import again");
            Ok(())
        }
        _ => app.option("network", value, "Network", place),
    }
}

fn volume(
    app: &mut Container<'_>,
    units: &Units,
    value: &str,
    place: &Place,
) -> Result<(), ImportError> {
    let (source, rest) = value.split_once(':').unwrap_or((value, ""));
    if let Some(stem) = source.strip_suffix(".volume") {
        declare(app, units, source, stem, place);
        return app.volume(&format!("{stem}:{rest}"), place);
    }
    app.volume(value, place)
}

fn mount(
    app: &mut Container<'_>,
    units: &Units,
    value: &str,
    place: &Place,
) -> Result<(), ImportError> {
    let mut words = Vec::new();
    for word in value.split(',') {
        let source = word.split_once('=').filter(|(key, _)| ["source", "src"].contains(key));
        match source.and_then(|(_, source)| Some((source, source.strip_suffix(".volume")?))) {
            Some((file, stem)) => {
                declare(app, units, file, stem, place);
                words.push(format!("source={stem}"));
            }
            None => words.push(word.to_owned()),
        }
    }
    app.option("mount", &words.join(","), "Mount", place)
}

/// What a `.volume` unit says of its volume.
fn declare(app: &mut Container<'_>, units: &Units, file: &str, stem: &str, place: &Place) {
    let Some(unit) = units.all.get(file) else {
        let why = format!("{file} is not here: taken for an ordinary volume");
        return app.lose(place, "Volume", &why, "import it together with the container");
    };
    let what = format!("named:{stem}");
    if app.sheet.volumes.iter().any(|(other, _)| *other == what) {
        return;
    }
    let get = |key: &str| unit.last("Volume", key);
    let bind = get("Options").is_some_and(|o| o.split(',').any(|o| o == "bind" || o == "rbind"));
    let device = get("Device").unwrap_or_default().to_owned();
    let tmpfs = get("Type") == Some("tmpfs") || device == "tmpfs";
    let name = get("VolumeName").map_or(format!("systemd-{stem}"), str::to_owned);
    let mut title = String::new();
    app.sheet.volume(&what, stem, |sheet, at| {
        at.clone_into(&mut title);
        if bind && device.starts_with('/') {
            sheet.set(at, "kind", "host", &unit.place);
            sheet.set(at, "source", device.as_str(), &unit.place);
        } else if tmpfs {
            sheet.set(at, "kind", "tmpfs", &unit.place);
        } else {
            sheet.set(at, "kind", "state", &unit.place);
            begins_empty(sheet, at, &name, true, file, &unit.place);
        }
    });
    let host = bind && device.starts_with('/');
    for line in &unit.lines {
        let (key, value) = (line.key.as_str(), line.value.as_str());
        match (line.section.as_str(), key) {
            ("Volume", "VolumeName") => {}
            ("Volume", "Device" | "Type") if host || tmpfs => {}
            ("Volume", "Options") if host || tmpfs => {
                declared(app.sheet, &title, host, value, key, &line.place);
            }
            ("Volume", "User" | "Group" | "UID" | "GID")
                if !host && value.parse::<i64>().is_ok() =>
            {
                let key = if key.starts_with(['U', 'u']) { "uid" } else { "gid" };
                app.sheet.set(&title, key, value.parse::<i64>().unwrap_or_default(), &line.place);
            }
            ("Volume", "Driver") if value == "local" => {}
            ("Volume", "Copy") if value == "false" => {}
            ("Volume", _) => {
                app.sheet.lose(&title, &line.place, key, "a managed volume does not have it", "");
            }
            _ => app.sheet.lose(&title, &line.place, key, "there is no unit for a volume", ""),
        }
    }
}

/// Flags that quadlet hands to podman as they are.
fn podman_args(app: &mut Container<'_>, value: &str, place: &Place) -> Result<(), ImportError> {
    let words = app.words(value, place)?;
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let Some(long) = word.strip_prefix("--") else {
            app.lose(place, &format!("PodmanArgs {word}"), "not a long flag", "");
            continue;
        };
        let (name, value) = match long.split_once('=') {
            Some((name, value)) => (name, value.to_owned()),
            None if ["privileged", "tty", "init", "replace", "rm", "no-healthcheck"]
                .contains(&long) =>
            {
                (long, "true".to_owned())
            }
            None if is_known(long) => (long, words.next().cloned().unwrap_or_default()),
            None => (long, String::new()),
        };
        app.option(name, &value, &format!("PodmanArgs --{name}"), place)?;
    }
    Ok(())
}
