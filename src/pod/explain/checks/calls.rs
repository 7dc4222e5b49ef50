//! What the system call filter leaves open. The filter itself is asked, with arguments where it matters.

use super::{Answers, Subject};
use std::path::Path;

/// Name, systemd's directive, weight, and rocket's own choice of calls. Calls that the machine lacks are
/// not open.
const GROUPS: &[(&str, &str, u32, &str)] = &[
    (
        "calls-clock",
        "SystemCallFilter=~@clock",
        1000,
        "adjtimex clock_adjtime clock_settime settimeofday",
    ),
    ("calls-cpu-emulation", "SystemCallFilter=~@cpu-emulation", 250, "modify_ldt"),
    (
        "calls-debug",
        "SystemCallFilter=~@debug",
        1000,
        "kcmp perf_event_open pidfd_getfd process_vm_readv process_vm_writev ptrace",
    ),
    ("calls-module", "SystemCallFilter=~@module", 1000, "delete_module finit_module init_module"),
    (
        "calls-mount",
        "SystemCallFilter=~@mount",
        1000,
        "chroot fsconfig fsmount fsopen fspick mount mount_setattr move_mount open_tree pivot_root \
         umount2",
    ),
    (
        "calls-obsolete",
        "SystemCallFilter=~@obsolete",
        250,
        "_sysctl create_module get_kernel_syms nfsservctl query_module sysfs uselib ustat vserver",
    ),
    (
        "calls-privileged",
        "SystemCallFilter=~@privileged",
        700,
        "acct bpf fanotify_init open_by_handle_at quotactl quotactl_fd setdomainname sethostname \
         setns syslog vhangup",
    ),
    ("calls-raw-io", "SystemCallFilter=~@raw-io", 1000, "ioperm iopl"),
    ("calls-reboot", "SystemCallFilter=~@reboot", 1000, "kexec_file_load kexec_load reboot"),
    (
        "calls-resources",
        "SystemCallFilter=~@resources",
        700,
        "ioprio_set mbind migrate_pages move_pages sched_setaffinity sched_setattr sched_setparam \
         sched_setscheduler set_mempolicy setpriority setrlimit",
    ),
    ("calls-swap", "SystemCallFilter=~@swap", 1000, "swapoff swapon"),
    ("calls-kernel-programs", "", 500, "bpf io_uring_setup userfaultfd"),
];

/// Namespaces: name, systemd's directive, weight, flag of clone(2).
const NAMESPACES: &[(&str, &str, u32, u64)] = &[
    ("namespaces-user", "RestrictNamespaces=~user", 1500, 0x1000_0000),
    ("namespaces-mount", "RestrictNamespaces=~mnt", 500, 0x0002_0000),
    ("namespaces-net", "RestrictNamespaces=~net", 500, 0x4000_0000),
    ("namespaces-pid", "RestrictNamespaces=~pid", 500, 0x2000_0000),
    ("namespaces-ipc", "RestrictNamespaces=~ipc", 500, 0x0800_0000),
    ("namespaces-cgroup", "RestrictNamespaces=~cgroup", 500, 0x0200_0000),
    ("namespaces-uts", "RestrictNamespaces=~uts", 100, 0x0400_0000),
];
const NEW_USER: u64 = 0x1000_0000;

const UNIX: u64 = 1;
const INET: [u64; 2] = [2, 10];
const NETLINK: u64 = 16;
const PACKET: u64 = 17;
/// AX.25, X.25, DECnet, CAN, TIPC, Bluetooth, ALG, vsock, XDP …
const EXOTIC: [u64; 9] = [3, 9, 12, 29, 30, 31, 38, 40, 44];

const SET_UID: u64 = 0o4755;
const WRITE_AND_EXECUTE: u64 = 0x6;
const NO_RANDOM_ADDRESSES: u64 = 0x0004_0000;
const SCHED_FIFO: u64 = 1;

pub(super) fn ask(s: &Subject<'_>, answers: &mut Answers) {
    let doors = s.filter.open_doors();
    let text = format!("calls can also be made the way of {}", doors.join(" and "));
    answers.flag(
        ("call-conventions", "SystemCallArchitectures=", 1000),
        !doors.is_empty(),
        (&text, "calls can be made in one way only"),
    );
    for (name, systemd, weight, calls) in GROUPS {
        let all: Vec<&str> = calls.split_whitespace().collect();
        let open: Vec<&str> =
            all.iter().copied().filter(|call| s.filter.allows(call, &[])).collect();
        let count = |list: &[&str]| u32::try_from(list.len()).unwrap_or(u32::MAX);
        let text = match open.len() {
            0 => "all refused".to_owned(),
            _ if !s.filter.installed() => "no filter refuses them".to_owned(),
            _ => format!("not refused: {}", open.join(" ")),
        };
        answers.scale((name, systemd, *weight), (count(&open), count(&all)), text);
    }
    namespaces(s, answers);
    families(s, answers);
    single(s, answers);
}

fn namespaces(s: &Subject<'_>, answers: &mut Answers) {
    let open = |flag| s.filter.allows("unshare", &[flag]) || s.filter.allows("clone", &[flag]);
    // Everybody may make a user namespace; the others need CAP_SYS_ADMIN, also that of a new one.
    let users = open(NEW_USER);
    for (name, systemd, weight, flag) in NAMESPACES {
        let can =
            if *flag == NEW_USER { users } else { open(*flag) && (users || s.has("sys_admin")) };
        answers.flag(
            (name, systemd, *weight),
            can,
            ("it may make such namespaces", "it cannot make such namespaces"),
        );
    }
}

fn families(s: &Subject<'_>, answers: &mut Answers) {
    let socket = |family| s.filter.allows("socket", &[family]);
    let host = s.host_network();
    answers.flag(
        ("sockets-unix", "RestrictAddressFamilies=~AF_UNIX", 25),
        socket(UNIX),
        ("it may make local sockets", "it cannot make local sockets"),
    );
    answers.flag(
        ("sockets-internet", "RestrictAddressFamilies=~AF_(INET|INET6)", 1500),
        host && INET.into_iter().any(socket),
        ("it may make Internet sockets", "Internet sockets reach nobody, or cannot be made"),
    );
    answers.flag(
        ("sockets-netlink", "RestrictAddressFamilies=~AF_NETLINK", 200),
        socket(NETLINK),
        ("it may make netlink sockets", "it cannot make netlink sockets"),
    );
    answers.flag(
        ("sockets-packet", "RestrictAddressFamilies=~AF_PACKET", 1000),
        host && s.wields("net_raw") && socket(PACKET),
        ("it may make packet sockets on the host's network", "it cannot listen on the wire"),
    );
    let exotic: Vec<u64> = EXOTIC.into_iter().filter(|family| socket(*family)).collect();
    let numbers: Vec<String> = exotic.iter().map(u64::to_string).collect();
    let text = format!("it may make sockets of families {}", numbers.join(", "));
    let count = |list: &[u64]| u32::try_from(list.len()).unwrap_or(u32::MAX);
    answers.scale(
        ("sockets-exotic", "RestrictAddressFamilies=~…", 1250),
        (count(&exotic), count(&EXOTIC)),
        if exotic.is_empty() { "it cannot make exotic sockets".to_owned() } else { text },
    );
}

fn single(s: &Subject<'_>, answers: &mut Answers) {
    let set_uid = s.filter.allows("fchmod", &[0, SET_UID]);
    let (badness, text) = set_uid_files(set_uid, s.user_namespace(), &s.shared_owners());
    answers.scale(("set-uid-files", "RestrictSUIDSGID=", 1000), (badness, 10), text);
    answers.flag(
        ("realtime", "RestrictRealtime=", 500),
        s.filter.allows("sched_setscheduler", &[0, SCHED_FIFO])
            && (s.wields("sys_nice") || s.app.rlimits.iter().any(|l| l.resource == "rtprio")),
        ("it may take a processor for itself", "it cannot have real-time priority"),
    );
    answers.flag(
        ("write-and-execute", "MemoryDenyWriteExecute=", 100),
        s.filter.allows("mprotect", &[0, 0, WRITE_AND_EXECUTE]),
        ("memory can be written and executed", "what was written is not executed"),
    );
    answers.flag(
        ("personality", "LockPersonality=", 100),
        s.filter.allows("personality", &[NO_RANDOM_ADDRESSES]),
        ("it may change its execution domain", "its execution domain is fixed"),
    );
}

/// A set-uid file belongs to one of the pod's ids where the host sees it as such: not on a volume whose
/// owners are mapped.
fn set_uid_files(can: bool, user_namespace: bool, volumes: &[&Path]) -> (u32, String) {
    match (can, user_namespace, volumes) {
        (false, _, _) => (0, "it cannot make set-uid files".to_owned()),
        (true, true, []) => (3, "set-uid files that it makes are of its own ids".to_owned()),
        (true, true, volumes) => {
            let paths: Vec<String> =
                volumes.iter().map(|path| path.display().to_string()).collect();
            let text = format!(
                "set-uid files that it makes in {} belong to users of the host, those of its root to \
                 root; idmap = false, read-only = true, a directory above with mode 0700 or a nosuid \
                 mount on the host makes them harmless",
                paths.join(", ")
            );
            (10, text)
        }
        (true, false, _) => (10, "it may make set-uid files".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_uid_files_on_a_volume_with_mapped_owners_are_the_hosts() {
        let volume = [Path::new("/srv/data")];
        assert_eq!(set_uid_files(false, true, &volume).0, 0);
        assert_eq!(set_uid_files(true, true, &[]).0, 3);
        assert_eq!(set_uid_files(true, false, &[]).0, 10);
        let (badness, text) = set_uid_files(true, true, &volume);
        assert_eq!(badness, 10);
        assert!(text.contains("in /srv/data belong to users of the host"), "{text}");
        assert!(text.contains("idmap = false"), "{text}");
    }
}
