//! OpenPGP's signatures, checked by `gpgv`: the program that distributions use for their packages.
//!
//! It gets the keys, the signature and the bytes by descriptors of this process, no configuration, no
//! environment, and its answer is read from its status lines (doc/DETAILS of GnuPG), never from its exit
//! code or its words for people.

use super::armor::dearmor;
use super::decide::Finding;
use super::key::Kind;
use super::ring::Ring;
use rustix::fs::{MemfdFlags, memfd_create};
use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::process::{Command, Stdio};

/// Where distributions put it.
const PROGRAMS: [&str; 2] = ["/usr/bin/gpgv", "/usr/local/bin/gpgv"];
/// Hash algorithms (RFC 9580, section 9.5) that no longer tell files apart: MD5, SHA-1, RIPEMD-160.
const BROKEN_HASHES: [&str; 3] = ["1", "2", "3"];

/// Compares the signatures of a detached signature file with a file and the keys of this host.
///
/// # Errors
/// A descriptor cannot be made, or `gpgv` cannot be run. What is wrong with a signature is a finding.
pub fn check(file: &File, signature: &[u8], ring: &Ring) -> io::Result<Vec<Finding>> {
    let bad = |why: String| vec![Finding::Bad { kind: Kind::OpenPgp, why }];
    let signature = match std::str::from_utf8(signature) {
        Ok(text) if text.contains("-----BEGIN PGP") => match dearmor(text, "PGP SIGNATURE") {
            Ok(binary) => binary,
            Err(why) => return Ok(bad(why)),
        },
        _ => signature.to_vec(),
    };
    let mut keys = Vec::new();
    for entry in ring.entries().iter().filter(|entry| entry.key.kind == Kind::OpenPgp) {
        keys.extend_from_slice(&entry.key.data);
    }
    let missing = || {
        let text = "gpgv, which checks OpenPGP signatures, is not installed (Debian: apt-get install gpgv)";
        io::Error::new(io::ErrorKind::NotFound, text)
    };
    let program = PROGRAMS.iter().find(|path| Path::new(path).exists()).ok_or_else(missing)?;
    let (keys, signature) = (held("keys", &keys)?, held("signature", &signature)?);
    let path = |fd: i32| format!("/proc/{}/fd/{fd}", std::process::id());
    let output = Command::new(program)
        .env_clear()
        .env("LC_ALL", "C")
        .env("GNUPGHOME", "/nonexistent")
        .args(["--quiet", "--status-fd", "1", "--keyring", &path(keys.as_raw_fd())])
        .args([path(signature.as_raw_fd()), path(file.as_raw_fd())])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()?;
    let findings = findings(&String::from_utf8_lossy(&output.stdout));
    Ok(if findings.is_empty() { bad("it cannot be read".to_owned()) } else { findings })
}

/// Bytes that another program can open by the path of their descriptor.
fn held(name: &str, bytes: &[u8]) -> io::Result<OwnedFd> {
    let mut file = File::from(memfd_create(name, MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file.into())
}

/// What the status lines say, one finding a signature.
fn findings(status: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut is_good = false;
    let bad = |why: String| Finding::Bad { kind: Kind::OpenPgp, why };
    for line in status.lines().filter_map(|line| line.strip_prefix("[GNUPG:] ")) {
        let words: Vec<&str> = line.split(' ').collect();
        let word = |index: usize| words.get(index).copied().unwrap_or_default();
        match word(0) {
            "NEWSIG" => is_good = false,
            "GOODSIG" => is_good = true,
            "BADSIG" => found.push(bad("it does not fit the bytes".to_owned())),
            "EXPSIG" => found.push(bad("it has expired".to_owned())),
            "EXPKEYSIG" => found.push(bad(format!("its key {} has expired", word(1)))),
            "REVKEYSIG" => found.push(bad(format!("its key {} has been revoked", word(1)))),
            // The reason 9 is a key that is not there; the fingerprint is the last word, if known.
            "ERRSIG" if word(6) == "9" => {
                let key = Some(word(7)).filter(|f| f.len() >= 32).unwrap_or_else(|| word(1));
                found.push(Finding::NoKey { kind: Kind::OpenPgp, key: key.to_owned() });
            }
            "ERRSIG" => found.push(bad("gpgv cannot check its algorithms".to_owned())),
            // Also said of what has expired: only after GOODSIG does it count.
            "VALIDSIG" if is_good => {
                is_good = false;
                let (hash, class, primary) = (word(8), word(9), word(10));
                found.push(if BROKEN_HASHES.contains(&hash) {
                    bad("its hash algorithm is broken; sign again with SHA-256 or better"
                        .to_owned())
                } else if class != "00" {
                    bad("it is for a text, not for a file's bytes".to_owned())
                } else {
                    let primary = if primary.is_empty() { word(1) } else { primary };
                    let fingerprint = primary.to_owned();
                    Finding::Good { kind: Kind::OpenPgp, fingerprint, name: None }
                });
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const FPR: &str = "0123456789ABCDEF0123456789ABCDEF01234567";

    fn valid(hash: u8, class: &str) -> String {
        format!("[GNUPG:] VALIDSIG {FPR} 2026-11-24 1795478400 0 4 0 22 {hash} {class} {FPR}\n")
    }

    #[test]
    fn status_lines() {
        let good =
            format!("[GNUPG:] NEWSIG\n[GNUPG:] GOODSIG 89ABCDEF01234567 A B\n{}", valid(8, "00"));
        assert_eq!(
            findings(&good),
            [Finding::Good { kind: Kind::OpenPgp, fingerprint: FPR.to_owned(), name: None }]
        );
        for (lines, words) in [
            (format!("[GNUPG:] EXPKEYSIG 89AB A\n{}", valid(8, "00")), "expired"),
            (format!("[GNUPG:] REVKEYSIG 89AB A\n{}", valid(8, "00")), "revoked"),
            (format!("[GNUPG:] EXPSIG 89AB A\n{}", valid(8, "00")), "expired"),
            (format!("[GNUPG:] GOODSIG 89AB A\n{}", valid(2, "00")), "broken"),
            (format!("[GNUPG:] GOODSIG 89AB A\n{}", valid(8, "01")), "text"),
            ("[GNUPG:] BADSIG 89AB A".to_owned(), "fit"),
            ("[GNUPG:] ERRSIG 89AB 22 8 00 1 4".to_owned(), "algorithms"),
        ] {
            match findings(&lines).as_slice() {
                [Finding::Bad { why, .. }] => assert!(why.contains(words), "{why}"),
                other => panic!("{lines}: {other:?}"),
            }
        }
        let unknown = findings(&format!("[GNUPG:] ERRSIG 89AB 22 8 00 1 9 {FPR}"));
        assert_eq!(unknown, [Finding::NoKey { kind: Kind::OpenPgp, key: FPR.to_owned() }]);
        // A name that looks like a status line is in the middle of one.
        assert!(findings("gpgv: [GNUPG:] GOODSIG x\n").is_empty());
    }
}
