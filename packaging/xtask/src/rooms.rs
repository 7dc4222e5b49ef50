//! The rooms of package rocket (its top-level modules), which Rust itself does not keep apart.

use crate::code::blank;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// What each room must not import. `cli` and `launch` see everything; nothing sees them.
const FORBIDDEN: &[(&str, &[&str])] = &[
    ("files", &["config", "host", "image", "pod", "systemd", "launch", "cli"]),
    ("config", &["image", "pod", "systemd", "launch", "cli"]),
    ("host", &["image", "pod", "systemd", "launch", "cli"]),
    ("image", &["pod", "systemd", "launch", "cli"]),
    ("pod", &["systemd", "launch", "cli"]),
    ("systemd", &["image", "pod", "launch", "cli"]),
    ("launch", &["cli"]),
    ("lint", &["files", "config", "host", "image", "pod", "systemd", "launch", "cli"]),
    ("import", &["files", "config", "host", "image", "pod", "systemd", "launch", "lint", "cli"]),
    ("cli", &[]),
    ("lib", &[]),
    ("main", &[]),
];

/// The one room with unsafe code, and two files of tests that have some: probes make and ask for calls that
/// rocket never makes and must not have wrappers for. Nothing installed links them.
const UNSAFE_ROOMS: [&str; 3] =
    ["stage1/sys/", "tests/escape/src/sys.rs", "tests/explain/src/calls.rs"];
/// A file longer than this is named; longer than [`TOO_LONG`] is a fault.
const LONG: usize = 500;
const TOO_LONG: usize = 700;

/// What was found.
#[derive(Debug, Default)]
pub struct Seen {
    /// Broken rules.
    pub faults: Vec<String>,
    /// Worth a look.
    pub notes: Vec<String>,
}

/// Reads every Rust file of the repository.
pub fn check(root: &Path) -> Result<Seen> {
    let mut seen = Seen::default();
    for top in ["src", "stage1", "generators", "transports", "packaging", "tests"] {
        for file in rust_files(&root.join(top))? {
            let text =
                fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
            let name = file.strip_prefix(root).unwrap_or(&file).display().to_string();
            look(&name, &text, &mut seen);
        }
    }
    Ok(seen)
}

fn look(name: &str, text: &str, seen: &mut Seen) {
    let code = blank(text);
    if let Some(room) = room(name) {
        match FORBIDDEN.iter().find(|(r, _)| *r == room) {
            Some((_, forbidden)) => {
                for (line, target) in imports(&code) {
                    if forbidden.contains(&target) {
                        let fault = format!("{name}:{line}: {room} must not import {target}");
                        seen.faults.push(fault);
                    }
                }
            }
            None => seen.faults.push(format!("{name}: no room called {room}: see packaging/xtask")),
        }
    }
    if !UNSAFE_ROOMS.iter().any(|room| name.starts_with(room)) {
        for (line, code) in (1..).zip(code.lines()) {
            if words(code).any(|w| w == "unsafe") || code.contains("allow(unsafe_code") {
                seen.faults.push(format!("{name}:{line}: unsafe code outside {}", UNSAFE_ROOMS[0]));
            }
        }
    }
    match text.lines().count() {
        n if n > TOO_LONG => seen.faults.push(format!("{name}: {n} lines, {TOO_LONG} at most")),
        n if n > LONG => seen.notes.push(format!("{name}: {n} lines, {LONG} is the aim")),
        _ => {}
    }
}

/// The room a file of package rocket is in: `src/pod/gc.rs` is in `pod`, `src/host.rs` in `host`.
fn room(name: &str) -> Option<&str> {
    let below = name.strip_prefix("src/")?;
    below.split('/').next().map(|first| first.trim_end_matches(".rs"))
}

/// Every `crate::X` with its line, those of `crate::{X, Y}` groups too.
fn imports(code: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let line = code.get(..at).unwrap_or_default().matches('\n').count() + 1;
        let rest = code.get(at + "crate::".len()..).unwrap_or_default();
        match rest.strip_prefix('{') {
            Some(group) => found.extend(group_members(group).into_iter().map(|m| (line, m))),
            None => found.extend(words(rest).next().map(|w| (line, w))),
        }
    }
    found
}

/// First words of the members of a `{…}` group whose opening brace is already gone.
fn group_members(group: &str) -> Vec<&str> {
    let mut members = Vec::new();
    let mut depth = 0i32;
    let mut start = 0;
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' | ',' if depth == 0 => {
                members.extend(words(group.get(start..at).unwrap_or_default()).next());
                start = at + 1;
                if character == '}' {
                    break;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    members
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|w| !w.is_empty())
}

/// The Rust files below `top`, sorted.
pub fn rust_files(top: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut todo = vec![top.to_owned()];
    while let Some(dir) = todo.pop() {
        if !dir.is_dir() {
            continue;
        }
        let entries = fs::read_dir(&dir).with_context(|| format!("reading {}", dir.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("reading {}", dir.display()))?;
            let path = entry.path();
            // A link could lead out of the repository; a build directory is not ours.
            match entry.file_type()? {
                kind if kind.is_dir() && entry.file_name() != "target" => todo.push(path),
                kind if kind.is_file() && path.extension().is_some_and(|e| e == "rs") => {
                    files.push(path);
                }
                _ => {}
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(name: &str, text: &str) -> Vec<String> {
        let mut seen = Seen::default();
        look(name, text, &mut seen);
        seen.faults
    }

    #[test]
    fn an_import_upwards_is_a_fault_with_its_line() {
        assert_eq!(
            faults("src/image/store.rs", "use std::fs;\nuse crate::pod::uuid;\n"),
            ["src/image/store.rs:2: image must not import pod"]
        );
        let group = "use crate::{config::{a, paths}, systemd::bus, cli};";
        assert_eq!(faults("src/pod/gc.rs", group).len(), 2);
        assert_eq!(faults("src/systemd/bus.rs", "fn f() { crate::image::g() }").len(), 1);
    }

    #[test]
    fn downward_imports_comments_and_strings_are_fine() {
        let text = "//! see [`crate::cli`]\nuse crate::image::x;\nconst A: &str = \"crate::cli\";";
        assert_eq!(faults("src/pod/gc.rs", text), [] as [&str; 0]);
        assert_eq!(faults("src/cli/run.rs", "use crate::{launch, pod};"), [] as [&str; 0]);
    }

    #[test]
    fn a_new_room_and_unsafe_code_are_questions() {
        assert_eq!(faults("src/net/mod.rs", "").len(), 1);
        assert_eq!(faults("stage1/init/src/main.rs", "fn f() { unsafe { g() } }").len(), 1);
        assert_eq!(faults("stage1/init/src/main.rs", "#![forbid(unsafe_code)]"), [] as [&str; 0]);
        assert_eq!(faults("stage1/sys/src/fd.rs", "unsafe {}"), [] as [&str; 0]);
        assert_eq!(faults("tests/escape/src/sys.rs", "unsafe {}"), [] as [&str; 0]);
        assert_eq!(faults("tests/escape/src/world.rs", "unsafe {}").len(), 1);
    }

    #[test]
    fn long_files_are_named_and_very_long_ones_refused() {
        let mut seen = Seen::default();
        look("src/cli/a.rs", &"\n".repeat(501), &mut seen);
        look("src/cli/b.rs", &"\n".repeat(701), &mut seen);
        assert_eq!((seen.notes.len(), seen.faults.len()), (1, 1));
    }
}
