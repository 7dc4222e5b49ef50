//! Facts about this host that pod files depend on, gathered without root and without systemd: what
//! cannot be found out is `None`, and nothing is said about it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The facts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// Major version of systemd.
    pub systemd: Option<u32>,
    /// The kernel's first two numbers.
    pub kernel: Option<(u32, u32)>,
    /// Controllers of the cgroup tree.
    pub controllers: Option<Vec<String>>,
    /// Whether the kernel accounts for swap.
    pub swap_accounting: Option<bool>,
    /// `user.max_user_namespaces`.
    pub user_namespaces: Option<u64>,
    /// Paths that were asked about and are not there.
    pub missing: BTreeSet<PathBuf>,
    /// Paths on file systems whose mounts cannot be idmapped, with the kind.
    pub not_idmappable: BTreeMap<PathBuf, &'static str>,
}

/// Looks at this host, and at `paths` of it.
pub fn look(paths: &[PathBuf]) -> Host {
    let kernel = rustix::system::uname();
    let kernel = two_numbers(kernel.release());
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let controllers = read("/sys/fs/cgroup/cgroup.controllers");
    let is_missing = |path: &&PathBuf| {
        path.symlink_metadata().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
    };
    Host {
        systemd: systemd_version(),
        kernel,
        controllers: controllers
            .map(|list| list.split_ascii_whitespace().map(str::to_owned).collect()),
        swap_accounting: swap_accounting(),
        user_namespaces: read("/proc/sys/user/max_user_namespaces")
            .and_then(|number| number.trim().parse().ok()),
        missing: paths.iter().filter(is_missing).cloned().collect(),
        not_idmappable: paths
            .iter()
            .filter_map(|path| Some((path.clone(), not_idmappable(path, kernel)?)))
            .collect(),
    }
}

/// What `systemctl` says it is; it answers without a running systemd.
fn systemd_version() -> Option<u32> {
    let output = Command::new("systemctl")
        .arg("--version")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    version(&String::from_utf8_lossy(&output.stdout))
}

fn version(text: &str) -> Option<u32> {
    let number = text.strip_prefix("systemd ")?;
    let digits = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
    number.get(..digits)?.parse().ok()
}

fn two_numbers(release: &CStr) -> Option<(u32, u32)> {
    let mut parts = release.to_str().ok()?.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Every cgroup but the root has the file where swap is accounted for.
fn swap_accounting() -> Option<bool> {
    let groups = std::fs::read_dir("/sys/fs/cgroup").ok()?;
    let mut groups = groups.flatten().map(|entry| entry.path());
    let with_memory = groups.find(|group| group.join("memory.max").exists())?;
    Some(with_memory.join("memory.swap.max").exists())
}

/// The kind of file system that `path` lies on, when mounts of it cannot be idmapped
/// (mount_setattr(2), `FS_ALLOW_IDMAP`). One that is not known here may be fine.
fn not_idmappable(path: &Path, kernel: Option<(u32, u32)>) -> Option<&'static str> {
    const TMPFS: u64 = 0x0102_1994;
    let stat = rustix::fs::statfs(path).ok()?;
    let magic = u64::try_from(stat.f_type).ok()? & 0xffff_ffff;
    match magic {
        0x6969 => Some("NFS"),
        0x794c_7630 => Some("an overlay"),
        0x0102_1997 => Some("9p"),
        0xfe53_4d42 | 0xff53_4d42 => Some("SMB"),
        TMPFS if kernel.is_some_and(|kernel| kernel < (6, 3)) => Some("a tmpfs"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        assert_eq!(version("systemd 252 (252.39-1~deb12u1)\n+PAM\n"), Some(252));
        assert_eq!(version("systemd 257-rc1"), Some(257));
        assert_eq!(version("elogind"), None);
        assert_eq!(two_numbers(c"6.1.0-44-amd64"), Some((6, 1)));
        assert_eq!(two_numbers(c"linux"), None);
    }
}
