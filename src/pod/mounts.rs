//! What an app sees mounted: kernel file systems, volumes, and the files that make names resolve.

use super::etc::EtcFile;
use super::plan::{AppInput, Input, MakeDir, PlanError};
use super::sources::{Origin, Source};
use rocket_plan::{Mount, MountSource};
use rocket_podfile as file;
use rocket_podfile::VolumeKind;
use std::collections::BTreeSet;
use std::path::Path;

fn kernel_mount(source: MountSource, target: &str, read_only: bool) -> Mount {
    Mount {
        noexec: !matches!(source, MountSource::Dev),
        nodev: !matches!(source, MountSource::Dev),
        source,
        target: target.to_owned(),
        read_only,
        nosuid: true,
    }
}

/// The mounts of one app, in order; what they come from is added to `sources` and `dirs`.
///
/// # Errors
/// A volume that cannot be mounted where it is asked for.
pub(super) fn mounts(
    input: &Input<'_>,
    app: &AppInput<'_>,
    etc: &[EtcFile],
    sources: &mut Vec<Source>,
    dirs: &mut Vec<MakeDir>,
) -> Result<Vec<Mount>, PlanError> {
    let name = &app.app.name;
    let mut mounts = vec![
        kernel_mount(MountSource::Proc, "/proc", false),
        kernel_mount(MountSource::Sysfs, "/sys", true),
        kernel_mount(MountSource::Cgroup2, "/sys/fs/cgroup", true),
        kernel_mount(MountSource::Dev, "/dev", false),
    ];
    let mut taken = BTreeSet::new();
    for mount in &app.app.mounts {
        let failed = |why: &str| PlanError::Mount {
            app: name.clone(),
            volume: mount.volume.clone(),
            target: mount.target.clone(),
            why: why.to_owned(),
        };
        if mount.target == "/" {
            return Err(failed("it would hide the whole root"));
        }
        if !taken.insert(mount.target.clone()) {
            return Err(failed("another volume is mounted there"));
        }
        let volume =
            input.pod.volume(&mount.volume).ok_or_else(|| failed("there is no such volume"))?;
        let source = volume_source(input, name, volume, sources, dirs)?;
        mounts.push(Mount {
            source,
            target: mount.target.clone(),
            read_only: mount.read_only || volume.read_only,
            nosuid: true,
            nodev: true,
            noexec: false,
        });
    }
    for (point, path, read_only) in &app.image.mount_points {
        if path == "/" || !taken.insert(path.clone()) {
            continue;
        }
        // appc: every mount point is satisfied; one without a volume gets an empty one of its name.
        let origin = Origin::Pod(Path::new("volumes").join(format!("implicit-{point}")));
        let source = format!("volume:{name}:implicit-{point}");
        sources.push(Source { name: source.clone(), origin: origin.clone(), recursive: false });
        make_dir(dirs, MakeDir { origin, mode: 0o755, uid: 0, gid: 0 });
        mounts.push(Mount {
            source: MountSource::Descriptor(source),
            target: path.clone(),
            read_only: *read_only,
            nosuid: true,
            nodev: true,
            noexec: false,
        });
    }
    super::etc::mounts(etc, app, &taken, sources, &mut mounts);
    Ok(mounts)
}

fn volume_source(
    input: &Input<'_>,
    app: &str,
    volume: &file::Volume,
    sources: &mut Vec<Source>,
    dirs: &mut Vec<MakeDir>,
) -> Result<MountSource, PlanError> {
    let (origin, recursive) = match &volume.kind {
        VolumeKind::Tmpfs { size } => {
            return Ok(MountSource::SharedTmpfs {
                name: format!("volume-{}", volume.name),
                size: *size,
                mode: volume.mode,
                uid: volume.uid,
                gid: volume.gid,
            });
        }
        VolumeKind::Empty => (Origin::Pod(Path::new("volumes").join(&volume.name)), false),
        VolumeKind::State => {
            let pod = input.name.ok_or_else(|| PlanError::StateWithoutName(volume.name.clone()))?;
            (Origin::State(Path::new("volumes").join(pod).join(&volume.name)), false)
        }
        VolumeKind::Host { source, recursive } => (Origin::Host(source.clone()), *recursive),
    };
    if !matches!(origin, Origin::Host(_)) {
        let (mode, uid, gid) = (volume.mode, volume.uid, volume.gid);
        make_dir(dirs, MakeDir { origin: origin.clone(), mode, uid, gid });
    }
    let count = sources.len();
    let name = format!("volume:{app}:{}:{count}", volume.name);
    sources.push(Source { name: name.clone(), origin, recursive });
    Ok(MountSource::Descriptor(name))
}

fn make_dir(dirs: &mut Vec<MakeDir>, dir: MakeDir) {
    if dirs.iter().all(|known| known.origin != dir.origin) {
        dirs.push(dir);
    }
}
