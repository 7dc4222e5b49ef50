//! Every key there is. The readers, the suggestions, `unset` and the test of the documentation
//! all use these lists.

/// Keys at the top.
pub(crate) const TOP: &[&str] = &[
    "version",
    "description",
    "network",
    "hostname",
    "dns",
    "hosts",
    "flavour",
    "exit-policy",
    "log",
    "app",
    "volume",
    "port",
    "limits",
    "security",
    "sysctls",
    "credentials",
    "unit",
    "schedule",
];
/// Keys of `[dns]`.
pub(crate) const DNS: &[&str] = &["servers", "search", "options", "domain"];
/// Keys of `[app.NAME]`.
pub(crate) const APP: &[&str] = &[
    "image",
    "exec",
    "user",
    "group",
    "supplementary-groups",
    "working-directory",
    "environment",
    "environment-files",
    "pre-start",
    "post-stop",
    "kind",
    "after",
    "requires",
    "restart",
    "restart-delay",
    "restart-max-delay",
    "restart-limit",
    "ready",
    "health",
    "stop-signal",
    "stop-timeout",
    "credentials",
    "mounts",
    "limits",
    "security",
];
/// Keys of `limits`.
pub(crate) const LIMITS: &[&str] = &[
    "memory-max",
    "memory-high",
    "memory-low",
    "memory-swap-max",
    "cpu-quota",
    "cpu-weight",
    "tasks-max",
    "io-weight",
    "io-max",
    "allowed-cpus",
];
/// Keys of one device in `io-max`.
pub(crate) const IO_MAX: &[&str] =
    &["read-bandwidth", "write-bandwidth", "read-iops", "write-iops"];
/// Keys of an app's `security`.
pub(crate) const APP_SECURITY: &[&str] = &[
    "capabilities",
    "no-new-privileges",
    "read-only",
    "seccomp",
    "devices",
    "rlimits",
    "oom-score-adj",
    "apparmor",
    "selinux",
];
/// Keys of an app's `security.rlimits`.
pub(crate) const RLIMITS: &[&str] = &[
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];
/// Keys of the pod's `security`.
pub(crate) const POD_SECURITY: &[&str] = &["user-namespace"];
/// Keys of a mount written as a table.
pub(crate) const MOUNT: &[&str] = &["volume", "read-only"];
/// Keys of `ready`.
pub(crate) const READY: &[&str] = &["tcp", "http", "path", "command"];
/// Keys of `health`.
pub(crate) const HEALTH: &[&str] =
    &["tcp", "http", "path", "command", "interval", "timeout", "retries"];
/// Keys of `[volume.NAME]`.
pub(crate) const VOLUME: &[&str] = &[
    "kind",
    "source",
    "size",
    "mode",
    "uid",
    "gid",
    "recursive",
    "follow-symlinks",
    "idmap",
    "read-only",
];
/// Keys of `[port.NAME]`.
pub(crate) const PORT: &[&str] = &["app", "port", "protocol", "listen", "activation"];
/// Keys of a credential.
pub(crate) const CREDENTIAL: &[&str] = &["load", "load-encrypted", "set"];
/// Keys of `[unit]`.
pub(crate) const UNIT: &[&str] = &[
    "after",
    "before",
    "requires",
    "wants",
    "conflicts",
    "restart",
    "restart-sec",
    "start-timeout",
    "stop-timeout",
    "slice",
    "machine",
    "app-scopes",
];

/// Keys of `[schedule]`.
pub(crate) const SCHEDULE: &[&str] =
    &["calendar", "after-boot", "every", "persistent", "random-delay", "accuracy"];

/// The lists by the path of their table; `*` stands for a name that the user chooses.
pub(crate) const TABLES: &[(&[&str], &[&str])] = &[
    (&[], TOP),
    (&["dns"], DNS),
    (&["app", "*"], APP),
    (&["app", "*", "limits"], LIMITS),
    (&["app", "*", "limits", "io-max", "*"], IO_MAX),
    (&["app", "*", "security"], APP_SECURITY),
    (&["app", "*", "security", "rlimits"], RLIMITS),
    (&["app", "*", "mounts", "*"], MOUNT),
    (&["app", "*", "ready"], READY),
    (&["app", "*", "health"], HEALTH),
    (&["volume", "*"], VOLUME),
    (&["port", "*"], PORT),
    (&["limits"], LIMITS),
    (&["limits", "io-max", "*"], IO_MAX),
    (&["security"], POD_SECURITY),
    (&["credentials", "*"], CREDENTIAL),
    (&["unit"], UNIT),
    (&["schedule"], SCHEDULE),
];

/// Tables whose keys the user chooses.
const MAPS: &[&[&str]] = &[
    &["app"],
    &["app", "*", "environment"],
    &["app", "*", "mounts"],
    &["app", "*", "limits", "io-max"],
    &["hosts"],
    &["volume"],
    &["port"],
    &["limits", "io-max"],
    &["sysctls"],
    &["credentials"],
];

/// Whether `path` is a key of the grammar.
pub(crate) fn is_known(path: &[String]) -> bool {
    let Some((last, table)) = path.split_last() else { return false };
    let matches = |pattern: &[&str]| {
        pattern.len() == table.len()
            && pattern.iter().zip(table).all(|(pattern, part)| *pattern == "*" || *pattern == part)
    };
    MAPS.iter().any(|map| matches(map))
        || TABLES.iter().any(|(pattern, keys)| matches(pattern) && keys.contains(&last.as_str()))
}

/// Where else a key belongs, as a table's header: for someone who wrote it one table too high.
pub(crate) fn home_of(key: &str) -> Option<String> {
    let (path, _) = TABLES.iter().find(|(_, keys)| keys.contains(&key))?;
    Some(match path {
        [] => "at the top of the file".to_owned(),
        _ => format!("in [{}]", path.join(".").replace('*', "NAME")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_matched() {
        let path = |s: &str| s.split('.').map(str::to_owned).collect::<Vec<_>>();
        for known in [
            "description",
            "app.web",
            "app.web.exec",
            "app.web.limits.memory-max",
            "app.web.environment.TZ",
            "volume.x",
            "unit.after",
            "limits.io-max.x.read-iops",
        ] {
            assert!(is_known(&path(known)), "{known}");
        }
        for unknown in ["descripton", "app.web.exce", "unit", "app.web.limits.x", "a.b.c.d.e.f"] {
            assert_eq!(is_known(&path(unknown)), unknown == "unit", "{unknown}");
        }
    }
}
