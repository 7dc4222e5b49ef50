//! `rocket import`: pod files from what other programs read.

use crate::cli::error::Failure;
use crate::cli::output::{self, Format};
use crate::files::{self, Durability};
use crate::import::{self, Imported, Input, Kind, LARGEST, Loss, Options};
use anyhow::Context;
use serde_json::json;
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What is imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum From {
    /// Podman's .container, .pod, .volume, .network and .image files, or directories of them.
    Quadlet,
    /// A project of Docker Compose.
    Compose,
    /// Command lines of docker run or podman run, in a file or after --.
    DockerRun,
    /// Objects of Kubernetes: Pods, Deployments and the like, with their ConfigMaps, Secrets and claims.
    Kube,
}

/// Arguments of `rocket import`.
#[derive(Debug, clap::Args)]
pub struct ImportArgs {
    /// What is imported.
    #[arg(value_enum)]
    from: From,
    /// Files, - for standard input; of quadlet directories too. Without any, compose takes compose.yaml.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// A docker run command.
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
    /// Write to this file, or to NAME.toml in this directory, and not to standard output.
    #[arg(long, short, value_name = "PATH")]
    output: Option<PathBuf>,
    /// Replace files that are there.
    #[arg(long, requires = "output")]
    force: bool,
    /// Name of the pod, when there is one.
    #[arg(long)]
    name: Option<String>,
    /// Write NEW where an image is called OLD; may be given several times.
    #[arg(long = "image", value_name = "OLD=NEW", value_parser = pair)]
    images: Vec<(String, String)>,
    /// Compose: services of this profile too, * for all; may be given several times.
    #[arg(long = "profile", value_name = "PROFILE")]
    profiles: Vec<String>,
    /// Compose: variables from this file, not from .env.
    #[arg(long, value_name = "FILE")]
    env_file: Option<PathBuf>,
    /// How to print.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((old, new)) if !old.is_empty() && !new.is_empty() => {
            Ok((old.to_owned(), new.to_owned()))
        }
        _ => Err("write OLD=NEW".to_owned()),
    }
}

const COMPOSE: [&str; 4] =
    ["compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"];

/// Imports, and says what was lost.
pub fn run(args: &ImportArgs) -> Result<ExitCode, Failure> {
    let kind = match args.from {
        From::Quadlet => Kind::Quadlet,
        From::Compose => Kind::Compose,
        From::DockerRun => Kind::DockerRun,
        From::Kube => Kind::Kube,
    };
    if let Some(name) = &args.name
        && (!rocket_podfile::is_pod_name(name) || name.contains('@'))
    {
        return Err(Failure::message(format!("{name:?} cannot be the name of a pod"))
            .hint("lower-case letters and digits with single dashes between"));
    }
    let mut paths = args.files.clone();
    if kind == Kind::Compose && paths.is_empty() {
        paths.extend(COMPOSE.iter().map(PathBuf::from).find(|path| path.exists()));
    }
    let mut inputs = Vec::new();
    for path in &paths {
        gather(kind, path, &mut inputs)?;
    }
    if !args.command.is_empty() {
        if kind != Kind::DockerRun {
            return Err(Failure::message("a command after -- is for docker-run only"));
        }
        inputs.push(Input { path: "-".to_owned(), text: as_line(&args.command) });
    }
    if inputs.is_empty() {
        return Err(Failure::message("nothing to import")
            .hint("name a file, - for standard input, or for docker-run a command after --"));
    }
    let options = options(kind, args, paths.first().map(PathBuf::as_path))?;
    let imported = import::import(kind, &inputs, &options).map_err(|error| {
        let hint = error.hint.clone();
        let failure = Failure::new(error);
        hint.into_iter().fold(failure, Failure::hint)
    })?;
    put(args, &imported)?;
    for loss in imported.losses.iter().filter(|_| args.format == Format::Table) {
        output::note(&line(loss));
    }
    Ok(ExitCode::SUCCESS)
}

/// One line for people.
fn line(loss: &Loss) -> String {
    let todo = if loss.todo.is_empty() { String::new() } else { format!(" ({})", loss.todo) };
    let text = format!("{}: not carried: {}: {}{todo}", loss.place, loss.key, loss.why);
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// Reads a file, or the quadlet files of a directory with their drop-ins.
fn gather(kind: Kind, path: &Path, inputs: &mut Vec<Input>) -> Result<(), Failure> {
    const UNITS: [&str; 7] = ["container", "pod", "volume", "network", "image", "build", "kube"];
    let drop_ins = |dir: PathBuf, inputs: &mut Vec<Input>| -> Result<(), Failure> {
        for path in children(&dir)? {
            if path.extension().is_some_and(|extension| extension == "conf") {
                inputs.push(read(&path)?);
            }
        }
        Ok(())
    };
    if kind != Kind::Quadlet {
        inputs.push(read(path)?);
        return Ok(());
    }
    let files = if path.is_dir() { children(path)? } else { vec![path.to_owned()] };
    for file in files {
        let known = file.extension().is_some_and(|e| UNITS.iter().any(|unit| e == *unit));
        if file.is_dir() || path.is_dir() && !known {
            continue;
        }
        inputs.push(read(&file)?);
        let mut dir = file.clone().into_os_string();
        dir.push(".d");
        if Path::new(&dir).is_dir() {
            drop_ins(PathBuf::from(dir), inputs)?;
        }
    }
    Ok(())
}

fn children(dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    let entries = fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()));
    let entries = entries.map_err(Failure::new)?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    Ok(paths)
}

fn read(path: &Path) -> Result<Input, Failure> {
    let most = u64::try_from(LARGEST).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    let done = if path == Path::new("-") {
        std::io::stdin().lock().take(most).read_to_end(&mut bytes)
    } else {
        fs::File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes))
    };
    done.with_context(|| format!("reading {}", path.display())).map_err(Failure::new)?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let line = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
        let line = line.filter(|b| **b == b'\n').count() + 1;
        Failure::message(format!("{}:{line}:1: not text in UTF-8", path.display()))
    })?;
    Ok(Input { path: path.display().to_string(), text })
}

/// Words as a shell would be told them.
fn as_line(words: &[String]) -> String {
    let quoted = words.iter().map(|word| format!("'{}'", word.replace('\'', "'\\''")));
    quoted.collect::<Vec<_>>().join(" ")
}

fn options(kind: Kind, args: &ImportArgs, first: Option<&Path>) -> Result<Options, Failure> {
    let here =
        std::env::current_dir().context("finding the current directory").map_err(Failure::new)?;
    let dir = match first {
        Some(path) if kind != Kind::DockerRun && path != Path::new("-") => {
            let dir = if path.is_dir() { path } else { path.parent().unwrap_or(Path::new("")) };
            here.join(dir)
        }
        _ => here.clone(),
    };
    let dir = dir.canonicalize().unwrap_or(dir);
    let mut variables = BTreeMap::new();
    if kind == Kind::Compose {
        let file = args.env_file.clone().unwrap_or_else(|| dir.join(".env"));
        if args.env_file.is_some() || file.is_file() {
            variables = env_file(&read(&file)?);
        }
    }
    if matches!(kind, Kind::Compose | Kind::DockerRun) {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        variables.extend(std::env::vars_os().filter_map(text));
        if kind == Kind::DockerRun {
            variables.insert("PWD".to_owned(), here.display().to_string());
        }
    }
    Ok(Options {
        images: args.images.iter().cloned().collect(),
        variables,
        base: dir.display().to_string(),
        // Units of the system are root's.
        home: match kind {
            Kind::Quadlet => "/root".to_owned(),
            _ => std::env::var("HOME").unwrap_or_else(|_| "/root".to_owned()),
        },
        profiles: args.profiles.clone(),
        name: args.name.clone(),
    })
}

/// `NAME=value` lines of a compose project.
fn env_file(input: &Input) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    for line in input.text.lines().map(str::trim) {
        let line = line.strip_prefix("export ").unwrap_or(line);
        let Some((name, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) else {
            continue;
        };
        let value = value.trim();
        let quoted = ['"', '\''].iter().find_map(|quote| {
            let inner = value.strip_prefix(*quote)?;
            inner.split_once(*quote).map(|(inner, _)| inner)
        });
        let value =
            quoted.unwrap_or_else(|| value.split(" #").next().unwrap_or_default().trim_end());
        variables.insert(name.trim().to_owned(), value.to_owned());
    }
    variables
}

/// Prints or writes: all files or none.
fn put(args: &ImportArgs, imported: &Imported) -> Result<(), Failure> {
    if args.format == Format::Json {
        let place = |loss: &Loss| {
            json!({
                "file": *loss.place.file, "line": loss.place.line, "column": loss.place.column,
                "key": loss.key, "why": loss.why, "todo": loss.todo,
            })
        };
        let files =
            imported.files.iter().map(|file| json!({ "name": file.name, "text": file.text }));
        output::json(&json!({
            "files": files.collect::<Vec<_>>(),
            "losses": imported.losses.iter().map(place).collect::<Vec<_>>(),
        }));
    }
    let Some(output) = &args.output else {
        if let (Format::Table, [only]) = (args.format, imported.files.as_slice()) {
            output::data(only.text.trim_end());
        } else if args.format == Format::Table {
            let names: Vec<&str> = imported.files.iter().map(|file| file.name.as_str()).collect();
            return Err(Failure::message(format!(
                "these are {} pod files: {}",
                names.len(),
                names.join(", ")
            ))
            .hint("--output DIR writes them"));
        }
        return Ok(());
    };
    let is_dir = output.is_dir();
    if !is_dir && imported.files.len() > 1 {
        return Err(Failure::message(format!("{} is not a directory", output.display()))
            .hint(format!("these are {} pod files", imported.files.len())));
    }
    if !is_dir && output.extension().is_none_or(|extension| extension != "toml") {
        return Err(Failure::message(format!(
            "{} is no directory and does not end in .toml",
            output.display()
        )));
    }
    let output = &Path::new(".").join(output);
    let path = |name: &str| if is_dir { output.join(name) } else { output.clone() };
    for file in imported.files.iter().filter(|_| !args.force) {
        let path = path(&file.name);
        if path.symlink_metadata().is_ok() {
            return Err(Failure::message(format!(
                "{} exists: nothing was written",
                path.display()
            ))
            .hint("--force replaces it"));
        }
    }
    for file in &imported.files {
        let path = path(&file.name);
        let done = if args.force {
            files::write(&path, file.text.as_bytes(), Durability::Durable)
        } else {
            create(&path, file.text.as_bytes())
        };
        done.with_context(|| format!("writing {}", path.display())).map_err(Failure::new)?;
        output::note(&format!("rocket: wrote {}", path.display()));
    }
    Ok(())
}

/// A new file, 0600: what is imported may hold passwords.
fn create(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let done = file.write_all(bytes).and_then(|()| file.sync_all());
    if done.is_err() {
        fs::remove_file(path)?;
    }
    done
}
