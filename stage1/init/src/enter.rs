//! A command beside a running app: its namespaces, leaf, user and restrictions.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rocket_plan::AppPlan;
use rocket_sys::clone::{self, CloneArgs, Namespaces, SingleThread};

use crate::app::{self, Started};
use crate::failure::{Context, Result};
use crate::process::{self, Stdio};
use crate::setup::Setup;

/// What to run.
#[derive(Debug)]
pub struct Command {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// The whole environment.
    pub environment: Vec<String>,
    /// The first stream is a terminal to take.
    pub terminal: bool,
    /// Standard streams.
    pub fds: [OwnedFd; 3],
}

/// Starts a command in the namespaces of an app's main process.
pub fn start(
    single: SingleThread,
    app: &AppPlan,
    setup: &Setup,
    main: BorrowedFd<'_>,
    command: &Command,
) -> Result<Started> {
    let [stdin, stdout, stderr] = &command.fds;
    let stdio =
        Stdio { fds: [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()], terminal: command.terminal };
    app::launch(single, app, setup, CloneArgs::default(), || {
        match prepare(app, setup, main, stdio) {
            Ok(()) => {
                process::exec(app, setup.proc.as_fd(), &command.argv, &command.environment, &[])
            }
            Err(failure) => failure,
        }
    })
}

fn prepare(app: &AppPlan, setup: &Setup, main: BorrowedFd<'_>, stdio: Stdio<'_>) -> Result<()> {
    if setup.oom_score.is_none() {
        process::set_oom_score(setup.proc.as_fd(), app.oom_score_adj)?;
    }
    let mut namespaces = Namespaces::MOUNT;
    if app.leaf.is_some() && setup.cgroup.is_some() {
        namespaces = namespaces.and(Namespaces::CGROUP);
    }
    clone::enter(main, namespaces).context(|| format!("enter app {}", app.name))?;
    process::restrict(app, &app.working_directory, stdio)
}
