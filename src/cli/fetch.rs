//! `rocket fetch`: bring images into the store.

use crate::cli::error::Failure;
use crate::cli::output;
use crate::config::layers::Config;
use crate::config::paths::{self, Paths};
use crate::image::error::ImageError;
use crate::image::fetch::{Fetch, Reporter};
use crate::image::local::Host;
use crate::image::reference::{NameRef, Reference};
use crate::image::store::Store;
use crate::image::transport::Remote;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Arguments of `rocket fetch`.
#[derive(Debug, clap::Args)]
pub struct FetchArgs {
    /// What to fetch: `./FILE.aci`, `/DIR/FILE.aci`, `oci:DIR[:TAG]`, `docker://HOST/NAME[:TAG][@DIGEST]`.
    #[arg(required = true, value_name = "REF")]
    pub references: Vec<String>,
    /// Store it under this name instead of its own.
    #[arg(long, value_name = "NAME[:VERSION]")]
    pub name: Option<String>,
}

/// Runs it.
pub fn run(paths: &Paths, config: &Config, args: FetchArgs) -> Result<ExitCode, Failure> {
    if args.name.is_some() && args.references.len() > 1 {
        return Err(Failure::message("--name names one image, and several were asked for"));
    }
    let name = args.name.as_deref().map(parse_name).transpose()?;
    let references = args
        .references
        .iter()
        .map(|text| text.parse())
        .collect::<Result<Vec<Reference>, _>>()
        .map_err(|e| explain(e.into()))?;
    let store = Store::open(&paths.store()).map_err(explain)?;
    let host = Host::new(paths);
    let mut remote = Remote::new(paths::transports(), paths::config());
    remote.timeout = config.fetch_timeout.value;
    remote.retries = config.fetch_retries.value;
    remote.parallel = config.fetch_parallel.value;
    let mut lines = Lines::new();
    for reference in &references {
        let mut fetch = Fetch {
            store: &store,
            remote: &remote,
            host: &host,
            name: name.clone(),
            reporter: &mut lines,
        };
        let stored = fetch.run(reference).map_err(explain)?;
        lines.clear();
        if let Some(before) = stored.replaced {
            output::note(&format!(
                "{reference}: the name now means {}; before it meant {}",
                stored.id.digest().short(),
                before.digest().short()
            ));
        }
        output::data(&stored.id.to_string());
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads a name with labels.
pub(super) fn parse_name(text: &str) -> Result<NameRef, Failure> {
    match text.parse::<Reference>().map_err(|e| explain(e.into()))? {
        Reference::Name(name) if name.digest.is_none() => Ok(name),
        _ => Err(Failure::message(format!("{text} is not an image name"))
            .hint("a name looks like example.com/app:1.0")),
    }
}

/// An image error with its hint.
pub(super) fn explain(error: ImageError) -> Failure {
    let hint = error.hint();
    let failure = Failure::new(error);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// Progress: one line that changes on a terminal, one line a piece of work elsewhere.
struct Lines {
    terminal: bool,
    drawn: Option<Instant>,
    work: String,
}

impl Lines {
    fn new() -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self { terminal, drawn: None, work: String::new() }
    }

    /// Takes the changing line away.
    fn clear(&mut self) {
        if self.drawn.take().is_some() && self.terminal {
            let _ = write!(std::io::stderr().lock(), "\r\x1b[K");
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.clear();
    }
}

impl Reporter for Lines {
    fn note(&mut self, text: &str) {
        self.clear();
        output::note(text);
    }

    fn progress(&mut self, what: &str, done: u64, total: u64) {
        if !self.terminal {
            if self.work != what {
                what.clone_into(&mut self.work);
                output::note(&format!("unpacking {what} ({} MB)", total / 1_000_000));
            }
            return;
        }
        if self.drawn.is_some_and(|at| at.elapsed() < Duration::from_millis(100)) {
            return;
        }
        self.drawn = Some(Instant::now());
        let percent = (done * 100).checked_div(total).unwrap_or(100).min(100);
        let _ = write!(std::io::stderr().lock(), "\r\x1b[Kunpacking {what}: {percent} %");
    }
}
