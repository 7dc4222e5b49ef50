//! Every key there is, by the path of its table. The readers, the suggestions, `unset` and the test
//! of the documentation all use these lists, which are the names in [`crate::keys`].

use crate::keys::{self, names};

/// The names of a table's keys.
macro_rules! names_of {
    ($table:path) => {
        &names::<{ $table.keys.len() }>(&$table)
    };
}

/// Keys at the top.
pub(crate) const TOP: &[&str] = names_of!(keys::TOP);
/// Keys of `[dns]`.
pub(crate) const DNS: &[&str] = names_of!(keys::DNS);
/// Keys of `[app.NAME]`.
pub(crate) const APP: &[&str] = names_of!(keys::APP);
/// Keys of `limits`.
pub(crate) const LIMITS: &[&str] = names_of!(keys::LIMITS);
/// Keys of one device in `io-max`.
pub(crate) const IO_MAX: &[&str] = names_of!(keys::IO_MAX);
/// Keys of an app's `security`.
pub(crate) const APP_SECURITY: &[&str] = names_of!(keys::APP_SECURITY);
/// Keys of an app's `security.rlimits`.
pub(crate) const RLIMITS: &[&str] = names_of!(keys::RLIMITS);
/// Keys of the pod's `security`.
pub(crate) const POD_SECURITY: &[&str] = names_of!(keys::POD_SECURITY);
/// Keys of a mount written as a table.
pub(crate) const MOUNT: &[&str] = names_of!(keys::MOUNT);
/// Keys of `ready`.
pub(crate) const READY: &[&str] = names_of!(keys::READY);
/// Keys of `health`.
pub(crate) const HEALTH: &[&str] = names_of!(keys::HEALTH);
/// Keys of `[volume.NAME]`.
pub(crate) const VOLUME: &[&str] = names_of!(keys::VOLUME);
/// Keys of `[port.NAME]`.
pub(crate) const PORT: &[&str] = names_of!(keys::PORT);
/// Keys of a credential.
pub(crate) const CREDENTIAL: &[&str] = names_of!(keys::CREDENTIAL);
/// Keys of `[unit]`.
pub(crate) const UNIT: &[&str] = names_of!(keys::UNIT);
/// Keys of `[schedule]`.
pub(crate) const SCHEDULE: &[&str] = names_of!(keys::SCHEDULE);

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
