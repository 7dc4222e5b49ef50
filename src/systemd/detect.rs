//! Which cgroup this process is in, and whether it may be used in place.

use std::io;
use std::path::{Path, PathBuf};

/// Whether systemd is the service manager of this host (sd_booted(3)).
pub fn booted() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// Where cgroup2 is mounted on a host that has nothing else.
pub const CGROUP_ROOT: &str = "/sys/fs/cgroup";

/// The cgroup of a process, as a path below the cgroup2 mount (`/rocket.slice/x.service`).
///
/// # Errors
/// No such process, or a host without cgroup2.
pub fn cgroup_of(pid: Option<u32>) -> io::Result<String> {
    let file = match pid {
        Some(pid) => format!("/proc/{pid}/cgroup"),
        None => "/proc/self/cgroup".to_owned(),
    };
    let text = std::fs::read_to_string(file)?;
    unified_path(&text).map(str::to_owned).ok_or_else(|| {
        io::Error::new(io::ErrorKind::NotFound, "this process is in no cgroup2 hierarchy")
    })
}

/// The cgroup2 line of `/proc/PID/cgroup` (cgroups(7): hierarchy 0, no controllers).
fn unified_path(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("0::"))
}

/// The directory of a cgroup.
pub fn cgroup_dir(cgroup: &str) -> PathBuf {
    Path::new(CGROUP_ROOT).join(cgroup.trim_start_matches('/'))
}

/// The unit that owns `cgroup`: the last component that is a unit name.
pub fn unit_of(cgroup: &str) -> Option<&str> {
    cgroup.rsplit('/').find(|part| part.ends_with(".service") || part.ends_with(".scope"))
}

/// What `--cgroup=auto` finds around this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surroundings {
    /// systemd is there.
    pub booted: bool,
    /// Own cgroup, if the host has cgroup2.
    pub cgroup: Option<String>,
    /// The cgroup is delegated to its unit.
    pub delegated: bool,
    /// This process is alone in it.
    pub alone: bool,
    /// The unit waits to be told of its main process and readiness (`Type=notify`).
    pub notify: bool,
}

impl Surroundings {
    /// Looks around.
    pub fn of_self() -> Self {
        let cgroup = cgroup_of(None).ok();
        let (delegated, alone) = cgroup.as_deref().map_or((false, false), |cgroup| {
            let dir = cgroup_dir(cgroup);
            (is_delegated(&dir), is_alone(&dir))
        });
        let notify = std::env::var_os("NOTIFY_SOCKET").is_some_and(|address| !address.is_empty());
        Self { booted: booted(), cgroup, delegated, alone, notify }
    }

    /// Whether the pod may take over the cgroup this process is in: the main process of a unit
    /// that delegates, and alone there, so that two pods never share a leaf. A unit that is not of
    /// `Type=notify` would end with this process and take init along.
    pub fn in_place(&self) -> bool {
        let unit = self.cgroup.as_deref().is_some_and(|c| c.ends_with(".service"));
        self.booted && unit && self.delegated && self.alone && self.notify
    }
}

/// systemd marks what it delegates with an extended attribute (systemd.resource-control(5)).
fn is_delegated(dir: &Path) -> bool {
    let mut value = [0u8; 8];
    ["trusted.delegate", "user.delegate"].iter().any(|name| {
        rustix::fs::getxattr(dir, *name, &mut value[..]).is_ok_and(|n| value[..n] == *b"1")
    })
}

fn is_alone(dir: &Path) -> bool {
    let own = std::process::id().to_string();
    std::fs::read_to_string(dir.join("cgroup.procs"))
        .is_ok_and(|text| text.lines().all(|line| line == own))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_is_the_last_component_that_names_one() {
        let table = [
            ("/rocket.slice/rocket@web.service", Some("rocket@web.service")),
            ("/rocket.slice/rocket@web.service/init", Some("rocket@web.service")),
            ("/user.slice/user-0.slice/session-1.scope", Some("session-1.scope")),
            ("/", None),
        ];
        for (cgroup, unit) in table {
            assert_eq!(unit_of(cgroup), unit, "{cgroup}");
        }
    }

    #[test]
    fn the_unified_line_is_found_among_others() {
        assert_eq!(unified_path("5:cpu:/a\n0::/b\n"), Some("/b"));
        assert_eq!(unified_path("5:cpu:/a\n"), None);
    }

    #[test]
    fn only_the_lone_main_process_of_a_delegating_service_is_in_place() {
        let here = Surroundings {
            booted: true,
            cgroup: Some("/rocket.slice/rocket@a.service".into()),
            delegated: true,
            alone: true,
            notify: true,
        };
        assert!(here.in_place());
        assert!(!Surroundings { alone: false, ..here.clone() }.in_place());
        assert!(!Surroundings { delegated: false, ..here.clone() }.in_place());
        assert!(!Surroundings { booted: false, ..here.clone() }.in_place());
        assert!(!Surroundings { notify: false, ..here.clone() }.in_place());
        let session = Some("/user.slice/session-1.scope".into());
        assert!(!Surroundings { cgroup: session, ..here }.in_place());
    }
}
