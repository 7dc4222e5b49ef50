//! Every path rocket knows, in one place. State paths are parameters, never constants elsewhere.

use std::path::{Path, PathBuf};

/// Directory of the state when nothing else is asked for.
pub const DEFAULT_STATE: &str = "/var/lib/rocket";
/// Where stage1 flavours are installed.
///
/// `make install PREFIX=…` builds with another one.
pub const STAGE1: &str = match option_env!("ROCKET_STAGE1_DIR") {
    Some(dir) => dir,
    None => "/usr/lib/rocket/stage1",
};
/// Where transports are installed; `ROCKET_TRANSPORT_DIR` at run time wins over it.
pub const TRANSPORTS: &str = match option_env!("ROCKET_TRANSPORT_DIR") {
    Some(dir) => dir,
    None => "/usr/lib/rocket/transport",
};
/// Directories of the configuration, the most important last.
pub const CONFIG: [&str; 3] = ["/usr/lib/rocket", "/run/rocket", "/etc/rocket"];
/// Search path of pod files, most important first.
pub const POD_FILES: [&str; 3] = ["/etc/rocket/pods", RUNTIME_POD_FILES, "/usr/lib/rocket/pods"];
/// Those of this boot.
pub const RUNTIME_POD_FILES: &str = "/run/rocket/pods";

/// The host's identity, which local evidence is bound to.
pub const MACHINE_ID: &str = "/etc/machine-id";

/// The directory of the transports.
pub fn transports() -> PathBuf {
    std::env::var_os("ROCKET_TRANSPORT_DIR").map_or_else(|| TRANSPORTS.into(), PathBuf::from)
}

/// The directories of the configuration, the most important last: `ROCKET_CONFIG_DIR` alone, if it is
/// set.
pub fn config() -> Vec<PathBuf> {
    match std::env::var_os("ROCKET_CONFIG_DIR") {
        Some(dir) => vec![dir.into()],
        None => CONFIG.iter().map(PathBuf::from).collect(),
    }
}

/// The directories of trusted keys, the most important last.
pub fn trusted_keys() -> Vec<PathBuf> {
    config().into_iter().map(|dir| dir.join("trustedkeys")).collect()
}

/// The directories of one state root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    state: PathBuf,
}

impl Paths {
    /// Paths below `state`.
    pub fn new(state: impl Into<PathBuf>) -> Self {
        Self { state: state.into() }
    }

    /// The state root itself.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// The image store.
    pub fn store(&self) -> PathBuf {
        self.state.join("store")
    }

    /// This host's secret: it vouches for what root packed here.
    pub fn host_key(&self) -> PathBuf {
        self.state.join("host.key")
    }

    /// What root packed here, by image id.
    pub fn packed(&self) -> PathBuf {
        self.state.join("packed")
    }

    /// What root has accepted here, by image id.
    pub fn accepted(&self) -> PathBuf {
        self.state.join("accepted")
    }

    /// The pod directories, one directory a state.
    pub fn pods(&self) -> PathBuf {
        self.state.join("pods")
    }

    /// Pod names and their locks.
    pub fn names(&self) -> PathBuf {
        self.state.join("names")
    }

    /// Which ranges of ids belong to which pod.
    pub fn ids(&self) -> PathBuf {
        self.state.join("ids")
    }

    /// Managed volumes.
    pub fn volumes(&self) -> PathBuf {
        self.state.join("volumes")
    }
}
