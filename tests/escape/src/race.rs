//! Helpers that do one thing over and over: exchange a name while somebody else goes through it, or
//! take of what the kernel counts for each user until there is no more.

use crate::sys::{Arg, Errno, call};
use crate::world::processes;
use std::fs;
use std::os::unix::fs::symlink;

/// `RENAME_EXCHANGE` of renameat2(2).
const EXCHANGE: i64 = 2;

fn exchange(one: &str, other: &str) -> Result<i64, Errno> {
    let here = || Arg::Int(libc::AT_FDCWD.into());
    let (one, other) = (Arg::Text(one), Arg::Text(other));
    call(libc::SYS_renameat2, &mut [here(), one, here(), other, Arg::Int(EXCHANGE)])
}

/// Exchanges two names until it is killed; why it could not.
#[must_use]
pub fn swap(one: &str, other: &str) -> Errno {
    loop {
        if let Err(error) = exchange(one, other) {
            return error;
        }
    }
}

/// Takes the mounts from the roots of other processes, and exchanges what is in their places for what
/// leads into procfs. Whoever is in a mount namespace where nothing is mounted on a directory can
/// remove or rename it, and all that others have mounted there is gone.
pub fn swap_roots() {
    let own = i64::from(std::process::id());
    let mut said: Vec<String> = Vec::new();
    loop {
        for pid in processes().filter(|pid| *pid != own && *pid != 1) {
            let root = format!("/proc/{pid}/root");
            // For the mount that is made at each start of an app.
            drop(fs::create_dir_all(format!("{root}/x-sys/fs")));
            drop(symlink("/proc/sys", format!("{root}/x-sys/fs/cgroup")));
            drop(symlink("/proc/sys/kernel", format!("{root}/x-dev")));
            drop(fs::create_dir(format!("{root}/x-proc")));
            for name in ["sys", "dev", "proc"] {
                let (place, other) = (format!("{root}/{name}"), format!("{root}/x-{name}"));
                let mut say = |verb| {
                    let text = format!("{verb} {name}");
                    if !said.contains(&text) {
                        println!("{text}");
                        said.push(text);
                    }
                };
                // What the image brought cannot be renamed, but removed and made anew.
                if fs::remove_dir(&place).is_ok() {
                    drop(fs::create_dir(&place));
                    say("removed");
                }
                if exchange(&place, &other).is_ok() {
                    say("exchanged");
                }
            }
        }
    }
}

/// Takes inotify instances until there are no more; how many. They last as long as the process.
pub fn inotify_instances() -> usize {
    (0..100_000).take_while(|_| call(libc::SYS_inotify_init1, &mut [Arg::Int(0)]).is_ok()).count()
}
