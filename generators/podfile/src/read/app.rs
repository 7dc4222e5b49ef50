//! `[app.NAME]`.

use super::limits::limits;
use super::section::Section;
use crate::app::{Account, App, AppKind, AppMount, Health, Probe, Ready, RestartLimit};
use crate::grammar;
use crate::pod::RestartPolicy;
use crate::tree::{Node, Value};
use crate::values::name::{parse_name, parse_path};
use crate::values::{parse_duration, parse_signal};
use std::path::PathBuf;
use std::time::Duration;

/// Values of `restart`, of apps and of the unit.
pub(super) const RESTARTS: &[(&str, RestartPolicy)] = &[
    ("no", RestartPolicy::No),
    ("on-failure", RestartPolicy::OnFailure),
    ("always", RestartPolicy::Always),
];

/// Reads one app.
pub(super) fn app(name: String, section: &Section<'_>) -> App {
    let image = section.text("image", image);
    if section.node("image").is_none() {
        section.missing("image", "image = \"example.com/app:1.0\"");
    }
    if let (Some(kind), Some(restart)) = (section.node("kind"), section.node("restart"))
        && is(kind, "oneshot")
        && is(restart, "always")
    {
        let message = "a oneshot with restart = \"always\" would never be done";
        section.report.error_with(restart.pos, message, Some("\"on-failure\"".to_owned()));
    }
    let seconds = |key, default| section.scalar(key, parse_duration).unwrap_or(default);
    App {
        image: image.unwrap_or_default(),
        exec: section.node("exec").and_then(|node| command(section, node, "exec")),
        user: section.scalar("user", |text| account(text, "user")),
        group: section.scalar("group", |text| account(text, "group")),
        supplementary_groups: section
            .scalars("supplementary-groups", |text| account(text, "group")),
        working_directory: section.text("working-directory", parse_path),
        environment: environment(section),
        environment_files: section
            .list("environment-files", |text| parse_path(text).map(PathBuf::from))
            .unwrap_or_default(),
        pre_start: handler(section, "pre-start"),
        post_stop: handler(section, "post-stop"),
        kind: section
            .choice("kind", &[("service", AppKind::Service), ("oneshot", AppKind::Oneshot)])
            .unwrap_or(AppKind::Service),
        after: section.list("after", parse_name).unwrap_or_default(),
        requires: section.list("requires", parse_name).unwrap_or_default(),
        restart: section.choice("restart", RESTARTS).unwrap_or(RestartPolicy::No),
        restart_delay: seconds("restart-delay", Duration::from_millis(100)),
        restart_max_delay: seconds("restart-max-delay", Duration::from_secs(60)),
        restart_limit: section
            .text("restart-limit", restart_limit)
            .unwrap_or(RestartLimit { count: 5, window: Duration::from_secs(600) }),
        ready: ready(section, &name),
        health: health(section, &name),
        stop_signal: section.scalar("stop-signal", parse_signal),
        stop_timeout: seconds("stop-timeout", Duration::from_secs(10)),
        credentials: section.list("credentials", parse_name).unwrap_or_default(),
        mounts: mounts(section, &name),
        limits: limits(section, &format!("app.{name}.limits")),
        security: super::security::security(section, &name),
        name,
    }
}

fn is(node: &Node, word: &str) -> bool {
    matches!(&node.value, Value::String(text) if text == word)
}

fn image(text: &str) -> Result<String, String> {
    if text.is_empty() || text.contains(char::is_whitespace) {
        return Err(format!("{text:?} is not an image: it is empty or has blanks"));
    }
    Ok(text.to_owned())
}

fn command(section: &Section<'_>, node: &Node, key: &str) -> Option<Vec<String>> {
    let words = section.report.strings(node, key)?;
    match words.first() {
        None => section.report.error(node.pos, format!("{key} is empty")),
        Some((pos, "")) => section.report.error(*pos, format!("the program of {key} is empty")),
        Some(_) => {}
    }
    Some(words.into_iter().map(|(_, word)| word.to_owned()).collect())
}

/// A command, or an empty list for none.
fn handler(section: &Section<'_>, key: &str) -> Option<Vec<String>> {
    let node = section.node(key)?;
    match &node.value {
        Value::Array(items) if items.is_empty() => Some(Vec::new()),
        _ => command(section, node, key),
    }
}

fn account(text: &str, what: &str) -> Result<Account, String> {
    let bad = || {
        format!(
            "{text:?} is not a {what}; write a name, a number, or a path of the image whose owner is meant"
        )
    };
    if text.bytes().all(|b| b.is_ascii_digit()) {
        // The last number means "no change" to the kernel.
        return match text.parse::<u32>() {
            Ok(id) if id != u32::MAX => Ok(Account::Id(id)),
            _ => Err(bad()),
        };
    }
    if text.starts_with('/') {
        return parse_path(text).map(Account::Name);
    }
    let odd = |c: char| c.is_whitespace() || c == ':' || c == '/' || c == ',';
    if text.starts_with('-') || text.contains(odd) || text.len() > 256 {
        return Err(bad());
    }
    Ok(Account::Name(text.to_owned()))
}

fn environment(section: &Section<'_>) -> Vec<(String, String)> {
    let report = section.report;
    let Some(node) = section.node("environment") else { return Vec::new() };
    let Value::Table(table) = &node.value else {
        report.expected(node, "environment", "a table, { NAME = \"value\" }");
        return Vec::new();
    };
    let mut variables = Vec::new();
    for (name, entry) in &table.entries {
        if name.is_empty() || name.contains('=') || name.chars().any(char::is_control) {
            report.error(entry.key, format!("{name:?} is not the name of a variable"));
        }
        if let Some(value) = report.string(&entry.node, &format!("the variable {name:?}")) {
            variables.push((name.clone(), value.to_owned()));
        }
    }
    variables
}

/// Reads `5/10min`.
fn restart_limit(text: &str) -> Result<RestartLimit, String> {
    let bad = || format!("{text:?} is not a limit; write COUNT/TIME: \"5/10min\"");
    let (count, window) = text.split_once('/').ok_or_else(bad)?;
    let count = count.trim().parse::<u32>().map_err(|_| bad())?;
    let window = parse_duration(window).map_err(|_| bad())?;
    if count == 0 || window.is_zero() { Err(bad()) } else { Ok(RestartLimit { count, window }) }
}

fn ready(section: &Section<'_>, name: &str) -> Ready {
    match section.node("ready") {
        None => Ready::Exec,
        Some(Node { value: Value::Table(_), .. }) => section
            .section("ready", &format!("app.{name}.ready"), grammar::READY)
            .and_then(|keys| probe(&keys, "ready"))
            .map_or(Ready::Exec, Ready::Probe),
        Some(Node { value: Value::String(text), .. }) if text == "exec" => Ready::Exec,
        Some(Node { value: Value::String(text), .. }) if text == "notify" => Ready::Notify,
        Some(node) => {
            let what = "\"exec\", \"notify\", { tcp = PORT }, { http = PORT } or { command = […] }";
            section.report.error(node.pos, format!("ready is one of {what}"));
            Ready::Exec
        }
    }
}

fn health(section: &Section<'_>, name: &str) -> Option<Health> {
    let keys = section.section("health", &format!("app.{name}.health"), grammar::HEALTH)?;
    let probe = probe(&keys, "health");
    let time = |key, default| keys.scalar(key, parse_duration).unwrap_or(default);
    let interval = time("interval", Duration::from_secs(30));
    let timeout = time("timeout", Duration::from_secs(5));
    let retries = keys.number("retries", 1, 1000).unwrap_or(3);
    Some(Health { probe: probe?, interval, timeout, retries })
}

fn probe(keys: &Section<'_>, what: &str) -> Option<Probe> {
    let port = |key| keys.number(key, 1, 65535).and_then(|port| u16::try_from(port).ok());
    let kinds = ["tcp", "http", "command"];
    if kinds.iter().filter(|kind| keys.node(kind).is_some()).count() != 1 {
        let message = format!("{what} takes exactly one of tcp, http and command");
        keys.report.error(keys.pos, message);
        return None;
    }
    if let Some(node) = keys.node("path").filter(|_| keys.node("http").is_none()) {
        keys.report.error(node.pos, "path goes with http only");
    }
    if keys.node("tcp").is_some() {
        return port("tcp").map(Probe::Tcp);
    }
    if let Some(node) = keys.node("command") {
        return command(keys, node, "command").map(Probe::Command);
    }
    let path = keys.text("path", |text| {
        let fine = text.starts_with('/') && !text.contains(char::is_whitespace);
        if fine { Ok(text.to_owned()) } else { Err(format!("{text:?} is not a path of a URL")) }
    });
    port("http").map(|port| Probe::Http { port, path: path.unwrap_or_else(|| "/".to_owned()) })
}

fn mounts(section: &Section<'_>, name: &str) -> Vec<AppMount> {
    let report = section.report;
    let Some(node) = section.node("mounts") else { return Vec::new() };
    let Value::Table(table) = &node.value else {
        report.expected(node, "mounts", "a table, { \"/path\" = \"volume\" }");
        return Vec::new();
    };
    let mut mounts: Vec<AppMount> = Vec::new();
    for (target, entry) in &table.entries {
        let Some(target) = report.take(entry.key, mount_target(target)) else { continue };
        let title = format!("app.{name}.mounts.{target:?}");
        let (volume, read_only) = match &entry.node.value {
            Value::String(volume) => (report.take(entry.node.pos, parse_name(volume)), false),
            Value::Table(_) => {
                let Some(keys) = Section::open(report, &entry.node, &title, grammar::MOUNT) else {
                    continue;
                };
                if keys.node("volume").is_none() {
                    keys.missing("volume", "");
                }
                (keys.text("volume", parse_name), keys.boolean("read-only", false))
            }
            _ => {
                report.expected(&entry.node, "a mount", "a volume's name or a table");
                continue;
            }
        };
        if mounts.iter().any(|mount| mount.target == target) {
            report.error(entry.key, format!("{target:?} is mounted twice"));
        }
        let Some(volume) = volume else { continue };
        mounts.push(AppMount { target, volume, read_only });
    }
    mounts.sort_by(|a, b| a.target.cmp(&b.target));
    mounts
}

fn mount_target(text: &str) -> Result<String, String> {
    let path = parse_path(text)?;
    let taken = ["/", "/dev", "/proc", "/sys"].contains(&path.as_str())
        || (path.starts_with("/dev/") && path != "/dev/shm")
        || path.starts_with("/proc/")
        || path.starts_with("/sys/");
    if taken { Err(format!("{text:?} cannot be a volume: it is rocket's own")) } else { Ok(path) }
}
