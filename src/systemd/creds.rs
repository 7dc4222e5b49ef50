//! systemd's credentials without a unit: how they are decrypted.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

/// Decrypts the credential `name` in `file` with the keys of this host.
///
/// # Errors
/// There is no `systemd-creds` (systemd 250), or it fails: with what it says.
pub fn decrypt(name: &str, file: &Path) -> io::Result<Vec<u8>> {
    let output = Command::new("systemd-creds")
        .arg("decrypt")
        .arg(format!("--name={name}"))
        .arg("--")
        .arg(file)
        .arg("-")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => io::Error::other(
                "it is encrypted, and this host has no systemd-creds (of systemd 250) to decrypt it",
            ),
            _ => error,
        })?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let said = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    Err(io::Error::other(format!("systemd-creds does not decrypt it: {}", said.trim())))
}
