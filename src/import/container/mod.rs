//! One container, said in the words of `docker run`; all other ways to say it come down to these.

mod mounts;
mod options;
mod ports;

pub(super) use mounts::{Mount, begins_empty, declared};
pub(super) use options::is_known;
pub(super) use ports::range;

use super::reference::reference;
use super::scalar::{cpu_quota, size_text};
use super::sheet::Sheet;
use super::value::Value;
use super::{ImportError, Options, Place};
use std::collections::BTreeSet;

/// Why `always` is less for what has to end.
pub(super) const AGAIN: &str = "an app that has to end is started again only when it failed";

/// What the container's program gives without being asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Docker,
    Podman,
    Kubernetes,
}

/// The capabilities Docker gives by default, which are those that an app may have.
const DOCKER: [&str; 14] = [
    "audit-write",
    "chown",
    "dac-override",
    "fowner",
    "fsetid",
    "kill",
    "mknod",
    "net-bind-service",
    "net-raw",
    "setfcap",
    "setgid",
    "setpcap",
    "setuid",
    "sys-chroot",
];
/// Those of Docker's that Podman does not give.
const NOT_PODMAN: [&str; 3] = ["audit-write", "mknod", "net-raw"];

/// A repeated probe.
#[derive(Clone, Debug, Default)]
struct Health {
    probe: Option<(String, Value)>,
    more: Vec<(String, Value)>,
    place: Option<Place>,
}

/// An app in the making.
pub(super) struct Container<'a> {
    pub(super) sheet: &'a mut Sheet,
    pub(super) options: &'a Options,
    pub(super) source: Source,
    /// The app's name.
    pub(super) name: String,
    /// `app.NAME`.
    pub(super) at: String,
    /// Where the container begins in the input.
    pub(super) place: Place,
    /// What stands before the name of a key in messages: `services.web.`.
    pub(super) prefix: String,
    /// What a container leaves behind goes with it.
    pub(super) throw_away: bool,
    entrypoint: Option<(Vec<String>, Place)>,
    command: Option<(Vec<String>, Place)>,
    add: Vec<(String, Place)>,
    drop: Vec<(String, Place)>,
    memory: Option<u64>,
    swap: Option<(String, Place)>,
    cpu_quota: Option<(u64, Place)>,
    cpu_period: Option<(u64, Place)>,
    health: Health,
    restart: Option<(&'static str, Place)>,
    network: Option<(&'static str, Place)>,
    read_only_tmpfs: bool,
}

impl<'a> Container<'a> {
    pub(super) fn new(
        sheet: &'a mut Sheet,
        options: &'a Options,
        source: Source,
        name: &str,
        place: &Place,
    ) -> Self {
        let name = sheet.app(name, place);
        Self {
            at: format!("app.{name}"),
            sheet,
            options,
            source,
            name,
            place: place.clone(),
            prefix: String::new(),
            throw_away: false,
            entrypoint: None,
            command: None,
            add: Vec::new(),
            drop: Vec::new(),
            memory: None,
            swap: None,
            cpu_quota: None,
            cpu_period: None,
            health: Health::default(),
            restart: None,
            network: None,
            read_only_tmpfs: source == Source::Podman,
        }
    }

    pub(super) fn lose(&mut self, place: &Place, key: &str, why: &str, todo: &str) {
        let key = format!("{}{key}", self.prefix);
        self.sheet.lose(&self.at, place, &key, why, todo);
    }

    pub(super) fn set(&mut self, key: &str, value: impl Into<Value>, place: &Place) {
        self.sheet.set(&self.at, key, value, place);
    }

    pub(super) fn security(&mut self, key: &str, value: impl Into<Value>, place: &Place) {
        self.sheet.set(&format!("{}.security", self.at), key, value, place);
    }

    pub(super) fn limit(&mut self, key: &str, value: impl Into<Value>, place: &Place) {
        self.sheet.set(&format!("{}.limits", self.at), key, value, place);
    }

    pub(super) fn env(&mut self, name: &str, value: &str, place: &Place) {
        self.sheet.set(&format!("{}.environment", self.at), name, value, place);
    }

    pub(super) fn image(&mut self, image: &str, place: &Place) {
        let (reference, local) = reference(image, &self.options.images);
        if local {
            let todo = "bring it over with podman save --format oci-dir and rocket fetch oci:DIR, and import \
                        with --image OLD=NEW";
            self.lose(place, "image", "built on this machine: no registry has it", todo);
        }
        self.set("image", reference, place);
    }

    /// The program, before what [`Self::command`] gives. Docker forgets the image's `CMD` with it.
    pub(super) fn entrypoint(&mut self, words: Vec<String>, place: &Place) {
        self.entrypoint = Some((words, place.clone()));
    }

    pub(super) fn command(&mut self, words: Vec<String>, place: &Place) {
        self.command = Some((words, place.clone()));
    }

    /// A name by which others reach it.
    pub(super) fn alias(&mut self, name: &str, key: &str, place: &Place) {
        self.sheet.host_names.insert(name.to_owned());
        self.sheet.aliases.push((format!("{}{key}", self.prefix), place.clone()));
    }

    pub(super) fn restart(&mut self, policy: &'static str, place: &Place) {
        self.restart = Some((policy, place.clone()));
    }

    /// `host`, `none` or `own`.
    pub(super) fn network(&mut self, wish: &'static str, place: &Place) {
        if self.network.as_ref().is_none_or(|(there, _)| *there == "own") {
            self.network = Some((wish, place.clone()));
        }
    }

    /// A probe: `command`, `http` or `tcp`, with the keys beside it.
    pub(super) fn probe(&mut self, kind: &str, value: impl Into<Value>, place: &Place) {
        self.health.probe = Some((kind.to_owned(), value.into()));
        self.health.place = Some(place.clone());
    }

    pub(super) fn probe_with(&mut self, key: &str, value: impl Into<Value>, place: &Place) {
        self.health.more.retain(|(other, _)| other != key);
        self.health.more.push((key.to_owned(), value.into()));
        self.health.place.get_or_insert_with(|| place.clone());
    }

    pub(super) fn no_probe(&mut self) {
        self.health = Health::default();
    }

    /// Writes what takes more than one key to know.
    pub(super) fn finish(mut self) -> Result<(), ImportError> {
        self.finish_exec();
        self.finish_capabilities();
        self.finish_limits();
        if let Some((kind, value)) = self.health.probe.take() {
            let mut table = vec![(kind, value)];
            table.append(&mut self.health.more);
            let place = self.health.place.clone().unwrap_or_else(|| self.place.clone());
            self.set("health", Value::Table(table), &place);
        } else if let Some(place) = self.health.place.clone() {
            let todo = "the image's own check is not read either";
            self.lose(&place, "healthcheck", "timing without a command", todo);
        }
        if let Some(Value::Boolean(true)) =
            self.sheet.get(&format!("{}.security", self.at), "read-only").cloned()
            && self.read_only_tmpfs
        {
            let place = self.place.clone();
            for target in ["/run", "/tmp", "/var/tmp"] {
                let mounts = format!("{}.mounts", self.at);
                if self.sheet.get(&mounts, target).is_none() {
                    self.tmpfs(target, "mode=1777", &place)?;
                    self.sheet.note(
                        &mounts,
                        "podman puts a tmpfs on /run, /tmp and /var/tmp of a read-only root",
                    );
                }
            }
        }
        let restart = match self.restart.take() {
            Some((policy, place)) => {
                let oneshot = self.sheet.get(&self.at, "kind") == Some(&Value::from("oneshot"));
                let policy = match policy {
                    "always" if oneshot => {
                        self.lose(&place, "restart", AGAIN, "[schedule]");
                        "on-failure"
                    }
                    policy => policy,
                };
                if policy != "no" {
                    self.set("restart", policy, &place);
                }
                policy
            }
            None => "no",
        };
        self.sheet.restarts.push(restart);
        let (wish, place) = self.network.take().unwrap_or_else(|| ("own", self.place.clone()));
        self.sheet.networks.push((self.name.clone(), wish, place));
        if self.sheet.get(&self.at, "image") == Some(&Value::from("")) {
            return Err(ImportError::new(
                &self.place,
                format!("the container {:?} has no image", self.name),
            ));
        }
        Ok(())
    }

    fn finish_exec(&mut self) {
        let (words, place) = match (self.entrypoint.take(), self.command.take()) {
            (Some((mut words, place)), command) => {
                words.extend(command.map(|(words, _)| words).unwrap_or_default());
                (words, place)
            }
            (None, Some((words, place))) => {
                let why = "exec replaces the image's ENTRYPOINT as well, which is not known here";
                let todo = "if the image has one, put it in front of exec";
                self.lose(&place, "command", why, todo);
                (words, place)
            }
            (None, None) => return,
        };
        if words.first().is_some_and(|program| !program.is_empty()) {
            self.set("exec", words, &place);
        } else {
            let why = "an empty command is the image's own";
            self.lose(&place, "command", why, "write exec if the image's program is not meant");
        }
    }

    fn finish_capabilities(&mut self) {
        let all = |list: &[(String, Place)]| list.iter().any(|(name, _)| name == "all");
        let place = self.drop.first().or(self.add.first()).map(|(_, place)| place.clone());
        let mut have: BTreeSet<String> = if all(&self.drop) {
            BTreeSet::new()
        } else {
            let podman = self.source == Source::Podman;
            let given = |name: &&&str| !(podman && NOT_PODMAN.contains(*name));
            DOCKER.iter().filter(given).map(|name| (*name).to_owned()).collect()
        };
        let dropped: Vec<String> = self.drop.iter().map(|(name, _)| name.clone()).collect();
        for (name, place) in std::mem::take(&mut self.add) {
            if name == "all" {
                have.extend(DOCKER.iter().map(|name| (*name).to_owned()));
                let why = "an app has at most the 14 capabilities of the appc specification";
                self.lose(&place, "cap-add=ALL", why, "");
            } else if DOCKER.contains(&name.as_str()) {
                have.insert(name);
            } else {
                let why = "an app never has this capability";
                let todo = "what needs it belongs outside of a pod, or behind a device or a file";
                self.lose(&place, &format!("cap-add={name}"), why, todo);
            }
        }
        have.retain(|name| !dropped.contains(name));
        let podman = self.source == Source::Podman;
        if let Some(place) = place.or_else(|| podman.then(|| self.place.clone())) {
            self.security("capabilities", have.into_iter().collect::<Vec<_>>(), &place);
            if podman {
                let note = "capabilities: podman's, less than rocket's default";
                self.sheet.note(&format!("{}.security", self.at), note);
            }
        }
    }

    fn finish_limits(&mut self) {
        if let Some((swap, place)) = self.swap.take() {
            // Docker's number is memory and swap together.
            match (swap.trim(), super::scalar::docker_size(&swap), self.memory) {
                ("-1", _, _) => self.limit("memory-swap-max", "infinity", &place),
                (_, Some(sum), Some(memory)) if sum >= memory => {
                    self.limit("memory-swap-max", size_text(sum - memory), &place);
                }
                _ => self.lose(
                    &place,
                    "memory-swap",
                    "it is a sum with the limit of memory, which is not there or is larger",
                    "limits.memory-swap-max is swap alone",
                ),
            }
        }
        let period = self.cpu_period.take();
        match self.cpu_quota.take() {
            Some((quota, place)) => {
                let period = period.map_or(100_000, |(period, _)| period.max(1));
                match cpu_quota(quota.saturating_mul(1000) / period) {
                    Some(percent) => self.limit("cpu-quota", percent, &place),
                    None => self.lose(&place, "cpu-quota", "no quota at all", ""),
                }
            }
            None => {
                if let Some((_, place)) = period {
                    self.lose(&place, "cpu-period", "a period without a quota limits nothing", "");
                }
            }
        }
    }
}

/// `CAP_NET_ADMIN`, `net_admin`, `NET_ADMIN` as a pod file writes it.
fn capability(text: &str) -> String {
    let lower = text.trim().to_ascii_lowercase();
    lower.strip_prefix("cap_").unwrap_or(&lower).replace('_', "-")
}
