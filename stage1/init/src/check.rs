//! Whether this flavour can do what a plan says; pure.

use std::collections::HashSet;

use rocket_plan::{
    ABI, AppPlan, Cgroup, ExitPolicy, IdMap, Kind, MountSource, Network, PodPlan, Restart,
    descriptor, feature,
};
use rocket_sys::caps::CapSet;

use crate::failure::{Failure, Result};

/// What this flavour claims; the same list as in `stage1.toml`.
pub const FEATURES: [&str; 15] = [
    feature::OVERLAY,
    feature::NET_HOST,
    feature::NET_NONE,
    feature::CGROUP_LEAVES,
    feature::MULTI_APP,
    feature::TERMINAL,
    feature::RESTART,
    feature::APP_ORDER,
    feature::HANDLERS,
    feature::LIMIT_REPORT,
    feature::USER_NAMESPACE,
    feature::DEVICE_RULES,
    feature::LABELS,
    feature::SOCKETS,
    feature::CREDENTIALS,
];

fn refuse<T>(text: String) -> Result<T> {
    Err(Failure::rocket(format!("the plan is refused: {text}")))
}

/// Refuses what cannot be done, before anything is done.
pub fn plan(plan: &PodPlan) -> Result<()> {
    if plan.abi != ABI {
        return refuse(format!("it has ABI version {}, this stage1 has {ABI}", plan.abi));
    }
    for feature in &plan.features_required {
        if !FEATURES.contains(&feature.as_str()) {
            return refuse(format!("it needs the feature {feature:?}, which is not claimed"));
        }
    }
    if let Some(map) = &plan.namespaces.user {
        check_map(plan, map).or_else(refuse)?;
    }
    if plan.apps.is_empty() {
        return refuse("it has no apps".to_owned());
    }
    if plan.cgroup == Cgroup::Scope && plan.descriptor("tether").is_none() {
        return refuse("a scope needs a tether".to_owned());
    }
    if let ExitPolicy::App(name) = &plan.exit_policy
        && !plan.apps.iter().any(|a| a.name == *name)
    {
        return refuse(format!("its exit policy names the app {name:?}, which is not there"));
    }
    let mut numbers = HashSet::new();
    for d in &plan.descriptors {
        if d.fd <= 3 || !numbers.insert(d.fd) {
            return refuse(format!("descriptor {} has the number {}", d.name, d.fd));
        }
    }
    let mut names = HashSet::new();
    let mut used = HashSet::new();
    for app in &plan.apps {
        if !is_name(&app.name) || !names.insert(app.name.as_str()) {
            return refuse(format!("bad or repeated app name {:?}", app.name));
        }
        for other in app.after.iter().chain(&app.requires) {
            // Names of earlier apps only, so there are no circles.
            if *other == app.name || !names.contains(other.as_str()) {
                return refuse(format!("app {} waits for {other:?}, no app before it", app.name));
            }
        }
        check_app(plan, app).or_else(|why| refuse(format!("app {}: {why}", app.name)))?;
        for name in moved(app) {
            if !used.insert(name) {
                return refuse(format!("descriptor {name} is used twice"));
            }
        }
    }
    Ok(())
}

fn check_map(plan: &PodPlan, map: &IdMap) -> std::result::Result<(), String> {
    if map.count == 0 || map.base.checked_add(map.count).is_none() {
        return Err(format!("its id map is {} from {}", map.count, map.base));
    }
    let mut needed = vec![descriptor::USER_NAMESPACE];
    if plan.namespaces.network == Network::None {
        needed.push(descriptor::NETWORK_NAMESPACE);
    }
    match needed.into_iter().find(|name| plan.descriptor(name).is_none()) {
        None => Ok(()),
        Some(name) => Err(format!("descriptor {name} is missing")),
    }
}

/// Whether every id that an app is to have is there in the pod's user namespace.
fn check_ids(map: &IdMap, app: &AppPlan) -> std::result::Result<(), String> {
    match [app.uid, app.gid].iter().chain(&app.groups).find(|id| **id >= map.count) {
        None => Ok(()),
        Some(id) => Err(format!("id {id} is beyond the {} of the user namespace", map.count)),
    }
}

/// Descriptors of detached mounts: each can be attached once.
fn moved(app: &AppPlan) -> impl Iterator<Item = &str> {
    let volumes = app.mounts.iter().filter_map(|m| match &m.source {
        MountSource::Descriptor(name) => Some(name),
        _ => None,
    });
    app.root
        .lowers
        .iter()
        .chain(std::iter::once(&app.root.upper))
        .chain(volumes)
        .chain(app.devices.iter().map(|d| &d.source))
        .map(String::as_str)
}

fn check_app(plan: &PodPlan, app: &AppPlan) -> std::result::Result<(), String> {
    let stdio = [&app.stdin, &app.stdout, &app.stderr];
    let streams = stdio.into_iter().flatten().chain(&app.terminal).map(String::as_str);
    let sockets = app.sockets.iter().map(|socket| socket.descriptor.as_str());
    let credentials = || {
        app.mounts.iter().flat_map(|m| match &m.source {
            MountSource::Credentials(list) => list.as_slice(),
            _ => &[],
        })
    };
    if let Some(credential) = credentials().find(|c| !is_component(&c.name)) {
        return Err(format!("credential {:?}", credential.name));
    }
    let credentials = credentials().map(|credential| credential.descriptor.as_str());
    for name in moved(app).chain(streams).chain(sockets).chain(credentials) {
        if plan.descriptor(name).is_none() {
            return Err(format!("descriptor {name} is missing"));
        }
    }
    if let Some(map) = &plan.namespaces.user {
        check_ids(map, app)?;
    }
    if app.terminal.is_some() && app.stdin.is_none() {
        return Err("it has a terminal that is not its standard input".to_owned());
    }
    if app.sockets.iter().any(|socket| socket.name.contains([':', '\0'])) {
        return Err("a socket's name has a colon or a NUL byte".to_owned());
    }
    if app.kind == Kind::Oneshot && matches!(app.restart, Restart::Always(_)) {
        return Err("a one-shot that always starts again would never be done".to_owned());
    }
    if app.argv.first().is_none_or(String::is_empty) {
        return Err("no program".to_owned());
    }
    let mut handlers = app.pre_start.iter().chain(&app.post_stop);
    if handlers.any(|argv| argv.first().is_none_or(String::is_empty)) {
        return Err("a handler has no program".to_owned());
    }
    let handlers = app.pre_start.iter().chain(&app.post_stop).flatten();
    let mut strings = app.argv.iter().chain(handlers).chain(&app.environment);
    if strings.any(|s| s.contains('\0')) {
        return Err("a NUL byte in the arguments or the environment".to_owned());
    }
    let paths = (app.mounts.iter().map(|m| &m.target))
        .chain(app.devices.iter().map(|d| &d.path))
        .chain(&app.masked_paths)
        .chain(&app.read_only_paths)
        .chain(std::iter::once(&app.working_directory));
    for path in paths {
        if !path.starts_with('/') || path.contains('\0') {
            return Err(format!("{path:?} is not an absolute path"));
        }
    }
    if !app.devices.is_empty() && !app.mounts.iter().any(|m| m.source == MountSource::Dev) {
        return Err("it has devices, but no /dev to put them in".to_owned());
    }
    if app.root.lowers.is_empty() || app.root.lowers.len() > 500 {
        return Err(format!("{} layers; 1 to 500 can be mounted", app.root.lowers.len()));
    }
    let c = &app.capabilities;
    for set in [&c.bounding, &c.effective, &c.permitted, &c.inheritable, &c.ambient] {
        CapSet::from_names(set.iter().map(String::as_str))
            .map_err(|name| format!("unknown capability {name:?}"))?;
    }
    if let Some(program) = &app.seccomp
        && program.arch != std::env::consts::ARCH
    {
        return Err(format!("its system call filter is for {}", program.arch));
    }
    if let Some(limit) = app.rlimits.iter().find(|l| !rocket_sys::proc::is_rlimit(&l.resource)) {
        return Err(format!("unknown resource limit {:?}", limit.resource));
    }
    if !(1..=64).contains(&app.stop_signal) {
        return Err(format!("stop signal {}", app.stop_signal));
    }
    if app.leaf.as_deref().is_some_and(|l| !is_component(l) || l == "init") {
        return Err(format!("leaf {:?}", app.leaf));
    }
    if plan.cgroup == Cgroup::None && app.leaf.is_some() {
        return Err("it has a leaf, but the pod has no cgroup".to_owned());
    }
    if let Some(limit) = app.limits.iter().find(|l| !is_component(&l.file)) {
        return Err(format!("limit file {:?}", limit.file));
    }
    Ok(())
}

/// `[a-z0-9]+(-[a-z0-9]+)*`
fn is_name(name: &str) -> bool {
    name.split('-').all(|part| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    })
}

fn is_component(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains(['/', '\0'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_claims_the_same_features() {
        let toml = include_str!("../stage1.toml");
        let list: Vec<String> = FEATURES.iter().map(|f| format!("{f:?}")).collect();
        assert!(toml.contains(&format!("\nfeatures = [{}]\n", list.join(", "))));
        assert!(include_str!("../../../docs/stage1-abi.md").contains(toml_features(toml)));
    }

    fn toml_features(toml: &str) -> &str {
        toml.lines().find(|l| l.starts_with("features = ")).unwrap()
    }

    #[test]
    fn names() {
        for good in ["a", "a-b", "0-1-x9"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "-", "a-", "-a", "a--b", "A", "a/b", "..", "ä"] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
