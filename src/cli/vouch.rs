//! `rocket trust accept|why`: what this host says of one image, and what follows from everything it knows.

use crate::cli::error::Failure;
use crate::cli::fetch::{self, FetchArgs, explain};
use crate::cli::insecure::{self, InsecureArgs};
use crate::cli::output::{self, Format};
use crate::config::layers::Config;
use crate::config::paths::Paths;
use crate::image::ImageError;
use crate::image::believe::{Judged, Untrusted};
use crate::image::digest::Digest;
use crate::image::fetch::Pull;
use crate::image::local::Host;
use crate::image::reference::Reference;
use crate::image::store::{ImageId, Store, StoredImage};
use crate::image::trust::{Finding, Ground};
use serde_json::json;
use std::process::ExitCode;

/// Exit status of `why` for an image that is not trusted.
const UNTRUSTED: u8 = 1;

/// Arguments of `rocket trust accept`.
#[derive(Debug, clap::Args)]
pub struct AcceptArgs {
    /// Images in the store, full digests, or what to fetch first.
    #[arg(required = true, value_name = "REF")]
    references: Vec<String>,
    /// Take it back.
    #[arg(long)]
    undo: bool,
}

/// Arguments of `rocket trust why`.
#[derive(Debug, clap::Args)]
pub struct WhyArgs {
    /// An image in the store.
    #[arg(value_name = "REF")]
    reference: String,
    /// How to print.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// `rocket trust accept`.
pub fn accept(paths: &Paths, config: &Config, args: &AcceptArgs) -> Result<ExitCode, Failure> {
    let host = Host::new(paths);
    for text in &args.references {
        let (ids, told) = meant(paths, config, text, args.undo)?;
        for id in ids {
            if !args.undo {
                host.accept(&id).map_err(explain)?;
                output::note(&format!("accepted on this host, whoever vouches for it: {id}"));
            } else if host.reject(&id).map_err(explain)? {
                output::note(&format!("accepted no more: {id}"));
            } else {
                let text = format!("{text} was not accepted");
                return Err(
                    Failure::message(text).hint("rocket trust why shows what it is taken by")
                );
            }
            if !told {
                output::data(&id.to_string());
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The images that a reference means: stored, named by a whole digest, or to be fetched, which tells
/// their ids.
fn meant(
    paths: &Paths,
    config: &Config,
    text: &str,
    stored_only: bool,
) -> Result<(Vec<ImageId>, bool), Failure> {
    let reference: Reference = text.parse().map_err(|e| explain(ImageError::Reference(e)))?;
    let store = Store::open(&paths.store()).map_err(explain)?;
    match store.resolve(&reference) {
        Ok(id) => return Ok((vec![id], false)),
        Err(ImageError::NotFound(_)) => {}
        Err(error) => return Err(explain(error)),
    }
    if let Ok(digest) = text.parse::<Digest>() {
        return Ok((vec![ImageId::new(digest)], false));
    }
    let fetchable = !matches!(reference, Reference::Digest(_));
    if stored_only || !fetchable {
        return Err(explain(ImageError::NotFound(text.to_owned())));
    }
    // Whoever says this vouches for it.
    let trust = insecure::trust()?.waived(true);
    let args = FetchArgs {
        references: vec![text.to_owned()],
        name: None,
        quiet: true,
        format: fetch::Format::Text,
        allow_downgrade: true,
        pull: Some(Pull::Update),
        insecure: InsecureArgs::default(),
    };
    fetch::bring(paths, config, &args, &trust).map(|ids| (ids, true))
}

/// `rocket trust why`.
pub fn why(paths: &Paths, args: &WhyArgs) -> Result<ExitCode, Failure> {
    let reference: Reference =
        args.reference.parse().map_err(|e| explain(ImageError::Reference(e)))?;
    let store = Store::open(&paths.store()).map_err(explain)?;
    let id = store.resolve(&reference).map_err(explain)?;
    let image = store.image(&id).map_err(explain)?;
    let host = Host::new(paths);
    let all = insecure::trust()?.judge_all(&store, &reference, &image, &host).map_err(explain)?;
    // What decided may be an image that this one lies on.
    let (decided, judged) = all;
    let image = if decided == image.id { image } else { store.image(&decided).map_err(explain)? };
    match args.format {
        Format::Json => output::json(&object(&image, &judged)),
        Format::Table => print(&args.reference, &image, &judged),
    }
    let trusted = judged.verdict.outcome.is_ok();
    Ok(if trusted { ExitCode::SUCCESS } else { ExitCode::from(UNTRUSTED) })
}

fn ground(ground: &Ground) -> String {
    match ground {
        Ground::Signed(vouchers) => {
            let by: Vec<String> = vouchers
                .iter()
                .map(|by| {
                    let path = by.path.display();
                    format!(
                        "the {} key {}, trusted for {} ({path})",
                        by.kind, by.fingerprint, by.scope
                    )
                })
                .collect();
            format!("signed by {}", by.join(" and "))
        }
        Ground::Accepted => "accepted on this host (rocket trust accept)".to_owned(),
        Ground::PackedHere => "packed here".to_owned(),
        Ground::Unsigned => "nobody vouches for it, and the rule lets that pass".to_owned(),
        Ground::Waived => "nobody was asked".to_owned(),
    }
}

fn finding(finding: &Finding) -> String {
    match finding {
        Finding::Good { kind, fingerprint, name } => {
            let name = name.as_ref().map(|name| format!(", for {name}")).unwrap_or_default();
            format!("good: {kind} key {fingerprint}{name}")
        }
        Finding::NoKey { kind, key } => {
            format!("no key: this host does not have the {kind} key {key}")
        }
        Finding::Bad { kind, why } => format!("bad: {kind}: {why}"),
    }
}

fn print(asked: &str, image: &StoredImage, judged: &Judged) {
    let Judged { name, verdict } = judged;
    output::data(&format!("image      {asked} ({})", image.id));
    output::data(&format!("name       {name}"));
    match &verdict.outcome {
        Ok(why) => output::data(&format!("trusted    yes: {}", ground(why))),
        Err(why) => output::data(&format!("trusted    no: {why}")),
    }
    output::data(&format!("rule       {}", verdict.rule));
    for proof in &image.proofs {
        output::data(&format!("fetched    {} as {}", proof.source, proof.name));
        if let (Some(created), Some(_)) = (&proof.created, &proof.statement) {
            let end = proof.expires.as_ref().map(|end| format!(", until {end}"));
            output::data(&format!("statement  of {created}{}", end.unwrap_or_default()));
        }
        for found in proof.findings_at(crate::image::believe::now()) {
            output::data(&format!("signature  {}", finding(&found)));
        }
    }
    if let Err(refusal) = &verdict.outcome {
        let untrusted = Untrusted {
            source: asked.to_owned(),
            name: name.clone(),
            id: image.id.digest().clone(),
            refusal: refusal.clone(),
            rule: verdict.rule.to_string(),
        };
        output::note(&format!("hint: {}", untrusted.hint()));
    }
}

fn object(image: &StoredImage, judged: &Judged) -> serde_json::Value {
    let Judged { name, verdict } = judged;
    let (trusted, why) = match &verdict.outcome {
        Ok(why) => (true, ground(why)),
        Err(why) => (false, why.to_string()),
    };
    let keys = match &verdict.outcome {
        Ok(Ground::Signed(vouchers)) => vouchers.as_slice(),
        _ => &[],
    };
    let keys: Vec<_> = keys
        .iter()
        .map(|by| {
            json!({
                "kind": by.kind, "fingerprint": by.fingerprint,
                "for": by.scope.to_string(), "path": by.path,
            })
        })
        .collect();
    json!({
        "id": image.id,
        "name": name,
        "trusted": trusted,
        "why": why,
        "keys": keys,
        "rule": { "text": verdict.rule.to_string(), "path": verdict.rule.source },
        "proofs": image.proofs,
    })
}
