//! The datagram socket of sd_notify(3), connected before the hand-over and inherited by init.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Connects to the address in `NOTIFY_SOCKET`, if there is one.
///
/// # Errors
/// The address is of a kind this program does not speak, or nobody listens there.
pub fn connect(address: Option<&OsStr>) -> io::Result<Option<OwnedFd>> {
    let Some(address) = address.filter(|a| !a.is_empty()) else { return Ok(None) };
    let socket = UnixDatagram::unbound()?;
    let target = match address.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        [b'/', ..] => SocketAddr::from_pathname(address)?,
        _ => {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "NOTIFY_SOCKET is neither a path nor abstract",
            ));
        }
    };
    socket.connect_addr(&target)?;
    Ok(Some(socket.into()))
}

/// The most bytes of a status that are sent: systemd drops a message of more than 4096.
const LONGEST: usize = 3500;

/// Tells the unit's status line why this process fails; without a unit, nobody.
pub fn status(text: &str) {
    let address = std::env::var_os("NOTIFY_SOCKET");
    if let Ok(Some(socket)) = connect(address.as_deref()) {
        // The whole text is in the journal.
        let _ = UnixDatagram::from(socket).send(format!("STATUS={}", line(text)).as_bytes());
    }
}

/// The first line, or as much of it as there is room for.
fn line(text: &str) -> &str {
    let line = text.lines().next().unwrap_or_default();
    let mut end = line.len().min(LONGEST);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    line.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_has_one_line_that_systemd_takes() {
        assert_eq!(line("one\ntwo"), "one");
        assert_eq!(line(""), "");
        let long = "ä€".repeat(2000);
        assert!((LONGEST - 3..=LONGEST).contains(&line(&long).len()));
        assert!(long.starts_with(line(&long)));
    }
}
