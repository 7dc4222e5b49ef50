//! What an app sees mounted: kernel file systems, volumes, and the files that make names resolve.

use super::etc::EtcFile;
use super::plan::{AppInput, Fill, Input, MakeDir, PlanError};
use super::sources::{Origin, Source};
use super::volumes::HostSource;
use rocket_plan::{Mount, MountSource};
use rocket_podfile as file;
use rocket_podfile::VolumeKind;
use std::collections::BTreeSet;
use std::path::Path;

/// A place where an image wants a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountPoint {
    /// Its name, which a volume of the pod may have.
    pub name: String,
    /// The path.
    pub path: String,
    /// For reading only.
    pub read_only: bool,
    /// An appc one: satisfied by the volume of its name, and shared by the apps that name it. An OCI
    /// volume only says that data lives there.
    pub shared: bool,
}

fn kernel_mount(source: MountSource, target: &str, read_only: bool) -> Mount {
    Mount {
        noexec: !matches!(source, MountSource::Dev),
        nodev: !matches!(source, MountSource::Dev),
        source,
        target: target.to_owned(),
        read_only,
        nosuid: true,
        lent: false,
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
    let mut maker = Maker { input, app, sources, dirs };
    let mut taken = BTreeSet::new();
    let mut volumes = Vec::new();
    for mount in &app.app.mounts {
        let failed = |why: &str| maker.failed(&mount.volume, &mount.target, why);
        let volume =
            input.pod.volume(&mount.volume).ok_or_else(|| failed("there is no such volume"))?;
        if !taken.insert(mount.target.clone()) {
            return Err(failed("another volume is mounted there"));
        }
        volumes.push(maker.volume(volume, &mount.target, mount.read_only)?);
    }
    let mut points = BTreeSet::new();
    for point in &app.image.mount_points {
        let target = plain(&point.path);
        if !points.insert(target.clone()) {
            return Err(maker.failed(&point.name, &target, "the image names that path twice"));
        }
        if let Some(why) = reserved(&point.path) {
            return Err(maker.failed(&point.name, &target, why));
        }
        // The pod file has its own idea of that path.
        if taken.contains(&target) {
            continue;
        }
        if let Some(mount) = maker.point(point, &target)? {
            taken.insert(target);
            volumes.push(mount);
        }
    }
    // What lies inside comes after what it lies in.
    volumes.sort_by(|a, b| a.target.split('/').cmp(b.target.split('/')));
    let mut mounts = vec![
        kernel_mount(MountSource::Proc, "/proc", false),
        kernel_mount(MountSource::Sysfs, "/sys", true),
        kernel_mount(MountSource::Cgroup2, "/sys/fs/cgroup", true),
        kernel_mount(MountSource::Dev, "/dev", false),
    ];
    mounts.append(&mut volumes);
    super::etc::mounts(etc, app, &taken, maker.sources, &mut mounts);
    mounts.extend(super::credentials::mount(app.app));
    Ok(mounts)
}

/// A path without needless slashes and dots.
fn plain(path: &str) -> String {
    let parts = path.split('/').filter(|part| !matches!(*part, "" | "."));
    parts.fold(String::new(), |path, part| path + "/" + part)
}

/// Why no volume may be there, as far as the words tell; init looks at where they lead.
fn reserved(path: &str) -> Option<&'static str> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    match parts.as_slice() {
        [] => Some("it would hide the whole root"),
        ["dev", "shm"] => None,
        ["proc" | "sys" | "dev", ..] => Some("that is rocket's own"),
        _ => None,
    }
}

struct Maker<'a> {
    input: &'a Input<'a>,
    app: &'a AppInput<'a>,
    sources: &'a mut Vec<Source>,
    dirs: &'a mut Vec<MakeDir>,
}

impl Maker<'_> {
    fn failed(&self, volume: &str, target: &str, why: &str) -> PlanError {
        PlanError::Mount {
            app: self.app.app.name.clone(),
            volume: volume.to_owned(),
            target: target.to_owned(),
            why: why.to_owned(),
        }
    }

    /// A mount of a volume of the pod file.
    fn volume(
        &mut self,
        volume: &file::Volume,
        target: &str,
        read_only: bool,
    ) -> Result<Mount, PlanError> {
        let app = &self.app.app.name;
        let mut mount = Mount {
            source: MountSource::Dev,
            target: target.to_owned(),
            read_only: read_only || volume.read_only,
            nosuid: true,
            nodev: true,
            noexec: false,
            lent: false,
        };
        let (origin, recursive, follow_symlinks) = match &volume.kind {
            VolumeKind::Tmpfs { size } => {
                mount.source = MountSource::SharedTmpfs {
                    name: format!("volume-{}", volume.name),
                    size: *size,
                    mode: volume.mode.unwrap_or(0o755),
                    uid: volume.uid.unwrap_or(0),
                    gid: volume.gid.unwrap_or(0),
                };
                return Ok(mount);
            }
            VolumeKind::Empty => {
                (Origin::Pod(Path::new("volumes").join(&volume.name)), false, false)
            }
            VolumeKind::State => {
                let pod = self.input.name;
                let pod = pod.ok_or_else(|| PlanError::StateWithoutName(volume.name.clone()))?;
                (Origin::State(Path::new("volumes").join(pod).join(&volume.name)), false, false)
            }
            VolumeKind::Host { source, recursive, follow_symlinks } => {
                // A node that somebody has put there on purpose, and no other below it.
                let device = self.input.host_sources.get(&volume.name) == Some(&HostSource::Device);
                mount.nodev = !device;
                // It can be written to all the same; its mode and owner are the host's business.
                mount.read_only |= device;
                mount.lent = true;
                (Origin::Host(source.clone()), *recursive, *follow_symlinks)
            }
        };
        if !mount.lent {
            // The first app that mounts it decides.
            let fill = Fill { app: app.clone(), target: target.to_owned() };
            let (mode, uid, gid) = (volume.mode, volume.uid, volume.gid);
            let fill = Some(fill).filter(|_| volume.kind == VolumeKind::Empty);
            // Through an id map a file lies on disk as it is inside; without one, as it is outside.
            let shift = if volume.idmap { 0 } else { self.input.ids.map_or(0, |map| map.base) };
            make_dir(self.dirs, MakeDir { origin: origin.clone(), mode, uid, gid, shift, fill });
        }
        let name = format!("volume:{app}:{}:{}", volume.name, self.sources.len());
        let idmap = volume.idmap;
        self.sources.push(Source { name: name.clone(), origin, recursive, follow_symlinks, idmap });
        mount.source = MountSource::Descriptor(name);
        Ok(mount)
    }

    /// A mount of what the image wants. appc: every mount point is satisfied; one without a volume
    /// gets an empty one of its name.
    fn point(&mut self, point: &MountPoint, target: &str) -> Result<Option<Mount>, PlanError> {
        let app = &self.app.app.name;
        if point.shared
            && let Some(volume) = self.input.pod.volume(&point.name)
        {
            return self.volume(volume, target, point.read_only).map(Some);
        }
        let place = match (point.shared, self.app.app.security.read_only) {
            (true, _) => Path::new("volumes").join(format!("implicit-{}", point.name)),
            // The root is not writable, and this is to be. Names do not begin with a dot.
            (false, true) => Path::new("volumes").join(format!(".{app}")).join(&point.name),
            // The app's own upper directory holds it, with all that the image has there.
            (false, false) => return Ok(None),
        };
        let origin = Origin::Pod(place);
        let name = format!("volume:{app}:implicit-{}", point.name);
        let fill = Some(Fill { app: app.clone(), target: target.to_owned() });
        let (mode, uid, gid) = (None, None, None);
        let shift = 0;
        make_dir(self.dirs, MakeDir { origin: origin.clone(), mode, uid, gid, shift, fill });
        self.sources.push(Source {
            name: name.clone(),
            origin,
            recursive: false,
            follow_symlinks: false,
            idmap: true,
        });
        Ok(Some(Mount {
            source: MountSource::Descriptor(name),
            target: target.to_owned(),
            read_only: point.read_only,
            nosuid: true,
            nodev: true,
            noexec: false,
            lent: false,
        }))
    }
}

fn make_dir(dirs: &mut Vec<MakeDir>, dir: MakeDir) {
    if dirs.iter().all(|known| known.origin != dir.origin) {
        dirs.push(dir);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_rockets_own_is_found_behind_dots() {
        for path in
            ["/", "//", "/..", "/a/..", "/proc", "/x/../sys/fs", "/dev/", "/./proc/1", "/dev/fuse"]
        {
            assert!(reserved(path).is_some(), "{path}");
        }
        for path in ["/data", "/dev/shm", "/procs", "/a/../b"] {
            assert_eq!(reserved(path), None, "{path}");
        }
        assert_eq!(plain("//a/./b c:,ä/"), "/a/b c:,ä");
    }
}
