//! Chores of the repository: `cargo xtask help` lists them. Nothing here is installed.
#![forbid(unsafe_code)]

mod code;
mod crates;
mod ledger;
mod links;
mod manual;
mod msrv;
mod rooms;
mod schema;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Chores of the rocket repository.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Write the man pages, one for each command.
    Man {
        /// Directory to write into.
        #[arg(long, value_name = "DIR", default_value = "target/man")]
        out: PathBuf,
    },
    /// Write the completion scripts of bash, zsh and fish.
    Completions {
        /// Directory to write into.
        #[arg(long, value_name = "DIR", default_value = "target/completions")]
        out: PathBuf,
    },
    /// Write the JSON schemas of the pod file to docs/, where they are checked in.
    Schema,
    /// Check that crates and rooms import only downwards and that unsafe code is in its one room.
    Graph,
    /// Check that no dependency wants a newer Rust than the workspace states.
    Msrv,
    /// Check that the relative links of the documentation lead somewhere.
    Links,
    /// Check that the tests named in tests/cves.md exist.
    Ledger,
    /// All checks of this list, one after the other.
    Check,
}

fn main() -> ExitCode {
    match run(Cli::parse().chore) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(chore: Chore) -> Result<()> {
    let root = repository()?;
    match chore {
        Chore::Man { out } => manual::man(&root, &out),
        Chore::Completions { out } => manual::completions(&out),
        Chore::Schema => schema::write(&root),
        Chore::Graph => graph(&root),
        Chore::Msrv => report("msrv", &msrv::check(&root)?),
        Chore::Links => report("links", &links::check(&root)?),
        Chore::Ledger => report("ledger", &ledger::check(&root)?),
        Chore::Check => {
            graph(&root)?;
            report("msrv", &msrv::check(&root)?)?;
            report("links", &links::check(&root)?)?;
            report("schema", &schema::check(&root)?)?;
            report("ledger", &ledger::check(&root)?)
        }
    }
}

fn graph(root: &Path) -> Result<()> {
    let mut faults = crates::check(root)?;
    let seen = rooms::check(root)?;
    faults.extend(seen.faults);
    for note in &seen.notes {
        println!("graph: note: {note}");
    }
    report("graph", &faults)
}

/// Prints what is wrong, all of it, and fails if there was anything.
fn report(chore: &str, faults: &[String]) -> Result<()> {
    for fault in faults {
        eprintln!("{chore}: {fault}");
    }
    if !faults.is_empty() {
        bail!("{chore}: {} fault(s)", faults.len());
    }
    println!("{chore}: ok");
    Ok(())
}

/// The top of the repository: this crate lies two directories below it.
fn repository() -> Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).map(Path::to_owned).context("xtask has moved: no directory above it")
}
