//! The entry process: reads the plan, makes init, hands the pod over, ends.

use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};

use rocket_plan::{Cgroup, Network, PodPlan, descriptor};
use rocket_sys::clone::{self, CloneArgs, Cloned, Namespaces, SingleThread};
use rocket_sys::{fds, proc, signal};

use crate::cgroup;
use crate::check;
use crate::descriptors::Descriptors;
use crate::failure::{Context, ROCKET, Result};
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
            let (plan, descriptors) = *started;
            // Never returns to main's error printing with a tether: stage0 prints for us.
            Ok(run::pod(single, &plan, descriptors, tether))
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
    Init(Box<(PodPlan, Descriptors)>),
}

fn hand_over(
    single: SingleThread,
    plan: PodPlan,
    mut descriptors: Descriptors,
    tether: Option<&Tether>,
) -> Result<Side> {
    check::plan(&plan)?;
    let (held, release) = fds::pipe().context(|| "make a pipe".to_owned())?;
    let args = CloneArgs { namespaces: namespaces(&plan), sibling: true, cgroup: None };
    // A sibling: the service manager (or stage0) is init's real parent, and sees its end.
    match clone::clone3(single, args).context(|| "make the pod's namespaces".to_owned())? {
        Cloned::Child => {
            drop(release);
            if !wait_for_release(&held) {
                // The entry process has failed and said why.
                clone::exit_now(ROCKET);
            }
            Ok(Side::Init(Box::new((plan, descriptors))))
        }
        Cloned::Parent { pid, pidfd: _ } => {
            drop(held);
            if let Some(file) = descriptors.take_if_any(descriptor::PID_FILE) {
                rustix::io::write(&file, format!("{pid}\n").as_bytes())
                    .context(|| "write the pid file".to_owned())?;
            }
            if plan.cgroup == Cgroup::Unit {
                cgroup::populate_unit(pid)?;
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
            rustix::io::write(release.as_fd(), b"g").context(|| "release init".to_owned())?;
            Ok(Side::Entry)
        }
    }
}

fn namespaces(plan: &PodPlan) -> Namespaces {
    let mut set = Namespaces::PID.and(Namespaces::MOUNT).and(Namespaces::IPC).and(Namespaces::UTS);
    // With a user namespace there is one already, which belongs to that.
    if plan.namespaces.network == Network::None && plan.namespaces.user.is_none() {
        set = set.and(Namespaces::NETWORK);
    }
    // Its root is the cgroup the caller is in: in a unit that is the unit's own, now. In a scope
    // init makes it when it has been moved.
    if plan.cgroup == Cgroup::Unit {
        set = set.and(Namespaces::CGROUP);
    }
    set
}

fn wait_for_release(held: &OwnedFd) -> bool {
    let mut byte = [0];
    loop {
        match rustix::io::read(held, &mut byte) {
            Ok(n) => return n == 1,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}
