//! `rocket-generator --fail MESSAGE…`: the start of a pod whose file is broken.

use crate::drop_in::BROKEN;
use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

/// systemd closes a socket that starts its service 20 times in 2 s.
const PACE: Duration = Duration::from_secs(1);

/// Says what is wrong to whoever looks: in `systemctl status`, as the unit's status, and in the
/// journal, as errors.
pub fn fail(messages: &[OsString]) -> ExitCode {
    let messages: Vec<_> = messages.iter().map(|message| message.to_string_lossy()).collect();
    let mut text = String::new();
    for message in &messages {
        text.push_str("<3>");
        text.push_str(message);
        text.push('\n');
    }
    // Nobody to read either one is no reason to do anything else.
    let _ = io::stderr().write_all(text.as_bytes());
    if let (Some(first), Some(socket)) = (messages.first(), env::var_os("NOTIFY_SOCKET")) {
        let _ = notify(&socket, &format!("STATUS={first}"));
    }
    // The connection that started it is still there and starts it again: at this pace systemd does
    // not give the socket up, and the one who connected is served when the file is mended.
    if env::var_os("LISTEN_FDS").is_some() {
        thread::sleep(PACE);
    }
    ExitCode::from(BROKEN)
}

fn notify(socket: &OsStr, text: &str) -> io::Result<()> {
    let address = match socket.as_bytes().split_first() {
        Some((b'@', name)) => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?.send_to_addr(text.as_bytes(), &address).map(drop)
}
