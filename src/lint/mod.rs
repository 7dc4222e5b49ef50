//! What is worth saying about pod files that are right: what this host cannot do and what happens
//! instead, and what does not fit together between pods. Facts in, findings out; nothing here
//! looks at the host, and nothing here reads a pod file a second time.

mod between;
pub mod host;
pub mod schema;

use host::Host;
use rocket_podfile::{
    CredentialSource, Diagnostic, Loaded, Network, Places, VolumeKind, credential_places,
};
use std::collections::BTreeMap;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The pod would not start.
    Error,
    /// It starts, or may start, and something is not as written.
    Warning,
}

impl Severity {
    /// The word for people and programs.
    pub fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One thing found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad.
    pub severity: Severity,
    /// What kind of thing: a fixed word for programs.
    pub rule: &'static str,
    /// Where and what.
    pub diagnostic: Diagnostic,
}

/// A pod file that is right.
#[derive(Clone, Debug)]
pub struct Pod {
    /// The pod's name, or the file's path.
    pub name: String,
    /// What the file says.
    pub loaded: Loaded,
    /// Where it says it.
    pub places: Places,
}

impl Pod {
    fn warn(
        &self,
        rule: &'static str,
        path: &str,
        message: impl Into<String>,
        hint: Option<&str>,
    ) -> Finding {
        let diagnostic = self.places.diagnostic(path, message, hint.map(str::to_owned));
        Finding { severity: Severity::Warning, rule, diagnostic }
    }
}

/// What is known of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Image {
    /// In the store, and somebody vouches for it.
    Vouched,
    /// In the store, and nobody does.
    Unsigned,
    /// The store has it, and no pod starts of it: why.
    Refused(String),
    /// Not in the store.
    Missing,
    /// The reference is ambiguous, or of no form that is known.
    Bad(String),
    /// The store cannot be read by this user.
    Unknown,
}

/// Everything that is worth saying, in the order of the files.
pub fn check(
    pods: &[Pod],
    known: &[String],
    images: &BTreeMap<String, Image>,
    host: &Host,
) -> Vec<Finding> {
    let mut found = Vec::new();
    for pod in pods {
        of_images(pod, images, &mut found);
        of_values(pod, &mut found);
        of_host(pod, host, &mut found);
        of_paths(pod, host, &mut found);
        of_credentials(pod, host, &mut found);
    }
    found.extend(between::check(pods, known));
    found.sort_by(|a, b| {
        let key = |f: &Finding| (f.diagnostic.file.clone(), f.diagnostic.line, f.diagnostic.column);
        key(a).cmp(&key(b))
    });
    found
}

fn of_images(pod: &Pod, images: &BTreeMap<String, Image>, found: &mut Vec<Finding>) {
    for app in &pod.loaded.pod.apps {
        let path = format!("app.{}.image", app.name);
        let image = &app.image;
        found.extend(match images.get(image) {
            Some(Image::Missing) => {
                let text = format!("{image} is not in the store: the pod does not start");
                // A file is read by fetch, and its image is in the store by the name in it.
                let hint = match is_file(image) {
                    true => format!("rocket fetch {image}, and name the image that it prints"),
                    false => format!("rocket fetch {image}"),
                };
                Some(pod.warn("image-missing", &path, text, Some(&hint)))
            }
            Some(Image::Unsigned) => {
                let text = format!("{image} is in the store, and no signature vouches for it");
                Some(pod.warn("image-unsigned", &path, text, None))
            }
            Some(Image::Refused(why)) => {
                let text = format!("{image} is not trusted: {why}; the pod does not start");
                let hint = format!("rocket trust why {image}");
                let mut finding = pod.warn("image-untrusted", &path, text, Some(&hint));
                finding.severity = Severity::Error;
                Some(finding)
            }
            Some(Image::Bad(why)) => {
                let mut finding = pod.warn("image-reference", &path, why, None);
                finding.severity = Severity::Error;
                Some(finding)
            }
            Some(Image::Vouched | Image::Unknown) | None => None,
        });
    }
}

/// Whether the reference is a file or directory of this host.
fn is_file(image: &str) -> bool {
    ["/", "./", "../", "oci:", "oci-archive:", "docker-archive:"]
        .iter()
        .any(|start| image.starts_with(start))
}

/// Values that do not go together: one of them does nothing.
fn of_values(pod: &Pod, found: &mut Vec<Finding>) {
    use rocket_podfile::MemorySize::Bytes;
    let file = &pod.loaded.pod;
    for app in file.apps.iter().filter(|app| app.restart_max_delay < app.restart_delay) {
        let text = "restart-max-delay is below restart-delay: each pause is restart-delay";
        let path = format!("app.{}.restart-max-delay", app.name);
        found.push(pod.warn("restart-delay", &path, text, None));
    }
    let apps = file.apps.iter().map(|app| (format!("app.{}.limits", app.name), &app.limits));
    for (path, limits) in apps.chain([("limits".to_owned(), &file.limits)]) {
        let sizes = [
            ("memory-low", &limits.memory_low, "memory-high", &limits.memory_high),
            ("memory-low", &limits.memory_low, "memory-max", &limits.memory_max),
            ("memory-high", &limits.memory_high, "memory-max", &limits.memory_max),
        ];
        for (less, low, more, high) in sizes {
            if let (Some(Bytes(low)), Some(Bytes(high))) = (low, high)
                && low > high
            {
                let text = format!("{less} is above {more}, which counts first");
                found.push(pod.warn("memory-order", &format!("{path}.{less}"), text, None));
            }
        }
    }
}

/// What the kernel or systemd of this host does not have.
fn of_host(pod: &Pod, host: &Host, found: &mut Vec<Finding>) {
    let file = &pod.loaded.pod;
    let apps = file.apps.iter().map(|app| (format!("app.{}.limits", app.name), &app.limits));
    for (path, limits) in apps.chain([("limits".to_owned(), &file.limits)]) {
        let asked = [
            ("memory-max", "memory", limits.memory_max.is_some()),
            ("memory-high", "memory", limits.memory_high.is_some()),
            ("memory-low", "memory", limits.memory_low.is_some()),
            ("memory-swap-max", "memory", limits.memory_swap_max.is_some()),
            ("cpu-quota", "cpu", limits.cpu_quota.is_some()),
            ("cpu-weight", "cpu", limits.cpu_weight.is_some()),
            ("tasks-max", "pids", limits.tasks_max.is_some()),
            ("io-weight", "io", limits.io_weight.is_some()),
            ("io-max", "io", !limits.io_max.is_empty()),
            ("allowed-cpus", "cpuset", limits.allowed_cpus.is_some()),
        ];
        for (key, controller, _) in asked.iter().filter(|(_, _, asked)| *asked) {
            if let Some(controllers) = &host.controllers
                && !controllers.iter().any(|have| have == controller)
            {
                let text = format!(
                    "{key}: this host's cgroup tree has no {controller} controller; the pod does \
                     not start, or with --best-effort runs without this limit"
                );
                found.push(pod.warn("host-controller", &format!("{path}.{key}"), text, None));
            }
        }
        if limits.memory_swap_max.is_some() && host.swap_accounting == Some(false) {
            let text = "memory-swap-max: this kernel does not account for swap; the pod does not \
                        start, or with --best-effort runs without this limit";
            found.push(pod.warn("host-swap", &format!("{path}.memory-swap-max"), text, None));
        }
    }
    if file.security.user_namespace && host.user_namespaces == Some(0) {
        let text = "this host allows no user namespaces (user.max_user_namespaces = 0); the pod \
                    does not start";
        let hint = "raise the sysctl, or security.user-namespace = false";
        found.push(pod.warn("host-user-namespaces", "security.user-namespace", text, Some(hint)));
    }
    if file.network == Network::Host && file.security.user_namespace {
        for port in file.ports.iter().filter(|port| !port.activation && port.port < 1024) {
            let text = format!(
                "port {} of the host's network cannot be bound from the pod's user namespace",
                port.port
            );
            let hint = "activation = true has systemd bind it; or take one from 1024 on";
            let path = format!("port.{}.port", port.name);
            found.push(pod.warn("low-port", &path, text, Some(hint)));
        }
    }
    let encrypted = |credential: &&rocket_podfile::Credential| {
        matches!(credential.source, rocket_podfile::CredentialSource::LoadEncrypted(_))
    };
    if let (Some(version), Some(credential)) =
        (host.systemd, file.credentials.iter().find(encrypted))
        && version < 250
    {
        let text = format!("load-encrypted needs systemd 250, and this is {version}");
        let path = format!("credentials.{}", credential.name);
        found.push(pod.warn("host-systemd", &path, text, None));
    }
    if let Some(version) = host.systemd.filter(|version| *version < OLDEST_SYSTEMD) {
        let text = format!(
            "this host's systemd is {version}; rocket is tested from {OLDEST_SYSTEMD} on, and \
             directives that are unknown there are ignored with a warning in the journal"
        );
        found.push(pod.warn("host-systemd", "", text, None));
    }
    if let Some(kernel) = host.kernel.filter(|kernel| *kernel < OLDEST_KERNEL) {
        let text = format!(
            "this host's kernel is {}.{}; user namespaces of pods need {}.{}, and the pod does \
             not start",
            kernel.0, kernel.1, OLDEST_KERNEL.0, OLDEST_KERNEL.1
        );
        found.push(pod.warn("host-kernel", "", text, None));
    }
}

/// Credentials that no app has, and files of some that are not there.
fn of_credentials(pod: &Pod, host: &Host, found: &mut Vec<Finding>) {
    let file = &pod.loaded.pod;
    for credential in &file.credentials {
        let path = format!("credentials.{}", credential.name);
        if !file.apps.iter().any(|app| app.credentials.contains(&credential.name)) {
            let text = format!("no app has the credential {}", credential.name);
            let hint = format!("credentials = [{:?}] in the app that needs it", credential.name);
            found.push(pod.warn("credential-unused", &path, text, Some(&hint)));
        }
        let (from, places, key) = match &credential.source {
            CredentialSource::Load(from) => (from, credential_places(from, false), "load"),
            CredentialSource::LoadEncrypted(from) => {
                (from, credential_places(from, true), "load-encrypted")
            }
            CredentialSource::Set(_) => continue,
        };
        if places.iter().all(|place| host.missing.contains(place)) {
            let path = format!("{path}.{key}");
            let (text, hint) = match places.as_slice() {
                [_] => (format!("{from} is not there: the pod does not start"), None),
                _ => (
                    format!("{from} is in none of systemd's stores: the pod does not start"),
                    places.get(1).map(|place| format!("put it into {}", place.display())),
                ),
            };
            found.push(pod.warn("credential-missing", &path, text, hint.as_deref()));
        }
    }
}

/// The files that credentials of a pod may be loaded from.
fn credential_files(pod: &Pod) -> impl Iterator<Item = std::path::PathBuf> {
    pod.loaded.pod.credentials.iter().flat_map(|credential| match &credential.source {
        CredentialSource::Load(from) => credential_places(from, false),
        CredentialSource::LoadEncrypted(from) => credential_places(from, true),
        CredentialSource::Set(_) => Vec::new(),
    })
}

/// The oldest systemd that the tests run under.
const OLDEST_SYSTEMD: u32 = 252;
/// Idmapped layers below an overlay came with 5.19; the tests run from 6.1 on.
const OLDEST_KERNEL: (u32, u32) = (5, 19);

/// Files of the host that the pod needs.
fn of_paths(pod: &Pod, host: &Host, found: &mut Vec<Finding>) {
    let file = &pod.loaded.pod;
    let mut need = |path: String, what: &std::path::Path| {
        if host.missing.contains(what) {
            let text = format!("{} is not there: the pod does not start", what.display());
            found.push(pod.warn("path-missing", &path, text, None));
        }
    };
    for volume in &file.volumes {
        if let VolumeKind::Host { source, .. } = &volume.kind {
            need(format!("volume.{}.source", volume.name), source);
        }
    }
    for app in &file.apps {
        for (index, path) in app.environment_files.iter().enumerate() {
            need(format!("app.{}.environment-files.{index}", app.name), path);
        }
    }
    for volume in &file.volumes {
        if let VolumeKind::Host { source, .. } = &volume.kind
            && let Some(kind) = host.not_idmappable.get(source)
            && volume.idmap
            && file.security.user_namespace
        {
            let text = format!(
                "{} lies on {kind}, whose owners this kernel cannot map into the pod's user \
                 namespace; the pod does not start",
                source.display()
            );
            let hint = "idmap = false shows the owners as they are, to which the pod has no right";
            let path = format!("volume.{}.source", volume.name);
            found.push(pod.warn("host-idmap", &path, text, Some(hint)));
        }
    }
}

/// The paths of the host that [`check`] wants to know of.
pub fn paths(pods: &[Pod]) -> Vec<std::path::PathBuf> {
    let of = |pod: &Pod| {
        let file = &pod.loaded.pod;
        let volumes = file.volumes.iter().filter_map(|volume| match &volume.kind {
            VolumeKind::Host { source, .. } => Some(source.clone()),
            _ => None,
        });
        let files = file.apps.iter().flat_map(|app| app.environment_files.iter().cloned());
        volumes.chain(files).chain(credential_files(pod)).collect::<Vec<_>>()
    };
    pods.iter().flat_map(of).collect()
}

#[cfg(test)]
mod tests;
