//! `rocket image publish`: a directory for a web server or a stick, from which others fetch by name.

use crate::cli::error::Failure;
use crate::cli::fetch::explain;
use crate::cli::output;
use crate::config::paths::Paths;
use crate::image::ImageError;
use crate::image::publish::{Published, Site};
use crate::image::reference::Reference;
use crate::image::store::Store;
use std::path::PathBuf;
use std::process::ExitCode;

/// Arguments of `rocket image publish`.
#[derive(Debug, clap::Args)]
pub struct PublishArgs {
    /// The directory; what is there already stays, and is listed with the rest.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Images of the store, under all their names.
    #[arg(value_name = "REF")]
    references: Vec<String>,
    /// The directory's address; when absent https:// and the first segment of the images' names.
    #[arg(long, value_name = "URL")]
    base: Option<String>,
    /// A public key to offer; may be repeated.
    #[arg(long = "key", value_name = "FILE")]
    keys: Vec<PathBuf>,
}

/// `rocket image publish`.
pub fn run(paths: &Paths, args: &PublishArgs) -> Result<ExitCode, Failure> {
    if let Some(base) = &args.base {
        let rest = ["https://", "http://"].iter().find_map(|scheme| base.strip_prefix(scheme));
        if rest.is_none_or(|rest| rest.is_empty() || rest.contains(['?', '#', '@', ' ', '"', '<']))
        {
            return Err(Failure::message(format!("--base {base}: no address of a directory"))
                .hint("it looks like https://images.example.com/rocket"));
        }
    }
    let store = Store::open(&paths.store()).map_err(explain)?;
    let _shared = store.lock_shared().map_err(explain)?;
    let ids = args
        .references
        .iter()
        .map(|text| {
            let reference: Reference =
                text.parse().map_err(|e| explain(ImageError::Reference(e)))?;
            store.resolve(&reference).map_err(explain)
        })
        .collect::<Result<Vec<_>, Failure>>()?;
    let site = Site { dir: &args.dir, base: args.base.as_deref() };
    let mut published = Published::default();
    for id in &ids {
        site.image(&store, id, &mut published).map_err(explain)?;
    }
    for key in &args.keys {
        site.key(key, &mut published).map_err(explain)?;
    }
    site.index(&mut published).map_err(explain)?;
    for path in &published.written {
        output::data(&path.display().to_string());
    }
    let (written, unchanged) = (published.written.len(), published.unchanged);
    output::note(&format!(
        "{}: {written} files written, {unchanged} images were there already",
        args.dir.display()
    ));
    Ok(ExitCode::SUCCESS)
}
