//! Signatures beside files: what they are called, and whether they fit.

use super::decide::Finding;
use super::key::Kind;
use super::ring::Ring;
use super::statement::{About, MAX_BESIDE, Statement, bind};
use super::{minisign, openpgp};
use rustix::fs::{MemfdFlags, memfd_create};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// A detached signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Of which program.
    pub kind: Kind,
    /// As it came.
    pub bytes: Vec<u8>,
}

impl Signature {
    /// What signatures of a kind are called: the file's name and this.
    pub fn extension(kind: Kind) -> &'static str {
        match kind {
            Kind::Minisign => ".minisig",
            Kind::OpenPgp => ".asc",
            Kind::Cosign => ".sig",
        }
    }

    /// Whether bytes look like a signature of this kind at all: servers answer with pages of their own.
    pub fn looks_like(kind: Kind, bytes: &[u8]) -> bool {
        match kind {
            Kind::Minisign => bytes.starts_with(b"untrusted comment:"),
            Kind::OpenPgp => {
                let armor = b"-----BEGIN PGP SIGNATURE-----";
                bytes.first().is_some_and(|first| first & 0x80 != 0)
                    || bytes.windows(armor.len()).any(|window| window == armor)
            }
            Kind::Cosign => false,
        }
    }
}

/// What came beside an image: signatures of its file, or a statement and the signatures of that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beside {
    /// The signatures.
    pub signatures: Vec<Signature>,
    /// What is signed, if it is not the image's file itself.
    pub statement: Option<Vec<u8>>,
}

impl Beside {
    /// What a statement's file is called: the image's name and this.
    pub const STATEMENT: &str = ".statement";
    /// Signatures that lie in files of their own.
    pub const KINDS: [Kind; 2] = [Kind::Minisign, Kind::OpenPgp];

    /// What lies beside an ACI: the signatures of the file.
    ///
    /// # Errors
    /// A file is there and cannot be read, or is too large.
    pub fn an_aci(path: &Path) -> io::Result<Self> {
        let mut found = Self::default();
        for kind in Self::KINDS {
            if let Some(bytes) = small(&longer(path, Signature::extension(kind)))? {
                found.signatures.push(Signature { kind, bytes });
            }
        }
        Ok(found)
    }

    /// What lies beside a layout or an archive: a statement and its signatures.
    ///
    /// # Errors
    /// As [`Self::an_aci`].
    pub fn a_layout(path: &Path) -> io::Result<Self> {
        let path = longer(path, Self::STATEMENT);
        match small(&path)? {
            None => Ok(Self::default()),
            statement => Ok(Self { statement, ..Self::an_aci(&path)? }),
        }
    }

    /// What a statement and its signatures say of an image; nothing, if there is none.
    ///
    /// # Errors
    /// A program that checks cannot be run.
    pub fn of_statement(&self, about: &About<'_>, ring: &Ring) -> io::Result<Vec<Finding>> {
        let Some(bytes) = &self.statement else { return Ok(Vec::new()) };
        let statement = match Statement::parse(bytes) {
            Ok(statement) => statement,
            Err(why) => {
                let why = format!("the statement cannot be read: {why}");
                let kinds = self.signatures.iter().map(|signature| signature.kind);
                return Ok(kinds.map(|kind| Finding::Bad { kind, why: why.clone() }).collect());
            }
        };
        let mut file = File::from(memfd_create("statement", MemfdFlags::CLOEXEC)?);
        file.write_all(bytes)?;
        Ok(bind(check(&file, &self.signatures, ring)?, &statement, about))
    }
}

/// A path whose last name is longer.
pub fn longer(path: &Path, by: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(by);
    name.into()
}

/// A small regular file; nothing when there is none.
fn small(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let named = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
    match std::fs::metadata(path) {
        Ok(found) if found.is_file() => {}
        Ok(_) => return Err(named(io::Error::other("it is not a regular file"))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(named(e)),
    }
    let mut bytes = Vec::new();
    File::open(path).map_err(named)?.take(MAX_BESIDE + 1).read_to_end(&mut bytes).map_err(named)?;
    if bytes.len() as u64 > MAX_BESIDE {
        return Err(named(io::Error::other(format!("it is larger than {MAX_BESIDE} bytes"))));
    }
    Ok(Some(bytes))
}

/// Compares signatures with a file and the keys of this host, whatever these count for.
///
/// # Errors
/// The file cannot be read, or a program that checks cannot be run.
pub fn check(file: &File, signatures: &[Signature], ring: &Ring) -> io::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for Signature { kind, bytes } in signatures {
        match kind {
            Kind::Minisign => findings.push(minisign::check(file, bytes, ring)?),
            Kind::OpenPgp => findings.extend(openpgp::check(file, bytes, ring)?),
            Kind::Cosign => {
                // They are over a payload of their own, which `cosign` checks.
                let why = "it is no signature of a file".to_owned();
                findings.push(Finding::Bad { kind: *kind, why });
            }
        }
    }
    Ok(findings)
}
