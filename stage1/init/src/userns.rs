//! The pod's user namespace: set-up is real root's work, what it makes belongs to the pod's root,
//! and init moves in before it starts anything.

use std::os::fd::{AsFd, OwnedFd};

use rocket_plan::{AppPlan, IdMap, PodPlan, descriptor};
use rocket_sys::mount;
use rocket_sys::{proc, userns};
use rustix::fs::{Mode, OFlags};

use crate::descriptors::Descriptors;
use crate::failure::{Context, Failure, Result};

/// Moves init into the network namespace that belongs to the pod's user namespace.
pub fn join_network(descriptors: &mut Descriptors) -> Result<()> {
    let network = descriptors.take(descriptor::NETWORK_NAMESPACE)?;
    userns::enter_network(network.as_fd()).context(|| "enter the pod's network".to_owned())
}

/// What init makes from here on belongs to `id`, of the host's ids.
pub fn make_files_as(id: u32) -> Result<()> {
    userns::make_files_as(id, id).context(|| format!("make files as user {id}"))
}

/// The last step of set-up.
pub fn enter(descriptors: &mut Descriptors) -> Result<()> {
    let user = descriptors.take(descriptor::USER_NAMESPACE)?;
    userns::enter(user.as_fd()).context(|| "enter the pod's user namespace".to_owned())
}

/// Hard limits are raised by the host's root only: init takes the highest that any app is to have,
/// and each app lowers its own.
pub fn raise_limits(plan: &PodPlan) -> Result<()> {
    for app in &plan.apps {
        for limit in &app.rlimits {
            proc::raise_hard_limit(&limit.resource, limit.hard)
                .context(|| format!("app {}", app.name))?;
        }
    }
    Ok(())
}

/// A root that its app's mount namespace can be pivoted into. In a mount namespace of the pod's own
/// user namespace every mount that came from init is locked in its place; a copy of the whole tree
/// is not, though what is mounted inside it stays locked.
pub fn unlocked(root: OwnedFd) -> Result<OwnedFd> {
    let say = || "copy the root".to_owned();
    let copy = mount::open_tree_clone(root.as_fd(), c"", true).context(say)?;
    mount::attach(copy.as_fd(), root.as_fd()).context(say)?;
    Ok(copy)
}

/// init's `oom_score_adj`, opened while it was the host's root. A child inherits the score, and in
/// a user namespace cannot open its own: it is not dumpable. So init takes an app's score while it
/// makes the child.
#[derive(Debug)]
pub struct OomScore {
    file: OwnedFd,
    own: i32,
}

impl OomScore {
    /// Sets init's own score: the lowest that any app is to have and no lower, because what root
    /// sets here is also how far an app may lower its own again.
    pub fn claim(apps: &[AppPlan]) -> Result<Self> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let file = rustix::fs::open("/proc/self/oom_score_adj", flags, Mode::empty())
            .context(|| "open oom_score_adj".to_owned())?;
        let own = apps.iter().map(|app| app.oom_score_adj.unwrap_or(0)).min().unwrap_or(0);
        let mut score = Self { file, own };
        if score.set(own).is_err() {
            // Where the privilege is missing, as any other process.
            score.own = score.get().unwrap_or(0);
        }
        Ok(score)
    }

    fn get(&self) -> Option<i32> {
        let mut text = [0; 16];
        let n = rustix::io::pread(&self.file, &mut text, 0).ok()?;
        std::str::from_utf8(text.get(..n)?).ok()?.trim().parse().ok()
    }

    fn set(&self, score: i32) -> rustix::io::Result<()> {
        rustix::io::pwrite(&self.file, score.to_string().as_bytes(), 0).map(|_| ())
    }

    /// Takes an app's score until the guard is dropped; `None` is 0 where that can be had.
    pub fn lend(&self, score: Option<i32>) -> Result<Lent<'_>> {
        let value = score.unwrap_or(0);
        match self.set(value) {
            Err(rustix::io::Errno::ACCESS) if score.is_none() => {}
            result => result.context(|| format!("set the OOM score {value}"))?,
        }
        Ok(Lent(self))
    }
}

/// While it lives, init has an app's score.
#[derive(Debug)]
pub struct Lent<'a>(&'a OomScore);

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        // No lower than init had before, so it cannot be refused.
        let _ = self.0.set(self.0.own);
    }
}

/// An id inside as the host sees it.
pub fn outside(map: Option<&IdMap>, id: u32) -> Result<u32> {
    match map {
        None => Ok(id),
        Some(map) if id < map.count => Ok(map.base.saturating_add(id)),
        Some(map) => Err(Failure::rocket(format!(
            "id {id} is beyond the {} of the pod's user namespace",
            map.count
        ))),
    }
}
