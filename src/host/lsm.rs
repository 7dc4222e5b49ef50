//! Which security modules with labels this host has.

use std::path::Path;

/// The modules, as far as they matter to a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lsm {
    /// SELinux is on.
    pub selinux: bool,
    /// AppArmor is on.
    pub apparmor: bool,
    /// The profiles AppArmor has loaded, where the kernel shows them.
    pub profiles: Option<Vec<String>>,
}

/// Looks.
pub fn look() -> Lsm {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let enabled = read("/sys/module/apparmor/parameters/enabled");
    Lsm {
        selinux: Path::new("/sys/fs/selinux/enforce").exists(),
        apparmor: enabled.is_some_and(|text| text.trim() == "Y"),
        profiles: read("/sys/kernel/security/apparmor/profiles").map(|text| profiles(&text)),
    }
}

/// `NAME (MODE)` a line.
fn profiles(text: &str) -> Vec<String> {
    let name = |line: &str| line.rsplit_once(" (").map(|(name, _)| name.to_owned());
    text.lines().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_are_listed_with_their_modes() {
        let text = "docker-default (enforce)\n/usr/bin/man (complain)\nodd (name) (enforce)\n";
        assert_eq!(profiles(text), ["docker-default", "/usr/bin/man", "odd (name)"]);
    }
}
