//! `rocket export`: an app's root, as the app has made it, becomes an image.

use crate::cli::error::Failure;
use crate::cli::fetch::{explain, parse_name};
use crate::cli::pack::{
    CompressionArg, clamp, compression, destination, pack_and_record, set_labels,
};
use crate::cli::target;
use crate::config::paths::Paths;
use crate::image::manifest::{Annotation, App, EnvironmentVariable, ImageManifest};
use crate::image::pack::{Request, Source};
use crate::image::store::{ImageId, Store, StoreLock};
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
    /// The ACI to make, or `oci:DIR[:TAG]` or `oci-archive:FILE[:TAG]` for an OCI image.
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// How to compress; when absent an ACI is not, an OCI image with gzip.
    #[arg(long, value_enum)]
    compression: Option<CompressionArg>,
}

/// `rocket export`. What is on volumes is not the app's root and not exported; of an app that runs,
/// files that it changes meanwhile are as whoever reads them finds them.
pub fn run(paths: &Paths, args: &ExportArgs) -> Result<ExitCode, Failure> {
    let name = parse_name(&args.name)?;
    let output = destination(&args.output, name.labels.get("version").map(String::as_str))?;
    let root = root(paths, &args.pod)?;
    let mut manifest = ImageManifest::new(name.name);
    set_labels(&mut manifest, name.labels)?;
    manifest.app.clone_from(&root.app);
    manifest.annotations.clone_from(&root.annotations);
    let request = Request {
        source: Source::Dir(&root.rootfs),
        manifest: &manifest,
        output: &output,
        compression: compression(args.compression, &output),
        clamp: clamp()?,
        primary_group: false,
    };
    pack_and_record(&root.paths, &request, Some(&args.output))
}

/// An app's root, which stays while this does.
pub struct Root {
    /// Where it is mounted, for this process alone.
    pub rootfs: PathBuf,
    /// How its image says it is run.
    pub app: Option<App>,
    /// What its image says besides.
    pub annotations: Vec<Annotation>,
    /// The state, by an absolute path: this process is elsewhere now.
    pub paths: Paths,
    _held: Option<Locked>,
    _shared: StoreLock,
}

/// Finds and mounts the root of `POD[/APP]`. This process is in another directory afterwards.
pub fn root(paths: &Paths, word: &str) -> Result<Root, Failure> {
    let target = target::find(paths, word)?;
    let (uuid, state) = (target.found.uuid, target.found.state);
    // Nobody may remove a dead pod meanwhile; one that runs holds its lock itself.
    let held = match target.info.status {
        Status::Running => None,
        Status::Exited => Locked::open(paths, state, uuid)?,
        other => {
            let text = format!("cannot export from pod {uuid}: it is {}", other.as_str());
            return Err(Failure::message(text));
        }
    };
    let app = target.one_app()?;
    let store = Store::open(&paths.store()).map_err(explain)?;
    let shared = store.lock_shared().map_err(explain)?;
    let (about, annotations) = about(&store, &target.dir, &app)?;
    let paths = Paths::new(std::path::absolute(paths.state())?);
    let pod = std::path::absolute(&target.dir)?;
    let rootfs = snapshot::mount(&paths, &pod, &app)?;
    Ok(Root { rootfs, app: Some(about), annotations, paths, _held: held, _shared: shared })
}

/// What the app's image says. An image that was removed meanwhile leaves what the pod's plan says of
/// the app.
fn about(store: &Store, pod: &Path, app: &str) -> Result<(App, Vec<Annotation>), Failure> {
    let plan: PodPlan = meta::read(&pod.join(PLAN))?;
    let plan = plan
        .apps
        .into_iter()
        .find(|plan| plan.name == app)
        .ok_or_else(|| Failure::message(format!("the pod's plan has no app {app:?}")))?;
    let stored = plan.image_id.parse().ok().and_then(|id| store.image(&ImageId::new(id)).ok());
    if let Some(stored) = stored
        && let Some(app) = stored.manifest.app
    {
        return Ok((app, stored.manifest.annotations));
    }
    let environment = plan.environment.iter().filter_map(|entry| entry.split_once('='));
    let environment = environment
        .map(|(name, value)| EnvironmentVariable { name: name.to_owned(), value: value.to_owned() })
        .collect();
    let app = App {
        exec: plan.argv,
        user: plan.uid.to_string(),
        group: plan.gid.to_string(),
        working_directory: Some(plan.working_directory),
        environment,
        ..App::default()
    };
    Ok((app, Vec::new()))
}
