//! `POD[/APP]`, and which pod a command is about.

use crate::cli::error::Failure;
use crate::config::paths::Paths;
use crate::pod::list::{self, Info, Status};
use crate::pod::lookup::{self, Found};
use std::path::{Path, PathBuf};

/// What a person named.
pub struct Target {
    /// The pod.
    pub found: Found,
    /// Its directory.
    pub dir: PathBuf,
    /// How it fares.
    pub info: Info,
    /// The app, if one was named; the pod has it.
    pub app: Option<String>,
}

impl Target {
    /// Names of the pod's apps.
    pub fn apps(&self) -> Vec<&str> {
        let apps = self.info.meta.iter().flat_map(|meta| &meta.apps);
        apps.map(|app| app.name.as_str()).collect()
    }

    /// The app that was named, or the only one.
    pub fn one_app(&self) -> Result<String, Failure> {
        match (&self.app, self.apps().as_slice()) {
            (Some(app), _) => Ok(app.clone()),
            (None, [one]) => Ok((*one).to_owned()),
            (None, apps) => Err(Failure::message("the pod has several apps: say which")
                .hint(format!("POD/APP, one of {}", apps.join(", ")))),
        }
    }
}

/// Finds what `word` names.
pub fn find(paths: &Paths, word: &str) -> Result<Target, Failure> {
    let (pod, app) = match word.split_once('/') {
        Some((pod, app)) => (pod, Some(app.to_owned())),
        None => (word, None),
    };
    let found = lookup::find(paths, pod)?;
    let info = list::info(paths, found)
        .ok_or_else(|| Failure::message(format!("pod {} has just been removed", found.uuid)))?;
    let target = Target { found, dir: found.state.path(paths, found.uuid), info, app };
    if let Some(app) = &target.app
        && !target.apps().contains(&app.as_str())
    {
        return Err(Failure::message(format!("pod {} has no app {app:?}", found.uuid))
            .hint(format!("it has {}", target.apps().join(", "))));
    }
    Ok(target)
}

/// The same, of a pod that runs; `verb` for the sentence that says that it does not.
pub fn running(paths: &Paths, word: &str, verb: &str) -> Result<Target, Failure> {
    let target = find(paths, word)?;
    if target.info.status != Status::Running {
        let state = target.info.status.as_str();
        let text = format!("cannot {verb} pod {}: it is {state}", target.found.uuid);
        return Err(Failure::message(text));
    }
    Ok(target)
}

/// One pod, by its name or by a file that `--uuid-file-save` wrote.
#[derive(Debug, clap::Args)]
pub struct PodArg {
    /// Name, UUID, or at least 8 digits of one.
    #[arg(value_name = "POD", required_unless_present = "uuid_file")]
    pod: Option<String>,
    /// Take the UUID from this file (--uuid-file-save of run and prepare).
    #[arg(long, value_name = "FILE", conflicts_with = "pod")]
    uuid_file: Option<PathBuf>,
}

impl PodArg {
    /// What to look for.
    pub fn word(&self) -> Result<String, Failure> {
        match (&self.pod, &self.uuid_file) {
            (Some(pod), _) => Ok(pod.clone()),
            (None, Some(file)) => uuid_of(file),
            (None, None) => Err(Failure::message("no pod was named")),
        }
    }
}

/// Several pods, by their names or by such files.
#[derive(Debug, clap::Args)]
pub struct PodsArg {
    /// Names, UUIDs, or at least 8 digits of one.
    #[arg(value_name = "POD", required_unless_present = "uuid_file")]
    pods: Vec<String>,
    /// Take a UUID from this file (--uuid-file-save of run and prepare); may be repeated.
    #[arg(long, value_name = "FILE")]
    uuid_file: Vec<PathBuf>,
}

impl PodsArg {
    /// What to look for; every file must be readable before anything is done.
    pub fn words(&self) -> Result<Vec<String>, Failure> {
        let mut words = self.pods.clone();
        for file in &self.uuid_file {
            words.push(uuid_of(file)?);
        }
        Ok(words)
    }
}

/// The UUID in a file. An empty file is that of a start that failed: an error, never "all pods".
fn uuid_of(file: &Path) -> Result<String, Failure> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        Failure::new(anyhow::Error::new(error).context(format!("cannot read {}", file.display())))
    })?;
    let text = text.trim();
    match uuid::Uuid::try_parse(text) {
        Ok(uuid) => Ok(uuid.to_string()),
        Err(_) if text.is_empty() => {
            Err(Failure::message(format!("{} is empty: it names no pod", file.display())))
        }
        Err(_) => Err(Failure::message(format!("{} does not hold a UUID", file.display()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_names_one_pod_or_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("uuid");
        assert!(uuid_of(&file).is_err());
        for bad in ["", " \n", "web", "0a1b2c3d", "../run"] {
            std::fs::write(&file, bad).unwrap();
            assert!(uuid_of(&file).is_err(), "{bad:?}");
        }
        std::fs::write(&file, "6f1b2c1e-58b5-4cbb-9f1d-6a1d8e1f1b11\n").unwrap();
        assert_eq!(uuid_of(&file).unwrap(), "6f1b2c1e-58b5-4cbb-9f1d-6a1d8e1f1b11");
    }
}
