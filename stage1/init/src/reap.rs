//! Collecting the dead, and killing what an app left behind when there is no leaf to kill.

use std::os::fd::AsFd;

use rocket_sys::pidfd::{self, Exit};
use rocket_sys::signal;
use rustix::fs::{Mode, OFlags};

/// Every child that has ended: apps, entered commands and adopted orphans alike.
pub fn all() -> Vec<(i32, Exit)> {
    let mut out = Vec::new();
    while let Ok(Some(ended)) = pidfd::reap_any() {
        out.push(ended);
    }
    out
}

/// Kills every process of the session that `leader` led, and of its process group.
pub fn kill_session(proc: impl AsFd, leader: i32) {
    let _ = signal::kill(-leader, sigkill());
    for pid in session_members(proc, leader) {
        let _ = signal::kill(pid, sigkill());
    }
}

/// SIGKILL.
pub const fn sigkill() -> i32 {
    9
}

fn session_members(proc: impl AsFd, leader: i32) -> Vec<i32> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(directory) = rustix::fs::openat(&proc, ".", flags, Mode::empty()) else {
        return Vec::new();
    };
    let Ok(entries) = rustix::fs::Dir::new(directory) else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str().ok()?.parse().ok())
        .filter(|pid: &i32| *pid > 1 && session_of(proc.as_fd(), *pid) == Some(leader))
        .collect()
}

fn session_of(proc: impl AsFd, pid: i32) -> Option<i32> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(proc, format!("{pid}/stat"), flags, Mode::empty()).ok()?;
    let mut buffer = [0; 512];
    let n = rustix::io::read(&file, &mut buffer).ok()?;
    let text = String::from_utf8_lossy(buffer.get(..n)?).into_owned();
    session_in_stat(&text)
}

/// Field 6 of `/proc/PID/stat`; the command name before it may hold anything, so count from the
/// last parenthesis.
fn session_in_stat(text: &str) -> Option<i32> {
    let (_, rest) = text.rsplit_once(") ")?;
    rest.split(' ').nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_name_cannot_fool_the_parser() {
        assert_eq!(session_in_stat("7 (a) S 1 2 3) S 1 70 71 0 -1 4"), Some(71));
        assert_eq!(session_in_stat("7 (a"), None);
    }
}
