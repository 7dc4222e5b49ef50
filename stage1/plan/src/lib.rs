//! PodPlan: the versioned request that stage0 hands to stage1, with every decision already made.
//!
//! Plain data only: no IO, no policy, no system calls. The prose contract is `docs/stage1-abi.md`;
//! where the two differ, that is a bug. Sizes are bytes, times are milliseconds unless a name says
//! otherwise. A reader ignores fields it does not know and refuses an unknown entry of
//! [`PodPlan::features_required`]: that is how the ABI grows.
#![forbid(unsafe_code)]

mod app;
mod record;
mod report;

pub use app::{
    AppPlan, Capabilities, Credential, Device, DeviceKind, DeviceRule, Isolator, Isolators, Kind,
    LimitFile, Mount, MountSource, Ready, Restart, RestartRules, Rlimit, RootPlan, SeccompProgram,
    Socket,
};
pub use record::{AppExit, Cause, ExitRecord, PodExit, RecordError, decode_records, encode_record};
pub use report::{AppReport, REPORT_VERSION, Report};

use serde::{Deserialize, Serialize};

/// The ABI version this crate describes. stage1 refuses a plan of another major version.
pub const ABI: u32 = 1;

/// Features a plan may require of a flavour; `stage1.toml` lists the ones a flavour claims.
pub mod feature {
    /// Apps are handed listening sockets.
    pub const SOCKETS: &str = "sockets";
    /// Apps are handed credentials as files in memory.
    pub const CREDENTIALS: &str = "credentials";
    /// Apps have overlay roots built from descriptors of layer trees.
    pub const OVERLAY: &str = "overlay";
    /// The pod shares the host's network namespace.
    pub const NET_HOST: &str = "net-host";
    /// The pod has a network namespace of its own with nothing but the loopback.
    pub const NET_NONE: &str = "net-none";
    /// Each app has a leaf cgroup.
    pub const CGROUP_LEAVES: &str = "cgroup-leaves";
    /// Several apps in one pod.
    pub const MULTI_APP: &str = "multi-app";
    /// Apps can have a terminal, which init keeps, and to which clients attach.
    pub const TERMINAL: &str = "terminal";
    /// Apps that end are started again while the pod lives on.
    pub const RESTART: &str = "restart";
    /// Apps start after others and require them; some run to their end.
    pub const APP_ORDER: &str = "app-order";
    /// Handlers run before and after apps: `pre-start` and `post-stop`.
    pub const HANDLERS: &str = "handlers";
    /// What became of each limit is looked at and reported, those of the pod too.
    pub const LIMIT_REPORT: &str = "limit-report";
    /// Apps have a list of devices that they can open.
    pub const DEVICE_RULES: &str = "device-rules";
    /// Apps run under labels of the host's security modules.
    pub const LABELS: &str = "labels";
    /// The pod has a user namespace of its own, handed over as a descriptor.
    pub const USER_NAMESPACE: &str = "user-namespace";
}

/// Names of the descriptors a plan can carry. App specific ones are `NAME:APP` (for example
/// `stdout:nginx`), those of layers and volumes are chosen by stage0 and named in the plan.
pub mod descriptor {
    /// flock on the pod's `lock` file; held for the life of the pod, never used otherwise.
    pub const LOCK: &str = "lock";
    /// flock on `names/NAME.lock`; held for the life of the pod.
    pub const NAME_LOCK: &str = "name-lock";
    /// The exit record, opened write-only and append.
    pub const EXIT_RECORD: &str = "exit-record";
    /// A listening `SOCK_SEQPACKET` unix socket: the control protocol.
    pub const CONTROL: &str = "control";
    /// One end of a stream socket pair whose other end a foreground stage0 holds: end of file
    /// means "stop in order".
    pub const TETHER: &str = "tether";
    /// A datagram socket connected to `$NOTIFY_SOCKET`.
    pub const NOTIFY: &str = "notify";
    /// The pod directory's `pid` file, opened write-only: init's PID as the host sees it.
    pub const PID_FILE: &str = "pid";
    /// The pod directory's `limits.json`, opened write-only: the [`Report`](crate::Report).
    pub const REPORT: &str = "report";
    /// The pod's user namespace, where the plan has one.
    pub const USER_NAMESPACE: &str = "user-namespace";
    /// The network namespace that belongs to that user namespace, for [`super::Network::None`].
    pub const NETWORK_NAMESPACE: &str = "network-namespace";
}

/// Everything stage1 needs to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PodPlan {
    /// Always [`ABI`].
    pub abi: u32,
    /// Features without which the pod must not run; an unknown one is refused.
    pub features_required: Vec<String>,
    /// RFC 4122 UUID of this instance, lower case with dashes.
    pub uuid: String,
    /// Pod name, if it has one.
    pub name: Option<String>,
    /// UTS host name.
    pub hostname: String,
    /// `/proc/sys/kernel/random/boot_id` of the boot this plan was completed in.
    pub boot_id: String,
    /// Inherited descriptors by name and number; every other one is closed by stage1.
    pub descriptors: Vec<Descriptor>,
    /// Which namespaces the pod has.
    pub namespaces: Namespaces,
    /// Who owns the cgroup.
    pub cgroup: Cgroup,
    /// What init's own exit status tells its parent.
    pub exit_status: ExitStatus,
    /// When the pod as a whole ends.
    pub exit_policy: ExitPolicy,
    /// The longest that stopping in order may take; after it everything is killed.
    pub stop_deadline_ms: u64,
    /// Namespaced sysctls, `net.ipv4.ip_forward` style name and value.
    pub sysctls: Vec<(String, String)>,
    /// Limits of the whole pod, which its unit has already: looked at, never written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<LimitFile>,
    /// What stage0 has made of the pod's limits already.
    #[serde(default)]
    pub isolators: Isolators,
    /// The apps, in start order.
    pub apps: Vec<AppPlan>,
}

impl PodPlan {
    /// The number of the descriptor called `name`.
    pub fn descriptor(&self, name: &str) -> Option<i32> {
        self.descriptors.iter().find(|d| d.name == name).map(|d| d.fd)
    }
}

/// One inherited descriptor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Descriptor {
    /// One of [`descriptor`]'s names, or a name used elsewhere in the plan.
    pub name: String,
    /// Its number in stage1's entry process.
    pub fd: i32,
}

/// Namespaces of the pod. PID, mount, IPC, UTS and cgroup are always private.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Namespaces {
    /// Network.
    pub network: Network,
    /// The user namespace's id map; `None` = the pod shares the host's user namespace.
    pub user: Option<IdMap>,
}

/// Network namespace of the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// The host's.
    Host,
    /// Its own, with the loopback up and nothing else.
    None,
}

/// A contiguous id map, the same for users and groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMap {
    /// First id outside.
    pub base: u32,
    /// Number of ids, from 0 inside.
    pub count: u32,
}

/// Who owns the pod's cgroup, and how stage1 gets there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cgroup {
    /// The entry process is already in the unit's own, delegated cgroup and is its main process:
    /// hand-over with `MAINPID=`.
    Unit,
    /// stage0 moves init into a scope while it builds its mounts, then writes one byte to the
    /// tether: "the cgroup you are in now is yours".
    Scope,
    /// No cgroup: the pod is a plain child and has no leaves.
    None,
}

/// What init's exit status means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExitStatus {
    /// For a unit: 0 after a stop that was asked for, else the status of the app that ended the pod.
    Unit,
    /// For a person at a shell: always the status of the app that ended the pod (128+n for signal n).
    App,
}

/// When the pod ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExitPolicy {
    /// The first app that fails, for good, ends the pod with its status; all ending well ends it
    /// with 0.
    AnyFailure,
    /// The pod ends when all apps have; its status is the first failure's.
    AllDone,
    /// The pod ends with the named app, and with its status.
    App(String),
}
