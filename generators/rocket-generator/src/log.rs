//! Where a generator may complain: the kernel's log when systemd runs it, for there is no journal
//! yet, and standard error when a person does.

use std::env;
use std::error::Error;
use std::fs::OpenOptions;
use std::io::{self, Write};

/// Reports an error with its cause.
pub fn error(error: &rocket_podfile::LoadError) {
    match error.source() {
        Some(cause) => problem(&format!("{error}: {cause}")),
        None => problem(&error.to_string()),
    }
}

/// Reports a problem; nothing fails for it.
pub fn problem(text: &str) {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    // The scope is one of the variables that systemd sets for its generators.
    if env::var_os("SYSTEMD_SCOPE").is_some() {
        let kernel = OpenOptions::new().write(true).open("/dev/kmsg");
        let line = format!("<3>rocket-generator: {line}\n");
        if kernel.and_then(|mut kernel| kernel.write_all(line.as_bytes())).is_ok() {
            return;
        }
    }
    let _ = writeln!(io::stderr(), "rocket-generator: {line}");
}
