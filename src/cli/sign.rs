//! `rocket image sign`: signatures of ACIs, and of statements about OCI images, made by `minisign` or
//! `gpg`. Secret keys are theirs: this program never reads one, nor the passphrase.

use crate::cli::error::Failure;
use crate::cli::fetch::{explain, parse_name};
use crate::cli::output;
use crate::files::{self, Durability};
use crate::image::ImageError;
use crate::image::name::AcIdentifier;
use crate::image::oci::{Descriptor, Layout};
use crate::image::reference::Reference;
use crate::image::time;
use crate::image::trust::signature::longer;
use crate::image::trust::{Beside, Kind, Signature, Statement};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Arguments of `rocket image sign`.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("with").required(true).args(["minisign", "gpg"])))]
pub struct SignArgs {
    /// An ACI; or `oci:DIR[:TAG]` or `oci-archive:FILE[:TAG]`, for which a statement is written beside it.
    #[arg(value_name = "REF")]
    reference: String,
    /// Sign with minisign and this secret key.
    #[arg(long, value_name = "FILE")]
    minisign: Option<PathBuf>,
    /// Sign with gpg and this user's key.
    #[arg(long, value_name = "USER")]
    gpg: Option<String>,
    /// Of an OCI image: the name it is signed as; when absent the one that the layout has.
    #[arg(long, value_name = "NAME[:VERSION]")]
    name: Option<String>,
    /// Of an OCI image: from when on the statement counts no more, as in 2027-01-31T00:00:00Z.
    #[arg(long, value_name = "TIME")]
    expires: Option<String>,
}

/// `rocket image sign`.
pub fn run(args: &SignArgs) -> Result<ExitCode, Failure> {
    let reference: Reference =
        args.reference.parse().map_err(|e| explain(ImageError::Reference(e)))?;
    let file = match &reference {
        Reference::AciFile(path) => {
            if args.name.is_some() || args.expires.is_some() {
                return Err(Failure::message(
                    "--name and --expires are for OCI images: an ACI's manifest names it",
                ));
            }
            if !path.is_file() {
                return Err(Failure::message(format!("{} is no file", path.display())));
            }
            path.clone()
        }
        Reference::OciDir { dir, tag } => {
            let layout = Layout::open(dir).map_err(explain)?;
            statement(args, dir, layout.start(tag.as_deref()).map_err(explain)?, tag.as_deref())?
        }
        Reference::OciArchive { file, tag } => {
            let layout = Layout::open_archive(file).map_err(explain)?;
            statement(args, file, layout.start(tag.as_deref()).map_err(explain)?, tag.as_deref())?
        }
        _ => {
            let text = format!("{} is nothing that can be signed here", args.reference);
            return Err(Failure::message(text)
                .hint("sign ./FILE.aci, oci:DIR[:TAG] or oci-archive:FILE[:TAG]"));
        }
    };
    let signature = match (&args.minisign, &args.gpg) {
        (Some(key), _) => minisign(&file, key)?,
        (None, Some(user)) => gpg(&file, user)?,
        (None, None) => return Err(Failure::message("nothing to sign with")),
    };
    output::note(&format!("signed {}", file.display()));
    output::data(&signature.display().to_string());
    Ok(ExitCode::SUCCESS)
}

/// Writes the statement about an image, unless the one that is there says the same: signatures of it by
/// others stay good then.
fn statement(
    args: &SignArgs,
    image: &Path,
    (start, listed): (Descriptor, Option<String>),
    tag: Option<&str>,
) -> Result<PathBuf, Failure> {
    let (name, labels) = name(args, listed.as_deref(), tag)?;
    let digest = start.digest.parse()?;
    if let Some(text) = args.expires.as_ref().filter(|text| time::parse(text).is_none()) {
        return Err(Failure::message(format!("--expires {text}: no time of RFC 3339"))
            .hint("it looks like 2027-01-31T00:00:00Z"));
    }
    let path = longer(image, Beside::STATEMENT);
    let new = Statement::new(name, labels, digest, time::now(), args.expires.clone());
    let same = |known: &Statement| {
        let mut known = known.clone();
        known.created.clone_from(&new.created);
        known == new
    };
    let known = std::fs::read(&path).ok().and_then(|bytes| Statement::parse(&bytes).ok());
    if known.as_ref().is_some_and(same) {
        return Ok(path);
    }
    let failed = |e: std::io::Error| {
        Failure::new(anyhow::Error::new(e).context(format!("cannot write {}", path.display())))
    };
    // What was signed before was another statement.
    for kind in Beside::KINDS {
        match std::fs::remove_file(longer(&path, Signature::extension(kind))) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(failed(e)),
            _ => {}
        }
    }
    files::write(&path, &new.bytes(), Durability::Durable).map_err(failed)?;
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).map_err(failed)?;
    Ok(path)
}

type Name = (AcIdentifier, BTreeMap<String, String>);

/// What the image is signed as.
fn name(args: &SignArgs, listed: Option<&str>, tag: Option<&str>) -> Result<Name, Failure> {
    let full = listed.filter(|name| name.contains('/'));
    let mut name = match args.name.as_deref().or(full) {
        Some(text) => parse_name(text)?,
        None => {
            return Err(Failure::message("the layout does not say what its image is called")
                .hint("say it: --name example.com/app:1.0"));
        }
    };
    let version = tag.or(listed.filter(|name| !name.contains('/')));
    if let Some(version) = version
        && args.name.is_none()
    {
        name.labels.entry("version".to_owned()).or_insert_with(|| version.to_owned());
    }
    Ok((name.name, name.labels))
}

fn minisign(file: &Path, key: &Path) -> Result<PathBuf, Failure> {
    let signature = longer(file, Signature::extension(Kind::Minisign));
    let mut command = Command::new("minisign");
    command.arg("-S").arg("-s").arg(key).arg("-m").arg(file).arg("-x").arg(&signature);
    call(command, "minisign").map(|()| signature)
}

fn gpg(file: &Path, user: &str) -> Result<PathBuf, Failure> {
    let signature = longer(file, Signature::extension(Kind::OpenPgp));
    let mut command = Command::new("gpg");
    command.args(["--armor", "--detach-sign", "--yes", "--local-user", user, "--output"]);
    command.arg(&signature).arg("--").arg(file);
    call(command, "gpg").map(|()| signature)
}

/// Runs a program that signs; it asks its questions itself.
fn call(mut command: Command, program: &str) -> Result<(), Failure> {
    let status = match command.stdout(std::io::stderr()).status() {
        Ok(status) => status,
        Err(e) => {
            let failure = anyhow::Error::new(e).context(format!("cannot run {program}"));
            let hint = format!("signatures are made by {program} itself: install it");
            return Err(Failure::new(failure).hint(hint));
        }
    };
    if status.success() {
        return Ok(());
    }
    Err(Failure::message(format!("{program} has not signed: {status}")))
}
