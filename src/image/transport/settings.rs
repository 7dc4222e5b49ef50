//! What a fetch from elsewhere goes by: where the transports are, whom they may speak to and how.

use super::auth;
use super::registries::{self, Registry};
use super::wire::{Credentials, Proxy};
use crate::image::error::ImageError;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where Docker Hub's images are, for those who ask for docker.io.
const DOCKER_HUB: (&str, &str) = ("docker.io", "registry-1.docker.io");
/// Largest file of the configuration.
const MAX_FILE: u64 = 1 << 20;

/// Settings of everything that comes from elsewhere. No `Debug`: proxies may hold a password.
pub struct Remote {
    /// Directory of the transports.
    pub programs: PathBuf,
    /// Directories of the configuration, the most important last.
    pub config: Vec<PathBuf>,
    /// Seconds for each step of a request, and for each wait in the middle of a transfer.
    pub timeout: u64,
    /// How often a request that failed for a passing reason is made again.
    pub retries: u32,
    /// How many blobs come at once.
    pub parallel: usize,
    pub(crate) proxy: Proxy,
}

/// One server that may have what is wanted.
pub(crate) struct Endpoint {
    /// The transport.
    pub scheme: String,
    /// Scheme, host and port.
    pub url: String,
    /// The repository there.
    pub repository: String,
    /// Speaking to it without encryption is allowed.
    pub http: bool,
    /// Certificates of its authorities, PEM.
    pub ca: Vec<String>,
    /// Who we are to it.
    pub credentials: Option<Credentials>,
    /// Who else may see that.
    pub token_hosts: Vec<String>,
    /// It stands in for the registry that was asked for.
    pub mirror: bool,
}

impl Remote {
    /// Settings with the environment's proxies.
    pub fn new(programs: PathBuf, config: Vec<PathBuf>) -> Self {
        // Of each the small name first, as everybody does; and HTTP_PROXY only so: a CGI's client can
        // set the other one.
        let var = |names: [&str; 2]| {
            names.into_iter().find_map(|n| std::env::var(n).ok().filter(|value| !value.is_empty()))
        };
        let all = var(["all_proxy", "ALL_PROXY"]);
        let no = var(["no_proxy", "NO_PROXY"]).unwrap_or_default();
        let proxy = Proxy {
            https: var(["https_proxy", "HTTPS_PROXY"]).or_else(|| all.clone()),
            http: var(["http_proxy", "HTTP_PROXY"]).or(all),
            no: no.split(',').map(|host| host.trim().to_owned()).collect(),
        };
        Self { programs, config, timeout: 30, retries: 3, parallel: 4, proxy }
    }

    /// The program of a scheme.
    pub(crate) fn program(&self, scheme: &str) -> PathBuf {
        self.programs.join(scheme)
    }

    /// The servers to ask for a repository, in order; the registry itself is the last.
    pub(crate) fn endpoints(
        &self,
        host: &str,
        repository: &str,
    ) -> Result<Vec<Endpoint>, ImageError> {
        let known = registries::load(&self.config)?;
        let wanted = format!("{host}/{repository}");
        let mut found = Vec::new();
        if let Some((prefix, registry)) = registries::most_specific(&known, &wanted) {
            let below = wanted.get(prefix.len()..).unwrap_or_default();
            for mirror in &registry.mirrors {
                let address = format!("{mirror}{below}");
                let Some((host, repository)) = address.split_once('/') else { continue };
                found.push(self.endpoint(&known, host, repository, true)?);
            }
        }
        found.push(self.endpoint(&known, host, repository, false)?);
        Ok(found)
    }

    /// The address of a name's page: encrypted, unless the configuration lets the host be without.
    pub(crate) fn page(&self, name: &str) -> Result<String, ImageError> {
        let known = registries::load(&self.config)?;
        let http = registries::most_specific(&known, name).is_some_and(|(_, it)| it.insecure_http);
        Ok(format!("{}://{name}", if http { "http" } else { "https" }))
    }

    /// The server that a file's address names.
    pub(crate) fn web(&self, url: &str) -> Result<Endpoint, ImageError> {
        let known = registries::load(&self.config)?;
        let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let host = host.to_ascii_lowercase();
        let path = path.split('?').next().unwrap_or_default();
        let endpoint = self.endpoint(&known, &host, path, false)?;
        if scheme == "http" && !endpoint.http {
            return Err(ImageError::Remote {
                subject: url.to_owned(),
                problem: "it is not encrypted".to_owned(),
                hint: Some(format!(
                    "use https, or allow it for {host}: insecure-http = true in registries.d"
                )),
            });
        }
        Ok(Endpoint { scheme: scheme.to_owned(), url: format!("{scheme}://{host}"), ..endpoint })
    }

    fn endpoint(
        &self,
        known: &BTreeMap<String, Registry>,
        host: &str,
        repository: &str,
        mirror: bool,
    ) -> Result<Endpoint, ImageError> {
        let address = format!("{host}/{repository}");
        let registry = registries::most_specific(known, &address).map(|(_, registry)| registry);
        let http = registry.is_some_and(|registry| registry.insecure_http);
        let mut files = self.certificates(host)?;
        files.extend(registry.iter().flat_map(|registry| registry.ca.iter().cloned()));
        let ca = files.iter().map(|path| read(path)).collect::<Result<_, _>>()?;
        let login = auth::find(&self.config, &address)?;
        let (hub, server) = DOCKER_HUB;
        let server = if host == hub { server } else { host };
        let scheme = if http { "http" } else { "https" };
        Ok(Endpoint {
            scheme: "docker".to_owned(),
            url: format!("{scheme}://{server}"),
            repository: repository.to_owned(),
            http,
            ca,
            credentials: login.credentials,
            token_hosts: login.token_hosts,
            mirror,
        })
    }

    /// The files `certs.d/HOST/*.crt`.
    fn certificates(&self, host: &str) -> Result<Vec<PathBuf>, ImageError> {
        let dirs = self.config.iter().map(|dir| dir.join("certs.d").join(host));
        let mut found = BTreeMap::new();
        for dir in dirs {
            found.extend(files(&dir, "crt")?);
        }
        Ok(found.into_values().collect())
    }
}

/// The files of a directory with this extension, by name; none where there is no directory.
pub(super) fn files(
    dir: &Path,
    extension: &str,
) -> Result<BTreeMap<std::ffi::OsString, PathBuf>, ImageError> {
    let failed = |e| ImageError::io("read", dir, e);
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut found = BTreeMap::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        if let Some(name) = path.file_name()
            && path.extension().is_some_and(|found| found == extension)
            && !path.is_dir()
        {
            found.insert(name.to_owned(), path);
        }
    }
    Ok(found)
}

/// The files `DIR/*.toml` of all layers: one hides those of its name in earlier layers.
pub(crate) fn layered(config: &[PathBuf], dir: &str) -> Result<Vec<PathBuf>, ImageError> {
    let mut found = BTreeMap::new();
    for layer in config {
        found.extend(files(&layer.join(dir), "toml")?);
    }
    Ok(found.into_values().collect())
}

/// Reads a file of the configuration.
pub(super) fn read(path: &Path) -> Result<String, ImageError> {
    use std::io::Read;
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|e| ImageError::io("open", path, e))?;
    file.take(MAX_FILE).read_to_string(&mut text).map_err(|e| ImageError::io("read", path, e))?;
    Ok(text)
}

/// Reads TOML; an error says where, and nothing of what is written there.
pub(super) fn parse<T: serde::de::DeserializeOwned>(
    path: &Path,
    text: &str,
) -> Result<T, ImageError> {
    toml::from_str(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        let before = text.get(..start).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or(before).chars().count() + 1;
        ImageError::bad(format!("{}:{line}:{column}", path.display()), error.message())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_come_first_and_certificates_belong_to_a_host() {
        let root = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write(
            "registries.d/hub.toml",
            "[registry.\"docker.io/library\"]\nmirrors = [\"mirror.example:5000/lib\"]\n\
             [registry.\"mirror.example:5000\"]\ninsecure-http = true\n",
        );
        write("certs.d/docker.io/a.crt", "A");
        write("certs.d/docker.io/a.key", "B");
        let remote = Remote::new("/none".into(), vec![root.path().to_owned()]);
        let found = remote.endpoints("docker.io", "library/nginx").unwrap();
        let shown: Vec<_> = found
            .iter()
            .map(|e| (e.url.as_str(), e.repository.as_str(), e.http, e.mirror, e.ca.len()))
            .collect();
        assert_eq!(
            shown,
            [
                ("http://mirror.example:5000", "lib/nginx", true, true, 0),
                ("https://registry-1.docker.io", "library/nginx", false, false, 1),
            ]
        );
        assert_eq!(remote.endpoints("docker.io", "librarymore/x").unwrap().len(), 1);
        write("registries.d/bad.toml", "[registry.a]\nmirors = []\n");
        let error = remote.endpoints("docker.io", "x").err().unwrap().to_string();
        assert!(error.contains("bad.toml:2:1") && error.contains("mirors"), "{error}");
    }
}
