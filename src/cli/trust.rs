//! `rocket trust …`: whose signatures this host believes, and for which names.

use crate::cli::error::Failure;
use crate::cli::fetch::{self, parse_name};
use crate::cli::output::{self, Format};
use crate::cli::vouch;
use crate::config::layers::Config;
use crate::config::paths::{self, Paths};
use crate::files::{self, Durability};
use crate::image::digest::{Algo, Digest};
use crate::image::trust::key::MAX_KEY;
use crate::image::trust::ring::{self, Entry};
use crate::image::trust::{Key, Ring, Scope};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Arguments of `rocket trust`.
#[derive(Debug, clap::Args)]
pub struct TrustArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: TrustCommand,
}

/// The verbs.
#[derive(Debug, clap::Subcommand)]
pub enum TrustCommand {
    /// Trust a key for the images below a prefix, or for all.
    Add(AddArgs),
    /// Take an image on this host whoever vouches for it: fetches it if it is not here.
    Accept(vouch::AcceptArgs),
    /// Say whether an image in the store is trusted, by which rule and by which keys.
    Why(vouch::WhyArgs),
    /// List the keys that this host trusts, and for which names.
    List {
        /// Only those that count for this name.
        #[arg(value_name = "NAME")]
        name: Option<String>,
        /// How to print.
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Trust a key no longer; one that a vendor ships is masked.
    Rm {
        /// Fingerprints, whole.
        #[arg(required = true, value_name = "FINGERPRINT")]
        fingerprints: Vec<String>,
        /// Only for the names below this prefix, not wherever the key counts.
        #[arg(long, value_name = "PREFIX")]
        prefix: Option<String>,
    },
}

/// Arguments of `rocket trust add`.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("scope").required(true).args(["prefix", "root"])))]
pub struct AddArgs {
    /// A public key of minisign, OpenPGP (armored or not) or cosign; - is standard input. Without a file the
    /// prefix's own host is asked, and the key it offers is shown.
    #[arg(value_name = "FILE", required_unless_present = "prefix")]
    file: Option<PathBuf>,
    /// For the name PREFIX and those below it: example.com/etc is not for example.com/etcd.
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<String>,
    /// For every name.
    #[arg(long)]
    root: bool,
    /// Only if this is its fingerprint.
    #[arg(long, value_name = "FINGERPRINT")]
    fingerprint: Option<String>,
}

/// Runs it.
pub fn run(paths: &Paths, config: &Config, args: TrustArgs) -> Result<ExitCode, Failure> {
    let dirs = paths::trusted_keys();
    match args.command {
        TrustCommand::Accept(args) => return vouch::accept(paths, config, &args),
        TrustCommand::Why(args) => return vouch::why(paths, &args),
        TrustCommand::Add(args) => match &args.file {
            Some(file) => {
                let shown = file.display().to_string();
                let bytes = read(file).map_err(|e| {
                    Failure::new(anyhow::Error::new(e).context(format!("cannot read {shown}")))
                })?;
                add(&dirs, &args, &shown, &bytes)?;
            }
            None => discover(paths, config, &dirs, &args)?,
        },
        TrustCommand::List { name, format } => list(&load(&dirs), name.as_deref(), format),
        TrustCommand::Rm { fingerprints, prefix } => {
            let scope = prefix.as_deref().map(scope).transpose()?;
            for fingerprint in fingerprints {
                remove(&dirs, &fingerprint, scope.as_ref())?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The keys of this host; what is broken is told, and counts for nothing.
fn load(dirs: &[PathBuf]) -> Ring {
    let (ring, problems) = Ring::load(dirs);
    for problem in problems {
        output::note(&format!("rocket: {:#}", anyhow::Error::new(problem)));
    }
    ring
}

fn scope(prefix: &str) -> Result<Scope, Failure> {
    Scope::prefix(prefix).map_err(|e| {
        Failure::new(anyhow::Error::new(e).context("this is no prefix of image names"))
    })
}

/// Adds keys that a prefix's own host offers: those whose fingerprint was given, or that somebody confirms.
fn discover(
    paths: &Paths,
    config: &Config,
    dirs: &[PathBuf],
    args: &AddArgs,
) -> Result<(), Failure> {
    let prefix = args.prefix.as_deref().unwrap_or_default();
    scope(prefix)?;
    let name = parse_name(prefix.strip_suffix('/').unwrap_or(prefix))?;
    let mut added = false;
    let mut offered = Vec::new();
    for (url, bytes) in fetch::keys(paths, config, &name)? {
        let key = match Key::parse(&bytes) {
            Ok(key) => key,
            Err(error) => {
                output::note(&format!("{url}: {error}"));
                continue;
            }
        };
        let wanted = match &args.fingerprint {
            Some(fingerprint) => key.is_called(fingerprint),
            None => confirm(&key, &url, prefix)?,
        };
        if wanted {
            add(dirs, args, &url, &bytes)?;
            added = true;
        }
        offered.push(format!("{} key {} ({url})", key.kind, key.fingerprint));
    }
    if added {
        return Ok(());
    }
    let text = format!("no key was added for {prefix}; its host offers: {}", offered.join("; "));
    Err(Failure::message(text).hint(
        "compare the fingerprint with what the maker says elsewhere, then give it: --fingerprint",
    ))
}

/// Asks whoever sits at the terminal; nobody there is a no.
fn confirm(key: &Key, url: &str, prefix: &str) -> Result<bool, Failure> {
    use std::io::{BufRead, IsTerminal};
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Ok(false);
    }
    output::note(&format!("{url}\n  {} key {}", key.kind, key.fingerprint));
    output::note(&format!("trust it for {prefix}? Type yes to do so:"));
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim() == "yes")
}

fn add(dirs: &[PathBuf], args: &AddArgs, shown: &str, bytes: &[u8]) -> Result<(), Failure> {
    let scope = match &args.prefix {
        Some(prefix) => scope(prefix)?,
        None => Scope::Root,
    };
    let key = Key::parse(bytes)
        .map_err(|e| Failure::new(anyhow::Error::new(e).context(format!("cannot use {shown}"))))?;
    if let Some(wanted) = args.fingerprint.as_ref().filter(|wanted| !key.is_called(wanted)) {
        let text = format!(
            "{shown} holds another key: its fingerprint is {}, not {wanted}",
            key.fingerprint
        );
        return Err(Failure::message(text).hint("nothing was added"));
    }
    let known = load(dirs);
    let same = |e: &&Entry| e.key.fingerprint == key.fingerprint && e.scope == scope;
    if let Some(entry) = known.entries().iter().find(same) {
        output::note(&format!("trusted already: {}", entry.path.display()));
        output::data(&key.fingerprint);
        return Ok(());
    }
    let path = place(local(dirs)?, &scope).join(file_name(&key));
    write(&path, &key.data)?;
    output::note(&format!("trusted for {scope}: {} key {}", key.kind, key.fingerprint));
    output::data(&key.fingerprint);
    Ok(())
}

/// Where the administrator's keys for these names are.
fn place(dir: &Path, scope: &Scope) -> PathBuf {
    match scope {
        Scope::Root => dir.join("root.d"),
        Scope::Prefix(prefix) => dir.join("prefix.d").join(ring::directory_name(prefix.as_str())),
    }
}

/// A name of its own for each key: fingerprints of minisign have slashes, and its numbers are chosen freely.
fn file_name(key: &Key) -> String {
    let digest = Digest::of(Algo::Sha256, key.fingerprint.as_bytes());
    format!("{}-{}", key.kind, digest.hex().get(..16).unwrap_or_default())
}

fn local(dirs: &[PathBuf]) -> Result<&Path, Failure> {
    let last = dirs.last().map(PathBuf::as_path);
    last.ok_or_else(|| Failure::message("there is no directory for trusted keys"))
}

/// Whom this host trusts is no secret: whoever may read configuration may read it.
fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let failed = |e: std::io::Error| {
        Failure::new(anyhow::Error::new(e).context(format!("cannot write {}", path.display())))
    };
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).map_err(failed)?;
    }
    files::write(path, bytes, Durability::Durable).map_err(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644)).map_err(failed)
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().take(MAX_KEY + 1).read_to_end(&mut bytes)?;
    } else {
        std::fs::File::open(path)?.take(MAX_KEY + 1).read_to_end(&mut bytes)?;
    }
    if bytes.len() as u64 > MAX_KEY {
        return Err(std::io::Error::other("it is larger than any key"));
    }
    Ok(bytes)
}

fn list(ring: &Ring, name: Option<&str>, format: Format) {
    let entries = match name {
        Some(name) => ring.for_name(name),
        None => ring.entries().iter().collect(),
    };
    match format {
        Format::Json => {
            let objects = entries.iter().map(|entry| {
                let prefix = match &entry.scope {
                    Scope::Root => serde_json::Value::Null,
                    Scope::Prefix(prefix) => prefix.as_str().into(),
                };
                serde_json::json!({
                    "kind": entry.key.kind,
                    "fingerprint": entry.key.fingerprint,
                    "prefix": prefix,
                    "path": entry.path,
                })
            });
            output::json(&objects.collect::<Vec<_>>().into());
        }
        Format::Table => {
            let rows = entries.iter().map(|entry| {
                vec![
                    entry.scope.to_string(),
                    entry.key.kind.to_string(),
                    entry.key.fingerprint.clone(),
                    entry.path.display().to_string(),
                ]
            });
            output::table(&["FOR", "KIND", "FINGERPRINT", "FILE"], &rows.collect::<Vec<_>>());
        }
    }
}

fn remove(dirs: &[PathBuf], fingerprint: &str, only: Option<&Scope>) -> Result<(), Failure> {
    let ring = load(dirs);
    let local = local(dirs)?;
    let wanted =
        |e: &&Entry| e.key.is_called(fingerprint) && only.is_none_or(|scope| e.scope == *scope);
    let found: Vec<&Entry> = ring.entries().iter().filter(wanted).collect();
    if found.is_empty() {
        let text = format!("this host trusts no key {fingerprint}");
        return Err(Failure::message(text).hint("rocket trust list shows what there is"));
    }
    for entry in found {
        let name = entry.path.file_name().unwrap_or_default();
        let ours = place(local, &entry.scope).join(name);
        if entry.path == ours {
            std::fs::remove_file(&ours).map_err(|e| {
                let text = format!("cannot remove {}", ours.display());
                Failure::new(anyhow::Error::new(e).context(text))
            })?;
        }
        // What a vendor ships under that name would count again.
        let below = dirs.iter().rev().skip(1).map(|dir| place(dir, &entry.scope).join(name));
        if below.into_iter().any(|path| path.exists()) {
            write(&ours, b"")?;
            output::note(&format!("masked by {}", ours.display()));
        }
        output::data(&entry.path.display().to_string());
    }
    Ok(())
}
