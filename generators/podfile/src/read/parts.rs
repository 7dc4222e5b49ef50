//! Volumes, ports, credentials, and the unit.

use super::app::RESTARTS;
use super::section::Section;
use crate::grammar;
use crate::pod::{
    Credential, CredentialSource, Port, Protocol, RestartPolicy, Schedule, Unit, Volume, VolumeKind,
};
use crate::support::NOT_SUPPORTED;
use crate::values::credential::parse_credential_source;
use crate::values::name::{parse_path, parse_slice, parse_unit};
use crate::values::{Base, parse_bytes, parse_calendar, parse_listen, parse_time_span};
use std::path::PathBuf;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    State,
    Empty,
    Tmpfs,
    Host,
}

/// Reads one volume.
pub(super) fn volume(name: String, section: &Section<'_>) -> Volume {
    let kinds = [
        ("state", Kind::State),
        ("empty", Kind::Empty),
        ("tmpfs", Kind::Tmpfs),
        ("host", Kind::Host),
    ];
    let kind = section.choice("kind", &kinds);
    if section.node("kind").is_none() {
        section.missing("kind", "kind = \"state\" is kept, \"empty\" is new at each start");
    }
    let source = section.text("source", parse_path);
    let size = section.scalar("size", tmpfs_size);
    let recursive = section.boolean("recursive", true);
    let follow_symlinks = section.boolean("follow-symlinks", false);
    let mode = section.text("mode", mode);
    let uid = section.number("uid", 0, u32::MAX - 1);
    let gid = section.number("gid", 0, u32::MAX - 1);
    let idmap = section.boolean("idmap", true);
    let read_only = section.boolean("read-only", false);

    let only = |key: &str, kinds: &[Kind], what: &str| {
        if let (Some(node), Some(kind)) = (section.node(key), kind)
            && !kinds.contains(&kind)
        {
            section.report.error(node.pos, format!("{key} goes with {what} only"));
        }
    };
    only("source", &[Kind::Host], "kind = \"host\"");
    only("recursive", &[Kind::Host], "kind = \"host\"");
    only("follow-symlinks", &[Kind::Host], "kind = \"host\"");
    only("size", &[Kind::Tmpfs], "kind = \"tmpfs\"");
    for key in ["mode", "uid", "gid"] {
        only(key, &[Kind::State, Kind::Empty, Kind::Tmpfs], "a directory that rocket makes");
    }
    if kind == Some(Kind::Host) && section.node("source").is_none() {
        section.missing("source", "source = \"/path/of/the/host\"");
    }
    let kind = match kind {
        None | Some(Kind::State) => VolumeKind::State,
        Some(Kind::Empty) => VolumeKind::Empty,
        Some(Kind::Tmpfs) => VolumeKind::Tmpfs { size },
        Some(Kind::Host) => {
            let source = PathBuf::from(source.unwrap_or_default());
            VolumeKind::Host { source, recursive, follow_symlinks }
        }
    };
    Volume { name, kind, mode, uid, gid, idmap, read_only }
}

/// To the kernel 0 is no limit, and so is what becomes 0 when it is rounded up to whole pages.
fn tmpfs_size(text: &str) -> Result<u64, String> {
    match parse_bytes(text, Base::Binary)? {
        0 => Err(format!("{text:?} would be no limit; write a size of 1 or more: \"64M\"")),
        size if i64::try_from(size).is_err() => {
            Err(format!("{text:?} is more than a tmpfs can have; write less than \"8E\""))
        }
        size => Ok(size),
    }
}

fn mode(text: &str) -> Result<u32, String> {
    let octal = (3..=5).contains(&text.len()) && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
    match u32::from_str_radix(text, 8) {
        Ok(mode) if octal && mode <= 0o7777 => Ok(mode),
        _ => Err(format!("{text:?} is not a mode; write it in octal: \"0755\"")),
    }
}

/// Reads one port; `None` when anything of it is wrong. What is right in a broken file goes on
/// listening, and of a port without its `listen` that would be every address of the host.
pub(super) fn port(name: String, section: &Section<'_>) -> Option<Port> {
    let before = section.report.count();
    for key in ["app", "port"] {
        if section.node(key).is_none() {
            section.missing(key, "");
        }
    }
    let activation = section.boolean("activation", false);
    if let (Some(node), false) = (section.node("listen"), activation) {
        let message = format!("listen without activation = true {NOT_SUPPORTED}");
        let hint = "systemd listens, and the app gets the socket: activation = true".to_owned();
        section.report.error_with(node.pos, message, Some(hint));
    }
    let protocols = [("tcp", Protocol::Tcp), ("udp", Protocol::Udp)];
    let number = section.number("port", 1, 65535).and_then(|port| u16::try_from(port).ok());
    let port = Port {
        name,
        app: section.text("app", |text| Ok(text.to_owned())).unwrap_or_default(),
        port: number.unwrap_or(0),
        protocol: section.choice("protocol", &protocols).unwrap_or(Protocol::Tcp),
        listen: section.list("listen", parse_listen).unwrap_or_default(),
        activation,
    };
    (!section.is_flawed() && section.report.count() == before).then_some(port)
}

/// Reads `[credentials]`.
pub(super) fn credentials(top: &Section<'_>) -> Vec<Credential> {
    let sections = top.named("credentials", grammar::CREDENTIAL);
    sections.into_iter().filter_map(|(name, section)| credential(name, &section)).collect()
}

fn credential(name: String, section: &Section<'_>) -> Option<Credential> {
    let sources = grammar::CREDENTIAL;
    if sources.iter().filter(|key| section.node(key).is_some()).count() != 1 {
        let message = "a credential takes exactly one of load, load-encrypted and set";
        section.report.error(section.pos, message);
        return None;
    }
    let text = |key| section.text(key, parse_credential_source);
    let set = || {
        let node = section.node("set")?;
        let text = section.report.string(node, "set")?;
        if text.is_empty() {
            // SetCredential= has no word for it.
            let message = "a credential of no byte cannot be given to a unit";
            let hint = "leave it out, or load = an empty file".to_owned();
            section.report.error_with(node.pos, message, Some(hint));
            return None;
        }
        Some(text.to_owned())
    };
    let source = text("load")
        .map(CredentialSource::Load)
        .or_else(|| text("load-encrypted").map(CredentialSource::LoadEncrypted))
        .or_else(|| set().map(CredentialSource::Set))?;
    Some(Credential { name, source })
}

/// Reads `[unit]`.
pub(super) fn unit(top: &Section<'_>) -> Unit {
    let default = Unit::default();
    let Some(section) = top.section("unit", "unit", grammar::UNIT) else { return default };
    let units = |key| section.list(key, parse_unit).unwrap_or_default();
    let time = |key| section.scalar(key, parse_time_span);
    Unit {
        after: units("after"),
        before: units("before"),
        requires: units("requires"),
        wants: units("wants"),
        conflicts: units("conflicts"),
        restart: section.choice("restart", RESTARTS).unwrap_or(RestartPolicy::OnFailure),
        restart_sec: time("restart-sec").unwrap_or(default.restart_sec),
        start_timeout: time("start-timeout").unwrap_or(default.start_timeout),
        stop_timeout: time("stop-timeout"),
        slice: section.text("slice", parse_slice),
        machine: section.boolean("machine", false),
        app_scopes: section.boolean("app-scopes", false),
    }
}

/// Reads `[schedule]`.
pub(super) fn schedule(top: &Section<'_>) -> Option<Schedule> {
    let section = top.section("schedule", "schedule", grammar::SCHEDULE)?;
    let time = |key| section.scalar(key, parse_time_span);
    let schedule = Schedule {
        calendar: section.list("calendar", parse_calendar).unwrap_or_default(),
        after_boot: time("after-boot"),
        every: time("every"),
        persistent: section.boolean("persistent", false),
        random_delay: time("random-delay"),
        accuracy: time("accuracy"),
    };
    let when = ["calendar", "after-boot", "every"];
    if when.iter().all(|key| section.node(key).is_none()) {
        let message = "a schedule says when: calendar, after-boot or every";
        let hint = "calendar = [\"*-*-* 03:00\"]".to_owned();
        section.report.error_with(section.pos, message, Some(hint));
    }
    if let (true, Some(node)) = (schedule.calendar.is_empty(), section.node("persistent")) {
        section.report.error(node.pos, "persistent goes with calendar only");
    }
    Some(schedule)
}
