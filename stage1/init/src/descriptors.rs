//! The inherited descriptors, by the names the plan gives them.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rocket_plan::PodPlan;
use rocket_sys::fds;

use crate::failure::{Context, Failure, Result};

/// Owner of what stage0 handed over. Everything in it is close-on-exec.
#[derive(Debug, Default)]
pub struct Descriptors(HashMap<String, OwnedFd>);

impl Descriptors {
    /// Takes the plan's descriptors and closes every other one from 3 up.
    pub fn inherit(plan: &PodPlan) -> Result<Self> {
        let mut map = HashMap::with_capacity(plan.descriptors.len());
        for entry in &plan.descriptors {
            let fd = fds::inherit(entry.fd).context(|| format!("descriptor {}", entry.name))?;
            if map.insert(entry.name.clone(), fd).is_some() {
                return Err(Failure::rocket(format!("descriptor {} is there twice", entry.name)));
            }
        }
        let keep: Vec<i32> = plan.descriptors.iter().map(|d| d.fd).collect();
        fds::close_others(&keep).context(|| "close what was not handed over".to_owned())?;
        Ok(Self(map))
    }

    /// Gives one away.
    pub fn take(&mut self, name: &str) -> Result<OwnedFd> {
        self.0.remove(name).ok_or_else(|| {
            Failure::rocket(format!("descriptor {name} is missing or was used before"))
        })
    }

    /// Gives one away if it is there.
    pub fn take_if_any(&mut self, name: &str) -> Option<OwnedFd> {
        self.0.remove(name)
    }

    /// Closes all but those that are needed for as long as the pod lives: nothing of the host that
    /// the plan names without using it stays within reach.
    pub fn keep(&mut self, needed: impl Fn(&str) -> bool) {
        self.0.retain(|name, _| needed(name));
    }

    /// Looks at one.
    pub fn get(&self, name: &str) -> Option<BorrowedFd<'_>> {
        self.0.get(name).map(AsFd::as_fd)
    }
}
