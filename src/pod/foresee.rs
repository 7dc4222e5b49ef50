//! The plan of a start that does not happen: decided as [`prepare`](super::prepare) decides it, and
//! nothing touched.
//!
//! Who may not read the store gets the plan of the pod file alone, with a list of what in it is only
//! assumed: always what costs most.

use super::accounts::{self, Database, Groups, Ids, Wanted};
use super::etc;
use super::explain::{AppFacts, UNKNOWN, UnitView, Unknown};
use super::ids::FORESEEN;
use super::limits::{Disk, Enforcement};
use super::plan::{self, AppInput, Image, Input, Output};
use super::prepare::{self, PrepareError};
use super::surface::HostDevice;
use super::volumes;
use crate::config::paths::Paths;
use crate::host::block::disk_of;
use crate::image::{ImageError, Store};
use rocket_podfile::{self as file, PodFile};
use std::fs::File;
use std::io;
use std::path::Path;

/// Stands for the UUID that a start would choose.
const UUID: &str = "UUID";

/// What a start would be.
#[derive(Clone, Debug)]
pub struct Foreseen {
    /// The plan and all that goes with it.
    pub output: Output,
    /// What systemd would be told.
    pub unit: UnitView,
    /// What is known of each app besides.
    pub apps: Vec<AppFacts>,
}

/// One app, as far as it can be known.
struct Found {
    app: file::App,
    image: Image,
    ids: Ids,
    file_environment: Vec<(String, String)>,
    io_devices: Vec<Disk>,
    devices: Vec<HostDevice>,
    facts: AppFacts,
}

/// Decides what a start of the pod would be.
///
/// # Errors
/// What the start would be refused with.
pub fn foresee(
    paths: &Paths,
    pod: &PodFile,
    name: Option<&str>,
    enforcement: Enforcement,
) -> Result<Foreseen, PrepareError> {
    let store = store(paths);
    let found = pod
        .apps
        .iter()
        .map(|app| find(paths, &store, app))
        .collect::<Result<Vec<Found>, PrepareError>>()?;
    let apps = found.iter().map(|found| AppInput {
        app: &found.app,
        image: &found.image,
        extra_args: &[],
        file_environment: &found.file_environment,
        ids: &found.ids,
        io_devices: &found.io_devices,
        devices: &found.devices,
    });
    let host = crate::host::totals();
    let input = Input {
        pod,
        uuid: UUID,
        name,
        ids: pod.security.user_namespace.then_some(FORESEEN),
        apps: apps.collect(),
        command_line: &[],
        host_files: etc::host_files(pod)?,
        host_sources: &volumes::foreseen_sources(pod, store.is_err())?,
        host,
        most_descriptors: crate::host::most_descriptors(),
        enforcement,
        io_devices: &prepare::io_disks(&pod.limits),
        disk: disk_of(paths.state()).ok(),
    };
    let output = plan::build(&input)?;
    let apps = found.into_iter().map(|found| found.facts).collect();
    Ok(Foreseen { output, unit: prepare::unit_view(pod), apps })
}

/// The store, or why its images are unknown.
fn store(paths: &Paths) -> Result<Store, StoreGap> {
    match Store::open_existing(&paths.store()) {
        Ok(Some(store)) => Ok(store),
        Ok(None) => Err(StoreGap::Unknown),
        Err(ImageError::Io { source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => {
            Err(StoreGap::Unknown)
        }
        Err(error) => Err(StoreGap::Broken(error)),
    }
}

enum StoreGap {
    /// It may not be read, or is not there.
    Unknown,
    /// It cannot be read by anybody.
    Broken(ImageError),
}

fn find(
    paths: &Paths,
    store: &Result<Store, StoreGap>,
    app: &file::App,
) -> Result<Found, PrepareError> {
    let reference = prepare::reference(app)?;
    let mut facts = AppFacts { image: app.image.clone(), unknown: Vec::new() };
    let app = readable(app, &mut facts.unknown);
    match store {
        Ok(store) => {
            let found = prepare::resolve(paths, store, &app, &reference)?;
            Ok(Found {
                image: found.image,
                ids: found.ids,
                file_environment: found.file_environment,
                io_devices: found.io_devices,
                devices: found.devices,
                app,
                facts,
            })
        }
        Err(StoreGap::Unknown) => {
            let (image, ids) = assumed(&app, &mut facts.unknown);
            let file_environment = super::environment::environment_files(&app.environment_files)?;
            let io_devices = prepare::io_disks(&app.limits);
            let devices = super::devices::look_up(&app.security.devices)?;
            Ok(Found { image, ids, file_environment, io_devices, devices, app, facts })
        }
        Err(StoreGap::Broken(error)) => Err(PrepareError::Image {
            app: app.name.clone(),
            image: app.image.clone(),
            source: Box::new(ImageError::bad("the store", error.to_string())),
        }),
    }
}

/// The app without those files of the host that this caller may not read.
fn readable(app: &file::App, unknown: &mut Vec<Unknown>) -> file::App {
    let mut app = app.clone();
    let mut drop_closed = |field: &'static str, path: &Path, closed: bool| {
        if closed {
            unknown.push(Unknown { field, why: format!("{} cannot be read here", path.display()) });
        }
        !closed
    };
    let denied = |error: io::Error| error.kind() == io::ErrorKind::PermissionDenied;
    app.environment_files
        .retain(|path| drop_closed("environment", path, File::open(path).is_err_and(denied)));
    app.limits.io_max.retain(|max| {
        let path = Path::new(&max.path);
        drop_closed("limits", path, std::fs::metadata(path).is_err_and(denied))
    });
    app
}

/// An image of which nothing is known: everything it could ask for is assumed.
fn assumed(app: &file::App, unknown: &mut Vec<Unknown>) -> (Image, Ids) {
    let mut say = |field, hidden: bool| {
        if hidden {
            unknown.push(Unknown { field, why: UNKNOWN.to_owned() });
        }
    };
    let ids = ids(app);
    say("image-id", true);
    say("program", app.exec.is_none());
    say("uid", ids.0.is_none());
    say("gid", ids.1.is_none());
    let groups: Option<Vec<u32>> = app.supplementary_groups.as_ref().and_then(|list| {
        let id = |account: &file::Account| match account {
            file::Account::Id(id) => Some(*id),
            file::Account::Name(_) => None,
        };
        list.iter().map(id).collect()
    });
    say("groups", groups.is_none());
    say("working-directory", app.working_directory.is_none());
    say("environment", true);
    say("capabilities", app.security.capabilities.is_none());
    say("layers", true);
    say("mounts", true);
    say("handlers", true);
    say("stop-signal", app.stop_signal.is_none());
    say("isolators", true);
    let image = Image { exec: vec!["?".to_owned()], has_hosts: true, ..Image::default() };
    let ids = Ids {
        uid: ids.0.unwrap_or(0),
        gid: ids.1.unwrap_or(0),
        groups: groups.unwrap_or_default(),
    };
    (image, ids)
}

/// User and group as far as the image's account files have no say in them.
fn ids(app: &file::App) -> (Option<u32>, Option<u32>) {
    struct Nobody;
    impl Database for Nobody {
        fn passwd(&self) -> Option<String> {
            None
        }
        fn group(&self) -> Option<String> {
            None
        }
        fn owner(&self, _: &str) -> Option<(u32, u32)> {
            None
        }
    }
    let fixed = |account: &file::Account| match account {
        file::Account::Id(_) => true,
        file::Account::Name(name) => name == "root" || name == "0",
    };
    let user = app.user.as_ref().filter(|account| fixed(account));
    let group = app.group.as_ref().filter(|account| fixed(account));
    let zero = Wanted::Id(0);
    let resolve = |user: &Wanted, group: Option<&Wanted>| {
        accounts::resolve(user, group, &Groups::Exactly(&[]), &Nobody).ok()
    };
    let uid = user.and_then(|user| resolve(&user.into(), Some(&zero))).map(|ids| ids.uid);
    let gid = match (group, &app.group) {
        (Some(group), _) => resolve(&zero, Some(&group.into())).map(|ids| ids.gid),
        // Root's primary group is the one that needs no look.
        (None, None) => user.filter(|_| uid == Some(0)).map(|_| 0),
        (None, Some(_)) => None,
    };
    (uid, gid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(lines: &str) -> file::App {
        let text = format!("network = \"none\"\n[app.a]\nimage = \"example.com/a\"\n{lines}");
        rocket_podfile::parse(Path::new("p.toml"), &text).unwrap().apps.remove(0)
    }

    #[test]
    fn numbers_are_known_without_the_image_and_names_are_not() {
        let table = [
            ("", (None, None)),
            ("user = 1000", (Some(1000), None)),
            ("user = 1000\ngroup = 7", (Some(1000), Some(7))),
            ("user = \"www-data\"\ngroup = 7", (None, Some(7))),
            ("user = \"root\"", (Some(0), Some(0))),
            ("user = 0", (Some(0), Some(0))),
            ("user = \"root\"\ngroup = \"adm\"", (Some(0), None)),
        ];
        for (lines, expected) in table {
            assert_eq!(ids(&app(lines)), expected, "{lines}");
        }
    }

    #[test]
    fn without_a_store_the_pod_file_alone_is_planned() {
        let state = tempfile::tempdir().unwrap();
        let paths = Paths::new(state.path().join("none"));
        let text = "network = \"none\"\n[app.a]\nimage = \"example.com/a\"\nuser = 5\n";
        let pod = rocket_podfile::parse(Path::new("p.toml"), text).unwrap();
        let foreseen = foresee(&paths, &pod, Some("p"), Enforcement::Demanded).unwrap();
        assert_eq!(foreseen.output.plan.apps[0].uid, 5);
        let fields: Vec<&str> = foreseen.apps[0].unknown.iter().map(|u| u.field).collect();
        assert!(fields.contains(&"program") && !fields.contains(&"uid"), "{fields:?}");
        assert!(!state.path().join("none").exists(), "explaining made something");
    }
}
