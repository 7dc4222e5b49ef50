//! What `run` and `prepare` take: an image on the command line, a file, or a pod file by name.

use crate::cli::error::Failure;
use crate::cli::insecure::InsecureArgs;
use crate::cli::world::WorldArgs;
use crate::config::paths::{POD_FILES, Paths};
use crate::image::Store;
use crate::image::believe::Trust;
use crate::image::signed_text::is_pinned;
use crate::pod::credentials::PodFileAt;
use crate::pod::directory::{Pod, Prepared};
use crate::pod::ids::Pool;
use crate::pod::limits::Enforcement;
use crate::pod::name::{self, NameError, NameLock, PodName};
use crate::pod::prepare::{self, PrepareError, Request};
use rocket_podfile::{Diagnostic, LoadError, Loaded, PodFile};
use std::path::PathBuf;

/// Options that say which pod.
#[derive(Debug, clap::Args)]
pub struct PodInput {
    /// Image to run as a pod of one app.
    #[arg(value_name = "REF", required_unless_present_any = ["file", "pod"], conflicts_with_all = ["file", "pod"])]
    pub image: Option<String>,
    /// Arguments for the app, after its own.
    #[arg(last = true, value_name = "ARG", conflicts_with_all = ["file", "pod"])]
    pub args: Vec<String>,
    /// Take the pod from this pod file.
    #[arg(short, long, value_name = "FILE", conflicts_with = "pod")]
    pub file: Option<PathBuf>,
    /// Take the pod from the pod file of this name in the search path.
    #[arg(long, value_name = "NAME")]
    pub pod: Option<String>,
    /// Name of the pod; that of the pod file where there is one, else none.
    #[arg(long, value_name = "NAME", conflicts_with = "pod")]
    pub name: Option<String>,
    /// Network of a pod made from an image: host, or none (loopback only).
    #[arg(long, value_name = "NET", default_value = "none", conflicts_with_all = ["file", "pod"])]
    pub network: NetworkArg,
    /// Program to run instead of the image's own.
    #[arg(long, value_name = "PATH", conflicts_with_all = ["file", "pod"])]
    pub exec: Option<String>,
    /// What the command line says of the apps' surroundings.
    #[command(flatten)]
    pub world: WorldArgs,
    /// User of the app: a name of the image, or a number.
    #[arg(long, value_name = "USER", conflicts_with_all = ["file", "pod"])]
    pub user: Option<String>,
    /// What happens when something cannot be enforced.
    #[command(flatten)]
    pub enforcement: EnforcementArgs,
    /// Checks that are left out.
    #[command(flatten)]
    pub insecure: InsecureArgs,
}

/// What happens when a limit or an isolator cannot be enforced.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct EnforcementArgs {
    /// Refuse to run what cannot be enforced in full, also where only an image asks for it.
    #[arg(long, conflicts_with = "best_effort")]
    strict: bool,
    /// Report instead of refuse what cannot be enforced here.
    #[arg(long)]
    best_effort: bool,
}

impl EnforcementArgs {
    /// The one of both, or what is usual.
    pub fn value(self) -> Enforcement {
        match (self.strict, self.best_effort) {
            (true, _) => Enforcement::Strict,
            (false, true) => Enforcement::BestEffort,
            (false, false) => Enforcement::Demanded,
        }
    }
}

/// Networks of this release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum NetworkArg {
    /// The host's.
    Host,
    /// Its own, with the loopback only.
    None,
}

/// A pod that is about to be prepared.
pub struct Wanted {
    pod: PodFile,
    digest: Option<String>,
    pod_file: Option<PodFileAt>,
    /// The files that it was read from, and what was read.
    texts: Vec<(PathBuf, String)>,
    extra_args: Vec<String>,
    environment: Vec<(String, String)>,
    enforcement: Enforcement,
    insecure: InsecureArgs,
    name: Option<String>,
}

impl PodInput {
    /// Reads what was asked for; touches no state.
    pub fn read(self) -> Result<Wanted, Failure> {
        let environment = self.world.environment()?;
        let world = self.world.clone();
        let mut wanted = self.pod()?;
        wanted.environment = environment;
        world.apply(&mut wanted.pod)?;
        Ok(wanted)
    }

    /// The pod without what the command line adds to it.
    fn pod(self) -> Result<Wanted, Failure> {
        let (enforcement, insecure) = (self.enforcement.value(), self.insecure.clone());
        let new = |pod, digest, extra_args, name| Wanted {
            pod,
            digest,
            pod_file: None,
            texts: Vec::new(),
            extra_args,
            environment: Vec::new(),
            enforcement,
            insecure: insecure.clone(),
            name,
        };
        if let Some(name) = &self.pod {
            PodName::new(name)?;
            let loaded = load(name).map_err(|e| load_failure(e, name))?;
            let at = PodFileAt::Name(name.clone());
            let texts = loaded.sources.into_iter().zip(loaded.texts).collect();
            let digest = Some(loaded.digest);
            let wanted = new(loaded.pod, digest, vec![], Some(name.clone()));
            return Ok(Wanted { pod_file: Some(at), texts, ..wanted });
        }
        if let Some(file) = &self.file {
            let loaded = rocket_podfile::load_file(file)
                .map_err(|e| load_failure(e, &file.display().to_string()))?;
            let digest = Some(loaded.digest);
            let name = self.name.or(loaded.name);
            let at = PodFileAt::File(std::path::absolute(file)?);
            let texts = loaded.sources.into_iter().zip(loaded.texts).collect();
            let wanted = new(loaded.pod, digest, vec![], name);
            return Ok(Wanted { pod_file: Some(at), texts, ..wanted });
        }
        let (pod, extra_args) = self.single()?;
        Ok(new(pod, None, extra_args, self.name))
    }

    /// A pod file of one app, written as one would by hand, so that there is one way to read it.
    fn single(&self) -> Result<(PodFile, Vec<String>), Failure> {
        let image = self.image.clone().unwrap_or_default();
        let quote = |text: &str| serde_json::to_string(text).map_err(|e| Failure::new(e).code(125));
        let app = app_name(&image);
        let network = match self.network {
            NetworkArg::Host => "host",
            NetworkArg::None => "none",
        };
        let mut text = format!(
            "version = 1\nnetwork = \"{network}\"\n[app.{app}]\nimage = {}\n",
            quote(&image)?
        );
        if let Some(user) = &self.user {
            text.push_str(&format!("user = {}\n", quote(user)?));
        }
        // With --exec the arguments belong to that program; without, they follow the image's own.
        let mut extra = self.args.clone();
        if let Some(exec) = &self.exec {
            let mut argv = vec![exec.clone()];
            argv.append(&mut extra);
            let list = argv.iter().map(|a| quote(a)).collect::<Result<Vec<_>, _>>()?;
            text.push_str(&format!("exec = [{}]\n", list.join(", ")));
        }
        let source = std::path::Path::new("command line");
        let pod = rocket_podfile::parse(source, &text)
            .map_err(|list| diagnostics(&list, "the command line does not make a pod", false))?;
        Ok((pod, extra))
    }
}

/// An app name from an image reference: the last path component without version and extension.
fn app_name(image: &str) -> String {
    let path = image.split('@').next().unwrap_or(image);
    let path = path.strip_prefix("oci:").unwrap_or(path);
    let last = path.rsplit('/').find(|part| !part.is_empty()).unwrap_or("app");
    let last = last.split([':', ',']).next().unwrap_or(last);
    let last = last.strip_suffix(".aci").unwrap_or(last);
    let mut name = String::new();
    for character in last.chars() {
        match character.to_ascii_lowercase() {
            c @ ('a'..='z' | '0'..='9') => name.push(c),
            _ if name.ends_with('-') || name.is_empty() => {}
            _ => name.push('-'),
        }
    }
    name.truncate(48);
    let name = name.trim_end_matches('-');
    if name.is_empty() { "app".to_owned() } else { name.to_owned() }
}

impl Wanted {
    /// The digest that a generated drop-in must carry.
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }

    /// Refuses what is not signed where the rules of this host ask for it, and a signed file whose images
    /// may be others tomorrow.
    fn check_signatures(&self, trust: &Trust) -> Result<(), Failure> {
        for (path, text) in &self.texts {
            trust.check_pod_file(path, text).map_err(|unsigned| {
                let hint = unsigned.why.hint(path);
                Failure::new(*unsigned).hint(hint)
            })?;
        }
        let Some(rule) = trust.policy().signed_pods().filter(|_| !self.texts.is_empty()) else {
            return Ok(());
        };
        let pinned = |image: &str| image.parse().map_or(true, |reference| is_pinned(&reference));
        match self.pod.apps.iter().find(|app| !pinned(&app.image)) {
            None => Ok(()),
            Some(app) => Err(Failure::message(format!(
                "the signed pod file names the image {} of app {} without a digest, so it may come to \
                 mean another one (rule: {}, pods = \"signed\")",
                app.image,
                app.name,
                rule.display()
            ))
            .hint("write NAME@DIGEST and sign it again; rocket image list shows the digests")),
        }
    }

    /// Prepares it; the name stays locked with the pod.
    /// `for_run`: the caller goes on to run it in this very process.
    pub fn prepare(
        self,
        paths: &Paths,
        pool: Pool,
        for_run: bool,
    ) -> Result<(Pod<Prepared>, Option<NameLock>), Failure> {
        let store = Store::open(&paths.store())?;
        let trust = self.insecure.trust()?;
        self.check_signatures(&trust)?;
        let name = match &self.name {
            Some(name) => Some(prepare::claim(paths, name).map_err(name_failure)?),
            None => None,
        };
        let request = Request {
            pod: &self.pod,
            name: name.as_ref(),
            digest: self.digest,
            pod_file: self.pod_file,
            extra_args: &self.extra_args,
            environment: &self.environment,
            enforcement: self.enforcement,
            pool,
            for_run,
            trust: &trust,
        };
        match prepare::prepare(paths, &store, &request) {
            Ok(pod) => Ok((pod, name)),
            Err(error) => {
                // A name that no pod has had leaves nothing behind either.
                if let Some(lock) = name
                    && name::holder(paths, lock.name())?.is_none()
                {
                    lock.forget()?;
                }
                Err(prepare_failure(error))
            }
        }
    }
}

fn name_failure(error: NameError) -> Failure {
    let taken = match &error {
        NameError::Taken { name, .. } => Some(name.clone()),
        _ => None,
    };
    let failure = Failure::new(error);
    match taken {
        Some(name) => failure
            .hint(format!("rocket status {name} shows that pod, rocket stop {name} stops it")),
        None => failure,
    }
}

/// Why a pod cannot be, with what to do about it.
pub fn prepare_failure(error: PrepareError) -> Failure {
    let hint = match &error {
        PrepareError::Reference { source, .. } => Some(source.hint().to_owned()),
        PrepareError::Image { image, source, .. }
            if matches!(**source, crate::image::ImageError::NotFound(_)) =>
        {
            Some(format!("rocket fetch {image}"))
        }
        PrepareError::Image { source, .. } => source.hint(),
        PrepareError::Volume { source, .. } if source.to_string().contains("symbolic link") => {
            Some("follow-symlinks = true in the volume allows that".to_owned())
        }
        PrepareError::Plan(crate::pod::plan::PlanError::StateWithoutName(_)) => {
            Some("give the pod a name with --name".to_owned())
        }
        _ => None,
    };
    let failure = Failure::new(error);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// Reads the pod file of this name in the search path, with its drop-ins.
pub fn load(name: &str) -> Result<Loaded, LoadError> {
    let dirs: Vec<PathBuf> = POD_FILES.iter().map(PathBuf::from).collect();
    rocket_podfile::load(&dirs, name)
}

/// What is wrong with a pod file, all of it.
pub fn load_failure(error: LoadError, name: &str) -> Failure {
    match error {
        LoadError::Invalid(list) => {
            diagnostics(&list, &format!("the pod file {name} is not valid"), true)
        }
        error => Failure::new(error),
    }
}

/// Every diagnostic as a line of its own, before the sentence that sums up.
fn diagnostics(list: &[Diagnostic], summary: &str, positions: bool) -> Failure {
    let mut text = summary.to_owned();
    for diagnostic in list {
        if positions {
            text.push_str(&format!("\n  {diagnostic}"));
        } else {
            text.push_str(&format!("\n  {}", diagnostic.message));
        }
        if let Some(hint) = &diagnostic.hint {
            text.push_str(&format!(" ({hint})"));
        }
    }
    Failure::message(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn app_names_come_from_the_last_part_of_a_reference() {
        let table = [
            ("example.com/nginx:1.27", "nginx"),
            ("example.com/my_app", "my-app"),
            ("./dir/hello.aci", "hello"),
            ("oci:/srv/images/db:latest", "db"),
            ("sha512-0011@x", "sha512-0011"),
            ("///", "app"),
            ("", "app"),
        ];
        for (image, name) in table {
            assert_eq!(app_name(image), name, "{image}");
        }
    }
}
