//! The entry process: reads the plan, makes init, hands the pod over, ends.

use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};

use rocket_plan::{Cgroup, Network, PodPlan, descriptor};
use rocket_sys::clone::{self, CloneArgs, Cloned, Namespaces, SingleThread};
use rocket_sys::{fds, proc, signal};

use crate::cgroup;
use crate::check;
use crate::descriptors::Descriptors;
use crate::failure::{Context, Failure, ROCKET, Result};
use crate::run;
use crate::tether::Tether;

/// The number of the plan's descriptor.
const PLAN: i32 = 3;
/// Longest plan that is read.
const PLAN_LIMIT: u64 = 16 * 1024 * 1024;

/// `init run`.
pub fn run() -> Result<i32> {
    // Before anything else: a signal that comes now is for init, which will read it.
    signal::block_all().context(|| "block signals".to_owned())?;
    let single = SingleThread::prove().context(|| "start".to_owned())?;
    proc::set_umask(0o022);
    let plan = read_plan()?;
    let mut descriptors = Descriptors::inherit(&plan)?;
    let tether = descriptors.take_if_any(descriptor::TETHER).map(Tether::new);
    match hand_over(single, plan, descriptors, tether.as_ref()) {
        Ok(Side::Entry) => Ok(0),
        Ok(Side::Init(started)) => {
            let (plan, descriptors, entry) = *started;
            // Never returns to main's error printing with a tether: stage0 prints for us.
            Ok(run::pod(single, &plan, descriptors, tether, entry))
        }
        Err(failure) => {
            if let Some(tether) = &tether {
                tether.say(&format!("ERR {} {}", failure.code, failure.text));
                return Ok(failure.code);
            }
            Err(failure)
        }
    }
}

fn read_plan() -> Result<PodPlan> {
    let fd = fds::inherit(PLAN).context(|| "read the plan".to_owned())?;
    let mut bytes = Vec::new();
    std::fs::File::from(fd)
        .take(PLAN_LIMIT)
        .read_to_end(&mut bytes)
        .context(|| "read the plan".to_owned())?;
    serde_json::from_slice(&bytes).context(|| "understand the plan".to_owned())
}

/// Which process this is after the clone.
enum Side {
    Entry,
    Init(Box<(PodPlan, Descriptors, OwnedFd)>),
}

fn hand_over(
    single: SingleThread,
    plan: PodPlan,
    mut descriptors: Descriptors,
    tether: Option<&Tether>,
) -> Result<Side> {
    check::plan(&plan)?;
    let unit = match plan.cgroup {
        Cgroup::Unit => {
            let unit = cgroup::Unit::of_self()?;
            // Its root is the cgroup the caller is in: the unit's own, now. init inherits it. Made by
            // the clone, it would be rooted at init's leaf.
            clone::unshare(Namespaces::CGROUP)
                .context(|| "make the cgroup namespace".to_owned())?;
            Some(unit)
        }
        Cgroup::Scope | Cgroup::None => None,
    };
    match make_init(single, &plan, unit.as_ref())? {
        Made::Child(held) => {
            drop(unit);
            if !wait_for(&held, GO) {
                // The entry process has failed and said why.
                clone::exit_now(ROCKET);
            }
            Ok(Side::Init(Box::new((plan, descriptors, held))))
        }
        Made::Parent { pid, release, in_leaf } => {
            if let Some(file) = descriptors.take_if_any(descriptor::PID_FILE) {
                rustix::io::write(&file, format!("{pid}\n").as_bytes())
                    .context(|| "write the pid file".to_owned())?;
            }
            if let Some(unit) = &unit {
                if !in_leaf {
                    unit.move_to_leaf(pid)?;
                }
                if let Some(notify) = descriptors.get(descriptor::NOTIFY) {
                    let message = format!("MAINPID={pid}");
                    let flags = rustix::net::SendFlags::NOSIGNAL;
                    rustix::net::send(notify, message.as_bytes(), flags)
                        .context(|| "tell the service manager init's PID".to_owned())?;
                }
            }
            if let Some(tether) = tether {
                tether.say(&format!("PID {pid}"));
            }
            let say = || "release init".to_owned();
            rustix::io::write(release.as_fd(), &[GO]).context(say)?;
            if let Some(unit) = &unit {
                // Meanwhile init makes its mounts.
                unit.enable_controllers()?;
                rustix::io::write(release.as_fd(), &[CGROUP]).context(say)?;
            }
            Ok(Side::Entry)
        }
    }
}

/// What the entry process tells init over a pipe: that it may go on, and that the cgroup is ready.
const GO: u8 = b'g';
const CGROUP: u8 = b'c';

/// init, before it may do anything.
enum Made {
    Child(OwnedFd),
    Parent { pid: i32, release: OwnedFd, in_leaf: bool },
}

/// Clones init, in a unit straight into its leaf.
fn make_init(single: SingleThread, plan: &PodPlan, unit: Option<&cgroup::Unit>) -> Result<Made> {
    let plain = CloneArgs { namespaces: namespaces(plan), sibling: true, cgroup: None };
    if let Some(unit) = unit {
        let args = CloneArgs { cgroup: Some(unit.leaf()), ..plain };
        // What is cloned into a cgroup may be killed at once (see `Tree::takes_clones`), and some
        // kernel may not do it at all. Then init has not run, and is moved afterwards.
        let (alive, tell) = fds::pipe().context(|| "make a pipe".to_owned())?;
        match clone_init(single, args) {
            Ok(Made::Child(held)) => {
                drop(alive);
                rustix::io::write(&tell, &[GO]).context(|| "report to the entry".to_owned())?;
                return Ok(Made::Child(held));
            }
            Ok(Made::Parent { pid, release, .. }) => {
                drop(tell);
                if wait_for(&alive, GO) {
                    return Ok(Made::Parent { pid, release, in_leaf: true });
                }
            }
            Err(_) => {}
        }
    }
    clone_init(single, plain)
}

fn clone_init(single: SingleThread, args: CloneArgs<'_>) -> Result<Made> {
    let (held, release) = fds::pipe().context(|| "make a pipe".to_owned())?;
    // A sibling: the service manager (or stage0) is init's real parent, and sees its end.
    match clone::clone3(single, args).context(|| "make the pod's namespaces".to_owned())? {
        Cloned::Child => Ok(Made::Child(held)),
        Cloned::Parent { pid, pidfd: _ } => Ok(Made::Parent { pid, release, in_leaf: false }),
    }
}

/// In init: waits until the entry process has made the unit's cgroup ready.
pub fn await_cgroup(held: &OwnedFd) -> Result<()> {
    if wait_for(held, CGROUP) {
        return Ok(());
    }
    Err(Failure::rocket("the process that makes the unit's cgroup ready has failed"))
}

/// But for the cgroup namespace: in a unit the entry process has made it, in a scope init does when it
/// has been moved.
fn namespaces(plan: &PodPlan) -> Namespaces {
    let mut set = Namespaces::PID.and(Namespaces::MOUNT).and(Namespaces::IPC).and(Namespaces::UTS);
    // With a user namespace there is one already, which belongs to that.
    if plan.namespaces.network == Network::None && plan.namespaces.user.is_none() {
        set = set.and(Namespaces::NETWORK);
    }
    set
}

/// Reads one byte; whether it is that one.
fn wait_for(pipe: &OwnedFd, expected: u8) -> bool {
    let mut byte = [0];
    loop {
        match rustix::io::read(pipe, &mut byte) {
            Ok(n) => return n == 1 && byte == [expected],
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}
