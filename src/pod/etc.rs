//! The files that rocket itself puts below an app's `/etc`: they make names resolve, and say which
//! machine this is.
//!
//! What they hold is decided here from plain data, once for all apps of the pod. Where an app has a
//! volume in their place they stay away.

use super::plan::{AppInput, Input};
use super::prepare::{PrepareError, io_error, mkdir};
use super::sources::{Origin, Source};
use rocket_plan::{Mount, MountSource};
use rocket_podfile::{Dns, Hosts, Network, PodFile, Resolver};
use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The host's own files, as far as the pod is to have copies.
#[derive(Clone, Debug, Default)]
pub struct HostFiles {
    /// `/etc/resolv.conf`.
    pub resolv: Option<Vec<u8>>,
    /// `/etc/hosts`.
    pub hosts: Option<Vec<u8>>,
}

/// A file of the pod's, below `/etc` of its apps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcFile {
    /// `hosts`, `resolv.conf`, …
    pub name: &'static str,
    /// What it holds.
    pub bytes: Vec<u8>,
    /// An image's own file of that name stays in sight.
    yields: bool,
}

/// Reads what of the host is wanted.
///
/// # Errors
/// A file that the pod file names is not there.
pub(super) fn host_files(pod: &PodFile) -> Result<HostFiles, PrepareError> {
    let read = |path: &str, required: bool| match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if !required && error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error("read", Path::new(path))(error)),
    };
    let resolv = match (&pod.dns, &pod.network) {
        (Dns::Host, _) => read("/etc/resolv.conf", true)?,
        (Dns::Auto, Network::Host) => read("/etc/resolv.conf", false)?,
        _ => None,
    };
    let hosts = match &pod.hosts {
        Hosts::Host => read("/etc/hosts", true)?,
        Hosts::Own(_) => None,
    };
    Ok(HostFiles { resolv, hosts })
}

/// The files of a pod.
pub(super) fn files(input: &Input<'_>, hostname: &str) -> Vec<EtcFile> {
    let file = |name, bytes, yields| EtcFile { name, bytes, yields };
    let mut files = Vec::new();
    let resolv = match &input.pod.dns {
        Dns::None => None,
        Dns::Own(resolver) => Some(resolv_conf(resolver)),
        Dns::Auto | Dns::Host => input.host_files.resolv.clone(),
    };
    files.extend(resolv.map(|bytes| file("resolv.conf", bytes, false)));
    let hosts = match &input.pod.hosts {
        Hosts::Host => file("hosts", input.host_files.hosts.clone().unwrap_or_default(), false),
        // appc 0.8.11, ace.md: the image's own is not touched, unless somebody asks for more.
        Hosts::Own(list) => {
            let mut text = format!(
                "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n127.0.1.1\t{hostname}\n"
            );
            list.iter().for_each(|(name, ip)| text.push_str(&format!("{ip}\t{name}\n")));
            file("hosts", text.into_bytes(), list.is_empty())
        }
    };
    files.push(hosts);
    files.push(file("hostname", format!("{hostname}\n").into_bytes(), false));
    files.push(file("machine-id", format!("{}\n", machine_id(input.uuid)).into_bytes(), false));
    files
}

/// machine-id(5): 32 hexadecimal digits. The pod's own, from its UUID.
fn machine_id(uuid: &str) -> String {
    uuid.chars().filter(|c| *c != '-').collect()
}

fn resolv_conf(resolver: &Resolver) -> Vec<u8> {
    let mut text = String::new();
    let mut line = |key: &str, words: &[String]| {
        if !words.is_empty() {
            text.push_str(&format!("{key} {}\n", words.join(" ")));
        }
    };
    line("domain", resolver.domain.as_slice());
    line("search", &resolver.search);
    resolver.servers.iter().for_each(|server| line("nameserver", &[server.to_string()]));
    line("options", &resolver.options);
    text.into_bytes()
}

/// Mounts them in one app; `taken` are the targets of its volumes.
pub(super) fn mounts(
    files: &[EtcFile],
    app: &AppInput<'_>,
    taken: &BTreeSet<String>,
    sources: &mut Vec<Source>,
    mounts: &mut Vec<Mount>,
) {
    if taken.contains("/etc") {
        return;
    }
    for file in files {
        let target = format!("/etc/{}", file.name);
        if taken.contains(&target) || (file.yields && app.image.has_hosts) {
            continue;
        }
        let source = format!("etc:{}:{}", app.app.name, file.name);
        sources.push(Source {
            name: source.clone(),
            origin: Origin::Pod(Path::new("etc").join(file.name)),
            recursive: false,
            follow_symlinks: false,
            idmap: true,
        });
        mounts.push(Mount {
            source: MountSource::Descriptor(source),
            target,
            read_only: true,
            nosuid: true,
            nodev: true,
            noexec: true,
            lent: false,
        });
    }
}

/// Writes them into the pod directory.
pub(super) fn write(pod: &Path, files: &[EtcFile]) -> Result<(), PrepareError> {
    let etc = pod.join("etc");
    mkdir(&etc, 0o755)?;
    for file in files {
        let path = etc.join(file.name);
        std::fs::write(&path, &file.bytes).map_err(io_error("write", &path))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644))
            .map_err(io_error("set the mode of", &path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolv_conf_has_precisely_what_was_asked_for() {
        let resolver = Resolver {
            servers: vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
            search: vec!["a.example".into(), "b.example".into()],
            options: vec!["ndots:2".into(), "rotate".into()],
            domain: None,
        };
        let text = "search a.example b.example\nnameserver 192.0.2.1\nnameserver 2001:db8::1\n\
                    options ndots:2 rotate\n";
        assert_eq!(String::from_utf8(resolv_conf(&resolver)).unwrap(), text);
        assert_eq!(resolv_conf(&Resolver::default()), b"");
    }

    #[test]
    fn a_machine_id_is_the_uuid_without_its_dashes() {
        let id = machine_id("0b3d6cbe-58b5-4cbb-9f1d-6a1d8e1f1b11");
        assert_eq!(id, "0b3d6cbe58b54cbb9f1d6a1d8e1f1b11");
    }
}
