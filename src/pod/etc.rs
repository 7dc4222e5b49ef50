//! The files that rocket itself puts below an app's `/etc`.

use super::plan::{AppInput, Input};
use super::prepare::{PrepareError, io_error, mkdir};
use super::sources::{Origin, Source};
use rocket_plan::{Mount, MountSource};
use rocket_podfile as file;
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The files that make names resolve: `/etc/resolv.conf` of the host for a pod on its network, and
/// an `/etc/hosts` where the image has none (appc: never change one that it has).
pub(super) fn host_files(
    input: &Input<'_>,
    app: &AppInput<'_>,
    taken: &BTreeSet<String>,
    sources: &mut Vec<Source>,
    mounts: &mut Vec<Mount>,
) {
    let mut files = Vec::new();
    if input.pod.network == file::Network::Host {
        files.push("resolv.conf");
    }
    if !app.image.has_hosts {
        files.push("hosts");
    }
    for file in files {
        let target = format!("/etc/{file}");
        if taken.contains(&target) || taken.contains("/etc") {
            continue;
        }
        let source = format!("etc:{}:{file}", app.app.name);
        sources.push(Source {
            name: source.clone(),
            origin: Origin::Pod(Path::new("etc").join(file)),
            recursive: false,
        });
        mounts.push(Mount {
            source: MountSource::Descriptor(source),
            target,
            read_only: true,
            nosuid: true,
            nodev: true,
            noexec: true,
        });
    }
}

/// `etc/resolv.conf` and `etc/hosts` of the pod, mounted where the plan says.
pub(super) fn write_host_files(pod: &Path, hostname: &str) -> Result<(), PrepareError> {
    let etc = pod.join("etc");
    mkdir(&etc, 0o755)?;
    let resolv = std::fs::read("/etc/resolv.conf").unwrap_or_default();
    let hosts =
        format!("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n127.0.1.1\t{hostname}\n");
    for (name, bytes) in [("resolv.conf", resolv.as_slice()), ("hosts", hosts.as_bytes())] {
        let path = etc.join(name);
        std::fs::write(&path, bytes).map_err(io_error("write", &path))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644))
            .map_err(io_error("set the mode of", &path))?;
    }
    Ok(())
}
