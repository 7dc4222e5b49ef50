//! appc's two isolators, as an image writes them.

use super::SeccompError;
use super::default::{Answer, GROUPS, Standing};
use super::table;
use std::collections::BTreeSet;

/// The isolator that lists what stays.
pub const RETAIN: &str = "os/linux/seccomp-retain-set";
/// The isolator that lists what goes.
pub const REMOVE: &str = "os/linux/seccomp-remove-set";

/// What an image asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Wish {
    /// Nothing.
    #[default]
    Nothing,
    /// Only these calls.
    Retain {
        /// Their names.
        calls: BTreeSet<&'static str>,
        /// What the others get.
        answer: Answer,
    },
    /// All but these.
    Remove {
        /// Their names.
        calls: BTreeSet<&'static str>,
        /// What they get.
        answer: Answer,
    },
}

/// systemd's groups by what they hold: words with `+` are groups of rocket's list.
const SYSTEMD: &[(&str, &str)] = &[
    ("aio", "+aio io_uring_enter io_uring_register io_uring_setup"),
    ("basic-io", "+basic-io"),
    ("chown", "+chown"),
    ("clock", "+clock-set"),
    ("cpu-emulation", "+cpu-emulation"),
    ("debug", "lookup_dcookie perf_event_open pidfd_getfd ptrace"),
    (
        "default",
        "+clock +futex arch_prctl brk execve exit exit_group get_robust_list get_thread_area getegid \
         geteuid getgid getgroups getpgid getpgrp getpid getppid getrandom getresgid getresuid \
         getrlimit getsid gettid getuid membarrier mmap mprotect munmap pause prlimit64 \
         restart_syscall rseq rt_sigreturn sched_getaffinity sched_yield set_robust_list \
         set_thread_area set_tid_address uprobe uretprobe",
    ),
    ("file-system", "+files mmap munmap"),
    ("io-event", "+io-event epoll_ctl_old epoll_wait_old"),
    ("ipc", "+ipc memfd_create process_madvise process_vm_readv process_vm_writev"),
    ("keyring", "+keyring"),
    ("memlock", "+memlock"),
    ("module", "+module"),
    ("mount", "+mount +chroot"),
    ("network-io", "+network-io"),
    ("obsolete", "+obsolete"),
    ("pkey", "+pkey"),
    (
        "privileged",
        "+chown +chroot +clock-set +host +module +raw-io +reboot +swap _sysctl bpf capset nfsservctl \
         open_by_handle_at pivot_root setfsuid setgroups setresuid setreuid setuid",
    ),
    (
        "process",
        "capget clone clone3 execveat fork getrusage kill pidfd_open pidfd_send_signal prctl \
         rt_sigqueueinfo rt_tgsigqueueinfo setns tgkill times tkill unshare vfork wait4 waitid",
    ),
    ("raw-io", "+raw-io"),
    ("reboot", "+reboot"),
    (
        "resources",
        "ioprio_set mbind migrate_pages move_pages sched_setaffinity sched_setattr sched_setparam \
         sched_setscheduler set_mempolicy set_mempolicy_home_node setpriority setrlimit",
    ),
    ("sandbox", "+sandbox"),
    ("setuid", "setgid setgroups setregid setresgid setresuid setreuid setuid"),
    (
        "signal",
        "rt_sigaction rt_sigpending rt_sigprocmask rt_sigsuspend rt_sigtimedwait sigaltstack signalfd \
         signalfd4",
    ),
    ("swap", "+swap"),
    ("sync", "+sync"),
    (
        "system-service",
        "+aio +basic-io +chown +clock +files +futex +ids +io-event +ipc +keyring +memlock +memory \
         +network-io +process +signal +sync +timer clone3 kcmp migrate_pages move_pages setns \
         userfaultfd",
    ),
    ("timer", "+timer times"),
];

impl Wish {
    /// Reads one of the two isolators, whose `value` is `{"set": […], "errno": "…"}`, over what was
    /// read before.
    ///
    /// # Errors
    /// [`SeccompError`]: both isolators, an empty set, or a name that nobody knows.
    pub fn read(&self, isolator: &str, value: &serde_json::Value) -> Result<Self, SeccompError> {
        if *self != Self::Nothing {
            return Err(SeccompError::Both);
        }
        let isolator = if isolator == RETAIN { RETAIN } else { REMOVE };
        let bad = |why: String| SeccompError::Value(isolator, why);
        let set = value.get("set").and_then(|set| set.as_array());
        let set = set.ok_or_else(|| bad("its value has no list \"set\"".to_owned()))?;
        if set.is_empty() {
            return Err(bad("its set is empty; \"@appc.io/empty\" stands for no call".to_owned()));
        }
        let mut calls = BTreeSet::new();
        for name in set {
            let name =
                name.as_str().ok_or_else(|| bad("its set has more than names".to_owned()))?;
            calls.extend(members(name).map_err(bad)?);
        }
        let answer = match value.get("errno") {
            None | Some(serde_json::Value::Null) => Answer::Kill,
            Some(errno) => {
                let name = errno.as_str().ok_or_else(|| bad("its errno is not a name".into()))?;
                // appc: an empty name is as good as none.
                let known = ERRNO.iter().find(|(known, _)| *known == name);
                match known {
                    _ if name.is_empty() => Answer::Kill,
                    Some((_, number)) => Answer::Errno(*number),
                    None => return Err(bad(format!("{name:?} is not the name of an error"))),
                }
            }
        };
        Ok(match isolator {
            RETAIN => Self::Retain { calls, answer },
            _ => Self::Remove { calls, answer },
        })
    }

    /// What the image wants to become of a call.
    pub(super) fn answer(&self, name: &str) -> Answer {
        match self {
            Self::Retain { calls, answer } if !calls.contains(name) => *answer,
            Self::Remove { calls, answer } if calls.contains(name) => *answer,
            _ => Answer::Allow,
        }
    }

    /// Whether the image wants a call.
    pub(super) fn allows(&self, name: &str) -> bool {
        self.answer(name) == Answer::Allow
    }
}

/// The calls a name of a set stands for.
fn members(name: &str) -> Result<Vec<&'static str>, String> {
    let Some(set) = name.strip_prefix('@') else {
        return match table::find(name) {
            Some(call) => Ok(vec![call.name]),
            None => Err(format!("{name:?} is not a system call that this release knows")),
        };
    };
    let given = |want: bool| {
        GROUPS
            .iter()
            .filter(|group| {
                want == matches!(group.standing, Standing::Allowed | Standing::Needs(_))
            })
            .flat_map(|group| group.calls.split_ascii_whitespace())
            .collect()
    };
    match set {
        "appc.io/all" => Ok(table::calls().map(|call| call.name).collect()),
        "appc.io/empty" => Ok(Vec::new()),
        "docker/default-whitelist" | "rkt/default-whitelist" => Ok(given(true)),
        "docker/default-blacklist" | "rkt/default-blacklist" => Ok(given(false)),
        _ => {
            let systemd = set
                .strip_prefix("systemd/")
                .and_then(|name| SYSTEMD.iter().find(|(known, _)| *known == name));
            match systemd {
                Some((_, words)) => Ok(words.split_ascii_whitespace().flat_map(word).collect()),
                None => {
                    Err(format!("{name:?} is not a set of system calls that this release knows"))
                }
            }
        }
    }
}

fn word(word: &'static str) -> Vec<&'static str> {
    let Some(name) = word.strip_prefix('+') else { return vec![word] };
    GROUPS
        .iter()
        .filter(|group| group.name == name)
        .flat_map(|group| group.calls.split_ascii_whitespace())
        .collect()
}

macro_rules! errnos {
    ($($name:ident)*) => { &[$((stringify!($name), libc::$name.cast_unsigned() as u16)),*] };
}

/// The errors of POSIX.1-2001 and C99 (and Linux's second names of them).
const ERRNO: &[(&str, u16)] = errnos! {
    E2BIG EACCES EADDRINUSE EADDRNOTAVAIL EAFNOSUPPORT EAGAIN EALREADY EBADF EBADMSG EBUSY ECANCELED
    ECHILD ECONNABORTED ECONNREFUSED ECONNRESET EDEADLK EDESTADDRREQ EDOM EDQUOT EEXIST EFAULT EFBIG
    EHOSTUNREACH EIDRM EILSEQ EINPROGRESS EINTR EINVAL EIO EISCONN EISDIR ELOOP EMFILE EMLINK EMSGSIZE
    EMULTIHOP ENAMETOOLONG ENETDOWN ENETRESET ENETUNREACH ENFILE ENOBUFS ENODATA ENODEV ENOENT ENOEXEC
    ENOLCK ENOLINK ENOMEM ENOMSG ENOPROTOOPT ENOSPC ENOSR ENOSTR ENOSYS ENOTCONN ENOTDIR ENOTEMPTY
    ENOTSOCK ENOTSUP ENOTTY ENXIO EOPNOTSUPP EOVERFLOW EPERM EPIPE EPROTO EPROTONOSUPPORT EPROTOTYPE
    ERANGE EROFS ESPIPE ESRCH ESTALE ETIME ETIMEDOUT ETXTBSY EWOULDBLOCK EXDEV
};

#[cfg(test)]
pub(super) fn systemd_words() -> impl Iterator<Item = &'static str> {
    SYSTEMD.iter().flat_map(|(_, words)| words.split_ascii_whitespace())
}
