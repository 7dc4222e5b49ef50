//! What the probe is told of the host, and the few things all attempts do.

use crate::Fail;
use crate::sys::{Arg, Errno, call};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The open end of the world for an attempt: everything it knows comes from the environment.
#[derive(Debug, Default)]
pub struct World;

impl From<Errno> for Fail {
    fn from(errno: Errno) -> Self {
        Self::Refused(errno.to_string())
    }
}

impl From<io::Error> for Fail {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(number) => Errno(number).into(),
            None => Self::Refused(error.to_string()),
        }
    }
}

impl World {
    /// What the test says of its canaries.
    ///
    /// # Errors
    /// It was not said.
    pub fn told(&self, name: &str) -> Result<String, Fail> {
        std::env::var(format!("ESCAPE_{name}"))
            .map_err(|_| Fail::Impossible(format!("the test did not say ESCAPE_{name}")))
    }

    /// The same as a number.
    ///
    /// # Errors
    /// It was not said, or is none.
    pub fn number(&self, name: &str) -> Result<i64, Fail> {
        let text = self.told(name)?;
        text.parse().map_err(|_| Fail::Impossible(format!("ESCAPE_{name} is no number: {text}")))
    }

    /// The pod's init. Outside of pods the test names a stand-in.
    #[must_use]
    pub fn init(&self) -> i64 {
        self.number("INIT").unwrap_or(1)
    }

    /// An app of the same pod that another user runs.
    ///
    /// # Errors
    /// It is not in sight.
    pub fn peer(&self) -> Result<i64, Fail> {
        let found = processes().find(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line == b"/probe\0peer\0"
        });
        found.ok_or_else(|| Fail::Impossible("no other app is in sight".to_owned()))
    }

    /// Does what the host's canary file says, if a text has it.
    ///
    /// # Errors
    /// It has not.
    pub fn has_token(&self, text: &str, whence: &str) -> Result<String, Fail> {
        if text.contains(&self.told("TOKEN")?) {
            return Ok(format!("read the host's canary from {whence}"));
        }
        refuse(format!("{whence} is not the host's"))
    }
}

/// Numbers in `/proc`.
pub fn processes() -> impl Iterator<Item = i64> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Refused, for this reason.
///
/// # Errors
/// Always.
pub fn refuse<T>(why: impl Into<String>) -> Result<T, Fail> {
    Err(Fail::Refused(why.into()))
}

/// Writes to what is there already.
///
/// # Errors
/// What the kernel answers.
pub fn write(path: impl AsRef<Path>, text: &str) -> Result<(), Fail> {
    let mut file = OpenOptions::new().write(true).custom_flags(libc::O_NOCTTY).open(path)?;
    Ok(file.write_all(text.as_bytes())?)
}

/// Writes `text` to a kernel file and the old value back; succeeds when `text` was read back.
///
/// # Errors
/// It could not be written, or had no effect.
pub fn change(path: &str, text: &str) -> Result<String, Fail> {
    let before = fs::read_to_string(path)?;
    write(path, text)?;
    let after = fs::read_to_string(path)?;
    write(path, &before)?;
    if after.trim() == text.trim() {
        return Ok(format!("{path} was {}, became {}", before.trim(), after.trim()));
    }
    refuse(format!("{path} stayed {}", after.trim()))
}

/// An empty directory of its own.
///
/// # Errors
/// It cannot be made.
pub fn directory(name: &str) -> Result<String, Fail> {
    let path = format!("/tmp/{name}-{}", std::process::id());
    fs::create_dir_all(&path)?;
    Ok(path)
}

/// `mount(2)`.
///
/// # Errors
/// What the kernel answers.
pub fn mount(from: &str, to: &str, kind: &str, flags: u64) -> Result<(), Fail> {
    let flags = i64::try_from(flags).unwrap_or(0);
    let args = &mut [Arg::Text(from), Arg::Text(to), Arg::Text(kind), Arg::Int(flags), Arg::Null];
    call(libc::SYS_mount, args)?;
    Ok(())
}

/// Whether something is mounted exactly there.
#[must_use]
pub fn is_mounted(path: &str) -> bool {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    table.lines().any(|line| line.split(' ').nth(4) == Some(path))
}

/// One capability of `/proc/self/status`' effective set.
#[must_use]
pub fn has_capability(number: u32) -> bool {
    status("CapEff")
        .is_some_and(|set| u64::from_str_radix(&set, 16).is_ok_and(|set| set & (1 << number) != 0))
}

/// A field of `/proc/self/status`.
#[must_use]
pub fn status(field: &str) -> Option<String> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    Some(line.trim().to_owned())
}

/// CVE-2019-5736: waits for a process whose program is none of the image's, holds on to that file
/// and tries to write to it when it no longer runs. Says what it comes to in `/tmp/watch`.
pub fn watch_programs() {
    use std::os::fd::AsRawFd;
    let mut held: Vec<(fs::File, String)> = Vec::new();
    let mut said = String::new();
    let mut say = |text: String| {
        if text != said {
            drop(
                fs::write("/tmp/watch.new", &text)
                    .and_then(|()| fs::rename("/tmp/watch.new", "/tmp/watch")),
            );
            said = text;
        }
    };
    loop {
        for pid in processes() {
            let exe = format!("/proc/{pid}/exe");
            let Ok(path) = fs::read_link(&exe) else { continue };
            let name = path.display().to_string();
            let ours = ["/probe", "/bin/busybox"].contains(&name.as_str());
            if ours || held.iter().any(|(_, known)| *known == name) {
                continue;
            }
            if let Ok(file) = fs::File::open(&exe) {
                held.push((file, name));
            }
        }
        for (file, name) in &held {
            let again = format!("/proc/self/fd/{}", file.as_raw_fd());
            match OpenOptions::new().append(true).open(again) {
                Ok(mut file) => {
                    drop(file.write_all(b"escaped"));
                    say(format!("wrote {name}"));
                }
                Err(error) => say(format!("holds {name}: {error}")),
            }
        }
    }
}
