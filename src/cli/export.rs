//! `rocket export`: an app's root, as the app has made it, becomes an image.

use crate::cli::error::Failure;
use crate::cli::fetch::{explain, parse_name};
use crate::cli::image::{CompressionArg, clamp};
use crate::cli::output;
use crate::cli::target;
use crate::config::paths::Paths;
use crate::image::fetch::host_arch;
use crate::image::local::Host;
use crate::image::manifest::{App, EnvironmentVariable, ImageManifest, Label};
use crate::image::name::AcIdentifier;
use crate::image::pack::{self, Request};
use crate::image::store::{ImageId, Store};
use crate::pod::directory::{Locked, PLAN};
use crate::pod::list::Status;
use crate::pod::{meta, snapshot};
use rocket_plan::PodPlan;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Arguments of `rocket export`.
#[derive(Debug, clap::Args)]
pub struct ExportArgs {
    /// Name, UUID, or at least 8 digits of one; /APP where it has several apps.
    #[arg(value_name = "POD[/APP]")]
    pod: String,
    /// The new image's name, perhaps with version and labels.
    #[arg(long, value_name = "NAME[:VERSION]")]
    name: String,
    /// The file to make.
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// How to compress the file.
    #[arg(long, value_enum, default_value_t)]
    compression: CompressionArg,
}

/// `rocket export`. What is on volumes is not the app's root and not exported; of an app that runs,
/// files that it changes meanwhile are as whoever reads them finds them.
pub fn run(paths: &Paths, args: &ExportArgs) -> Result<ExitCode, Failure> {
    let target = target::find(paths, &args.pod)?;
    let (uuid, state) = (target.found.uuid, target.found.state);
    // Nobody may remove a dead pod meanwhile; one that runs holds its lock itself.
    let _held = match target.info.status {
        Status::Running => None,
        Status::Exited => Locked::open(paths, state, uuid)?,
        other => {
            let text = format!("cannot export from pod {uuid}: it is {}", other.as_str());
            return Err(Failure::message(text));
        }
    };
    let app = target.one_app()?;
    let store = Store::open(&paths.store()).map_err(explain)?;
    let _shared = store.lock_shared().map_err(explain)?;
    let manifest = manifest(&store, &target.dir, &app, &args.name)?;
    let output = std::path::absolute(&args.output)?;
    let paths = Paths::new(std::path::absolute(paths.state())?);
    let pod = std::path::absolute(&target.dir)?;
    let rootfs = snapshot::mount(&paths, &pod, &app)?;
    let request = Request {
        rootfs: &rootfs,
        manifest: &manifest,
        output: &output,
        compression: args.compression.into(),
        clamp: clamp()?,
    };
    let packed = pack::pack(&request).map_err(explain)?;
    for note in packed.notes {
        output::note(&note);
    }
    Host::new(&paths).record(&packed.id).map_err(explain)?;
    output::note(&format!("packed {}", args.output.display()));
    output::data(&packed.id.to_string());
    Ok(ExitCode::SUCCESS)
}

/// What the app's image says, under the new name. An image that was removed meanwhile leaves what the
/// pod's plan says of the app.
fn manifest(store: &Store, pod: &Path, app: &str, name: &str) -> Result<ImageManifest, Failure> {
    let name = parse_name(name)?;
    let plan: PodPlan = meta::read(&pod.join(PLAN))?;
    let plan = plan
        .apps
        .into_iter()
        .find(|plan| plan.name == app)
        .ok_or_else(|| Failure::message(format!("the pod's plan has no app {app:?}")))?;
    let stored = plan.image_id.parse().ok().and_then(|id| store.image(&ImageId::new(id)).ok());
    let mut manifest = ImageManifest::new(name.name);
    match stored {
        Some(stored) => {
            manifest.app = stored.manifest.app;
            manifest.annotations = stored.manifest.annotations;
        }
        None => {
            let environment = plan.environment.iter().filter_map(|entry| entry.split_once('='));
            manifest.app = Some(App {
                exec: plan.argv,
                user: plan.uid.to_string(),
                group: plan.gid.to_string(),
                working_directory: Some(plan.working_directory),
                environment: environment
                    .map(|(name, value)| EnvironmentVariable {
                        name: name.to_owned(),
                        value: value.to_owned(),
                    })
                    .collect(),
                ..App::default()
            });
        }
    }
    let mut labels = name.labels;
    for (key, value) in [("os", "linux"), ("arch", host_arch())] {
        labels.entry(key.to_owned()).or_insert_with(|| value.to_owned());
    }
    for (key, value) in labels {
        manifest.labels.push(Label { name: AcIdentifier::new(key)?, value });
    }
    Ok(manifest)
}
