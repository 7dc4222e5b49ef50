//! What pods there are and how they fare, as plain data.

use super::directory::{self, DirectoryError, PID, State};
use super::life::{self, Life};
use super::lookup::Found;
use super::meta::{CgroupRecord, Meta};
use super::record::{self, Record};
use crate::config::paths::Paths;
use crate::files::Dir;
use serde::Serialize;
use std::num::NonZero;
use std::{io, thread};
use uuid::Uuid;

/// The state of a pod in the words of `rocket list`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Being made.
    Preparing,
    /// Its maker died.
    AbortedPrepare,
    /// Waiting to be run.
    Prepared,
    /// Its init lives.
    Running,
    /// Its init is dead, processes are still being killed.
    Ending,
    /// Dead.
    Exited,
    /// Being deleted.
    Garbage,
    /// Its directory cannot be read.
    Broken,
}

impl Status {
    /// As text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Preparing => "preparing",
            Self::AbortedPrepare => "aborted-prepare",
            Self::Prepared => "prepared",
            Self::Running => "running",
            Self::Ending => "ending",
            Self::Exited => "exited",
            Self::Garbage => "garbage",
            Self::Broken => "broken",
        }
    }
}

/// One pod.
#[derive(Clone, Debug)]
pub struct Info {
    /// Which.
    pub uuid: Uuid,
    /// Where it lies.
    pub state: State,
    /// How it fares.
    pub status: Status,
    /// What its directory says; `None` while it is being made or when it cannot be read.
    pub meta: Option<Meta>,
    /// Where it runs or ran.
    pub cgroup: Option<CgroupRecord>,
    /// init's PID as the host sees it, while it lives.
    pub pid: Option<u32>,
    /// Unix time in milliseconds of its last start.
    pub started_ms: Option<u64>,
    /// How its apps ended.
    pub record: Record,
    /// Why it is [`Status::Broken`].
    pub problem: Option<String>,
}

/// How a pod can end without writing it down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LostEnd {
    /// In this boot.
    InitKilled,
    /// In another boot: crash, power cut.
    MachineDown,
}

impl LostEnd {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::InitKilled => "its init was killed",
            Self::MachineDown => "the machine went down",
        }
    }
}

/// So many pods are worth a thread that looks at them.
const SHARE: usize = 100;
/// No more threads than this: what they wait for is the kernel's, and shared.
const THREADS: usize = 4;

/// Every pod but those being deleted, oldest first.
///
/// # Errors
/// The state directories cannot be read. A single broken pod is listed as such.
pub fn all(paths: &Paths) -> Result<Vec<Info>, DirectoryError> {
    let mut found = Vec::new();
    for state in State::ALL.into_iter().filter(|state| *state != State::Garbage) {
        found.extend(directory::scan(paths, state)?.into_iter().map(|uuid| Found { uuid, state }));
    }
    let look = |share: &[Found]| -> Vec<Info> {
        share.iter().filter_map(|found| info(paths, *found)).collect()
    };
    let wanted = found.len().div_ceil(SHARE);
    let threads = match wanted {
        0 | 1 => 1,
        _ => thread::available_parallelism().map_or(1, NonZero::get).min(wanted).min(THREADS),
    };
    let (own, others) = found.split_at(found.len().div_ceil(threads));
    let mut pods = thread::scope(|scope| {
        let size = others.len().div_ceil(threads.saturating_sub(1).max(1)).max(1);
        // Where a thread cannot be had, its share is looked at here.
        let helpers: Vec<_> = others
            .chunks(size)
            .map(|share| (share, thread::Builder::new().spawn_scoped(scope, move || look(share))))
            .collect();
        let mut pods = look(own);
        for (share, helper) in helpers {
            let seen = helper.ok().and_then(|helper| helper.join().ok());
            pods.extend(seen.unwrap_or_else(|| look(share)));
        }
        pods
    });
    pods.sort_by_key(|pod| (pod.meta.as_ref().map_or(u64::MAX, |meta| meta.created_ms), pod.uuid));
    Ok(pods)
}

/// One pod; `None` if it went away meanwhile.
pub fn info(paths: &Paths, found: Found) -> Option<Info> {
    let Found { uuid, state } = found;
    let path = state.path(paths, uuid);
    let mut problem = None;
    let mut keep = |error: String| {
        problem.get_or_insert(error);
    };
    let dir = match Dir::open(&path) {
        Ok(dir) => dir,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(source) => {
            let problem = Some(chain(&DirectoryError::Io { what: "open", path, source }));
            return Some(Info { problem, ..Info::unknown(found) });
        }
    };
    // What has not run has neither of these: not even looked for, since a listing has many pods.
    let has_run = matches!(state, State::Run | State::ExitedGarbage);
    let cgroup = has_run
        .then(|| CgroupRecord::read_in(&dir).map_err(|error| keep(chain(&error))).ok().flatten())
        .flatten();
    let status = match state {
        State::Embryo | State::Prepare => match directory::is_lock_free_in(&dir) {
            Ok(true) => Status::AbortedPrepare,
            _ => Status::Preparing,
        },
        State::Prepared => Status::Prepared,
        State::Run => match directory::is_lock_free_in(&dir) {
            Ok(free) => match life::judge(free, cgroup.as_ref()) {
                Life::Alive => Status::Running,
                Life::Ending => Status::Ending,
                Life::Dead => Status::Exited,
            },
            Err(error) => {
                keep(chain(&error));
                Status::Broken
            }
        },
        State::ExitedGarbage => Status::Exited,
        State::Garbage => Status::Garbage,
    };
    let complete = !matches!(state, State::Embryo | State::Prepare | State::Garbage);
    let meta = Meta::read_in(&dir)
        .map_err(|error| {
            if complete {
                keep(chain(&error))
            }
        })
        .ok();
    // Removed, or moved on to be removed, while it was looked at.
    if meta.is_none() && !path.is_dir() {
        return None;
    }
    let (mut record, mut pid, mut started_ms) = (Record::default(), None, None);
    if has_run {
        record = record::read_in(&dir).map_err(|error| keep(chain(&error))).unwrap_or_default();
        started_ms = started(&dir);
        if status == Status::Running {
            pid = init(&dir);
        }
    }
    let orphaned = status == Status::Prepared
        && meta.as_ref().is_some_and(|meta| meta.for_run)
        && directory::is_lock_free_in(&dir).unwrap_or(false);
    let status = if orphaned { Status::AbortedPrepare } else { status };
    let status = if problem.is_some() { Status::Broken } else { status };
    let pid = pid.filter(|_| status == Status::Running);
    Some(Info { uuid, state, status, meta, cgroup, pid, started_ms, record, problem })
}

impl Info {
    /// Why a pod that has run and is dead has no end on record.
    pub fn unrecorded_end(&self) -> Option<LostEnd> {
        let has_run = self.status == Status::Exited && self.started_ms.is_some();
        if !has_run || self.record.pod.is_some() {
            return None;
        }
        let now = life::boot_id();
        let same = self.cgroup.as_ref().is_none_or(|record| Some(&record.boot_id) == now.as_ref());
        Some(if same { LostEnd::InitKilled } else { LostEnd::MachineDown })
    }

    /// A pod of which nothing can be read.
    fn unknown(found: Found) -> Self {
        Self {
            uuid: found.uuid,
            state: found.state,
            status: Status::Broken,
            meta: None,
            cgroup: None,
            pid: None,
            started_ms: None,
            record: Record::default(),
            problem: None,
        }
    }
}

/// init's PID.
fn init(dir: &Dir) -> Option<u32> {
    String::from_utf8(dir.read(PID).ok()?).ok()?.trim().parse().ok()
}

/// When init's PID was written; before that, the file is empty.
fn started(dir: &Dir) -> Option<u64> {
    let stat = dir.stat(PID).ok().filter(|stat| stat.st_size > 0)?;
    let nanoseconds = i64::try_from(stat.st_mtime_nsec).ok()?;
    u64::try_from(stat.st_mtime * 1000 + nanoseconds / 1_000_000).ok()
}

/// An error with its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(&format!(": {cause}"));
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::directory::Pod;
    use crate::pod::meta;

    #[test]
    fn many_pods_are_listed_once_each_and_oldest_first() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::new(root.path());
        let mut made = Vec::new();
        for created_ms in 0..u64::try_from(SHARE).unwrap() * 5 / 2 {
            let pod = Pod::create(&paths).unwrap();
            let meta = Meta {
                version: meta::VERSION,
                uuid: pod.uuid(),
                name: None,
                created_ms,
                previous: None,
                pod_file_digest: None,
                description: None,
                apps: Vec::new(),
                limits: Vec::new(),
                slice: None,
                stop_timeout_ms: 0,
                start_timeout_ms: None,
                for_run: false,
                ids: None,
                weakened: Vec::new(),
                warnings: Vec::new(),
            };
            meta.write(pod.path()).unwrap();
            let pod = pod.seal(&paths).unwrap();
            let status = match created_ms % 2 {
                0 => Status::Prepared,
                _ => {
                    pod.start(&paths).unwrap();
                    Status::Exited
                }
            };
            made.push((meta.uuid, status));
        }
        let broken = State::Run.path(&paths, made.pop().unwrap().0);
        std::fs::write(broken.join("meta.json"), "{").unwrap();
        let listed = all(&paths).unwrap();
        let (last, listed) = listed.split_last().unwrap();
        assert_eq!(last.status, Status::Broken);
        assert!(last.problem.as_ref().unwrap().contains("meta.json"), "{last:?}");
        let listed: Vec<_> = listed.iter().map(|pod| (pod.uuid, pod.status)).collect();
        assert_eq!(listed, made);
        // What cannot be read at all is still told.
        let uuid = made.pop().unwrap().0;
        let dir = State::Prepared.path(&paths, uuid);
        std::fs::remove_dir_all(&dir).unwrap();
        assert!(info(&paths, Found { uuid, state: State::Prepared }).is_none());
        std::fs::write(&dir, "").unwrap();
        let info = info(&paths, Found { uuid, state: State::Prepared }).unwrap();
        assert_eq!((info.status, info.problem.is_some()), (Status::Broken, true));
    }
}
