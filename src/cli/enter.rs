//! `rocket enter`: a command in a running app's world, under exactly its restrictions.

use crate::cli::error::Failure;
use crate::config::paths::{Paths, STAGE1};
use crate::launch::Flavour;
use crate::pod::list::{self, Status};
use crate::pod::lookup;
use std::path::Path;
use std::process::ExitCode;

/// Arguments of `rocket enter`.
#[derive(Debug, clap::Args)]
pub struct EnterArgs {
    /// Name, UUID, or at least 8 digits of one; /APP where it has several apps.
    #[arg(value_name = "POD[/APP]")]
    pod: String,
    /// App to enter.
    #[arg(long, value_name = "APP")]
    app: Option<String>,
    /// Command and arguments; a shell when there is none.
    #[arg(last = true, value_name = "CMD")]
    command: Vec<String>,
}

/// `rocket enter`.
pub fn run(paths: &Paths, args: EnterArgs) -> Result<ExitCode, Failure> {
    let (pod, app) = match args.pod.split_once('/') {
        Some((pod, app)) => (pod, Some(app.to_owned())),
        None => (args.pod.as_str(), args.app),
    };
    let found = lookup::find(paths, pod)?;
    let info = list::info(paths, found)
        .ok_or_else(|| Failure::message(format!("pod {} has just been removed", found.uuid)))?;
    if info.status != Status::Running {
        let text = format!("cannot enter pod {}: it is {}", found.uuid, info.status.as_str());
        return Err(Failure::message(text));
    }
    let apps: Vec<String> = info
        .meta
        .map(|meta| meta.apps.into_iter().map(|app| app.name).collect())
        .unwrap_or_default();
    let app = choose(app, &apps)?;
    let command = if args.command.is_empty() { vec!["/bin/sh".to_owned()] } else { args.command };
    let mut entry = vec![app, "--".to_owned()];
    entry.extend(command);
    let dir = found.state.path(paths, found.uuid);
    let code = Flavour::find(Path::new(STAGE1), "ns")?.enter(&dir, &entry)?;
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)))
}

fn choose(app: Option<String>, apps: &[String]) -> Result<String, Failure> {
    match (app, apps) {
        (Some(app), _) if apps.contains(&app) => Ok(app),
        (Some(app), _) => Err(Failure::message(format!("the pod has no app {app:?}"))
            .hint(format!("it has {}", apps.join(", ")))),
        (None, [one]) => Ok(one.clone()),
        (None, _) => Err(Failure::message("the pod has several apps: say which")
            .hint(format!("rocket enter POD/APP, one of {}", apps.join(", ")))),
    }
}
