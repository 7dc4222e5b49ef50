//! `rocket explain`: what a pod is to its apps and to the host, before it starts or while it runs.

use crate::cli::error::Failure;
use crate::cli::input::{self, EnforcementArgs};
use crate::cli::output::{self, Format};
use crate::config::paths::Paths;
use crate::pod::directory;
use crate::pod::explain::score::Exposure;
use crate::pod::explain::{self, AppFacts, Explanation, Facts, From, UnitView};
use crate::pod::foresee::foresee;
use crate::pod::limits::{self, Enforcement};
use crate::pod::lookup::{self, Found};
use crate::pod::meta::{self, Meta};
use crate::pod::sources;
use crate::pod::{list, name::PodName};
use rocket_plan::PodPlan;
use rocket_podfile::{LoadError, Loaded};
use serde_json::json;
use std::path::Path;
use std::process::ExitCode;

/// Arguments of `rocket explain`.
#[derive(Debug, clap::Args)]
pub struct ExplainArgs {
    /// Name of a pod file, or path of one; or name, UUID or at least 8 digits of one of a pod.
    #[arg(value_name = "POD")]
    pod: String,
    /// Explain the pod of this name that was made last, not what its pod file says now.
    #[arg(long)]
    instance: bool,
    /// How to print it.
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
    /// End with 1 if the exposure is above this figure, from 0 to 10.
    #[arg(long, value_name = "N", value_parser = threshold)]
    threshold: Option<Exposure>,
    #[command(flatten)]
    enforcement: EnforcementArgs,
}

/// `7`, `2.5`.
fn threshold(text: &str) -> Result<Exposure, String> {
    let (whole, tenth) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse().ok());
    match (digits(whole).flatten(), digits(tenth).flatten()) {
        (Some(whole @ 0..=10u32), Some(tenth @ 0..=9u32)) if whole * 10 + tenth <= 100 => {
            Ok(Exposure::from_tenths(whole * 10 + tenth))
        }
        _ => Err("a figure from 0 to 10, with one decimal at most".to_owned()),
    }
}

/// Exit status when the exposure is above the threshold.
const ABOVE: u8 = 1;

/// `rocket explain`.
pub fn run(paths: &Paths, args: &ExplainArgs) -> Result<ExitCode, Failure> {
    let explained = explanation(paths, args);
    if let (Err(failure), Format::Json) = (&explained, args.format) {
        // A reader of JSON gets the reason in JSON, too.
        output::json(&json!({
            "version": explain::VERSION,
            "refused": { "reason": format!("{:#}", failure.error), "hints": failure.hints },
        }));
    }
    let explained = explained?;
    match args.format {
        Format::Table => output::data(&explain::text(&explained)),
        Format::Json => output::json(&serde_json::to_value(&explained)?),
    }
    match args.threshold {
        Some(threshold) if explained.score.exposure > threshold => {
            output::note(&format!(
                "rocket: the exposure {} is above {threshold}",
                explained.score.exposure
            ));
            Ok(ExitCode::from(ABOVE))
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

fn explanation(paths: &Paths, args: &ExplainArgs) -> Result<Explanation, Failure> {
    let word = args.pod.as_str();
    if !args.instance && (word.contains('/') || word.ends_with(".toml") || word.ends_with(".json"))
    {
        let loaded = rocket_podfile::load_file(Path::new(word))
            .map_err(|error| input::load_failure(error, word))?;
        let name = loaded.name.clone();
        return pod_file(paths, &loaded, name.as_deref(), args.enforcement.value());
    }
    if !args.instance && PodName::new(word).is_ok() {
        match input::load(word) {
            Ok(loaded) => return pod_file(paths, &loaded, Some(word), args.enforcement.value()),
            // Then it may be the name or the UUID of a pod that was made in another way.
            Err(LoadError::NotFound { .. }) => {}
            Err(error) => return Err(input::load_failure(error, word)),
        }
    }
    match lookup::find(paths, word) {
        Ok(found) => instance(paths, found),
        Err(error) if args.instance => Err(Failure::new(error)),
        Err(error) => Err(Failure::new(error).hint(format!(
            "a pod file {word}.toml is searched in {}",
            crate::config::paths::POD_FILES.join(", ")
        ))),
    }
}

fn pod_file(
    paths: &Paths,
    loaded: &Loaded,
    name: Option<&str>,
    enforcement: Enforcement,
) -> Result<Explanation, Failure> {
    let foreseen =
        foresee(paths, &loaded.pod, name, enforcement).map_err(input::prepare_failure)?;
    let files = loaded.sources.iter().map(|path| path.display().to_string()).collect();
    Ok(explain::explain(&Facts {
        from: &From::PodFile { files },
        plan: &foreseen.output.plan,
        sources: &foreseen.output.sources,
        weakened: &foreseen.output.weakened,
        report: None,
        unit: &foreseen.unit,
        apps: &foreseen.apps,
    }))
}

/// A pod that was made, from its own plan.
fn instance(paths: &Paths, found: Found) -> Result<Explanation, Failure> {
    let dir = found.state.path(paths, found.uuid);
    let info = list::info(paths, found)
        .ok_or_else(|| Failure::message(format!("pod {} has just been removed", found.uuid)))?;
    let meta = Meta::read(&dir)?;
    let plan: PodPlan = meta::read(&dir.join(directory::PLAN))?;
    let sources: Vec<sources::Source> = meta::read(&dir.join(sources::FILE))?;
    let apps: Vec<AppFacts> = plan
        .apps
        .iter()
        .map(|app| {
            let known = meta.apps.iter().find(|known| known.name == app.name);
            let image = known.map_or_else(String::new, |known| known.image.clone());
            AppFacts { image, unknown: Vec::new() }
        })
        .collect();
    let unit = UnitView {
        limits: meta.limits.clone(),
        slice: meta.slice.clone(),
        stop_timeout_ms: Some(meta.stop_timeout_ms),
        start_timeout_ms: meta.start_timeout_ms,
    };
    let from =
        From::Instance { uuid: found.uuid.to_string(), state: info.status.as_str().to_owned() };
    Ok(explain::explain(&Facts {
        from: &from,
        plan: &plan,
        sources: &sources,
        weakened: &meta.weakened,
        report: limits::report(&dir).as_ref(),
        unit: &unit,
        apps: &apps,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_figures_of_the_scale() {
        for (text, tenths) in [("0", 0), ("2.5", 25), ("10", 100), ("10.0", 100), ("7", 70)] {
            assert_eq!(threshold(text).map(Exposure::tenths), Ok(tenths), "{text}");
        }
        for bad in ["", "-1", "10.1", "2.55", "eleven", "11", "2,5", ".", "+3"] {
            assert!(threshold(bad).is_err(), "{bad}");
        }
    }
}
