//! What is kept of a decision, so that it can be made again without the bytes that were signed.

use super::decide::Finding;
use super::key::Kind;
use super::signature::Beside;
use super::{armor, statement::Statement};
use crate::image::time;
use serde::{Deserialize, Serialize};

/// What vouches for an image under one name. It lies in the store beside the image, which only its owner
/// can write; whose word counts is asked again whenever a pod is made of the image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// The name it was fetched as.
    pub name: String,
    /// What was fetched.
    pub source: String,
    /// What became of each signature that came with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// When what was signed was made, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// From when on it counts no more, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// The statement that was signed, as it came; none = the image's own bytes were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statement: Option<String>,
    /// The signatures, as they came.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signatures: Vec<Signed>,
}

/// A signature as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed {
    /// Of which program.
    pub kind: Kind,
    /// Its bytes.
    pub base64: String,
}

impl Proof {
    /// A proof of what came beside an image.
    pub fn new(name: &str, source: &str, findings: Vec<Finding>, beside: &Beside) -> Self {
        let said = beside.statement.as_deref().and_then(|bytes| Statement::parse(bytes).ok());
        let text = beside.statement.clone().and_then(|bytes| String::from_utf8(bytes).ok());
        let signatures = beside.signatures.iter().map(|signature| Signed {
            kind: signature.kind,
            base64: armor::to_base64(&signature.bytes),
        });
        Self {
            name: name.to_owned(),
            source: source.to_owned(),
            findings,
            created: said.as_ref().map(|said| said.created.clone()),
            expires: said.and_then(|said| said.expires),
            statement: text,
            signatures: signatures.collect(),
        }
    }

    /// What its findings are at a moment, in seconds since 1970: what has expired is no good any more.
    pub fn findings_at(&self, now: i64) -> Vec<Finding> {
        let over = self.expires.as_deref().and_then(time::parse).is_some_and(|end| end <= now);
        let one = |finding: &Finding| match finding {
            Finding::Good { kind, .. } if over => {
                let end = self.expires.as_deref().unwrap_or_default();
                Finding::Bad { kind: *kind, why: format!("what it says has expired ({end})") }
            }
            other => other.clone(),
        };
        self.findings.iter().map(one).collect()
    }

    /// The bytes of its signatures.
    pub fn signatures(&self) -> impl Iterator<Item = (Kind, Vec<u8>)> {
        self.signatures.iter().filter_map(|it| Some((it.kind, armor::base64(&it.base64)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::trust::Signature;

    #[test]
    fn what_has_expired_vouches_no_more() {
        let good = Finding::Good { kind: Kind::Minisign, fingerprint: "A".to_owned(), name: None };
        let beside = Beside {
            signatures: vec![Signature { kind: Kind::OpenPgp, bytes: vec![0, 255, 7] }],
            statement: None,
        };
        let mut proof = Proof::new("example.com/a", "./a.aci", vec![good.clone()], &beside);
        assert_eq!(proof.findings_at(i64::MAX), std::slice::from_ref(&good));
        let kept: Vec<_> = proof.signatures().collect();
        assert_eq!(kept, [(Kind::OpenPgp, vec![0, 255, 7])]);
        proof.expires = Some("2026-11-24T10:00:00Z".to_owned());
        let end = time::parse("2026-11-24T10:00:00Z").unwrap();
        assert_eq!(proof.findings_at(end - 1), [good]);
        assert!(matches!(proof.findings_at(end).as_slice(), [Finding::Bad { .. }]));
        let text = serde_json::to_string(&proof).unwrap();
        assert_eq!(serde_json::from_str::<Proof>(&text).unwrap(), proof);
    }
}
