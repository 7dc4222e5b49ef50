//! `rocket lint`: what is wrong with pod files, and what is worth knowing before they run.

mod signed;

use crate::cli::error::Failure;
use crate::cli::insecure;
use crate::cli::output::{self, Format};
use crate::config::paths::{POD_FILES, Paths};
use crate::image::ImageError;
use crate::image::believe::Trust;
use crate::image::local::Host;
use crate::image::reference::Reference;
use crate::image::store::Store;
use crate::image::trust::Ground;
use crate::lint::schema::Kind;
use crate::lint::{self, Finding, Image, Pod, Severity};
use rocket_podfile::{Diagnostic, LoadError};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Arguments of `rocket lint`.
#[derive(Debug, clap::Args)]
pub struct LintArgs {
    /// Names of pods, or paths of pod files; all pods of the search path when there are none.
    #[arg(value_name = "NAME|FILE")]
    pods: Vec<String>,
    /// Warnings count as errors do.
    #[arg(long)]
    strict: bool,
    /// How to print.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Print the JSON schema of pod files, for editors, and check nothing.
    #[arg(
        long,
        value_name = "KIND",
        value_enum,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "pod",
        conflicts_with_all = ["pods", "strict", "format"]
    )]
    schema: Option<Kind>,
}

/// The instance that a template is looked at with.
const SAMPLE: &str = "1";

/// `rocket lint`: 0 when no error was found, 1 when one was, 125 when a file could not be looked at.
pub fn run(paths: &Paths, args: &LintArgs) -> Result<ExitCode, Failure> {
    if let Some(kind) = args.schema {
        output::data(lint::schema::text(kind).trim_end());
        return Ok(ExitCode::SUCCESS);
    }
    let dirs: Vec<PathBuf> = POD_FILES.iter().map(PathBuf::from).collect();
    let (catalog, unreadable) = rocket_podfile::Catalog::scan_readable(&dirs);
    let known: Vec<String> = catalog.names().into_iter().map(str::to_owned).collect();
    let words = if args.pods.is_empty() { &known } else { &args.pods };
    let mut pods: Vec<Pod> = Vec::new();
    let mut found = Vec::new();
    let mut failures = Vec::new();
    if args.pods.is_empty() {
        found.extend(
            catalog.misnamed().iter().map(|file| error(rocket_podfile::Catalog::misnaming(file))),
        );
        failures.extend(unreadable.into_iter().map(Failure::new));
    } else {
        for error in unreadable {
            output::note(&format!("rocket: note: {error}: pods there are not known"));
        }
    }
    for word in words {
        match load(&dirs, word) {
            Ok((loaded, places)) => {
                // The same file by another word has nothing new to say, least of all about clashes.
                if pods
                    .iter()
                    .any(|pod| pod.loaded.name == loaded.name && same(&pod.loaded, &loaded))
                {
                    continue;
                }
                let name = loaded.name.clone().unwrap_or_else(|| word.clone());
                pods.push(Pod { name, loaded, places });
            }
            Err(LoadError::Invalid(diagnostics)) => {
                found.extend(diagnostics.into_iter().map(error))
            }
            Err(LoadError::Unreadable { path, error: why }) => found.push(error(Diagnostic {
                message: format!("cannot be read: {why}"),
                file: path,
                line: 1,
                column: 1,
                hint: None,
            })),
            // All pods of the host: a mask says that one is not wanted.
            Err(LoadError::Masked(_)) if args.pods.is_empty() => {}
            Err(other) => failures.push(Failure::new(other)),
        }
    }
    let trust = insecure::trust()?;
    let images = images(paths, &trust, &pods, words);
    let host = lint::host::look(&lint::paths(&pods));
    found.extend(lint::check(&pods, &known, &images, &host));
    found.extend(pods.iter().flat_map(|pod| signed::check(&trust, pod)));
    print(&found, args.format);
    if images.values().any(|image| *image == Image::Unknown) && args.format == Format::Table {
        output::note("rocket: note: the store cannot be read by this user: images are not checked");
    }
    // What was found is told first: one word that means nothing hides nothing of the others.
    if let Some(last) = failures.pop() {
        failures.iter().for_each(|failure| output::note(&format!("rocket: {:#}", failure.error)));
        return Err(last);
    }
    let errors = found.iter().any(|f| args.strict || f.severity == Severity::Error);
    Ok(ExitCode::from(u8::from(errors)))
}

fn load(
    dirs: &[PathBuf],
    word: &str,
) -> Result<(rocket_podfile::Loaded, rocket_podfile::Places), LoadError> {
    if let Some(template) = word.strip_suffix('@') {
        return rocket_podfile::load_with_places(dirs, &format!("{template}@{SAMPLE}"));
    }
    // A template's file: what an instance of it would be.
    let path = Path::new(word);
    let stem =
        path.file_name().and_then(|name| name.to_str()).and_then(|n| n.strip_suffix(".toml"));
    if let Some(template) = stem.and_then(|stem| stem.strip_suffix('@')) {
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
        let dir = dir.unwrap_or_else(|| Path::new(".")).to_owned();
        return rocket_podfile::load_with_places(&[dir], &format!("{template}@{SAMPLE}"));
    }
    if word.contains('/') || word.ends_with(".toml") || word.ends_with(".json") {
        return rocket_podfile::load_file_with_places(Path::new(word));
    }
    rocket_podfile::load_with_places(dirs, word)
}

/// Whether both were read from the same files, whatever these were called.
fn same(one: &rocket_podfile::Loaded, other: &rocket_podfile::Loaded) -> bool {
    let real = |loaded: &rocket_podfile::Loaded| -> Vec<PathBuf> {
        let paths = loaded.sources.iter();
        paths.map(|path| path.canonicalize().unwrap_or_else(|_| path.clone())).collect()
    };
    real(one) == real(other)
}

fn error(diagnostic: Diagnostic) -> Finding {
    Finding { severity: Severity::Error, rule: "pod-file", diagnostic }
}

/// What the store knows of the pods' images; it is only read.
fn images(paths: &Paths, trust: &Trust, pods: &[Pod], words: &[String]) -> BTreeMap<String, Image> {
    let (dir, host) = (paths.store(), Host::new(paths));
    let store = match std::fs::read_dir(&dir) {
        Ok(_) => Store::open(&dir).ok(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(_) => {
            let all = pods.iter().flat_map(|pod| &pod.loaded.pod.apps);
            return all.map(|app| (app.image.clone(), Image::Unknown)).collect();
        }
    };
    // Nobody knows which images a template's instances name.
    let sampled = |pod: &&Pod| {
        let template = pod.name.strip_suffix(SAMPLE).filter(|name| name.ends_with('@'));
        !template.is_some_and(|template| words.iter().any(|word| word == template))
    };
    let apps = pods.iter().filter(sampled).flat_map(|pod| &pod.loaded.pod.apps);
    apps.map(|app| (app.image.clone(), image(store.as_ref(), (trust, &host), &app.image))).collect()
}

fn image(store: Option<&Store>, (trust, host): (&Trust, &Host), text: &str) -> Image {
    let reference: Reference = match text.parse() {
        Ok(reference) => reference,
        Err(error) => return Image::Bad(format!("{text:?} is no reference to an image: {error}")),
    };
    let Some(store) = store else { return Image::Missing };
    match store.resolve(&reference).and_then(|id| store.image(&id)) {
        Ok(stored) => {
            match trust.judge_all(store, &reference, &stored, host).map(|it| it.1.verdict.outcome) {
                Ok(Ok(Ground::Unsigned)) => Image::Unsigned,
                Ok(Ok(_)) => Image::Vouched,
                Ok(Err(refusal)) => Image::Refused(refusal.to_string()),
                Err(error) => Image::Bad(error.to_string()),
            }
        }
        Err(ImageError::NotFound(_)) => Image::Missing,
        Err(error) => Image::Bad(error.to_string()),
    }
}

fn print(found: &[Finding], format: Format) {
    match format {
        Format::Json => {
            let list = found.iter().map(|finding| {
                let d = &finding.diagnostic;
                json!({
                    "severity": finding.severity.word(),
                    "rule": finding.rule,
                    "file": d.file.display().to_string(),
                    "line": d.line,
                    "column": d.column,
                    "message": d.message,
                    "hint": d.hint,
                })
            });
            output::json(&serde_json::Value::Array(list.collect()));
        }
        Format::Table => {
            for Finding { severity, diagnostic, .. } in found {
                let d = diagnostic;
                let hint = d.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
                output::data(&format!(
                    "{}:{}:{}: {}: {}{hint}",
                    d.shown_file(),
                    d.line,
                    d.column,
                    severity.word(),
                    d.message
                ));
            }
        }
    }
}
