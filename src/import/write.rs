//! From a sheet to a pod file that the grammar takes.

use super::sheet::{Published, Section, Sheet, name_of};
use super::value::{Value, bare_or_quoted};
use super::{File, ImportError, Kind, Loss, Place};
use std::path::Path;

/// Keys whose loss would weaken a pod or make it another one: what is wrong with them is an error.
const NEVER_LOST: &[&str] = &[
    "image",
    "exec",
    "user",
    "group",
    "supplementary-groups",
    "capabilities",
    "no-new-privileges",
    "read-only",
    "seccomp",
    "apparmor",
    "selinux",
    "kind",
    "source",
];
/// Lines of comments are not longer.
const WIDTH: usize = 110;
/// Each round takes at least one key out.
const MOST_ROUNDS: usize = 1000;

/// Writes one pod file. `general` are losses of the input that belong to no pod.
pub(super) fn write(kind: Kind, sheet: &mut Sheet, general: &[Loss]) -> Result<File, ImportError> {
    network(sheet);
    names(sheet);
    unit(sheet);
    for _ in 0..MOST_ROUNDS {
        let (plain, lines) = render(kind, sheet, general, false);
        let name = format!("{}.toml", sheet.name);
        let Err(diagnostics) = rocket_podfile::parse(Path::new(&name), &plain) else {
            let at = if sheet.template { "@" } else { "" };
            let (text, _) = render(kind, sheet, general, sheet.template);
            return Ok(File { name: format!("{}{at}.toml", sheet.name), text });
        };
        for diagnostic in diagnostics {
            let at = lines.iter().rev().find(|(line, ..)| *line <= diagnostic.line);
            let Some((_, title, key)) = at else {
                return Err(ImportError::new(&sheet.place, diagnostic.message));
            };
            refused(sheet, title, key.as_deref(), &diagnostic.message)?;
        }
    }
    Err(ImportError::new(&sheet.place, "too much of this is nothing a pod file can say"))
}

/// Makes a key, or a whole section, that the grammar refuses a loss.
fn refused(
    sheet: &mut Sheet,
    title: &str,
    key: Option<&str>,
    message: &str,
) -> Result<(), ImportError> {
    let pod = sheet.place.clone();
    let section = sheet.section(title);
    let whole = key.is_none();
    let index = section.entries.iter().position(|entry| whole || Some(entry.key.as_str()) == key);
    let Some(index) = index else {
        return Err(ImportError::new(&pod, message));
    };
    let vital = title.starts_with("app.") && title.matches('.').count() == 1
        || title.starts_with("volume.")
        || title.is_empty();
    let entry = section.entries[index].clone();
    if whole && vital || NEVER_LOST.contains(&entry.key.as_str()) || title.ends_with(".mounts") {
        return Err(ImportError::new(&entry.place, format!("{}: {message}", entry.key))
            .hint("rocket cannot carry this, and without it the pod would be another one"));
    }
    let removed: Vec<_> = if whole {
        section.entries.drain(..).collect()
    } else {
        vec![section.entries.remove(index)]
    };
    for entry in removed {
        let key = if title.is_empty() { entry.key } else { format!("{title}.{}", entry.key) };
        sheet.lose(title, &entry.place, &key, message, "");
    }
    Ok(())
}

/// Which network, and what becomes of the ports.
fn network(sheet: &mut Sheet) {
    let networks = std::mem::take(&mut sheet.networks);
    let published = std::mem::take(&mut sheet.published);
    let all_none = !networks.is_empty() && networks.iter().all(|(_, wish, _)| *wish == "none");
    let word = if all_none { "none" } else { "host" };
    let place = sheet.place.clone();
    sheet.section("").entries.retain(|entry| entry.key != "network");
    sheet.set("", "network", word, &place);
    if let (false, Some((_, _, place))) =
        (all_none, networks.iter().find(|(_, wish, _)| *wish == "own"))
    {
        let why = "the pod is on the host's network: what its apps listen on, the host listens on, for all \
                   that can reach it";
        let todo = "have the apps listen on 127.0.0.1 only, or a firewall; network = \"none\" where no network \
                    is needed. Networks of a pod's own, with published ports, are not there yet";
        sheet.lose("", place, "network", why, todo);
    }
    if !all_none {
        for (app, _, place) in networks.iter().filter(|(_, wish, _)| *wish == "none") {
            let why = format!("{app} was to have no network, and the apps of a pod share one");
            let todo = "make it a pod of its own, with network = \"none\"";
            sheet.lose(&format!("app.{app}"), place, "network=none", &why, todo);
        }
    }
    for port in &published {
        publish(sheet, port, all_none);
    }
}

fn publish(sheet: &mut Sheet, port: &Published, none: bool) {
    let Published { app, address, host, port: number, udp, key, place } = port;
    let protocol = if *udp { "udp" } else { "tcp" };
    let at = format!("app.{app}");
    if none {
        return sheet.lose(
            &at,
            place,
            key,
            "a pod without a network publishes nothing",
            "activation = true",
        );
    }
    if *number < 1024 {
        let why = format!(
            "on the host's network an app cannot bind port {number}: that is for the host's own root"
        );
        let todo = "have the app listen on a port from 1024 on; or, if it takes sockets of systemd, \
                    [port.NAME] with activation = true";
        return sheet.lose(&at, place, key, &why, todo);
    }
    let other = sheet
        .sections
        .iter()
        .filter(|section| section.title.starts_with("port."))
        .find(|section| {
            let has = |key: &str, value: &Value| {
                section.entries.iter().any(|entry| entry.key == key && entry.value == *value)
            };
            let same =
                if *udp { has("protocol", &"udp".into()) } else { !has("protocol", &"udp".into()) };
            same && has("port", &i64::from(*number).into())
        })
        .map(|section| section.title.clone());
    let title = match other {
        Some(title) if sheet.get(&title, "app") == Some(&Value::from(app.as_str())) => title,
        Some(_) => {
            let why = format!(
                "another app of the pod listens on {number}/{protocol}, and they share the network"
            );
            return sheet.lose(&at, place, key, &why, "have one of them listen elsewhere");
        }
        None => {
            let title = format!(
                "port.{}",
                name_of(&format!("{app}-{number}{}", if *udp { "-udp" } else { "" }))
            );
            sheet.set(&title, "app", app.as_str(), place);
            sheet.set(&title, "port", i64::from(*number), place);
            if *udp {
                sheet.set(&title, "protocol", "udp", place);
            }
            title
        }
    };
    match host {
        Some(host) if host == number => {}
        Some(host) => {
            let why = format!(
                "the host's port {host} is not led to {number}: the app is reached on {number}"
            );
            let todo = format!(
                "have the app listen on {host}; or, if it takes sockets of systemd: listen = [\"{host}\"], \
                 activation = true"
            );
            sheet.lose(&title, place, key, &why, &todo);
        }
        None => {
            let why = format!("no port of the host's is chosen: the app is reached on {number}");
            sheet.lose(&title, place, key, &why, "");
        }
    }
    if let Some(address) = address {
        let why = format!("the app itself says on which addresses it listens, not only {address}");
        sheet.lose(&title, place, key, &why, "have it listen on that address, or a firewall");
    }
}

/// Apps that knew each other by name find each other on the loopback.
fn names(sheet: &mut Sheet) {
    if sheet.apps.len() < 2 {
        for (key, place) in std::mem::take(&mut sheet.aliases) {
            let todo = "hosts.NAME = \"127.0.0.1\" in the pod that asks for it";
            sheet.lose("", &place, &key, "other pods do not know this one by a name", todo);
        }
        return;
    }
    let place = sheet.place.clone();
    for name in std::mem::take(&mut sheet.host_names) {
        if sheet.get("hosts", &name).is_none() {
            sheet.set("hosts", &name, "127.0.0.1", &place);
        }
    }
    sheet.note("hosts", "the apps share one network: their names are the loopback");
}

/// The unit restarts the pod when its apps were to be restarted.
fn unit(sheet: &mut Sheet) {
    let place = sheet.place.clone();
    if sheet.get("unit", "restart").is_none() {
        let has = |policy: &str| sheet.restarts.contains(&policy);
        if has("always") {
            sheet.set("unit", "restart", "always", &place);
        } else if !has("on-failure") {
            sheet.set("unit", "restart", "no", &place);
        }
    }
}

/// Where sections stand.
fn rank(sheet: &Sheet, title: &str) -> (usize, usize) {
    const ORDER: [&str; 11] = [
        "",
        "app",
        "volume",
        "port",
        "limits",
        "security",
        "sysctls",
        "dns",
        "hosts",
        "credentials",
        "unit",
    ];
    let mut parts = title.split('.');
    let first = parts.next().unwrap_or_default();
    let app = parts.next().and_then(|name| sheet.apps.iter().position(|app| app == name));
    (ORDER.iter().position(|word| *word == first).unwrap_or(ORDER.len()), app.unwrap_or(0))
}

/// The text, and for each line with a header or a key which one it is.
fn render(
    kind: Kind,
    sheet: &Sheet,
    general: &[Loss],
    template: bool,
) -> (String, Vec<(usize, String, Option<String>)>) {
    let mut out = Out::default();
    let origin = sheet.place.file.rsplit('/').next().unwrap_or_default();
    let at = if sheet.template { "@" } else { "" };
    let instance = if sheet.template { "@INSTANCE" } else { "" };
    out.comment("", &format!("Imported from {origin} ({}).", kind.title()));
    out.comment(
        "",
        &format!(
            "Put it into /etc/rocket/pods/{}{at}.toml, rocket fetch its images, then: systemctl daemon-reload && \
             systemctl enable --now rocket@{}{instance}",
            sheet.name, sheet.name
        ),
    );
    out.comment("", "What an app writes outside of its volumes is gone when the pod ends.");
    for loss in general {
        out.loss(loss);
    }
    let mut sections: Vec<&Section> = sheet.sections.iter().collect();
    sections.sort_by_key(|section| rank(sheet, &section.title));
    for section in sections {
        if section.entries.is_empty() && section.losses.is_empty() {
            continue;
        }
        out.line("");
        let title = section.title.as_str();
        if title.is_empty() {
            out.line("version = 1");
        } else if !section.entries.is_empty() {
            let header: Vec<String> = title.split('.').map(bare_or_quoted).collect();
            out.line(&format!("[{}]", header.join(".")));
            out.lines.push((out.number, title.to_owned(), None));
            for note in &section.notes {
                out.comment("", note);
            }
        }
        for entry in &section.entries {
            let value = entry.value.render(template);
            out.line(&format!("{} = {value}", bare_or_quoted(&entry.key)));
            out.lines.push((out.number, title.to_owned(), Some(entry.key.clone())));
        }
        for loss in &section.losses {
            out.loss(loss);
        }
    }
    (out.text, out.lines)
}

#[derive(Default)]
struct Out {
    text: String,
    number: usize,
    lines: Vec<(usize, String, Option<String>)>,
}

impl Out {
    fn line(&mut self, text: &str) {
        self.text.push_str(text);
        self.text.push('\n');
        self.number += 1;
    }

    /// A comment, broken into lines; what would end it early is shown, not obeyed.
    fn comment(&mut self, indent: &str, text: &str) {
        let mut line = format!("#{indent}");
        for word in text.split_whitespace() {
            let word: String = word
                .chars()
                .map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c })
                .collect();
            if line.chars().count() + 1 + word.chars().count() > WIDTH
                && line.len() > indent.len() + 1
            {
                self.line(&line);
                line = format!("#{indent}  ");
            }
            line.push(' ');
            line.push_str(&word);
        }
        self.line(&line);
    }

    fn loss(&mut self, loss: &Loss) {
        self.comment("", &sentence(loss));
    }
}

/// A loss in one line, without its file.
fn sentence(loss: &Loss) -> String {
    let Place { line, .. } = loss.place;
    let todo = if loss.todo.is_empty() { String::new() } else { format!(" ({})", loss.todo) };
    format!("NOT CARRIED: {} (line {line}): {}{todo}", loss.key, loss.why)
}
