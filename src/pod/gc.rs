//! Collecting dead pods. A safety net, not a requirement: what a dead pod leaves is a directory.
//!
//! First a plan, as plain data, then its execution; a pod that changed meanwhile is left alone.

use super::directory::{self, DirectoryError, Locked, State};
use super::list::{Info, Status};
use super::meta::Meta;
use super::name::{NameError, NameLock, PodName, holder};
use crate::config::paths::Paths;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};
use thiserror::Error;
use uuid::Uuid;

/// An embryo younger than this may be about to be locked by its maker.
const EMBRYO_GRACE: Duration = Duration::from_secs(60);

/// What gc was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Dead pods without a name stay this long after their end.
    pub grace: Duration,
    /// Prepared pods that nobody ran go after this time; `None` = never.
    pub expire_prepared: Option<Duration>,
    /// How many dead instances of a named pod are kept for inspection, whatever their age; with 0
    /// they go as those without a name.
    pub keep: usize,
}

/// One thing gc would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Step {
    /// Which pod.
    pub uuid: Uuid,
    /// Where it lies.
    #[serde(skip)]
    pub state: State,
    /// Its name.
    pub name: Option<String>,
    /// Why it goes.
    pub why: String,
}

/// What gc would do to `pods`, given the time in milliseconds since 1970.
pub fn plan(pods: &[Info], now_ms: u64, options: Options) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut dead_by_name: BTreeMap<&str, Vec<(u64, &Info)>> = BTreeMap::new();
    for pod in pods {
        let meta = pod.meta.as_ref();
        let name = meta.and_then(|meta| meta.name.as_deref());
        let created = meta.map_or(0, |meta| meta.created_ms);
        let step = |why: String| Step {
            uuid: pod.uuid,
            state: pod.state,
            name: name.map(str::to_owned),
            why,
        };
        let age = |since: u64| Duration::from_millis(now_ms.saturating_sub(since));
        match pod.status {
            Status::AbortedPrepare => steps.push(step("its preparation was aborted".into())),
            Status::Garbage => steps.push(step("its deletion was interrupted".into())),
            Status::Prepared => {
                if let Some(limit) = options.expire_prepared
                    && age(created) >= limit
                {
                    steps.push(step(format!("prepared and not run for {}", text(age(created)))));
                }
            }
            Status::Exited => match name {
                Some(name) if options.keep > 0 => {
                    dead_by_name.entry(name).or_default().push((created, pod));
                }
                _ => {
                    let ended = ended_ms(pod).unwrap_or(created);
                    if age(ended) >= options.grace {
                        steps.push(step(format!("exited {} ago", text(age(ended)))));
                    }
                }
            },
            Status::Preparing | Status::Running | Status::Ending | Status::Broken => {}
        }
    }
    for (name, mut dead) in dead_by_name {
        dead.sort_by_key(|(created, pod)| (std::cmp::Reverse(*created), pod.uuid));
        for (_, pod) in dead.into_iter().skip(options.keep) {
            steps.push(Step {
                uuid: pod.uuid,
                state: pod.state,
                name: Some(name.to_owned()),
                why: format!("{} later instances of {name} are kept", options.keep),
            });
        }
    }
    steps
}

fn ended_ms(pod: &Info) -> Option<u64> {
    pod.record.pod.as_ref().map(|exit| exit.ended_ms).or(pod.started_ms)
}

fn text(age: Duration) -> String {
    match age.as_secs() {
        seconds @ 0..=119 => format!("{seconds} s"),
        seconds @ 120..=7199 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}

/// Why a step failed.
#[derive(Debug, Error)]
pub enum GcError {
    /// The pod directory.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// Its name.
    #[error(transparent)]
    Name(#[from] NameError),
}

/// Carries out one step; `false` if the pod was used or gone meanwhile.
///
/// # Errors
/// Any IO error.
pub fn remove(paths: &Paths, step: &Step) -> Result<bool, GcError> {
    if step.state == State::Garbage {
        return delete_garbage(paths, step.uuid);
    }
    if is_new(paths, step) {
        return Ok(false);
    }
    let locked = match Locked::open(paths, step.state, step.uuid) {
        Ok(Some(locked)) => locked,
        // An embryo whose maker died before it had a lock file.
        Ok(None) if step.state == State::Embryo => {
            let path = step.state.path(paths, step.uuid);
            let gone = std::fs::remove_dir(&path).is_ok();
            return Ok(gone);
        }
        // Without its lock file nobody can hold it; the directory is all there is to remove.
        Ok(None) if step.state.path(paths, step.uuid).is_dir() => {
            directory::remove_unlocked(paths, step.state, step.uuid)?;
            return Ok(true);
        }
        Ok(None) | Err(DirectoryError::Busy(_)) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    locked.delete(paths)?;
    if let Some(name) = step.name.as_deref().and_then(|name| PodName::new(name).ok()) {
        forget_name(paths, &name, step.uuid)?;
    }
    Ok(true)
}

/// Removes a pod that did not start, and its name: while it is prepared, and with `run` also when
/// it is dead in `run/`.
///
/// # Errors
/// Any IO error.
pub fn discard(paths: &Paths, uuid: Uuid, run: bool) -> Result<(), GcError> {
    let states: &[State] = if run { &[State::Prepared, State::Run] } else { &[State::Prepared] };
    for state in states {
        let meta = Meta::read(&state.path(paths, uuid)).ok();
        let step = Step {
            uuid,
            state: *state,
            name: meta.and_then(|meta| meta.name),
            why: "it did not start".to_owned(),
        };
        remove(paths, &step)?;
    }
    Ok(())
}

/// Removes a name whose last pod was `uuid`, unless somebody has it by now.
fn forget_name(paths: &Paths, name: &PodName, uuid: Uuid) -> Result<(), NameError> {
    if holder(paths, name)? != Some(uuid) {
        return Ok(());
    }
    match NameLock::claim(paths, name) {
        Ok(lock) if holder(paths, name)? == Some(uuid) => lock.forget(),
        Ok(_) | Err(NameError::Taken { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Whether it may be about to be locked by its maker.
pub fn is_new(paths: &Paths, step: &Step) -> bool {
    let modified =
        || std::fs::metadata(step.state.path(paths, step.uuid)).and_then(|m| m.modified());
    step.state == State::Embryo
        && modified().is_ok_and(|at| {
            SystemTime::now().duration_since(at).unwrap_or(Duration::ZERO) < EMBRYO_GRACE
        })
}

/// What earlier deletions left in `garbage/`.
///
/// # Errors
/// Any IO error.
pub fn garbage(paths: &Paths) -> Result<Vec<Step>, DirectoryError> {
    let step = |uuid| Step {
        uuid,
        state: State::Garbage,
        name: None,
        why: "its deletion was interrupted".to_owned(),
    };
    Ok(directory::scan(paths, State::Garbage)?.into_iter().map(step).collect())
}

/// Deletes one of these. Who is at it already has the lock, or has removed it: then both are.
fn delete_garbage(paths: &Paths, uuid: Uuid) -> Result<bool, GcError> {
    let path = State::Garbage.path(paths, uuid);
    if !path.is_dir() {
        return Ok(false);
    }
    directory::remove(paths, &path, uuid)?;
    Ok(true)
}

/// The layers that any pod directory names: image gc and `image rm` must keep them.
pub fn used_layers(pods: &[Info]) -> BTreeSet<String> {
    pods.iter()
        .filter_map(|pod| pod.meta.as_ref())
        .flat_map(|meta| &meta.apps)
        .flat_map(|app| app.layers.iter().cloned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::record::Record;

    fn pod(name: Option<&str>, status: Status, created_ms: u64) -> Info {
        let uuid = Uuid::new_v4();
        let meta = Meta {
            version: 1,
            uuid,
            name: name.map(str::to_owned),
            created_ms,
            previous: None,
            pod_file_digest: None,
            description: None,
            apps: vec![],
            limits: vec![],
            slice: None,
            stop_timeout_ms: 0,
            start_timeout_ms: None,
            for_run: false,
            weakened: vec![],
            warnings: vec![],
            ids: None,
        };
        Info {
            uuid,
            state: State::Run,
            status,
            meta: Some(meta),
            cgroup: None,
            pid: None,
            started_ms: None,
            record: Record::default(),
            problem: None,
        }
    }

    const OPTIONS: Options =
        Options { grace: Duration::from_secs(10), expire_prepared: None, keep: 3 };

    #[test]
    fn the_last_three_dead_instances_of_a_name_are_kept() {
        let pods: Vec<Info> = (0..5).map(|n| pod(Some("web"), Status::Exited, n)).collect();
        let steps = plan(&pods, 1_000_000, OPTIONS);
        let gone: BTreeSet<Uuid> = steps.iter().map(|step| step.uuid).collect();
        assert_eq!(gone, pods[..2].iter().map(|pod| pod.uuid).collect());
    }

    #[test]
    fn living_and_prepared_pods_are_never_collected_by_default() {
        for status in [Status::Running, Status::Ending, Status::Prepared, Status::Preparing] {
            assert_eq!(plan(&[pod(None, status, 0)], u64::MAX, OPTIONS), [], "{status:?}");
        }
    }

    #[test]
    fn the_grace_counts_from_the_end() {
        let dead = [pod(None, Status::Exited, 5_000)];
        assert_eq!(plan(&dead, 14_000, OPTIONS), []);
        assert_eq!(plan(&dead, 15_000, OPTIONS).len(), 1);
    }
}
