//! The reference page speaks of every key, and its example is right.
#![allow(clippy::unwrap_used)]

use rocket_podfile::{Capability, keys, parse};
use std::fs;
use std::path::Path;

fn page() -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/pod-file.md");
    fs::read_to_string(page).unwrap()
}

#[test]
fn every_key_is_there() {
    let page = page();
    let missing: Vec<String> = keys()
        .into_iter()
        .filter(|(_, key)| !page.contains(&format!("`{key}`")))
        .map(|(table, key)| format!("[{table}] {key}"))
        .collect();
    assert!(missing.is_empty(), "{missing:#?}");
    for capability in Capability::ALL {
        assert!(page.contains(&format!("`{capability}`")), "{capability}");
    }
}

#[test]
fn the_example_is_right() {
    let page = page();
    let example = page.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let pod = parse(Path::new("example"), example).unwrap();
    assert_eq!(pod.apps.len(), 2);
}

/// What the page calls later is refused, and nothing else.
#[test]
fn later_means_later() {
    let page = page();
    for key in rocket_podfile::unsupported_keys() {
        let last = key.rsplit('.').next().unwrap();
        let later = page.lines().any(|line| {
            let about = line.starts_with('|') && line.contains(&format!("`{last}`"));
            about && line.to_lowercase().contains("later")
        });
        assert!(later, "{key} is refused, and the page does not say \"later\"");
    }
}
