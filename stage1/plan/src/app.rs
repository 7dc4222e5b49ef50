//! The part of the plan that describes one app: what to run, as whom, in which root, seeing what.

use serde::{Deserialize, Serialize};

/// One app of the pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AppPlan {
    /// App name, unique in the pod: `[a-z0-9]+(-[a-z0-9]+)*`.
    pub name: String,
    /// Full digest of the image, for records.
    pub image_id: String,
    /// Program and arguments. A program without `/` is searched in the `PATH` of `environment`.
    pub argv: Vec<String>,
    /// The whole environment as `NAME=value`; nothing is inherited.
    pub environment: Vec<String>,
    /// Numeric user.
    pub uid: u32,
    /// Numeric primary group.
    pub gid: u32,
    /// Numeric supplementary groups, exactly these.
    pub groups: Vec<u32>,
    /// Absolute working directory inside the app's root; it must exist.
    pub working_directory: String,
    /// The five capability sets.
    pub capabilities: Capabilities,
    /// `PR_SET_SECUREBITS` value (capabilities(7)).
    pub securebits: u32,
    /// `PR_SET_NO_NEW_PRIVS`.
    pub no_new_privileges: bool,
    /// Compiled filter; `None` = no filter.
    pub seccomp: Option<SeccompProgram>,
    /// Resource limits, as `setrlimit(2)` takes them.
    pub rlimits: Vec<Rlimit>,
    /// `/proc/self/oom_score_adj`.
    pub oom_score_adj: Option<i32>,
    /// The root file system.
    pub root: RootPlan,
    /// Mounts inside the root, in this order.
    pub mounts: Vec<Mount>,
    /// Device nodes to make available in `/dev`.
    pub devices: Vec<Device>,
    /// Devices that can be opened, whatever nodes there are; `None` = all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_rules: Option<Vec<DeviceRule>>,
    /// AppArmor profile of the host to run under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apparmor: Option<String>,
    /// SELinux context to run in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selinux: Option<String>,
    /// Paths hidden behind an empty directory or `/dev/null`; absent ones are skipped.
    pub masked_paths: Vec<String>,
    /// Paths made read-only; absent ones are skipped.
    pub read_only_paths: Vec<String>,
    /// Name of the leaf below the unit's cgroup, `app-NAME`; `None` without cgroups.
    pub leaf: Option<String>,
    /// Files to write in the leaf before the app starts.
    pub limits: Vec<LimitFile>,
    /// Whether it runs as long as the pod, or to its end.
    #[serde(default)]
    pub kind: Kind,
    /// Apps, earlier in the plan, that must be ready or over before this one starts.
    #[serde(default)]
    pub after: Vec<String>,
    /// Apps, earlier in the plan, that must be ready before this one starts, and stay.
    #[serde(default)]
    pub requires: Vec<String>,
    /// Program and arguments of a handler that ends well before the app starts; run as root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pre_start: Option<Vec<String>>,
    /// The same, run after the app's main process has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post_stop: Option<Vec<String>>,
    /// What happens when it ends.
    pub restart: Restart,
    /// When it counts as ready.
    pub ready: Ready,
    /// Number of the signal that asks it to stop.
    pub stop_signal: i32,
    /// How long it may take to stop before SIGKILL.
    pub stop_timeout_ms: u64,
    /// Descriptor name for standard input; `None` = /dev/null.
    pub stdin: Option<String>,
    /// Descriptor name for standard output; `None` = /dev/null.
    pub stdout: Option<String>,
    /// Descriptor name for standard error; `None` = /dev/null.
    pub stderr: Option<String>,
    /// Descriptor name of the master of the app's terminal, which init keeps; standard input is
    /// then the other side, and becomes the controlling terminal. `None` = no terminal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminal: Option<String>,
    /// Listening sockets it is handed from descriptor 3 on, in this order (sd_listen_fds(3)).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sockets: Vec<Socket>,
    /// Which isolators are in force, changed, or ignored.
    pub isolators: Isolators,
}

/// A socket that somebody else has opened for an app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Socket {
    /// What the app is told of it, in `LISTEN_FDNAMES`.
    pub name: String,
    /// Name of its descriptor.
    pub descriptor: String,
}

/// Capability sets by kernel name without `CAP_`, lower case (`net_bind_service`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// Upper bound of what an exec can give.
    pub bounding: Vec<String>,
    /// In force.
    pub effective: Vec<String>,
    /// May be put in force.
    pub permitted: Vec<String>,
    /// Kept over an exec of a file that has them inheritable.
    pub inheritable: Vec<String>,
    /// Kept over an exec of any file; how a non-root user gets them.
    pub ambient: Vec<String>,
}

/// A compiled classic BPF filter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeccompProgram {
    /// `x86_64` or `aarch64`.
    pub arch: String,
    /// Instructions as `[code, jt, jf, k]`.
    pub program: Vec<(u16, u8, u8, u32)>,
}

/// One resource limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// `nofile`, `core`, … as in getrlimit(2) without `RLIMIT_`.
    pub resource: String,
    /// Soft limit; `None` = infinity.
    pub soft: Option<u64>,
    /// Hard limit; `None` = infinity.
    pub hard: Option<u64>,
}

/// The app's root: an overlay of immutable layers under a private upper directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RootPlan {
    /// Names of descriptors of detached mounts (`open_tree(2)` with `OPEN_TREE_CLONE`) of the
    /// layer trees, topmost first, at most 500.
    pub lowers: Vec<String>,
    /// Name of the descriptor of a detached mount of a directory that holds `upper/` and `work/`.
    pub upper: String,
    /// Mount the root read-only.
    pub read_only: bool,
}

/// One mount inside an app's root. The target is resolved inside the root (`openat2`,
/// `RESOLVE_IN_ROOT`); missing parents are made, 0755 root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Mount {
    /// What is mounted.
    pub source: MountSource,
    /// Absolute path inside the root.
    pub target: String,
    /// Read-only, all the way down.
    pub read_only: bool,
    /// Set `nosuid`.
    pub nosuid: bool,
    /// Set `nodev`.
    pub nodev: bool,
    /// Set `noexec`.
    pub noexec: bool,
    /// What is mounted is the host's: nothing may be made in it, not even places for mounts below it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lent: bool,
}

/// Where a mount comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MountSource {
    /// A detached mount by descriptor name: a file, a directory or a device.
    Descriptor(String),
    /// A fresh tmpfs of its own.
    Tmpfs {
        /// `size=` in bytes; `None` = the kernel's default.
        size: Option<u64>,
        /// Octal mode of its root.
        mode: u32,
    },
    /// The pod's one tmpfs of this name, shared by all apps that mount it (`/dev/shm`, volumes of
    /// kind `tmpfs`).
    SharedTmpfs {
        /// Key inside the pod.
        name: String,
        /// `size=` in bytes; `None` = the kernel's default.
        size: Option<u64>,
        /// Octal mode of its root.
        mode: u32,
        /// Owner of its root.
        uid: u32,
        /// Group of its root.
        gid: u32,
    },
    /// procfs of the pod's PID namespace.
    Proc,
    /// sysfs of the pod's network namespace.
    Sysfs,
    /// cgroup2, seen from the app's own leaf.
    Cgroup2,
    /// `/dev`: a tmpfs with the plan's devices, `pts`, `shm`, `mqueue`, `fd` and the usual links.
    Dev,
    /// Files in memory that only the app's user can read, copied from descriptors; what is in them
    /// is never swapped, and never part of a plan.
    Credentials(Vec<Credential>),
}

/// A credential of an app (systemd.exec(5)).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// Name of the file.
    pub name: String,
    /// Name of the descriptor that its bytes are read from, from the first one on; other apps may
    /// name it too.
    pub descriptor: String,
}

/// A device node of the host made available in the app's `/dev`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Device {
    /// Absolute path inside the root, below `/dev`.
    pub path: String,
    /// Name of the descriptor of a detached mount of the node.
    pub source: String,
}

/// Block or character.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceKind {
    /// Block device.
    Block,
    /// Character device.
    Character,
}

/// Devices that an app may open to read and write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DeviceRule {
    /// Block or character.
    pub kind: DeviceKind,
    /// Major number.
    pub major: u32,
    /// Minor number; `None` = any.
    pub minor: Option<u32>,
    /// It may also make nodes for it.
    pub mknod: bool,
}

/// One limit: a cgroup file and what belongs in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LimitFile {
    /// Who asks for it: a key of the pod file (`limits.memory-max`) or an appc isolator. May be
    /// empty: then the file stands for itself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// `memory.max`, `cpu.max`, `pids.max`, …
    pub file: String,
    /// What is written.
    pub value: String,
    /// The same limit in the terms of other controllers, each a file and its value: written where
    /// they exist. One of all is enough.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub or: Vec<(String, String)>,
    /// Why what is written is not quite what was asked for, if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<String>,
    /// `false`: what cannot be enforced is reported instead of failing the pod.
    pub required: bool,
}

/// What an app is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Runs on; it is ready when it has been executed.
    #[default]
    Service,
    /// Runs to its end; it is ready when it has ended with 0.
    Oneshot,
}

/// Restart policy of an app inside a living pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// Never.
    No,
    /// After an end with another status than 0.
    OnFailure(RestartRules),
    /// After every end that was not asked for.
    Always(RestartRules),
}

/// How soon and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RestartRules {
    /// The first pause; each further one is twice as long …
    pub delay_ms: u64,
    /// … up to this. A run as long as this makes the next pause the first again.
    pub max_delay_ms: u64,
    /// After so many restarts …
    pub limit_count: u32,
    /// … within this time the app is not started again: it has failed.
    pub limit_window_ms: u64,
}

/// When an app counts as ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ready {
    /// As soon as `execve(2)` has succeeded.
    Exec,
}

/// An isolator by name with a word on what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Isolator {
    /// appc name (`os/linux/no-new-privileges`) or pod-file key (`limits.memory-max`).
    pub name: String,
    /// Why, or with which value.
    pub detail: String,
}

/// What became of each isolator that image or pod file asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Isolators {
    /// In force as asked.
    pub enforced: Vec<Isolator>,
    /// In force with another value.
    pub changed: Vec<Isolator>,
    /// Not in force.
    pub ignored: Vec<Isolator>,
}
