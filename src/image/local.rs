//! Local evidence: what root packed or accepted on this machine is known again by a secret made here.
//!
//! The secret never leaves the host and the code is bound to the machine id, so a copied state
//! directory vouches for nothing elsewhere. It is no signature: it never satisfies a policy.

use crate::config::paths::{MACHINE_ID, Paths};
use crate::image::digest::{Algo, Hasher, hex};
use crate::image::error::ImageError;
use crate::image::store::{Evidence, ImageId};
use crate::image::trust::decide::Local;
use serde::{Deserialize, Serialize};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const VERSION: u32 = 1;
const KEY_BYTES: usize = 64;
/// Block size of SHA-512, which HMAC pads its key to.
const BLOCK: usize = 128;

/// This host, as far as evidence is concerned.
#[derive(Clone, Debug)]
pub struct Host {
    key: PathBuf,
    packed: PathBuf,
    accepted: PathBuf,
    machine_id: PathBuf,
}

/// What this host says of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    /// Root packed it here.
    Packed,
    /// Root takes it, whoever else does.
    Accepted,
}

/// `packed/ID`, `accepted/ID`.
#[derive(Debug, Serialize, Deserialize)]
struct Packed {
    version: u32,
    id: ImageId,
    hmac_sha512: String,
}

impl Host {
    /// The host whose state is at `paths`.
    pub fn new(paths: &Paths) -> Self {
        Self {
            key: paths.host_key(),
            packed: paths.packed(),
            accepted: paths.accepted(),
            machine_id: MACHINE_ID.into(),
        }
    }

    /// Records that root packed this image here.
    pub fn record(&self, id: &ImageId) -> Result<(), ImageError> {
        self.say(Word::Packed, id)
    }

    /// Records that root takes this image, whoever vouches for it.
    pub fn accept(&self, id: &ImageId) -> Result<(), ImageError> {
        self.say(Word::Accepted, id)
    }

    /// Takes that back; whether there was something to take back.
    pub fn reject(&self, id: &ImageId) -> Result<bool, ImageError> {
        let path = self.accepted.join(id.to_string());
        match std::fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(ImageError::io("remove", &path, e)),
        }
    }

    /// What this host says of an image.
    pub fn local(&self, id: &ImageId) -> Result<Local, ImageError> {
        Ok(Local {
            packed_here: self.says(Word::Packed, id)?,
            accepted: self.says(Word::Accepted, id)?,
            waived: false,
        })
    }

    fn dir(&self, word: Word) -> &Path {
        match word {
            Word::Packed => &self.packed,
            Word::Accepted => &self.accepted,
        }
    }

    fn say(&self, word: Word, id: &ImageId) -> Result<(), ImageError> {
        let target = self.dir(word);
        for dir in [self.key.parent(), Some(target)].into_iter().flatten() {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
            made.map_err(|e| ImageError::io("make the directory", dir, e))?;
        }
        let key = match self.load_key()? {
            Some(key) => key,
            None => self.make_key()?,
        };
        let record =
            Packed { version: VERSION, id: id.clone(), hmac_sha512: self.code(&key, word, id)? };
        let path = target.join(id.to_string());
        let temp = target.join(format!(".{}", uuid::Uuid::new_v4()));
        let bytes = serde_json::to_vec(&record).unwrap_or_default();
        let write = |e| ImageError::io("write", &path, e);
        let mut file = File::create_new(&temp).map_err(write)?;
        file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(write)?;
        std::fs::rename(&temp, &path).map_err(write)
    }

    /// What this host knows of an image.
    pub fn evidence(&self, id: &ImageId) -> Result<Evidence, ImageError> {
        let packed = self.says(Word::Packed, id)?;
        Ok(if packed { Evidence::PackedHere } else { Evidence::LocalFile })
    }

    fn says(&self, word: Word, id: &ImageId) -> Result<bool, ImageError> {
        let path = self.dir(word).join(id.to_string());
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(ImageError::io("read", &path, e)),
        };
        let Ok(record) = serde_json::from_slice::<Packed>(&bytes) else { return Ok(false) };
        let Some(key) = self.load_key()? else { return Ok(false) };
        let code = self.code(&key, word, id)?;
        Ok(record.version == VERSION && record.id == *id && equal(&record.hmac_sha512, &code))
    }

    fn code(&self, key: &[u8], word: Word, id: &ImageId) -> Result<String, ImageError> {
        let machine = std::fs::read_to_string(&self.machine_id)
            .map_err(|e| ImageError::io("read", &self.machine_id, e))?;
        let word = match word {
            Word::Packed => "packed here",
            Word::Accepted => "accepted",
        };
        let text = format!("rocket {word} {VERSION}\n{id}\n{}\n", machine.trim());
        Ok(hex(&hmac_sha512(key, text.as_bytes())))
    }

    /// The key, if there is one that only root can read.
    fn load_key(&self) -> Result<Option<Vec<u8>>, ImageError> {
        let read = |e| ImageError::io("read", &self.key, e);
        let file = match File::open(&self.key) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(read(error)),
        };
        let found = file.metadata().map_err(read)?;
        if found.mode() & 0o077 != 0 {
            let problem = "others can read this secret; remove it and pack again";
            return Err(ImageError::bad(self.key.display().to_string(), problem));
        }
        let mut key = Vec::new();
        file.take(KEY_BYTES as u64 + 1).read_to_end(&mut key).map_err(read)?;
        if key.len() == KEY_BYTES {
            Ok(Some(key))
        } else {
            Err(ImageError::bad(self.key.display().to_string(), "the host key is damaged"))
        }
    }

    /// Makes the key; when another process was first, its key counts.
    fn make_key(&self) -> Result<Vec<u8>, ImageError> {
        let write = |e| ImageError::io("make the host key", &self.key, e);
        let mut key = vec![0; KEY_BYTES];
        File::open("/dev/urandom").and_then(|mut r| r.read_exact(&mut key)).map_err(write)?;
        let temp = self.key.with_extension(uuid::Uuid::new_v4().to_string());
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temp)
            .map_err(write)?;
        let written = file.write_all(&key).and_then(|()| file.sync_all());
        let linked = written.and_then(|()| std::fs::hard_link(&temp, &self.key));
        std::fs::remove_file(&temp).map_err(write)?;
        match linked {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(write(error)),
            _ => self.load_key()?.ok_or_else(|| write(std::io::ErrorKind::NotFound.into())),
        }
    }
}

/// Compares without telling by its duration where a difference lies.
fn equal(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |seen, (a, b)| seen | (a ^ b)) == 0
}

/// HMAC (RFC 2104) with SHA-512; the keys here are never longer than a block.
fn hmac_sha512(key: &[u8], text: &[u8]) -> Vec<u8> {
    let pad = |byte: u8| -> Vec<u8> {
        (0..BLOCK).map(|i| key.get(i).copied().unwrap_or(0) ^ byte).collect()
    };
    let hash = |parts: [&[u8]; 2]| {
        let mut hasher = Hasher::new(Algo::Sha512);
        parts.iter().for_each(|part| hasher.update(part));
        hasher.finish_bytes()
    };
    let inner = hash([&pad(0x36), text]);
    hash([&pad(0x5c), &inner])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::digest::Digest;

    #[test]
    fn the_code_is_hmac() {
        // RFC 4231, test case 2.
        let code = hex(&hmac_sha512(b"Jefe", b"what do ya want for nothing?"));
        assert!(
            code.starts_with("164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554")
        );
    }

    #[test]
    fn evidence_needs_the_same_host_and_key() {
        let dir = tempfile::tempdir().unwrap();
        let machine_id = dir.path().join("machine-id");
        std::fs::write(&machine_id, "aaaa\n").unwrap();
        let host = |state: &str| Host {
            key: dir.path().join(state).join("host.key"),
            packed: dir.path().join("packed"),
            accepted: dir.path().join("accepted"),
            machine_id: machine_id.clone(),
        };
        let id = ImageId::new(Digest::of(Algo::Sha512, b"image"));
        let other = ImageId::new(Digest::of(Algo::Sha512, b"other"));
        assert_eq!(host("a").evidence(&id).unwrap(), Evidence::LocalFile);
        host("a").record(&id).unwrap();
        host("a").record(&id).unwrap();
        assert_eq!(host("a").evidence(&id).unwrap(), Evidence::PackedHere);
        assert_eq!(host("a").evidence(&other).unwrap(), Evidence::LocalFile);
        // One word is not the other, not even moved to its place.
        std::fs::create_dir_all(dir.path().join("accepted")).unwrap();
        let name = id.to_string();
        let (packed, accepted) = (dir.path().join("packed"), dir.path().join("accepted"));
        std::fs::copy(packed.join(&name), accepted.join(&name)).unwrap();
        let local =
            |host: &Host| (host.local(&id).unwrap().packed_here, host.local(&id).unwrap().accepted);
        assert_eq!(local(&host("a")), (true, false));
        host("a").accept(&id).unwrap();
        assert_eq!(local(&host("a")), (true, true));
        assert!(host("a").reject(&id).unwrap() && !host("a").reject(&id).unwrap());
        assert_eq!(local(&host("a")), (true, false));
        host("b").record(&other).unwrap();
        assert_eq!(host("b").evidence(&id).unwrap(), Evidence::LocalFile);
        std::fs::write(&machine_id, "bbbb\n").unwrap();
        assert_eq!(host("a").evidence(&id).unwrap(), Evidence::LocalFile);
        let mode = std::fs::metadata(host("a").key).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
