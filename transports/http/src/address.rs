//! Addresses: which are ones at all, where redirects lead, and which of them are of one server.

use crate::wire::Fault;
use ureq::http::Uri;

/// Reads an address.
pub fn parse(url: &str) -> Result<Uri, Fault> {
    let bad = || Fault::refused(format!("{url:?} is no address"));
    let uri: Uri = url.parse().map_err(|_| bad())?;
    let authority = uri.authority().ok_or_else(bad)?;
    // Who is named before an @ is meant to deceive somebody.
    if uri.scheme().is_none() || authority.as_str().contains('@') {
        return Err(bad());
    }
    Ok(uri)
}

/// The address that a redirect leads to.
pub fn join(base: &Uri, location: &str) -> Result<Uri, Fault> {
    let scheme = base.scheme_str().unwrap_or_default();
    let authority = base.authority().map_or("", |a| a.as_str());
    let end = location.find(['/', '?', '#', ':']).unwrap_or(location.len());
    let absolute = location.get(end..).is_some_and(|rest| rest.starts_with(':'));
    let text = if absolute {
        if !location.starts_with("https://") && !location.starts_with("http://") {
            let scheme = location.get(..end).unwrap_or_default();
            let from = shown(base);
            return Err(Fault::refused(format!("{from} redirects to {scheme:?} addresses")));
        }
        location.to_owned()
    } else if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else if location.starts_with('?') {
        format!("{scheme}://{authority}{}{location}", base.path())
    } else {
        let path = base.path();
        let dir = path.rsplit_once('/').map_or("", |(dir, _)| dir);
        format!("{scheme}://{authority}{dir}/{location}")
    };
    parse(text.split('#').next().unwrap_or_default())
}

fn port(uri: &Uri) -> u16 {
    uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 })
}

/// Whether scheme, host and port are the same.
pub fn same_server(a: &Uri, b: &Uri) -> bool {
    let host = |uri: &Uri| uri.host().map(str::to_ascii_lowercase);
    a.scheme() == b.scheme() && host(a) == host(b) && port(a) == port(b)
}

/// An address as messages show it: what follows the host may be a secret.
pub fn shown(uri: &Uri) -> String {
    let authority = uri.authority().map_or("", |a| a.as_str());
    format!("{}://{authority}", uri.scheme_str().unwrap_or_default())
}

/// Whether a host is asked directly, though there is a proxy.
pub fn without_proxy(host: &str, no: &[String]) -> bool {
    no.iter().any(|entry| {
        let entry = entry.trim().trim_start_matches("*.").trim_start_matches('.');
        let below = host.strip_suffix(entry).is_some_and(|left| left.ends_with('.'));
        entry == "*" || (!entry.is_empty() && (host.eq_ignore_ascii_case(entry) || below))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_lead_where_they_say_and_never_to_files() {
        let base = parse("https://a.example:5000/v2/x/blobs/y?z").unwrap();
        for (location, wanted) in [
            ("https://b.example/q?r", "https://b.example/q?r"),
            ("//b.example/q", "https://b.example/q"),
            ("/q#f", "https://a.example:5000/q"),
            ("w", "https://a.example:5000/v2/x/blobs/w"),
            ("?w", "https://a.example:5000/v2/x/blobs/y?w"),
            ("w?u=http://x", "https://a.example:5000/v2/x/blobs/w?u=http://x"),
        ] {
            assert_eq!(join(&base, location).unwrap().to_string(), wanted);
        }
        for location in [
            "file:///etc/passwd",
            "ftp://x/y",
            "https://user@b.example/",
            "https://",
            "a b",
            "javascript:x",
        ] {
            assert!(join(&base, location).is_err(), "{location}");
        }
    }

    #[test]
    fn servers_are_the_same_with_scheme_host_and_port() {
        let same = |a: &str, b: &str| same_server(&parse(a).unwrap(), &parse(b).unwrap());
        assert!(same("https://A.example/x", "https://a.example:443/y"));
        assert!(!same("https://a.example", "http://a.example"));
        assert!(!same("https://a.example", "https://a.example:5000"));
        assert!(!same("https://a.example", "https://b.a.example"));
    }
}
