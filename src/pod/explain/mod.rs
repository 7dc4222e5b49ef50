//! What a pod is to its apps and to the host, made from its plan: the same data stage1 gets, never a
//! second reading of the pod file. Plain data in, plain data out; no IO.

pub mod bpf;
mod checks;
pub mod filter;
mod mounts;
pub mod score;
#[cfg(test)]
mod tests;
mod text;

pub use filter::FilterView;
pub use mounts::{DeviceView, MountView, Place};
pub use score::{AppScore, Score};
pub use text::text;

use super::ids::FORESEEN;
use super::sources::Source;
use rocket_plan::{
    AppPlan, Capabilities, DeviceRule, ExitPolicy, IdMap, Isolators, Kind, LimitFile, Network,
    PodPlan, Ready, Report, Restart, Rlimit,
};
use serde::Serialize;

/// Version of the JSON form.
pub const VERSION: u32 = 1;

/// Why a fact is missing, for people.
pub const UNKNOWN: &str = "from the image: unknown here";

/// Everything an explanation is made from.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Where the plan comes from.
    pub from: &'a From,
    /// The plan.
    pub plan: &'a PodPlan,
    /// What its descriptors are opened from.
    pub sources: &'a [Source],
    /// What weakens a default, in words.
    pub weakened: &'a [String],
    /// What became of what was asked for, where a start has found out; else the plan's word.
    pub report: Option<&'a Report>,
    /// What the unit is told.
    pub unit: &'a UnitView,
    /// What is not in the plan about its apps, in the plan's order.
    pub apps: &'a [AppFacts],
}

/// Where a plan comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum From {
    /// What the next start of a pod file would be.
    PodFile {
        /// The files that were merged.
        files: Vec<String>,
    },
    /// A pod that has been made.
    Instance {
        /// Its UUID.
        uuid: String,
        /// How it fares.
        state: String,
    },
}

/// What systemd is told about the pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct UnitView {
    /// Limits as systemd's directives, the pod's own.
    pub limits: Vec<(String, String)>,
    /// Slice; `None` = the template's.
    pub slice: Option<String>,
    /// Its stop may take so many milliseconds.
    pub stop_timeout_ms: Option<u64>,
    /// Its start may take so many; `None` = any time.
    pub start_timeout_ms: Option<u64>,
}

/// What is known of an app besides its plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppFacts {
    /// The image as the pod file names it.
    pub image: String,
    /// Names of fields of [`AppView`] that cannot be known by this caller.
    pub unknown: Vec<Unknown>,
}

/// A field that cannot be known here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unknown {
    /// The field of the app's explanation; all of it or in part.
    pub field: &'static str,
    /// Why.
    pub why: String,
}

/// A pod, explained.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Explanation {
    /// [`VERSION`].
    pub version: u32,
    /// Where the plan comes from.
    pub from: From,
    /// What holds for the whole pod.
    pub pod: PodView,
    /// Its apps, in start order.
    pub apps: Vec<AppView>,
    /// The worst of its apps.
    pub score: Score,
}

/// What holds for the whole pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PodView {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Host name inside.
    pub hostname: String,
    /// Namespaces of its own, by the names of /proc/PID/ns.
    pub namespaces: Vec<&'static str>,
    /// Namespaces it shares with the host.
    pub shared_namespaces: Vec<&'static str>,
    /// Its network.
    pub network: Network,
    /// Its users and groups outside; `None` = those of the host.
    pub ids: Option<Ids>,
    /// Namespaced sysctls.
    pub sysctls: Vec<(String, String)>,
    /// When it ends.
    pub exit_policy: ExitPolicy,
    /// The longest a stop in order may take before everything is killed.
    pub stop_deadline_ms: u64,
    /// What a stage1 must be able to do.
    pub features_required: Vec<String>,
    /// What systemd is told.
    pub unit: UnitView,
    /// Its limits as files of its cgroup, which its unit has written.
    pub limits: Vec<LimitFile>,
    /// What became of what the pod file asks for.
    pub isolators: Isolators,
    /// What weakens a default.
    pub weakened: Vec<String>,
}

/// A range of ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Ids {
    /// First id outside; `None` = chosen at the start.
    pub base: Option<u32>,
    /// How many.
    pub count: u32,
}

/// One app, explained.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct AppView {
    /// Its name.
    pub name: String,
    /// Fields that cannot be known by this caller.
    pub unknown: Vec<Unknown>,
    /// The image as the pod file names it.
    pub image: String,
    /// Digest of the image that would run, or runs.
    pub image_id: Option<String>,
    /// Program and arguments.
    pub program: Option<Vec<String>>,
    /// User inside.
    pub uid: Option<u32>,
    /// Group inside.
    pub gid: Option<u32>,
    /// Supplementary groups inside.
    pub groups: Option<Vec<u32>>,
    /// The user as the host sees it.
    pub host_uid: Option<u32>,
    /// The group as the host sees it.
    pub host_gid: Option<u32>,
    /// Working directory.
    pub working_directory: Option<String>,
    /// Names of its variables; values are not shown.
    pub environment: Vec<String>,
    /// The five sets.
    pub capabilities: Option<Capabilities>,
    /// `PR_SET_SECUREBITS`.
    pub securebits: u32,
    /// `PR_SET_NO_NEW_PRIVS`.
    pub no_new_privileges: bool,
    /// What its system call filter lets through.
    pub seccomp: FilterView,
    /// Resource limits.
    pub rlimits: Vec<Rlimit>,
    /// `/proc/self/oom_score_adj`.
    pub oom_score_adj: i32,
    /// How many layers its root has.
    pub layers: Option<usize>,
    /// Whether its root is read-only.
    pub read_only: bool,
    /// Everything mounted in its root, the root first.
    pub mounts: Vec<MountView>,
    /// Device nodes.
    pub devices: Vec<DeviceView>,
    /// Devices that can be opened, whatever nodes there are; `None` = those with a node.
    pub device_rules: Option<Vec<DeviceRule>>,
    /// AppArmor profile.
    pub apparmor: Option<String>,
    /// SELinux context.
    pub selinux: Option<String>,
    /// Paths hidden.
    pub masked_paths: Vec<String>,
    /// Paths made read-only.
    pub read_only_paths: Vec<String>,
    /// Its cgroup below the unit's.
    pub leaf: Option<String>,
    /// Its limits: files of its leaf.
    pub limits: Vec<LimitFile>,
    /// What became of what image and pod file ask for.
    pub isolators: Isolators,
    /// What it is.
    pub kind: Kind,
    /// Apps it starts after.
    pub after: Vec<String>,
    /// Apps it does not run without.
    pub requires: Vec<String>,
    /// Handler before its start, run as root.
    pub pre_start: Option<Vec<String>>,
    /// Handler after its end, run as root.
    pub post_stop: Option<Vec<String>>,
    /// When it starts again.
    pub restart: Restart,
    /// When it counts as ready.
    pub ready: Ready,
    /// Signal that asks it to stop; `None` = the image's, unknown.
    pub stop_signal: Option<i32>,
    /// From that to SIGKILL.
    pub stop_timeout_ms: u64,
    /// Whether it has a terminal.
    pub terminal: bool,
    /// Names of the listening sockets it is handed by systemd.
    pub sockets: Vec<String>,
    /// How exposed it is.
    pub score: AppScore,
}

/// Explains a plan.
pub fn explain(facts: &Facts<'_>) -> Explanation {
    let nothing = AppFacts::default();
    let apps: Vec<AppView> = facts
        .plan
        .apps
        .iter()
        .zip(facts.apps.iter().chain(std::iter::repeat(&nothing)))
        .map(|(app, known)| app_view(facts, app, known))
        .collect();
    let score = score::worst(apps.iter().map(|app| (app.name.as_str(), &app.score)));
    Explanation { version: VERSION, from: facts.from.clone(), pod: pod_view(facts), apps, score }
}

fn pod_view(facts: &Facts<'_>) -> PodView {
    let plan = facts.plan;
    let mut namespaces = vec!["pid", "mnt", "ipc", "uts", "cgroup"];
    let mut shared = Vec::new();
    let mut put = |own: bool, name| if own { namespaces.push(name) } else { shared.push(name) };
    put(plan.namespaces.network != Network::Host, "net");
    put(plan.namespaces.user.is_some(), "user");
    PodView {
        name: plan.name.clone(),
        hostname: plan.hostname.clone(),
        namespaces,
        shared_namespaces: shared,
        network: plan.namespaces.network,
        ids: plan.namespaces.user.map(ids),
        sysctls: plan.sysctls.clone(),
        exit_policy: plan.exit_policy.clone(),
        stop_deadline_ms: plan.stop_deadline_ms,
        features_required: plan.features_required.clone(),
        unit: facts.unit.clone(),
        limits: plan.limits.clone(),
        isolators: facts.report.map_or(&plan.isolators, |report| &report.pod).clone(),
        weakened: facts.weakened.to_vec(),
    }
}

/// Which range it will be is known of a pod that is there.
fn ids(map: IdMap) -> Ids {
    Ids { base: Some(map.base).filter(|_| map != FORESEEN), count: map.count }
}

fn isolators<'a>(facts: &Facts<'a>, app: &'a AppPlan) -> &'a Isolators {
    let reported = facts.report.and_then(|report| report.apps.iter().find(|a| a.name == app.name));
    reported.map_or(&app.isolators, |reported| &reported.isolators)
}

fn app_view(facts: &Facts<'_>, app: &AppPlan, known: &AppFacts) -> AppView {
    let hidden = |field: &str| known.unknown.iter().any(|unknown| unknown.field == field);
    let user = facts.plan.namespaces.user;
    let outside = |id: u32| match user {
        Some(map) => ids(map).base.and_then(|base| base.checked_add(id)),
        None => Some(id),
    };
    let filter = filter::Filter::new(app.seccomp.as_ref());
    AppView {
        name: app.name.clone(),
        unknown: known.unknown.clone(),
        image: known.image.clone(),
        image_id: (!hidden("image-id")).then(|| app.image_id.clone()),
        program: (!hidden("program")).then(|| app.argv.clone()),
        uid: (!hidden("uid")).then_some(app.uid),
        gid: (!hidden("gid")).then_some(app.gid),
        groups: (!hidden("groups")).then(|| app.groups.clone()),
        host_uid: (!hidden("uid")).then(|| outside(app.uid)).flatten(),
        host_gid: (!hidden("gid")).then(|| outside(app.gid)).flatten(),
        working_directory: (!hidden("working-directory")).then(|| app.working_directory.clone()),
        environment: app
            .environment
            .iter()
            .map(|entry| entry.split_once('=').map_or(entry.as_str(), |(name, _)| name).to_owned())
            .collect(),
        capabilities: (!hidden("capabilities")).then(|| app.capabilities.clone()),
        securebits: app.securebits,
        no_new_privileges: app.no_new_privileges,
        score: checks::score(&checks::Subject {
            isolators: isolators(facts, app),
            plan: facts.plan,
            sources: facts.sources,
            app,
            unit: facts.unit,
            filter: &filter,
        }),
        seccomp: filter.view(),
        rlimits: app.rlimits.clone(),
        // init writes 0 where the plan says nothing.
        oom_score_adj: app.oom_score_adj.unwrap_or(0),
        layers: (!hidden("layers")).then_some(app.root.lowers.len()),
        read_only: app.root.read_only,
        mounts: mounts::mounts(facts.plan, app, facts.sources),
        devices: mounts::devices(app, facts.sources),
        device_rules: app.device_rules.clone(),
        apparmor: app.apparmor.clone(),
        selinux: app.selinux.clone(),
        masked_paths: app.masked_paths.clone(),
        read_only_paths: app.read_only_paths.clone(),
        leaf: app.leaf.clone(),
        limits: app.limits.clone(),
        isolators: isolators(facts, app).clone(),
        kind: app.kind,
        after: app.after.clone(),
        requires: app.requires.clone(),
        pre_start: app.pre_start.clone(),
        post_stop: app.post_stop.clone(),
        restart: app.restart,
        ready: app.ready.clone(),
        stop_signal: (!hidden("stop-signal")).then_some(app.stop_signal),
        stop_timeout_ms: app.stop_timeout_ms,
        terminal: app.terminal.is_some(),
        sockets: app.sockets.iter().map(|socket| socket.name.clone()).collect(),
    }
}
