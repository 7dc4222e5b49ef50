//! `make install`: every installed text names programs where they were installed.

#![allow(clippy::unwrap_used)]

use rocket_testkit::Command;
use std::path::Path;

#[test]
fn another_prefix_reaches_every_unit() {
    let dir = tempfile::tempdir().unwrap();
    let top = env!("CARGO_MANIFEST_DIR");
    // The units alone: building a second time is not what is tested.
    Command::new("make")
        .args(["--no-print-directory", "-C", top, "install-units", "PREFIX=/opt/rocket"])
        .args([format!("DESTDIR={}", dir.path().display())])
        .seconds(60)
        .run()
        .ok();
    let mut seen = 0;
    let mut todo = vec![dir.path().to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                todo.push(path);
            } else if path.extension().is_some_and(|e| e == "service") {
                check(&path);
                seen += 1;
            }
        }
    }
    assert!(seen >= 2, "{seen} services");
}

fn check(unit: &Path) {
    let text = std::fs::read_to_string(unit).unwrap();
    for line in text.lines().filter(|line| line.starts_with("Exec")) {
        assert!(line.contains("/opt/rocket/bin/rocket "), "{}: {line}", unit.display());
    }
}
