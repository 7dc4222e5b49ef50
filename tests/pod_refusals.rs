//! Bad input about pods: a clear error with its cause, status 125, and the state as it was.
//!
//! Needs neither root's powers nor systemd; each case runs against a state directory of its own.

#![allow(clippy::unwrap_used)]

use rocket_testkit::{Command, Done};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

struct Host {
    dir: TempDir,
}

impl Host {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("state")).unwrap();
        let host = Self { dir };
        // The first look at a store makes it, with its version.
        host.rocket(&["image", "list"]).ok();
        host
    }

    fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn rocket(&self, args: &[&str]) -> Done {
        Command::new(env!("CARGO_BIN_EXE_rocket"))
            .args(args)
            .env("ROCKET_STATE_DIR", self.state())
            .seconds(20)
            .run()
    }

    /// Runs it, and fails unless it is refused with all of `words` and no pod, name or image came
    /// of it.
    #[track_caller]
    fn refuses(&self, args: &[&str], words: &[&str]) {
        let before = things(&self.state());
        self.rocket(args).ends_with(125).says(words);
        assert_eq!(things(&self.state()), before, "{args:?} left something behind");
    }
}

/// Everything below `dir` that is not an empty directory or a lock.
fn things(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                todo.push(path);
            } else if !path.ends_with("lock") && path.extension().is_none_or(|e| e != "lock") {
                found.insert(path.clone(), std::fs::read(&path).unwrap());
            }
        }
    }
    found
}

const GOOD: &str = "version = 1\nnetwork = \"none\"\n[app.a]\nimage = \"example.com/a\"\n";

#[test]
fn a_misspelt_key_is_named_with_line_column_and_a_suggestion() {
    let host = Host::new();
    let file = host.file("p.toml", &format!("{GOOD}stop-timout = \"1s\"\n"));
    host.refuses(&["run", "-f", &file], &["p.toml:5:1", "stop-timout", "stop-timeout"]);
}

#[test]
fn a_wrong_type_is_named_with_line_and_column() {
    let host = Host::new();
    let file =
        host.file("p.toml", "version = 1\nnetwork = 7\n[app.a]\nimage = \"example.com/a\"\n");
    host.refuses(&["prepare", "-f", &file], &["p.toml:2:11", "network"]);
}

#[test]
fn broken_toml_is_named_with_line_and_column() {
    let host = Host::new();
    let file = host.file("p.toml", "version = 1\nnetwork = \"none\n");
    host.refuses(&["run", "-f", &file], &["p.toml:2:"]);
}

#[test]
fn a_key_of_a_later_release_is_refused_as_not_supported() {
    let host = Host::new();
    for (key, line) in [
        ("ready", "ready = \"notify\"\n"),
        ("health", "[app.a.health]\ntcp = 80\ninterval = \"1s\"\n"),
    ] {
        let file = host.file("p.toml", &format!("{GOOD}{line}"));
        host.refuses(&["run", "-f", &file], &["p.toml:5:", key, "not supported"]);
    }
}

#[test]
fn a_volume_that_is_not_declared_is_named() {
    let host = Host::new();
    let file = host.file("p.toml", &format!("{GOOD}mounts = {{ \"/srv\" = \"data\" }}\n"));
    host.refuses(&["run", "-f", &file], &["p.toml:5:", "data"]);
}

#[test]
fn a_pod_without_apps_is_refused() {
    let host = Host::new();
    let file = host.file("p.toml", "version = 1\nnetwork = \"none\"\n");
    host.refuses(&["run", "-f", &file], &["p.toml:", "app"]);
}

#[test]
fn a_pod_file_that_is_not_there_is_named() {
    let host = Host::new();
    host.refuses(&["run", "-f", "/no/such/pod.toml"], &["/no/such/pod.toml"]);
    host.refuses(&["run", "--pod", "no-such-pod"], &["no-such-pod.toml", "/etc/rocket/pods"]);
}

#[test]
fn a_pod_name_has_one_form() {
    let host = Host::new();
    for name in ["Web", "a_b", "-a", "a--b", "../x", &"a".repeat(64)] {
        let option = format!("--name={name}");
        host.refuses(&["run", &option, "example.com/a"], &["is not a pod name"]);
        host.refuses(&["start", "--", name], &["is not a pod name"]);
    }
}

#[test]
fn an_image_that_is_not_in_the_store_is_not_pulled_but_named_with_the_command_that_would() {
    let host = Host::new();
    host.refuses(
        &["run", "example.com/a:1"],
        &["example.com/a:1", "hint: rocket fetch example.com/a:1"],
    );
}

#[test]
fn a_registry_address_is_not_taken_for_an_image_name() {
    let host = Host::new();
    host.refuses(&["run", "localhost:5000/x"], &["localhost:5000/x", "docker://"]);
}

#[test]
fn schemes_of_a_later_release_are_refused_by_name() {
    let host = Host::new();
    for reference in ["docker-daemon:alpine", "containers-storage:alpine"] {
        host.refuses(&["run", reference], &[reference, "not supported"]);
        host.refuses(&["fetch", reference], &[reference, "not supported"]);
    }
}

#[test]
fn a_shortened_digest_needs_eight_digits() {
    let host = Host::new();
    host.refuses(&["run", "sha512-0011223"], &["too short"]);
}

#[test]
fn a_pod_that_is_not_there_is_named() {
    let host = Host::new();
    for command in ["status", "stop", "rm", "enter", "logs", "run-prepared"] {
        host.refuses(&[command, "no-such-pod"], &["no pod", "no-such-pod"]);
    }
}

#[test]
fn an_empty_or_short_word_is_never_taken_for_a_pod() {
    let host = Host::new();
    for word in ["", "0011223", "g0112233", "/"] {
        host.refuses(&["rm", word], &["no pod"]);
    }
}

#[test]
fn a_unit_cgroup_outside_a_unit_is_refused() {
    let host = Host::new();
    let file = host.file("p.toml", GOOD);
    // The image is looked for first: nothing starts before everything is known.
    host.refuses(&["run", "--cgroup=unit", "-f", &file], &["example.com/a"]);
}

#[test]
fn wrong_usage_is_status_125_and_names_the_word() {
    let host = Host::new();
    host.refuses(&["run"], &["REF"]);
    host.refuses(&["frobnicate"], &["frobnicate"]);
    host.refuses(&["run", "--cgroup=mine", "example.com/a"], &["mine"]);
    host.refuses(&["run", "--env", "NOVALUE", "example.com/a"], &["NOVALUE", "NAME=value"]);
    host.refuses(&["list", "--format=xml"], &["xml"]);
}

#[test]
fn a_state_directory_that_cannot_be_one_is_named() {
    let host = Host::new();
    let file = host.file("plain", "x");
    Command::new(env!("CARGO_BIN_EXE_rocket"))
        .args(["--state-dir", &file, "run", "example.com/a"])
        .run()
        .ends_with(125)
        .says(&[&file]);
}

#[test]
fn arguments_with_odd_characters_reach_the_pod_file_unharmed() {
    let host = Host::new();
    // Quotes and newlines must not break out of the pod file that a command line becomes.
    host.refuses(
        &["run", "--env", "A=\"\n[app.evil]\nimage=\"x", "--exec", "/x\"\n", "example.com/a"],
        &["example.com/a", "rocket fetch"],
    );
}

#[test]
fn an_image_is_packed_over_a_file_and_never_over_anything_else() {
    let host = Host::new();
    let root = host.dir.path().join("root");
    std::fs::create_dir(&root).unwrap();
    let link = host.dir.path().join("link");
    std::os::unix::fs::symlink("elsewhere", &link).unwrap();
    for output in [link.to_str().unwrap(), host.dir.path().to_str().unwrap(), "/dev/null"] {
        let root = root.to_str().unwrap();
        let pack = ["image", "pack", root, "--name", "example.com/a", "--exec", "/a", "--output"];
        host.refuses(&[&pack[..], &[output]].concat(), &[output, "no regular file"]);
    }
    assert!(link.is_symlink());
}
