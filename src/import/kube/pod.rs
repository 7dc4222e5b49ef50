//! A pod's template, and what is around it.

use super::{Objects, app};
use crate::import::container::Mount;
use crate::import::sheet::Sheet;
use crate::import::yaml::Yaml;
use crate::import::{ImportError, Options, Place};
use std::collections::BTreeMap;

/// What `volumes` of a pod declare, before anybody mounts it.
#[derive(Default)]
pub(super) struct Declared {
    /// A mount without its target, or why there is none.
    pub(super) volumes: BTreeMap<String, Result<Mount, String>>,
}

/// Reads a Pod, or an object with a template of one.
pub(super) fn workload(
    kind: &str,
    document: &Yaml,
    objects: &Objects,
    options: &Options,
) -> Result<Sheet, ImportError> {
    let name = document.get("metadata").and_then(|metadata| metadata.get_text("name"));
    let name = name.or(document.get("metadata").and_then(|m| m.get_text("generateName")));
    let Some(name) = name else {
        return Err(ImportError::new(&document.place, format!("this {kind} has no metadata.name")));
    };
    let mut sheet = Sheet::new(name, &document.place);
    sheet.set("", "description", format!("{kind} {name}"), &document.place);
    let mut found = false;
    for (key, value) in document.map(kind)? {
        match key.text.as_str() {
            "apiVersion" | "kind" => {}
            "metadata" => metadata(&mut sheet, value)?,
            "spec" if kind == "Pod" => {
                spec(&mut sheet, value, objects, options, kind)?;
                found = true;
            }
            "spec" => found = around(&mut sheet, value, kind, objects, options)?,
            // What the API server writes.
            "status" => {}
            other => sheet.lose("", &key.place, other, "unknown key", ""),
        }
    }
    if !found {
        return Err(ImportError::new(
            &document.place,
            format!("the {kind} {name:?} has no pod in it"),
        ));
    }
    Ok(sheet)
}

/// `metadata`: a name is all that counts.
fn metadata(sheet: &mut Sheet, value: &Yaml) -> Result<(), ImportError> {
    for (key, value) in value.map("metadata")? {
        let name = format!("metadata.{}", key.text);
        match key.text.as_str() {
            "name" | "generateName" => {}
            "labels" | "annotations" => {
                let names: Vec<&str> =
                    value.map(&name)?.iter().map(|(key, _)| key.text.as_str()).collect();
                let why = format!("a pod file has none: {}", names.join(", "));
                sheet.lose("", &key.place, &name, &why, "");
            }
            "namespace" => sheet.lose("", &key.place, &name, "pods have no name spaces", ""),
            "creationTimestamp" | "resourceVersion" | "uid" | "generation" | "managedFields"
            | "selfLink" => {}
            _ => sheet.lose("", &key.place, &name, "unknown key", ""),
        }
    }
    Ok(())
}

/// The spec of a Deployment and the like: says whether there was a template.
fn around(
    sheet: &mut Sheet,
    value: &Yaml,
    kind: &str,
    objects: &Objects,
    options: &Options,
) -> Result<bool, ImportError> {
    let mut found = false;
    for (key, value) in value.map("spec")? {
        let name = format!("spec.{}", key.text);
        let place = &key.place;
        match key.text.as_str() {
            "template" => {
                for (key, value) in value.map(&name)? {
                    match key.text.as_str() {
                        "metadata" => metadata(sheet, value)?,
                        "spec" => {
                            spec(sheet, value, objects, options, kind)?;
                            found = true;
                        }
                        other => sheet.lose("", &key.place, other, "unknown key", ""),
                    }
                }
            }
            "jobTemplate" => {
                for other in value.others(&["spec"]) {
                    sheet.lose(
                        "",
                        &other.place,
                        &format!("{name}.{}", other.text),
                        "it means nothing here",
                        "",
                    );
                }
                if let Some(inner) = value.get("spec") {
                    found = around(sheet, inner, kind, objects, options)?;
                }
            }
            "replicas" if value.text(&name)? == "1" => {}
            "replicas" => {
                sheet.template = true;
                let count = value.text(&name)?.to_owned();
                let why = format!(
                    "a template has as many instances as are enabled, not {count} by itself"
                );
                let todo = format!(
                    "systemctl enable --now rocket@{0}@1 rocket@{0}@2 …; on the host's network each needs \
                     ports of its own",
                    sheet.name
                );
                sheet.lose("", place, &name, &why, &todo);
            }
            "selector"
            | "serviceName"
            | "revisionHistoryLimit"
            | "progressDeadlineSeconds"
            | "strategy"
            | "updateStrategy"
            | "podManagementPolicy"
            | "minReadySeconds"
            | "paused"
            | "successfulJobsHistoryLimit"
            | "failedJobsHistoryLimit"
            | "startingDeadlineSeconds"
            | "ttlSecondsAfterFinished"
            | "completionMode" => {
                sheet.lose("", place, &name, "that is for a controller of a cluster", "");
            }
            "schedule" => {
                let text = value.text(&name)?;
                match calendar(text) {
                    Some(calendar) => {
                        sheet.set("schedule", "calendar", vec![calendar], place);
                    }
                    None => {
                        let why =
                            format!("{text:?} is not one of the plain forms that are understood");
                        sheet.lose("", place, &name, &why, "[schedule] calendar = [\"…\"]");
                    }
                }
            }
            "concurrencyPolicy" => {
                sheet.lose(
                    "",
                    place,
                    &name,
                    "a pod that still runs when its time comes runs on",
                    "",
                );
            }
            "backoffLimit" => {
                sheet.lose(
                    "",
                    place,
                    &name,
                    "an app's restarts are counted in a time",
                    "restart-limit",
                );
            }
            "volumeClaimTemplates" => {
                for claim in value.list(&name)? {
                    let claimed =
                        claim.get("metadata").and_then(|m| m.get_text("name")).unwrap_or_default();
                    let why = format!("{claimed} is a managed volume, without a size or a class");
                    sheet.lose("", &claim.place, &name, &why, "");
                }
            }
            "completions" | "parallelism" if value.text(&name)? == "1" => {}
            "suspend" if value.text(&name)? == "false" => {}
            "completions" | "parallelism" | "suspend" | "activeDeadlineSeconds" => {
                sheet.lose("", place, &name, "a pod runs once, and as long as it takes", "");
            }
            _ => sheet.lose("", place, &name, "unknown key", ""),
        }
    }
    Ok(found)
}

/// A cron line as systemd's calendar; only numbers, lists and `*`, `*/N`.
fn calendar(text: &str) -> Option<String> {
    match text.trim() {
        "@hourly" | "@daily" | "@weekly" | "@monthly" | "@yearly" => {
            return Some(text.trim().trim_start_matches('@').to_owned());
        }
        _ => {}
    }
    let fields: Vec<&str> = text.split_whitespace().collect();
    let [minute, hour, day, month, weekday] = fields.as_slice() else { return None };
    let field = |text: &str, width: usize| -> Option<String> {
        if text == "*" {
            return Some("*".to_owned());
        }
        if let Some(step) = text.strip_prefix("*/") {
            let step: u32 = step.parse().ok()?;
            return Some(format!("{:0width$}/{step}", if width == 1 { 1 } else { 0 }, width = 2));
        }
        let parts: Option<Vec<String>> = text
            .split(',')
            .map(|part| part.parse::<u32>().ok().map(|number| format!("{number:02}")))
            .collect();
        Some(parts?.join(","))
    };
    const DAYS: [&str; 8] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    let weekday = match *weekday {
        "*" => String::new(),
        // Cron takes either of day and weekday, systemd both.
        _ if *day != "*" => return None,
        days => {
            let name = |day: &str| day.parse::<usize>().ok().and_then(|day| DAYS.get(day).copied());
            let days: Option<Vec<String>> = days
                .split(',')
                .map(|part| match part.split_once('-') {
                    Some((first, last)) => Some(format!("{}..{}", name(first)?, name(last)?)),
                    None => name(part).map(str::to_owned),
                })
                .collect();
            format!("{} ", days?.join(","))
        }
    };
    Some(format!(
        "{weekday}*-{}-{} {}:{}:00",
        field(month, 1)?,
        field(day, 1)?,
        field(hour, 2)?,
        field(minute, 2)?
    ))
}

fn spec(
    sheet: &mut Sheet,
    value: &Yaml,
    objects: &Objects,
    options: &Options,
    kind: &str,
) -> Result<(), ImportError> {
    let mut declared = Declared::default();
    let mut pod = app::Pod {
        restart: if kind == "Job" || kind == "CronJob" { "no" } else { "always" },
        oneshot: kind == "Job" || kind == "CronJob",
        ..app::Pod::default()
    };
    if let Some(volumes) = value.get("volumes") {
        for volume in volumes.list("volumes")? {
            declare(sheet, &mut declared, volume, objects)?;
        }
    }
    for (key, value) in value.map("spec")? {
        let name = key.text.as_str();
        let place = &key.place;
        match name {
            "volumes" | "initContainers" | "containers" => {}
            "restartPolicy" => {
                pod.restart = match value.text(name)? {
                    "Never" => "no",
                    "OnFailure" => "on-failure",
                    _ => "always",
                };
            }
            "hostNetwork" => pod.host_network = value.text(name)? == "true",
            "hostname" => sheet.set("", "hostname", value.text(name)?, place),
            "terminationGracePeriodSeconds" => pod.grace = Some(format!("{}s", value.text(name)?)),
            "securityContext" => pod.security = Some(value.clone()),
            "hostAliases" => {
                for alias in value.list(name)? {
                    for other in alias.others(&["ip", "hostnames"]) {
                        sheet.lose(
                            "",
                            &other.place,
                            &format!("{name}.{}", other.text),
                            "unknown key",
                            "",
                        );
                    }
                    let address = alias.get_text("ip").unwrap_or_default();
                    if let Some(names) = alias.get("hostnames") {
                        for (place, name) in names.texts("hostnames")? {
                            sheet.set("hosts", name, address, place);
                        }
                    }
                }
            }
            "dnsConfig" => {
                for (key, value) in value.map(name)? {
                    match key.text.as_str() {
                        "nameservers" => {
                            for (place, server) in value.texts(name)? {
                                sheet.push("dns", "servers", server, place);
                            }
                        }
                        "searches" => {
                            for (place, search) in value.texts(name)? {
                                sheet.push("dns", "search", search, place);
                            }
                        }
                        "options" => {
                            for option in value.list(name)? {
                                for other in option.others(&["name", "value"]) {
                                    let key = format!("dnsConfig.options.{}", other.text);
                                    sheet.lose("", &other.place, &key, "unknown key", "");
                                }
                                let word = option.get_text("name").unwrap_or_default();
                                let text = match option.get_text("value") {
                                    Some(value) => format!("{word}:{value}"),
                                    None => word.to_owned(),
                                };
                                sheet.push("dns", "options", text, &option.place);
                            }
                        }
                        other => sheet.lose(
                            "",
                            &key.place,
                            &format!("dnsConfig.{other}"),
                            "unknown key",
                            "",
                        ),
                    }
                }
            }
            "shareProcessNamespace" if value.text(name)? == "true" => {}
            "shareProcessNamespace" | "hostPID" | "hostIPC" if value.text(name)? == "false" => {}
            "hostUsers" if value.text(name)? == "false" => {}
            "automountServiceAccountToken" if value.text(name)? == "false" => {}
            "dnsPolicy"
            | "enableServiceLinks"
            | "serviceAccountName"
            | "serviceAccount"
            | "nodeSelector"
            | "affinity"
            | "tolerations"
            | "topologySpreadConstraints"
            | "priorityClassName"
            | "priority"
            | "schedulerName"
            | "nodeName"
            | "imagePullSecrets"
            | "runtimeClassName"
            | "preemptionPolicy"
            | "readinessGates"
            | "overhead"
            | "automountServiceAccountToken"
            | "subdomain"
            | "setHostnameAsFQDN" => {
                sheet.lose("", place, name, "that is for a cluster", "");
            }
            "hostPID" | "hostIPC" | "hostUsers" | "shareProcessNamespace" => {
                sheet.lose(
                    "",
                    place,
                    name,
                    "a pod's namespaces are its own, and its apps share them",
                    "",
                );
            }
            "activeDeadlineSeconds" => {
                sheet.lose("", place, name, "a pod runs as long as it takes", "")
            }
            "ephemeralContainers" => sheet.lose("", place, name, "rocket enter", ""),
            _ => sheet.lose("", place, name, "unknown key", ""),
        }
    }
    app::containers(sheet, value, &pod, &declared, objects, options)
}

fn declare(
    sheet: &mut Sheet,
    declared: &mut Declared,
    volume: &Yaml,
    objects: &Objects,
) -> Result<(), ImportError> {
    let name = volume.get_text("name").unwrap_or_default().to_owned();
    let mount = |kind: &str, source: &str| {
        Ok(Mount { kind: kind.to_owned(), source: source.to_owned(), ..Mount::default() })
    };
    let mut what: Result<Mount, String> = Err("it has no source".to_owned());
    for (key, value) in volume.map("a volume")? {
        let at = format!("volumes.{name}.{}", key.text);
        let place: &Place = &key.place;
        let known: &[&str] = match key.text.as_str() {
            "hostPath" => &["path", "type"],
            "persistentVolumeClaim" => &["claimName", "readOnly"],
            "emptyDir" => &["medium", "sizeLimit"],
            _ => &[],
        };
        for other in value.others(known).filter(|_| !known.is_empty()) {
            sheet.lose("", &other.place, &format!("{at}.{}", other.text), "unknown key", "");
        }
        match key.text.as_str() {
            "name" => {}
            "emptyDir" => {
                let memory = value.get_text("medium") == Some("Memory");
                what = mount(if memory { "pod-tmpfs" } else { "pod-empty" }, &name);
                for (field, value) in value.map(&at)? {
                    match (field.text.as_str(), memory) {
                        ("medium", _) => {}
                        ("sizeLimit", true) => {
                            let size = crate::import::scalar::quantity(value.text(&at)?);
                            if let (Some(size), Ok(mount)) = (size, &mut what) {
                                let size = crate::import::scalar::size_text(size / 1000);
                                mount.options.push(format!("size={size}"));
                            }
                        }
                        (other, _) => {
                            let key = format!("{at}.{other}");
                            sheet.lose(
                                "",
                                &field.place,
                                &key,
                                "an empty volume has no limit",
                                "kind = \"tmpfs\"",
                            );
                        }
                    }
                }
            }
            "hostPath" => {
                what = mount("bind", value.get_text("path").unwrap_or_default());
                if let Some(kind) = value.get_text("type").filter(|kind| kind.ends_with("OrCreate"))
                {
                    let why = format!("{kind}: rocket never makes a host's path");
                    sheet.lose("", place, &at, &why, "make it before the first start");
                }
            }
            "persistentVolumeClaim" => {
                let claim = value.get_text("claimName").unwrap_or_default();
                what = mount("volume", claim);
                if let (Some("true"), Ok(mount)) = (value.get_text("readOnly"), &mut what) {
                    mount.read_only = true;
                }
                if !objects.claims.contains_key(claim) {
                    let why = format!("the claim {claim} is not here: taken for an ordinary one");
                    sheet.lose("", place, &at, &why, "");
                }
            }
            "configMap" | "secret" => {
                let object =
                    value.get_text("name").or(value.get_text("secretName")).unwrap_or_default();
                let kind = if key.text == "secret" { "Secret" } else { "ConfigMap" };
                what = Err(format!(
                    "write the keys of the {kind} {object} as files into a directory of the host, and mount that \
                     with kind = \"host\""
                ));
            }
            "downwardAPI" | "projected" => {
                what = Err("it is made by the API server; write the files on the host".to_owned());
            }
            "nfs" | "iscsi" | "csi" | "cephfs" | "rbd" | "fc" | "ephemeral" => {
                what = Err("mount it on the host, and use kind = \"host\"".to_owned());
            }
            _ => sheet.lose("", place, &at, "unknown key", ""),
        }
    }
    if let Err(why) = &what {
        let key = format!("volumes.{name}");
        sheet.lose("", &volume.place, &key, "there is no such volume", why);
    }
    declared.volumes.insert(name, what);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cron_lines() {
        for (cron, expected) in [
            ("0 3 * * *", "*-*-* 03:00:00"),
            ("*/15 * * * *", "*-*-* *:00/15:00"),
            ("30 2 * * 1-5", "Mon..Fri *-*-* 02:30:00"),
            ("0 0 1 1,7 *", "*-01,07-01 00:00:00"),
            ("@daily", "daily"),
        ] {
            assert_eq!(calendar(cron).as_deref(), Some(expected), "{cron}");
        }
        for odd in ["", "x * * * *", "0 0 1 * 1", "0-5 * * * *", "* * *"] {
            assert_eq!(calendar(odd), None, "{odd}");
        }
    }
}
