//! How apps and the pod go down: what the end of one means for those that require it and for the
//! pod, and in which order they are told to stop.

use rocket_plan::{ExitPolicy, Kind};

use super::table::Event;
use super::{App, Loss, Pod, State, Todo, Why};

impl Pod {
    /// If an app is over: what that means for those that require it, and for the pod.
    pub(super) fn over(&mut self, index: usize, status: i32, now: u64) -> Todo {
        let state = self.state(index);
        if self.down.is_some() {
            if status != 0 {
                self.first_failure.get_or_insert(status);
            }
            return self.next_turn(now);
        }
        let Some(app) = self.apps.get(index).filter(|_| state.is_over()) else {
            return Todo::new();
        };
        // A one-shot that is done stays as good as there.
        let failed = state == State::Failed;
        let lost = failed || app.rules.kind == Kind::Service || app.lost.is_some();
        let status = match app.lost.and_then(|l| l.status) {
            Some(first) if failed => first,
            _ if failed && status == 0 => 1,
            _ if failed => status,
            // It was told to stop, and did.
            _ => 0,
        };
        if failed {
            self.first_failure.get_or_insert(status);
        }
        let ends = match &self.policy {
            ExitPolicy::AnyFailure => failed,
            ExitPolicy::AllDone => false,
            ExitPolicy::App(main) => app.rules.name == *main,
        };
        if ends {
            self.culprit = self.culprit.or(Some(index).filter(|_| failed));
            return self.go_down(Why::Ending, Some(status), now);
        }
        if lost { self.lose(index, failed.then_some(status), now) } else { self.next_turn(now) }
    }

    /// An app has ended for good: what requires it is not started, or stops.
    fn lose(&mut self, index: usize, status: Option<i32>, now: u64) -> Todo {
        let mut todo = Todo::new();
        let mut gone = vec![index];
        for other in index..self.apps.len() {
            let Some(app) = self.apps.get_mut(other) else { continue };
            let Some(of) = app.rules.requires.iter().find(|i| gone.contains(i)).copied() else {
                continue;
            };
            if app.state.is_over() {
                continue;
            }
            app.lost = app.lost.or(Some(Loss { of, status }));
            gone.push(other);
            if !app.state.has_process() {
                let event = if status.is_some() { Event::Failed } else { Event::Done };
                todo.extend(self.step(other, event));
                todo.extend(self.over(other, status.unwrap_or(0), now));
            }
        }
        todo.extend(self.next_turn(now));
        todo
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

    pub(super) fn go_down(&mut self, why: Why, status: Option<i32>, now: u64) -> Todo {
        let mut todo = Todo::new();
        if self.down.is_none() {
            self.down = Some(why);
            self.status = status;
            self.deadline = Some(now.saturating_add(self.stop_deadline));
            // What does not run now never will.
            for index in 0..self.apps.len() {
                if matches!(self.state(index), State::Waiting | State::Starting | State::Backoff) {
                    todo.extend(self.step(index, Event::Turn));
                }
            }
            // Failures before a stop that was asked for (only policies that tolerate them get
            // here) do not count as its result.
            if why == Why::Asked {
                self.first_failure = None;
            }
        }
        todo.extend(self.next_turn(now));
        todo
    }

    /// Of those that are to stop the last in start order does, when no other is stopping.
    pub(super) fn next_turn(&mut self, now: u64) -> Todo {
        let down = self.down.is_some();
        let concerned = |a: &&App| down || a.lost.is_some();
        let leaving = |a: &App| a.state.is_leaving() || a.state == State::Cleaning;
        if self.apps.iter().filter(concerned).any(leaving) {
            return Todo::new();
        }
        let next = |a: &App| matches!(a.state, State::Preparing | State::Running) && concerned(&a);
        match self.apps.iter().rposition(next) {
            Some(index) => self.turn(index, now),
            None => Todo::new(),
        }
    }

    pub(super) fn turn(&mut self, index: usize, now: u64) -> Todo {
        if let Some(app) = self.apps.get_mut(index) {
            app.due = Some(now.saturating_add(app.rules.stop_timeout));
        }
        self.step(index, Event::Turn).into_iter().collect()
    }
}
