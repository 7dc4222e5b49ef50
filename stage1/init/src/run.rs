//! init: set up, start, supervise, end.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use rocket_plan::{AppExit, AppPlan, Cause, ExitRecord, ExitStatus, PodExit, PodPlan, descriptor};
use rocket_sys::clone::SingleThread;
use rocket_sys::pidfd::{self, Exit};
use rocket_sys::proc;
use rocket_sys::signal::{self, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec};

use crate::control::{AppStatus, Control, Reply, Request};
use crate::descriptors::Descriptors;
use crate::failure::{Context, Failure, ROCKET, Result};
use crate::notify::Notify;
use crate::record::{Record, unix_ms};
use crate::scope::Place;
use crate::setup::Setup;
use crate::supervise::{Action, Pod, State, Todo};
use crate::terminal::Terminals;
use crate::tether::{Command, Tether};
use crate::{app, enter, ops, reap};

/// An app's process and history.
#[derive(Debug, Default)]
struct Process {
    /// While it runs.
    alive: Option<(i32, OwnedFd)>,
    started_ms: u64,
    status: Option<i32>,
}

/// Everything init knows.
struct Init<'a> {
    single: SingleThread,
    plan: &'a PodPlan,
    descriptors: Descriptors,
    setup: Setup,
    pod: Pod,
    processes: Vec<Process>,
    record: &'a Record,
    notify: &'a Notify,
    tether: Option<&'a Tether>,
    tether_open: bool,
    terminals: Terminals,
    control: Control,
    signals: SignalFd,
    begun: Instant,
    ready: bool,
    said_stopping: bool,
}

/// init's whole life; its exit status.
pub fn pod(
    single: SingleThread,
    plan: &PodPlan,
    mut descriptors: Descriptors,
    tether: Option<Tether>,
) -> i32 {
    let record = Record::new(descriptors.take_if_any(descriptor::EXIT_RECORD));
    let notify = Notify::new(descriptors.take_if_any(descriptor::NOTIFY));
    drop(descriptors.take_if_any(descriptor::PID_FILE));
    // The locks stay in `descriptors` until init ends: being open is all they do.
    let control = Control::new(descriptors.take_if_any(descriptor::CONTROL));
    let place = Place::here(plan);
    let (status, cause, code) = match set_up(plan, &mut descriptors, tether.as_ref()) {
        Ok((setup, signals, terminals)) => {
            drop(place);
            let mut init = Init {
                single,
                plan,
                descriptors,
                setup,
                pod: Pod::new(
                    plan.apps.iter().map(|a| (a.name.clone(), a.stop_timeout_ms)).collect(),
                    plan.exit_policy.clone(),
                    plan.stop_deadline_ms,
                ),
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
                said_stopping: false,
            };
            init.start_apps();
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
    code
}

fn set_up(
    plan: &PodPlan,
    descriptors: &mut Descriptors,
    tether: Option<&Tether>,
) -> Result<(Setup, SignalFd, Terminals)> {
    proc::set_name(c"rocket-init").context(|| "set the process name".to_owned())?;
    // A SIGKILL for the front-end's process group (a shell's `kill -9 %1`) must not take init along:
    // the front-end's end is what the tether tells, and the pod stops in order.
    proc::new_session().context(|| "leave the front-end's session".to_owned())?;
    // The pod's last victim; where the privilege is missing, like any other process.
    let _ = std::fs::write("/proc/self/oom_score_adj", "-900");
    proc::set_dumpable(false).context(|| "become untraceable".to_owned())?;
    let signals = SignalFd::all().context(|| "watch signals".to_owned())?;
    let mut setup = Setup::new()?;
    for op in &ops::build(plan) {
        setup.execute(op, descriptors, tether)?;
    }
    let terminals = Terminals::take(plan, descriptors, tether.is_some())?;
    descriptors.keep(|name| {
        let stream = |app: &AppPlan| {
            [&app.stdin, &app.stdout, &app.stderr].into_iter().flatten().any(|s| s == name)
        };
        matches!(name, descriptor::LOCK | descriptor::NAME_LOCK) || plan.apps.iter().any(stream)
    });
    Ok((setup, signals, terminals))
}

/// To whoever started the pod: stage0 prints what comes over the tether, else standard error is
/// the journal or the terminal.
fn tell(failure: &Failure, tether: Option<&Tether>, notify: &Notify) {
    notify.send(&format!("STATUS={}", failure.text));
    match tether {
        Some(tether) => tether.say(&format!("ERR {} {}", failure.code, failure.text)),
        None => failure.print(),
    }
}

impl Init<'_> {
    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn start_apps(&mut self) {
        for (index, plan) in self.plan.apps.iter().enumerate() {
            let started_ms = unix_ms();
            let started = app::start(self.single, plan, &self.setup, &self.descriptors);
            if let Some(process) = self.processes.get_mut(index) {
                process.started_ms = started_ms;
            }
            match started {
                Ok(started) => {
                    if let Some(process) = self.processes.get_mut(index) {
                        process.alive = Some((started.pid, started.pidfd));
                    }
                    self.pod.started(index);
                }
                Err(failure) => {
                    tell(&failure, self.tether, self.notify);
                    let cause =
                        if failure.code == ROCKET { Cause::Setup } else { Cause::ExecFailed };
                    let exit = Exit::Code(failure.code);
                    self.app_record(index, exit, cause, Some(failure.text));
                    let todo = self.pod.failed_to_start(index, failure.code, self.now());
                    self.act(&todo);
                    return;
                }
            }
        }
        self.ready = true;
        self.notify.send("READY=1\nSTATUS=running");
        if let Some(tether) = self.tether {
            tether.say("READY");
        }
        // From here on init mostly sleeps, in a few pages of its code.
        proc::forget_code(self.setup.proc.as_fd());
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
            self.take_requests();
            self.terminals.read(&self.control);
            let todo = self.pod.tick(self.now());
            self.act(&todo);
            if self.pod.is_stopping() && !self.said_stopping {
                self.said_stopping = true;
                // What went wrong stays on show.
                let asked = self.pod.was_asked();
                self.notify.send(if asked { "STOPPING=1\nSTATUS=stopping" } else { "STOPPING=1" });
            }
        }
    }

    /// Sleeps until something happens or a deadline passes.
    fn wait(&self) -> Result<()> {
        let timeout = self.pod.next_deadline().map(|deadline| {
            let left = deadline.saturating_sub(self.now());
            Timespec {
                tv_sec: i64::try_from(left / 1000).unwrap_or(i64::MAX),
                // Rounded up by one, so that the deadline has passed on waking.
                tv_nsec: i64::try_from(left % 1000).unwrap_or(0) * 1_000_000 + 999_999,
            }
        });
        let tether = self.tether.filter(|_| self.tether_open).map(AsFd::as_fd);
        let mut sources = vec![self.signals.as_fd()];
        sources.extend(tether);
        sources.extend(self.control.listener());
        sources.extend(self.control.connections.iter().map(AsFd::as_fd));
        sources.extend(self.terminals.unattended(&self.control));
        let mut polled: Vec<_> = sources.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
        match rustix::event::poll(&mut polled, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(e) => Err(e).context(|| "wait for events".to_owned()),
        }
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

    fn ended(&mut self, pid: i32, exit: Exit) {
        let is = |p: &Process| p.alive.as_ref().is_some_and(|(alive, _)| *alive == pid);
        if let Some(index) = self.processes.iter().position(is) {
            if let Some(process) = self.processes.get_mut(index) {
                process.status = Some(exit.status());
            }
            let (cause, todo) = self.pod.ended(index, exit, self.now());
            self.app_record(index, exit, cause, None);
            self.act(&todo);
            if let Some(process) = self.processes.get_mut(index) {
                process.alive = None;
            }
            return;
        }
        let entered = |c: &&mut crate::control::Connection| {
            c.entered.as_ref().is_some_and(|(p, _)| *p == pid)
        };
        if let Some(connection) = self.control.connections.iter_mut().find(entered) {
            connection.exited(exit);
        }
    }

    fn app_record(&self, index: usize, exit: Exit, cause: Cause, message: Option<String>) {
        let (Some(app), Some(process)) = (self.plan.apps.get(index), self.processes.get(index))
        else {
            return;
        };
        let (code, signal) = match exit {
            Exit::Code(code) => (Some(code), None),
            Exit::Signal(signal) => (None, Some(signal)),
        };
        self.record.append(&ExitRecord::App(AppExit {
            app: app.name.clone(),
            code,
            signal,
            cause,
            started_ms: process.started_ms,
            ended_ms: unix_ms(),
            restarts: 0,
            message,
        }));
    }

    fn act(&self, todo: &Todo) {
        for (index, action) in todo {
            let (Some(app), Some(process)) =
                (self.plan.apps.get(*index), self.processes.get(*index))
            else {
                continue;
            };
            match action {
                Action::None => {}
                Action::Signal => {
                    if let Some((_, pidfd)) = &process.alive {
                        let _ = pidfd::send_signal(pidfd.as_fd(), app.stop_signal);
                    }
                }
                Action::Kill | Action::Sweep => {
                    let by_leaf = match (&self.setup.cgroup, &app.leaf) {
                        (Some(tree), Some(leaf)) => tree.kill(leaf).is_ok(),
                        _ => false,
                    };
                    if let (false, Some((pid, _))) = (by_leaf, &process.alive) {
                        reap::kill_session(self.setup.proc.as_fd(), *pid);
                    }
                }
            }
        }
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
            state: self.pod.state(index).word(),
            pid: process.alive.as_ref().map(|(pid, _)| *pid),
            status: process.status,
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
        if self.pod.state(index) != State::Running {
            return Err(Failure::rocket(format!("app {} is stopping", app.name)));
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
        // Whatever is left of any app or entered command; the kernel would do it too, later.
        let _ = signal::kill(-1, reap::sigkill());
        for (pid, exit) in reap::all() {
            self.ended(pid, exit);
        }
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
        if code != 0 && self.ready {
            self.notify.send(&format!("STATUS=ended with status {code}"));
        }
        (status, cause, code)
    }
}
