//! A system call filter in words: what it lets through, what it answers to the rest.

use super::bpf::{self, Answer, Call};
use crate::pod::seccomp::{self, Machine};
use rocket_plan::SeccompProgram;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Calls by name and number on one machine.
pub type Table = Vec<(&'static str, u32)>;

/// What a filter lets through.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct FilterView {
    /// Whether there is one.
    pub installed: bool,
    /// The machine it is for.
    pub arch: Option<String>,
    /// Its length.
    pub instructions: usize,
    /// Calls that are made, whatever their arguments.
    pub allowed: Vec<&'static str>,
    /// Calls that are made or not by their arguments, with the answer if not.
    pub conditional: BTreeMap<&'static str, Vec<String>>,
    /// Calls that are never made, by the answer they get.
    pub refused: BTreeMap<String, Vec<&'static str>>,
    /// Groups of rocket's list that are open only to apps with a capability.
    pub groups: Vec<GroupView>,
    /// What calls get that rocket does not know.
    pub unknown_calls: Vec<String>,
    /// What every call gets that comes by another machine's convention.
    pub other_conventions: BTreeMap<&'static str, Vec<String>>,
}

/// A group of calls that hangs on a capability.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct GroupView {
    /// Its name.
    pub name: &'static str,
    /// The capability, by the kernel's name.
    pub needs: &'static str,
    /// Its calls that may be made.
    pub open: Vec<&'static str>,
}

/// A filter that can be asked.
#[derive(Clone, Debug)]
pub struct Filter<'a> {
    program: Option<&'a SeccompProgram>,
    arch: u32,
    table: Table,
}

const X86_64: u32 = 0xc000_003e;
const AARCH64: u32 = 0xc000_00b7;
/// A number no kernel has.
const NO_CALL: u32 = 0x3fff_fff0;

fn audit_arch(arch: &str) -> u32 {
    if arch == "aarch64" { AARCH64 } else { X86_64 }
}

/// The doors besides the machine's own: name, architecture, and what is added to each number.
fn doors(arch: u32) -> &'static [(&'static str, u32, u32)] {
    match arch {
        X86_64 => &[("i386", 0x4000_0003, 0), ("x32", X86_64, 0x4000_0000)],
        _ => &[("arm", 0x4000_0028, 0)],
    }
}

/// The calls of a machine: from the table the filters themselves are made with.
fn table(arch: &str) -> Table {
    Machine::named(arch).map(|machine| seccomp::calls(machine).collect()).unwrap_or_default()
}

impl<'a> Filter<'a> {
    /// The filter of a program; without one everything is allowed.
    pub fn new(program: Option<&'a SeccompProgram>) -> Self {
        let arch = program.map_or(std::env::consts::ARCH, |program| &program.arch);
        Self { program, arch: audit_arch(arch), table: table(arch) }
    }

    fn ask(&self, number: u32, arch: u32, args: [Option<u64>; 6]) -> BTreeSet<Answer> {
        match self.program {
            Some(filter) => bpf::answers(&filter.program, &Call { number, arch, args }),
            None => BTreeSet::from([Answer::Allow]),
        }
    }

    /// Whether a call of this name may be made with these arguments, as far as they are given. One that
    /// the machine does not have may not.
    pub fn allows(&self, name: &str, args: &[u64]) -> bool {
        let mut given = [None; 6];
        for (slot, arg) in given.iter_mut().zip(args) {
            *slot = Some(*arg);
        }
        self.table
            .iter()
            .find(|(known, _)| *known == name)
            .is_some_and(|(_, number)| self.ask(*number, self.arch, given).contains(&Answer::Allow))
    }

    /// Whether there is one.
    pub fn installed(&self) -> bool {
        self.program.is_some()
    }

    /// The conventions of other machines through which a call could be made.
    pub fn open_doors(&self) -> Vec<&'static str> {
        let open = |door: &&(&'static str, u32, u32)| {
            // Some call of some number; filters close a door as a whole.
            [0, 1, 57, 165]
                .iter()
                .any(|number| self.ask(number | door.2, door.1, [None; 6]).contains(&Answer::Allow))
        };
        doors(self.arch).iter().filter(open).map(|door| door.0).collect()
    }

    /// The whole of it.
    pub fn view(&self) -> FilterView {
        let mut view = FilterView {
            installed: self.program.is_some(),
            arch: self.program.map(|program| program.arch.clone()),
            instructions: self.program.map_or(0, |program| program.program.len()),
            ..FilterView::default()
        };
        for (name, number) in &self.table {
            let answers = self.ask(*number, self.arch, [None; 6]);
            if answers.iter().all(|answer| *answer == Answer::Allow) {
                view.allowed.push(name);
            } else if answers.contains(&Answer::Allow) {
                let others = answers.iter().filter(|answer| **answer != Answer::Allow);
                view.conditional.insert(name, others.map(word).collect());
            } else {
                let words: Vec<String> = answers.iter().map(word).collect();
                view.refused.entry(words.join(" or ")).or_default().push(name);
            }
        }
        view.groups = seccomp::conditional_groups()
            .map(|(name, needs, calls)| GroupView {
                name,
                needs,
                open: calls.filter(|call| self.allows(call, &[])).collect(),
            })
            .collect();
        let words = |answers: BTreeSet<Answer>| answers.iter().map(word).collect::<Vec<_>>();
        view.unknown_calls = words(self.ask(NO_CALL, self.arch, [None; 6]));
        for (name, arch, bit) in doors(self.arch) {
            let mut answers = BTreeSet::new();
            for (_, number) in &self.table {
                answers.extend(self.ask(number | bit, *arch, [None; 6]));
            }
            view.other_conventions.insert(name, words(answers));
        }
        view
    }
}

/// An answer in a word.
pub fn word(answer: &Answer) -> String {
    match answer {
        Answer::Allow => "allowed".to_owned(),
        Answer::Errno(number) => errno(*number),
        Answer::Other(0x7fc0_0000) => "asks a supervisor".to_owned(),
        Answer::Other(value) if *value & 0xffff_0000 == 0x0003_0000 => "SIGSYS".to_owned(),
        Answer::Other(_) => "kills".to_owned(),
    }
}

fn errno(number: u16) -> String {
    match number {
        1 => "EPERM".to_owned(),
        13 => "EACCES".to_owned(),
        19 => "ENODEV".to_owned(),
        22 => "EINVAL".to_owned(),
        38 => "ENOSYS".to_owned(),
        95 => "EOPNOTSUPP".to_owned(),
        97 => "EAFNOSUPPORT".to_owned(),
        other => format!("errno {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(list: &[(u16, u8, u8, u32)]) -> SeccompProgram {
        SeccompProgram { arch: "x86_64".to_owned(), program: list.to_vec() }
    }

    #[test]
    fn a_filter_is_told_by_name_answer_and_door() {
        // Another machine: EPERM. x32 numbers: ENOSYS. mount: EPERM. socket of family 16: 97. Else allowed.
        let program = program(&[
            (0x20, 0, 0, 4),
            (0x15, 1, 0, X86_64),
            (0x06, 0, 0, 0x0005_0001),
            (0x20, 0, 0, 0),
            (0x35, 0, 1, 0x4000_0000),
            (0x06, 0, 0, 0x0005_0026),
            (0x15, 0, 1, 165),
            (0x06, 0, 0, 0x0005_0001),
            (0x15, 0, 3, 41),
            (0x20, 0, 0, 16),
            (0x15, 0, 1, 16),
            (0x06, 0, 0, 0x0005_0061),
            (0x06, 0, 0, 0x7fff_0000),
        ]);
        let filter = Filter::new(Some(&program));
        let view = filter.view();
        assert_eq!(view.refused, BTreeMap::from([("EPERM".to_owned(), vec!["mount"])]));
        assert_eq!(view.conditional["socket"], ["EAFNOSUPPORT"]);
        assert!(view.allowed.contains(&"read") && !view.allowed.contains(&"socket"));
        assert_eq!(view.other_conventions["i386"], ["EPERM"]);
        assert_eq!(view.other_conventions["x32"], ["ENOSYS"]);
        assert!(filter.allows("socket", &[2]) && !filter.allows("socket", &[16]));
        assert!(!filter.allows("mount", &[]) && !filter.allows("no_such_call", &[]));
        assert!(filter.open_doors().is_empty());
    }

    #[test]
    fn without_a_filter_everything_is_allowed() {
        let filter = Filter::new(None);
        let view = filter.view();
        assert!(!view.installed && view.refused.is_empty() && view.conditional.is_empty());
        assert!(view.allowed.len() > 300);
        assert!(filter.allows("mount", &[]) && !filter.open_doors().is_empty());
    }
}
