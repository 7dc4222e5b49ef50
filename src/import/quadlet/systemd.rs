//! `[Unit]`, `[Service]` and `[Install]`.

use super::Units;
use crate::import::container::AGAIN;
use crate::import::sheet::Sheet;
use crate::import::unit_file::Line;

/// Resource limits of systemd's that a pod file has under its own spelling.
const LIMITS: &[(&str, &str)] = &[
    ("AllowedCPUs", "allowed-cpus"),
    ("CPUQuota", "cpu-quota"),
    ("CPUWeight", "cpu-weight"),
    ("IOWeight", "io-weight"),
    ("MemoryHigh", "memory-high"),
    ("MemoryLow", "memory-low"),
    ("MemoryMax", "memory-max"),
    ("MemorySwapMax", "memory-swap-max"),
    ("TasksMax", "tasks-max"),
];

/// What the unit of a whole pod says.
pub(super) fn unit(sheet: &mut Sheet, units: &Units, lines: &[Line]) {
    for line in lines {
        let (key, value, place) = (line.key.as_str(), line.value.as_str(), &line.place);
        let mut lose = |why: &str, todo: &str| sheet.lose("unit", place, key, why, todo);
        match (line.section.as_str(), key) {
            ("Container" | "Pod", _) => {}
            ("Unit", "Description") => sheet.set("", "description", value, place),
            ("Unit", "After" | "Before" | "Requires" | "Wants" | "Conflicts") => {
                dependencies(sheet, units, &key.to_ascii_lowercase(), line);
            }
            ("Unit", "BindsTo" | "Requisite") => {
                dependencies(sheet, units, "requires", line);
                let why = "carried as requires, which does not stop the pod when the other goes by itself";
                sheet.lose("unit", place, key, why, "systemctl edit rocket@NAME");
            }
            ("Unit", _) => lose("not one of the keys of [unit]", "systemctl edit rocket@NAME"),
            ("Install", "WantedBy") => {
                let usual = ["multi-user.target", "default.target"];
                if !value.split_whitespace().all(|target| usual.contains(&target)) {
                    let todo = "systemctl add-wants TARGET rocket@NAME";
                    lose("enabled, a pod is wanted by multi-user.target", todo);
                }
            }
            ("Install", _) => {
                lose("a pod is enabled as an instance of rocket@.service", "systemctl edit")
            }
            ("Service", "Restart") => match value {
                "no" | "always" | "on-failure" => sheet.set("unit", "restart", value, place),
                "on-abnormal" | "on-abort" | "on-watchdog" => {
                    sheet.set("unit", "restart", "on-failure", place);
                    let why = format!("{value} became on-failure, which is more");
                    sheet.lose("unit", place, key, &why, "");
                }
                _ => {
                    sheet.set("unit", "restart", "always", place);
                    sheet.lose("unit", place, key, &format!("{value} became always"), "");
                }
            },
            ("Service", "RestartSec") => sheet.set("unit", "restart-sec", value, place),
            ("Service", "TimeoutStartSec") => sheet.set("unit", "start-timeout", value, place),
            ("Service", "TimeoutStopSec") => sheet.set("unit", "stop-timeout", value, place),
            ("Service", "TimeoutSec") => {
                sheet.set("unit", "start-timeout", value, place);
                sheet.set("unit", "stop-timeout", value, place);
            }
            ("Service", "Slice") => sheet.set("unit", "slice", value, place),
            ("Service", "Type") if value == "oneshot" || value == "notify" => {}
            ("Service", "RemainAfterExit") => lose("a pod is over when its apps are", ""),
            ("Service", "Environment" | "EnvironmentFile") => {
                lose("that is podman's own environment, not the app's", "environment of the app");
            }
            (
                "Service",
                "ExecStartPre" | "ExecStartPost" | "ExecStopPost" | "ExecReload" | "ExecStop",
            ) => {
                lose(
                    "a command of the host",
                    "systemctl edit rocket@NAME, or a oneshot app before this one",
                );
            }
            ("Service", name) => match LIMITS.iter().find(|(limit, _)| *limit == name) {
                Some((_, limit)) => sheet.set("limits", limit, value, place),
                None => lose("not one of the keys of [unit]", "systemctl edit rocket@NAME"),
            },
            ("Quadlet", "DefaultDependencies") => lose("the unit is rocket's template", ""),
            _ => lose("unknown key", ""),
        }
    }
}

fn dependencies(sheet: &mut Sheet, units: &Units, key: &str, line: &Line) {
    for name in line.value.split_whitespace() {
        if units.is_helper(name) {
            continue;
        }
        let name = match units.pod_of(name) {
            Some(pod) if pod == sheet.name => continue,
            Some(pod) => format!("pod:{pod}"),
            None => match name.rsplit_once('.') {
                // Quadlet's own names for units: `db.container`.
                Some((stem, "container" | "pod")) => match units.pod_of(&format!("{stem}.service"))
                {
                    Some(pod) if pod == sheet.name => continue,
                    Some(pod) => format!("pod:{pod}"),
                    None => format!("pod:{}", crate::import::sheet::name_of(stem)),
                },
                _ => name.to_owned(),
            },
        };
        sheet.push("unit", key, name, &line.place);
    }
}

/// What the unit of one container of a pod says: order among the apps, and how it is restarted.
pub(super) fn member(sheet: &mut Sheet, units: &Units, at: &str, pod: &str, lines: &[Line]) {
    for line in lines {
        let (key, value, place) = (line.key.as_str(), line.value.as_str(), &line.place);
        match (line.section.as_str(), key) {
            ("Container", _) => {}
            ("Unit", "After" | "Requires" | "Wants" | "BindsTo") => {
                for name in value.split_whitespace() {
                    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
                    let other = units.all.get(&format!("{stem}.container"));
                    let inside =
                        other.is_some_and(|other| other.last("Container", "Pod") == Some(pod));
                    if inside {
                        let key = if key == "After" { "after" } else { "requires" };
                        let key = if line.key == "Wants" { "after" } else { key };
                        sheet.push(at, key, crate::import::sheet::name_of(stem), place);
                    } else if !units.is_helper(name) {
                        let line = super::Line { value: name.to_owned(), ..line.clone() };
                        let key = key.to_ascii_lowercase().replace("bindsto", "requires");
                        dependencies(sheet, units, &key, &line);
                    }
                }
            }
            ("Service", "Restart") => {
                let policy = match value {
                    "no" => "no",
                    "always" => "always",
                    _ => "on-failure",
                };
                let oneshot = sheet.get(at, "kind").is_some();
                let policy = match policy {
                    "always" if oneshot => {
                        sheet.lose(at, place, key, AGAIN, "[schedule]");
                        "on-failure"
                    }
                    policy => policy,
                };
                if policy != "no" {
                    sheet.set(at, "restart", policy, place);
                    sheet.restarts.push(policy);
                }
            }
            ("Service", "RestartSec") => sheet.set(at, "restart-delay", value, place),
            ("Service", "TimeoutStopSec") => sheet.set(at, "stop-timeout", value, place),
            ("Service", "Type") if value == "oneshot" || value == "notify" => {}
            ("Unit", "Description") => {
                sheet.lose(at, place, key, &format!("an app has none: {value:?}"), "");
            }
            ("Service", name) => match LIMITS.iter().find(|(limit, _)| *limit == name) {
                Some((_, limit)) => sheet.set(&format!("{at}.limits"), limit, value, place),
                None => sheet.lose(at, place, key, "an app of a pod has no unit of its own", ""),
            },
            _ => sheet.lose(at, place, key, "an app of a pod has no unit of its own", ""),
        }
    }
}
