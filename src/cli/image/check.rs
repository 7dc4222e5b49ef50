//! `rocket image verify` and `rocket image audit`.

use super::{find, open};
use crate::cli::error::Failure;
use crate::cli::fetch::{self, explain};
use crate::cli::output::{self, Format};
use crate::cli::progress::Progress;
use crate::cli::target::{self, Target};
use crate::config::paths::Paths;
use crate::image::Digest;
use crate::image::check::{self, Finding, Ids, Object, Problem, Seen};
use crate::image::error::ImageError;
use crate::image::fetch::Reporter;
use crate::image::store::{ImageId, Store};
use crate::pod::list::{self, Status};
use std::collections::BTreeSet;
use std::process::ExitCode;

/// Exit status when something is not what it should be.
const DIFFERS: u8 = 1;

/// Arguments of `rocket image verify`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit status: 0 when all is as it should be, 1 when something is not, 125 when \
                        that cannot be told."
)]
pub struct VerifyArgs {
    /// Names or digests.
    #[arg(value_name = "IMAGE", required_unless_present = "all")]
    references: Vec<String>,
    /// All images in the store.
    #[arg(long, conflicts_with = "references")]
    all: bool,
    #[command(flatten)]
    how: How,
}

/// Arguments of `rocket image audit`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit status: 0 when nothing of the image is changed or missing, 1 when something \
                        is or a layer has more than it should, 125 when that cannot be told. What an app \
                        added beside its image's files is listed and is no difference."
)]
pub struct AuditArgs {
    /// Images or pods: a name, a digest, a pod's UUID, POD/APP.
    #[arg(value_name = "IMAGE|POD", required = true)]
    words: Vec<String>,
    /// They are pods, whatever images are called.
    #[arg(long)]
    pod: bool,
    #[command(flatten)]
    how: How,
}

/// What both can do.
#[derive(Debug, clap::Args)]
pub struct How {
    /// Unpack damaged layers again from their blobs; not those that a running pod stands on.
    #[arg(long)]
    repair: bool,
    /// No progress.
    #[arg(short, long)]
    quiet: bool,
    /// How to print.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// `rocket image verify`.
pub fn verify(paths: &Paths, args: &VerifyArgs) -> Result<ExitCode, Failure> {
    let store = open(paths)?;
    let ids: BTreeSet<ImageId> = if args.all {
        store.image_ids().map_err(explain)?.into_iter().collect()
    } else {
        args.references.iter().map(|word| find(&store, word)).collect::<Result<_, _>>()?
    };
    let mut progress = Progress::new(args.how.quiet, fetch::Format::Text);
    let mut look = || -> Result<Vec<Finding>, Failure> {
        let _shared = store.lock_shared().map_err(explain)?;
        let (mut found, mut seen) = (Vec::new(), Seen::default());
        for id in &ids {
            let name = id.digest().short();
            let mut tick = |done, total| progress.progress(&name, done, total);
            found.extend(check::image(&store, id, &mut seen, &mut tick).map_err(explain)?);
        }
        progress.clear();
        Ok(found)
    };
    let before = look()?;
    let after = if args.how.repair && mend(paths, &store, &ids, &before) {
        look()?
    } else {
        before.clone()
    };
    report(&args.how, &before, &after)
}

/// `rocket image audit`.
pub fn audit(paths: &Paths, args: &AuditArgs) -> Result<ExitCode, Failure> {
    let store = open(paths)?;
    let (mut images, mut pods) = (BTreeSet::new(), Vec::new());
    for word in &args.words {
        let image = if args.pod { None } else { Some(find(&store, word)) };
        match (image, target::find(paths, word)) {
            (Some(Ok(_)), Ok(_)) => {
                let text = format!("{word} is an image and a pod");
                return Err(Failure::message(text).hint("--pod, or the image's digest"));
            }
            (Some(Ok(id)), Err(_)) => drop(images.insert(id)),
            (_, Ok(pod)) => pods.push(pod),
            (Some(Err(_)), Err(_)) => {
                let text = format!("there is neither an image nor a pod {word}");
                return Err(Failure::message(text).hint("rocket image list; rocket list --all"));
            }
            (None, Err(failure)) => return Err(failure),
        }
    }
    let mut progress = Progress::new(args.how.quiet, fetch::Format::Text);
    let mut look = || -> Result<Vec<Finding>, Failure> {
        let _shared = store.lock_shared().map_err(explain)?;
        let (mut found, mut seen) = (Vec::new(), Seen::default());
        let mut tick = |done, total| progress.progress("audit", done, total);
        for id in &images {
            let layers = check::layers_of(&store, id).map_err(explain)?;
            found.extend(check::layers(&store, &layers, &mut seen, &mut tick).map_err(explain)?);
        }
        for pod in &pods {
            audit_pod(&store, pod, &mut seen, &mut tick, &mut found)?;
        }
        progress.clear();
        Ok(found)
    };
    let before = look()?;
    let mut ids = images.clone();
    for app in pods.iter().filter_map(|pod| pod.info.meta.as_ref()).flat_map(|meta| &meta.apps) {
        ids.extend(app.image_id.parse().ok().map(ImageId::new));
    }
    let after = if args.how.repair && mend(paths, &store, &ids, &before) {
        look()?
    } else {
        before.clone()
    };
    report(&args.how, &before, &after)
}

/// A pod's layers, and what its apps wrote over them.
fn audit_pod(
    store: &Store,
    pod: &Target,
    seen: &mut Seen,
    tick: check::Tick<'_>,
    found: &mut Vec<Finding>,
) -> Result<(), Failure> {
    let Some(meta) = &pod.info.meta else {
        return Err(Failure::message(format!("pod {} cannot be read", pod.found.uuid)));
    };
    let ids = Ids(meta.ids.map_or(0, |ids| ids.base));
    for app in &meta.apps {
        if pod.app.as_ref().is_some_and(|only| *only != app.name) {
            continue;
        }
        let layers: Vec<Digest> =
            app.layers.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
        let damaged = check::layers(store, &layers, seen, tick).map_err(explain)?;
        // A list that is damaged says nothing of what the app changed.
        let torn = damaged.iter().any(|f| f.path.as_deref().is_some_and(|p| p.starts_with('(')));
        found.extend(damaged);
        if torn {
            continue;
        }
        let image = check::merged(store, &layers).map_err(explain)?;
        let upper = pod.dir.join("apps").join(&app.name).join("upper");
        if upper.is_dir() {
            found.extend(check::upper(&app.name, &upper, ids, &image).map_err(explain)?);
        }
    }
    Ok(())
}

/// Repairs what layers there are among the findings, lower ones first; says whether anything was done.
fn mend(paths: &Paths, store: &Store, ids: &BTreeSet<ImageId>, found: &[Finding]) -> bool {
    let mut done = false;
    let mut todo: BTreeSet<&str> =
        found.iter().filter(|f| f.object == Object::Layer).map(|f| f.which.as_str()).collect();
    for id in ids {
        for layer in check::layers_of(store, id).unwrap_or_default().iter().rev() {
            if !todo.remove(layer.to_string().as_str()) {
                continue;
            }
            let busy = || busy(paths, layer);
            match check::repair(store, id, layer, &busy) {
                Ok(()) => {
                    output::note(&format!("repaired layer {layer}"));
                    done = true;
                }
                Err(error) => {
                    explain(error).report();
                }
            }
        }
    }
    done
}

/// A running pod that stands on a layer.
fn busy(paths: &Paths, layer: &Digest) -> Result<Option<String>, ImageError> {
    let pods = list::all(paths).map_err(|e| ImageError::bad("the pods", e.to_string()))?;
    let layer = layer.to_string();
    let lives = [Status::Running, Status::Ending, Status::Preparing, Status::Broken];
    let user = pods.iter().filter(|pod| lives.contains(&pod.status)).find(|pod| match &pod.meta {
        Some(meta) => meta.apps.iter().any(|app| app.layers.contains(&layer)),
        // What cannot be read may stand on anything.
        None => true,
    });
    Ok(user.map(|pod| format!("pod {}", pod.uuid)))
}

fn report(how: &How, before: &[Finding], after: &[Finding]) -> Result<ExitCode, Failure> {
    match how.format {
        Format::Json => {
            let mut objects = Vec::new();
            for finding in before {
                let mut object = serde_json::to_value(finding)?;
                if let Some(object) = object.as_object_mut() {
                    object.insert("repaired".to_owned(), (!after.contains(finding)).into());
                }
                objects.push(object);
            }
            output::json(&objects.into());
        }
        Format::Table if before.is_empty() => {}
        Format::Table => {
            let rows: Vec<Vec<String>> = before
                .iter()
                .map(|finding| {
                    let repaired = if after.contains(finding) { "" } else { "(repaired) " };
                    vec![
                        finding.object.as_str().to_owned(),
                        finding.which.clone(),
                        finding.problem.as_str().to_owned(),
                        finding.path.clone().unwrap_or_else(|| "-".to_owned()),
                        format!("{repaired}{}", finding.detail),
                    ]
                })
                .collect();
            output::table(&["WHAT", "WHICH", "PROBLEM", "PATH", "DETAIL"], &rows);
        }
    }
    let own = |f: &&Finding| f.object == Object::App && f.problem == Problem::Added;
    let wrong = after.iter().filter(|finding| !own(finding)).count();
    Ok(if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::from(DIFFERS) })
}
