//! Relative links of the Markdown pages: each must lead to a file or directory of the repository.

use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// Every link that leads nowhere.
pub fn check(root: &Path) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for page in pages(root)? {
        let text =
            fs::read_to_string(&page).with_context(|| format!("reading {}", page.display()))?;
        let dir = page.parent().unwrap_or(root);
        let name = page.strip_prefix(root).unwrap_or(&page).display();
        for (line, target) in links(&text) {
            if !dir.join(target).exists() {
                faults.push(format!("{name}:{line}: {target} does not exist"));
            }
        }
    }
    Ok(faults)
}

fn pages(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for dir in ["", "docs", "docs/adr", "tests", "packaging"] {
        let dir = root.join(dir);
        if !dir.is_dir() {
            continue;
        }
        for entry in fs::read_dir(&dir).with_context(|| format!("reading {}", dir.display()))? {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e == "md") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Targets of `[text](target)` outside code fences, without their anchors.
fn links(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        for part in line.split("](").skip(1) {
            let target = part.split([')', '#', ' ']).next().unwrap_or_default();
            if !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:") {
                found.push((number, target));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::links;

    #[test]
    fn relative_targets_are_found_and_others_left_alone() {
        let text =
            "[a](b.md#x) and [c](d/)\n```\n[no](no.md)\n```\n[e](https://example.com) [f](#g)";
        assert_eq!(links(text), [(1, "b.md"), (1, "d/")]);
    }
}
