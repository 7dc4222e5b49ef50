//! Writing drop-ins so that nobody ever sees half of one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The directory that systemd gave us for units of normal priority.
pub struct Output {
    dir: PathBuf,
    beside: PathBuf,
}

impl Output {
    /// Output below `dir`; `part` tells the threads of one generator apart.
    pub fn new(dir: &Path, part: usize) -> Self {
        // Two generators at once, each with a name of its own, each end with a whole file.
        let beside = dir.join(format!(".rocket-generator.{}.{part}", std::process::id()));
        Self { dir: dir.to_owned(), beside }
    }

    /// Writes a whole unit.
    pub fn unit(&self, unit: &str, text: &str) -> io::Result<()> {
        fs::write(&self.beside, text)?;
        fs::rename(&self.beside, self.dir.join(unit))
    }

    /// Writes the drop-in of `unit`.
    pub fn drop_in(&self, unit: &str, text: &str) -> io::Result<()> {
        let dir = self.dir.join(format!("{unit}.d"));
        match fs::create_dir(&dir) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            done => done?,
        }
        fs::write(&self.beside, text)?;
        // 10-: what `systemctl set-property` writes is 50-, comes later, and wins.
        fs::rename(&self.beside, dir.join("10-rocket.conf"))
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        // There only if the last write failed; nothing more can be done about it.
        let _ = fs::remove_file(&self.beside);
    }
}
