//! The state table of the apps and the pod's own rules: pure, times passed in as milliseconds.

use rocket_plan::{Cause, ExitPolicy};
use rocket_sys::pidfd::Exit;

/// Where an app is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not started yet.
    Waiting,
    /// Its program runs.
    Running,
    /// Has got its stop signal.
    Stopping,
    /// Has got SIGKILL.
    Killed,
    /// Its main process is gone.
    Done,
}

impl State {
    /// The word of the control protocol.
    pub fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Stopping | Self::Killed => "stopping",
            Self::Done => "ended",
        }
    }
}

/// What happens to an app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Its exec succeeded.
    Started,
    /// Its main process ended, or could not be started.
    Ended,
    /// Its turn to stop has come.
    Turn,
    /// It has not stopped in time, or everything is to be killed.
    Kill,
}

/// What is to be done to an app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    None,
    /// Send its stop signal.
    Signal,
    /// Kill it and all it has started.
    Kill,
    /// Kill what it has left behind.
    Sweep,
}

/// The table: state × event → state and action.
pub fn step(state: State, event: Event) -> (State, Action) {
    use {Action as A, Event as E, State as S};
    match (state, event) {
        (S::Waiting, E::Started) => (S::Running, A::None),
        (S::Waiting, E::Ended | E::Turn | E::Kill) => (S::Done, A::None),
        (S::Running, E::Turn) => (S::Stopping, A::Signal),
        (S::Running | S::Stopping, E::Kill) => (S::Killed, A::Kill),
        (S::Running | S::Stopping | S::Killed, E::Ended) => (S::Done, A::Sweep),
        (S::Running | S::Stopping | S::Killed, E::Started)
        | (S::Stopping | S::Killed, E::Turn)
        | (S::Killed, E::Kill)
        | (S::Done, _) => (state, A::None),
    }
}

/// Why the pod is going down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Asked,
    Ending,
}

#[derive(Clone, Debug)]
struct App {
    name: String,
    state: State,
    stop_timeout: u64,
    /// When SIGKILL follows the stop signal.
    deadline: Option<u64>,
    /// Killed because it was late.
    late: bool,
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
    /// First failure, for policies that wait for all and for a stop that was asked for.
    first_failure: Option<i32>,
}

/// What to do to which app (index in start order).
pub type Todo = Vec<(usize, Action)>;

impl Pod {
    /// Apps as `(name, stop timeout)` in start order.
    pub fn new(apps: Vec<(String, u64)>, policy: ExitPolicy, stop_deadline: u64) -> Self {
        let apps = apps
            .into_iter()
            .map(|(name, stop_timeout)| App {
                name,
                state: State::Waiting,
                stop_timeout,
                deadline: None,
                late: false,
            })
            .collect();
        Self {
            apps,
            policy,
            stop_deadline,
            down: None,
            asked: false,
            deadline: None,
            status: None,
            first_failure: None,
        }
    }

    /// An app's state.
    pub fn state(&self, index: usize) -> State {
        self.apps.get(index).map_or(State::Done, |a| a.state)
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
        self.apps.iter().all(|a| a.state == State::Done)
    }

    /// The status of the app that ended the pod, or of the first that failed while it went down.
    pub fn status(&self) -> i32 {
        self.status.or(self.first_failure).unwrap_or(0)
    }

    /// An app's program runs.
    pub fn started(&mut self, index: usize) {
        self.step(index, Event::Started);
    }

    /// An app could not be started: the pod was never ready and ends, whatever its policy.
    pub fn failed_to_start(&mut self, index: usize, code: i32, now: u64) -> Todo {
        self.step(index, Event::Ended);
        self.go_down(Why::Ending, Some(code), now)
    }

    /// An app's main process ended: why, and what to do next.
    pub fn ended(&mut self, index: usize, exit: Exit, now: u64) -> (Cause, Todo) {
        let status = exit.status();
        let cause = self.cause(index);
        let mut todo = Todo::new();
        todo.extend(self.step(index, Event::Ended));
        if status != 0 && self.first_failure.is_none() {
            self.first_failure = Some(status);
        }
        if self.down.is_some() {
            todo.extend(self.next_turn(now));
            return (cause, todo);
        }
        let name = self.apps.get(index).map(|a| a.name.as_str());
        let ends = match &self.policy {
            ExitPolicy::AnyFailure => (status != 0).then_some(status),
            ExitPolicy::AllDone => None,
            ExitPolicy::App(main) => (name == Some(main)).then_some(status),
        };
        if let Some(status) = ends {
            todo.extend(self.go_down(Why::Ending, Some(status), now));
        }
        (cause, todo)
    }

    fn cause(&self, index: usize) -> Cause {
        let Some(app) = self.apps.get(index) else { return Cause::Exited };
        match (app.state, self.down) {
            (State::Killed, _) if app.late => Cause::Timeout,
            (State::Stopping | State::Killed, Some(Why::Asked)) => Cause::StopAsked,
            (State::Stopping | State::Killed, Some(Why::Ending)) => Cause::PodEnding,
            _ => Cause::Exited,
        }
    }

    /// Somebody asks the pod to stop in order.
    pub fn stop(&mut self, now: u64) -> Todo {
        self.asked |= self.down.is_none();
        self.go_down(Why::Asked, None, now)
    }

    /// Somebody asks for the end, now.
    pub fn kill(&mut self, now: u64) -> Todo {
        let mut todo = self.stop(now);
        for index in 0..self.apps.len() {
            todo.extend(self.step(index, Event::Kill));
        }
        todo
    }

    fn go_down(&mut self, why: Why, status: Option<i32>, now: u64) -> Todo {
        if self.down.is_none() {
            self.down = Some(why);
            self.status = status;
            self.deadline = Some(now.saturating_add(self.stop_deadline));
            // What has not been started never will be.
            for index in 0..self.apps.len() {
                if self.state(index) == State::Waiting {
                    self.step(index, Event::Turn);
                }
            }
            // Failures before a stop that was asked for (only policies that tolerate them get
            // here) do not count as its result.
            if why == Why::Asked {
                self.first_failure = None;
            }
        }
        self.next_turn(now)
    }

    /// The last in start order that still runs stops when no other is stopping.
    fn next_turn(&mut self, now: u64) -> Todo {
        let busy = |a: &App| matches!(a.state, State::Stopping | State::Killed);
        if self.apps.iter().any(busy) {
            return Todo::new();
        }
        let Some(index) = self.apps.iter().rposition(|a| a.state == State::Running) else {
            return Todo::new();
        };
        if let Some(app) = self.apps.get_mut(index) {
            app.deadline = Some(now.saturating_add(app.stop_timeout));
        }
        self.step(index, Event::Turn).into_iter().collect()
    }

    /// Time has passed.
    pub fn tick(&mut self, now: u64) -> Todo {
        let mut todo = Todo::new();
        let all = self.deadline.is_some_and(|d| d <= now);
        for index in 0..self.apps.len() {
            let Some(app) = self.apps.get_mut(index) else { continue };
            let over = all || app.deadline.is_some_and(|d| d <= now);
            if over && matches!(app.state, State::Running | State::Stopping) {
                app.late = true;
                todo.extend(self.step(index, Event::Kill));
            }
        }
        todo
    }

    /// When to call [`Self::tick`] next.
    pub fn next_deadline(&self) -> Option<u64> {
        let waiting = |a: &&App| matches!(a.state, State::Running | State::Stopping);
        let apps = self.apps.iter().filter(waiting);
        let pod = self.apps.iter().any(|a| waiting(&a)).then_some(self.deadline).flatten();
        apps.filter_map(|a| a.deadline).chain(pod).min()
    }

    fn step(&mut self, index: usize, event: Event) -> Option<(usize, Action)> {
        let app = self.apps.get_mut(index)?;
        let (state, action) = step(app.state, event);
        app.state = state;
        (action != Action::None).then_some((index, action))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Action::{Kill, Signal, Sweep};

    fn pod(policy: ExitPolicy) -> Pod {
        let apps = ["a", "b", "c"].map(|n| (n.to_owned(), 100)).to_vec();
        let mut pod = Pod::new(apps, policy, 250);
        (0..3).for_each(|i| pod.started(i));
        pod
    }

    #[test]
    fn stops_in_reverse_order_one_after_another() {
        let mut p = pod(ExitPolicy::AnyFailure);
        assert_eq!(p.stop(0), [(2, Signal)]);
        assert_eq!(p.stop(1), []);
        assert_eq!(
            p.ended(2, Exit::Signal(15), 2),
            (Cause::StopAsked, vec![(2, Sweep), (1, Signal)])
        );
        assert_eq!(p.next_deadline(), Some(102));
        assert_eq!(p.tick(101), []);
        assert_eq!(p.tick(102), [(1, Kill)]);
        assert_eq!(
            p.ended(1, Exit::Signal(9), 103),
            (Cause::Timeout, vec![(1, Sweep), (0, Signal)])
        );
        assert_eq!(p.next_deadline(), Some(203));
        assert_eq!(p.ended(0, Exit::Code(0), 104).0, Cause::StopAsked);
        assert!(p.is_finished() && p.was_asked());
        assert_eq!(p.status(), 143);
    }

    #[test]
    fn the_deadline_of_the_pod_bounds_all() {
        let mut p = pod(ExitPolicy::AnyFailure);
        p.stop(0);
        assert_eq!(p.tick(250), [(0, Kill), (1, Kill), (2, Kill)]);
        assert_eq!(p.next_deadline(), None);
        assert_eq!(p.ended(0, Exit::Signal(9), 251).0, Cause::Timeout);
    }

    #[test]
    fn the_first_failure_ends_the_pod_with_its_status() {
        let mut p = pod(ExitPolicy::AnyFailure);
        assert_eq!(p.ended(0, Exit::Code(0), 0), (Cause::Exited, vec![(0, Sweep)]));
        assert!(!p.is_stopping());
        assert_eq!(p.ended(1, Exit::Code(7), 0), (Cause::Exited, vec![(1, Sweep), (2, Signal)]));
        p.stop(1);
        assert!(!p.was_asked());
        assert_eq!(p.ended(2, Exit::Signal(15), 2).0, Cause::PodEnding);
        assert_eq!((p.is_finished(), p.status()), (true, 7));
    }

    #[test]
    fn other_policies() {
        let mut p = pod(ExitPolicy::AllDone);
        for (i, code) in [0, 3, 4].into_iter().enumerate() {
            assert!(!p.is_finished());
            p.ended(i, Exit::Code(code), 0);
        }
        assert_eq!((p.is_finished(), p.status()), (true, 3));
        let mut p = pod(ExitPolicy::App("b".to_owned()));
        p.ended(0, Exit::Code(9), 0);
        assert!(!p.is_stopping());
        assert_eq!(p.ended(1, Exit::Code(0), 0).1, [(1, Sweep), (2, Signal)]);
        p.ended(2, Exit::Signal(15), 0);
        assert_eq!(p.status(), 0);
    }

    #[test]
    fn kill_and_failed_start() {
        let mut p = pod(ExitPolicy::AnyFailure);
        assert_eq!(p.kill(0), [(2, Signal), (0, Kill), (1, Kill), (2, Kill)]);
        assert_eq!(p.ended(1, Exit::Signal(9), 1).0, Cause::StopAsked);
        let apps = ["a", "b", "c"].map(|n| (n.to_owned(), 100)).to_vec();
        let mut p = Pod::new(apps, ExitPolicy::AllDone, 250);
        p.started(0);
        assert_eq!(p.failed_to_start(1, 127, 0), [(0, Signal)]);
        assert_eq!(p.state(2), State::Done);
        p.ended(0, Exit::Signal(15), 1);
        assert_eq!((p.is_finished(), p.status(), p.was_asked()), (true, 127, false));
    }

    #[test]
    fn nothing_leaves_done() {
        for event in [Event::Started, Event::Ended, Event::Turn, Event::Kill] {
            assert_eq!(step(State::Done, event), (State::Done, Action::None));
        }
    }
}
