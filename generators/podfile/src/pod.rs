//! What a pod file says, fully typed, with every default filled in.

use crate::app::App;
use crate::limits::Limits;
use crate::names::{Dns, Hosts};
use crate::values::TimeSpan;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// A pod file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodFile {
    /// `version`: always 1 in this release.
    pub version: u32,
    /// `description`: one line for people.
    pub description: Option<String>,
    /// `network`.
    pub network: Network,
    /// `hostname`; `None` = the pod's name.
    pub hostname: Option<String>,
    /// `dns`.
    pub dns: Dns,
    /// `hosts`.
    pub hosts: Hosts,
    /// `flavour`: name of the stage1.
    pub flavour: String,
    /// `exit-policy`: when the pod as a whole ends.
    pub exit_policy: ExitPolicy,
    /// `log`: how lines reach the journal.
    pub log: Log,
    /// `[app.NAME]`, in start order: the order of writing, made to follow `after` and `requires`.
    pub apps: Vec<App>,
    /// `[volume.NAME]`.
    pub volumes: Vec<Volume>,
    /// `[port.NAME]`.
    pub ports: Vec<Port>,
    /// `[limits]`: around the whole pod.
    pub limits: Limits,
    /// `[security]` of the pod.
    pub security: PodSecurity,
    /// `[sysctls]`: names and values, sorted by name.
    pub sysctls: Vec<(String, String)>,
    /// `[credentials]`.
    pub credentials: Vec<Credential>,
    /// `[unit]`: the part that only systemd acts on.
    pub unit: Unit,
    /// `[schedule]`: when a timer starts the pod.
    pub schedule: Option<Schedule>,
}

impl PodFile {
    /// The app called `name`.
    pub fn app(&self, name: &str) -> Option<&App> {
        self.apps.iter().find(|app| app.name == name)
    }

    /// The volume called `name`.
    pub fn volume(&self, name: &str) -> Option<&Volume> {
        self.volumes.iter().find(|volume| volume.name == name)
    }

    /// How long a stop in order may take: `unit.stop-timeout`, or the sum over the apps plus 5 s.
    /// An app with a `post-stop` handler counts twice: that may take as long again.
    pub fn stop_timeout(&self) -> TimeSpan {
        self.unit.stop_timeout.unwrap_or_else(|| {
            let sum = self.apps.iter().fold(Duration::from_secs(5), |sum, app| {
                let handler = app.post_stop.as_ref().is_some_and(|argv| !argv.is_empty());
                sum.saturating_add(app.stop_timeout.saturating_mul(if handler { 2 } else { 1 }))
            });
            TimeSpan::Finite(sum)
        })
    }
}

/// `network`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Network {
    /// The host's.
    Host,
    /// Its own, with the loopback and nothing else.
    None,
    /// The default network.
    Default,
    /// The default network without a way to the host.
    Restricted,
    /// Networks by name.
    Named(Vec<String>),
}

/// `exit-policy`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExitPolicy {
    /// The first app that fails, or the end of all, ends the pod.
    AnyFailure,
    /// The pod ends when every app has ended.
    AllDone,
    /// The pod ends with this app.
    App(String),
}

/// `log`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Log {
    /// A journal stream an app, no relay.
    Stream,
    /// Relayed by init, with fields of rocket's own.
    Fields,
}

/// `[security]` of the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodSecurity {
    /// `user-namespace`: whether the pod is to have one of its own.
    pub user_namespace: bool,
}

impl Default for PodSecurity {
    fn default() -> Self {
        Self { user_namespace: true }
    }
}

/// `[volume.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// NAME.
    pub name: String,
    /// `kind`, with the keys that belong to it.
    pub kind: VolumeKind,
    /// `mode` of the directory when rocket makes it; `None` = 0755, or that of the image's.
    pub mode: Option<u32>,
    /// `uid` of the directory when rocket makes it; `None` = 0, or that of the image's.
    pub uid: Option<u32>,
    /// `gid` of the directory when rocket makes it; `None` = 0, or that of the image's.
    pub gid: Option<u32>,
    /// `idmap`: map owners into the pod's user namespace.
    pub idmap: bool,
    /// `read-only`: for every app that mounts it.
    pub read_only: bool,
}

/// `kind` of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VolumeKind {
    /// Managed and kept over restarts and updates.
    State,
    /// Managed, made empty at each start, on the state directory's disk.
    Empty,
    /// In memory.
    Tmpfs {
        /// `size` in bytes; `None` = the kernel's default.
        size: Option<u64>,
    },
    /// A path of the host.
    Host {
        /// `source`: absolute.
        source: PathBuf,
        /// `recursive`: with the mounts below it.
        recursive: bool,
        /// `follow-symlinks`: `source` may be, or go through, a symbolic link.
        follow_symlinks: bool,
    },
}

/// `[port.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// NAME.
    pub name: String,
    /// `app` that answers on it.
    pub app: String,
    /// `port` the app listens on.
    pub port: u16,
    /// `protocol`.
    pub protocol: Protocol,
    /// `listen`: where the host listens.
    pub listen: Vec<ListenAddress>,
    /// `activation`: systemd listens and hands the socket over.
    pub activation: bool,
}

/// `protocol` of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// One entry of `listen`, in `ListenStream=` syntax.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// `8080`: every address.
    Port(u16),
    /// `127.0.0.1:8080`, `[::]:8080`.
    Inet(IpAddr, u16),
    /// `/run/x.sock`.
    Unix(String),
    /// `@name`.
    Abstract(String),
}

impl ListenAddress {
    /// Whether sockets of IPv6 must leave IPv4 alone, because one port is listened on with an
    /// address of each family (ipv6(7), `IPV6_V6ONLY`).
    pub fn apart(addresses: &[Self]) -> bool {
        let port_of = |v6: bool| {
            addresses.iter().filter_map(move |address| match address {
                Self::Inet(ip, port) if ip.is_ipv6() == v6 => Some(*port),
                _ => None,
            })
        };
        port_of(true).any(|v6| port_of(false).any(|v4| v4 == v6))
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(port) => write!(f, "{port}"),
            Self::Inet(IpAddr::V4(ip), port) => write!(f, "{ip}:{port}"),
            Self::Inet(IpAddr::V6(ip), port) => write!(f, "[{ip}]:{port}"),
            Self::Unix(path) => f.write_str(path),
            Self::Abstract(name) => write!(f, "@{name}"),
        }
    }
}

/// One entry of `[credentials]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// Its name.
    pub name: String,
    /// Where its bytes come from.
    pub source: CredentialSource,
}

/// Where a credential comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialSource {
    /// `load`: a path, or a name in systemd's credential stores.
    Load(String),
    /// `load-encrypted`: the same, encrypted.
    LoadEncrypted(String),
    /// `set`: in the pod file itself.
    Set(String),
}

/// `[unit]`. The dependency lists hold complete unit names: `pod:NAME` is already
/// `rocket@NAME.service`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// `after`.
    pub after: Vec<String>,
    /// `before`.
    pub before: Vec<String>,
    /// `requires`.
    pub requires: Vec<String>,
    /// `wants`.
    pub wants: Vec<String>,
    /// `conflicts`.
    pub conflicts: Vec<String>,
    /// `restart` of the pod.
    pub restart: RestartPolicy,
    /// `restart-sec`.
    pub restart_sec: TimeSpan,
    /// `start-timeout`.
    pub start_timeout: TimeSpan,
    /// `stop-timeout`; `None` = see [`PodFile::stop_timeout`].
    pub stop_timeout: Option<TimeSpan>,
    /// `slice`; `None` = the template's `rocket.slice`.
    pub slice: Option<String>,
    /// `machine`: register with systemd-machined.
    pub machine: bool,
    /// `app-scopes`: a scope an app.
    pub app_scopes: bool,
}

impl Default for Unit {
    fn default() -> Self {
        Self {
            after: Vec::new(),
            before: Vec::new(),
            requires: Vec::new(),
            wants: Vec::new(),
            conflicts: Vec::new(),
            restart: RestartPolicy::OnFailure,
            restart_sec: TimeSpan::Finite(Duration::from_secs(1)),
            start_timeout: TimeSpan::Finite(Duration::from_secs(90)),
            stop_timeout: None,
            slice: None,
            machine: false,
            app_scopes: false,
        }
    }
}

/// `[schedule]`: what `rocket@NAME.timer` waits for (systemd.timer(5)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// `calendar`: events in calendar time, as systemd.time(7) writes them.
    pub calendar: Vec<String>,
    /// `after-boot`: once, so long after the boot.
    pub after_boot: Option<TimeSpan>,
    /// `every`: so long after the last run ended, again and again.
    pub every: Option<TimeSpan>,
    /// `persistent`: what was missed while the host was off is done at once.
    pub persistent: bool,
    /// `random-delay`: at most so much later.
    pub random_delay: Option<TimeSpan>,
    /// `accuracy`; `None` = systemd's.
    pub accuracy: Option<TimeSpan>,
}

/// `restart` of an app (default `no`) or of the unit (default `on-failure`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartPolicy {
    /// Never.
    No,
    /// After a failure.
    OnFailure,
    /// Always.
    Always,
}

impl RestartPolicy {
    /// As systemd and the pod file write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::OnFailure => "on-failure",
            Self::Always => "always",
        }
    }
}
