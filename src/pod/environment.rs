//! The environment of an app: which level says what.

use super::plan::{AppInput, Input};
use super::prepare::{PrepareError, io_error};
use std::path::PathBuf;

/// `PATH` of an app whose image sets none (appc 0.8.11, ace.md).
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Later levels win, variable by variable: defaults, image, `environment-files`, `environment`, the
/// command line.
pub(super) fn environment(input: &Input<'_>, app: &AppInput<'_>) -> Vec<String> {
    let defaults = [
        ("PATH".to_owned(), DEFAULT_PATH.to_owned()),
        ("AC_APP_NAME".to_owned(), app.app.name.clone()),
        // systemd's container interface; the UUID without its dashes is the machine-id.
        ("container".to_owned(), "rocket".to_owned()),
        ("container_uuid".to_owned(), input.uuid.to_owned()),
    ];
    let mut list: Vec<(String, String)> = Vec::new();
    let levels = defaults
        .iter()
        .chain(&app.image.environment)
        .chain(app.file_environment)
        .chain(&app.app.environment)
        .chain(input.command_line);
    for (name, value) in levels {
        match list.iter_mut().find(|(known, _)| known == name) {
            Some(entry) => entry.1.clone_from(value),
            None => list.push((name.clone(), value.clone())),
        }
    }
    // Where rocket puts them is no choice of anybody's.
    if let Some(directory) = super::credentials::directory(app.app) {
        list.retain(|(name, _)| name != super::credentials::VARIABLE);
        list.push((super::credentials::VARIABLE.to_owned(), directory));
    }
    list.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

/// `NAME=value` lines; empty ones and those that begin with `#` or `;` are skipped; quotes are kept
/// as they are.
pub(super) fn environment_files(paths: &[PathBuf]) -> Result<Vec<(String, String)>, PrepareError> {
    let mut list = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(path).map_err(io_error("read", path))?;
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            let bad = || PrepareError::EnvironmentFile { path: path.clone(), line: index + 1 };
            let (name, value) = line.split_once('=').ok_or_else(bad)?;
            if name.is_empty() || value.contains('\0') {
                return Err(bad());
            }
            list.push((name.to_owned(), value.to_owned()));
        }
    }
    Ok(list)
}
