//! `[app.NAME]`: one program of the pod.

use crate::limits::Limits;
use crate::pod::RestartPolicy;
use crate::values::{Capability, Signal};
use std::path::PathBuf;
use std::time::Duration;

/// `[app.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct App {
    /// NAME.
    pub name: String,
    /// `image`: a reference, as written.
    pub image: String,
    /// `exec`; `None` = the image's.
    pub exec: Option<Vec<String>>,
    /// `user`; `None` = the image's.
    pub user: Option<Account>,
    /// `group`; `None` = the image's.
    pub group: Option<Account>,
    /// `supplementary-groups`, exactly these; `None` = the image's.
    pub supplementary_groups: Option<Vec<Account>>,
    /// `working-directory`, absolute; `None` = the image's.
    pub working_directory: Option<String>,
    /// `environment`, sorted by name; over the image's.
    pub environment: Vec<(String, String)>,
    /// `environment-files`, absolute paths of the host; under `environment`.
    pub environment_files: Vec<PathBuf>,
    /// `pre-start`: a handler that runs before; `None` = the image's.
    pub pre_start: Option<Vec<String>>,
    /// `post-stop`: a handler that runs after; `None` = the image's.
    pub post_stop: Option<Vec<String>>,
    /// `kind`.
    pub kind: AppKind,
    /// `after`: apps that start before this one.
    pub after: Vec<String>,
    /// `requires`: apps without which this one does not start.
    pub requires: Vec<String>,
    /// `restart`.
    pub restart: RestartPolicy,
    /// `restart-delay`: the first pause before a restart.
    pub restart_delay: Duration,
    /// `restart-max-delay`: the longest pause.
    pub restart_max_delay: Duration,
    /// `restart-limit`.
    pub restart_limit: RestartLimit,
    /// `ready`.
    pub ready: Ready,
    /// `health`.
    pub health: Option<Health>,
    /// `stop-signal`; `None` = the image's, or SIGTERM.
    pub stop_signal: Option<Signal>,
    /// `stop-timeout`: from the stop signal to SIGKILL.
    pub stop_timeout: Duration,
    /// `credentials`: the names this app may read.
    pub credentials: Vec<String>,
    /// `mounts`, sorted by target, so that a parent comes before what lies below it.
    pub mounts: Vec<AppMount>,
    /// `limits` of the app's leaf.
    pub limits: Limits,
    /// `security`.
    pub security: AppSecurity,
}

/// A user or a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Account {
    /// By number.
    Id(u32),
    /// By a name that the image's `/etc/passwd` or `/etc/group` has, or a `/path` of the image whose
    /// owner is meant.
    Name(String),
}

/// `kind` of an app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppKind {
    /// Runs as long as the pod.
    Service,
    /// Runs to its end; what comes after it waits for that.
    Oneshot,
}

/// `restart-limit`: `COUNT/WINDOW`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartLimit {
    /// Restarts allowed …
    pub count: u32,
    /// … within this time.
    pub window: Duration,
}

/// `ready`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ready {
    /// Its program was executed.
    Exec,
    /// It said `READY=1`.
    Notify,
    /// A probe succeeded.
    Probe(Probe),
}

/// A question put to an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// `{ tcp = PORT }`: it accepts a connection.
    Tcp(u16),
    /// `{ http = PORT, path = "/" }`: it answers with 2xx or 3xx.
    Http {
        /// Port.
        port: u16,
        /// Path of the request.
        path: String,
    },
    /// `{ command = [PROGRAM, ARG…] }`: run inside the app, it ends with 0.
    Command(Vec<String>),
}

/// `health`: a probe that is repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// The probe.
    pub probe: Probe,
    /// `interval`.
    pub interval: Duration,
    /// `timeout` of one probe.
    pub timeout: Duration,
    /// `retries`: failures in a row that make it unhealthy.
    pub retries: u32,
}

/// One entry of `mounts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppMount {
    /// Absolute path inside the app.
    pub target: String,
    /// Name of the volume.
    pub volume: String,
    /// `read-only` for this app.
    pub read_only: bool,
}

/// `security` of an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppSecurity {
    /// `capabilities`; `None` = what the image asks for, at most appc's 14.
    pub capabilities: Option<Vec<Capability>>,
    /// `no-new-privileges`.
    pub no_new_privileges: bool,
    /// `read-only`: the root file system.
    pub read_only: bool,
    /// `seccomp`.
    pub seccomp: Seccomp,
    /// `devices`: nodes of the host, absolute paths below `/dev`.
    pub devices: Vec<String>,
    /// `rlimits`.
    pub rlimits: Vec<Rlimit>,
    /// `oom-score-adj`; `None` = what the image asks for, or 0.
    pub oom_score_adj: Option<i32>,
    /// `apparmor`: a profile of the host.
    pub apparmor: Option<String>,
    /// `selinux`: a context.
    pub selinux: Option<String>,
}

impl Default for AppSecurity {
    fn default() -> Self {
        Self {
            capabilities: None,
            no_new_privileges: true,
            read_only: false,
            seccomp: Seccomp::Default,
            devices: Vec::new(),
            rlimits: Vec::new(),
            oom_score_adj: None,
            apparmor: None,
            selinux: None,
        }
    }
}

/// One entry of `rlimits`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rlimit {
    /// As in setrlimit(2), lower case without `RLIMIT_`.
    pub resource: String,
    /// Soft limit; `None` = infinity.
    pub soft: Option<u64>,
    /// Hard limit; `None` = infinity.
    pub hard: Option<u64>,
}

/// `seccomp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seccomp {
    /// The allow-list rocket ships.
    Default,
    /// What the image asks for, where it asks for anything.
    Image,
    /// No filter at all.
    None,
}
