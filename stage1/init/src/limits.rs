//! Limits in cgroup files: written, read back, and judged. The kernel takes some values as others,
//! and a unit without a controller lacks its files; both are told, never passed over.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::os::fd::BorrowedFd;

use rocket_plan::{AppReport, Isolator, Isolators, LimitFile, PodPlan, REPORT_VERSION, Report};

use crate::cgroup::{Tree, read, write};
use crate::failure::{Failure, Result, warn};

/// A cgroup and what is to happen to its files.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    /// A leaf of init's own: written.
    Leaf(BorrowedFd<'a>),
    /// The unit, which is systemd's: only looked at.
    Unit(BorrowedFd<'a>),
}

/// What became of a limit.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Enforced(String),
    Changed(String),
    Ignored(String),
}

/// Sees to every limit of one cgroup. `whose` is for messages: `app web`, `the pod`.
pub fn apply(place: Place<'_>, whose: &str, limits: &[LimitFile]) -> Result<Isolators> {
    let mut all = Isolators::default();
    let mut lacking = Vec::new();
    for limit in limits {
        let name = if limit.name.is_empty() { &limit.file } else { &limit.name };
        let (list, detail) = match one(place, limit) {
            Outcome::Enforced(detail) => (&mut all.enforced, detail),
            Outcome::Changed(detail) => (&mut all.changed, detail),
            Outcome::Ignored(why) => {
                if limit.required {
                    lacking.push(format!("{name} ({}={}): {why}", limit.file, limit.value));
                } else {
                    warn(&format!("{name} of {whose} is not enforced: {why}"));
                }
                (&mut all.ignored, format!("{}={}: {why}", limit.file, limit.value))
            }
        };
        list.push(Isolator { name: name.clone(), detail });
    }
    if lacking.is_empty() {
        return Ok(all);
    }
    Err(Failure::rocket(format!(
        "cannot enforce limits of {whose}: {} (--best-effort runs the pod without)",
        lacking.join("; ")
    )))
}

fn one(place: Place<'_>, limit: &LimitFile) -> Outcome {
    let first = std::iter::once((&limit.file, &limit.value));
    let mut why_not = None;
    let mut found: Option<Outcome> = None;
    for (file, value) in first.chain(limit.or.iter().map(|(file, value)| (file, value))) {
        match put(place, file, value) {
            Ok(outcome) => found = Some(found.unwrap_or(outcome)),
            Err(why) => why_not = why_not.or(Some(why)),
        }
    }
    match (found, &limit.changed) {
        (Some(Outcome::Enforced(detail)), Some(why)) => {
            Outcome::Changed(format!("{detail}: {why}"))
        }
        (Some(outcome), _) => outcome,
        (None, _) => Outcome::Ignored(why_not.unwrap_or_default()),
    }
}

/// Writes a file where that is init's to do, and says what is in it then. An error says why there
/// is no such limit.
fn put(place: Place<'_>, file: &str, value: &str) -> std::result::Result<Outcome, String> {
    let directory = match place {
        Place::Leaf(directory) => {
            if let Err(e) = write(directory, file, value) {
                return Err(match e.kind() {
                    ErrorKind::NotFound => absent(directory, file),
                    _ => format!("the kernel does not take it: {e}"),
                });
            }
            directory
        }
        Place::Unit(directory) => directory,
    };
    let now = match read(directory, file) {
        Ok(now) => now,
        Err(e) if e.kind() == ErrorKind::NotFound => return Err(absent(directory, file)),
        Err(e) => return Err(format!("cannot read {file}: {e}")),
    };
    let effective = match file {
        "cpuset.cpus" => read(directory, "cpuset.cpus.effective").ok(),
        _ => None,
    };
    let outcome = judge(file, value, now.trim(), effective.as_deref().map(str::trim));
    match (place, outcome) {
        // The file is as systemd has written it; an administrator may have had a say.
        (Place::Unit(_), Outcome::Changed(detail)) => {
            Ok(Outcome::Changed(format!("{detail}, as systemd has set it")))
        }
        (_, Outcome::Ignored(why)) => Err(why),
        (_, outcome) => Ok(outcome),
    }
}

/// Why a file is not there.
fn absent(directory: BorrowedFd<'_>, file: &str) -> String {
    let controller = file.split('.').next().unwrap_or_default();
    let controllers = read(directory, "cgroup.controllers").unwrap_or_default();
    if controllers.split_whitespace().any(|word| word == controller) {
        format!("this kernel has no {file}")
    } else {
        format!("this unit has no {controller} controller")
    }
}

/// What was asked for against what a file says now.
fn judge(file: &str, asked: &str, now: &str, effective: Option<&str>) -> Outcome {
    let plain = || format!("{file}={asked}");
    match file {
        "cpuset.cpus" => return judge_cpus(asked, effective.unwrap_or(now)),
        "io.max" => {
            let Some((device, rates)) = asked.split_once(' ') else {
                return Outcome::Ignored("it names no device".to_owned());
            };
            let line = now.lines().find_map(|line| line.strip_prefix(device)?.strip_prefix(' '));
            let Some(line) = line else {
                return Outcome::Ignored(format!("nothing is set for the device {device}"));
            };
            let set: BTreeSet<&str> = line.split_whitespace().collect();
            if rates.split_whitespace().all(|rate| set.contains(rate)) {
                return Outcome::Enforced(plain());
            }
            return Outcome::Changed(format!("io.max is {device} {line}"));
        }
        "io.weight" | "io.bfq.weight" => {
            let first = |text: &str| {
                let line = text.lines().next().unwrap_or_default();
                line.trim_start_matches("default").trim().to_owned()
            };
            if first(now) == first(asked) {
                return Outcome::Enforced(plain());
            }
            return Outcome::Changed(format!("{file} is {}", first(now)));
        }
        _ => {}
    }
    if now == asked {
        return Outcome::Enforced(plain());
    }
    if file.starts_with("memory.")
        && let (Ok(bytes), Ok(pages)) = (asked.parse::<u64>(), now.parse::<u64>())
        && pages < bytes
        && bytes - pages < PAGE
    {
        return Outcome::Changed(format!("{file}={now}: {asked} in whole pages"));
    }
    Outcome::Changed(format!("{file} is {now}, not {asked}"))
}

/// Less than this is lost when a number of bytes becomes one of pages.
const PAGE: u64 = 65_536;

/// The kernel takes CPUs that are not there, and means the parent's when there is none of all.
fn judge_cpus(asked: &str, effective: &str) -> Outcome {
    let (Some(wanted), Some(has)) = (cpus(asked), cpus(effective)) else {
        return Outcome::Ignored(format!("the CPUs {effective:?} cannot be read"));
    };
    if wanted == has {
        Outcome::Enforced(format!("cpuset.cpus={asked}"))
    } else if has.is_subset(&wanted) && !has.is_empty() {
        Outcome::Changed(format!("cpuset.cpus={asked}: there are only {effective} of them"))
    } else if has.is_disjoint(&wanted) {
        Outcome::Ignored(format!("none of these CPUs is there, but {effective}"))
    } else {
        Outcome::Ignored(format!("the CPUs are {effective}"))
    }
}

fn cpus(list: &str) -> Option<BTreeSet<u32>> {
    let mut set = BTreeSet::new();
    for part in list.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.parse::<u32>().ok()?, last.parse::<u32>().ok()?);
        if last >= 65_536 {
            return None;
        }
        set.extend(first..=last);
    }
    Some(set)
}

/// The whole report: what stage0 has decided, and what has come of limits.
pub fn report(
    plan: &PodPlan,
    tree: Option<&Tree>,
    leaves: Vec<(String, Isolators)>,
) -> Result<Report> {
    let found = match tree {
        Some(tree) => apply(Place::Unit(tree.top()), "the pod", &plan.limits)?,
        None => without_cgroup(&plan.limits)?,
    };
    tell("the pod", &plan.isolators);
    let pod = both(&plan.isolators, &found);
    let apps = plan.apps.iter().map(|app| {
        let found = leaves.iter().find(|(name, _)| *name == app.name);
        tell(&format!("app {}", app.name), &app.isolators);
        let isolators = match found {
            Some((_, found)) => both(&app.isolators, found),
            None => app.isolators.clone(),
        };
        AppReport { name: app.name.clone(), isolators }
    });
    Ok(Report { version: REPORT_VERSION, pod, apps: apps.collect() })
}

/// Limits of the pod file that the plan found impossible already: [`apply`] has not seen them.
fn tell(whose: &str, decided: &Isolators) {
    let limits = decided.ignored.iter().filter(|entry| entry.name.starts_with("limits."));
    for Isolator { name, detail } in limits {
        warn(&format!("{name} of {whose} is not enforced: {detail}"));
    }
}

fn both(decided: &Isolators, found: &Isolators) -> Isolators {
    Isolators {
        enforced: [&decided.enforced[..], &found.enforced].concat(),
        changed: [&decided.changed[..], &found.changed].concat(),
        ignored: [&decided.ignored[..], &found.ignored].concat(),
    }
}

fn without_cgroup(limits: &[LimitFile]) -> Result<Isolators> {
    if let Some(limit) = limits.iter().find(|limit| limit.required) {
        let text = format!("cannot enforce {} of the pod: it has no cgroup", limit.name);
        return Err(Failure::rocket(text));
    }
    let ignored = limits.iter().map(|limit| Isolator {
        name: limit.name.clone(),
        detail: format!("{}={}: the pod has no cgroup", limit.file, limit.value),
    });
    Ok(Isolators { ignored: ignored.collect(), ..Isolators::default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use Outcome::{Changed, Enforced, Ignored};

    #[test]
    fn what_the_kernel_made_of_a_value_is_told() {
        let kind = |outcome: &Outcome| match outcome {
            Enforced(_) => "enforced",
            Changed(_) => "changed",
            Ignored(_) => "ignored",
        };
        let table = [
            ("memory.max", "8192", "8192", "enforced"),
            ("memory.max", "5000", "4096", "changed"),
            ("memory.max", "max", "max", "enforced"),
            ("memory.max", "8192", "104857600", "changed"),
            ("cpu.max", "50000 100000", "50000 100000", "enforced"),
            ("io.max", "8:0 wbps=9", "8:0 rbps=max wbps=9 riops=max wiops=max", "enforced"),
            ("io.max", "8:0 wbps=9", "8:0 rbps=max wbps=7 riops=max wiops=max", "changed"),
            ("io.max", "8:0 wbps=9", "8:16 rbps=max wbps=9 riops=max wiops=max", "ignored"),
            ("io.max", "8:0 wbps=9", "", "ignored"),
            ("io.weight", "default 50", "default 50\n8:0 20", "enforced"),
            ("io.bfq.weight", "50", "default 50", "enforced"),
            ("io.bfq.weight", "50", "100", "changed"),
        ];
        for (file, asked, now, expected) in table {
            let outcome = judge(file, asked, now, None);
            assert_eq!(kind(&outcome), expected, "{file} {asked} {now}: {outcome:?}");
        }
        let cpus = [
            ("0-1", "0-1", "enforced"),
            ("0,1", "0-1", "enforced"),
            ("0-5", "0-1", "changed"),
            ("5", "0-1", "ignored"),
            ("1-5", "0-1", "ignored"),
            ("0", "", "ignored"),
        ];
        for (asked, effective, expected) in cpus {
            let outcome = judge("cpuset.cpus", asked, asked, Some(effective));
            assert_eq!(kind(&outcome), expected, "{asked} {effective}: {outcome:?}");
        }
        let whole = judge("memory.high", "5000", "4096", None);
        assert_eq!(whole, Changed("memory.high=4096: 5000 in whole pages".to_owned()));
    }
}
