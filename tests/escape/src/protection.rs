//! What stands between an app and the host.

use std::fmt;

/// One protection. Those for which [`Protection::switch`] is true can be taken away from one pod
/// alone; for the others the attempt is shown outside of any pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protection {
    /// Ids of the pod that mean nothing outside.
    UserNamespace,
    /// appc's 14 at most.
    Capabilities,
    /// The list of allowed system calls.
    Seccomp,
    /// No exec gains privileges.
    NoNewPrivileges,
    /// Kernel files covered.
    Masks,
    /// Kernel files and volumes that cannot be written.
    ReadOnly,
    /// No node opens on what an app can write to.
    NoDev,
    /// No set-uid bit counts on volumes.
    NoSuid,
    /// Only the nodes of the list are there and open.
    Devices,
    /// A network of the pod's own.
    Network,
    /// Limits of the pod and of the app.
    Limits,
    /// Processes of the pod's own, and an init that is not harmed from inside.
    PidNamespace,
    /// A root of the app's own, with no way back to the host's tree.
    Root,
    /// System V IPC and message queues of the pod's own.
    IpcNamespace,
    /// The app's leaf as the root of the cgroup tree, read-only.
    Cgroup,
    /// The root mounted `nodev`, whatever its layers hold.
    RootNoDev,
    /// No descriptor and no working directory from outside.
    Descriptors,
    /// A session of the app's own: the caller's terminal is not its.
    Session,
}

use Protection as P;

impl Protection {
    /// All, in the order of the documentation.
    pub const ALL: [Self; 18] = [
        P::UserNamespace,
        P::Capabilities,
        P::Seccomp,
        P::NoNewPrivileges,
        P::Masks,
        P::ReadOnly,
        P::NoDev,
        P::NoSuid,
        P::Devices,
        P::Network,
        P::Limits,
        P::PidNamespace,
        P::Root,
        P::IpcNamespace,
        P::Cgroup,
        P::RootNoDev,
        P::Descriptors,
        P::Session,
    ];

    /// Whether a pod can be made without it.
    #[must_use]
    pub fn switch(self) -> bool {
        !matches!(
            self,
            P::PidNamespace
                | P::Root
                | P::IpcNamespace
                | P::Cgroup
                | P::RootNoDev
                | P::Descriptors
                | P::Session
        )
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            P::UserNamespace => "user namespace",
            P::Capabilities => "capabilities",
            P::Seccomp => "seccomp",
            P::NoNewPrivileges => "no-new-privileges",
            P::Masks => "masked paths",
            P::ReadOnly => "read-only paths",
            P::NoDev => "nodev",
            P::NoSuid => "nosuid",
            P::Devices => "device list",
            P::Network => "network namespace",
            P::Limits => "limits",
            P::PidNamespace => "PID namespace",
            P::Root => "root of its own",
            P::IpcNamespace => "IPC namespace",
            P::Cgroup => "cgroup namespace, read-only",
            P::RootNoDev => "root mounted nodev",
            P::Descriptors => "descriptors closed",
            P::Session => "session of its own",
        }
    }
}

impl fmt::Display for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Every capability of the kernel that the suite runs on, as plans name them.
pub const CAPABILITIES: [&str; 41] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];
