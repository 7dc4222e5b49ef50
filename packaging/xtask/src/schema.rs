//! The JSON schemas of the pod file. They are checked in, because editors and people read them
//! without building anything; `cargo xtask check` finds one that is not what the grammar says.

use anyhow::{Context, Result};
use rocket::lint::schema::{Kind, text};
use std::fs;
use std::path::{Path, PathBuf};

fn file(root: &Path, kind: Kind) -> PathBuf {
    root.join("docs").join(kind.file_name())
}

/// Writes them.
pub fn write(root: &Path) -> Result<()> {
    for kind in Kind::ALL {
        let file = file(root, kind);
        fs::write(&file, text(kind)).with_context(|| format!("writing {}", file.display()))?;
        println!("schema: {}", file.display());
    }
    Ok(())
}

/// What is not up to date.
pub fn check(root: &Path) -> Result<Vec<String>> {
    let stale = |kind: &Kind| fs::read_to_string(file(root, *kind)).ok() != Some(text(*kind));
    let name = |kind: Kind| format!("docs/{} is stale: run cargo xtask schema", kind.file_name());
    Ok(Kind::ALL.into_iter().filter(stale).map(name).collect())
}
