//! Trust: who may vouch for which images, and what follows from it.
//!
//! `key` reads key files, `ring` says which keys count for a name, `policy` what a name requires, and
//! `decide` puts them together: one pure function that `fetch`, `prepare` and `trust why` share, so that
//! what is explained is what is done. `signature` compares signatures with bytes, by `minisign` and
//! `openpgp`. Nothing here fetches, stores or asks people.

pub mod armor;
pub mod cosign;
pub mod decide;
pub mod key;
pub mod minisign;
pub mod openpgp;
pub mod policy;
pub mod proof;
pub mod ring;
pub mod scope;
pub mod signature;
pub mod statement;

pub use decide::{Finding, Ground, Refusal, Verdict, decide};
pub use key::{Key, KeyError, Kind};
pub use policy::{Policy, Rule, Unsigned};
pub use proof::Proof;
pub use ring::{Entry, Ring};
pub use scope::Scope;
pub use signature::{Beside, Signature, check};
pub use statement::Statement;

/// The bytes of a PEM public key.
fn dearmor_key(text: &[u8]) -> Option<Vec<u8>> {
    armor::dearmor(std::str::from_utf8(text).ok()?, "PUBLIC KEY").ok()
}
