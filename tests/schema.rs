//! The JSON schemas of pod files, held against the reader by a validator that knows neither.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "schema/cases.rs"]
mod cases;
#[path = "schema/values.rs"]
mod values;

use rocket::lint::schema::{Kind, schema, text};
use rocket_podfile::{LoadError, load, parse};
use rocket_testkit::Command;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// Python's validator, Debian's package python3-jsonschema, which `tests/setup test` installs.
const VALIDATOR: &str = "
import json, sys
from jsonschema import Draft7Validator
job = json.load(sys.stdin)
Draft7Validator.check_schema(job['schema'])
validator = Draft7Validator(job['schema'])
json.dump([next((e.message[:300] for e in validator.iter_errors(i)), None) for i in job['all']], sys.stdout)
";

/// What the schema has against each of `all`.
fn complaints(schema: &Value, all: &[Value]) -> Vec<Option<String>> {
    let job = json!({ "schema": schema, "all": all });
    let done = Command::new("/usr/bin/python3")
        .args(["-c", VALIDATOR])
        .input(job.to_string())
        .seconds(300)
        .run()
        .ok();
    serde_json::from_str(&done.stdout).unwrap()
}

/// What a pod file says, for a validator. Without an answer it is no TOML.
fn instance(text: &str) -> Option<Value> {
    toml::from_str(text).ok()
}

/// What the schema cannot know, as the reader says it: other parts of the file, sums, the meaning of
/// names.
const BEYOND: &[&str] = &[
    "there is no ",
    "names itself",
    "wait for each other",
    "has no ports",
    "is the host's: network",
    "is mounted twice",
    "io-max has ",
    "is there twice",
    " already",
    "is too long a time",
    "is out of range",
    "soft limit above the hard one",
    "would stop the device",
    "has at most 512 bytes",
    // Numbers of more digits than any that is meant.
    "has no value that can be set",
    "is not an IP address",
    "\"5-3\" is not a set of CPUs",
    "is not an address to listen on: write a port",
];

/// The same of a drop-in, which is not all there is.
const BEYOND_DROP_IN: &[&str] = &["the key \"volume\" is missing", "limits nothing"];

fn is_beyond(kind: Kind, message: &str) -> bool {
    let more = if kind == Kind::DropIn { BEYOND_DROP_IN } else { &[] };
    BEYOND.iter().chain(more).any(|words| message.contains(words))
}

/// Where a pod's files of one test lie.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        fs::create_dir(home.0.path().join("web.toml.d")).unwrap();
        home
    }

    /// What the reader has against `text` in a place of this kind.
    fn refusals(&self, kind: Kind, text: &str) -> Vec<String> {
        let dir = self.0.path();
        let loaded = match kind {
            Kind::Pod => {
                let problems = parse(Path::new("web.toml"), text).err().unwrap_or_default();
                return problems.into_iter().map(|problem| problem.message).collect();
            }
            Kind::Template => {
                fs::write(dir.join("web@.toml"), text).unwrap();
                load(&[dir.to_owned()], "web@1")
            }
            Kind::DropIn => {
                fs::write(dir.join("web.toml"), cases::BASE).unwrap();
                fs::write(dir.join("web.toml.d/1.toml"), text).unwrap();
                load(&[dir.to_owned()], "web")
            }
        };
        match loaded {
            Ok(_) => Vec::new(),
            Err(LoadError::Invalid(all)) => all.into_iter().map(|d| d.message).collect(),
            Err(other) => panic!("{other}: {text}"),
        }
    }
}

/// Reader and schema agree on `texts`: what the one takes the other takes, and what it does not take
/// the other does not, as far as a schema can say. Gives how many were right.
fn agree(kind: Kind, texts: &[String]) -> usize {
    let home = Home::new();
    let (texts, instances): (Vec<&String>, Vec<Value>) =
        texts.iter().filter_map(|text| instance(text).map(|value| (text, value))).unzip();
    let mut right = 0;
    let mut quarrels = Vec::new();
    for (text, complaint) in texts.iter().zip(complaints(&schema(kind), &instances)) {
        let refusals = home.refusals(kind, text);
        right += usize::from(refusals.is_empty());
        match complaint {
            Some(complaint) if refusals.is_empty() => {
                quarrels.push(format!("the schema alone: {complaint}\n{text}"));
            }
            None if !refusals.iter().all(|message| is_beyond(kind, message)) => {
                quarrels.push(format!("the reader alone: {refusals:?}\n{text}"));
            }
            _ => {}
        }
    }
    let some = quarrels.iter().take(25).cloned().collect::<Vec<_>>().join("\n---\n");
    assert!(quarrels.is_empty(), "{} of {}:\n{some}", quarrels.len(), texts.len());
    right
}

#[test]
fn the_schemas_that_are_checked_in_are_those_of_the_grammar() {
    for kind in Kind::ALL {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(kind.file_name());
        let checked_in = fs::read_to_string(&file).unwrap();
        assert!(checked_in == text(kind), "{}: run cargo xtask schema", file.display());
    }
}

#[test]
fn lint_prints_the_schema() {
    for (option, kind) in [
        ("--schema", Kind::Pod),
        ("--schema=template", Kind::Template),
        ("--schema=drop-in", Kind::DropIn),
    ] {
        let done = Command::new(env!("CARGO_BIN_EXE_rocket")).args(["lint", option]).run().ok();
        assert_eq!(done.stdout, text(kind), "{option}");
    }
    Command::new(env!("CARGO_BIN_EXE_rocket")).args(["lint", "--schema", "x"]).run().ends_with(125);
}

/// Every file below `dir` with this ending.
fn files(dir: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            if !path.ends_with("target") && !path.ends_with(".git") {
                files(&path, ending, found);
            }
        } else if path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
}

#[test]
fn every_pod_file_of_the_repository_validates_if_it_is_right_and_only_then() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut pods, mut templates, mut drop_ins) = (Vec::new(), Vec::new(), Vec::new());
    let mut all = Vec::new();
    files(&root.join("generators"), ".toml", &mut all);
    files(&root.join("tests"), ".toml", &mut all);
    for path in all.iter().filter(|path| !path.ends_with("Cargo.toml")) {
        let name = path.to_string_lossy();
        // Masks are empty.
        let Some(text) = fs::read_to_string(path).ok().filter(|text| !text.is_empty()) else {
            continue;
        };
        match () {
            () if name.contains(".toml.d/") => drop_ins.push(text),
            () if name.ends_with("@.toml") => templates.push(text),
            () => pods.push(text),
        }
    }
    // Those in the documentation, and those that stand in tests as they are.
    let mut sources = Vec::new();
    for (dir, ending) in [("docs", ".md"), ("generators", ".rs"), ("tests", ".rs")] {
        files(&root.join(dir), ending, &mut sources);
    }
    sources.push(root.join("README.md"));
    for source in sources {
        let text = fs::read_to_string(&source).unwrap();
        let (from, to) = if source.extension().unwrap() == "rs" {
            ("r#\"", "\"#")
        } else {
            ("```toml\n", "```")
        };
        let blocks = text.split(from).skip(1).filter_map(|rest| rest.split(to).next());
        let whole = blocks.filter(|text| text.contains("network") && text.contains("[app."));
        pods.extend(whole.map(str::to_owned));
    }
    assert!(agree(Kind::Pod, &pods) >= 5, "{}", pods.len());
    assert!(agree(Kind::Template, &templates) >= 1);
    assert!(!drop_ins.is_empty());
    agree(Kind::DropIn, &drop_ins);
}

#[test]
fn reader_and_schema_agree_on_every_key_of_an_app() {
    assert!(agree(Kind::Pod, &cases::every_key(true)) > 300);
}

#[test]
fn reader_and_schema_agree_on_every_other_key() {
    assert!(agree(Kind::Pod, &cases::every_key(false)) > 300);
}

#[test]
fn reader_and_schema_agree_on_drop_ins_and_templates() {
    assert!(agree(Kind::DropIn, &cases::drop_ins()) > 50);
    assert!(agree(Kind::Template, &cases::templates()) > 50);
}

#[test]
fn reader_and_schema_agree_on_random_files() {
    let texts = cases::random(1, 600);
    let right = agree(Kind::Pod, &texts);
    assert!((60..540).contains(&right), "{right} of {} are right", texts.len());
}

/// A default that the schema shows is what the reader takes where there is nothing.
#[test]
fn the_defaults_in_the_schema_are_the_readers() {
    let read = |text: &str| parse(Path::new("x.toml"), text).map_err(|e| format!("{e:?}: {text}"));
    let mut seen = 0;
    for (without, with) in cases::defaults() {
        let Ok(with) = read(&with) else { continue };
        assert_eq!(read(&without).unwrap(), with);
        seen += 1;
    }
    assert!(seen > 20, "{seen}");
}
