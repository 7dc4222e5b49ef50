//! `rocket image export`, `extract`, `render`, `import`, `tree`, `history`: an image, looked at and
//! taken elsewhere.

use super::{find, megabytes, open};
use crate::cli::error::Failure;
use crate::cli::fetch::{self, FetchArgs, explain};
use crate::cli::insecure::InsecureArgs;
use crate::cli::output::{self, Format};
use crate::config::layers::Config;
use crate::config::paths::Paths;
use crate::image::check;
use crate::image::error::ImageError;
use crate::image::export::{self, Target};
use crate::image::oci::Layout;
use crate::image::view;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Arguments of `rocket image export`.
#[derive(Debug, clap::Args)]
pub struct ExportArgs {
    /// A name or digest.
    #[arg(value_name = "IMAGE")]
    reference: String,
    /// The file to make; `-` is standard output. An ACI comes out as it was fetched, an OCI image as an
    /// `oci-archive:` whose blobs are as they were.
    #[arg(long, short, value_name = "FILE", required_unless_present = "dir")]
    output: Option<PathBuf>,
    /// The OCI layout to make instead: a directory that does not exist or is empty.
    #[arg(long, value_name = "DIR", conflicts_with = "output")]
    dir: Option<PathBuf>,
}

/// `rocket image export`.
pub fn export(paths: &Paths, args: &ExportArgs) -> Result<ExitCode, Failure> {
    let store = open(paths)?;
    let _shared = store.lock_shared().map_err(explain)?;
    let id = find(&store, &args.reference)?;
    match (&args.output, &args.dir) {
        (Some(file), _) if file.as_os_str() == "-" => {
            let mut out = BufWriter::with_capacity(1 << 20, io::stdout().lock());
            export::export(&store, &id, Target::File(&mut out)).map_err(explain)?;
            out.flush().map_err(|e| explain(ImageError::io("write", "-", e)))?;
        }
        (Some(file), _) => {
            let fail = |e| explain(ImageError::io("write", file, e));
            let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty());
            let dir = dir.unwrap_or_else(|| Path::new("."));
            let (part, out) = part_of(dir, file)?;
            let mut out = BufWriter::with_capacity(1 << 20, out);
            let done = export::export(&store, &id, Target::File(&mut out)).map_err(explain);
            let done = done.and_then(|()| {
                out.into_inner().map_err(|e| fail(e.into_error()))?.sync_all().map_err(fail)?;
                std::fs::rename(&part, file).map_err(fail)
            });
            if done.is_err() {
                let _ = std::fs::remove_file(&part);
            }
            done?;
        }
        (None, Some(dir)) => {
            into_new(dir, |part| export::export(&store, &id, Target::Dir(part)).map_err(explain))?
        }
        (None, None) => return Err(Failure::message("say where to: --output FILE or --dir DIR")),
    }
    Ok(ExitCode::SUCCESS)
}

fn part_of(dir: &Path, file: &Path) -> Result<(PathBuf, std::fs::File), Failure> {
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let part = dir.join(format!(".{name}.{}", uuid::Uuid::new_v4()));
    let out =
        std::fs::File::create_new(&part).map_err(|e| explain(ImageError::io("make", &part, e)))?;
    Ok((part, out))
}

/// Makes a directory beside `dir`, has it filled, and gives it that name.
fn into_new(dir: &Path, make: impl FnOnce(&Path) -> Result<(), Failure>) -> Result<(), Failure> {
    let fail = |e| explain(ImageError::io("make", dir, e));
    if dir.exists() && std::fs::read_dir(dir).map_err(fail)?.next().is_some() {
        let text = format!("{} is not empty", dir.display());
        return Err(Failure::message(text).hint("give a directory that does not exist"));
    }
    let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let part = dir.with_file_name(format!(".{name}.{}", uuid::Uuid::new_v4()));
    std::fs::create_dir(&part).map_err(fail)?;
    let done = make(&part).and_then(|()| std::fs::rename(&part, dir).map_err(fail));
    if done.is_err() {
        let _ = std::fs::remove_dir_all(&part);
    }
    done
}

/// Arguments of `rocket image extract`.
#[derive(Debug, clap::Args)]
pub struct ExtractArgs {
    /// A name or digest.
    #[arg(value_name = "IMAGE")]
    reference: String,
    /// The directory to make; it does not exist or is empty.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Only this directory of the image.
    #[arg(long, value_name = "PATH", default_value = "/")]
    path: String,
}

/// `rocket image extract`.
pub fn extract(paths: &Paths, args: &ExtractArgs) -> Result<ExitCode, Failure> {
    let store = open(paths)?;
    let _shared = store.lock_shared().map_err(explain)?;
    let id = find(&store, &args.reference)?;
    let layers = store.image(&id).map_err(explain)?.layers;
    into_new(&args.dir, |part| match view::copy_directory(&layers, &args.path, part) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Failure::message(format!("the image has no directory {}", args.path))),
        Err(error) => Err(explain(error)),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Arguments of `rocket image render`.
#[derive(Debug, clap::Args)]
pub struct RenderArgs {
    /// A name or digest.
    #[arg(value_name = "IMAGE")]
    reference: String,
    /// Print the list of the tree instead of its digest, which is the SHA-256 of that list.
    #[arg(long)]
    list: bool,
    /// Make the tree in this directory too; it does not exist or is empty.
    #[arg(long, short, value_name = "DIR")]
    output: Option<PathBuf>,
}

/// `rocket image render`.
pub fn render(paths: &Paths, args: &RenderArgs) -> Result<ExitCode, Failure> {
    let store = open(paths)?;
    let _shared = store.lock_shared().map_err(explain)?;
    let id = find(&store, &args.reference)?;
    let layers = check::layers_of(&store, &id).map_err(explain)?;
    let merged = check::merged(&store, &layers).map_err(explain)?;
    if let Some(dir) = &args.output {
        let layers = store.image(&id).map_err(explain)?.layers;
        into_new(dir, |part| view::copy_directory(&layers, "/", part).map(drop).map_err(explain))?;
    }
    if args.list {
        output::data(String::from_utf8_lossy(&merged.list()).trim_end());
    } else {
        output::data(&merged.digest().to_string());
    }
    Ok(ExitCode::SUCCESS)
}

/// Arguments of `rocket image import`.
#[derive(Debug, clap::Args)]
pub struct ImportArgs {
    /// An ACI, an OCI layout in a directory, or one in a tar archive.
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// Which of several images of a layout.
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
    /// Store it under this name instead of its own.
    #[arg(long, value_name = "NAME[:VERSION]")]
    name: Option<String>,
    /// Say nothing but the id, and what fails.
    #[arg(short, long)]
    quiet: bool,
    /// Checks that are left out.
    #[command(flatten)]
    insecure: InsecureArgs,
}

/// `rocket image import`: a fetch that looks at what it is given, and never at the network.
pub fn import(paths: &Paths, config: &Config, args: ImportArgs) -> Result<ExitCode, Failure> {
    let path = std::fs::canonicalize(&args.path)
        .map_err(|e| explain(ImageError::io("open", &args.path, e)))?;
    let text = path
        .to_str()
        .ok_or_else(|| Failure::message(format!("{} is not UTF-8", path.display())))?;
    let tag = args.tag.map_or(String::new(), |tag| format!(":{tag}"));
    let reference = if path.is_dir() {
        format!("oci:{text}{tag}")
    } else if Layout::open_archive(&path).is_ok() {
        format!("oci-archive:{text}{tag}")
    } else if tag.is_empty() {
        text.to_owned()
    } else {
        return Err(Failure::message(format!("{text} is no layout, so it has no tags")));
    };
    let (name, quiet) = (args.name, args.quiet);
    let format = fetch::Format::Text;
    fetch::run(
        paths,
        config,
        FetchArgs {
            references: vec![reference],
            name,
            quiet,
            format,
            allow_downgrade: false,
            pull: None,
            insecure: args.insecure,
        },
    )
}

/// Arguments of `rocket image tree` and `rocket image history`.
#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    /// A name or digest.
    #[arg(value_name = "IMAGE")]
    reference: String,
    /// How to print.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// `rocket image tree`.
pub fn tree(paths: &Paths, args: &ShowArgs) -> Result<ExitCode, Failure> {
    let store = open(paths)?;
    let _shared = store.lock_shared().map_err(explain)?;
    let id = find(&store, &args.reference)?;
    let image = store.image(&id).map_err(explain)?;
    let shares = store.sharers().map_err(explain)?;
    let mut rows = Vec::new();
    let mut objects = Vec::new();
    for layer in &image.layers {
        let (inodes, bytes) = store.layer_size(&layer.digest).map_err(explain)?;
        let others: Vec<String> = shares
            .get(&layer.digest)
            .into_iter()
            .flatten()
            .filter(|other| **other != id)
            .map(|other| other.digest().short())
            .collect();
        objects.push(serde_json::json!({
            "layer": layer.digest, "inodes": inodes, "bytes": bytes, "shared-with": others,
        }));
        let others = if others.is_empty() { "-".to_owned() } else { others.join(" ") };
        rows.push(vec![layer.digest.to_string(), inodes.to_string(), megabytes(bytes), others]);
    }
    let needs: Vec<String> =
        image.manifest.dependencies.iter().map(|needed| needed.image_name.to_string()).collect();
    match args.format {
        Format::Json => output::json(&serde_json::json!({
            "id": id, "name": image.manifest.name, "dependencies": needs, "layers": objects,
        })),
        Format::Table => {
            for needed in needs {
                output::data(&format!("needs {needed}"));
            }
            output::table(&["LAYER", "INODES", "SIZE", "SHARED WITH"], &rows);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// `rocket image history`.
pub fn history(paths: &Paths, args: &ShowArgs) -> Result<ExitCode, Failure> {
    let store = open(paths)?;
    let _shared = store.lock_shared().map_err(explain)?;
    let id = find(&store, &args.reference)?;
    let steps = store.history(&id).map_err(explain)?;
    match args.format {
        Format::Json => output::json(&serde_json::to_value(&steps)?),
        Format::Table => {
            let safe = |text: &str| crate::image::files::printable(text.as_bytes());
            let row = |step: &crate::image::store::Step| {
                let layer = step.layer.as_ref().map_or("-".to_owned(), |layer| layer.short());
                let what = [step.created_by.as_deref(), step.comment.as_deref()];
                let what: Vec<String> = what.into_iter().flatten().map(safe).collect();
                vec![
                    step.created.as_deref().map_or("-".to_owned(), safe),
                    layer,
                    step.bytes.map_or("-".to_owned(), megabytes),
                    what.join(" # "),
                ]
            };
            let rows: Vec<_> = steps.iter().map(row).collect();
            output::table(&["CREATED", "LAYER", "SIZE", "BY"], &rows);
        }
    }
    Ok(ExitCode::SUCCESS)
}
