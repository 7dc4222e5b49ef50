//! Simulated time and simulated programs for the tests.

use super::*;
use rocket_plan::{Restart, RestartRules};
use std::collections::HashMap;

pub const RULES: RestartRules =
    RestartRules { delay_ms: 100, max_delay_ms: 1000, limit_count: 3, limit_window_ms: 60_000 };
pub const ON_FAILURE: Restart = Restart::OnFailure(RULES);
pub const ALWAYS: Restart = Restart::Always(RULES);

/// One run of a program: how long it takes, and how it ends; `u64::MAX` is for ever.
pub type Run = (u64, i32);
pub const LASTING: Run = (u64::MAX, 0);

/// How programs behave.
#[derive(Default)]
pub struct Programs {
    /// Their runs; the last one again and again.
    pub runs: HashMap<&'static str, Vec<Run>>,
    /// How long after its stop signal each ends; without one, at once.
    pub slow: HashMap<&'static str, u64>,
    /// How long pre-start handlers take, and how they end; 5 ms and well without an entry.
    pub before: HashMap<&'static str, Run>,
    /// The same of post-stop handlers.
    pub after: HashMap<&'static str, Run>,
    /// Which cannot be executed.
    pub broken: Vec<&'static str>,
}

/// What somebody does from outside.
#[derive(Clone, Copy)]
pub enum Hand {
    Stop,
    Kill,
    Restart(&'static str),
    /// `kill -9` of a main process.
    Murder(&'static str),
}

#[derive(Clone, Copy, PartialEq)]
enum Phase {
    Before,
    Main,
    After,
}

pub struct World {
    pub pod: Pod,
    programs: Programs,
    now: u64,
    /// When each process ends, and how.
    pub ends: Vec<Option<(u64, Exit)>>,
    runs: Vec<usize>,
    /// What the process of each app is.
    phases: Vec<Phase>,
    pub log: Vec<String>,
    ready: bool,
}

pub fn app(name: &str, requires: &[usize], after: &[usize]) -> Rules {
    Rules {
        name: name.to_owned(),
        kind: Kind::Service,
        after: after.to_vec(),
        requires: requires.to_vec(),
        restart: Restart::No,
        stop_timeout: 100,
        pre_start: false,
        post_stop: false,
    }
}

pub fn oneshot(name: &str, requires: &[usize]) -> Rules {
    Rules { kind: Kind::Oneshot, ..app(name, requires, &[]) }
}

impl World {
    pub fn new(apps: Vec<Rules>, policy: ExitPolicy, programs: Programs) -> Self {
        let count = apps.len();
        let deadline = apps.iter().map(|a| a.stop_timeout).sum::<u64>() + 1000;
        Self {
            pod: Pod::new(apps, policy, deadline),
            programs,
            now: 0,
            ends: vec![None; count],
            runs: vec![0; count],
            phases: vec![Phase::Main; count],
            log: Vec::new(),
            ready: false,
        }
    }

    fn name(&self, index: usize) -> &'static str {
        // Names of tests are few: a leak is the simplest key.
        Box::leak(self.pod.apps[index].rules.name.clone().into_boxed_str())
    }

    fn index(&self, name: &str) -> usize {
        self.pod.apps.iter().position(|a| a.rules.name == name).unwrap()
    }

    fn say(&mut self, text: String) {
        self.log.push(format!("{} {text}", self.now));
    }

    fn act(&mut self, todo: Todo) {
        let mut queue = std::collections::VecDeque::from(todo);
        while let Some((index, action)) = queue.pop_front() {
            let name = self.name(index);
            match action {
                Action::None | Action::Sweep => {}
                Action::Prepare if self.pod.state(index) != State::Preparing => {}
                Action::Prepare => {
                    self.say(format!("prepare {name}"));
                    self.handle(index, Phase::Before);
                    self.pod.preparing(index, self.now);
                }
                Action::Clean => {
                    self.say(format!("clean {name}"));
                    self.handle(index, Phase::After);
                }
                Action::Start if self.pod.state(index) != State::Starting => {}
                Action::Start if self.programs.broken.contains(&name) => {
                    self.say(format!("broken {name}"));
                    queue.extend(self.pod.failed_to_start(index, 127, self.now).todo);
                }
                Action::Start => {
                    let runs = self.programs.runs.get(name).cloned().unwrap_or(vec![LASTING]);
                    let run = self.runs[index].min(runs.len() - 1);
                    self.runs[index] += 1;
                    let (time, code) = runs[run];
                    self.say(format!("start {name}"));
                    self.phases[index] = Phase::Main;
                    self.ends[index] = Some((self.now.saturating_add(time), Exit::Code(code)));
                    queue.extend(self.pod.started(index, self.now));
                }
                Action::Signal => {
                    self.say(format!("signal {name}"));
                    let slow = self.programs.slow.get(name).copied().unwrap_or(0);
                    let end = self.now.saturating_add(slow);
                    self.ends[index] = Some((end, Exit::Signal(15)));
                }
                Action::Kill => {
                    self.say(format!("kill {name}"));
                    self.ends[index] = Some((self.now, Exit::Signal(9)));
                }
                Action::Note => self.say(format!("never {name}")),
            }
        }
        if !self.ready && self.pod.is_ready() {
            self.ready = true;
            self.say("READY".to_owned());
        }
    }

    fn handle(&mut self, index: usize, phase: Phase) {
        let name = self.name(index);
        let list =
            if phase == Phase::Before { &self.programs.before } else { &self.programs.after };
        let (time, code) = list.get(name).copied().unwrap_or((5, 0));
        self.phases[index] = phase;
        self.ends[index] = Some((self.now.saturating_add(time), Exit::Code(code)));
    }

    /// Lives on, with what is done to it from outside, until nothing more happens.
    pub fn live(mut self, hands: &[(u64, Hand)]) -> Self {
        let mut hands = hands.iter().copied().peekable();
        let todo = self.pod.begin();
        self.act(todo);
        for _ in 0..1000 {
            if self.pod.is_finished() {
                let status = self.pod.status();
                self.say(format!("over {status}"));
                return self;
            }
            let end = self.ends.iter().flatten().map(|(at, _)| *at).min().unwrap_or(u64::MAX);
            let due = self.pod.next_deadline().unwrap_or(u64::MAX);
            let hand = hands.peek().map_or(u64::MAX, |(at, _)| *at);
            let next = end.min(due).min(hand);
            if next == u64::MAX {
                return self;
            }
            self.now = self.now.max(next);
            if hand <= self.now {
                let (_, hand) = hands.next().unwrap();
                self.hand(hand);
            } else if end <= self.now {
                self.end();
            } else {
                let todo = self.pod.tick(self.now);
                assert!(!todo.is_empty() || self.pod.next_deadline() > Some(self.now), "spins");
                self.act(todo);
            }
        }
        panic!("never ends:\n{}", self.log.join("\n"));
    }

    fn hand(&mut self, hand: Hand) {
        let todo = match hand {
            Hand::Stop => self.pod.stop(self.now),
            Hand::Kill => self.pod.kill(self.now),
            Hand::Restart(name) => match self.pod.restart(self.index(name), self.now) {
                Ok(todo) => todo,
                Err(why) => {
                    self.say(format!("refused {name}: {why}"));
                    return;
                }
            },
            Hand::Murder(name) => {
                let index = self.index(name);
                if self.ends[index].is_some() {
                    self.ends[index] = Some((self.now, Exit::Signal(9)));
                }
                return;
            }
        };
        self.act(todo);
    }

    fn end(&mut self) {
        let now = self.now;
        let over = |e: &Option<(u64, Exit)>| e.is_some_and(|(at, _)| at <= now);
        let index = self.ends.iter().position(over).unwrap();
        let (_, exit) = self.ends[index].take().unwrap();
        let name = self.name(index);
        let (exit, end) = match self.phases[index] {
            Phase::Before if exit == Exit::Code(0) && self.pod.state(index) == State::Preparing => {
                let todo = self.pod.prepared(index);
                return self.act(todo);
            }
            Phase::After => {
                self.say(format!("cleaned {name} {}", exit.status()));
                self.pod.cleaned(index, now).unwrap()
            }
            Phase::Before => (exit, self.pod.ended(index, exit, now)),
            Phase::Main => match self.pod.clean(index, exit, now) {
                Some(todo) => return self.act(todo),
                None => (exit, self.pod.ended(index, exit, now)),
            },
        };
        let more = end.message.map(|m| format!(": {m}")).unwrap_or_default();
        self.say(format!("end {name} {} {:?}{more}", exit.status(), end.cause));
        self.act(end.todo);
    }
}

#[track_caller]
pub fn check(world: World, hands: &[(u64, Hand)], expected: &[&str]) {
    let world = world.live(hands);
    assert_eq!(world.log, expected, "\n{}", world.log.join("\n"));
}

pub fn runs(list: &[(&'static str, &[Run])]) -> Programs {
    let runs = list.iter().map(|(name, runs)| (*name, runs.to_vec())).collect();
    Programs { runs, ..Programs::default() }
}
