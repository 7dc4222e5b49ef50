//! The stated minimum Rust version, against what the dependencies declare.
//!
//! This is the half that can be tested with any toolchain. The other half, that our own code uses no
//! newer standard library, is clippy's `incompatible_msrv`, which reads the same `rust-version`.

use crate::crates::{Package, metadata};
use anyhow::{Context, Result};
use std::path::Path;

/// Every package that wants more than the workspace states.
pub fn check(root: &Path) -> Result<Vec<String>> {
    let metadata = metadata(root)?;
    let stated = metadata.packages.iter().find(|p| p.source.is_none() && p.name == "rocket");
    let stated =
        stated.and_then(|p| p.rust_version.as_deref()).context("no rust-version stated")?;
    let limit = parse(stated).with_context(|| format!("{stated} is no Rust version"))?;
    let silent = metadata.packages.iter().filter(|p| p.rust_version.is_none()).count();
    let highest = metadata.packages.iter().filter(|p| p.source.is_some()).max_by_key(|p| wants(p));
    if let Some(package) = highest {
        let wanted = package.rust_version.as_deref().unwrap_or("nothing");
        println!(
            "msrv: {} packages, {silent} declare nothing, highest is {} {} with {wanted}, stated {stated}",
            metadata.packages.len(),
            package.name,
            package.version,
        );
    }
    let mut faults = Vec::new();
    for package in &metadata.packages {
        let wanted = package.rust_version.as_deref().unwrap_or_default();
        if wants(package) > limit {
            let (name, version) = (&package.name, &package.version);
            faults.push(format!("{name} {version} needs Rust {wanted}, {stated} is stated"));
        } else if package.source.is_none() && wants(package) != limit {
            faults.push(format!("{} does not take rust-version from the workspace", package.name));
        }
    }
    Ok(faults)
}

fn wants(package: &Package) -> (u32, u32) {
    package.rust_version.as_deref().and_then(parse).unwrap_or_default()
}

/// Major and minor; the patch level never matters here.
fn parse(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.').map(|p| p.parse().ok());
    Some((parts.next()??, parts.next().unwrap_or(Some(0))?))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn versions_compare_as_numbers() {
        assert_eq!(parse("1.89"), Some((1, 89)));
        assert_eq!(parse("1.9.1"), Some((1, 9)));
        assert_eq!(parse("2"), Some((2, 0)));
        assert_eq!(parse("new"), None);
        assert!(parse("1.100") > parse("1.89"));
    }
}
