//! The decision: what was found of an image, what this host says, and what follows.
//!
//! Pure, and the only place where it is made: `fetch` and `prepare` do what it says, `trust why` prints it.

use super::key::Kind;
use super::policy::{Rule, Unsigned};
use super::ring::{Entry, Ring};
use super::scope::Scope;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What became of one signature, before anybody asked whether its key counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "finding")]
pub enum Finding {
    /// It fits the bytes and a key of this host.
    Good {
        /// Of which program.
        #[serde(rename = "by")]
        kind: Kind,
        /// The key's.
        fingerprint: String,
        /// The name that was signed, where the bytes alone do not say one.
        name: Option<String>,
    },
    /// No key of this host made it.
    NoKey {
        /// Of which program.
        #[serde(rename = "by")]
        kind: Kind,
        /// What it says of its key.
        key: String,
    },
    /// It does not fit, or its key may not sign (any more).
    Bad {
        /// Of which program.
        #[serde(rename = "by")]
        kind: Kind,
        /// What is wrong.
        why: String,
    },
}

/// What this host itself says of an image, by its digest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Local {
    /// Root packed it here.
    pub packed_here: bool,
    /// Root has accepted it (`rocket trust accept`).
    pub accepted: bool,
    /// `--insecure-options=image`, this once.
    pub waived: bool,
}

/// A signature that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voucher {
    /// Of which program.
    pub kind: Kind,
    /// The key's.
    pub fingerprint: String,
    /// For which names the key counts.
    pub scope: Scope,
    /// The key's file.
    pub path: PathBuf,
}

/// Why an image is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ground {
    /// Enough keys have signed it; the first counts for the narrowest names.
    Signed(Vec<Voucher>),
    /// This host has accepted it.
    Accepted,
    /// Root packed it here.
    PackedHere,
    /// Nobody vouches for it, and the rule lets that pass.
    Unsigned,
    /// Somebody said to ask no questions, this once.
    Waived,
}

/// Why an image is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nobody vouches for it.
    #[error("no signature was found")]
    Missing,
    /// A signature is wrong.
    #[error("its {kind} signature is no good: {why}")]
    Bad {
        /// Of which program.
        kind: Kind,
        /// What is wrong.
        why: String,
    },
    /// What was signed has another name.
    #[error("what {fingerprint} signed is called {signed}")]
    Name {
        /// The key's.
        fingerprint: String,
        /// The signed name.
        signed: String,
    },
    /// No key of this host.
    #[error("it is signed by the {kind} key {key}, which this host does not have")]
    NoKey {
        /// Of which program.
        kind: Kind,
        /// What the signature says of its key.
        key: String,
    },
    /// The key counts for other names only.
    #[error("it is signed by {fingerprint}, which this host trusts for {scope} only ({})", path.display())]
    Elsewhere {
        /// The key's.
        fingerprint: String,
        /// For which names it counts.
        scope: Scope,
        /// The key's file.
        path: PathBuf,
    },
    /// The rule takes other kinds of signature.
    #[error("its {0} signature does not count: the rule takes others")]
    Kind(Kind),
    /// Good signatures, but too few.
    #[error("{have} of {need} keys have signed it")]
    TooFew {
        /// How many have.
        have: usize,
        /// How many must have.
        need: usize,
    },
}

/// What follows, and from which rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The rule for the name.
    pub rule: Rule,
    /// Taken, or not.
    pub outcome: Result<Ground, Refusal>,
}

/// Decides on an image that is to be called `name`.
pub fn decide(name: &str, findings: &[Finding], local: Local, ring: &Ring, rule: Rule) -> Verdict {
    let outcome = outcome(name, findings, local, ring, &rule);
    Verdict { rule, outcome }
}

fn outcome(
    name: &str,
    findings: &[Finding],
    local: Local,
    ring: &Ring,
    rule: &Rule,
) -> Result<Ground, Refusal> {
    if local.waived {
        return Ok(Ground::Waived);
    }
    let keys = ring.for_name(name);
    // One key counts once, however often it has signed.
    let mut vouchers: BTreeMap<&str, Voucher> = BTreeMap::new();
    for finding in findings {
        if let Some(entry) = counts(finding, name, &keys, rule) {
            vouchers.entry(&entry.key.fingerprint).or_insert_with(|| Voucher {
                kind: entry.key.kind,
                fingerprint: entry.key.fingerprint.clone(),
                scope: entry.scope.clone(),
                path: entry.path.clone(),
            });
        }
    }
    if vouchers.len() >= rule.threshold.max(1) {
        let mut vouchers: Vec<_> = vouchers.into_values().collect();
        vouchers.sort_by_key(|voucher| std::cmp::Reverse(voucher.scope.depth()));
        return Ok(Ground::Signed(vouchers));
    }
    // What this host says of itself is no signature.
    match local {
        Local { accepted: true, .. } if !rule.requires => return Ok(Ground::Accepted),
        Local { packed_here: true, .. } if !rule.requires => return Ok(Ground::PackedHere),
        _ => {}
    }
    if findings.is_empty() {
        return match rule.unsigned {
            Unsigned::Warn if !rule.requires => Ok(Ground::Unsigned),
            _ => Err(Refusal::Missing),
        };
    }
    if !vouchers.is_empty() {
        return Err(Refusal::TooFew { have: vouchers.len(), need: rule.threshold });
    }
    let worst = findings.iter().map(|finding| refusal(finding, name, ring)).max_by_key(|(n, _)| *n);
    Err(worst.map_or(Refusal::Missing, |(_, refusal)| refusal))
}

/// The key by which a finding counts.
fn counts<'a>(finding: &Finding, name: &str, keys: &[&'a Entry], rule: &Rule) -> Option<&'a Entry> {
    let Finding::Good { kind, fingerprint, name: signed } = finding else { return None };
    let named = signed.as_deref().is_none_or(|signed| signed == name);
    let is = |e: &&&Entry| e.key.kind == *kind && e.key.fingerprint == *fingerprint;
    keys.iter().find(is).copied().filter(|_| named && rule.takes(*kind))
}

/// Why a finding does not count, and how much that tells a reader.
fn refusal(finding: &Finding, name: &str, ring: &Ring) -> (u8, Refusal) {
    match finding {
        Finding::Bad { kind, why } => (4, Refusal::Bad { kind: *kind, why: why.clone() }),
        Finding::NoKey { kind, key } => (0, Refusal::NoKey { kind: *kind, key: key.clone() }),
        Finding::Good { kind, fingerprint, name: signed } => {
            let fingerprint = fingerprint.clone();
            if let Some(signed) = signed.as_ref().filter(|signed| *signed != name) {
                return (3, Refusal::Name { fingerprint, signed: signed.clone() });
            }
            let known: Vec<_> =
                ring.entries().iter().filter(|e| e.key.fingerprint == fingerprint).collect();
            match known.first() {
                Some(_) if known.iter().any(|e| e.scope.covers(name)) => (2, Refusal::Kind(*kind)),
                Some(entry) => {
                    let (scope, path) = (entry.scope.clone(), entry.path.clone());
                    (1, Refusal::Elsewhere { fingerprint, scope, path })
                }
                None => (0, Refusal::NoKey { kind: *kind, key: fingerprint }),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::trust::key::Key;
    use crate::image::trust::policy::Policy;
    use std::path::Path;

    fn entry(fingerprint: &str, kind: Kind, prefix: Option<&str>) -> Entry {
        let scope = prefix.map_or(Scope::Root, |prefix| Scope::prefix(prefix).unwrap());
        let key = Key { kind, fingerprint: fingerprint.to_owned(), data: Vec::new() };
        Entry { key, scope, path: format!("keys/{fingerprint}").into() }
    }

    fn good(fingerprint: &str, kind: Kind) -> Finding {
        Finding::Good { kind, fingerprint: fingerprint.to_owned(), name: None }
    }

    fn rule(name: &str, text: &str) -> Rule {
        let mut policy = Policy::default();
        policy.add(Path::new("p.toml"), &format!("version = 1\n{text}")).unwrap();
        policy.rule(name)
    }

    const DB: &str = "example.com/db";
    const NOTHING: Local = Local { packed_here: false, accepted: false, waived: false };

    #[test]
    fn the_matrix_of_prefixes() {
        let ring = Ring::new(vec![
            entry("A", Kind::Minisign, Some("example.com/etc")),
            entry("R", Kind::OpenPgp, None),
        ]);
        let check = |name: &str, findings: &[Finding]| {
            decide(name, findings, NOTHING, &ring, Rule::built_in()).outcome
        };
        assert_eq!(check("example.com/etc", &[]), Err(Refusal::Missing));
        let by_a = [good("A", Kind::Minisign)];
        assert!(matches!(check("example.com/etc/x", &by_a), Ok(Ground::Signed(_))));
        let refused = check("example.com/etcd", &by_a).unwrap_err().to_string();
        assert_eq!(
            refused,
            "it is signed by A, which this host trusts for example.com/etc only (keys/A)"
        );
        let by_root = [good("R", Kind::OpenPgp)];
        assert!(matches!(check("other.test/any", &by_root), Ok(Ground::Signed(_))));
        // The same digits of another program are another key.
        assert!(check("example.com/etc", &[good("A", Kind::OpenPgp)]).is_err());
        let unknown = Finding::NoKey { kind: Kind::Minisign, key: "X".to_owned() };
        assert!(matches!(check(DB, &[unknown]), Err(Refusal::NoKey { .. })));
        let bad = Finding::Bad { kind: Kind::Minisign, why: "expired".to_owned() };
        assert!(matches!(
            check("example.com/etc", std::slice::from_ref(&bad)),
            Err(Refusal::Bad { .. })
        ));
        // A bad one beside a good one takes nothing away.
        assert!(check("example.com/etc", &[bad, by_a[0].clone()]).is_ok());
    }

    #[test]
    fn a_name_is_signed_too() {
        let ring = Ring::new(vec![entry("A", Kind::Minisign, None)]);
        let said = |name: &str| Finding::Good {
            kind: Kind::Minisign,
            fingerprint: "A".to_owned(),
            name: Some(name.to_owned()),
        };
        let check = |finding| decide(DB, &[finding], NOTHING, &ring, Rule::built_in()).outcome;
        assert!(check(said(DB)).is_ok());
        assert!(matches!(check(said("example.com/web")), Err(Refusal::Name { .. })));
    }

    #[test]
    fn thresholds_count_keys_and_kinds_are_chosen() {
        let ring = Ring::new(vec![
            entry("A", Kind::Minisign, Some("example.com")),
            entry("B", Kind::OpenPgp, Some(DB)),
            entry("C", Kind::Cosign, None),
        ]);
        let two = rule(
            DB,
            "[prefix.\"example.com\"]\nrequire = { any = [\"minisign\", \"openpgp\"], threshold = 2 }",
        );
        let check =
            |findings: &[Finding]| decide(DB, findings, NOTHING, &ring, two.clone()).outcome;
        let (a, b, c) =
            (good("A", Kind::Minisign), good("B", Kind::OpenPgp), good("C", Kind::Cosign));
        assert_eq!(check(&[a.clone(), a.clone()]), Err(Refusal::TooFew { have: 1, need: 2 }));
        assert_eq!(check(&[a.clone(), c.clone()]), Err(Refusal::TooFew { have: 1, need: 2 }));
        assert_eq!(check(std::slice::from_ref(&c)), Err(Refusal::Kind(Kind::Cosign)));
        let Ok(Ground::Signed(vouchers)) = check(&[a, b]) else { panic!() };
        let seen: Vec<_> = vouchers.iter().map(|v| v.fingerprint.as_str()).collect();
        assert_eq!(seen, ["B", "A"]);
    }

    #[test]
    fn what_this_host_says_of_itself_satisfies_no_requirement() {
        let ring = Ring::default();
        let local = [
            (Local { packed_here: true, ..NOTHING }, Ground::PackedHere),
            (Local { accepted: true, ..NOTHING }, Ground::Accepted),
            (Local { accepted: true, packed_here: true, ..NOTHING }, Ground::Accepted),
        ];
        let required = rule(DB, "[prefix.\"example.com\"]\nrequire = {}\nunsigned = \"warn\"");
        for (local, ground) in local {
            let free = decide(DB, &[], local, &ring, Rule::built_in());
            assert_eq!(free.outcome, Ok(ground));
            let bound = decide(DB, &[], local, &ring, required.clone());
            assert_eq!(bound.outcome, Err(Refusal::Missing));
            let waived = Local { waived: true, ..local };
            assert_eq!(
                decide(DB, &[], waived, &ring, required.clone()).outcome,
                Ok(Ground::Waived)
            );
        }
        let warned = rule(DB, "[root]\nunsigned = \"warn\"");
        assert_eq!(decide(DB, &[], NOTHING, &ring, warned.clone()).outcome, Ok(Ground::Unsigned));
        // Signed wrongly is not unsigned.
        let unknown = Finding::NoKey { kind: Kind::Minisign, key: "X".to_owned() };
        assert!(decide(DB, &[unknown], NOTHING, &ring, warned).outcome.is_err());
    }
}
