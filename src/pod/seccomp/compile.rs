//! From a policy to a classic BPF program.
//!
//! Calls of one answer are intervals of numbers, and the program is a binary search over these. It
//! uses only what the kernel can follow without running it (a load of the number or machine,
//! comparisons with constants): so for each call whose answer depends on nothing else the kernel
//! remembers "allow" when the filter is installed, and does not run the program for it at all.

use super::Machine;
use super::default::{Answer, Check, Test};
use super::policy::{Policy, Rule};

/// One instruction: code, jump if true, jump if false, constant.
type Instruction = (u16, u8, u8, u32);

/// BPF_LD | BPF_W | BPF_ABS.
const LOAD: u16 = 0x20;
/// BPF_JMP | BPF_JA.
const JUMP: u16 = 0x05;
/// BPF_JMP | BPF_JEQ | BPF_K.
const EQUAL: u16 = 0x15;
/// BPF_JMP | BPF_JGE | BPF_K.
const AT_LEAST: u16 = 0x35;
/// BPF_JMP | BPF_JSET | BPF_K.
const ANY_BIT: u16 = 0x45;
/// BPF_RET | BPF_K.
const RETURN: u16 = 0x06;

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const MACHINE: u32 = 4;
const ARGUMENTS: u32 = 16;

impl Machine {
    /// `AUDIT_ARCH_…`: the ELF machine, 64 bits, little endian.
    pub(super) fn audit(self) -> u32 {
        match self {
            Self::X86_64 => 0xC000_003E,
            Self::Aarch64 => 0xC000_00B7,
        }
    }
}

/// The program.
pub(super) fn compile(policy: &Policy) -> Vec<Instruction> {
    let mut program = vec![
        (LOAD, 0, 0, MACHINE),
        (EQUAL, 1, 0, policy.machine.audit()),
        answer(policy.foreign),
        (LOAD, 0, 0, NUMBER),
    ];
    program.extend(search(&policy.intervals()));
    program
}

fn search(intervals: &[(u32, Rule)]) -> Vec<Instruction> {
    let (low, high) = intervals.split_at(intervals.len() / 2);
    let Some((middle, first)) = high.first() else { return Vec::new() };
    if low.is_empty() {
        return decide(first);
    }
    let (low, high) = (search(low), search(high));
    let mut code = match u8::try_from(low.len()) {
        Ok(distance) => vec![(AT_LEAST, distance, 0, *middle)],
        // Conditional jumps reach 255 instructions.
        Err(_) => {
            let distance = u32::try_from(low.len()).unwrap_or(u32::MAX);
            vec![(AT_LEAST, 0, 1, *middle), (JUMP, 0, 0, distance)]
        }
    };
    code.extend(low);
    code.extend(high);
    code
}

fn decide(rule: &Rule) -> Vec<Instruction> {
    match rule {
        Rule::Fixed(fixed) => vec![answer(*fixed)],
        Rule::Checked(check) => ask(check),
    }
}

/// Loads the argument's lower half; the questions jump over "no" to "yes".
fn ask(check: &Check) -> Vec<Instruction> {
    let mut code = vec![(LOAD, 0, 0, ARGUMENTS + 8 * u32::from(check.argument))];
    match check.test {
        Test::AnyBit(bits) => code.push((ANY_BIT, 1, 0, bits)),
        Test::OneOf(values) => {
            for (distance, value) in (1..=values.len()).rev().zip(values) {
                code.push((EQUAL, u8::try_from(distance).unwrap_or(u8::MAX), 0, *value));
            }
        }
    }
    code.extend([answer(check.no), answer(check.yes)]);
    code
}

fn answer(answer: Answer) -> Instruction {
    let value = match answer {
        // SECCOMP_RET_ALLOW, _ERRNO, _KILL_PROCESS.
        Answer::Allow => 0x7FFF_0000,
        Answer::Errno(number) => 0x0005_0000 | u32::from(number),
        Answer::Kill => 0x8000_0000,
    };
    (RETURN, 0, 0, value)
}
