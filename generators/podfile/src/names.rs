//! How names are found inside a pod: its own, those of others, and who is asked for them.

use std::net::IpAddr;

/// `dns`: what `/etc/resolv.conf` of the apps is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Dns {
    /// The host's on the host's network, none elsewhere.
    #[default]
    Auto,
    /// `"host"`: a copy of the host's.
    Host,
    /// `"none"`: rocket puts none there.
    None,
    /// `[dns]`: precisely this.
    Own(Resolver),
}

/// `[dns]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolver {
    /// `servers`, in order.
    pub servers: Vec<IpAddr>,
    /// `search`: domains, in order.
    pub search: Vec<String>,
    /// `options`, as resolv.conf(5) has them.
    pub options: Vec<String>,
    /// `domain`: the local one.
    pub domain: Option<String>,
}

/// `hosts`: what `/etc/hosts` of the apps is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hosts {
    /// `"host"`: a copy of the host's.
    Host,
    /// The loopback and the pod's own name, with these besides: name and address, sorted by name.
    Own(Vec<(String, IpAddr)>),
}

impl Default for Hosts {
    fn default() -> Self {
        Self::Own(Vec::new())
    }
}

/// Checks a host name.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn parse_hostname(text: &str) -> Result<String, String> {
    if text.len() <= 64 && is_domain(text) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "{text:?} is not a host name; write letters, digits and dashes, at most 64 characters"
    ))
}

fn is_domain(text: &str) -> bool {
    text.split('.').all(|label| {
        let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    })
}

/// Checks a name that stands in `/etc/hosts`, or a domain that is searched.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn parse_domain(text: &str) -> Result<String, String> {
    // Names with an underscore and a dot at the end are in use.
    let plain = text.strip_suffix('.').unwrap_or(text).replace('_', "-");
    if text.len() <= 254 && plain.split('.').all(|l| is_domain(l.trim_matches('-'))) {
        return Ok(text.to_owned());
    }
    Err(format!("{text:?} is not a domain; write letters, digits, dashes and dots"))
}

/// Reads an IP address.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn parse_address(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| format!("{text:?} is not an IP address"))
}

/// Checks an option of resolv.conf(5): `ndots:2`, `rotate`.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn parse_dns_option(text: &str) -> Result<String, String> {
    let fine = |b: u8| b.is_ascii_alphanumeric() || b"-_:.".contains(&b);
    if !text.is_empty() && text.len() <= 64 && text.bytes().all(fine) {
        return Ok(text.to_owned());
    }
    Err(format!("{text:?} is not an option of resolv.conf"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses() {
        for good in ["a", "db.internal", "A-1.example", "x1"] {
            assert!(parse_hostname(good).is_ok() && parse_domain(good).is_ok(), "{good}");
        }
        for good in ["_tcp.example", "example.", "a_b"] {
            assert!(parse_domain(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "a..b", "a b", "a\n", "-", "a#"] {
            assert!(parse_hostname(bad).is_err() && parse_domain(bad).is_err(), "{bad}");
        }
        assert!(parse_address("::1").is_ok() && parse_address("127.1").is_err());
        for bad in ["", "a b", "x\ny", "#"] {
            assert!(parse_dns_option(bad).is_err(), "{bad}");
        }
    }
}
