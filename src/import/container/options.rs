//! Options by the names that `docker run` gives them.

use super::{Container, capability};
use crate::import::scalar::{
    absolute, boolean, cpu_weight, docker_size, go_time, io_weight, scaled, size_text,
};
use crate::import::value::Value;
use crate::import::words::split;
use crate::import::{ImportError, Place};

/// Options that are known and never carried: why, and what to do.
const NEVER: &[(&str, &str, &str)] = &[
    ("annotation", "a pod file has no annotations", ""),
    ("attach", "systemd starts the pod, with nobody at its terminal", "rocket logs, rocket attach"),
    ("blkio-weight-device", "there is one weight for all devices", "limits.io-weight"),
    ("cgroup-conf", "limits are written by their names", "limits.*"),
    ("cgroup-parent", "the pod's unit lies in a slice", "unit.slice"),
    ("cgroupns", "each app has a cgroup namespace of its own, always", ""),
    ("cidfile", "rocket knows its pods by name", "rocket status"),
    ("conmon-pidfile", "there is no conmon", ""),
    ("cpu-rt-period", "limits have no realtime", ""),
    ("cpu-rt-runtime", "limits have no realtime", ""),
    ("cpuset-mems", "limits have no memory nodes", "systemctl set-property, AllowedMemoryNodes="),
    ("detach-keys", "that is for a terminal", "rocket attach"),
    ("device-cgroup-rule", "a pod has device nodes, not rules for numbers", "security.devices"),
    ("domainname", "the domain of NIS", "sysctls.\"kernel.domainname\""),
    ("expose", "it publishes nothing", "apps of a pod reach each other at 127.0.0.1"),
    ("gpus", "there are no drivers' hooks", "security.devices, and mounts for the libraries"),
    ("health-on-failure", "a failed check restarts nothing yet", ""),
    ("health-start-interval", "checks have one interval", ""),
    ("health-start-period", "checks have no time of grace", ""),
    ("interactive", "no terminal in a unit", "rocket run -it"),
    ("ip", "a pod on the host's network has the host's addresses", ""),
    ("ip6", "a pod on the host's network has the host's addresses", ""),
    ("ipc", "the apps of a pod share an IPC namespace, and nobody else does", ""),
    ("isolation", "that is for Windows", ""),
    (
        "label",
        "a pod file has no labels; what reads them (traefik, watchtower, …) does not see the pod",
        "",
    ),
    ("label-file", "a pod file has no labels", ""),
    ("link-local-ip", "a pod on the host's network has the host's addresses", ""),
    ("log-driver", "output goes to the journal", "journalctl -u rocket@NAME"),
    ("log-opt", "output goes to the journal", "journald.conf, systemctl edit"),
    ("mac-address", "a pod on the host's network has no interface of its own", ""),
    ("memory-swappiness", "cgroup v2 does not have it", "limits.memory-swap-max"),
    (
        "oom-kill-disable",
        "cgroup v2 does not have it",
        "limits.memory-high slows down instead of killing",
    ),
    ("pid", "the apps of a pod share a PID namespace, and nobody else does", ""),
    ("platform", "an image is of the machine's own architecture", ""),
    (
        "privileged",
        "there are no privileged pods",
        "name what is needed: security.devices, capabilities, mounts",
    ),
    ("publish-all", "no port is moved", "write [port.NAME]"),
    ("pull", "a start never fetches an image", "rocket fetch"),
    ("runtime", "there is one way to run a pod", ""),
    ("sdnotify", "a pod's unit has Type=notify always", ""),
    ("shm-size", "/dev/shm is a tmpfs of the pod's, bounded by its memory", "limits.memory-max"),
    ("storage-opt", "an app's root has no quota", "a volume of its own, or limits"),
    ("tty", "no terminal in a unit", "rocket run -it"),
    ("umask", "an app has 0022", "set it in a script"),
    ("unsetenv", "variables can be set, not removed", "environment.NAME = \"\""),
    ("uts", "a pod has its own host name", "hostname"),
    ("volume-driver", "volumes are directories of this host", ""),
    ("volumes-from", "volumes have names", "mount the same volume"),
];

/// Options that [`Container::option`] does something with.
const KNOWN: &str = " add-host blkio-weight cap-add cap-drop cpu-period cpu-quota cpu-shares cpus cpuset-cpus \
    detach rm quiet sig-proxy replace init device device-read-bps device-write-bps device-read-iops \
    device-write-iops dns dns-search dns-option entrypoint env env-file group-add health-cmd health-interval \
    health-timeout health-retries hostname link memory memory-reservation memory-swap mount name network \
    network-alias no-healthcheck no-hosts oom-score-adj pids-limit publish read-only read-only-tmpfs restart \
    secret security-opt stop-signal stop-timeout sysctl systemd tmpfs tz ulimit user userns volume workdir ";

/// Whether an option of this name is known at all.
pub(in crate::import) fn is_known(name: &str) -> bool {
    KNOWN.contains(&format!(" {name} ")) || NEVER.iter().any(|(never, ..)| *never == name)
}

impl Container<'_> {
    /// An option with its value; a flag's value is `true`. `key` is how the input calls it.
    pub(in crate::import) fn option(
        &mut self,
        name: &str,
        value: &str,
        key: &str,
        place: &Place,
    ) -> Result<(), ImportError> {
        let bad = |this: &mut Self| {
            this.lose(place, key, &format!("the value {value:?} is not understood"), "");
        };
        match name {
            "add-host" => self.add_host(value, key, place),
            "blkio-weight" => match value.parse().ok().and_then(io_weight) {
                Some(weight) => self.limit("io-weight", weight, place),
                None => bad(self),
            },
            "cap-add" => self.add.push((capability(value), place.clone())),
            "cap-drop" => self.drop.push((capability(value), place.clone())),
            "cpu-period" => match value.parse() {
                Ok(period) => self.cpu_period = Some((period, place.clone())),
                Err(_) => bad(self),
            },
            "cpu-quota" if value == "-1" => {}
            "cpu-quota" => match value.parse() {
                Ok(quota) => self.cpu_quota = Some((quota, place.clone())),
                Err(_) => bad(self),
            },
            "cpu-shares" => match value.parse().ok().and_then(cpu_weight) {
                Some(weight) => self.limit("cpu-weight", weight, place),
                None => bad(self),
            },
            "cpus" => match scaled(value, 1000).and_then(crate::import::scalar::cpu_quota) {
                Some(quota) => self.limit("cpu-quota", quota, place),
                None => bad(self),
            },
            "cpuset-cpus" => self.limit("allowed-cpus", value, place),
            // What every start as a unit is.
            "detach" | "rm" | "quiet" | "sig-proxy" | "replace" | "init" => {}
            "device" => self.device(value, key, place),
            "device-read-bps" | "device-write-bps" | "device-read-iops" | "device-write-iops" => {
                self.io_max(name, value, key, place);
            }
            "dns" | "dns-search" | "dns-option" => {
                let key = match name {
                    "dns" => "servers",
                    "dns-search" => "search",
                    _ => "options",
                };
                self.sheet.push("dns", key, value, place);
            }
            "entrypoint" if value.is_empty() => {
                let why = "without the image's entrypoint";
                self.lose(place, key, why, "write exec");
            }
            "env" => match value.split_once('=') {
                Some((name, value)) => self.env(name, value, place),
                None => match self.options.variables.get(value).cloned() {
                    Some(known) => self.env(value, &known, place),
                    None => {
                        let why = format!(
                            "{value} comes from the caller's environment, which a unit has none of"
                        );
                        self.lose(place, key, &why, "write its value below environment");
                    }
                },
            },
            "env-file" => {
                let path = absolute(value, &self.options.base, &self.options.home);
                self.sheet.push(&self.at.clone(), "environment-files", path, place);
            }
            "group-add" if value == "keep-groups" => bad(self),
            "group-add" => self.sheet.push(&self.at.clone(), "supplementary-groups", value, place),
            "health-cmd" if value == "none" => self.no_probe(),
            "health-cmd" => {
                let words = match value.trim_start().starts_with('[') {
                    true => serde_json::from_str::<Vec<String>>(value).map_err(|_| {
                        ImportError::new(place, format!("{key}: not a list of strings"))
                    })?,
                    false => vec!["/bin/sh".to_owned(), "-c".to_owned(), value.to_owned()],
                };
                self.probe("command", words, place);
            }
            "health-interval" | "health-timeout" => match go_time(value) {
                Some(time) => self.probe_with(name.trim_start_matches("health-"), time, place),
                None => bad(self),
            },
            "health-retries" => match value.parse::<i64>() {
                Ok(retries) => self.probe_with("retries", retries, place),
                Err(_) => bad(self),
            },
            "hostname" => self.sheet.set("", "hostname", value, place),
            "link" => {
                let (other, alias) = value.split_once(':').unwrap_or((value, value));
                let todo = format!(
                    "{other} is a pod of its own, reached on the host's network; hosts.{alias} = …"
                );
                self.lose(place, key, "pods do not know each other's names", &todo);
            }
            "memory" if value == "0" => {}
            "memory" => match docker_size(value) {
                Some(size) => {
                    self.memory = Some(size);
                    self.limit("memory-max", size_text(size), place);
                }
                None => bad(self),
            },
            "memory-reservation" => match docker_size(value) {
                Some(size) => self.limit("memory-low", size_text(size), place),
                None => bad(self),
            },
            "memory-swap" => self.swap = Some((value.to_owned(), place.clone())),
            "mount" => self.mount_words(value, place)?,
            "network" => self.network_words(value, key, place),
            "network-alias" => self.alias(value, key, place),
            "no-healthcheck" => self.no_probe(),
            "no-hosts" => {
                self.lose(place, key, "an app has an /etc/hosts", "mount a file of your own there")
            }
            "oom-score-adj" => match value.parse::<i64>() {
                Ok(score) => self.security("oom-score-adj", score, place),
                Err(_) => bad(self),
            },
            "pids-limit" => match value.parse::<i64>() {
                Ok(limit) if limit <= 0 => self.limit("tasks-max", "infinity", place),
                Ok(limit) => self.limit("tasks-max", limit, place),
                Err(_) => bad(self),
            },
            "publish" => self.publish(value, key, place),
            "read-only" => match boolean(value) {
                Some(value) => self.security("read-only", value, place),
                None => {
                    return Err(ImportError::new(
                        place,
                        format!("{key} is true or false, not {value:?}"),
                    ));
                }
            },
            "read-only-tmpfs" => self.read_only_tmpfs = boolean(value).unwrap_or(true),
            "restart" => self.restart_words(value, key, place),
            "secret" => self.secret(value, key, place),
            "security-opt" => self.security_opt(value, key, place),
            "stop-signal" => self.set("stop-signal", value, place),
            "stop-timeout" => match go_time(value) {
                Some(time) if !value.starts_with('-') => self.set("stop-timeout", time, place),
                _ => self.lose(place, key, "a stop has to end", "stop-timeout"),
            },
            "sysctl" => match value.split_once('=') {
                Some((name, value)) => self.sheet.set("sysctls", name.trim(), value.trim(), place),
                None => bad(self),
            },
            "systemd" => self.lose(place, key, "systemd as an app is not set up for", ""),
            "tmpfs" => self.tmpfs_text(value, place)?,
            "tz" if value == "local" => {
                let todo = "TZ = \"AREA/CITY\" below environment";
                self.lose(place, key, "the host's time zone is not looked up", todo);
            }
            "tz" => self.env("TZ", value, place),
            "ulimit" => self.ulimit(value, key, place),
            "user" => self.user(value, place),
            "userns" => self.userns(value, key, place),
            "volume" => self.volume(value, place)?,
            "workdir" => self.set("working-directory", value, place),
            _ => match NEVER.iter().find(|(never, ..)| *never == name) {
                Some(_) if value == "false" => {}
                Some((_, why, todo)) => self.lose(place, key, why, todo),
                None => self.lose(place, key, "unknown key", ""),
            },
        }
        Ok(())
    }

    /// One string that a shell would split.
    pub(in crate::import) fn words(
        &self,
        text: &str,
        place: &Place,
    ) -> Result<Vec<String>, ImportError> {
        split(place, text)
    }

    /// `USER[:GROUP]`.
    pub(in crate::import) fn user(&mut self, text: &str, place: &Place) {
        let (user, group) = text.split_once(':').map_or((text, None), |(u, g)| (u, Some(g)));
        for (key, value) in [("user", Some(user)), ("group", group)] {
            let Some(value) = value.filter(|value| !value.is_empty()) else { continue };
            self.set(key, value, place);
            if value.parse::<u32>().is_ok_and(|id| id > 65_535) {
                let why = "a pod's user namespace has the ids 0 to 65535: this pod does not start";
                self.lose(place, key, why, "another id, or security.user-namespace = false");
            }
        }
    }

    fn add_host(&mut self, text: &str, key: &str, place: &Place) {
        let (name, address) =
            text.split_once('=').or_else(|| text.split_once(':')).unwrap_or((text, ""));
        let address = match address {
            // On the host's network the host is the loopback.
            "host-gateway" => "127.0.0.1",
            address => address.trim_matches(['[', ']']),
        };
        match address.parse::<std::net::IpAddr>() {
            Ok(address) => self.sheet.set("hosts", name, address.to_string(), place),
            Err(_) => self.lose(place, key, &format!("{address:?} is not an address"), ""),
        }
    }

    fn device(&mut self, text: &str, key: &str, place: &Place) {
        let parts: Vec<&str> = text.split(':').collect();
        let (source, target, rights) = match parts.as_slice() {
            [source] => (*source, *source, "rwm"),
            [source, rights] if !rights.starts_with('/') => (*source, *source, *rights),
            [source, target] => (*source, *target, "rwm"),
            [source, target, rights, ..] => (*source, *target, *rights),
            [] => ("", "", ""),
        };
        if source != target {
            let why = format!("{source} cannot be called {target} inside");
            return self.lose(place, key, &why, "security.devices keeps the name");
        }
        if !rights.contains('r') || !rights.contains('w') {
            let why = format!(
                "a device is for reading and writing, and this one was for {rights:?} only"
            );
            return self.lose(place, key, &why, "security.devices, if writing may be");
        }
        self.sheet.push(&format!("{}.security", self.at), "devices", source, place);
    }

    fn io_max(&mut self, name: &str, text: &str, key: &str, place: &Place) {
        let field = match name {
            "device-read-bps" => "read-bandwidth",
            "device-write-bps" => "write-bandwidth",
            "device-read-iops" => "read-iops",
            _ => "write-iops",
        };
        let parsed = text
            .rsplit_once(':')
            .and_then(|(device, rate)| Some((device, i64::try_from(docker_size(rate)?).ok()?)));
        let Some((device, rate)) = parsed else {
            return self.lose(place, key, &format!("{text:?} is not DEVICE:RATE"), "limits.io-max");
        };
        let title = format!("{}.limits", self.at);
        let mut devices = match self.sheet.get(&title, "io-max") {
            Some(Value::Table(devices)) => devices.clone(),
            _ => Vec::new(),
        };
        match devices.iter_mut().find(|(other, _)| other == device) {
            Some((_, Value::Table(fields))) => fields.push((field.to_owned(), rate.into())),
            _ => devices
                .push((device.to_owned(), Value::Table(vec![(field.to_owned(), rate.into())]))),
        }
        self.limit("io-max", Value::Table(devices), place);
    }

    fn network_words(&mut self, text: &str, key: &str, place: &Place) {
        let (kind, options) = text.split_once(':').unwrap_or((text, ""));
        match kind {
            "host" => self.network("host", place),
            "none" => self.network("none", place),
            "service" | "container" | "ns" => {
                let why =
                    format!("a network namespace is shared inside a pod, not with {options:?}");
                self.lose(
                    place,
                    key,
                    &why,
                    "make both apps of one pod, or leave them on the host's network",
                );
            }
            _ => self.network("own", place),
        }
    }

    fn restart_words(&mut self, text: &str, key: &str, place: &Place) {
        let (policy, times) = text.split_once(':').unwrap_or((text, ""));
        match policy {
            "no" | "never" => self.restart("no", place),
            "always" | "unless-stopped" => self.restart("always", place),
            "on-failure" => {
                self.restart("on-failure", place);
                if times.parse::<u32>().is_ok_and(|times| times > 0) {
                    self.set("restart-limit", format!("{times}/1d"), place);
                }
            }
            _ => self.lose(place, key, &format!("the policy {text:?} is not known"), "restart"),
        }
    }

    fn secret(&mut self, text: &str, key: &str, place: &Place) {
        let (name, options) = text.split_once(',').unwrap_or((text, ""));
        let name = name.strip_prefix("source=").unwrap_or(name);
        let credential = crate::import::sheet::name_of(name);
        self.sheet.set(
            "credentials",
            &credential,
            Value::Table(vec![("load".to_owned(), name.into())]),
            place,
        );
        self.sheet.push(&self.at.clone(), "credentials", credential.as_str(), place);
        let todo = format!(
            "put its value into /etc/credstore/{name}, mode 0600; the app finds it in \
             /run/credentials/{}/{credential}",
            self.name
        );
        let options = if options.is_empty() { String::new() } else { format!(" ({options})") };
        let why = format!("podman's store of secrets is not read{options}");
        self.lose(place, key, &why, &todo);
    }

    fn security_opt(&mut self, text: &str, key: &str, place: &Place) {
        let (name, value) = text.split_once(['=', ':']).unwrap_or((text, ""));
        match (name, value) {
            ("no-new-privileges", value) => match boolean(value) {
                Some(value) => self.security("no-new-privileges", value, place),
                None => self.lose(place, key, &format!("{value:?} is not true or false"), ""),
            },
            ("seccomp", "unconfined") => self.security("seccomp", "none", place),
            ("seccomp", "builtin") | ("apparmor", "unconfined") => {}
            ("seccomp", path) => {
                let why = format!("the profile {path} is not read: rocket's own list holds");
                self.lose(
                    place,
                    key,
                    &why,
                    "an image's isolators can narrow it: security.seccomp = \"image\"",
                );
            }
            ("apparmor", profile) => self.security("apparmor", profile, place),
            ("label", value) => {
                let why = format!("label {value}: SELinux contexts are written in full");
                self.lose(place, key, &why, "security.selinux = \"user:role:type:level\"");
            }
            ("mask" | "unmask", _) => {
                self.lose(place, key, "what /proc and /sys hide is rocket's to say", "");
            }
            _ => self.lose(place, key, &format!("{text:?} is not known"), ""),
        }
    }

    fn ulimit(&mut self, text: &str, key: &str, place: &Place) {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        let one = |text: &str| match text {
            "-1" | "unlimited" => Some("infinity".to_owned()),
            text => text.parse::<u64>().ok().map(|number| number.to_string()),
        };
        let parsed = match value.split_once(':') {
            Some((soft, hard)) => {
                one(soft).zip(one(hard)).map(|(soft, hard)| format!("{soft}:{hard}"))
            }
            None => one(value),
        };
        match parsed {
            Some(limit) => {
                self.sheet.set(&format!("{}.security.rlimits", self.at), name, limit, place);
            }
            None => self.lose(
                place,
                key,
                &format!("{text:?} is not NAME=SOFT:HARD"),
                "security.rlimits",
            ),
        }
    }

    fn userns(&mut self, text: &str, key: &str, place: &Place) {
        let why = match text {
            "host" => "the pod keeps its user namespace: its root is nobody on the host",
            _ => "the ids of a pod's user namespace are rocket's to choose",
        };
        self.lose(place, key, why, "security.user-namespace = false is for what cannot do with it");
    }
}
