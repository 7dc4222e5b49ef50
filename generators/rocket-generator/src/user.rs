//! Pods of users. Nothing can run them yet, so each has a unit whose start says so: a pod file that
//! does nothing, and says nothing, would be worse.

use crate::drop_in;
use crate::log;
use crate::output::Output;
use rocket_podfile::{Catalog, Diagnostic, LoadError};
use std::env;
use std::path::{Path, PathBuf};

/// Below the user's own configuration, which comes first.
const OWN: &str = "rocket/pods";
/// For all users.
const SHARED: [&str; 2] = ["/etc/rocket/user/pods", "/usr/lib/rocket/user/pods"];

/// Where pod files of the user lie, most important first.
pub fn search_path() -> Vec<PathBuf> {
    let dir = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let own = dir("XDG_CONFIG_HOME").or_else(|| dir("HOME").map(|home| home.join(".config")));
    own.map(|own| own.join(OWN)).into_iter().chain(SHARED.map(PathBuf::from)).collect()
}

/// Writes a unit for each pod that `dirs` have below `normal`.
pub fn generate(dirs: &[PathBuf], normal: &Path, generator: &Path) {
    let (catalog, unreadable) = Catalog::scan_readable(dirs);
    unreadable.iter().for_each(log::error);
    let output = Output::new(normal, 0);
    for name in catalog.names().into_iter().filter(|name| !name.ends_with('@')) {
        let error = match catalog.load(name) {
            Ok(loaded) => not_yet(name, loaded.sources.first()),
            Err(LoadError::Masked(_) | LoadError::NotFound { .. }) => continue,
            Err(error) => error,
        };
        // A user's manager has no template of ours to complete: this is the whole unit, whose start
        // is over when its program is.
        let text = drop_in::of_error(generator, &error, None) + "Type=oneshot\n";
        let unit = format!("rocket@{name}.service");
        if let Err(error) = output.unit(&unit, &text) {
            log::problem(&format!("cannot write {unit}: {error}"));
        }
    }
}

/// What a pod file that is right has against it.
fn not_yet(name: &str, file: Option<&PathBuf>) -> LoadError {
    LoadError::Invalid(vec![Diagnostic {
        file: file.cloned().unwrap_or_default(),
        line: 1,
        column: 1,
        message: "pods of users are not supported by this release".to_owned(),
        hint: Some(format!("as a pod of the system it is /etc/rocket/pods/{name}.toml")),
    }])
}
