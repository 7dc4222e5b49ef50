//! `tests/cves.md`: every test it names in its last column must exist.

use crate::rooms::rust_files;
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const LEDGER: &str = "tests/cves.md";

/// Every name without a test function.
pub fn check(root: &Path) -> Result<Vec<String>> {
    let path = root.join(LEDGER);
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let mut known = BTreeSet::new();
    for top in ["src", "stage1", "generators", "packaging", "tests"] {
        for file in rust_files(&root.join(top))? {
            let text =
                fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
            known.extend(functions(&text).map(str::to_owned));
        }
    }
    let missing = named(&text).into_iter().filter(|(_, name)| !known.contains(*name));
    Ok(missing.map(|(line, name)| format!("{LEDGER}:{line}: there is no test {name}")).collect())
}

/// Names of the functions without arguments that a file has: all tests, and a few more.
fn functions(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| line.trim_start().strip_prefix("fn ")?.split("()").next())
}

/// The words in backticks of each row's last cell that look like a test's name.
fn named(table: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for (number, row) in (1..).zip(table.lines()) {
        let Some(cells) = row.strip_suffix(" |") else { continue };
        let last = cells.rsplit(" | ").next().unwrap_or_default();
        let words = last.split('`').skip(1).step_by(2).filter(|word| word.contains('_'));
        let names = words.filter_map(|word| word.rsplit("::").next());
        found.extend(names.map(|name| (number, name)));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_last_column_are_found() {
        let table =
            "| a `b_c` | d |\n|---|---|\n| e | `f_g`, `make lint`, `a_b::h` |\ntext `j_k`\n";
        assert_eq!(named(table), [(3, "f_g"), (3, "h")]);
        let code = "fn one_two() {\n    fn three() -> u8 {\n    fn four(a: u8) {";
        assert_eq!(functions(code).collect::<Vec<_>>(), ["one_two", "three", "four(a: u8) {"]);
    }
}
