//! minisign's signatures, checked in this process: Ed25519 over the bytes or, as minisign does by
//! default, over their BLAKE2b-512.

use super::decide::Finding;
use super::key::{Key, Kind};
use super::ring::Ring;
use minisign_verify::{PublicKey, Signature};
use std::fs::File;
use std::io::{self, Read, Seek};

/// Largest file whose bytes are signed themselves, not their hash: it has to be read whole.
const MAX_LEGACY: u64 = 32 << 20;
/// Bytes of the key's number in a key and in a signature, after the two of the algorithm.
const NUMBER: std::ops::Range<usize> = 2..10;

/// Compares a signature with a file and the keys of this host.
///
/// # Errors
/// The file cannot be read. What is wrong with the signature is a finding.
pub fn check(file: &File, signature: &[u8], ring: &Ring) -> io::Result<Finding> {
    let bad = |why: &str| Finding::Bad { kind: Kind::Minisign, why: why.to_owned() };
    let decoded = std::str::from_utf8(signature).ok().and_then(|text| {
        let number = number(text.lines().nth(1)?)?;
        Some((Signature::decode(text).ok()?, number))
    });
    let Some((signature, (hashed, wanted))) = decoded else {
        return Ok(bad("it cannot be read"));
    };
    let keys = ring.entries().iter().map(|entry| &entry.key);
    let fitting = keys.filter(|key| key.kind == Kind::Minisign && of_key(key) == Some(wanted));
    // More than one key can have a number, since anybody can choose it.
    let mut known = false;
    for key in fitting {
        let Ok(public) = PublicKey::from_base64(&key.fingerprint) else { continue };
        known = true;
        let mut file = file;
        file.rewind()?;
        let fits = if hashed {
            let Ok(mut stream) = public.verify_stream(&signature) else { continue };
            let mut buffer = vec![0; 1 << 16];
            loop {
                match file.read(&mut buffer)? {
                    0 => break,
                    count => stream.update(buffer.get(..count).unwrap_or_default()),
                }
            }
            stream.finalize().is_ok()
        } else {
            let mut bytes = Vec::new();
            file.take(MAX_LEGACY + 1).read_to_end(&mut bytes)?;
            if bytes.len() as u64 > MAX_LEGACY {
                return Ok(bad("it is of the old form, and the file is too large for that"));
            }
            public.verify(&bytes, &signature, true).is_ok()
        };
        if fits {
            let fingerprint = key.fingerprint.clone();
            return Ok(Finding::Good { kind: Kind::Minisign, fingerprint, name: None });
        }
    }
    if known {
        return Ok(bad("it does not fit the bytes"));
    }
    // As minisign prints it: a number of eight bytes, the least significant first.
    let key = format!("{:016X}", u64::from_le_bytes(wanted));
    Ok(Finding::NoKey { kind: Kind::Minisign, key })
}

/// Whether a signature's line is for the hash of the bytes, and its key's number.
fn number(line: &str) -> Option<(bool, [u8; 8])> {
    let bytes = super::armor::base64(line)?;
    let number = bytes.get(NUMBER)?.try_into().ok()?;
    match bytes.get(..2)? {
        b"ED" => Some((true, number)),
        b"Ed" => Some((false, number)),
        _ => None,
    }
}

fn of_key(key: &Key) -> Option<[u8; 8]> {
    super::armor::base64(&key.fingerprint)?.get(NUMBER)?.try_into().ok()
}
