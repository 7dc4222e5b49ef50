//! What the integration tests share.
//!
//! A helper here answers a surprise by failing the test that called it, with everything it knows:
//! so nothing returns an error, and unwrapping is the way to report one.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used)]

pub mod command;
pub mod image;
pub mod leaks;
pub mod tmux;
pub mod unit;

pub use command::{Command, Done, rocket, run};

use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Fails the test unless it runs in a bed of the named kind.
///
/// Such a test starts units, kills processes and writes to `/etc`: on a machine that is not
/// thrown away afterwards it must not run.
pub fn require_bed(kind: &str) {
    let bed = std::env::var("ROCKET_BED").unwrap_or_default();
    assert_eq!(bed, kind, "this test needs the {kind} bed: see tests/README.md");
}

/// The directory of build products, where the roots that `tests/bed/roots` made are.
#[must_use]
pub fn target_dir() -> PathBuf {
    std::env::var_os("ROCKET_BED_TARGET").expect("set in every bed").into()
}

/// Waits until `condition` holds; fails the test, naming `what`, when it has not after `seconds`.
#[track_caller]
pub fn wait_until(what: &str, seconds: u64, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(seconds);
    while !condition() {
        assert!(Instant::now() < end, "not within {seconds} s: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
