//! What pods there are and how they fare, as plain data.

use super::directory::{self, DirectoryError, PID, State};
use super::life::{self, Life};
use super::lookup::Found;
use super::meta::{CgroupRecord, Meta};
use super::record::{self, Record};
use crate::config::paths::Paths;
use serde::Serialize;
use std::os::unix::fs::MetadataExt;
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

/// Every pod but those being deleted, oldest first.
///
/// # Errors
/// The state directories cannot be read. A single broken pod is listed as such.
pub fn all(paths: &Paths) -> Result<Vec<Info>, DirectoryError> {
    let mut pods = Vec::new();
    for state in State::ALL {
        if state == State::Garbage {
            continue;
        }
        for uuid in directory::scan(paths, state)? {
            if let Some(info) = info(paths, Found { uuid, state }) {
                pods.push(info);
            }
        }
    }
    pods.sort_by_key(|pod| (pod.meta.as_ref().map_or(u64::MAX, |meta| meta.created_ms), pod.uuid));
    Ok(pods)
}

/// One pod; `None` if it went away meanwhile.
pub fn info(paths: &Paths, found: Found) -> Option<Info> {
    let Found { uuid, state } = found;
    let dir = state.path(paths, uuid);
    let mut problem = None;
    let mut keep = |error: String| {
        problem.get_or_insert(error);
    };
    // What has not run has neither of these: not even looked for, since a listing has many pods.
    let has_run = matches!(state, State::Run | State::ExitedGarbage);
    let cgroup = has_run
        .then(|| CgroupRecord::read(&dir).map_err(|error| keep(chain(&error))).ok().flatten())
        .flatten();
    let status = match state {
        State::Embryo | State::Prepare => match directory::lock_is_free(&dir, uuid) {
            Ok(true) => Status::AbortedPrepare,
            _ => Status::Preparing,
        },
        State::Prepared => Status::Prepared,
        State::Run => match directory::lock_is_free(&dir, uuid) {
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
    let meta = Meta::read(&dir)
        .map_err(|error| {
            if complete {
                keep(chain(&error))
            }
        })
        .ok();
    if meta.is_none() && !dir.is_dir() {
        return None;
    }
    let (mut record, mut pid, mut started_ms) = (Record::default(), None, None);
    if has_run {
        record = record::read(&dir).map_err(|error| keep(chain(&error))).unwrap_or_default();
        (pid, started_ms) = init(&dir);
    }
    let orphaned = status == Status::Prepared
        && meta.as_ref().is_some_and(|meta| meta.for_run)
        && directory::lock_is_free(&dir, uuid).unwrap_or(false);
    let status = if orphaned { Status::AbortedPrepare } else { status };
    let status = if problem.is_some() { Status::Broken } else { status };
    let pid = pid.filter(|_| status == Status::Running);
    Some(Info { uuid, state, status, meta, cgroup, pid, started_ms, record, problem })
}

/// init's PID and when it was written.
fn init(dir: &std::path::Path) -> (Option<u32>, Option<u64>) {
    let path = dir.join(PID);
    let Some(pid) = std::fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok())
    else {
        return (None, None);
    };
    let written = std::fs::metadata(&path).ok();
    let started =
        written.and_then(|m| u64::try_from(m.mtime() * 1000 + m.mtime_nsec() / 1_000_000).ok());
    (Some(pid), started)
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
