//! The least that a service of `Type=notify` can be: it says that it is ready, and sleeps.

use anyhow::{Context, Result};
use std::os::unix::net::UnixDatagram;
use std::process::ExitCode;

/// Says `READY=1` and waits for a signal to end it.
pub fn serve() -> Result<ExitCode> {
    let socket = std::env::var_os("NOTIFY_SOCKET").context("no NOTIFY_SOCKET")?;
    UnixDatagram::unbound()?.send_to(b"READY=1", &socket).context("telling systemd")?;
    loop {
        std::thread::park();
    }
}
