//! Small files written so that a reader sees the old bytes or the new ones, never a mixture.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Whether a write must survive a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// fsync of the file and of its directory.
    Durable,
    /// Atomic only: the state of a pod, which no reboot survives anyway.
    Atomic,
}

/// Replaces `path` with `bytes`, mode 0600: a temporary file beside it, then a rename.
///
/// # Errors
/// Any IO error; the old file is then untouched and the temporary one removed.
pub fn write(path: &Path, bytes: &[u8], durability: Durability) -> io::Result<()> {
    let parent = path.parent().ok_or_else(|| io::Error::other("path has no parent directory"))?;
    let name = path.file_name().ok_or_else(|| io::Error::other("path has no file name"))?;
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{}", std::process::id()));
    let temporary = parent.join(temporary);
    let result =
        fill(&temporary, bytes, durability).and_then(|()| std::fs::rename(&temporary, path));
    if let Err(error) = result {
        // The first error is the one to report; a left-over is named by its dot and PID.
        let _ = std::fs::remove_file(&temporary);
        return Err(error);
    }
    if durability == Durability::Durable {
        File::open(parent)?.sync_all()?;
    }
    Ok(())
}

fn fill(path: &Path, bytes: &[u8], durability: Durability) -> io::Result<()> {
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    match durability {
        Durability::Durable => file.sync_all(),
        Durability::Atomic => Ok(()),
    }
}

/// Makes `path` and its parents, mode 0700, if they are missing.
///
/// # Errors
/// Any IO error of mkdir(2) but "exists".
pub fn make_private_dirs(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}
