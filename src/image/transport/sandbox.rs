//! A transport's cage: a user of its own, no privileges, no file but programs, certificates and what
//! names are looked up with, no socket but the internet's. The process that becomes the transport locks
//! itself in.

use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, Scope,
};
use rocket_sys::spawn::{self, Child, Command, Program};
use rustix::fd::{AsFd, OwnedFd};
use rustix::process::{Resource, Rlimit, setrlimit};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};
use std::collections::BTreeMap;
use std::ffi::{CString, OsString};
use std::io::{self, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::process::ExitCode;

/// The hidden subcommand that becomes a transport.
pub const SUBCOMMAND: &str = "__transport";
/// Whom a transport runs as when root starts it, where that user exists.
const USER: &str = "rocket-transport";
/// And where it does not: nobody.
const NOBODY: (u32, u32) = (65534, 65534);
const MAX_MEMORY: u64 = 2 << 30;
const MAX_FILES: u64 = 128;

/// Starts a transport: its requests are stdin, its answers stdout, bodies descriptor 3.
pub(super) fn spawn(
    program: &Path,
    requests: &OwnedFd,
    answers: &OwnedFd,
    body: &OwnedFd,
) -> Result<Child, Box<dyn std::error::Error + Send + Sync>> {
    let null = std::fs::OpenOptions::new().write(true).open("/dev/null")?;
    let root = std::fs::File::open("/")?;
    let path = std::path::absolute(program)?.into_os_string().into_vec();
    let argv = [c"rocket".to_owned(), CString::new(SUBCOMMAND)?, CString::new(path)?];
    let envp = [c"PATH=/usr/local/bin:/usr/bin:/bin".to_owned(), c"LANG=C.UTF-8".to_owned()];
    Ok(spawn::spawn(&Command {
        program: Program::Path(c"/proc/self/exe"),
        argv: &argv,
        envp: &envp,
        fds: &[(requests.as_fd(), 0), (answers.as_fd(), 1), (null.as_fd(), 2), (body.as_fd(), 3)],
        cwd: Some(root.as_fd()),
        block_signals: false,
    })?)
}

/// Runs as the hidden subcommand: locks itself in and becomes the program.
pub fn main() -> ExitCode {
    let Some(program) = std::env::args_os().nth(2) else { return ExitCode::FAILURE };
    let error = match enter(Path::new(&program)) {
        Ok(()) => become_program(program),
        Err(error) => error,
    };
    // Said as a transport says it: rocket waits for an answer.
    let message = format!("cannot enter the sandbox of transports: {error}");
    let answer = serde_json::json!({"answer": "error", "kind": "protocol", "message": message});
    let _ = writeln!(io::stdout(), "{answer}");
    ExitCode::FAILURE
}

fn become_program(program: OsString) -> io::Error {
    let Ok(path) = CString::new(program.into_vec()) else {
        return io::Error::from(io::ErrorKind::InvalidInput);
    };
    let body = match rocket_sys::fds::inherit(3) {
        Ok(body) => body,
        Err(error) => return io::Error::other(error),
    };
    let variables: Vec<CString> = std::env::vars_os()
        .filter_map(|(name, value)| {
            let pair = [name.as_bytes(), b"=", value.as_bytes()].concat();
            CString::new(pair).ok()
        })
        .collect();
    let command = Command {
        program: Program::Path(&path),
        argv: std::slice::from_ref(&path),
        envp: &variables,
        fds: &[(body.as_fd(), 3)],
        cwd: None,
        block_signals: false,
    };
    io::Error::other(spawn::exec(&command))
}

fn enter(program: &Path) -> io::Result<()> {
    if rustix::process::geteuid().is_root() {
        let (uid, gid) = std::fs::read_to_string("/etc/passwd")
            .ok()
            .and_then(|passwd| account(&passwd, USER))
            .unwrap_or(NOBODY);
        rocket_sys::proc::set_ids(uid, gid, &[]).map_err(io::Error::other)?;
    }
    // After the change of user, which takes it back.
    let kill = Some(rustix::process::Signal::KILL);
    rustix::process::set_parent_process_death_signal(kill)?;
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    let limits = [
        (Resource::As, MAX_MEMORY),
        (Resource::Core, 0),
        // Bodies go into a pipe; nothing is written to a file.
        (Resource::Fsize, 0),
        (Resource::Nofile, MAX_FILES),
    ];
    for (resource, limit) in limits {
        let most = rustix::process::getrlimit(resource).maximum.unwrap_or(u64::MAX);
        let limit = Some(limit.min(most));
        setrlimit(resource, Rlimit { current: limit, maximum: limit })?;
    }
    landlock(program).map_err(io::Error::other)?;
    // Also sets no_new_privs.
    seccompiler::apply_filter(&filter().map_err(io::Error::other)?).map_err(io::Error::other)
}

/// A user's ids.
fn account(passwd: &str, name: &str) -> Option<(u32, u32)> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let found = fields.next() == Some(name);
        let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
        found.then_some((uid, gid)).filter(|(uid, gid)| *uid > 0 && *gid > 0)
    })
}

/// Programs and their libraries.
const PROGRAMS: [&str; 6] = ["/usr", "/bin", "/sbin", "/lib", "/lib64", "/lib32"];
/// What is read besides: who is believed, and how names become addresses.
const READ: [&str; 17] = [
    "/etc/ssl",
    "/etc/pki",
    "/etc/ca-certificates",
    "/etc/crypto-policies",
    "/etc/resolv.conf",
    "/run/systemd/resolve",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/alternatives",
    "/dev/urandom",
    "/dev/random",
    "/dev/zero",
];

fn landlock(program: &Path) -> Result<(), landlock::RulesetError> {
    let all = AccessFs::from_all(ABI::V5);
    let run = AccessFs::from_read(ABI::V5);
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let null = AccessFs::ReadFile | AccessFs::WriteFile;
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(all)?
        .scope(Scope::AbstractUnixSocket | Scope::Signal)?
        .create()?;
    let own = program.to_str().map(|path| (path, run));
    let programs = PROGRAMS.iter().map(|path| (*path, run));
    let files = READ.iter().map(|path| (*path, read)).chain([("/dev/null", null)]);
    for (path, access) in own.into_iter().chain(programs).chain(files) {
        // Not every system has all of them.
        let Ok(fd) = PathFd::new(path) else { continue };
        let file = rustix::fs::fstat(&fd).is_ok_and(|s| {
            rustix::fs::FileType::from_raw_mode(s.st_mode) != rustix::fs::FileType::Directory
        });
        let access = if file { access & AccessFs::from_file(ABI::V5) } else { access };
        rules = rules.add_rule(PathBeneath::new(fd, access))?;
    }
    rules.restrict_self()?;
    Ok(())
}

/// What a program that speaks to servers needs, a shell that starts others among them.
const ALLOWED: &[i64] = &[
    libc::SYS_bind,
    libc::SYS_brk,
    libc::SYS_chdir,
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_connect,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_eventfd2,
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_fadvise64,
    libc::SYS_fcntl,
    libc::SYS_fstat,
    libc::SYS_fstatfs,
    libc::SYS_futex,
    libc::SYS_getcwd,
    libc::SYS_getdents64,
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getgroups,
    libc::SYS_getpeername,
    libc::SYS_getpgid,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getrandom,
    libc::SYS_getresgid,
    libc::SYS_getresuid,
    libc::SYS_getrusage,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_gettid,
    libc::SYS_gettimeofday,
    libc::SYS_getuid,
    libc::SYS_ioctl,
    libc::SYS_lseek,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_newfstatat,
    libc::SYS_openat,
    libc::SYS_pipe2,
    libc::SYS_ppoll,
    libc::SYS_prctl,
    libc::SYS_pread64,
    libc::SYS_prlimit64,
    libc::SYS_pselect6,
    libc::SYS_read,
    libc::SYS_readlinkat,
    libc::SYS_readv,
    libc::SYS_recvfrom,
    libc::SYS_recvmmsg,
    libc::SYS_recvmsg,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigsuspend,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_sendmmsg,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_setitimer,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    libc::SYS_sigaltstack,
    libc::SYS_socketpair,
    libc::SYS_splice,
    libc::SYS_statfs,
    libc::SYS_statx,
    libc::SYS_sysinfo,
    libc::SYS_tgkill,
    libc::SYS_umask,
    libc::SYS_uname,
    libc::SYS_wait4,
    libc::SYS_waitid,
    libc::SYS_write,
    libc::SYS_writev,
];

/// Older names of the same that only this architecture has.
#[cfg(target_arch = "x86_64")]
const OLDER: &[i64] = &[
    libc::SYS_access,
    libc::SYS_arch_prctl,
    libc::SYS_dup2,
    libc::SYS_epoll_wait,
    libc::SYS_fork,
    libc::SYS_getdents,
    libc::SYS_getpgrp,
    libc::SYS_getrlimit,
    libc::SYS_lstat,
    libc::SYS_open,
    libc::SYS_pipe,
    libc::SYS_poll,
    libc::SYS_readlink,
    libc::SYS_select,
    libc::SYS_stat,
    libc::SYS_time,
    libc::SYS_vfork,
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[i64] = &[];

/// Sockets of these families only: a socket of the host's services is none.
const FAMILIES: [i32; 3] = [libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];

/// What is not on the list does not exist. `clone` makes no namespaces; `clone3`, whose flags a filter
/// cannot see, is missing, so that libc falls back to `clone`.
fn filter() -> Result<BpfProgram, seccompiler::BackendError> {
    let condition = |arg, op, value: u64| {
        SeccompCondition::new(arg, SeccompCmpArgLen::Qword, op, value)
            .and_then(|condition| SeccompRule::new(vec![condition]))
    };
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        ALLOWED.iter().chain(OLDER).map(|call| (*call, Vec::new())).collect();
    let namespaces = libc::CLONE_NEWUSER
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWCGROUP;
    let namespaces = u64::from(namespaces.cast_unsigned());
    rules.insert(libc::SYS_clone, vec![condition(0, SeccompCmpOp::MaskedEq(namespaces), 0)?]);
    let families: Result<Vec<SeccompRule>, _> = FAMILIES
        .iter()
        .map(|family| condition(0, SeccompCmpOp::Eq, u64::from(family.cast_unsigned())))
        .collect();
    rules.insert(libc::SYS_socket, families?);
    let missing = SeccompAction::Errno(libc::ENOSYS.cast_unsigned());
    let arch = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(rules, missing, SeccompAction::Allow, arch)?.try_into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_compiles_and_users_are_found() {
        assert!(filter().is_ok_and(|program| program.len() > ALLOWED.len()));
        let passwd = "root:x:0:0:::\nbroken\nrocket-transport:x:990:991::/:/bin/false\n";
        assert_eq!(account(passwd, USER), Some((990, 991)));
        assert_eq!(account("rocket-transport:x:0:0::/:\n", USER), None);
        assert_eq!(account("other:x:990:991::/:\n", USER), None);
    }
}
