//! What this host believes: its keys and rules as they are configured, and what follows for an image.
//!
//! `trust` decides on plain data; here that data is read. Who asks is `fetch` before it stores an image,
//! `prepare` before a pod is made of one, `rocket trust why` and `rocket lint`: all by [`Trust::judge`].

use crate::image::digest::Digest;
use crate::image::error::ImageError;
use crate::image::local::Host;
use crate::image::reference::{NameRef, Reference};
use crate::image::store::{ImageId, Store, StoredImage};
use crate::image::time;
use crate::image::transport::layered;
use crate::image::trust::decide::Local;
use crate::image::trust::ring::RingProblem;
use crate::image::trust::{Finding, Policy, Proof, Refusal, Ring, Verdict, decide};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Largest file of rules.
const MAX_FILE: u64 = 1 << 20;

/// The keys and rules of this host.
#[derive(Debug, Default)]
pub struct Trust {
    ring: Ring,
    policy: Policy,
    problems: Vec<RingProblem>,
    waived: bool,
}

impl Trust {
    /// Reads the configuration: `trust.d/*.toml` and `trustedkeys/` of each directory, the most important
    /// last. A key that cannot be read counts for nothing ([`Self::problems`]); a rule that cannot be read
    /// may be the one that forbids.
    ///
    /// # Errors
    /// A file of rules cannot be read, or is wrong: file, line and what.
    pub fn load(config: &[PathBuf]) -> Result<Self, ImageError> {
        let keys: Vec<PathBuf> = config.iter().map(|dir| dir.join("trustedkeys")).collect();
        let (ring, problems) = Ring::load(&keys);
        let mut policy = Policy::default();
        read_rules(config, "trust.d", &mut |path, text| policy.add(path, text))?;
        Ok(Self { ring, policy, problems, waived: false })
    }

    /// The same, and no questions asked: `--insecure-options=image`.
    #[must_use]
    pub fn waived(self, waived: bool) -> Self {
        Self { waived, ..self }
    }

    /// Keys that cannot be used.
    pub fn problems(&self) -> &[RingProblem] {
        &self.problems
    }

    /// The keys.
    pub fn ring(&self) -> &Ring {
        &self.ring
    }

    /// The rules.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Decides on an image that is to be called `name`.
    pub fn judge(&self, name: &str, findings: &[Finding], local: Local) -> Verdict {
        let local = Local { waived: local.waived || self.waived, ..local };
        decide(name, findings, local, &self.ring, self.policy.rule(name))
    }

    /// Decides on a stored image by what is kept of its signatures: under the name that a reference says,
    /// or, where that is a digest or an address, under any that it was fetched as.
    pub fn judge_stored(&self, reference: &Reference, image: &StoredImage, local: Local) -> Judged {
        let mut worst = None;
        for name in names(reference, image) {
            let verdict = self.judge(&name, &image.findings(&name), local);
            let refused = verdict.outcome.is_err();
            let judged = Judged { name, verdict };
            if !refused {
                return judged;
            }
            worst.get_or_insert(judged);
        }
        worst.unwrap_or_else(|| {
            let name = image.name().to_string();
            let verdict = self.judge(&name, &image.findings(&name), local);
            Judged { name, verdict }
        })
    }

    /// Refuses a stored image that nobody who counts vouches for.
    ///
    /// # Errors
    /// [`ImageError::Untrusted`]; what this host says itself cannot be read.
    pub fn check_stored(
        &self,
        store: &Store,
        reference: &Reference,
        image: &StoredImage,
        host: &Host,
    ) -> Result<Judged, ImageError> {
        let (id, judged) = self.judge_all(store, reference, image, host)?;
        match &judged.verdict.outcome {
            Ok(_) => Ok(judged),
            Err(_) => Err(untrusted(&id, &reference.to_string(), judged)),
        }
    }

    /// Decides on a stored image and on all that it lies on, each under its own name: of these the first one
    /// that is refused, else the image itself.
    ///
    /// # Errors
    /// What this host says itself cannot be read; an image that it lies on is gone.
    pub fn judge_all(
        &self,
        store: &Store,
        reference: &Reference,
        image: &StoredImage,
        host: &Host,
    ) -> Result<(ImageId, Judged), ImageError> {
        let judged = self.judge_stored(reference, image, host.local(&image.id)?);
        if judged.verdict.outcome.is_err() {
            return Ok((image.id.clone(), judged));
        }
        for id in &image.dependencies {
            let below = store.image(id).map_err(|error| match error {
                ImageError::NotFound(_) => {
                    let gone =
                        format!("the image {id}, on which it lies, is not in the store any more");
                    ImageError::bad(reference.to_string(), gone)
                }
                error => error,
            })?;
            let labels = std::collections::BTreeMap::new();
            let name = NameRef { name: below.name().clone(), labels, digest: None };
            // A dependency was there before what lies on it, so this ends.
            let (id, found) = self.judge_all(store, &Reference::Name(name), &below, host)?;
            if found.verdict.outcome.is_err() {
                return Ok((id, found));
            }
        }
        Ok((image.id.clone(), judged))
    }
}

/// A decision, and the name that it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// The image's name.
    pub name: String,
    /// The decision.
    pub verdict: Verdict,
}

/// An image that is not taken.
#[derive(Debug)]
pub struct Untrusted {
    /// What was asked for.
    pub source: String,
    /// The name it would have.
    pub name: String,
    /// Which image it is.
    pub id: Digest,
    /// Why not.
    pub refusal: Refusal,
    /// The rule that says so.
    pub rule: String,
}

impl fmt::Display for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source, name, refusal, rule, .. } = self;
        write!(f, "{source} is not taken as {name}: {refusal} (rule: {rule})")
    }
}

impl Untrusted {
    /// What to do next.
    pub fn hint(&self) -> String {
        let Self { name, id, refusal, .. } = self;
        let accept = format!("rocket trust accept {id} takes this very image all the same");
        match refusal {
            Refusal::Missing => format!(
                "ask its maker for a signature, or look at what it is: {accept}; \
                 rocket trust why explains"
            ),
            Refusal::NoKey { .. } => format!(
                "get the maker's key from the maker, compare its fingerprint, then: \
                 rocket trust add --prefix {name} KEY"
            ),
            Refusal::Elsewhere { path, .. } => format!(
                "if that key is to count for {name}, too: rocket trust add --prefix {name} {}",
                path.display()
            ),
            Refusal::Name { signed, .. } => format!(
                "fetch it by the name that was signed, {signed}; whoever renames an image vouches for it: {accept}"
            ),
            Refusal::Bad { .. } => {
                "fetch it again from its maker; nothing was stored or started".to_owned()
            }
            Refusal::Kind(_) | Refusal::TooFew { .. } => {
                "get the other signatures, or change the rule; rocket trust why explains".to_owned()
            }
        }
    }
}

/// The error for a decision against an image.
pub(crate) fn untrusted(id: &ImageId, source: &str, judged: Judged) -> ImageError {
    let Judged { name, verdict } = judged;
    let rule = verdict.rule.to_string();
    let refusal = verdict.outcome.err().unwrap_or(Refusal::Missing);
    let (source, id) = (source.to_owned(), id.digest().clone());
    ImageError::Untrusted(Box::new(Untrusted { source, name, id, refusal, rule }))
}

/// The names that an image may be trusted under.
fn names(reference: &Reference, image: &StoredImage) -> Vec<String> {
    match reference {
        Reference::Name(name) => vec![name.name.to_string()],
        Reference::Docker(docker) => {
            docker.stored_as().map(|(name, _)| name.to_string()).into_iter().collect()
        }
        _ => image.proofs.iter().map(|proof| proof.name.clone()).collect(),
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

impl StoredImage {
    /// What is kept of signatures, as they count now for one of its names: all that came when it was
    /// fetched as that, and those for the name that came otherwise.
    pub fn findings(&self, name: &str) -> Vec<Finding> {
        let now = now();
        let of = |proof: &Proof| {
            let same = proof.name == name;
            let about = move |finding: &Finding| {
                same || matches!(finding, Finding::Good { name: Some(signed), .. } if signed == name)
            };
            proof.findings_at(now).into_iter().filter(about).collect::<Vec<_>>()
        };
        self.proofs.iter().flat_map(of).collect()
    }

    /// Whether a good signature came with it.
    pub fn is_signed(&self) -> bool {
        let good = |finding: &Finding| matches!(finding, Finding::Good { .. });
        let now = now();
        self.proofs.iter().any(|proof| proof.findings_at(now).iter().any(good))
    }

    /// When it was made, as somebody signed it.
    pub(crate) fn signed_created(&self) -> Option<i64> {
        let said = self.proofs.iter().filter_map(|proof| proof.created.as_deref());
        said.filter_map(time::parse).max()
    }
}

/// Takes a file and its text; an error is an offset in it, and what is wrong there.
pub(crate) type Reader<'a> = dyn FnMut(&Path, &str) -> Result<(), (usize, String)> + 'a;

/// Reads `DIR/*.toml` of the configuration, the most important last; an empty file hides a vendor's.
pub(crate) fn read_rules(
    config: &[PathBuf],
    dir: &str,
    add: &mut Reader<'_>,
) -> Result<(), ImageError> {
    for path in layered(config, dir)? {
        let text = read(&path)?;
        if text.is_empty() {
            continue;
        }
        add(&path, &text).map_err(|(offset, why)| {
            let line = text.get(..offset).unwrap_or(&text).matches('\n').count() + 1;
            ImageError::bad(format!("{}:{line}", path.display()), why)
        })?;
    }
    Ok(())
}

fn read(path: &Path) -> Result<String, ImageError> {
    use std::io::Read;
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|e| ImageError::io("open", path, e))?;
    file.take(MAX_FILE).read_to_string(&mut text).map_err(|e| ImageError::io("read", path, e))?;
    Ok(text)
}
