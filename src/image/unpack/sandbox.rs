//! Locking the worker in. After this it can read its lower layers, write its one directory, hash and
//! answer; nothing else of the host is left to it.

use landlock::{
    ABI, Access, AccessFs, PathBeneath, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus,
};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};
use std::collections::BTreeMap;
use std::io;

/// Address space: a model of a million inodes and the decompressors' windows fit.
const MAX_MEMORY: u64 = 4 << 30;

/// Locks the calling process in; says whether Landlock took part.
pub(super) fn enter(target: BorrowedFd<'_>, lowers: &[impl AsFd]) -> io::Result<bool> {
    rustix::process::fchdir(target)?;
    rustix::process::chroot(".")?;
    rustix::process::umask(rustix::fs::Mode::empty());
    for (resource, limit) in [(Resource::As, MAX_MEMORY), (Resource::Core, 0)] {
        // Where less is allowed already, less it stays.
        let limit = Some(getrlimit(resource).maximum.map_or(limit, |most| most.min(limit)));
        setrlimit(resource, Rlimit { current: limit, maximum: limit })?;
    }
    let landlock = landlock(target, lowers).map_err(io::Error::other)?;
    let keep = CapabilitySet::CHOWN
        | CapabilitySet::DAC_OVERRIDE
        | CapabilitySet::FOWNER
        | CapabilitySet::FSETID;
    let sets =
        CapabilitySets { effective: keep, permitted: keep, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, sets)?;
    // Also sets no_new_privs; threads made later inherit the filter.
    seccompiler::apply_filter(&filter().map_err(io::Error::other)?).map_err(io::Error::other)?;
    Ok(landlock)
}

/// Allows as many descriptors as the hard limit does: each lower layer needs two.
pub(super) fn more_descriptors() -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?)
}

fn landlock(target: BorrowedFd<'_>, lowers: &[impl AsFd]) -> Result<bool, landlock::RulesetError> {
    let all = AccessFs::from_all(ABI::V5);
    let mut rules =
        Ruleset::default().handle_access(all)?.create()?.add_rule(PathBeneath::new(target, all))?;
    for lower in lowers {
        rules = rules.add_rule(PathBeneath::new(lower.as_fd(), AccessFs::from_read(ABI::V5)))?;
    }
    Ok(rules.restrict_self()?.ruleset != RulesetStatus::NotEnforced)
}

const ALLOWED: &[i64] = &[
    libc::SYS_brk,
    libc::SYS_clock_gettime,
    libc::SYS_close,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_fchmod,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_fcntl,
    libc::SYS_fsetxattr,
    libc::SYS_fstat,
    libc::SYS_ftruncate,
    libc::SYS_futex,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_linkat,
    libc::SYS_lseek,
    libc::SYS_madvise,
    libc::SYS_mkdirat,
    libc::SYS_mknodat,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_newfstatat,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_pread64,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_sendmsg,
    libc::SYS_set_robust_list,
    libc::SYS_sigaltstack,
    libc::SYS_statx,
    libc::SYS_symlinkat,
    libc::SYS_tgkill,
    libc::SYS_unlinkat,
    libc::SYS_utimensat,
    libc::SYS_write,
    libc::SYS_writev,
];

/// The filter: what is not on the list does not exist. `clone` makes threads only, and `clone3`,
/// whose flags a filter cannot see, is missing, so that libc falls back to `clone`.
fn filter() -> Result<BpfProgram, seccompiler::BackendError> {
    let thread = u64::from(libc::CLONE_THREAD.cast_unsigned());
    let threads_only =
        SeccompCondition::new(0, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(thread), thread)?;
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        ALLOWED.iter().map(|call| (*call, Vec::new())).collect();
    rules.insert(libc::SYS_clone, vec![SeccompRule::new(vec![threads_only])?]);
    let missing = SeccompAction::Errno(libc::ENOSYS.cast_unsigned());
    let arch = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(rules, missing, SeccompAction::Allow, arch)?.try_into()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_filter_compiles() {
        assert!(super::filter().is_ok_and(|program| program.len() > super::ALLOWED.len()));
    }
}
