//! The questions a score is made of. Where `systemd-analyze security` of systemd 252 asks the same, the
//! weight is the one it uses, so that the figures can be compared; `docs/explain.md` has the rest.

use super::UnitView;
use super::filter::Filter;
use super::score::{Answered, AppScore, sum};
use crate::pod::sources::{Origin, Source};
use crate::pod::surface;
use rocket_plan::{AppPlan, Isolators, MountSource, Network, PodPlan};
use std::path::Path;

mod calls;
mod capabilities;

/// What the questions are put to.
pub(super) struct Subject<'a> {
    pub(super) plan: &'a PodPlan,
    pub(super) sources: &'a [Source],
    pub(super) app: &'a AppPlan,
    pub(super) isolators: &'a Isolators,
    pub(super) unit: &'a UnitView,
    pub(super) filter: &'a Filter<'a>,
}

impl Subject<'_> {
    /// Whether the app's ids are nobody's on the host.
    fn user_namespace(&self) -> bool {
        self.plan.namespaces.user.is_some()
    }

    fn host_network(&self) -> bool {
        self.plan.namespaces.network == Network::Host
    }

    fn has(&self, capability: &str) -> bool {
        self.app.capabilities.bounding.iter().any(|name| name == capability)
    }

    /// Whether it has a capability that is good for something beyond the pod.
    fn wields(&self, capability: &str) -> bool {
        !self.user_namespace() && self.has(capability)
    }

    /// Paths of the host that are mounted, and whether read-only.
    fn host_paths(&self) -> impl Iterator<Item = (&Path, bool)> {
        self.app.mounts.iter().filter_map(|mount| {
            let MountSource::Descriptor(name) = &mount.source else { return None };
            let source = self.sources.iter().find(|source| source.name == *name)?;
            match &source.origin {
                Origin::Host(path) => Some((path.as_path(), mount.read_only)),
                Origin::Pod(_) | Origin::State(_) => None,
            }
        })
    }

    /// Host paths where files that the app makes belong to users of the host.
    fn shared_owners(&self) -> Vec<&Path> {
        let writable = self.app.mounts.iter().filter(|mount| !mount.read_only);
        let paths = writable.filter_map(|mount| {
            let MountSource::Descriptor(name) = &mount.source else { return None };
            let source = self.sources.iter().find(|source| source.name == *name)?;
            match &source.origin {
                Origin::Host(path) if source.idmap => Some(path.as_path()),
                _ => None,
            }
        });
        paths.collect()
    }

    /// How much of `dirs` is mounted from the host: 0 nothing, 1 to read, 2 to write.
    fn reach(&self, dirs: &[&str]) -> u32 {
        let meets = |path: &Path| {
            dirs.iter().any(|dir| path.starts_with(dir) || Path::new(dir).starts_with(path))
        };
        let found = self.host_paths().filter(|(path, _)| meets(path));
        found.map(|(_, read_only)| if read_only { 1 } else { 2 }).max().unwrap_or(0)
    }

    fn reads_only(&self, path: &str) -> bool {
        self.app.read_only_paths.iter().any(|known| known == path)
    }

    fn mounted(&self, source: &MountSource, read_only: bool) -> bool {
        let mut of = self.app.mounts.iter().filter(|mount| mount.source == *source).peekable();
        of.peek().is_none() || (read_only && of.all(|mount| mount.read_only))
    }
}

/// Answers as they come.
pub(super) struct Answers(Vec<Answered>);

impl Answers {
    /// An answer on a scale.
    fn scale(
        &mut self,
        (name, systemd, weight): (&'static str, &'static str, u32),
        (badness, range): (u32, u32),
        description: impl Into<String>,
    ) {
        let systemd = Some(systemd).filter(|directive| !directive.is_empty());
        let description = description.into();
        let badness = badness.min(range);
        self.0.push(Answered { name, systemd, description, weight, badness, range });
    }

    /// Yes or no.
    fn flag(
        &mut self,
        question: (&'static str, &'static str, u32),
        bad: bool,
        (if_bad, if_good): (&str, &str),
    ) {
        self.scale(question, (u32::from(bad), 1), if bad { if_bad } else { if_good });
    }
}

/// Puts every question.
pub(super) fn score(subject: &Subject<'_>) -> AppScore {
    let mut answers = Answers(Vec::new());
    identity(subject, &mut answers);
    network(subject, &mut answers);
    files(subject, &mut answers);
    kernel(subject, &mut answers);
    devices(subject, &mut answers);
    resources(subject, &mut answers);
    capabilities::ask(subject, &mut answers);
    calls::ask(subject, &mut answers);
    sum(answers.0)
}

fn identity(s: &Subject<'_>, answers: &mut Answers) {
    let own = s.user_namespace();
    answers.flag(
        ("user-namespace", "PrivateUsers=", 1000),
        !own,
        ("its users are users of the host", "its users are nobody's on the host"),
    );
    let user = match (s.app.uid, own) {
        (0, false) => (10, "it runs as the host's root"),
        (0, true) => (3, "it runs as root, which outside is an id of its own"),
        (_, _) => (0, "it runs as a user"),
    };
    answers.scale(("user", "User=/DynamicUser=", 2000), (user.0, 10), user.1);
    answers.flag(
        ("supplementary-groups", "SupplementaryGroups=", 200),
        !own && !s.app.groups.is_empty(),
        ("it has supplementary groups of the host", "it has no supplementary groups of the host"),
    );
    answers.flag(
        ("no-new-privileges", "NoNewPrivileges=", 1000),
        !s.app.no_new_privileges,
        ("set-uid programs and file capabilities count", "no program gives it new privileges"),
    );
    answers.flag(
        ("ambient-capabilities", "AmbientCapabilities=", 500),
        !s.app.capabilities.ambient.is_empty(),
        ("every program it runs keeps capabilities", "capabilities are not handed on to programs"),
    );
    // Always so: PID, mount, IPC, UTS and cgroup namespaces are the pod's own (docs/stage1-abi.md).
    let always: [(&str, &str, u32, &str); 7] = [
        ("private-mounts", "PrivateMounts=", 1000, "mounts go neither in nor out"),
        ("own-root", "RootDirectory=/RootImage=", 200, "its root is that of its image"),
        ("other-processes", "ProtectProc=", 1000, "it sees the pod's processes only"),
        ("hostname", "ProtectHostname=", 50, "the host name is the pod's"),
        ("ipc", "RemoveIPC=", 100, "IPC objects are the pod's and go with it"),
        ("delegate", "Delegate=", 100, "no part of the cgroup tree is the app's to manage"),
        ("notify-access", "NotifyAccess=", 1000, "it cannot speak to systemd for the unit"),
    ];
    for (name, systemd, weight, text) in always {
        answers.scale((name, systemd, weight), (0, 1), text);
    }
}

fn network(s: &Subject<'_>, answers: &mut Answers) {
    answers.flag(
        ("private-network", "PrivateNetwork=", 2500),
        s.host_network(),
        ("it is on the host's network", "its network is a loopback of the pod's own"),
    );
    answers.flag(
        ("address-filter", "IPAddressDeny=", 1000),
        s.host_network(),
        ("it may speak to every address", "there is nobody to speak to"),
    );
}

fn files(s: &Subject<'_>, answers: &mut Answers) {
    let reach = |dirs: &[&str]| match s.reach(dirs) {
        0 => (0, "not there"),
        1 => (5, "there to read"),
        _ => (10, "there to write"),
    };
    let rows: [(&str, &str, u32, &str, &[&str]); 4] = [
        (
            "host-homes",
            "ProtectHome=",
            1000,
            "the host's home directories are",
            &["/home", "/root", "/run/user"],
        ),
        (
            "host-system",
            "ProtectSystem=",
            1000,
            "the host's programs and settings are",
            &["/usr", "/boot", "/efi", "/etc", "/bin", "/sbin", "/lib"],
        ),
        (
            "host-temporary",
            "PrivateTmp=",
            1000,
            "the host's temporary files are",
            &["/tmp", "/var/tmp"],
        ),
        (
            "host-sockets",
            "",
            1000,
            "sockets and run-time files of the host's services are",
            &["/run", "/var/run"],
        ),
    ];
    for (name, systemd, weight, what, dirs) in rows {
        let (badness, how) = reach(dirs);
        answers.scale((name, systemd, weight), (badness, 10), format!("{what} {how}"));
    }
    answers.flag(
        ("read-only-root", "", 100),
        !s.app.root.read_only,
        ("it may change the files of its root while it runs", "its root cannot be changed"),
    );
}

fn kernel(s: &Subject<'_>, answers: &mut Answers) {
    let tunables = s.reads_only("/proc/sys")
        && s.reads_only("/proc/sysrq-trigger")
        && s.mounted(&MountSource::Sysfs, true);
    answers.flag(
        ("kernel-tunables", "ProtectKernelTunables=", 1000),
        !tunables,
        ("settings of the kernel can be reached", "settings of the kernel cannot be written"),
    );
    answers.flag(
        ("control-groups", "ProtectControlGroups=", 1000),
        !s.mounted(&MountSource::Cgroup2, true),
        ("cgroup files can be written", "cgroup files cannot be written"),
    );
    let load = ["init_module", "finit_module", "delete_module"];
    answers.flag(
        ("kernel-modules", "ProtectKernelModules=", 1000),
        s.wields("sys_module") && load.iter().any(|call| s.filter.allows(call, &[])),
        ("it may load kernel modules", "it cannot load kernel modules"),
    );
    let log = s.filter.allows("syslog", &[]) && s.wields("syslog");
    let kmsg = s.app.devices.iter().any(|device| device.path == "/dev/kmsg");
    answers.flag(
        ("kernel-log", "ProtectKernelLogs=", 1000),
        log || kmsg,
        ("it may read the kernel's log", "the kernel's log is out of reach"),
    );
    let clock = ["clock_settime", "settimeofday", "adjtimex", "clock_adjtime"];
    let rtc = s.app.devices.iter().any(|device| device.path.starts_with("/dev/rtc"));
    answers.flag(
        ("clock", "ProtectClock=", 1000),
        rtc || (s.wields("sys_time") && clock.iter().any(|call| s.filter.allows(call, &[]))),
        ("it may set the clock", "it cannot set the clock"),
    );
    answers.flag(
        ("keyring", "KeyringMode=", 1000),
        ["add_key", "keyctl", "request_key"].iter().any(|call| s.filter.allows(call, &[])),
        ("it may use the kernel's keyrings, which are its user's", "kernel keyrings are closed"),
    );
    let missing =
        surface::MASKED.iter().filter(|path| !s.app.masked_paths.iter().any(|p| p == *path));
    let missing: Vec<&str> = missing.copied().collect();
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    answers.scale(
        ("masked-paths", "", 500),
        (count(missing.len()), count(surface::MASKED.len())),
        if missing.is_empty() {
            "what tells of the kernel in /proc and /sys is hidden".to_owned()
        } else {
            format!("not hidden: {}", missing.join(" "))
        },
    );
    answers.flag(
        ("label", "", 200),
        s.app.apparmor.is_none() && s.app.selinux.is_none(),
        ("no security module of the host looks after it", "a security module looks after it"),
    );
    answers.flag(
        ("proc-subset", "ProcSubset=", 10),
        true,
        ("files of /proc that are no process's are there, but for the masked ones", ""),
    );
}

fn devices(s: &Subject<'_>, answers: &mut Answers) {
    let usual = |path: &str| path.strip_prefix("/dev/").is_some_and(surface::is_usual);
    let more: Vec<&str> = s
        .app
        .devices
        .iter()
        .map(|device| device.path.as_str())
        .filter(|path| !usual(path))
        .chain(
            s.host_paths().filter_map(|(path, _)| path.to_str()).filter(|p| p.starts_with("/dev")),
        )
        .collect();
    let text = format!("it has devices of the host: {}", more.join(" "));
    answers.flag(
        ("private-devices", "PrivateDevices=", 1000),
        !more.is_empty(),
        (&text, "it has no devices but null, zero, full, random, urandom and tty"),
    );
    let each = u32::try_from(more.len()).unwrap_or(u32::MAX).saturating_mul(3);
    answers.scale(
        ("device-access", "DeviceAllow=", 1000),
        (each, 10),
        if more.is_empty() {
            "no node that it makes opens".to_owned()
        } else {
            format!("{} more nodes open", more.len())
        },
    );
}

fn resources(s: &Subject<'_>, answers: &mut Answers) {
    let limited = |file: &str, directive: &str| {
        s.app.limits.iter().any(|limit| limit.file == file && limit.value != "max")
            || s.unit.limits.iter().any(|(name, value)| name == directive && value != "infinity")
    };
    answers.flag(
        ("memory-limit", "", 200),
        !limited("memory.max", "MemoryMax"),
        ("it may use all of the host's memory", "its memory is limited"),
    );
    answers.flag(
        ("tasks-limit", "", 200),
        !limited("pids.max", "TasksMax"),
        ("it may make as many processes as the host takes", "its processes are limited"),
    );
    let ignored = &s.isolators.ignored;
    let names: Vec<&str> = ignored.iter().map(|isolator| isolator.name.as_str()).collect();
    let text = format!("asked for and not in force: {}", names.join(", "));
    answers.flag(
        ("ignored-isolators", "", 200),
        !ignored.is_empty(),
        (&text, "whatever is asked for is in force"),
    );
}
