//! Whether an image is taken: what came beside it is compared, the decision is `trust`'s.

use super::Fetch;
use crate::image::believe::{Judged, now, untrusted};
use crate::image::digest::Digest;
use crate::image::error::ImageError;
use crate::image::manifest::ImageManifest;
use crate::image::reference::{NameRef, Reference};
use crate::image::store::ImageId;
use crate::image::time;
use crate::image::trust::statement::About;
use crate::image::trust::{Beside, Finding, Ground, Proof, check};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

/// A name and its labels.
pub(super) type Name = (String, BTreeMap<String, String>);

impl Fetch<'_> {
    /// What the signatures of an ACI's own bytes say of it. They vouch for what its manifest says.
    pub(super) fn aci_proof(
        &self,
        file: &File,
        manifest: &ImageManifest,
        (name, source): (&str, &str),
        beside: &Beside,
    ) -> Result<Proof, ImageError> {
        let found = check(file, &beside.signatures, self.trust.ring())
            .map_err(|e| ImageError::io("compare the signatures of", Path::new(source), e))?;
        let named = |finding| match finding {
            Finding::Good { kind, fingerprint, .. } => {
                let name = Some(manifest.name.to_string());
                Finding::Good { kind, fingerprint, name }
            }
            other => other,
        };
        let findings = found.into_iter().map(named).collect();
        let mut proof = Proof::new(name, source, findings, beside);
        proof.created = manifest.annotation("created").map(str::to_owned);
        Ok(proof)
    }

    /// What a statement says of an image, and the indexes that led to it.
    pub(super) fn oci_proof(
        &self,
        (name, labels): (&str, &BTreeMap<String, String>),
        source: &str,
        digests: &[&Digest],
        beside: &Beside,
    ) -> Result<Proof, ImageError> {
        let about = About { labels, digests };
        let findings = beside
            .of_statement(&about, self.trust.ring())
            .map_err(|e| ImageError::io("compare the signatures of", Path::new(source), e))?;
        Ok(Proof::new(name, source, findings, beside))
    }

    /// Decides; what is stored of it.
    pub(super) fn judge(
        &mut self,
        id: &ImageId,
        (name, labels): &Name,
        proof: Proof,
    ) -> Result<Proof, ImageError> {
        // What was known of it before counts on.
        let known = self.store.image(id).ok();
        let mut findings = proof.findings_at(now());
        findings.extend(known.iter().flat_map(|image| image.findings(name)));
        let verdict = self.trust.judge(name, &findings, self.host.local(id)?);
        let source = proof.source.as_str();
        match &verdict.outcome {
            Ok(Ground::Signed(vouchers)) => {
                if let Some(by) = vouchers.first() {
                    let text = format!(
                        "{source}: signed by the {} key {}, trusted for {}",
                        by.kind, by.fingerprint, by.scope
                    );
                    self.reporter.note(&text);
                }
                self.not_older(id, (name, labels), &proof)?;
            }
            Ok(Ground::Unsigned) => {
                let text = format!(
                    "{source}: nobody vouches for it, and that is let pass (rule: {})",
                    verdict.rule
                );
                self.reporter.note(&text);
            }
            Ok(Ground::Waived) => {
                let text = format!("{source}: taken without asking who vouches for it");
                self.reporter.note(&text);
            }
            Ok(Ground::Accepted | Ground::PackedHere) => {}
            Err(_) => {
                let judged = Judged { name: name.clone(), verdict };
                return Err(untrusted(id, source, judged));
            }
        }
        Ok(proof)
    }

    /// Refuses to let a name mean something older than it did: whoever keeps back what is new, or gives
    /// out what is old, has a good signature of it.
    fn not_older(
        &self,
        id: &ImageId,
        (name, labels): (&str, &BTreeMap<String, String>),
        proof: &Proof,
    ) -> Result<(), ImageError> {
        let version = |wanted: &NameRef| wanted.labels.get("version").cloned();
        let latest = self
            .wanted
            .as_ref()
            .is_some_and(|wanted| version(wanted).is_none_or(|version| version == "latest"));
        let known = if latest {
            // Of all versions, the one that was made last.
            let others = self.store.images()?.into_iter();
            let others = others.filter(|image| image.id != *id && image.name().as_str() == name);
            others.filter_map(|image| image.signed_created()).max()
        } else {
            let before = self.store.named(name, labels)?.filter(|before| before != id);
            let image = before.and_then(|before| self.store.image(&before).ok());
            image.and_then(|image| image.signed_created())
        };
        let Some(known) = known.filter(|_| !self.allow_downgrade) else { return Ok(()) };
        let made = proof.created.as_deref().and_then(time::parse);
        if made.is_some_and(|made| made >= known) {
            return Ok(());
        }
        Err(ImageError::Older {
            source_name: proof.source.clone(),
            name: name.to_owned(),
            made: proof.created.clone(),
            known: time::from_epoch(u64::try_from(known).unwrap_or_default()),
        })
    }

    /// Whether a stored image that would be the answer is still believed; if not, it is fetched anew,
    /// perhaps with better signatures.
    pub(super) fn believed(&self, id: &ImageId, reference: &Reference) -> bool {
        let Ok(image) = self.store.image(id) else { return false };
        self.trust.check_stored(self.store, reference, &image, self.host).is_ok()
    }
}
