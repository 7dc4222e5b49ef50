//! `rocket import`: every input of the corpus becomes pod files that lint clean, with what they do not carry
//! listed; bad input becomes an error with its place, and nothing else.
//!
//! `ROCKET_UPDATE_GOLDEN=1` writes what is expected anew; look at the difference before it is kept.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod corpus;
mod ns;
mod refused;
mod structure;

use rocket_testkit::{Command, Done};
use std::path::Path;

/// Runs `rocket` in a directory, with nothing of this process's environment that an import could see.
fn rocket_in(dir: &Path, args: &[&str]) -> Done {
    let script = "cd \"$1\" && shift && exec env -i HOME=/root PATH=/usr/bin:/bin ROCKET_STATE_DIR=/nonexistent \"$@\"";
    Command::new("/bin/sh")
        .args(["-c", script, "sh", dir.to_str().unwrap(), env!("CARGO_BIN_EXE_rocket")])
        .args(args)
        .seconds(60)
        .run()
}
