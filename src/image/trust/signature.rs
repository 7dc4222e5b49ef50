//! Signatures beside files: what they are called, and whether they fit.

use super::decide::Finding;
use super::key::Kind;
use super::ring::Ring;
use super::{minisign, openpgp};
use std::fs::File;
use std::io;

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
                let why = "this release does not check cosign's signatures".to_owned();
                findings.push(Finding::Bad { kind: *kind, why });
            }
        }
    }
    Ok(findings)
}
