//! The capabilities an app may have.

use std::fmt;

/// One of the 14 capabilities an app may have, in the pod file's spelling: `net-bind-service`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Capability(&'static str);

impl Capability {
    /// All that an app may have: the default of the appc specification.
    pub const ALL: [Self; 14] = [
        Self("audit-write"),
        Self("chown"),
        Self("dac-override"),
        Self("fowner"),
        Self("fsetid"),
        Self("kill"),
        Self("mknod"),
        Self("net-bind-service"),
        Self("net-raw"),
        Self("setfcap"),
        Self("setgid"),
        Self("setpcap"),
        Self("setuid"),
        Self("sys-chroot"),
    ];

    /// The kernel's name in lower case, without `CAP_`: `net_bind_service`.
    pub fn kernel_name(self) -> String {
        self.0.replace('-', "_")
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// Reads a capability; `CAP_NET_RAW` is understood too.
pub(crate) fn parse_capability(text: &str) -> Result<Capability, String> {
    let plain = text.strip_prefix("CAP_").map(|name| name.to_ascii_lowercase().replace('_', "-"));
    let name = plain.as_deref().unwrap_or(text);
    Capability::ALL
        .into_iter()
        .find(|capability| capability.0 == name)
        .ok_or_else(|| format!("{text:?} is not a capability that an app may have"))
}

/// The names, for suggestions.
pub(crate) fn names() -> Vec<&'static str> {
    Capability::ALL.iter().map(|capability| capability.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities() {
        let bind = parse_capability("net-bind-service").unwrap();
        assert_eq!(bind.kernel_name(), "net_bind_service");
        assert_eq!(parse_capability("CAP_NET_BIND_SERVICE"), Ok(bind));
        for text in ["sys-admin", "NET_RAW", "", "net_raw"] {
            assert!(parse_capability(text).is_err(), "{text}");
        }
    }
}
