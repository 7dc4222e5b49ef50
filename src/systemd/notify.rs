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

/// Tells the unit's status line why this process fails; without a unit, nobody.
pub fn status(text: &str) {
    let address = std::env::var_os("NOTIFY_SOCKET");
    if let Ok(Some(socket)) = connect(address.as_deref()) {
        let line = text.lines().next().unwrap_or_default();
        // The text is in the journal as well.
        let _ = UnixDatagram::from(socket).send(format!("STATUS={line}").as_bytes());
    }
}
