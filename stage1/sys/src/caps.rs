//! Capabilities: names and numbers, the five sets, securebits, no-new-privileges.

use std::io;

use crate::error::{Error, Result};

/// Kernel names without `CAP_`, in the order of their numbers.
const NAMES: [&str; 41] = [
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

/// A set of capabilities, by number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CapSet(u64);

impl CapSet {
    /// Nothing.
    pub const EMPTY: Self = Self(0);
    /// Everything there is or ever will be.
    pub const ALL: Self = Self(u64::MAX);

    /// From kernel names (`net_bind_service`; `CAP_NET_BIND_SERVICE` is taken too).
    ///
    /// # Errors
    /// The first name that is unknown.
    pub fn from_names<'a>(
        names: impl IntoIterator<Item = &'a str>,
    ) -> std::result::Result<Self, String> {
        let mut set = 0;
        for name in names {
            set |= 1 << number(name).ok_or_else(|| name.to_owned())?;
        }
        Ok(Self(set))
    }

    /// The names of the known ones.
    pub fn names(self) -> Vec<&'static str> {
        NAMES.iter().enumerate().filter(|(n, _)| self.0 & (1 << n) != 0).map(|(_, s)| *s).collect()
    }

    /// Whether a number is in the set.
    pub fn has(self, number: u32) -> bool {
        number < 64 && self.0 & (1 << number) != 0
    }

    /// Whether all of `other` is in the set.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What both have.
    #[must_use]
    pub fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

/// The number of a capability's name.
pub fn number(name: &str) -> Option<u32> {
    let lower = name.to_ascii_lowercase();
    let bare = lower.strip_prefix("cap_").unwrap_or(&lower);
    NAMES.iter().position(|n| *n == bare).and_then(|n| u32::try_from(n).ok())
}

fn prctl(option: libc::c_int, a: u64, b: u64) -> io::Result<i32> {
    // SAFETY: every option used in this file takes integers only.
    let rc = unsafe { libc::prctl(option, a, b, 0u64, 0u64) };
    if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(rc) }
}

/// Everything the running kernel knows: it refuses the number after its last one.
pub fn known() -> CapSet {
    let mut set = 0;
    for number in 0..64 {
        if prctl(libc::PR_CAPBSET_READ, number, 0).is_err() {
            break;
        }
        set |= 1 << number;
    }
    CapSet(set)
}

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// `_LINUX_CAPABILITY_VERSION_3`: two 32-bit words a set.
const VERSION_3: u32 = 0x2008_0522;

/// The three sets that `capset(2)` handles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThreadSets {
    /// In force.
    pub effective: CapSet,
    /// May be put in force.
    pub permitted: CapSet,
    /// Kept over an exec of a file that has them inheritable.
    pub inheritable: CapSet,
}

/// The caller's sets.
///
/// # Errors
/// Whatever `capget(2)` says.
pub fn get() -> Result<ThreadSets> {
    let mut header = Header { version: VERSION_3, pid: 0 };
    let mut data = [Data::default(); 2];
    // SAFETY: version 3 writes exactly two data structs; both pointers live over the call.
    let rc = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, data.as_mut_ptr()) };
    if rc < 0 {
        return Err(Error::last("capget", ""));
    }
    let join =
        |f: fn(&Data) -> u32| CapSet(u64::from(f(&data[0])) | (u64::from(f(&data[1])) << 32));
    Ok(ThreadSets {
        effective: join(|d| d.effective),
        permitted: join(|d| d.permitted),
        inheritable: join(|d| d.inheritable),
    })
}

/// Sets the caller's sets.
///
/// # Errors
/// Whatever `capset(2)` says.
pub fn set(sets: ThreadSets) -> Result<()> {
    let low = |s: CapSet| (s.0 & u64::from(u32::MAX)) as u32;
    let high = |s: CapSet| (s.0 >> 32) as u32;
    let word = |f: &dyn Fn(CapSet) -> u32| Data {
        effective: f(sets.effective),
        permitted: f(sets.permitted),
        inheritable: f(sets.inheritable),
    };
    let header = Header { version: VERSION_3, pid: 0 };
    let data = [word(&low), word(&high)];
    // SAFETY: version 3 reads exactly two data structs; both pointers live over the call.
    let rc = unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) };
    if rc < 0 { Err(Error::last("capset", "")) } else { Ok(()) }
}

/// Drops everything outside `keep` from the bounding set.
///
/// # Errors
/// `EPERM` without CAP_SETPCAP, if there is anything to drop.
pub fn limit_bounding(keep: CapSet) -> Result<()> {
    for number in 0..64 {
        match prctl(libc::PR_CAPBSET_READ, number.into(), 0) {
            Err(_) => break,
            Ok(1) if !keep.has(number) => {
                prctl(libc::PR_CAPBSET_DROP, number.into(), 0)
                    .map_err(|e| Error::new("drop from the bounding set", number.to_string(), e))?;
            }
            Ok(_) => {}
        }
    }
    Ok(())
}

/// Makes the ambient set exactly `want`; all of it must be permitted and inheritable.
///
/// # Errors
/// Whatever `prctl(2)` says.
pub fn set_ambient(want: CapSet) -> Result<()> {
    let clear = libc::PR_CAP_AMBIENT_CLEAR_ALL as u64;
    prctl(libc::PR_CAP_AMBIENT, clear, 0)
        .map_err(|e| Error::new("clear", "the ambient capabilities", e))?;
    for number in (0..64u32).filter(|n| want.has(*n)) {
        let raise = libc::PR_CAP_AMBIENT_RAISE as u64;
        prctl(libc::PR_CAP_AMBIENT, raise, number.into())
            .map_err(|e| Error::new("raise ambient capability", number.to_string(), e))?;
    }
    Ok(())
}

/// Keeps the permitted set over a change of uid away from 0.
///
/// # Errors
/// Whatever `prctl(2)` says.
pub fn keep_over_setuid(on: bool) -> Result<()> {
    prctl(libc::PR_SET_KEEPCAPS, on.into(), 0)
        .map(|_| ())
        .map_err(|e| Error::new("prctl", "PR_SET_KEEPCAPS", e))
}

/// Sets the securebits.
///
/// # Errors
/// `EPERM` without CAP_SETPCAP, or for a locked bit.
pub fn set_securebits(bits: u32) -> Result<()> {
    prctl(libc::PR_SET_SECUREBITS, bits.into(), 0)
        .map(|_| ())
        .map_err(|e| Error::new("prctl", "PR_SET_SECUREBITS", e))
}

/// From here on no exec gains privileges.
///
/// # Errors
/// Whatever `prctl(2)` says.
pub fn set_no_new_privileges() -> Result<()> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0)
        .map(|_| ())
        .map_err(|e| Error::new("prctl", "PR_SET_NO_NEW_PRIVS", e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        assert_eq!(number("chown"), Some(0));
        assert_eq!(number("CAP_CHECKPOINT_RESTORE"), Some(40));
        assert_eq!(number("sys_admin"), Some(21));
        assert_eq!(number("nothing"), None);
        let set = CapSet::from_names(["chown", "CAP_KILL"]).unwrap();
        assert_eq!(set.names(), ["chown", "kill"]);
        assert_eq!(CapSet::from_names(["chown", "x"]), Err("x".to_owned()));
    }

    #[test]
    fn the_kernel_knows_at_least_what_6_1_knows() {
        assert!(known().has(40));
        assert!(get().unwrap().permitted.contains(get().unwrap().effective));
    }
}
