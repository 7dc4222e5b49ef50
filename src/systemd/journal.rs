//! journald's stream sockets: one for each app's stdout and stderr.
//!
//! Opened by stage0 as real root with the unit's id in the header: journald honours the id only
//! from uid 0 of the initial user namespace, and lines of short-lived writers keep their unit
//! (systemd-journald.service(8), `/run/systemd/journal/stdout`).

use std::io::{self, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

const SOCKET: &str = "/run/systemd/journal/stdout";

/// syslog(3) priority of stdout: info.
pub const INFO: u8 = 6;
/// syslog(3) priority of stderr: err.
pub const ERR: u8 = 3;

/// Opens a stream with the given syslog identifier, unit id and default priority.
///
/// # Errors
/// journald is not there or refuses the connection.
pub fn stream(identifier: &str, unit: &str, priority: u8) -> io::Result<OwnedFd> {
    let mut socket = UnixStream::connect(SOCKET)?;
    socket.shutdown(Shutdown::Read)?;
    socket.write_all(header(identifier, unit, priority).as_bytes())?;
    Ok(socket.into())
}

/// Identifier, unit, priority, level prefixes on, and no forwarding: syslog, kmsg, console.
fn header(identifier: &str, unit: &str, priority: u8) -> String {
    format!("{identifier}\n{unit}\n{priority}\n1\n0\n0\n0\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_has_seven_lines() {
        assert_eq!(
            header("nginx", "rocket@web.service", INFO),
            "nginx\nrocket@web.service\n6\n1\n0\n0\n0\n"
        );
    }
}
