//! `security` of an app, and the pod's sysctls.

use super::section::Section;
use crate::app::{AppSecurity, Rlimit, Seccomp};
use crate::grammar;
use crate::suggest;
use crate::tree::Value;
use crate::values::name::parse_path;
use crate::values::{Base, Capability, capability_names, parse_bytes, parse_capability};

/// `security` of an app.
pub(super) fn security(section: &Section<'_>, name: &str) -> AppSecurity {
    let title = format!("app.{name}.security");
    let Some(keys) = section.section("security", &title, grammar::APP_SECURITY) else {
        return AppSecurity::default();
    };
    let seccomp =
        [("default", Seccomp::Default), ("image", Seccomp::Image), ("none", Seccomp::None)];
    AppSecurity {
        capabilities: capabilities(&keys),
        no_new_privileges: keys.boolean("no-new-privileges", true),
        read_only: keys.boolean("read-only", false),
        seccomp: keys.choice("seccomp", &seccomp).unwrap_or(Seccomp::Default),
        devices: keys.list("devices", device).unwrap_or_default(),
        rlimits: rlimits(&keys, name),
        oom_score_adj: keys.scalar("oom-score-adj", oom_score_adj),
        apparmor: keys.text("apparmor", apparmor),
        selinux: keys.text("selinux", selinux),
    }
}

fn capabilities(keys: &Section<'_>) -> Option<Vec<Capability>> {
    let report = keys.report;
    let node = keys.node("capabilities")?;
    let mut all = Vec::new();
    for (pos, text) in report.strings(node, "capabilities")? {
        match parse_capability(text) {
            Ok(capability) if all.contains(&capability) => {
                report.error(pos, format!("{text:?} is there twice"));
            }
            Ok(capability) => all.push(capability),
            Err(message) => {
                let names = capability_names();
                let near = suggest::nearest(&text.to_ascii_lowercase().replace('_', "-"), &names);
                let hint = match near {
                    Some(near) => format!("did you mean {near:?}?"),
                    None => format!("there are: {}", names.join(", ")),
                };
                report.error_with(pos, message, Some(hint));
            }
        }
    }
    all.sort_unstable();
    Some(all)
}

fn device(text: &str) -> Result<String, String> {
    let path = parse_path(text)?;
    let below = path.strip_prefix("/dev/").is_some_and(|rest| !rest.is_empty());
    if below {
        Ok(path)
    } else {
        Err(format!("{text:?} is not a device node: it is not below /dev"))
    }
}

fn oom_score_adj(text: &str) -> Result<i32, String> {
    let score = text.parse().ok().filter(|score| (-1000..=1000).contains(score));
    score.ok_or_else(|| "oom-score-adj takes a number from -1000 to 1000".to_owned())
}

fn apparmor(text: &str) -> Result<String, String> {
    let bad = text.is_empty() || text.len() > 255 || text.contains(char::is_whitespace);
    if bad { Err(format!("{text:?} is not the name of a profile")) } else { Ok(text.to_owned()) }
}

fn selinux(text: &str) -> Result<String, String> {
    let parts: Vec<&str> = text.splitn(4, ':').collect();
    let bad = parts.len() < 3
        || parts.iter().any(|part| part.is_empty())
        || text.len() > 255
        || text.contains(char::is_whitespace);
    if bad {
        Err(format!("{text:?} is not a context; write user:role:type:level"))
    } else {
        Ok(text.to_owned())
    }
}

/// Resources that are counted in bytes.
const IN_BYTES: [&str; 8] = ["as", "core", "data", "fsize", "memlock", "msgqueue", "rss", "stack"];

fn rlimits(keys: &Section<'_>, name: &str) -> Vec<Rlimit> {
    let title = format!("app.{name}.security.rlimits");
    let Some(table) = keys.section("rlimits", &title, grammar::RLIMITS) else { return Vec::new() };
    grammar::RLIMITS
        .iter()
        .filter_map(|resource| table.scalar(resource, |text| rlimit(resource, text)))
        .collect()
}

/// `1024`, `1024:4096`, `infinity`; with sizes for what is counted in bytes.
fn rlimit(resource: &str, text: &str) -> Result<Rlimit, String> {
    let one = |text: &str| match text {
        "infinity" => Ok(None),
        _ if IN_BYTES.contains(&resource) => parse_bytes(text, Base::Binary).map(Some),
        _ => text.parse().map(Some).map_err(|_| String::new()),
    };
    let bad = |_| {
        let what = if IN_BYTES.contains(&resource) { "a size" } else { "a number" };
        format!("{resource} takes {what} or \"infinity\", or SOFT:HARD; not {text:?}")
    };
    let (soft, hard) = match text.split_once(':') {
        Some((soft, hard)) => (one(soft).map_err(bad)?, one(hard).map_err(bad)?),
        None => {
            let both = one(text).map_err(bad)?;
            (both, both)
        }
    };
    // Infinity is above every number.
    if hard.is_some_and(|hard| soft.is_none_or(|soft| soft > hard)) {
        return Err(format!("{resource} = {text:?} has a soft limit above the hard one"));
    }
    Ok(Rlimit { resource: resource.to_owned(), soft, hard })
}

/// Sysctls that belong to the pod's IPC and UTS namespaces; what begins with these, too.
pub(crate) const SYSCTLS: [&str; 12] = [
    "kernel.domainname",
    "kernel.msg_next_id",
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.sem_next_id",
    "kernel.shm_next_id",
    "kernel.shm_rmid_forced",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
];
const PREFIXES: [&str; 2] = ["fs.mqueue.", "net."];

/// `[sysctls]`.
pub(super) fn sysctls(top: &Section<'_>) -> Vec<(String, String)> {
    let report = top.report;
    let Some(node) = top.node("sysctls") else { return Vec::new() };
    let Value::Table(table) = &node.value else {
        report.expected(node, "sysctls", "a table, { \"net.core.somaxconn\" = 1024 }");
        return Vec::new();
    };
    let mut list = Vec::new();
    for (name, entry) in &table.entries {
        if let Value::Table(_) = entry.node.value {
            let hint = Some("a name with dots is written in quotes".to_owned());
            report.error_with(entry.key, format!("{name:?} is not the name of a sysctl"), hint);
            continue;
        }
        if let Some(why) = refused_sysctl(name) {
            report.error(entry.key, why);
        }
        let Some(value) = report.scalar(&entry.node, name) else { continue };
        if value.is_empty() || value.len() > 1024 {
            report.error(entry.node.pos, format!("{name} has no value that can be set"));
        }
        list.push((name.clone(), value));
    }
    list
}

fn refused_sysctl(name: &str) -> Option<String> {
    let part = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
    };
    if !name.contains('.') || !name.split('.').all(part) {
        return Some(format!(
            "{name:?} is not the name of a sysctl, such as \"net.core.somaxconn\""
        ));
    }
    if name == "kernel.hostname" {
        return Some("kernel.hostname is the key hostname".to_owned());
    }
    let own = SYSCTLS.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    (!own).then(|| format!("{name} is not the pod's own: setting it would change the whole host"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resource_limits() {
        let limit = |resource, text| rlimit(resource, text).map(|l| (l.soft, l.hard));
        assert_eq!(limit("nofile", "1024:4096"), Ok((Some(1024), Some(4096))));
        assert_eq!(limit("nofile", "1024"), Ok((Some(1024), Some(1024))));
        assert_eq!(limit("core", "0:infinity"), Ok((Some(0), None)));
        assert_eq!(limit("memlock", "64M"), Ok((Some(64 << 20), Some(64 << 20))));
        for (resource, text) in [
            ("nofile", "5:4"),
            ("nofile", "infinity:4"),
            ("nofile", "1K"),
            ("core", "x"),
            ("nofile", ""),
        ] {
            assert!(rlimit(resource, text).is_err(), "{resource} {text}");
        }
    }

    #[test]
    fn only_the_pods_own_sysctls() {
        for name in ["net.ipv4.ip_forward", "kernel.shmmax", "fs.mqueue.msg_max", "kernel.sem"] {
            assert_eq!(refused_sysctl(name), None, "{name}");
        }
        for name in [
            "kernel.core_pattern",
            "vm.overcommit_memory",
            "fs.file-max",
            "kernel.hostname",
            "net/ipv4/x",
            "net..x",
            "kernel",
            "net.../../kernel.x",
            "",
        ] {
            assert!(refused_sysctl(name).is_some(), "{name}");
        }
    }

    #[test]
    fn labels() {
        assert!(selinux("system_u:system_r:container_t:s0:c1,c2").is_ok());
        assert!(selinux("container_t").is_err() && selinux("a::b").is_err());
        assert!(apparmor("docker-default").is_ok() && apparmor("").is_err());
        assert_eq!(device("/dev/fuse"), Ok("/dev/fuse".to_owned()));
        assert!(device("/etc/passwd").is_err() && device("/dev/../etc").is_err());
    }
}
