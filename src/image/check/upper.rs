//! What an app wrote over its image: the upper directory of its root, seen against the layers.

use super::tree::differs;
use super::{Finding, Merged, Object, Problem, pool};
use crate::image::error::ImageError;
use crate::image::files::{Kind, printable};
use rocket_sys::root::Root;
use rustix::fs::{Dir, FileType, Mode, OFlags};
use std::io;
use std::path::Path;
use std::sync::atomic::AtomicU64;

/// First id of the pod's user namespace on the host; 0 when it shares the host's.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ids(pub u32);

const MAX_DEPTH: usize = 512;

/// Names what the app `app` added, changed or removed. Nothing of it is followed or trusted.
///
/// # Errors
/// Its directory cannot be read.
pub fn upper(app: &str, dir: &Path, ids: Ids, image: &Merged) -> Result<Vec<Finding>, ImageError> {
    let fail = |e: io::Error| ImageError::io("read", dir, e);
    let root = Root::open(dir).map_err(|e| fail(e.into()))?;
    let mut walk =
        Walk { app, root, base: ids.0, image, found: Vec::new(), buffer: vec![0; 1 << 20] };
    walk.directory(b"/", true, 0).map_err(fail)?;
    walk.found.sort();
    Ok(walk.found)
}

struct Walk<'a> {
    app: &'a str,
    root: Root,
    base: u32,
    image: &'a Merged,
    found: Vec<Finding>,
    buffer: Vec<u8>,
}

impl Walk<'_> {
    fn say(&mut self, path: &[u8], problem: Problem, detail: impl Into<String>) {
        self.found.push(Finding {
            object: Object::App,
            which: self.app.to_owned(),
            path: Some(printable(path)),
            problem,
            detail: detail.into(),
        });
    }

    /// `over`: the image's directory shows through.
    fn directory(&mut self, path: &[u8], over: bool, depth: usize) -> io::Result<()> {
        if depth > MAX_DEPTH {
            return Err(io::Error::other("directories are nested too deeply"));
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let dir = self.root.exact(path, flags, Mode::empty())?;
        let mut names = Vec::new();
        for entry in Dir::read_from(&dir)? {
            let name = entry?.file_name().to_bytes().to_vec();
            if !matches!(name.as_slice(), b"." | b"..") {
                names.push(name);
            }
        }
        drop(dir);
        names.sort();
        let base = path.strip_suffix(b"/").unwrap_or(path);
        for name in names {
            self.entry(&[base, b"/", name.as_slice()].concat(), over, depth)?;
        }
        Ok(())
    }

    fn entry(&mut self, path: &[u8], over: bool, depth: usize) -> io::Result<()> {
        let fd = match self.root.exact(path, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty()) {
            // The app goes on working meanwhile.
            Err(rustix::io::Errno::NOENT) => return Ok(()),
            fd => fd?,
        };
        let found = rustix::fs::fstat(&fd)?;
        let kind = FileType::from_raw_mode(found.st_mode);
        let known = self.image.get(path);
        if kind == FileType::CharacterDevice && found.st_rdev == 0 {
            if known.is_some() {
                self.say(path, Problem::Missing, "removed by the app");
                self.hidden(path);
            }
            return Ok(());
        }
        let is_dir = kind == FileType::Directory;
        let mut through = false;
        match known {
            None => self.say(path, Problem::Added, "by the app"),
            Some(record) => {
                let same = record.clone();
                let (read, buffer) = (AtomicU64::new(0), &mut self.buffer);
                let mut hash = |wanted: &_, file: &mut _| pool::hash(wanted, file, buffer, &read);
                let detail = differs(&self.root, &same, &fd, &found, self.base, &mut hash)?;
                through = is_dir && same.kind == Kind::Dir && !self.opaque(path)?;
                if let Some(detail) = detail {
                    self.say(path, Problem::Changed, format!("{detail}, by the app"));
                }
                if !through && same.kind == Kind::Dir {
                    self.hidden(path);
                }
            }
        }
        if is_dir { self.directory(path, over && through, depth + 1) } else { Ok(()) }
    }

    /// What of the image can no longer be seen below a path, unless the app has it again.
    fn hidden(&mut self, path: &[u8]) {
        let below: Vec<Vec<u8>> = self.image.below(path).map(<[u8]>::to_vec).collect();
        for path in below {
            let there = self.root.exact(&path, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty());
            if there.is_err() {
                self.say(&path, Problem::Missing, "removed by the app");
            }
        }
    }

    fn opaque(&self, path: &[u8]) -> io::Result<bool> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let dir = self.root.exact(path, flags, Mode::empty())?;
        let mut value = [0; 4];
        let read = rustix::fs::fgetxattr(&dir, "trusted.overlay.opaque", &mut value[..]);
        Ok(matches!(read, Ok(1)) && value.first() == Some(&b'y'))
    }
}
