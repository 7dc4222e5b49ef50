//! What init does to apps: executes what the state table decides, and tells what became of it.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rocket_plan::{AppExit, Cause, ExitRecord};
use rocket_sys::pidfd::{self, Exit};
use rocket_sys::signal;

use crate::failure::{Failure, ROCKET, warn};
use crate::record::unix_ms;
use crate::run::{Init, tell};
use crate::show;
use crate::supervise::{Action, End, State, Todo};
use crate::{app, reap};

const SIGHUP: i32 = 1;
const SIGCONT: i32 = 18;

/// Which of an app's programs a process is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// The pre-start handler.
    Before,
    /// The app itself.
    #[default]
    Main,
    /// The post-stop handler.
    After,
}

/// An app's process and history.
#[derive(Debug, Default)]
pub struct Process {
    /// While it runs.
    pub alive: Option<(i32, OwnedFd)>,
    /// What that process is.
    pub phase: Phase,
    /// What the post-stop handler failed with.
    unclean: Option<String>,
    /// The process that led its last session.
    leader: Option<i32>,
    /// Unix time of the start of its last run.
    pub started_ms: u64,
    /// Unix time at which the end of its last run was seen.
    ended_ms: u64,
    /// How its last run ended.
    pub exit: Option<Exit>,
    /// The same in words.
    pub why: String,
    /// Processes of its leaf that the kernel has killed because memory ran out.
    pub oom_kills: u64,
    /// How many these were when its last run began.
    oom_before: u64,
    /// Its leaf's `memory.events`, which can be polled.
    watch: Option<OwnedFd>,
}

impl Process {
    /// To be polled for priority events: memory ran out.
    pub fn watch(&self) -> Option<BorrowedFd<'_>> {
        self.watch.as_ref().map(AsFd::as_fd)
    }
}

impl Init<'_> {
    /// The first starts.
    pub fn begin(&mut self) {
        if let Some(tree) = &self.setup.cgroup {
            for (app, process) in self.plan.apps.iter().zip(&mut self.processes) {
                process.watch = app.leaf.as_deref().and_then(|leaf| tree.memory_events(leaf));
            }
        }
        let todo = self.pod.begin();
        self.act(&todo);
    }

    /// Does what is to be done, and what follows from that.
    pub fn act(&mut self, todo: &Todo) {
        let mut queue: VecDeque<_> = todo.iter().copied().collect();
        while let Some((index, action)) = queue.pop_front() {
            match action {
                Action::None => {}
                Action::Start => queue.extend(self.start(index)),
                Action::Signal => self.signal_to_stop(index),
                Action::Prepare => queue.extend(self.handle(index, Phase::Before)),
                Action::Clean => {
                    self.kill(index);
                    queue.extend(self.handle(index, Phase::After));
                }
                Action::Kill | Action::Sweep => self.kill(index),
                Action::Note => self.note(index),
            }
        }
        self.show();
    }

    /// Runs a handler.
    fn handle(&mut self, index: usize, phase: Phase) -> Todo {
        let Some(plan) = self.plan.apps.get(index) else { return Todo::new() };
        let (argv, wanted) = match phase {
            Phase::After => (&plan.post_stop, State::Cleaning),
            Phase::Before | Phase::Main => (&plan.pre_start, State::Preparing),
        };
        // What came before this in the queue may have ended the pod.
        let Some(argv) = argv.as_ref().filter(|_| self.pod.state(index) == wanted) else {
            return Todo::new();
        };
        if phase == Phase::After || self.pod.restarts(index) > 0 {
            self.clear(index);
        }
        let begun = unix_ms();
        let plan = app::handler(plan, argv);
        let started = app::start(self.single, &plan, &self.setup, &self.descriptors);
        let now = self.now();
        let Some(process) = self.processes.get_mut(index) else { return Todo::new() };
        process.phase = phase;
        if phase == Phase::Before {
            process.started_ms = begun;
            process.oom_before = process.oom_kills;
        }
        match started {
            Ok(started) => {
                process.leader = Some(started.pid);
                process.alive = Some((started.pid, started.pidfd));
                if phase == Phase::Before {
                    self.pod.preparing(index, now);
                }
                Todo::new()
            }
            Err(failure) if phase == Phase::After => {
                process.unclean = Some(format!("post-stop: {}", failure.text));
                self.cleaned(index)
            }
            Err(failure) => {
                let text = format!("pre-start: {}", failure.text);
                self.not_started(index, Failure::new(failure.code, text), Cause::PreStart)
            }
        }
    }

    /// The post-stop handler is over: now the app has ended.
    fn cleaned(&mut self, index: usize) -> Todo {
        let Some((exit, end)) = self.pod.cleaned(index, self.now()) else { return Todo::new() };
        self.concluded(index, exit, end)
    }

    fn clear(&self, index: usize) {
        if let (Some(tree), Some(leaf)) =
            (&self.setup.cgroup, self.plan.apps.get(index).and_then(|app| app.leaf.as_ref()))
        {
            tree.clear(leaf);
        }
    }

    /// The first exec of a run has failed.
    fn not_started(&mut self, index: usize, failure: Failure, cause: Cause) -> Todo {
        let now = self.now();
        let (Some(plan), Some(process)) =
            (self.plan.apps.get(index), self.processes.get_mut(index))
        else {
            return Todo::new();
        };
        process.ended_ms = unix_ms();
        let exit = Exit::Code(failure.code);
        process.exit = Some(exit);
        process.why.clone_from(&failure.text);
        let had_run = self.pod.restarts(index) > 0;
        let end = self.pod.failed_to_start(index, failure.code, now);
        if self.ready || had_run {
            self.say(&format!("app {}: {}", plan.name, failure.text));
        } else {
            self.told = true;
            tell(&failure, self.tether, self.notify);
        }
        let cause = if failure.code == ROCKET { Cause::Setup } else { cause };
        let text = match end.message {
            Some(more) => format!("{}, {more}", failure.text),
            None => failure.text,
        };
        self.app_record(index, Some(exit), cause, Some(text));
        end.todo
    }

    fn start(&mut self, index: usize) -> Todo {
        let Some(plan) = self.plan.apps.get(index) else { return Todo::new() };
        // What came before this in the queue may have ended the pod.
        if self.pod.state(index) != State::Starting {
            return Todo::new();
        }
        if plan.pre_start.is_some() {
            // The pod's root has nothing to do beside the app.
            self.kill(index);
            self.clear(index);
        } else if self.pod.restarts(index) > 0 {
            self.clear(index);
        }
        self.look_for_oom(index);
        self.terminals.refresh(index);
        let started_ms = unix_ms();
        let started = app::start(self.single, plan, &self.setup, &self.descriptors);
        let now = self.now();
        let Some(process) = self.processes.get_mut(index) else { return Todo::new() };
        process.phase = Phase::Main;
        process.started_ms = started_ms;
        process.oom_before = process.oom_kills;
        match started {
            Ok(started) => {
                process.leader = Some(started.pid);
                process.alive = Some((started.pid, started.pidfd));
                self.pod.started(index, now)
            }
            Err(failure) => self.not_started(index, failure, Cause::ExecFailed),
        }
    }

    fn signal_to_stop(&self, index: usize) {
        if let (Some(app), Some(process)) = (self.plan.apps.get(index), self.processes.get(index))
            && let Some((_, pidfd)) = &process.alive
        {
            let _ = pidfd::send_signal(pidfd.as_fd(), app.stop_signal);
            if app.terminal.is_some() {
                // A shell at a terminal ignores SIGTERM, and ends with its terminal.
                let _ = pidfd::send_signal(pidfd.as_fd(), SIGHUP);
                let _ = pidfd::send_signal(pidfd.as_fd(), SIGCONT);
            }
        }
    }

    fn kill(&self, index: usize) {
        let (Some(app), Some(process)) = (self.plan.apps.get(index), self.processes.get(index))
        else {
            return;
        };
        let by_leaf = match (&self.setup.cgroup, &app.leaf) {
            (Some(tree), Some(leaf)) => tree.kill(leaf).is_ok(),
            _ => false,
        };
        if let (false, Some(leader)) = (by_leaf, process.leader) {
            reap::kill_session(self.setup.proc.as_fd(), leader);
        }
    }

    /// Puts on record that an app will not be started.
    fn note(&mut self, index: usize) {
        // Its last run is on record, if it has had one.
        if self.processes.get(index).is_none_or(|process| process.leader.is_some()) {
            return;
        }
        let lost = self.pod.lost(index).map(str::to_owned);
        let (cause, text) = match &lost {
            Some(lost) => {
                let text = format!("not started: {lost}, which it requires, has ended");
                (Cause::Dependency, text)
            }
            None => {
                let text = "not started: the pod went down before its turn had come";
                (self.pod.down_cause(), text.to_owned())
            }
        };
        if let (Some(process), Some(app)) =
            (self.processes.get_mut(index), self.plan.apps.get(index))
        {
            process.started_ms = unix_ms();
            process.ended_ms = process.started_ms;
            process.why.clone_from(&text);
            // That the pod goes down is said once, with what makes it.
            if lost.is_some() {
                self.say(&format!("app {}: {text}", app.name));
            }
        }
        self.app_record(index, None, cause, Some(text));
    }

    /// A child of init has ended: an app, an entered command, or an orphan.
    pub fn ended(&mut self, pid: i32, exit: Exit) {
        let is = |p: &Process| p.alive.as_ref().is_some_and(|(alive, _)| *alive == pid);
        if let Some(index) = self.processes.iter().position(is) {
            self.app_ended(index, exit);
            return;
        }
        let entered = |c: &&mut crate::control::Connection| {
            c.entered.as_ref().is_some_and(|(p, _)| *p == pid)
        };
        if let Some(connection) = self.control.connections.iter_mut().find(entered) {
            connection.exited(exit);
        }
    }

    fn app_ended(&mut self, index: usize, exit: Exit) {
        // Before anything is counted from the end, so that no pause looks shorter than it was.
        let ended_ms = unix_ms();
        self.look_for_oom(index);
        let Some(process) = self.processes.get_mut(index) else { return };
        process.alive = None;
        let well = exit == Exit::Code(0);
        let todo = match process.phase {
            Phase::Before if well && self.pod.state(index) == State::Preparing => {
                self.pod.prepared(index)
            }
            Phase::After => {
                process.unclean =
                    (!well).then(|| format!("its post-stop handler {}", show::exit(exit, false)));
                self.cleaned(index)
            }
            phase => {
                process.ended_ms = ended_ms;
                process.unclean = None;
                let now = self.now();
                let clean =
                    if phase == Phase::Main { self.pod.clean(index, exit, now) } else { None };
                match clean {
                    Some(todo) => todo,
                    None => {
                        let mut end = self.pod.ended(index, exit, now);
                        if phase == Phase::Before && end.cause == Cause::Exited {
                            end.cause = Cause::PreStart;
                        }
                        self.concluded(index, exit, end)
                    }
                }
            }
        };
        self.act(&todo);
    }

    /// Says and records how a run of an app has ended; what is to be done now.
    fn concluded(&mut self, index: usize, exit: Exit, end: End) -> Todo {
        let Some(process) = self.processes.get_mut(index) else { return Todo::new() };
        process.exit = Some(exit);
        let victims = process.oom_kills.saturating_sub(process.oom_before);
        let oom = victims > 0 && exit == Exit::Signal(reap::sigkill());
        let cause = if oom && end.cause == Cause::Exited { Cause::Oom } else { end.cause };
        let by_loss = (cause == Cause::Dependency).then(|| self.pod.lost(index)).flatten();
        let mut more: Vec<String> = Vec::new();
        more.extend((victims > 0 && cause != Cause::Oom).then(|| show::victims(victims)));
        more.extend(by_loss.map(|lost| format!("stopped: {lost}, which it requires, has ended")));
        more.extend(process.unclean.take());
        more.extend(end.message);
        let more = more.join(", ");
        let mut why = show::exit(exit, cause == Cause::Oom);
        if cause == Cause::PreStart {
            why = format!("its pre-start handler {why}");
        }
        if !more.is_empty() {
            why = format!("{why}, {more}");
        }
        process.why.clone_from(&why);
        let surprise = cause == Cause::Exited && exit.status() != 0 && self.tether.is_none();
        // The pod never was ready, and this is why.
        let fatal = cause == Cause::PreStart && !self.ready && self.pod.culprit() == Some(index);
        if fatal {
            self.told = true;
            let name = self.plan.apps.get(index).map_or("", |app| app.name.as_str());
            let failure = Failure::new(exit.status(), format!("app {name}: {why}"));
            tell(&failure, self.tether, self.notify);
        }
        let surprise = !fatal && (surprise || cause == Cause::PreStart);
        if let Some(app) = self.plan.apps.get(index)
            && (!more.is_empty() || surprise || matches!(cause, Cause::Oom | Cause::Timeout))
        {
            self.say(&format!("app {}: {why}", app.name));
        }
        let more = if cause == Cause::PreStart { why } else { more };
        let message = Some(more).filter(|more| !more.is_empty());
        self.app_record(index, Some(exit), cause, message);
        end.todo
    }

    /// Counts what the kernel has killed in an app's leaf.
    pub fn look_for_oom(&mut self, index: usize) -> bool {
        let Some(process) = self.processes.get_mut(index) else { return false };
        let kills = process.watch.as_ref().and_then(|fd| crate::cgroup::oom_kills(fd.as_fd()));
        let more = kills.is_some_and(|kills| kills > process.oom_kills);
        process.oom_kills = kills.unwrap_or(process.oom_kills);
        more
    }

    /// Memory may have run out somewhere.
    pub fn take_oom(&mut self) {
        for index in 0..self.processes.len() {
            if !self.look_for_oom(index) {
                continue;
            }
            if let (Some(app), Some(process)) =
                (self.plan.apps.get(index), self.processes.get(index))
                && process.alive.is_some()
            {
                let kills = process.oom_kills.saturating_sub(process.oom_before);
                self.say(&format!("app {}: {}", app.name, show::victims(kills)));
            }
            self.show();
        }
    }

    fn app_record(&self, index: usize, exit: Option<Exit>, cause: Cause, message: Option<String>) {
        let (Some(app), Some(process)) = (self.plan.apps.get(index), self.processes.get(index))
        else {
            return;
        };
        let (code, signal) = match exit {
            Some(Exit::Code(code)) => (Some(code), None),
            Some(Exit::Signal(signal)) => (None, Some(signal)),
            None => (None, None),
        };
        self.record.append(&ExitRecord::App(AppExit {
            app: app.name.clone(),
            code,
            signal,
            cause,
            started_ms: process.started_ms,
            ended_ms: process.ended_ms,
            restarts: self.pod.restarts(index),
            message,
        }));
        // The pod's own line follows at once otherwise, and one wait for the disk is enough.
        if !self.pod.is_finished() {
            self.record.sync();
        }
    }

    /// A line for people: the journal's, or the front-end's.
    pub fn say(&self, text: &str) {
        match self.tether {
            Some(tether) if self.tether_open => tether.say(&format!("NOTE {text}")),
            Some(_) => {}
            None => warn(text),
        }
    }

    /// Says that the pod is ready when it is, and how it is doing when that has changed.
    pub fn show(&mut self) {
        if self.pod.is_stopping() {
            return;
        }
        let apps = self.plan.apps.iter().zip(&self.processes).enumerate();
        let views: Vec<_> = apps
            .map(|(index, (app, process))| show::App {
                name: &app.name,
                state: self.pod.state(index),
                ready: self.pod.is_app_ready(index),
                why: &process.why,
                oom_kills: process.oom_kills.saturating_sub(process.oom_before),
            })
            .collect();
        let status = show::status(&views);
        let now_ready = !self.ready && self.pod.is_ready();
        if !now_ready && status == self.shown {
            return;
        }
        if now_ready {
            self.ready = true;
            self.notify.send(&format!("READY=1\nSTATUS={status}"));
            if let Some(tether) = self.tether {
                tether.say("READY");
            }
        } else {
            self.notify.send(&format!("STATUS={status}"));
        }
        self.shown = status;
    }

    /// What ended the pod, in words.
    pub fn culprit(&self) -> Option<String> {
        let index = self.pod.culprit()?;
        let (app, process) = (self.plan.apps.get(index)?, self.processes.get(index)?);
        Some(format!("app {}: {}", app.name, process.why))
    }

    /// Everything that is left is killed and reaped.
    pub fn kill_the_rest(&mut self) {
        // Of any app or entered command; the kernel would do it too, later.
        let _ = signal::kill(-1, reap::sigkill());
        for (pid, exit) in reap::all() {
            self.ended(pid, exit);
        }
    }
}
