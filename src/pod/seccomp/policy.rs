//! What becomes of each call number: the lists, joined, before they are a program.

use super::Machine;
use super::default::{Answer, CHECKS, Check, ENOSYS, EPERM, GROUPS, Standing};
use super::table::{self, Call};
use super::wish::Wish;
use std::collections::BTreeMap;

/// Numbers from here on are x32's on x86_64, and nobody's elsewhere.
pub(super) const X32: u32 = 0x4000_0000;
/// A tracer's word for "no call": the kernel does nothing with it.
pub(super) const NO_CALL: u32 = u32::MAX;

/// What becomes of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// Whatever its arguments.
    Fixed(Answer),
    /// By an argument.
    Checked(&'static Check),
}

const ALLOW: Rule = Rule::Fixed(Answer::Allow);

/// What becomes of every call of one machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Policy {
    pub(super) machine: Machine,
    /// By number.
    pub(super) rules: BTreeMap<u32, Rule>,
    /// For numbers without a rule.
    pub(super) other: Answer,
    /// For calls that come through another machine's door.
    pub(super) foreign: Answer,
}

/// rocket's answer to each call it knows, for an app with these capabilities.
fn listed(capabilities: &[String]) -> BTreeMap<&'static str, Rule> {
    let mut rules = BTreeMap::new();
    for group in GROUPS {
        let answer = match group.standing {
            Standing::Allowed => Answer::Allow,
            Standing::Needs(name) if capabilities.iter().any(|c| c == name) => Answer::Allow,
            Standing::Needs(_) | Standing::Refused => Answer::Errno(EPERM),
            Standing::Missing => Answer::Errno(ENOSYS),
        };
        for name in group.calls.split_ascii_whitespace() {
            let check = CHECKS.iter().find(|check| check.call == name);
            rules.insert(name, check.map_or(Rule::Fixed(answer), Rule::Checked));
        }
    }
    rules
}

/// The calls a machine has, with their numbers.
fn numbered(machine: Machine) -> impl Iterator<Item = (u32, Call)> {
    table::calls().filter_map(move |call| Some((call.number(machine)?, call)))
}

/// What the image asks for and rocket's list does not give.
pub(super) fn withheld(
    machine: Machine,
    wish: &Wish,
    capabilities: &[String],
) -> Vec<&'static str> {
    let Wish::Retain { .. } = wish else { return Vec::new() };
    let listed = listed(capabilities);
    numbered(machine)
        .map(|(_, call)| call.name)
        .filter(|name| wish.allows(name))
        .filter(|name| matches!(listed.get(name), None | Some(Rule::Fixed(Answer::Errno(_)))))
        .collect()
}

impl Policy {
    fn new(machine: Machine, other: Answer) -> Self {
        let foreign = Answer::Errno(ENOSYS);
        Self { machine, rules: BTreeMap::new(), other, foreign }
    }

    /// rocket's list without what the image does not want.
    pub(super) fn narrowed(machine: Machine, wish: &Wish, capabilities: &[String]) -> Self {
        let new = Answer::Errno(ENOSYS);
        let other = match wish {
            Wish::Retain { answer, .. } => *answer,
            Wish::Nothing | Wish::Remove { .. } => new,
        };
        let mut policy = Self::new(machine, other);
        let listed = listed(capabilities);
        for (number, call) in numbered(machine) {
            let rule = match wish.answer(call.name) {
                Answer::Allow => listed.get(call.name).copied().unwrap_or(Rule::Fixed(new)),
                answer => Rule::Fixed(answer),
            };
            policy.rules.insert(number, rule);
        }
        policy
    }

    /// What the image asks for, and nothing of rocket's but the closed doors.
    pub(super) fn wished(machine: Machine, wish: &Wish, capabilities: &[String]) -> Self {
        let other = match wish {
            Wish::Nothing => return Self::narrowed(machine, wish, capabilities),
            Wish::Retain { answer, .. } => *answer,
            Wish::Remove { .. } => Answer::Allow,
        };
        let mut policy = Self::new(machine, other);
        for (number, call) in numbered(machine) {
            policy.rules.insert(number, Rule::Fixed(wish.answer(call.name)));
        }
        policy
    }

    /// With the calls between the filter and the app's first instruction, and those of an end.
    pub(super) fn with_what_an_exec_needs(mut self, no_new_privileges: bool) -> Self {
        let first = ["execve", "exit", "exit_group", "restart_syscall", "rt_sigreturn", "write"];
        // Without no-new-privileges, the capability that may install a filter is dropped after it.
        let then: &[&str] = if no_new_privileges { &[] } else { &["capset", "prctl"] };
        for name in first.iter().chain(then) {
            if let Some(number) = table::find(name).and_then(|call| call.number(self.machine)) {
                self.rules.insert(number, ALLOW);
            }
        }
        self
    }

    /// The rules as intervals of numbers: where each begins, the first at 0.
    pub(super) fn intervals(&self) -> Vec<(u32, Rule)> {
        let other = Rule::Fixed(self.other);
        let beyond = match self.machine {
            Machine::X86_64 => Rule::Fixed(self.foreign),
            Machine::Aarch64 => other,
        };
        let mut all = vec![(0, other)];
        for (number, rule) in &self.rules {
            all.push((*number, *rule));
            all.push((number.saturating_add(1), other));
        }
        all.extend([(X32, beyond), (NO_CALL, ALLOW)]);
        let mut list: Vec<(u32, Rule)> = Vec::new();
        for (start, rule) in all {
            // What begins where another begins takes its place.
            if list.last().is_some_and(|(last, _)| *last == start) {
                list.pop();
            }
            if list.last().is_none_or(|(_, last)| *last != rule) {
                list.push((start, rule));
            }
        }
        list
    }
}
