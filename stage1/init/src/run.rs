//! init: set up, start, supervise, end.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use rocket_plan::{AppPlan, Cause, Cgroup, ExitRecord, ExitStatus, PodExit, PodPlan, descriptor};
use rocket_sys::clone::SingleThread;
use rocket_sys::signal::{self, SignalFd};
use rocket_sys::{memory, pidfd, proc};
use rustix::event::{PollFd, PollFlags, Timespec};

use crate::apps::Process;
use crate::control::{AppStatus, Control, Ended, Reply, Request};
use crate::descriptors::Descriptors;
use crate::failure::{Context, Failure, Result};
use crate::notify::Notify;
use crate::record::{Record, unix_ms};
use crate::scope::Place;
use crate::setup::Setup;
use crate::supervise::{Pod, Rules, State};
use crate::terminal::Terminals;
use crate::tether::{Command, Tether};
use crate::userns::{self, OomScore};
use crate::{app, enter, ops, reap};

/// When nothing has happened for so long, nothing more is expected soon: what init does not need to
/// sleep is given back. Much less, and an app that is started again every now and then would cost
/// page faults each time.
const SETTLED_MS: u64 = 500;

/// Everything init knows.
pub struct Init<'a> {
    pub(crate) single: SingleThread,
    pub(crate) plan: &'a PodPlan,
    pub(crate) descriptors: Descriptors,
    pub(crate) setup: Setup,
    pub(crate) pod: Pod,
    pub(crate) processes: Vec<Process>,
    pub(crate) record: &'a Record,
    pub(crate) notify: &'a Notify,
    pub(crate) tether: Option<&'a Tether>,
    pub(crate) tether_open: bool,
    pub(crate) terminals: Terminals,
    pub(crate) control: Control,
    pub(crate) signals: SignalFd,
    pub(crate) begun: Instant,
    pub(crate) ready: bool,
    /// What went wrong is on show already.
    pub(crate) told: bool,
    /// The last status.
    pub(crate) shown: String,
    said_stopping: bool,
}

/// init's whole life; its exit status.
pub fn pod(
    single: SingleThread,
    plan: &PodPlan,
    mut descriptors: Descriptors,
    tether: Option<Tether>,
    entry: OwnedFd,
) -> i32 {
    let record = Record::new(descriptors.take_if_any(descriptor::EXIT_RECORD));
    let notify = Notify::new(descriptors.take_if_any(descriptor::NOTIFY));
    drop(descriptors.take_if_any(descriptor::PID_FILE));
    // The locks stay in `descriptors` until init ends: being open is all they do.
    let control = Control::new(descriptors.take_if_any(descriptor::CONTROL));
    let place = Place::here(plan);
    let (status, cause, code) = match set_up(plan, &mut descriptors, tether.as_ref(), entry) {
        Ok((setup, signals, terminals)) => {
            drop(place);
            let mut init = Init {
                single,
                plan,
                descriptors,
                setup,
                pod: Pod::new(Rules::of(plan), plan.exit_policy.clone(), plan.stop_deadline_ms),
                processes: plan.apps.iter().map(|_| Process::default()).collect(),
                record: &record,
                notify: &notify,
                tether: tether.as_ref(),
                tether_open: true,
                terminals,
                control,
                signals,
                begun: Instant::now(),
                ready: false,
                told: false,
                shown: String::new(),
                said_stopping: false,
            };
            init.begin();
            init.supervise();
            init.end()
        }
        Err(failure) => {
            tell(&failure, tether.as_ref(), &notify);
            if let (Some(place), Some(tether)) = (place, &tether) {
                place.linger(tether);
            }
            (failure.code, Cause::Setup, failure.code)
        }
    };
    let boot_id = plan.boot_id.clone();
    record.append(&ExitRecord::Pod(PodExit { boot_id, status, cause, ended_ms: unix_ms() }));
    record.sync();
    code
}

fn set_up(
    plan: &PodPlan,
    descriptors: &mut Descriptors,
    tether: Option<&Tether>,
    entry: OwnedFd,
) -> Result<(Setup, SignalFd, Terminals)> {
    proc::set_name(c"rocket-init").context(|| "set the process name".to_owned())?;
    // A SIGKILL for the front-end's process group (a shell's `kill -9 %1`) must not take init along:
    // the front-end's end is what the tether tells, and the pod stops in order.
    proc::new_session().context(|| "leave the front-end's session".to_owned())?;
    let oom_score = if plan.namespaces.user.is_some() {
        userns::raise_limits(plan)?;
        Some(OomScore::claim(&plan.apps)?)
    } else {
        // The pod's last victim; where the privilege is missing, like any other process.
        let _ = std::fs::write("/proc/self/oom_score_adj", "-900");
        None
    };
    proc::set_dumpable(false).context(|| "become untraceable".to_owned())?;
    let signals = SignalFd::all().context(|| "watch signals".to_owned())?;
    let mut setup = Setup::new(Some(entry).filter(|_| plan.cgroup == Cgroup::Unit))?;
    setup.oom_score = oom_score;
    for op in &ops::build(plan) {
        setup.execute(op, descriptors, tether)?;
    }
    setup.report(plan, descriptors)?;
    let terminals = Terminals::take(plan, descriptors, tether.is_some())?;
    descriptors.keep(|name| {
        let stream = |app: &AppPlan| {
            [&app.stdin, &app.stdout, &app.stderr].into_iter().flatten().any(|s| s == name)
        };
        let socket = |app: &AppPlan| app.sockets.iter().any(|s| s.descriptor == name);
        matches!(name, descriptor::LOCK | descriptor::NAME_LOCK)
            || plan.apps.iter().any(|app| stream(app) || socket(app))
    });
    Ok((setup, signals, terminals))
}

/// To whoever started the pod: stage0 prints what comes over the tether, else standard error is
/// the journal or the terminal.
pub fn tell(failure: &Failure, tether: Option<&Tether>, notify: &Notify) {
    notify.send(&format!("STATUS={}", failure.text));
    match tether {
        Some(tether) => tether.say(&format!("ERR {} {}", failure.code, failure.text)),
        None => failure.print(),
    }
}

/// How long to wait for events; no end if `None`.
fn timeout(ms: Option<u64>) -> Option<Timespec> {
    ms.map(|ms| Timespec {
        tv_sec: i64::try_from(ms / 1000).unwrap_or(i64::MAX),
        // Rounded up by one, so that a deadline has passed on waking.
        tv_nsec: i64::try_from(ms % 1000).unwrap_or(0) * 1_000_000 + 999_999,
    })
}

impl Init<'_> {
    /// Milliseconds since the apps began.
    pub fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn supervise(&mut self) {
        while !self.pod.is_finished() {
            if let Err(failure) = self.wait() {
                failure.print();
                let todo = self.pod.kill(self.now());
                self.act(&todo);
            }
            self.take_signals();
            self.take_commands();
            self.take_oom();
            self.take_requests();
            self.terminals.read(&self.control);
            let todo = self.pod.tick(self.now());
            self.act(&todo);
            if self.pod.is_stopping() && !self.said_stopping {
                self.said_stopping = true;
                // What went wrong stays on show.
                let status = match (self.pod.was_asked(), self.culprit()) {
                    (true, _) => "\nSTATUS=stopping".to_owned(),
                    (false, Some(why)) if !self.told => format!("\nSTATUS=stopping: {why}"),
                    (false, _) => String::new(),
                };
                // Apps with post-stop handlers may take longer than the pod file alone tells.
                let handlers = self.plan.apps.iter().any(|app| app.post_stop.is_some());
                let extend = if handlers {
                    let ms = self.plan.stop_deadline_ms.saturating_add(4000);
                    format!("\nEXTEND_TIMEOUT_USEC={}", ms.saturating_mul(1000))
                } else {
                    String::new()
                };
                self.notify.send(&format!("STOPPING=1{status}{extend}"));
            }
        }
    }

    /// Sleeps until something happens or a deadline passes.
    fn wait(&self) -> Result<()> {
        let left = self.pod.next_deadline().map(|deadline| deadline.saturating_sub(self.now()));
        let tether = self.tether.filter(|_| self.tether_open).map(AsFd::as_fd);
        let mut sources = vec![self.signals.as_fd()];
        sources.extend(tether);
        sources.extend(self.control.listener());
        sources.extend(self.control.connections.iter().map(AsFd::as_fd));
        sources.extend(self.terminals.unattended(&self.control));
        let watches: Vec<_> = self.processes.iter().filter_map(Process::watch).collect();
        let mut polled: Vec<_> = sources.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
        polled.extend(watches.iter().map(|fd| PollFd::new(fd, PollFlags::PRI)));
        let mut poll = |ms| match rustix::event::poll(&mut polled, timeout(ms).as_ref()) {
            Ok(ready) => Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => Ok(true),
            Err(e) => Err(e).context(|| "wait for events".to_owned()),
        };
        let mut rest = left;
        if left.is_none_or(|left| left > SETTLED_MS) {
            if poll(Some(SETTLED_MS))? {
                return Ok(());
            }
            // From here on init sleeps, in a few pages.
            memory::give_back();
            rest = left.map(|left| left - SETTLED_MS);
        }
        poll(rest).map(|_| ())
    }

    fn take_signals(&mut self) {
        let mut stop = false;
        while let Ok(Some(number)) = self.signals.next() {
            // Stop: systemd's SIGTERM to a service, its SIGURG to a scope, Ctrl-C, the end of
            // the terminal, power failure. All others mean nothing to init.
            stop |= matches!(
                signal::name(number).as_str(),
                "SIGTERM" | "SIGURG" | "SIGINT" | "SIGHUP" | "SIGPWR"
            );
        }
        // SIGCHLDs merge, so the dead are looked for at every wake-up.
        for (pid, exit) in reap::all() {
            self.ended(pid, exit);
        }
        if stop {
            let todo = self.pod.stop(self.now());
            self.act(&todo);
        }
    }

    fn take_commands(&mut self) {
        let Some(tether) = self.tether.filter(|_| self.tether_open) else { return };
        let now = self.now();
        let todo = match tether.commands() {
            None => return,
            Some(Command::Stop) => self.pod.stop(now),
            Some(Command::Kill) => self.pod.kill(now),
            Some(Command::Detach) => {
                self.tether_open = false;
                self.terminals.front_is_gone();
                return;
            }
            Some(Command::Gone) => {
                self.tether_open = false;
                self.terminals.front_is_gone();
                self.pod.stop(now)
            }
        };
        self.act(&todo);
    }

    fn take_requests(&mut self) {
        self.control.accept();
        let mut index = 0;
        while index < self.control.connections.len() {
            let received = self.control.connections.get(index).map(|c| c.receive());
            match received {
                Some(Ok(Some((request, fds)))) => self.request(index, request, fds),
                Some(Ok(None)) => index += 1,
                _ => {
                    let gone = self.control.connections.swap_remove(index);
                    // Its command loses its user, as with a terminal that hangs up.
                    if let Some((pid, _)) = gone.entered {
                        let _ = signal::kill(-pid, 1);
                        let _ = signal::kill(-pid, 18);
                    }
                }
            }
        }
    }

    fn request(&mut self, index: usize, request: Request, fds: Vec<OwnedFd>) {
        let now = self.now();
        let mut entered = None;
        let reply = match request {
            Request::Stop => {
                let todo = self.pod.stop(now);
                self.act(&todo);
                Reply::ok()
            }
            Request::Kill => {
                let todo = self.pod.kill(now);
                self.act(&todo);
                Reply::ok()
            }
            Request::Status => self.status(),
            Request::SignalApp { app, number } => match self.signal(app.as_deref(), number) {
                Ok(()) => Reply::ok(),
                Err(failure) => Reply::refuse(failure),
            },
            Request::Attach { app } => {
                let attached = app::find(self.plan, app.as_deref())
                    .and_then(|app| self.terminals.attach(&mut self.control, index, app));
                match attached {
                    Ok(()) => return,
                    Err(failure) => Reply::refuse(failure),
                }
            }
            Request::Restart { app } => match self.restart(app.as_deref(), now) {
                Ok(()) => Reply::ok(),
                Err(failure) => Reply::refuse(failure),
            },
            request @ Request::Enter { .. } => match self.enter(index, request, fds) {
                Ok(started) => {
                    let pid = Some(started.pid);
                    entered = Some((started.pid, started.pidfd));
                    Reply { pid, ..Reply::ok() }
                }
                Err(failure) => Reply::refuse(failure),
            },
            Request::Signal { number } => {
                let command = self.control.connections.get(index).and_then(|c| c.entered.as_ref());
                match command.map(|(_, pidfd)| pidfd::send_signal(pidfd.as_fd(), number)) {
                    Some(Ok(())) => Reply::ok(),
                    Some(Err(e)) => Reply::refuse(Failure::rocket(e.to_string())),
                    None => Reply::refuse(Failure::rocket("nothing was entered here")),
                }
            }
        };
        if let Some(connection) = self.control.connections.get(index) {
            connection.reply(&reply);
        }
        drop(reply);
        if let (Some(connection), Some(_)) =
            (self.control.connections.get_mut(index), entered.as_ref())
        {
            connection.entered = entered;
        }
    }

    fn status(&self) -> Reply<'_> {
        let state = match (self.pod.is_stopping(), self.ready) {
            (true, _) => "stopping",
            (false, true) => "ready",
            (false, false) => "starting",
        };
        let apps = self.plan.apps.iter().zip(&self.processes).enumerate();
        let apps = apps.map(|(index, (app, process))| AppStatus {
            name: &app.name,
            state: self.pod.word(index),
            pid: process.alive.as_ref().map(|(pid, _)| *pid),
            restarts: self.pod.restarts(index),
            started_ms: (process.started_ms > 0).then_some(process.started_ms),
            exit: process.exit.map(Ended::from),
            why: Some(process.why.as_str()).filter(|why| !why.is_empty()),
            oom_kills: process.oom_kills,
        });
        Reply { state: Some(state), apps: Some(apps.collect()), ..Reply::ok() }
    }

    /// A signal for the main process of one app, or of all.
    fn signal(&self, name: Option<&str>, number: i32) -> Result<()> {
        let only = name.map(|name| app::find(self.plan, Some(name))).transpose()?;
        let mut sent = false;
        for (index, process) in self.processes.iter().enumerate() {
            let Some((_, pidfd)) = &process.alive else { continue };
            if only.is_none_or(|only| only == index) {
                pidfd::send_signal(pidfd.as_fd(), number).context(|| "send it".to_owned())?;
                sent = true;
            }
        }
        if sent { Ok(()) } else { Err(Failure::rocket("it does not run")) }
    }

    /// Another run of an app.
    fn restart(&mut self, name: Option<&str>, now: u64) -> Result<()> {
        let index = app::find(self.plan, name)?;
        let refuse = |why| Failure::rocket(format!("cannot restart the app: {why}"));
        let todo = self.pod.restart(index, now).map_err(refuse)?;
        self.act(&todo);
        Ok(())
    }

    fn enter(
        &self,
        connection: usize,
        request: Request,
        fds: Vec<OwnedFd>,
    ) -> Result<app::Started> {
        let Request::Enter { app: name, argv, env, tty: terminal, term } = request else {
            return Err(Failure::rocket("not a command"));
        };
        if self.control.connections.get(connection).is_some_and(|c| c.entered.is_some()) {
            return Err(Failure::rocket("a command runs on this connection already"));
        }
        let index = app::find(self.plan, name.as_deref())?;
        let (Some(app), Some(process)) = (self.plan.apps.get(index), self.processes.get(index))
        else {
            return Err(Failure::rocket("no such app"));
        };
        let Some((_, main)) = &process.alive else {
            return Err(Failure::rocket(format!("app {} is not running", app.name)));
        };
        match self.pod.state(index) {
            State::Running => {}
            State::Preparing => {
                let text = format!("app {} is not running: its pre-start handler is", app.name);
                return Err(Failure::rocket(text));
            }
            _ => return Err(Failure::rocket(format!("app {} is stopping", app.name))),
        }
        let fds = <[OwnedFd; 3]>::try_from(fds)
            .map_err(|_| Failure::rocket("three descriptors must come with the request"))?;
        let mut environment = env.unwrap_or_else(|| app.environment.clone());
        if let Some(term) = term.filter(|_| !environment.iter().any(|e| e.starts_with("TERM="))) {
            environment.push(format!("TERM={term}"));
        }
        let command = enter::Command { argv, environment, terminal, fds };
        enter::start(self.single, app, &self.setup, main.as_fd(), &command)
    }

    /// Everything is over: `(status and cause for the record, exit status)`.
    fn end(&mut self) -> (i32, Cause, i32) {
        self.kill_the_rest();
        if let Some(tree) = &self.setup.cgroup {
            for leaf in self.plan.apps.iter().filter_map(|a| a.leaf.as_deref()) {
                tree.remove(leaf);
            }
        }
        let asked = self.pod.was_asked();
        let status = self.pod.status();
        let cause = if asked { Cause::StopAsked } else { Cause::Exited };
        let code = match self.plan.exit_status {
            ExitStatus::Unit if asked => 0,
            ExitStatus::Unit | ExitStatus::App => status,
        };
        if code != 0 && !self.told {
            let why = self.culprit().map(|why| format!(": {why}")).unwrap_or_default();
            self.notify.send(&format!("STATUS=ended with status {code}{why}"));
        }
        (status, cause, code)
    }
}
