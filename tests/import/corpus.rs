//! The corpus: `corpus/KIND/NAME/` with its input, and in `expected/` the pod files and `losses`.

use crate::rocket_in;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Directory of all cases.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import/corpus")
}

/// The cases of one kind.
pub fn cases(kind: &str) -> Vec<PathBuf> {
    let mut cases: Vec<_> =
        fs::read_dir(root().join(kind)).unwrap().map(|e| e.unwrap().path()).collect();
    cases.sort();
    cases
}

/// What to import of a case.
pub fn input(kind: &str) -> &'static str {
    match kind {
        "compose" => "compose.yaml",
        "docker-run" => "run.sh",
        "kube" => "objects.yaml",
        _ => ".",
    }
}

/// Imports, and gives names and texts of pod files, and losses as lines.
fn import(kind: &str, case: &Path) -> (BTreeMap<String, String>, Vec<Value>) {
    let done = rocket_in(case, &["import", kind, input(kind), "--format=json"]).ok();
    let json: Value = serde_json::from_str(&done.stdout).unwrap();
    let text = |value: &Value, key: &str| value[key].as_str().unwrap().to_owned();
    let files = json["files"].as_array().unwrap();
    let files = files.iter().map(|file| (text(file, "name"), text(file, "text"))).collect();
    (files, json["losses"].as_array().unwrap().clone())
}

fn loss_line(loss: &Value) -> String {
    let text = |key: &str| loss[key].as_str().unwrap();
    let todo = if text("todo").is_empty() { String::new() } else { format!(" ({})", text("todo")) };
    format!(
        "{}:{}:{}: {}: {}{todo}",
        text("file"),
        loss["line"],
        loss["column"],
        text("key"),
        text("why")
    )
}

/// Errors, and warnings other than those about this host.
fn lint(files: &BTreeMap<String, String>) -> Vec<String> {
    const OF_THE_HOST: [&str; 6] = [
        "image-missing",
        "image-unsigned",
        "path-missing",
        "pod-missing",
        "host-",
        "credential-missing",
    ];
    let dir = tempfile::tempdir().unwrap();
    let mut paths = Vec::new();
    for (name, text) in files {
        // A template is looked at as its first instance.
        let (name, text) = match name.strip_suffix("@.toml") {
            Some(stem) => (format!("{stem}.toml"), text.replace("%i", "1").replace("%%", "%")),
            None => (name.clone(), text.clone()),
        };
        fs::write(dir.path().join(&name), text).unwrap();
        paths.push(format!("./{name}"));
    }
    let mut args = vec!["lint", "--format=json"];
    args.extend(paths.iter().map(String::as_str));
    let done = rocket_in(dir.path(), &args);
    let found: Vec<Value> = serde_json::from_str(&done.stdout).unwrap_or_else(|_| panic!("{done}"));
    found
        .iter()
        .filter(|finding| {
            let rule = finding["rule"].as_str().unwrap();
            finding["severity"] == "error"
                || !OF_THE_HOST.iter().any(|known| rule.starts_with(known))
        })
        .map(Value::to_string)
        .collect()
}

fn check(kind: &str) {
    let update = std::env::var_os("ROCKET_UPDATE_GOLDEN").is_some();
    let mut wrong = Vec::new();
    for case in cases(kind) {
        let (files, losses) = import(kind, &case);
        let found = lint(&files);
        assert!(found.is_empty(), "{}: {found:#?}", case.display());
        // Each loss stands in a file too.
        let comments: String = files.values().map(|text| text.replace("\n#  ", "")).collect();
        for loss in &losses {
            let words =
                format!("NOT CARRIED: {} (line {})", loss["key"].as_str().unwrap(), loss["line"]);
            let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(comments.contains(&words), "{}: {words}", case.display());
        }
        let mut got: BTreeMap<String, String> = files;
        let lines: String = losses.iter().map(|loss| format!("{}\n", loss_line(loss))).collect();
        got.insert("losses".to_owned(), lines);
        // The checkout may lie anywhere.
        let here = case.canonicalize().unwrap().to_str().unwrap().to_owned();
        for text in got.values_mut() {
            *text = text.replace(&here, "/PROJECT");
        }
        let expected = case.join("expected");
        if update {
            let _ = fs::remove_dir_all(&expected);
            fs::create_dir(&expected).unwrap();
            for (name, text) in &got {
                fs::write(expected.join(name), text).unwrap();
            }
        }
        let there: BTreeMap<String, String> = fs::read_dir(&expected)
            .unwrap_or_else(|_| panic!("{}: ROCKET_UPDATE_GOLDEN=1 writes it", expected.display()))
            .map(|entry| {
                let entry = entry.unwrap();
                (
                    entry.file_name().into_string().unwrap(),
                    fs::read_to_string(entry.path()).unwrap(),
                )
            })
            .collect();
        for name in got.keys().chain(there.keys()) {
            let (got, there) = (got.get(name), there.get(name));
            if got != there {
                let show = |text: Option<&String>| text.map_or("nothing".to_owned(), Clone::clone);
                wrong.push(format!(
                    "{} {name}\ngot:\n{}\nexpected:\n{}",
                    case.display(),
                    show(got),
                    show(there)
                ));
            }
        }
    }
    wrong.dedup();
    assert!(wrong.is_empty(), "ROCKET_UPDATE_GOLDEN=1 accepts these:\n{}", wrong.join("\n"));
}

#[test]
fn compose_files_become_what_is_expected() {
    check("compose");
}

#[test]
fn quadlet_directories_become_what_is_expected() {
    check("quadlet");
}

#[test]
fn docker_run_commands_become_what_is_expected() {
    check("docker-run");
}

#[test]
fn kube_objects_become_what_is_expected() {
    check("kube");
}

#[test]
fn the_corpus_is_as_large_as_it_says() {
    let all: usize =
        ["compose", "quadlet", "docker-run", "kube"].iter().map(|kind| cases(kind).len()).sum();
    assert!(all >= 40, "{all}");
}
