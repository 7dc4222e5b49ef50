//! Starting an app: the child's way from init into its root and program.

use std::os::fd::{AsFd, OwnedFd};

use rocket_plan::{AppPlan, Mount, MountSource, PodPlan, Socket};
use rocket_sys::clone::{self, CloneArgs, Cloned, Namespaces, SingleThread};
use rocket_sys::mount::{self, Attributes};
use rocket_sys::{fds, pidfd};
use rustix::fs::OFlags;

use crate::cgroup;
use crate::descriptors::Descriptors;
use crate::failure::{Context, Failure, Result};
use crate::process::{self, Stdio};
use crate::rootfs;
use crate::setup::Setup;
use crate::userns;

/// A process that init started, after its exec.
#[derive(Debug)]
pub struct Started {
    /// Its PID in the pod.
    pub pid: i32,
    /// The process itself.
    pub pidfd: OwnedFd,
}

/// Which app of the plan is meant; its name may be left out where there is only one.
pub fn find(plan: &PodPlan, name: Option<&str>) -> Result<usize> {
    match name {
        Some(name) => plan
            .apps
            .iter()
            .position(|a| a.name == name)
            .ok_or_else(|| Failure::rocket(format!("the pod has no app called {name}"))),
        None if plan.apps.len() == 1 => Ok(0),
        None => Err(Failure::rocket("the pod has several apps: name one")),
    }
}

/// Starts an app and waits until its exec has succeeded or failed.
pub fn start(
    single: SingleThread,
    app: &AppPlan,
    setup: &Setup,
    descriptors: &Descriptors,
) -> Result<Started> {
    let stream = |name: &Option<String>| match name {
        Some(name) => descriptors
            .get(name)
            .ok_or_else(|| Failure::rocket(format!("descriptor {name} is missing"))),
        None => Ok(setup.input.as_fd()),
    };
    let stdio = Stdio {
        fds: [stream(&app.stdin)?, stream(&app.stdout)?, stream(&app.stderr)?],
        terminal: app.terminal.is_some(),
    };
    let missing = |name: &str| Failure::rocket(format!("descriptor {name} is missing"));
    let socket = |s: &Socket| descriptors.get(&s.descriptor).ok_or_else(|| missing(&s.descriptor));
    let sockets = app.sockets.iter().map(socket).collect::<Result<Vec<_>>>()?;
    let args = CloneArgs { namespaces: Namespaces::MOUNT, ..CloneArgs::default() };
    launch(single, app, setup, args, || match prepare(app, setup, stdio) {
        Ok(()) if sockets.is_empty() => {
            process::exec(app, setup.proc.as_fd(), &app.argv, &app.environment, &[])
        }
        Ok(()) => process::exec(app, setup.proc.as_fd(), &app.argv, &with_sockets(app), &sockets),
        Err(failure) => failure,
    })
}

/// An app's handler, as an app: appc 0.8.11, aci.md. It is the pod's root in the app's root, leaf and
/// environment, with the capabilities that the app may have at most, and has no terminal and no sockets.
pub fn handler(app: &AppPlan, argv: &[String]) -> AppPlan {
    let mut handler = app.clone();
    handler.argv = argv.to_vec();
    (handler.uid, handler.gid, handler.groups) = (0, 0, Vec::new());
    let caps = &mut handler.capabilities;
    (caps.effective, caps.permitted) = (caps.bounding.clone(), caps.bounding.clone());
    (caps.inheritable, caps.ambient) = (Vec::new(), Vec::new());
    (handler.stdin, handler.terminal) = (None, None);
    handler.sockets = Vec::new();
    handler
}

/// In the child: its environment with what sd_listen_fds(3) reads.
fn with_sockets(app: &AppPlan) -> Vec<String> {
    let names: Vec<&str> = app.sockets.iter().map(|socket| socket.name.as_str()).collect();
    let own = ["LISTEN_FDS=", "LISTEN_PID=", "LISTEN_FDNAMES="];
    let theirs = app.environment.iter().filter(|entry| !own.iter().any(|o| entry.starts_with(o)));
    let mut environment: Vec<String> = theirs.cloned().collect();
    environment.push(format!("LISTEN_FDS={}", names.len()));
    environment.push(format!("LISTEN_PID={}", rustix::process::getpid().as_raw_pid()));
    environment.push(format!("LISTEN_FDNAMES={}", names.join(":")));
    environment
}

/// Clones a child into an app's leaf and waits until `child` has become another program there, or
/// has returned why not.
pub fn launch(
    single: SingleThread,
    app: &AppPlan,
    setup: &Setup,
    args: CloneArgs<'_>,
    child: impl FnOnce() -> Failure,
) -> Result<Started> {
    let say = || format!("start app {}", app.name);
    let leaf = match (&setup.cgroup, &app.leaf) {
        (Some(tree), Some(leaf)) => Some(tree.leaf(leaf)?),
        _ => None,
    };
    let (read, write) = fds::pipe().context(say)?;
    let takes_clones = match (&setup.cgroup, &app.leaf) {
        (Some(tree), Some(leaf)) => tree.takes_clones(leaf),
        _ => true,
    };
    let cgroup = leaf.as_ref().filter(|_| takes_clones).map(AsFd::as_fd);
    let args = CloneArgs { cgroup, ..args };
    let lent = setup.oom_score.as_ref().map(|own| own.lend(app.oom_score_adj)).transpose()?;
    let cloned = clone::clone3(single, args).context(say)?;
    if matches!(cloned, Cloned::Parent { .. }) {
        drop(lent);
    } else {
        // The child keeps what it was lent.
        std::mem::forget(lent);
    }
    match cloned {
        Cloned::Child => {
            drop(read);
            // Out of the way of the sockets.
            let write = match process::above_sockets(write, app.sockets.len()) {
                Ok(write) => write,
                Err(failure) => clone::exit_now(failure.code),
            };
            let joined = match &leaf {
                Some(leaf) if !takes_clones => cgroup::join(leaf.as_fd()),
                _ => Ok(()),
            };
            let failure = joined.map_or_else(|failure| failure, |()| child());
            process::report(write.as_fd(), &failure)
        }
        Cloned::Parent { pid, pidfd } => {
            drop(write);
            match process::read_report(&read) {
                None => Ok(Started { pid, pidfd }),
                Some(failure) => {
                    let _ = pidfd::wait(pidfd.as_fd());
                    Err(failure)
                }
            }
        }
    }
}

/// In the child, in its own mount namespace: everything up to the exec.
fn prepare(app: &AppPlan, setup: &Setup, stdio: Stdio<'_>) -> Result<()> {
    if setup.oom_score.is_none() {
        process::set_oom_score(setup.proc.as_fd(), app.oom_score_adj)?;
    }
    if app.leaf.is_some() && setup.cgroup.is_some() {
        clone::unshare(Namespaces::CGROUP).context(|| "make the cgroup namespace".to_owned())?;
        for mount in app.mounts.iter().filter(|m| m.source == MountSource::Cgroup2) {
            mount_cgroup(app, mount)?;
        }
    }
    let root = rootfs::open(&app.name)?;
    let root = root
        .resolve(b"/", OFlags::PATH | OFlags::DIRECTORY)
        .context(|| "open the root".to_owned())?;
    let root = if setup.map.is_some() { userns::unlocked(root)? } else { root };
    mount::pivot_into(root.as_fd()).context(|| format!("enter the root of app {}", app.name))?;
    drop(root);
    process::restrict(app, &app.working_directory, stdio)
}

/// The leaf as the app sees it: the root of its own cgroup namespace, never writable.
fn mount_cgroup(app: &AppPlan, what: &Mount) -> Result<()> {
    let say = || format!("mount {} of app {}", what.target, app.name);
    let root = rootfs::open(&app.name)?;
    // sysfs has the directory or has not; nobody can make one there.
    let Some(target) = rootfs::find(&root, &what.target)? else { return Ok(()) };
    let attributes = Attributes { read_only: true, nosuid: true, nodev: true, noexec: true };
    let tree = mount::new_filesystem("cgroup2", &[], attributes).context(say)?;
    mount::attach(tree.as_fd(), target.as_fd()).context(say)
}
