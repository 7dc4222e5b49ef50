//! Texts that people write for this host, such as pod files, and who vouches for them.
//!
//! A signature lies beside the file (`FILE.minisig`, `FILE.asc`) and is over its bytes. A file of this host
//! has no name below a prefix, so only keys count that this host trusts for every name.

use crate::image::believe::Trust;
use crate::image::reference::Reference;
use crate::image::trust::decide::{Local, Voucher};
use crate::image::trust::{Beside, Ground, Refusal, Rule, check, decide};
use rustix::fs::{MemfdFlags, memfd_create};
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Why a text does not count.
#[derive(Debug)]
pub enum Why {
    /// Nobody who counts has signed it.
    Refused(Refusal),
    /// That cannot be found out.
    Failed(io::Error),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Failed(error) => write!(f, "its signatures cannot be checked: {error}"),
        }
    }
}

impl Why {
    /// What to do next.
    pub fn hint(&self, path: &Path) -> String {
        let file = path.display();
        match self {
            Self::Refused(Refusal::Missing) => format!(
                "sign it by a key that this host trusts for every name: minisign -S -m {file}, or \
                 gpg --armor --detach-sign {file}"
            ),
            Self::Refused(Refusal::NoKey { .. }) => {
                "get the key from whoever signed, compare its fingerprint, then: rocket trust add \
                 --root KEY"
                    .to_owned()
            }
            Self::Refused(Refusal::Elsewhere { path, .. }) => format!(
                "pod files need a key for every name: rocket trust add --root {}",
                path.display()
            ),
            Self::Refused(_) => {
                "a changed file is signed anew, by whoever answers for it".to_owned()
            }
            Self::Failed(_) => "the signature lies beside the file".to_owned(),
        }
    }
}

/// A pod file that does not start, because the rules ask for a signature.
#[derive(Debug)]
pub struct Unsigned {
    /// The file.
    pub path: PathBuf,
    /// The file of rules.
    pub rule: PathBuf,
    /// Why its signature does not count.
    pub why: Why,
}

impl fmt::Display for Unsigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, rule) = (self.path.display(), self.rule.display());
        write!(f, "{path} is not trusted: {} (rule: {rule}, pods = \"signed\")", self.why)
    }
}

impl std::error::Error for Unsigned {}

impl Trust {
    /// Refuses a pod file, of which `text` was read, if the rules ask for signed ones and nobody who counts
    /// has signed it.
    ///
    /// # Errors
    /// [`Unsigned`]: which rule, which key, and why.
    pub fn check_pod_file(&self, path: &Path, text: &str) -> Result<(), Box<Unsigned>> {
        let Some(rule) = self.policy().signed_pods() else { return Ok(()) };
        self.vouchers(path, text).map(drop).map_err(|why| {
            let (path, rule) = (path.to_owned(), rule.to_owned());
            Box::new(Unsigned { path, rule, why })
        })
    }

    /// Who vouches for a text, by the signatures beside its file.
    ///
    /// # Errors
    /// Nobody does, or it cannot be found out.
    pub fn vouchers(&self, path: &Path, text: &str) -> Result<Vec<Voucher>, Why> {
        let findings = || -> io::Result<_> {
            let beside = Beside::an_aci(path)?;
            let mut file = File::from(memfd_create("text", MemfdFlags::CLOEXEC)?);
            file.write_all(text.as_bytes())?;
            check(&file, &beside.signatures, self.ring())
        };
        let findings = findings().map_err(Why::Failed)?;
        // No prefix covers the empty name: keys for some names only do not count.
        let rule = Rule { requires: true, ..Rule::built_in() };
        match decide("", &findings, Local::default(), self.ring(), rule).outcome {
            Ok(Ground::Signed(vouchers)) => Ok(vouchers),
            Ok(_) => Err(Why::Refused(Refusal::Missing)),
            Err(refusal) => Err(Why::Refused(refusal)),
        }
    }
}

/// Whether a reference means the same image for ever: a signed text that names another one every day
/// vouches for nothing.
pub fn is_pinned(reference: &Reference) -> bool {
    match reference {
        Reference::Name(name) => name.digest.is_some(),
        Reference::Docker(docker) => docker.digest.is_some(),
        Reference::Digest(prefix) => prefix.hex.len() == prefix.algo.hex_len(),
        _ => false,
    }
}
