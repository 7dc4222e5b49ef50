//! `rocket image …`: the store, seen by people.

mod check;
mod idle;
mod out;

use crate::cli::error::Failure;
use crate::cli::fetch::explain;
use crate::cli::freed::{self, Freed};
use crate::cli::output::{self, Format};
use crate::cli::pack::{self, PackArgs};
use crate::cli::publish;
use crate::cli::sign;
use crate::cli::wait::TimeArg;
use crate::config::layers::Config;
use crate::config::paths::Paths;
use crate::image::Digest;
use crate::image::reference::Reference;
use crate::image::store::{ImageId, Store, StoredImage};
use crate::image::time;
use crate::pod::list::{self, Info, Status};
use crate::pod::usage;
use std::collections::BTreeSet;
use std::process::ExitCode;
use uuid::Uuid;

/// Arguments of `rocket image`.
#[derive(Debug, clap::Args)]
pub struct ImageArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: ImageCommand,
}

/// The verbs.
#[derive(Debug, clap::Subcommand)]
pub enum ImageCommand {
    /// Make an image, an ACI or an OCI one, of a directory, a tar archive or a pod.
    Pack(Box<PackArgs>),
    /// Sign an ACI, or a statement about an OCI image, with minisign or gpg.
    Sign(sign::SignArgs),
    /// Write images as static files, from which others fetch them by name.
    Publish(publish::PublishArgs),
    /// List the images in the store.
    List {
        /// How to print.
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Remove images; what a pod uses stays until the pod is gone.
    Rm {
        /// Names or digests.
        #[arg(required = true, value_name = "REF")]
        references: Vec<String>,
    },
    /// Remove layers and blobs that neither an image nor a pod uses.
    Gc {
        /// Before that, remove images that no pod has and nobody has run for this time (30d, 12h).
        #[arg(long, value_name = "TIME")]
        unused_for: Option<TimeArg>,
        /// Only say what would be removed, and how many bytes that would free.
        #[arg(long)]
        dry_run: bool,
        /// How to print.
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Compare images with what they were: documents and blobs with their digests, the trees of layers
    /// with the lists of their files.
    Verify(check::VerifyArgs),
    /// Compare the trees of images or pods, running ones too, with the lists of their files.
    Audit(check::AuditArgs),
    /// Write an image as it was fetched.
    Export(out::ExportArgs),
    /// Copy an image's files to a directory.
    Extract(out::ExtractArgs),
    /// Tell the digest of the tree that an image's layers show, the same on every host.
    Render(out::RenderArgs),
    /// Bring in an image from a file or a layout, without any network.
    Import(out::ImportArgs),
    /// Show what an image consists of.
    Tree(out::ShowArgs),
    /// Show how an image was made.
    History(out::ShowArgs),
    /// Print an image's manifest.
    CatManifest {
        /// A name or digest.
        #[arg(value_name = "REF")]
        reference: String,
        /// As it came: an OCI image's own manifest.
        #[arg(long)]
        original: bool,
    },
}

/// Runs it.
pub fn run(paths: &Paths, config: &Config, args: ImageArgs) -> Result<ExitCode, Failure> {
    match args.command {
        ImageCommand::Pack(args) => pack::run(paths, &args),
        ImageCommand::Sign(args) => sign::run(&args),
        ImageCommand::Publish(args) => publish::run(paths, &args),
        ImageCommand::List { format } => list_images(&open(paths)?, format),
        ImageCommand::Rm { references } => remove(paths, &references),
        ImageCommand::Gc { unused_for, dry_run, format } => {
            let mut freed = match unused_for {
                Some(time) => idle::expire(paths, time.span(), dry_run)?,
                None => Vec::new(),
            };
            freed.extend(collect(paths, &BTreeSet::new(), dry_run)?);
            freed::report(&freed, format, dry_run);
            Ok(ExitCode::SUCCESS)
        }
        ImageCommand::Verify(args) => check::verify(paths, &args),
        ImageCommand::Audit(args) => check::audit(paths, &args),
        ImageCommand::Export(args) => out::export(paths, &args),
        ImageCommand::Extract(args) => out::extract(paths, &args),
        ImageCommand::Render(args) => out::render(paths, &args),
        ImageCommand::Import(args) => out::import(paths, config, args),
        ImageCommand::Tree(args) => out::tree(paths, &args),
        ImageCommand::History(args) => out::history(paths, &args),
        ImageCommand::CatManifest { reference, original } => {
            cat_manifest(&open(paths)?, &reference, original)
        }
    }
}

fn open(paths: &Paths) -> Result<Store, Failure> {
    Store::open(&paths.store()).map_err(explain)
}

fn find(store: &Store, reference: &str) -> Result<ImageId, Failure> {
    let reference: Reference = reference
        .parse()
        .map_err(|e: crate::image::reference::ReferenceError| explain(e.into()))?;
    store.resolve(&reference).map_err(explain)
}

fn list_images(store: &Store, format: Format) -> Result<ExitCode, Failure> {
    let _shared = store.lock_shared().map_err(explain)?;
    let images = store.images().map_err(explain)?;
    let sizes = store.sizes().map_err(explain)?;
    let mut names = store.names().map_err(explain)?;
    let mut rows = Vec::new();
    let mut objects = Vec::new();
    for image in &images {
        let (own, shared) = sizes.get(&image.id).copied().unwrap_or_default();
        let names = names.remove(&image.id).unwrap_or_default();
        let created = image.manifest.annotation("created");
        let used = store.last_used(&image.id).map(time::rfc3339);
        objects.push(serde_json::json!({
            "id": image.id,
            "format": image.format,
            "names": names,
            "name": image.manifest.name,
            "labels": image.manifest.label_map(),
            "config": image.config,
            "created": created,
            "stored": image.stored,
            "lastused": used,
            "size": { "own": own, "shared": shared },
            "layers": image.layers.iter().map(|l| &l.digest).collect::<Vec<_>>(),
            "evidence": image.evidence,
        }));
        rows.push(vec![
            if names.is_empty() { "-".to_owned() } else { names.join(" ") },
            image.id.digest().short(),
            created.unwrap_or("-").to_owned(),
            image.stored.clone(),
            used.unwrap_or_else(|| "-".to_owned()),
            megabytes(own),
            megabytes(shared),
            evidence(image).to_owned(),
        ]);
    }
    match format {
        Format::Json => {
            let text = serde_json::to_string_pretty(&objects)?;
            output::data(&text);
        }
        Format::Table => {
            let header =
                ["NAME", "ID", "CREATED", "STORED", "LAST USED", "OWN", "SHARED", "EVIDENCE"];
            output::table(&header, &rows);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Signed, or where it came from.
fn evidence(image: &StoredImage) -> &'static str {
    if image.is_signed() { "signed" } else { image.evidence.name() }
}

fn megabytes(bytes: u64) -> String {
    format!("{}.{} MB", bytes / 1_000_000, bytes / 100_000 % 10)
}

fn remove(paths: &Paths, references: &[String]) -> Result<ExitCode, Failure> {
    let store = open(paths)?;
    let ids = references.iter().map(|r| find(&store, r)).collect::<Result<BTreeSet<_>, _>>()?;
    let removal = store.removal().map_err(explain)?;
    let used = used_layers(paths)?;
    for id in ids {
        let layers = store.image(&id).map(|image| image.layers).unwrap_or_default();
        removal.image(&id, &used).map_err(explain)?;
        output::data(&id.to_string());
        if layers.iter().any(|layer| used.contains(&layer.digest)) {
            let id = id.digest().short();
            output::note(&format!("{id}: layers that pods use stay until these pods are removed"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Removes what neither an image nor a pod uses, or only says what that is; the pods `gone` count as
/// removed already. A pod that cannot be read may use any layer: it is named, and they stay.
pub fn collect(paths: &Paths, gone: &BTreeSet<Uuid>, dry_run: bool) -> Result<Vec<Freed>, Failure> {
    if !paths.store().is_dir() {
        return Ok(Vec::new());
    }
    let store = open(paths)?;
    let shared = if dry_run { Some(store.lock_shared().map_err(explain)?) } else { None };
    let removal = if dry_run { None } else { Some(store.removal().map_err(explain)?) };
    let mut pods = list::all(paths)?;
    pods.retain(|pod| !gone.contains(&pod.uuid));
    let broken = pods.iter().filter(|pod| pod.status == Status::Broken);
    let broken: Vec<_> = broken.map(unreadable).collect();
    for failure in &broken {
        failure.report();
    }
    if !broken.is_empty() {
        output::note("so all layers stay");
    }
    let used = if broken.is_empty() { Some(layers_of(&pods)?) } else { None };
    let unused = store.unused(used.as_ref()).map_err(explain)?;
    let freed = unused.iter().map(|unused| Freed {
        kind: if unused.is_layer { "layer" } else { "blob" },
        uuid: None,
        digest: Some(unused.digest.to_string()),
        name: None,
        why: "nothing uses it".to_owned(),
        bytes: usage::bytes(&unused.path),
    });
    let freed = freed.collect();
    if let Some(removal) = removal {
        removal.unused(unused).map_err(explain)?;
    }
    drop(shared);
    Ok(freed)
}

/// Layers that pods name.
fn used_layers(paths: &Paths) -> Result<BTreeSet<Digest>, Failure> {
    let pods = list::all(paths)?;
    match pods.iter().find(|pod| pod.status == Status::Broken) {
        Some(pod) => Err(unreadable(pod)),
        None => layers_of(&pods),
    }
}

fn layers_of(pods: &[Info]) -> Result<BTreeSet<Digest>, Failure> {
    let digests = crate::pod::gc::used_layers(pods);
    Ok(digests.iter().map(|text| text.parse()).collect::<Result<_, _>>()?)
}

/// A pod that cannot be read may run on any layer.
fn unreadable(pod: &Info) -> Failure {
    let why = pod.problem.as_deref().unwrap_or("its directory cannot be read");
    let text = format!("cannot tell which layers pod {} uses: {why}", pod.uuid);
    Failure::message(text).hint(format!("rocket rm {}", pod.uuid))
}

fn cat_manifest(store: &Store, reference: &str, original: bool) -> Result<ExitCode, Failure> {
    let id = find(store, reference)?;
    let text = if original {
        let bytes = store.original_manifest(&id).map_err(explain)?;
        String::from_utf8_lossy(&bytes).into_owned()
    } else {
        String::from_utf8_lossy(&store.image(&id).map_err(explain)?.manifest.to_json()).into_owned()
    };
    output::data(text.trim_end());
    Ok(ExitCode::SUCCESS)
}
