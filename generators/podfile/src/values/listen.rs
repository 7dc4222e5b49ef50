//! Listen addresses in `ListenStream=` syntax.

use crate::pod::ListenAddress;
use std::net::{IpAddr, SocketAddr};

/// Longest path of a unix socket: `sun_path` less its end mark.
const LONGEST_UNIX: usize = 107;

/// Reads `8080`, `127.0.0.1:80`, `[::]:8080`, `/run/x.sock`, `@name`.
pub(crate) fn parse_listen(text: &str) -> Result<ListenAddress, String> {
    let bad = |why: &str| format!("{text:?} is not an address to listen on: {why}");
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(bad("it has blanks or control characters"));
    }
    if text.starts_with('/') || text.starts_with('@') {
        if text.len() > LONGEST_UNIX {
            return Err(bad("a unix socket's path has at most 107 bytes"));
        }
        if text.starts_with('/') && text.split('/').any(|part| part == "..") {
            return Err(bad("it climbs with .."));
        }
        if text.starts_with('/') && (text.ends_with('/') || text.ends_with("/.")) {
            return Err(bad("it names a directory"));
        }
        return match text.strip_prefix('@') {
            None => Ok(ListenAddress::Unix(text.to_owned())),
            Some("") => Err(bad("the name after @ is missing")),
            Some(name) => Ok(ListenAddress::Abstract(name.to_owned())),
        };
    }
    if let Ok(port) = text.parse::<u16>() {
        return if port == 0 { Err(bad("port 0")) } else { Ok(ListenAddress::Port(port)) };
    }
    match text.parse::<SocketAddr>() {
        Ok(SocketAddr::V6(v6)) if v6.scope_id() != 0 => Err(bad("a scope is not understood")),
        Ok(address) if address.port() == 0 => Err(bad("port 0")),
        Ok(SocketAddr::V6(v6)) if v6.ip().is_unicast_link_local() => {
            Err(bad("an address of one link needs that link's name, and there is no word for it"))
        }
        Ok(address) => Ok(ListenAddress::Inet(address.ip(), address.port())),
        Err(_) if text.parse::<IpAddr>().is_ok() => Err(bad("the port is missing")),
        Err(_) => Err(bad("write a port, ADDRESS:PORT, [ADDRESS]:PORT, a path or @NAME")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for text in ["8080", "127.0.0.1:80", "[::]:8080", "[::1]:1", "/run/x.sock", "@x"] {
            assert_eq!(parse_listen(text).unwrap().to_string(), text);
        }
        let long = format!("/{}", "x".repeat(200));
        for text in [
            "",
            "0",
            "70000",
            "localhost:80",
            "::1",
            "127.0.0.1",
            "@",
            "1.2.3.4:0",
            "/a b",
            "/run/../x",
            "/run/",
            "[fe80::1]:80",
            &long,
        ] {
            assert!(parse_listen(text).is_err(), "{text}");
        }
    }
}
