//! What the bounding set lets an app become.

use super::{Answers, Subject};

/// Name, systemd's directive, weight, capabilities, and whether they are good for anything where the
/// app's user namespace is its own: then they are, but only over what is the pod's.
const ROWS: &[(&str, &str, u32, &[&str], Reach)] = &[
    ("cap-sys-admin", "CapabilityBoundingSet=~CAP_SYS_ADMIN", 1500, &["sys_admin"], Reach::Pod),
    (
        "cap-set-ids",
        "CapabilityBoundingSet=~CAP_SET(UID|GID|PCAP)",
        1500,
        &["setuid", "setgid", "setpcap"],
        Reach::Pod,
    ),
    ("cap-sys-ptrace", "CapabilityBoundingSet=~CAP_SYS_PTRACE", 1500, &["sys_ptrace"], Reach::Pod),
    ("cap-sys-time", "CapabilityBoundingSet=~CAP_SYS_TIME", 1000, &["sys_time"], Reach::Host),
    ("cap-net-admin", "CapabilityBoundingSet=~CAP_NET_ADMIN", 1000, &["net_admin"], Reach::Network),
    ("cap-sys-rawio", "CapabilityBoundingSet=~CAP_SYS_RAWIO", 1000, &["sys_rawio"], Reach::Host),
    ("cap-sys-module", "CapabilityBoundingSet=~CAP_SYS_MODULE", 1000, &["sys_module"], Reach::Host),
    (
        "cap-owners",
        "CapabilityBoundingSet=~CAP_(CHOWN|FSETID|SETFCAP)",
        1000,
        &["chown", "fsetid", "setfcap"],
        Reach::Pod,
    ),
    (
        "cap-files",
        "CapabilityBoundingSet=~CAP_(DAC_*|FOWNER|IPC_OWNER)",
        1000,
        &["dac_override", "dac_read_search", "fowner", "ipc_owner"],
        Reach::Pod,
    ),
    (
        "cap-audit",
        "CapabilityBoundingSet=~CAP_AUDIT_*",
        500,
        &["audit_control", "audit_read", "audit_write"],
        Reach::Host,
    ),
    ("cap-syslog", "CapabilityBoundingSet=~CAP_SYSLOG", 500, &["syslog"], Reach::Host),
    (
        "cap-sys-nice",
        "CapabilityBoundingSet=~CAP_SYS_(NICE|RESOURCE)",
        500,
        &["sys_nice", "sys_resource"],
        Reach::Host,
    ),
    ("cap-mknod", "CapabilityBoundingSet=~CAP_MKNOD", 500, &["mknod"], Reach::Host),
    ("cap-kill", "CapabilityBoundingSet=~CAP_KILL", 500, &["kill"], Reach::Pod),
    (
        "cap-net",
        "CapabilityBoundingSet=~CAP_NET_(BIND_SERVICE|BROADCAST|RAW)",
        500,
        &["net_bind_service", "net_broadcast", "net_raw"],
        Reach::Network,
    ),
    ("cap-sys-boot", "CapabilityBoundingSet=~CAP_SYS_BOOT", 100, &["sys_boot"], Reach::Host),
    (
        "cap-mac",
        "CapabilityBoundingSet=~CAP_MAC_*",
        100,
        &["mac_admin", "mac_override"],
        Reach::Host,
    ),
    (
        "cap-immutable",
        "CapabilityBoundingSet=~CAP_LINUX_IMMUTABLE",
        75,
        &["linux_immutable"],
        Reach::Host,
    ),
    ("cap-ipc-lock", "CapabilityBoundingSet=~CAP_IPC_LOCK", 50, &["ipc_lock"], Reach::Host),
    ("cap-sys-chroot", "CapabilityBoundingSet=~CAP_SYS_CHROOT", 50, &["sys_chroot"], Reach::Pod),
    (
        "cap-block-suspend",
        "CapabilityBoundingSet=~CAP_BLOCK_SUSPEND",
        25,
        &["block_suspend"],
        Reach::Host,
    ),
    ("cap-wake-alarm", "CapabilityBoundingSet=~CAP_WAKE_ALARM", 25, &["wake_alarm"], Reach::Host),
    ("cap-lease", "CapabilityBoundingSet=~CAP_LEASE", 25, &["lease"], Reach::Pod),
    (
        "cap-tty-config",
        "CapabilityBoundingSet=~CAP_SYS_TTY_CONFIG",
        25,
        &["sys_tty_config"],
        Reach::Host,
    ),
    ("cap-pacct", "CapabilityBoundingSet=~CAP_SYS_PACCT", 25, &["sys_pacct"], Reach::Host),
    ("cap-bpf", "CapabilityBoundingSet=~CAP_BPF", 25, &["bpf"], Reach::Host),
];

/// How far a capability goes that is held in a user namespace of the pod's own (user_namespaces(7)).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// Over what belongs to the pod.
    Pod,
    /// Over the pod's network, if it has one.
    Network,
    /// Nowhere: the kernel asks for it in the host's namespace.
    Host,
}

/// Of 10: what a capability costs that goes no further than the pod.
const WITHIN_POD: u32 = 2;

pub(super) fn ask(s: &Subject<'_>, answers: &mut Answers) {
    for (name, systemd, weight, names, reach) in ROWS {
        let held: Vec<String> = names
            .iter()
            .filter(|name| s.has(name))
            .map(|name| format!("CAP_{}", name.to_ascii_uppercase()))
            .collect();
        let listed = held.join(", ");
        let (badness, text) = if held.is_empty() {
            (0, "none of them can be had".to_owned())
        } else if !s.user_namespace() {
            (10, format!("{listed} can be had, as on the host"))
        } else if *reach == Reach::Host || (*reach == Reach::Network && s.host_network()) {
            (0, format!("{listed} can be had, and is good for nothing in a user namespace"))
        } else {
            (WITHIN_POD, format!("{listed} can be had, over what is the pod's"))
        };
        answers.scale((name, systemd, *weight), (badness, 10), text);
    }
}
