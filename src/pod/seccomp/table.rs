//! Names and numbers of system calls.

use super::Machine;

const TEXT: &str = include_str!("syscalls.txt");

/// A call by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Call {
    /// Its name.
    pub(super) name: &'static str,
    x86_64: Option<u32>,
    aarch64: Option<u32>,
}

impl Call {
    /// Its number, if the machine has it.
    pub(super) fn number(self, machine: Machine) -> Option<u32> {
        match machine {
            Machine::X86_64 => self.x86_64,
            Machine::Aarch64 => self.aarch64,
        }
    }
}

/// Every call, by name.
pub(super) fn calls() -> impl Iterator<Item = Call> {
    TEXT.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let mut fields = line.split(' ');
        let name = fields.next()?;
        let mut number = || fields.next().and_then(|field| field.parse().ok());
        Some(Call { name, x86_64: number(), aarch64: number() })
    })
}

/// The call of that name, on whatever machine.
pub(super) fn find(name: &str) -> Option<Call> {
    calls().find(|call| call.name == name)
}
