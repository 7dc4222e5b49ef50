//! Small files written so that a reader sees the old bytes or the new ones, never a mixture, and
//! read in few steps.

use rustix::fs::{AtFlags, CWD, Mode, OFlags, Stat, openat, statat};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

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

/// Most files of a pod directory are smaller, and read in one step.
const FIRST: usize = 4096;

/// A directory that is looked up once for all the files in it, which then are those of this very
/// directory wherever it is moved meanwhile.
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
    path: PathBuf,
}

impl Dir {
    /// Opens it.
    ///
    /// # Errors
    /// What open(2) says.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { fd: openat(CWD, path, flags, Mode::empty())?, path: path.to_owned() })
    }

    /// Where it was when it was opened, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a file in it, for reading or as `flags` say.
    ///
    /// # Errors
    /// What openat(2) says.
    pub fn file(&self, name: &str, flags: OFlags) -> io::Result<File> {
        Ok(openat(self.fd.as_fd(), name, flags | OFlags::CLOEXEC, Mode::empty())?.into())
    }

    /// What stat(2) says of a file in it.
    ///
    /// # Errors
    /// What stat(2) says.
    pub fn stat(&self, name: &str) -> io::Result<Stat> {
        Ok(statat(self.fd.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Reads a whole regular file in it.
    ///
    /// # Errors
    /// What openat(2) or read(2) says.
    pub fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let mut file = self.file(name, OFlags::RDONLY)?;
        let mut first = [0; FIRST];
        let read = loop {
            match file.read(&mut first) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        let mut bytes = first.get(..read).unwrap_or_default().to_vec();
        // A regular file gives less than is asked for only at its end.
        if read == FIRST {
            file.read_to_end(&mut bytes)?;
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_whole_whatever_its_size() {
        let root = tempfile::tempdir().unwrap();
        let dir = Dir::open(root.path()).unwrap();
        for size in [0, 1, FIRST - 1, FIRST, FIRST + 1, 1 << 20] {
            let bytes: Vec<u8> = (0..size).map(|n: usize| n.to_le_bytes()[0]).collect();
            std::fs::write(root.path().join("file"), &bytes).unwrap();
            assert_eq!(dir.read("file").unwrap(), bytes);
        }
        assert_eq!(dir.read("none").unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_directory_stays_what_it_is_when_it_is_renamed() {
        let root = tempfile::tempdir().unwrap();
        let (from, to) = (root.path().join("from"), root.path().join("to"));
        std::fs::create_dir(&from).unwrap();
        std::fs::write(from.join("file"), "text").unwrap();
        let dir = Dir::open(&from).unwrap();
        std::fs::rename(&from, &to).unwrap();
        assert_eq!(dir.read("file").unwrap(), b"text");
        assert_eq!(dir.stat("file").unwrap().st_size, 4);
        assert!(Dir::open(&from).is_err());
        assert!(Dir::open(&to.join("file")).is_err());
    }
}
