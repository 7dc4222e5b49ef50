//! The life of the apps and the pod's own rules: pure, times passed in as milliseconds.
//!
//! `table` says what one app does, `restart` how soon and how often it starts again, `down` what an
//! end means for the others and for the pod; here is what is between apps until then: who starts when.

#[cfg(test)]
mod asked;
mod down;
#[cfg(test)]
mod handlers;
mod restart;
mod rules;
mod table;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod world;

use rocket_plan::{Cause, ExitPolicy, Kind};
use rocket_sys::pidfd::Exit;

use restart::{History, Verdict};
pub use rules::Rules;
pub use table::{Action, State};
use table::{Event, step};

/// Why the pod is going down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Asked,
    Ending,
}

/// What an app that has lost another one that it requires knows of it.
#[derive(Clone, Copy, Debug)]
struct Loss {
    /// Which one.
    of: usize,
    /// Its status, if it failed.
    status: Option<i32>,
}

/// An end that is judged when the app has been cleaned up after.
#[derive(Clone, Copy, Debug)]
struct Ended {
    exit: Exit,
    cause: Cause,
    /// It had been told to.
    leaving: bool,
}

#[derive(Clone, Debug)]
struct App {
    rules: Rules,
    state: State,
    history: History,
    /// Its run, counted from 0.
    restarts: u32,
    /// Whether its program has ever run.
    has_run: bool,
    /// Whether a run has ever begun, if only with its pre-start handler.
    begun: bool,
    /// How its main process ended, while the post-stop handler runs.
    cleaning: Option<Ended>,
    /// When this run began.
    started: u64,
    /// In backoff: when it starts again. Stopping: when SIGKILL follows the stop signal.
    due: Option<u64>,
    /// Killed because it was late.
    late: bool,
    /// Somebody has asked for another run.
    again: bool,
    lost: Option<Loss>,
}

/// All apps of the pod and the rules between them.
#[derive(Debug)]
pub struct Pod {
    apps: Vec<App>,
    policy: ExitPolicy,
    stop_deadline: u64,
    down: Option<Why>,
    asked: bool,
    deadline: Option<u64>,
    /// Status of what ended the pod.
    status: Option<i32>,
    /// The app whose end it was.
    culprit: Option<usize>,
    /// First failure, for policies that wait for all and for a stop that was asked for.
    first_failure: Option<i32>,
}

/// What to do to which app (index in start order).
pub type Todo = Vec<(usize, Action)>;

/// How an app's end is seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// For the record.
    pub cause: Cause,
    /// When there is more to say.
    pub message: Option<String>,
    /// What is to be done now.
    pub todo: Todo,
}

impl Pod {
    /// Apps in start order.
    pub fn new(apps: Vec<Rules>, policy: ExitPolicy, stop_deadline: u64) -> Self {
        let app = |rules| App {
            rules,
            state: State::Waiting,
            history: History::default(),
            restarts: 0,
            has_run: false,
            begun: false,
            cleaning: None,
            started: 0,
            due: None,
            late: false,
            again: false,
            lost: None,
        };
        Self {
            apps: apps.into_iter().map(app).collect(),
            policy,
            stop_deadline,
            down: None,
            asked: false,
            deadline: None,
            status: None,
            culprit: None,
            first_failure: None,
        }
    }

    /// An app's state.
    pub fn state(&self, index: usize) -> State {
        self.apps.get(index).map_or(State::Ended, |a| a.state)
    }

    /// The word of the control protocol for an app's state. One whose next run somebody has asked for
    /// waits for it, however the last one ended: that end is no answer to who asked.
    pub fn word(&self, index: usize) -> &'static str {
        let asked = |a: &App| a.state == State::Backoff && a.again;
        match self.apps.get(index) {
            Some(app) if asked(app) => State::Waiting.word(),
            _ => self.state(index).word(),
        }
    }

    /// How often an app was started again.
    pub fn restarts(&self, index: usize) -> u32 {
        self.apps.get(index).map_or(0, |a| a.restarts)
    }

    /// The name of an app whose end stopped this one, or kept it from starting.
    pub fn lost(&self, index: usize) -> Option<&str> {
        let lost = self.apps.get(index)?.lost?;
        self.apps.get(lost.of).map(|a| a.rules.name.as_str())
    }

    /// Why an app that has not run will not: the pod went down first.
    pub fn down_cause(&self) -> Cause {
        match self.down {
            Some(Why::Asked) => Cause::StopAsked,
            Some(Why::Ending) | None => Cause::PodEnding,
        }
    }

    /// Whether an app is ready: it runs, or has done what it was to do.
    pub fn is_app_ready(&self, index: usize) -> bool {
        let done = |a: &App| match a.rules.kind {
            Kind::Service => a.state == State::Running,
            Kind::Oneshot => a.state == State::Ended && a.lost.is_none(),
        };
        self.apps.get(index).is_some_and(done)
    }

    /// Whether the pod is ready: nothing is still to come.
    pub fn is_ready(&self) -> bool {
        let settled = |i| self.is_app_ready(i) || self.state(i).is_over();
        self.down.is_none() && (0..self.apps.len()).all(settled)
    }

    /// Whether the pod is going down.
    pub fn is_stopping(&self) -> bool {
        self.down.is_some()
    }

    /// Whether somebody asked for the stop (and nothing had failed before).
    pub fn was_asked(&self) -> bool {
        self.asked
    }

    /// Whether every app is over.
    pub fn is_finished(&self) -> bool {
        self.apps.iter().all(|a| a.state.is_over())
    }

    /// The status of the app that ended the pod, or of the first that failed while it went down.
    pub fn status(&self) -> i32 {
        self.status.or(self.first_failure).unwrap_or(0)
    }

    /// The app that ended the pod by failing.
    pub fn culprit(&self) -> Option<usize> {
        self.culprit
    }

    /// The pod begins: what waits for nothing is to start.
    pub fn begin(&mut self) -> Todo {
        self.settle()
    }

    /// An app's program runs.
    pub fn started(&mut self, index: usize, now: u64) -> Todo {
        if let Some(app) = self.apps.get_mut(index) {
            app.has_run = true;
            app.begun = true;
            app.started = now;
        }
        let mut todo: Todo = self.step(index, Event::Started).into_iter().collect();
        todo.extend(self.settle());
        todo
    }

    /// An app's pre-start handler runs.
    pub fn preparing(&mut self, index: usize, now: u64) {
        if let Some(app) = self.apps.get_mut(index) {
            app.begun = true;
            app.started = now;
        }
    }

    /// An app's pre-start handler has done what it was to do.
    pub fn prepared(&mut self, index: usize) -> Todo {
        self.step(index, Event::Go).into_iter().collect()
    }

    /// An app's main process ended: `None` if that is all, else its post-stop handler comes first, and
    /// [`Self::cleaned`] after that.
    pub fn clean(&mut self, index: usize, exit: Exit, now: u64) -> Option<Todo> {
        let cause = self.cause(index);
        let app = self.apps.get_mut(index).filter(|app| app.rules.post_stop)?;
        app.cleaning = Some(Ended { exit, cause, leaving: app.state.is_leaving() });
        app.due = Some(now.saturating_add(app.rules.stop_timeout));
        Some(self.step(index, Event::Clean).into_iter().collect())
    }

    /// An app's post-stop handler ended, or could not run: how the app itself had ended, and what
    /// comes of that.
    pub fn cleaned(&mut self, index: usize, now: u64) -> Option<(Exit, End)> {
        let ended = self.apps.get_mut(index)?.cleaning.take()?;
        let end = self.conclude(index, ended, now);
        Some((ended.exit, end))
    }

    /// An app could not be executed. The first time the pod was never ready and ends, whatever its
    /// policy; later it is an end like any other.
    pub fn failed_to_start(&mut self, index: usize, code: i32, now: u64) -> End {
        if self.apps.get(index).is_some_and(|a| a.has_run) {
            if let Some(app) = self.apps.get_mut(index) {
                app.started = now;
            }
            return self.ended(index, Exit::Code(code), now);
        }
        let mut todo: Todo = self.step(index, Event::Failed).into_iter().collect();
        self.culprit = self.culprit.or(Some(index));
        todo.extend(self.go_down(Why::Ending, Some(code), now));
        End { cause: Cause::Exited, message: None, todo }
    }

    /// An app's main process ended, or its pre-start handler did and it was not to: why, and what to
    /// do next.
    pub fn ended(&mut self, index: usize, exit: Exit, now: u64) -> End {
        let leaving = self.state(index).is_leaving();
        let ended = Ended { exit, cause: self.cause(index), leaving };
        self.conclude(index, ended, now)
    }

    fn conclude(&mut self, index: usize, ended: Ended, now: u64) -> End {
        let (event, message) = self.judge(index, ended, now);
        let mut todo: Todo = self.step(index, event).into_iter().collect();
        todo.extend(self.over(index, ended.exit.status(), now));
        todo.extend(self.settle());
        End { cause: ended.cause, message, todo }
    }

    /// Whether an app that has ended stays so.
    fn judge(&mut self, index: usize, ended: Ended, now: u64) -> (Event, Option<String>) {
        let stopping = self.down.is_some();
        let Some(app) = self.apps.get_mut(index) else { return (Event::Done, None) };
        app.due = None;
        let well = ended.exit.status() == 0;
        if ended.leaving || app.again {
            return match app.lost {
                _ if stopping => (Event::Done, None),
                Some(lost) if lost.status.is_some() => (Event::Failed, None),
                Some(_) => (Event::Done, None),
                None if app.again => {
                    app.due = Some(now);
                    (Event::Again, None)
                }
                None => (Event::Done, None),
            };
        }
        let outcome = if well { Event::Done } else { Event::Failed };
        if stopping || app.lost.is_some() {
            return (outcome, None);
        }
        match app.history.ended(&app.rules.restart, well, app.started, now) {
            Verdict::Stay => (outcome, None),
            Verdict::After(pause) => {
                app.due = Some(now.saturating_add(pause));
                (Event::Again, Some(format!("starts again in {}", rules::span(pause))))
            }
            Verdict::Limit => {
                let text = format!("not started again: {}", app.rules.limit());
                (Event::Failed, Some(text))
            }
        }
    }

    fn cause(&self, index: usize) -> Cause {
        let Some(app) = self.apps.get(index) else { return Cause::Exited };
        match (app.state, self.down) {
            (State::Killed, _) if app.late => Cause::Timeout,
            (State::Stopping | State::Killed, Some(Why::Asked)) => Cause::StopAsked,
            (State::Stopping | State::Killed, Some(Why::Ending)) => Cause::PodEnding,
            (State::Stopping | State::Killed, None) if app.lost.is_some() => Cause::Dependency,
            (State::Stopping | State::Killed, None) => Cause::StopAsked,
            _ => Cause::Exited,
        }
    }

    /// Somebody asks for another run of an app.
    pub fn restart(&mut self, index: usize, now: u64) -> Result<Todo, String> {
        if self.down.is_some() {
            return Err("the pod is stopping".to_owned());
        }
        let over = |i: &usize| self.state(*i).is_over() && !self.is_app_ready(*i);
        let missing =
            self.apps.get(index).and_then(|a| a.rules.requires.iter().copied().find(over));
        if let Some(other) = missing.and_then(|i| self.apps.get(i)) {
            return Err(format!("it requires {}, which has ended", other.rules.name));
        }
        let has_process = |a: &&App| a.state.has_process();
        if let Some(loss) = self.apps.get(index).filter(has_process).and_then(|a| a.lost) {
            let of = self.apps.get(loss.of).map_or("an app", |a| a.rules.name.as_str());
            return Err(format!("it is to stop, since {of}, which it requires, has ended"));
        }
        let Some(app) = self.apps.get_mut(index) else { return Ok(Todo::new()) };
        app.history.forget();
        match app.state {
            State::Waiting | State::Starting => Err("it has not been started yet".to_owned()),
            State::Preparing | State::Running => {
                app.again = true;
                Ok(self.turn(index, now))
            }
            State::Stopping | State::Killed | State::Cleaning => {
                app.again = true;
                Ok(Todo::new())
            }
            State::Backoff | State::Ended | State::Failed => {
                app.lost = None;
                Ok(self.go(index))
            }
        }
    }

    /// Starts an app, again if it has run.
    fn go(&mut self, index: usize) -> Todo {
        if let Some(app) = self.apps.get_mut(index) {
            (app.due, app.late, app.again) = (None, false, false);
            app.restarts = app.restarts.saturating_add(u32::from(app.begun));
        }
        let prepare = self.apps.get(index).is_some_and(|app| app.rules.pre_start);
        let event = if prepare { Event::Prepare } else { Event::Go };
        self.step(index, event).into_iter().collect()
    }

    /// Starts what has all that it waits for.
    fn settle(&mut self) -> Todo {
        let mut todo = Todo::new();
        if self.down.is_some() {
            return todo;
        }
        for index in 0..self.apps.len() {
            let Some(app) = self.apps.get(index).filter(|a| a.state == State::Waiting) else {
                continue;
            };
            let ready = |i: &usize| self.is_app_ready(*i);
            let passed = |i: &usize| ready(i) || self.state(*i).is_over();
            if app.rules.after.iter().all(passed) && app.rules.requires.iter().all(ready) {
                todo.extend(self.go(index));
            }
        }
        todo
    }

    /// Time has passed.
    pub fn tick(&mut self, now: u64) -> Todo {
        let mut todo = Todo::new();
        let all = self.deadline.is_some_and(|d| d <= now);
        for index in 0..self.apps.len() {
            let Some(app) = self.apps.get_mut(index) else { continue };
            let due = app.due.is_some_and(|d| d <= now);
            match app.state {
                State::Backoff if due => todo.extend(self.go(index)),
                // Once: nothing more can be done than that.
                State::Cleaning if app.cleaning.is_some() && app.due.is_some() && (due || all) => {
                    app.due = None;
                    todo.extend(self.step(index, Event::Kill));
                }
                State::Preparing | State::Running | State::Stopping if due || all => {
                    app.late = true;
                    todo.extend(self.step(index, Event::Kill));
                }
                _ => {}
            }
        }
        todo
    }

    /// When to call [`Self::tick`] next.
    pub fn next_deadline(&self) -> Option<u64> {
        let timed =
            |a: &&App| matches!(a.state, State::Stopping | State::Backoff | State::Cleaning);
        let lasting = |a: &App| match a.state {
            State::Preparing | State::Running | State::Stopping => true,
            State::Cleaning => a.due.is_some(),
            _ => false,
        };
        let pod = self.apps.iter().any(lasting).then_some(self.deadline).flatten();
        self.apps.iter().filter(timed).filter_map(|a| a.due).chain(pod).min()
    }

    fn step(&mut self, index: usize, event: Event) -> Option<(usize, Action)> {
        let app = self.apps.get_mut(index)?;
        let (state, action) = step(app.state, event);
        app.state = state;
        (action != Action::None).then_some((index, action))
    }
}
