//! `rocket fetch`: bring images into the store.

use crate::cli::error::Failure;
use crate::cli::insecure::InsecureArgs;
use crate::cli::progress::Progress;
use crate::config::layers::Config;
use crate::config::paths::{self, Paths};
use crate::image::believe::Trust;
use crate::image::error::ImageError;
use crate::image::fetch::{Fetch, Pull};
use crate::image::local::Host;
use crate::image::reference::{NameRef, Reference};
use crate::image::store::{ImageId, Store};
use crate::image::transport::Remote;
use rocket_sys::signal::SignalFd;
use rustix::event::{PollFd, PollFlags, poll};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;
/// As shells say it of a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// Arguments of `rocket fetch`.
#[derive(Debug, clap::Args)]
pub struct FetchArgs {
    /// What to fetch: `./FILE.aci`, `/DIR/FILE.aci`, `oci:DIR[:TAG]`, `oci-archive:FILE[:TAG]`,
    /// `docker-archive:FILE[:NAME]`,
    /// `docker://HOST/NAME[:TAG][@DIGEST]`,
    /// `https://HOST/PATH/FILE.aci`; or a name, `example.com/app:1.0`, which is looked for where
    /// `mirrors.d` and its own host say.
    #[arg(required = true, value_name = "REF")]
    pub references: Vec<String>,
    /// Store it under this name instead of its own.
    #[arg(long, value_name = "NAME[:VERSION]")]
    pub name: Option<String>,
    /// Say nothing but the ids of the images, and what fails.
    #[arg(short, long)]
    pub quiet: bool,
    /// How to tell: text, or an object a line for each event.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// When others are asked: for a name, when it is missing; for an address or a registry, always.
    #[arg(long, value_enum, value_name = "WHEN")]
    pub pull: Option<Pull>,
    /// Let a name mean an image that was made before the one it means now.
    #[arg(long)]
    pub allow_downgrade: bool,
    /// Checks that are left out.
    #[command(flatten)]
    pub insecure: InsecureArgs,
}

/// How a fetch tells of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Progress to stderr, ids to stdout.
    #[default]
    Text,
    /// Events to stdout, one JSON object a line.
    Json,
}

/// Runs it.
pub fn run(paths: &Paths, config: &Config, args: FetchArgs) -> Result<ExitCode, Failure> {
    let trust = args.insecure.trust()?;
    bring(paths, config, &args, &trust)?;
    Ok(ExitCode::SUCCESS)
}

/// How others are asked.
fn remote(config: &Config) -> Remote {
    let mut remote = Remote::new(paths::transports(), paths::config());
    remote.timeout = config.fetch_timeout.value;
    remote.retries = config.fetch_retries.value;
    remote.parallel = config.fetch_parallel.value;
    remote
}

/// The keys that a prefix's own host offers: from where, and their bytes.
pub(super) fn keys(
    paths: &Paths,
    config: &Config,
    prefix: &NameRef,
) -> Result<Vec<(String, Vec<u8>)>, Failure> {
    let store = Store::open(&paths.store()).map_err(explain)?;
    let mut fetch = Fetch {
        store: &store,
        remote: &remote(config),
        host: &Host::new(paths),
        trust: &Trust::default(),
        allow_downgrade: false,
        pull: None,
        wanted: None,
        name: None,
        interrupted: &AtomicBool::new(false),
        reporter: &mut Progress::new(true, Format::Text),
    };
    fetch.keys(prefix).map_err(explain)
}

/// Fetches all that was asked for, from whom this trust believes.
pub(super) fn bring(
    paths: &Paths,
    config: &Config,
    args: &FetchArgs,
    trust: &Trust,
) -> Result<Vec<ImageId>, Failure> {
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
    let remote = remote(config);
    let interrupted = Arc::new(AtomicBool::new(false));
    heed_signals(&interrupted)?;
    let mut progress = Progress::new(args.quiet, args.format);
    let mut ids = Vec::new();
    for reference in &references {
        let mut fetch = Fetch {
            store: &store,
            remote: &remote,
            host: &host,
            trust,
            allow_downgrade: args.allow_downgrade,
            pull: args.pull,
            wanted: None,
            name: name.clone(),
            interrupted: &interrupted,
            reporter: &mut progress,
        };
        let stored = match fetch.run(reference) {
            Err(error @ ImageError::Interrupted) => {
                progress.clear();
                return Err(explain(error).code(INTERRUPTED));
            }
            stored => stored.map_err(explain)?,
        };
        progress.clear();
        progress.stored(reference, &stored);
        ids.push(stored.id);
    }
    Ok(ids)
}

/// Sets `interrupted` at the first SIGINT or SIGTERM; the second one ends the program.
fn heed_signals(interrupted: &Arc<AtomicBool>) -> Result<(), Failure> {
    // Blocked before the first thread is started, which inherits that.
    let signals = SignalFd::of(&[SIGINT, SIGTERM])?;
    let interrupted = Arc::clone(interrupted);
    std::thread::spawn(move || {
        loop {
            let mut fds = [PollFd::new(&signals, PollFlags::IN)];
            // A failing poll is no reason to fail a fetch: it only cannot be ended in order.
            if poll(&mut fds, None).is_err_and(|e| e != rustix::io::Errno::INTR) {
                return;
            }
            if signals.next().ok().flatten().is_some() && interrupted.swap(true, Ordering::Relaxed)
            {
                std::process::exit(i32::from(INTERRUPTED));
            }
        }
    });
    Ok(())
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
