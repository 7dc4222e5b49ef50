//! The crate graph: which crate of ours may depend on which, and what must never get into a tree.

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// Who may import whom at run time. A crate that is not here is a question for an ADR.
const ALLOWED: &[(&str, &[&str])] = &[
    ("rocket-sys", &[]),
    ("rocket-plan", &[]),
    ("rocket-init", &["rocket-sys", "rocket-plan"]),
    ("rocket-podfile", &[]),
    ("rocket-generator", &["rocket-podfile"]),
    ("rocket-transport", &["rocket-sys"]),
    ("rocket", &["rocket-sys", "rocket-plan", "rocket-podfile"]),
    ("xtask", &["rocket"]),
];

/// Crates that must never be in the tree of a program, however indirectly.
const FORBIDDEN: &[(&str, &[&str])] = &[
    // PID 1 of a pod: no threads, no async, no D-Bus, no image code.
    ("rocket-init", &["zbus", "tokio", "tar", "zstd", "flate2", "clap", "anyhow", "toml"]),
    // Runs at boot before D-Bus; reads pod files and nothing else.
    ("rocket-generator", &["zbus", "tokio", "tar", "zstd", "flate2", "rustix", "nix", "clap"]),
    // Speaks to servers: what it hears is unpacked and judged elsewhere.
    ("rocket-transport", &["rocket-plan", "tar", "zstd", "flate2", "zbus", "tokio", "clap"]),
    // Fetches through a transport, never itself.
    ("rocket", &["ureq", "rustls", "tokio"]),
    // The contract between stage0 and stage1: data only.
    ("rocket-plan", &["rustix", "libc", "nix", "serde_json"]),
];

/// The directory whose crates serve tests only: they may import anything of ours.
const TEST_CRATES: &str = "tests/";

/// The parts of `cargo metadata` that are read here.
#[derive(Deserialize)]
pub struct Metadata {
    /// All packages of the resolved graph.
    pub packages: Vec<Package>,
    workspace_members: Vec<String>,
    resolve: Option<Resolve>,
}

/// One package.
#[derive(Deserialize)]
pub struct Package {
    id: String,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The Rust version it says it needs.
    pub rust_version: Option<String>,
    manifest_path: String,
    /// `None` for a package of this repository.
    pub source: Option<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dep>,
}

#[derive(Deserialize)]
struct Dep {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

#[derive(Deserialize)]
struct Kind {
    kind: Option<String>,
}

/// Asks cargo for the graph as it is built on the proven platform.
pub fn metadata(root: &Path) -> Result<Metadata> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let out = Command::new(cargo)
        .args(["metadata", "--locked", "--format-version=1"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(root)
        .output()
        .context("running cargo metadata")?;
    if !out.status.success() {
        bail!("cargo metadata failed: {}", String::from_utf8_lossy(&out.stderr).trim());
    }
    serde_json::from_slice(&out.stdout).context("reading the answer of cargo metadata")
}

/// Every broken rule of the crate graph.
pub fn check(root: &Path) -> Result<Vec<String>> {
    let metadata = metadata(root)?;
    let graph = Graph::of(&metadata)?;
    let mut faults = Vec::new();
    for package in &metadata.packages {
        if metadata.workspace_members.contains(&package.id) {
            let below = package.manifest_path.strip_prefix(&format!("{}/", root.display()));
            if !below.is_some_and(|p| p.starts_with(TEST_CRATES)) {
                faults.extend(direct(&package.name, &graph));
            }
        }
    }
    for (program, forbidden) in FORBIDDEN {
        let tree = graph.tree(program);
        for bad in forbidden.iter().filter(|bad| tree.contains(**bad)) {
            faults.push(format!("{bad} is in the tree of {program}"));
        }
    }
    Ok(faults)
}

fn direct(name: &str, graph: &Graph<'_>) -> Vec<String> {
    let Some((_, allowed)) = ALLOWED.iter().find(|(crate_name, _)| *crate_name == name) else {
        return vec![format!("the crate {name} has no place in the graph: see packaging/xtask")];
    };
    let below = graph.edges.get(name).into_iter().flatten();
    let ours = below.filter(|dep| ALLOWED.iter().any(|(ours, _)| ours == *dep));
    ours.filter(|dep| !allowed.contains(dep))
        .map(|dep| format!("{name} must not import {dep}"))
        .collect()
}

/// Run-time dependencies by name; two versions of one crate are one node, which errs on the safe side.
struct Graph<'a> {
    edges: BTreeMap<&'a str, BTreeSet<&'a str>>,
}

impl<'a> Graph<'a> {
    fn of(metadata: &'a Metadata) -> Result<Self> {
        let names: BTreeMap<&str, &str> =
            metadata.packages.iter().map(|p| (p.id.as_str(), p.name.as_str())).collect();
        let resolve = metadata.resolve.as_ref().context("cargo metadata resolved nothing")?;
        let mut edges: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for node in &resolve.nodes {
            let Some(name) = names.get(node.id.as_str()) else { continue };
            let normal = node.deps.iter().filter(|d| d.dep_kinds.iter().any(|k| k.kind.is_none()));
            let below = normal.filter_map(|d| names.get(d.pkg.as_str()).copied());
            edges.entry(name).or_default().extend(below);
        }
        Ok(Self { edges })
    }

    fn tree(&self, top: &str) -> BTreeSet<&'a str> {
        let mut seen = BTreeSet::new();
        let mut todo: Vec<&str> = vec![top];
        while let Some(name) = todo.pop() {
            for below in self.edges.get(name).into_iter().flatten() {
                if seen.insert(*below) {
                    todo.push(below);
                }
            }
        }
        seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(edges: &[(&'static str, &[&'static str])]) -> Graph<'static> {
        Graph { edges: edges.iter().map(|(n, d)| (*n, d.iter().copied().collect())).collect() }
    }

    #[test]
    fn an_upward_import_and_an_unknown_crate_are_faults() {
        let graph =
            graph(&[("rocket-sys", &["rocket-plan", "libc"]), ("rocket-init", &["rocket-sys"])]);
        assert_eq!(direct("rocket-sys", &graph), ["rocket-sys must not import rocket-plan"]);
        assert!(direct("rocket-init", &graph).is_empty());
        assert_eq!(direct("rocket-new", &graph).len(), 1);
    }

    #[test]
    fn a_tree_reaches_what_is_imported_indirectly() {
        let graph = graph(&[("a", &["b"]), ("b", &["c", "a"]), ("d", &["e"])]);
        assert_eq!(graph.tree("a").into_iter().collect::<Vec<_>>(), ["a", "b", "c"]);
    }
}
