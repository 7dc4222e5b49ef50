//! `rocket image pack`: a directory, an archive or a pod's app becomes an image.

use crate::cli::error::Failure;
use crate::cli::export;
use crate::cli::fetch::{explain, parse_name};
use crate::cli::output;
use crate::config::paths::Paths;
use crate::image::fetch::host_arch;
use crate::image::local::Host;
use crate::image::manifest::{
    Annotation, App, Dependency, EnvironmentVariable, ImageManifest, Label, MountPoint, Port,
    STOP_SIGNAL,
};
use crate::image::name::{AcIdentifier, AcName};
use crate::image::pack::{self, Compression, Output, Request, Source};
use crate::image::reference::{Reference, ReferenceError};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// How an archive is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum CompressionArg {
    /// Not at all.
    None,
    /// gzip.
    Gzip,
    /// Zstandard (of ACIs not in the appc specification).
    Zstd,
}

/// What was asked for, or what is usual: others read OCI layers compressed with gzip best.
pub fn compression(arg: Option<CompressionArg>, output: &Output) -> Compression {
    match (arg, output) {
        (Some(CompressionArg::None), _) | (None, Output::Aci(_)) => Compression::None,
        (Some(CompressionArg::Gzip), _) | (None, _) => Compression::Gzip,
        (Some(CompressionArg::Zstd), _) => Compression::Zstd,
    }
}

/// The latest time that a packed file may have (reproducible-builds.org, `SOURCE_DATE_EPOCH`).
pub fn clamp() -> Result<Option<i64>, Failure> {
    match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text.parse::<u32>().map(|seconds| Some(i64::from(seconds))).map_err(|_| {
            Failure::message(format!("SOURCE_DATE_EPOCH is {text:?}, not a number of seconds"))
        }),
        Err(_) => Ok(None),
    }
}

/// Arguments of `rocket image pack`.
#[derive(Debug, clap::Args)]
pub struct PackArgs {
    /// What becomes the image's root: a directory; a tar archive, compressed or not (`-` is standard
    /// input); or `pod:POD[/APP]`, an app as its pod has left it.
    #[arg(value_name = "SOURCE")]
    pub source: PathBuf,
    /// The image's name, perhaps with version and labels: `example.com/app:1.0,key=value`.
    #[arg(long, value_name = "NAME[:VERSION]")]
    pub name: String,
    /// The program to run; a name without `/` is searched in the image's PATH. An image without is one
    /// to build on, or its pod file says what to run.
    #[arg(long, alias = "entrypoint", value_name = "PATH")]
    pub exec: Option<String>,
    /// The ACI to make, or `oci:DIR[:TAG]` or `oci-archive:FILE[:TAG]` for an OCI image; when absent
    /// `NAME-VERSION.aci` of the name's last part.
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// How to compress; when absent an ACI is not, an OCI image with gzip.
    #[arg(long, value_enum)]
    pub compression: Option<CompressionArg>,
    /// User the program runs as: name, number, or (ACI) a path whose owner is meant.
    #[arg(long)]
    pub user: Option<String>,
    /// Group the program runs as; when absent 0 of an ACI, the user's own of an OCI image.
    #[arg(long)]
    pub group: Option<String>,
    /// Directory the program starts in.
    #[arg(long, visible_alias = "workdir", value_name = "DIR")]
    pub working_dir: Option<String>,
    /// An environment variable; may be repeated.
    #[arg(long = "env", value_name = "NAME=VALUE")]
    pub environment: Vec<String>,
    /// A place for a volume; may be repeated.
    #[arg(long = "mount", value_name = "NAME=PATH")]
    pub mounts: Vec<String>,
    /// A port that the app listens on; may be repeated.
    #[arg(long = "port", value_name = "NAME=PORT[-LAST][/PROTOCOL]")]
    pub ports: Vec<String>,
    /// A label of the app (`userLabels`, OCI `Labels`); what an ACI is told apart by belongs to its name.
    #[arg(long = "label", value_name = "NAME=VALUE")]
    pub labels: Vec<String>,
    /// An annotation of the image; may be repeated.
    #[arg(long = "annotation", value_name = "NAME=VALUE")]
    pub annotations: Vec<String>,
    /// An image that lies below this one, the first topmost; may be repeated. ACIs only.
    #[arg(long = "dependency", value_name = "NAME[:VERSION][@DIGEST]")]
    pub dependencies: Vec<String>,
    /// The signal that asks the app to end.
    #[arg(long, value_name = "SIGNAL")]
    pub stop_signal: Option<String>,
    /// Arguments of the program.
    #[arg(last = true, value_name = "ARG", requires = "exec")]
    pub args: Vec<String>,
}

/// `rocket image pack`.
pub fn run(paths: &Paths, args: &PackArgs) -> Result<ExitCode, Failure> {
    let name = parse_name(&args.name)?;
    let version = name.labels.get("version").cloned();
    let mut manifest = ImageManifest::new(name.name);
    set_labels(&mut manifest, name.labels)?;
    let pod = args.source.to_str().and_then(|text| text.strip_prefix("pod:"));
    let output = match &args.output {
        Some(output) => destination(output, version.as_deref())?,
        None => {
            let last = manifest.name.as_str().rsplit('/').next().unwrap_or_default();
            let version = version.map_or(String::new(), |version| format!("-{version}"));
            Output::Aci(std::path::absolute(format!("{last}{version}.aci").replace('/', "-"))?)
        }
    };
    let root = pod.map(|pod| export::root(paths, pod)).transpose()?;
    if let Some(root) = &root {
        manifest.app = root.app.clone();
        manifest.annotations = root.annotations.clone();
    }
    // What the pod's image said of the group was meant.
    let primary_group = args.group.is_none() && (root.is_none() || args.user.is_some());
    describe(&mut manifest, args)?;
    let source = match &root {
        Some(root) => Source::Dir(&root.rootfs),
        None if args.source.is_dir() => Source::Dir(&args.source),
        None => Source::Tar(&args.source),
    };
    let compression = compression(args.compression, &output);
    let request = Request {
        source,
        manifest: &manifest,
        output: &output,
        compression,
        clamp: clamp()?,
        primary_group,
    };
    let paths = root.as_ref().map_or(paths, |root| &root.paths);
    pack_and_record(paths, &request, args.output.as_deref())
}

/// Packs, and lets this host know its own image again.
pub fn pack_and_record(
    paths: &Paths,
    request: &Request<'_>,
    named: Option<&Path>,
) -> Result<ExitCode, Failure> {
    let packed = pack::pack(request).map_err(explain)?;
    for note in packed.notes {
        output::note(&note);
    }
    if rustix::process::geteuid().is_root() {
        Host::new(paths).record(&packed.id).map_err(explain)?;
    } else {
        output::note("packed by an ordinary user: no local evidence was recorded");
    }
    let place = match (named, request.output) {
        (Some(named), _) => named.display().to_string(),
        (None, Output::Aci(path) | Output::OciDir(path, _) | Output::OciArchive(path, _)) => {
            path.display().to_string()
        }
    };
    output::note(&format!("packed {place}"));
    output::data(&packed.id.to_string());
    Ok(ExitCode::SUCCESS)
}

/// Where an image goes, in the words that fetch reads; `tag` when those name none. Paths are absolute,
/// because packing a pod moves elsewhere.
pub fn destination(text: &Path, tag: Option<&str>) -> Result<Output, Failure> {
    let tag = |given: Option<String>| given.unwrap_or_else(|| tag.unwrap_or("latest").to_owned());
    let is_oci = |text: &&str| text.starts_with("oci:") || text.starts_with("oci-archive:");
    let Some(reference) = text.to_str().filter(is_oci) else {
        return Ok(Output::Aci(std::path::absolute(text)?));
    };
    Ok(match reference.parse().map_err(|e: ReferenceError| explain(e.into()))? {
        Reference::OciDir { dir, tag: given } => {
            Output::OciDir(std::path::absolute(dir)?, tag(given))
        }
        Reference::OciArchive { file, tag: given } => {
            Output::OciArchive(std::path::absolute(file)?, tag(given))
        }
        _ => Output::Aci(std::path::absolute(text)?),
    })
}

/// Labels, and this host's platform where they name none.
pub fn set_labels(
    manifest: &mut ImageManifest,
    mut labels: std::collections::BTreeMap<String, String>,
) -> Result<(), Failure> {
    for (key, value) in [("os", "linux"), ("arch", host_arch())] {
        labels.entry(key.to_owned()).or_insert_with(|| value.to_owned());
    }
    for (key, value) in labels {
        manifest.labels.push(Label { name: AcIdentifier::new(key)?, value });
    }
    Ok(())
}

fn pair<'a>(text: &'a str, what: &str) -> Result<(&'a str, &'a str), Failure> {
    text.split_once('=')
        .ok_or_else(|| Failure::message(format!("{text}: {what} is written NAME=VALUE")))
}

/// Adds what the command line says.
fn describe(manifest: &mut ImageManifest, args: &PackArgs) -> Result<(), Failure> {
    let mut annotate = |name: &str, value: &str| -> Result<(), Failure> {
        let name = AcIdentifier::new(name)?;
        manifest.annotations.retain(|known| known.name != name);
        manifest.annotations.push(Annotation { name, value: value.to_owned() });
        Ok(())
    };
    for text in &args.annotations {
        let (name, value) = pair(text, "an annotation")?;
        annotate(name, value)?;
    }
    if let Some(signal) = &args.stop_signal {
        crate::cli::kill::signal(signal).map_err(Failure::message)?;
        let bare = signal.bytes().all(|b| b.is_ascii_digit()) || signal.starts_with("SIG");
        annotate(STOP_SIGNAL, &if bare { signal.clone() } else { format!("SIG{signal}") })?;
    }
    for text in &args.dependencies {
        manifest.dependencies.push(dependency(text)?);
    }
    let said = args.user.is_some()
        || args.group.is_some()
        || args.working_dir.is_some()
        || ![&args.environment, &args.mounts, &args.ports, &args.labels]
            .iter()
            .all(|l| l.is_empty());
    if manifest.app.is_none() && args.exec.is_none() && !said {
        return Ok(());
    }
    let new = || App { user: "0".to_owned(), group: "0".to_owned(), ..App::default() };
    let app = manifest.app.get_or_insert_with(new);
    if let Some(exec) = &args.exec {
        app.exec = vec![exec.clone()];
        app.exec.extend(args.args.iter().cloned());
    }
    if let Some(user) = &args.user {
        app.user.clone_from(user);
        "0".clone_into(&mut app.group);
    }
    if let Some(group) = &args.group {
        app.group.clone_from(group);
    }
    if args.working_dir.is_some() {
        app.working_directory.clone_from(&args.working_dir);
    }
    for text in &args.environment {
        let (name, value) = pair(text, "an environment variable")?;
        app.environment.retain(|known| known.name != name);
        let (name, value) = (name.to_owned(), value.to_owned());
        app.environment.push(EnvironmentVariable { name, value });
    }
    for text in &args.mounts {
        let (name, path) = pair(text, "a place for a volume")?;
        let name = AcName::new(name)?;
        app.mount_points.retain(|known| known.name != name);
        app.mount_points.push(MountPoint { name, path: path.to_owned(), read_only: false });
    }
    for text in &args.ports {
        let port = port(text)?;
        app.ports.retain(|known| known.name != port.name);
        app.ports.push(port);
    }
    for text in &args.labels {
        let (name, value) = pair(text, "a label")?;
        app.user_labels.insert(name.to_owned(), value.to_owned());
    }
    Ok(())
}

/// `http=8080`, `dns=53/udp`, `rtp=5000-5010/udp`.
fn port(text: &str) -> Result<Port, Failure> {
    let bad = || {
        Failure::message(format!("{text}: a port is written NAME=PORT[-LAST][/PROTOCOL]"))
            .hint("http=8080, or rtp=5000-5010/udp")
    };
    let (name, rest) = text.split_once('=').ok_or_else(bad)?;
    let (range, protocol) = rest.split_once('/').unwrap_or((rest, "tcp"));
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let number = |text: &str| text.parse::<u16>().ok().filter(|n| *n > 0).map(u32::from);
    let (first, last) = number(first).zip(number(last)).ok_or_else(bad)?;
    if first > last || !["tcp", "udp", "sctp"].contains(&protocol) {
        return Err(bad());
    }
    let (name, protocol) = (AcName::new(name)?, protocol.to_owned());
    Ok(Port { name, protocol, port: first, count: last - first + 1, socket_activated: false })
}

fn dependency(text: &str) -> Result<Dependency, Failure> {
    let (text, id) = match text.split_once('@') {
        Some((text, id)) => (text, Some(id.to_owned())),
        None => (text, None),
    };
    let name = parse_name(text)?;
    let labels = name.labels.into_iter().map(|(key, value)| -> Result<Label, Failure> {
        Ok(Label { name: AcIdentifier::new(key)?, value })
    });
    let labels = labels.collect::<Result<_, _>>()?;
    Ok(Dependency { image_name: name.name, image_id: id, labels, size: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports() {
        for (text, means) in [
            ("http=8080", Some((8080, 1, "tcp"))),
            ("rtp=5000-5010/udp", Some((5000, 11, "udp"))),
            ("all=1-65535", Some((1, 65535, "tcp"))),
            ("8080", None),
            ("http=0", None),
            ("http=65536", None),
            ("http=9-8", None),
            ("http=80/http", None),
            ("UPPER=80", None),
        ] {
            let found = port(text).ok();
            let found = found.as_ref().map(|p| (p.port, p.count, p.protocol.as_str()));
            assert_eq!(found, means, "{text}");
        }
    }

    #[test]
    fn destinations() {
        let here = |name: &str| std::path::absolute(name).unwrap();
        for (text, means) in [
            ("a.aci", Output::Aci(here("a.aci"))),
            ("./oci:x", Output::Aci(here("./oci:x"))),
            ("oci:d", Output::OciDir(here("d"), "1.0".to_owned())),
            ("oci:/d:v2", Output::OciDir("/d".into(), "v2".to_owned())),
            ("oci-archive:f.tar:v2", Output::OciArchive(here("f.tar"), "v2".to_owned())),
        ] {
            assert_eq!(destination(Path::new(text), Some("1.0")).unwrap(), means, "{text}");
        }
        assert!(destination(Path::new("oci:"), None).is_err());
    }
}
