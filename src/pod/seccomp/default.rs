//! rocket's own list: every call of the two machines in one group, with what becomes of it and why.
//! `docs/seccomp.md` says how the list came about and how a call gets into it.

/// What becomes of the calls of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Let through, but for the arguments in [`CHECKS`].
    Allowed,
    /// Let through for an app that has the capability, else EPERM.
    Needs(&'static str),
    /// EPERM: the kernel has it, and an app must not.
    Refused,
    /// ENOSYS: programs have another way when a kernel lacks it.
    Missing,
}
use Standing::{Allowed, Missing, Needs, Refused};

/// Calls that belong together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group {
    /// Its name.
    pub(super) name: &'static str,
    /// What becomes of them.
    pub(super) standing: Standing,
    /// The calls, with blanks between.
    pub(super) calls: &'static str,
}

const fn group(name: &'static str, standing: Standing, calls: &'static str) -> Group {
    Group { name, standing, calls }
}

/// The list.
pub(super) const GROUPS: &[Group] = &[
    // What every program does.
    group(
        "basic-io",
        Allowed,
        "close close_range dup dup2 dup3 lseek pread64 preadv preadv2 pwrite64 pwritev pwritev2 \
         read readv write writev",
    ),
    group(
        "files",
        Allowed,
        "access chdir chmod copy_file_range creat faccessat faccessat2 fadvise64 fallocate fchdir \
         fchmod fchmodat fchmodat2 fcntl fgetxattr file_getattr file_setattr flistxattr flock \
         fremovexattr fsetxattr fstat fstatfs ftruncate futimesat getcwd getdents getdents64 \
         getxattr getxattrat inotify_add_watch inotify_init inotify_init1 inotify_rm_watch ioctl \
         lgetxattr link linkat listmount listxattr listxattrat llistxattr lremovexattr lsetxattr \
         lstat mkdir mkdirat mknod mknodat name_to_handle_at newfstatat open openat openat2 \
         readahead readlink readlinkat removexattr removexattrat rename renameat renameat2 rmdir \
         sendfile setxattr setxattrat splice stat statfs statmount statx symlink symlinkat tee \
         truncate umask unlink unlinkat utime utimensat utimes vmsplice",
    ),
    group("chown", Allowed, "chown fchown fchownat lchown"),
    group("sync", Allowed, "fdatasync fsync msync sync sync_file_range syncfs"),
    group(
        "io-event",
        Allowed,
        "epoll_create epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 epoll_wait eventfd eventfd2 \
         poll ppoll pselect6 select",
    ),
    group("aio", Allowed, "io_cancel io_destroy io_getevents io_pgetevents io_setup io_submit"),
    group(
        "memory",
        Allowed,
        "brk cachestat get_mempolicy madvise map_shadow_stack mbind membarrier memfd_create \
         memfd_secret mincore mmap mprotect mremap mseal munmap process_madvise process_mrelease \
         remap_file_pages set_mempolicy set_mempolicy_home_node",
    ),
    group("memlock", Allowed, "mlock mlock2 mlockall munlock munlockall"),
    group("pkey", Allowed, "pkey_alloc pkey_free pkey_mprotect"),
    group(
        "process",
        Allowed,
        "arch_prctl clone execve execveat exit exit_group fork get_robust_list get_thread_area \
         getcpu getpgid getpgrp getpid getppid getpriority getrandom getrlimit getrusage getsid \
         gettid ioprio_get ioprio_set kill personality pidfd_open pidfd_send_signal prctl prlimit64 \
         restart_syscall rseq sched_get_priority_max sched_get_priority_min sched_getaffinity \
         sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval sched_setaffinity \
         sched_setattr sched_setparam sched_setscheduler sched_yield set_robust_list \
         set_thread_area set_tid_address setpgid setpriority setrlimit setsid sysinfo tgkill times \
         tkill uname unshare uprobe uretprobe vfork wait4 waitid",
    ),
    group("futex", Allowed, "futex futex_requeue futex_wait futex_waitv futex_wake"),
    group(
        "signal",
        Allowed,
        "pause rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend \
         rt_sigtimedwait rt_tgsigqueueinfo sigaltstack signalfd signalfd4",
    ),
    group(
        "clock",
        Allowed,
        "clock_getres clock_gettime clock_nanosleep gettimeofday nanosleep time",
    ),
    group(
        "timer",
        Allowed,
        "alarm getitimer setitimer timer_create timer_delete timer_getoverrun timer_gettime \
         timer_settime timerfd_create timerfd_gettime timerfd_settime",
    ),
    group(
        "network-io",
        Allowed,
        "accept accept4 bind connect getpeername getsockname getsockopt listen recvfrom recvmmsg \
         recvmsg sendmmsg sendmsg sendto setsockopt shutdown socket socketpair",
    ),
    group(
        "ipc",
        Allowed,
        "mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedsend mq_unlink msgctl msgget msgrcv \
         msgsnd pipe pipe2 semctl semget semop semtimedop shmat shmctl shmdt shmget",
    ),
    // What of it is allowed is for the kernel to say, by capabilities.
    group(
        "ids",
        Allowed,
        "capget capset getegid geteuid getgid getgroups getresgid getresuid getuid setfsgid setfsuid \
         setgid setgroups setregid setresgid setresuid setreuid setuid",
    ),
    // An app may restrict itself further.
    group(
        "sandbox",
        Allowed,
        "landlock_add_rule landlock_create_ruleset landlock_restrict_self lsm_get_self_attr \
         lsm_list_modules seccomp",
    ),
    group("chroot", Needs("sys_chroot"), "chroot"),
    // clone3 has its flags in memory, where a filter cannot look; every libc then takes clone.
    group("clone3", Missing, "clone3"),
    // New worlds, and ways into those of others.
    group(
        "mount",
        Refused,
        "fsconfig fsmount fsopen fspick mount mount_setattr move_mount open_tree open_tree_attr \
         pivot_root umount2",
    ),
    group("namespaces", Refused, "setns"),
    // By handle, a file outside of the root can be opened.
    group("handles", Refused, "open_by_handle_at"),
    // Other processes' memory and descriptors: apps of a pod see each other's processes.
    group(
        "debug",
        Refused,
        "kcmp perf_event_open pidfd_getfd process_vm_readv process_vm_writev ptrace",
    ),
    // Programs for the kernel, and large parts of it that had many holes.
    group(
        "kernel-programs",
        Refused,
        "bpf io_uring_enter io_uring_register io_uring_setup userfaultfd",
    ),
    // Keys have no namespace that follows the pod.
    group("keyring", Refused, "add_key keyctl request_key"),
    group("module", Refused, "delete_module finit_module init_module"),
    group("reboot", Refused, "kexec_file_load kexec_load reboot"),
    group("swap", Refused, "swapoff swapon"),
    group("clock-set", Refused, "adjtimex clock_adjtime clock_settime settimeofday"),
    group("raw-io", Refused, "ioperm iopl"),
    group("cpu-emulation", Refused, "modify_ldt"),
    group("numa-move", Refused, "migrate_pages move_pages"),
    // What is the whole machine's.
    group(
        "host",
        Refused,
        "acct fanotify_init fanotify_mark lsm_set_self_attr quotactl quotactl_fd setdomainname \
         sethostname syslog vhangup",
    ),
    // Gone, never there, or for nobody today.
    group(
        "obsolete",
        Missing,
        "_sysctl afs_syscall create_module epoll_ctl_old epoll_wait_old get_kernel_syms getpmsg \
         lookup_dcookie nfsservctl putpmsg query_module security sysfs tuxcall uselib ustat vserver",
    ),
];

/// An answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Answer {
    /// The call happens.
    Allow,
    /// It does not, and gives this error.
    Errno(u16),
    /// It does not, and its process ends by SIGSYS.
    Kill,
}

/// A question about the low 32 bits of one argument: all that the kernel itself looks at in the
/// calls below. Compared as a whole, an argument with something in its upper half would pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Test {
    /// Is it one of these?
    OneOf(&'static [u32]),
    /// Has it any of these bits?
    AnyBit(u32),
}

/// What is looked at besides a call's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Check {
    /// The call.
    pub(super) call: &'static str,
    /// Which argument, from 0.
    pub(super) argument: u8,
    /// The question.
    pub(super) test: Test,
    /// The answer for yes.
    pub(super) yes: Answer,
    /// The answer for no.
    pub(super) no: Answer,
}

pub(super) const EPERM: u16 = 1;
pub(super) const ENOSYS: u16 = 38;
const EAFNOSUPPORT: u16 = 97;
/// CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET.
const NEW_NAMESPACES: u32 = 0x7E02_0000;
/// For unshare(2) only; clone(2) has a signal's number there.
const NEW_TIME: u32 = 0x80;
/// AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, AF_PACKET.
const FAMILIES: &[u32] = &[1, 2, 10, 16, 17];
/// PER_LINUX and PER_LINUX32, each with and without UNAME26, and the question which it is.
const PERSONALITIES: &[u32] = &[0, 8, 0x2_0000, 0x2_0008, 0xFFFF_FFFF];
/// TIOCSTI and TIOCLINUX type into a terminal, TIOCSETD loads line disciplines.
const TERMINAL: &[u32] = &[0x5412, 0x541C, 0x5423];

/// Arguments that are looked at.
pub(super) const CHECKS: &[Check] = &[
    Check {
        call: "clone",
        argument: 0,
        test: Test::AnyBit(NEW_NAMESPACES),
        yes: Answer::Errno(EPERM),
        no: Answer::Allow,
    },
    Check {
        call: "unshare",
        argument: 0,
        test: Test::AnyBit(NEW_NAMESPACES | NEW_TIME),
        yes: Answer::Errno(EPERM),
        no: Answer::Allow,
    },
    Check {
        call: "ioctl",
        argument: 1,
        test: Test::OneOf(TERMINAL),
        yes: Answer::Errno(EPERM),
        no: Answer::Allow,
    },
    Check {
        call: "personality",
        argument: 0,
        test: Test::OneOf(PERSONALITIES),
        yes: Answer::Allow,
        no: Answer::Errno(EPERM),
    },
    Check {
        call: "socket",
        argument: 0,
        test: Test::OneOf(FAMILIES),
        yes: Answer::Allow,
        no: Answer::Errno(EAFNOSUPPORT),
    },
    Check {
        call: "socketpair",
        argument: 0,
        test: Test::OneOf(FAMILIES),
        yes: Answer::Allow,
        no: Answer::Errno(EAFNOSUPPORT),
    },
];
