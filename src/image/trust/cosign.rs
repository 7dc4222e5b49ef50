//! cosign's signatures by key: ECDSA on P-256 over SHA-256 of a payload that names the image
//! (containers' "simple signing", `docs/containers-signature.5.md` of containers/image). Its certificates
//! and transparency logs are not asked.

use super::decide::Finding;
use super::key::{Key, Kind};
use super::ring::Ring;
use super::{armor, dearmor_key};
use crate::image::digest::Digest;
use crate::image::reference::DockerRef;
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use serde::Deserialize;

/// The kind of all that is here.
pub const KIND: Kind = Kind::Cosign;
/// The annotation of a layer that holds the signature of its bytes.
pub const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
/// Bytes of an uncompressed point on P-256: the end of a key.
const POINT: usize = 65;

/// What a payload says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// `HOST/REPOSITORY[:TAG]`.
    pub reference: String,
    /// The manifest's, or the index's.
    pub digest: Digest,
}

#[derive(Deserialize)]
struct Document {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    #[serde(rename = "type")]
    kind: String,
    identity: Identity,
    image: Image,
}

#[derive(Deserialize)]
struct Identity {
    #[serde(rename = "docker-reference")]
    reference: String,
}

#[derive(Deserialize)]
struct Image {
    #[serde(rename = "docker-manifest-digest")]
    digest: Digest,
}

impl Payload {
    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let Document { critical } = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        // "atomic container signature" is the same payload by others, never signed with such keys.
        if critical.kind != "cosign container image signature" {
            return Err(format!("its type is {:?}", critical.kind));
        }
        Ok(Self { reference: critical.identity.reference, digest: critical.image.digest })
    }
}

/// Compares a signature (base64 of DER, as cosign's annotation has it) with a payload and the keys of
/// this host.
pub fn check(payload: &[u8], signature: &str, ring: &Ring) -> Finding {
    let bad = |why: &str| Finding::Bad { kind: Kind::Cosign, why: why.to_owned() };
    let Some(signature) = armor::base64(signature) else { return bad("it cannot be read") };
    let keys = ring.entries().iter().map(|entry| &entry.key).filter(|k| k.kind == Kind::Cosign);
    for key in keys {
        let Some(point) = point(key) else { continue };
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point);
        if public.verify(payload, &signature).is_ok() {
            let fingerprint = key.fingerprint.clone();
            return Finding::Good { kind: Kind::Cosign, fingerprint, name: None };
        }
    }
    // It does not say whose it is.
    Finding::NoKey { kind: Kind::Cosign, key: "that made it".to_owned() }
}

/// A signature that nothing can be made of.
pub fn unreadable(why: &str) -> Finding {
    Finding::Bad { kind: KIND, why: why.to_owned() }
}

/// The same for the image whose document has the digest `wanted`: the payload must be about it, and its
/// repository is the name that was signed.
pub fn bind(payload: &[u8], signature: &str, wanted: &str, ring: &Ring) -> Finding {
    let (kind, fingerprint) = match check(payload, signature, ring) {
        Finding::Good { kind, fingerprint, .. } => (kind, fingerprint),
        other => return other,
    };
    let said = match Payload::parse(payload) {
        Ok(said) => said,
        Err(why) => return unreadable(&format!("what is signed cannot be read: {why}")),
    };
    if wanted.parse::<Digest>().ok().as_ref() != Some(&said.digest) {
        return unreadable(&format!("it is about another image, {}", said.digest));
    }
    match DockerRef::parse(&said.reference).ok().and_then(|it| it.stored_as()) {
        Some((name, _)) => Finding::Good { kind, fingerprint, name: Some(name.to_string()) },
        None => unreadable(&format!("it is for {:?}, which is no repository", said.reference)),
    }
}

fn point(key: &Key) -> Option<Vec<u8>> {
    let bytes = dearmor_key(&key.data)?;
    bytes.get(bytes.len().checked_sub(POINT)?..).map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads() {
        let digest = Digest::of(crate::image::digest::Algo::Sha256, b"m");
        let text = format!(
            r#"{{"critical":{{"type":"cosign container image signature","identity":{{"docker-reference":"h/a"}},
            "image":{{"docker-manifest-digest":"{}"}}}},"optional":null}}"#,
            digest.oci()
        );
        let payload = Payload::parse(text.as_bytes()).unwrap();
        assert_eq!((payload.reference.as_str(), payload.digest), ("h/a", digest));
        assert!(Payload::parse(text.replace("cosign con", "con").as_bytes()).is_err());
        assert!(Payload::parse(b"{}").is_err());
        let ring = Ring::default();
        assert!(matches!(check(b"x", "AAAA", &ring), Finding::NoKey { .. }));
        assert!(matches!(check(b"x", "*", &ring), Finding::Bad { .. }));
    }
}
