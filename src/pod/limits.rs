//! Limits: what pod file and image ask for, as files of cgroups; and what became of them.

use super::directory::{PLAN, REPORT};
use super::meta;
use super::plan::{AppInput, Input, PlanError};
use super::resources;
use rocket_plan::{Isolator, Isolators, LimitFile, PodPlan, REPORT_VERSION, Report};
use rocket_podfile as file;
use std::path::Path;

/// What happens to a pod when something asked for cannot be had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Enforcement {
    /// It does not start, whoever asked.
    Strict,
    /// It does not start if the pod file demands it; what an image asks for is reported.
    #[default]
    Demanded,
    /// It starts, and says what is missing.
    BestEffort,
}

impl Enforcement {
    /// Whether a limit of the pod file, or of an image, must be enforced.
    pub(super) fn requires(self, of_image: bool) -> bool {
        match self {
            Self::Strict => true,
            Self::Demanded => !of_image,
            Self::BestEffort => false,
        }
    }
}

/// The disk of an `io-max` entry, or why there is none.
pub type Disk = Result<(u32, u32), String>;

/// The limits of one app's leaf, in the order in which they are written, and what the image asks
/// for and cannot be put in a file.
pub(super) fn of_app(
    input: &Input<'_>,
    app: &AppInput<'_>,
) -> Result<(Vec<LimitFile>, Isolators), PlanError> {
    let whose = format!("app {:?}", app.app.name);
    let mut isolators = Isolators::default();
    let mut files =
        of_file(input, &whose, &app.app.limits, app.io_devices, &mut isolators.ignored)?;
    if input.pod.limits.memory_low.is_none() {
        let low = files.iter_mut().filter(|limit| limit.file == "memory.low");
        low.for_each(|limit| {
            let why = "only against other apps of the pod, which has no memory-low itself";
            limit.changed = Some(why.to_owned());
        });
    }
    resources::add(input, app, &mut files, &mut isolators);
    Ok((files, isolators))
}

/// The limits of the pod, which its unit is to have, and what cannot be looked for there.
pub(super) fn of_pod(input: &Input<'_>) -> Result<(Vec<LimitFile>, Isolators), PlanError> {
    let mut isolators = Isolators::default();
    let (limits, disks) = (&input.pod.limits, input.io_devices);
    let files = of_file(input, "the pod", limits, disks, &mut isolators.ignored)?;
    Ok((files, isolators))
}

fn of_file(
    input: &Input<'_>,
    whose: &str,
    limits: &file::Limits,
    disks: &[Disk],
    ignored: &mut Vec<Isolator>,
) -> Result<Vec<LimitFile>, PlanError> {
    let required = input.enforcement.requires(false);
    let mut files: Vec<LimitFile> = limits
        .cgroup_files(input.host)
        .into_iter()
        .map(|(file, value)| LimitFile {
            name: format!("limits.{}", key(file)),
            file: file.to_owned(),
            value,
            or: limits
                .io_weight
                .filter(|_| file == "io.weight")
                .map(|weight| ("io.bfq.weight".to_owned(), bfq_weight(weight).to_string()))
                .into_iter()
                .collect(),
            required,
            ..LimitFile::default()
        })
        .collect();
    for (max, disk) in limits.io_max.iter().zip(disks) {
        let name = format!("limits.io-max.{:?}", max.path);
        match disk {
            Ok((major, minor)) => files.push(LimitFile {
                name,
                file: "io.max".to_owned(),
                value: max.cgroup_value(*major, *minor),
                required,
                ..LimitFile::default()
            }),
            Err(why) if required => {
                return Err(PlanError::Limit { whose: whose.to_owned(), name, why: why.clone() });
            }
            Err(why) => ignored.push(Isolator { name, detail: why.clone() }),
        }
    }
    Ok(files)
}

/// The pod file's key for a file.
fn key(file: &str) -> &str {
    match file {
        "memory.max" => "memory-max",
        "memory.high" => "memory-high",
        "memory.low" => "memory-low",
        "memory.swap.max" => "memory-swap-max",
        "cpu.max" => "cpu-quota",
        "cpu.weight" | "cpu.idle" => "cpu-weight",
        "pids.max" => "tasks-max",
        "io.weight" => "io-weight",
        "cpuset.cpus" => "allowed-cpus",
        other => other,
    }
}

/// bfq's weights end at 1000, those of systemd and of the kernel's `io.weight` at 10000; 100 is the
/// middle of both. As systemd does it for a unit (systemd.resource-control(5), `IOWeight=`).
fn bfq_weight(weight: u32) -> u32 {
    if weight <= 100 { weight } else { 100 + (weight - 100) * 900 / 9900 }
}

/// Makes a prepared plan as strict as its start is to be, and names what is missing already.
pub fn enforce(plan: &mut PodPlan, enforcement: Enforcement) -> Vec<String> {
    let all = plan.limits.iter_mut().chain(plan.apps.iter_mut().flat_map(|app| &mut app.limits));
    match enforcement {
        Enforcement::Demanded => return Vec::new(),
        Enforcement::BestEffort => all.for_each(|limit| limit.required = false),
        Enforcement::Strict => all.for_each(|limit| limit.required = true),
    }
    if enforcement == Enforcement::Strict { ignored(plan) } else { Vec::new() }
}

/// What the plan says is not enforced, in words.
pub(super) fn ignored(plan: &PodPlan) -> Vec<String> {
    let pod = plan.isolators.ignored.iter();
    let pod = pod.map(|entry| format!("{} of the pod: {}", entry.name, entry.detail));
    let entries = plan.apps.iter().flat_map(|app| {
        let list = app.isolators.ignored.iter();
        list.map(|entry| format!("{} of app {:?}: {}", entry.name, app.name, entry.detail))
    });
    pod.chain(entries).collect()
}

/// What became of limits and isolators: init's word once the pod has been started, the plan's
/// before. Nothing of a pod that is being made.
pub fn report(dir: &Path) -> Option<Report> {
    if let Ok(report) = meta::read::<Report>(&dir.join(REPORT))
        && report.version == REPORT_VERSION
    {
        return Some(report);
    }
    let plan: PodPlan = meta::read(&dir.join(PLAN)).ok()?;
    let apps = plan
        .apps
        .into_iter()
        .map(|app| rocket_plan::AppReport { name: app.name, isolators: app.isolators });
    Some(Report { version: REPORT_VERSION, pod: plan.isolators, apps: apps.collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bfq_has_a_scale_of_its_own() {
        for (weight, bfq) in [(1, 1), (50, 50), (100, 100), (1000, 181), (10_000, 1000)] {
            assert_eq!(bfq_weight(weight), bfq, "{weight}");
        }
    }

    #[test]
    fn who_asks_decides_what_must_be() {
        let table = [
            (Enforcement::Strict, true, true),
            (Enforcement::Demanded, true, false),
            (Enforcement::BestEffort, false, false),
        ];
        for (enforcement, of_file, of_image) in table {
            assert_eq!(enforcement.requires(false), of_file);
            assert_eq!(enforcement.requires(true), of_image);
        }
    }
}
