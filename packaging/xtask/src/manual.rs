//! Man pages and completions, both from the one definition of the command line.
//!
//! They are generated when the project is installed and never checked in, so they cannot be stale.
//! What a command line cannot know (files, exit status, see also) is in `packaging/man/*.roff`,
//! appended to the page of the same name.

use anyhow::{Context, Result};
use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
use rocket::cli::Cli;
use std::fs;
use std::path::Path;

const MANUAL: &str = "rocket";

/// Writes `rocket.1` and a page for every subcommand, however deep.
pub fn man(root: &Path, out: &Path) -> Result<()> {
    fs::create_dir_all(out).with_context(|| format!("making {}", out.display()))?;
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let source = format!("{MANUAL} {}", command.get_version().unwrap_or_default());
    let pages = page(&command, &source, &root.join("packaging/man"), out)?;
    println!("man: {pages} pages in {}", out.display());
    Ok(())
}

fn page(command: &Command, source: &str, tails: &Path, out: &Path) -> Result<usize> {
    let mut pages = 1;
    for below in command.get_subcommands().filter(|c| !c.is_hide_set()) {
        pages += page(below, source, tails, out)?;
    }
    let man = Man::new(command.clone()).source(source).manual(MANUAL);
    let name = man.get_filename();
    let mut text = Vec::new();
    man.render(&mut text).with_context(|| format!("rendering {name}"))?;
    let tail = tails.join(format!("{name}.roff"));
    if tail.exists() {
        text.extend(fs::read(&tail).with_context(|| format!("reading {}", tail.display()))?);
    } else {
        text.extend(b".SH SEE ALSO\n.BR rocket (1)\n");
    }
    let file = out.join(&name);
    fs::write(&file, text).with_context(|| format!("writing {}", file.display()))?;
    Ok(pages)
}

/// Writes `rocket.bash`, `_rocket` and `rocket.fish`.
pub fn completions(out: &Path) -> Result<()> {
    fs::create_dir_all(out).with_context(|| format!("making {}", out.display()))?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        let file = clap_complete::generate_to(shell, &mut Cli::command(), "rocket", out)
            .with_context(|| format!("writing the {shell} completions"))?;
        println!("completions: {}", file.display());
    }
    Ok(())
}
