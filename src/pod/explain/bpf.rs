//! What a system call filter answers: its classic BPF program, run by hand.
//!
//! The kernel's machine of seccomp(2): two registers, sixteen words, jumps only forward. An argument
//! that is not given is unknown, and a decision that hangs on it goes both ways, so that the answer is
//! the set of all that the filter can say.

use std::collections::{BTreeSet, HashSet};

/// One instruction: code, jump if true, jump if false, constant.
pub type Instruction = (u16, u8, u8, u32);

/// What a filter says to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Answer {
    /// The call is made.
    Allow,
    /// It is not made and fails with this number.
    Errno(u16),
    /// It ends the caller, or something rocket's filters do not use; the whole word.
    Other(u32),
}

/// A call as a filter sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// Its number.
    pub number: u32,
    /// `AUDIT_ARCH_*` of the door it came through.
    pub arch: u32,
    /// Its arguments; `None` = any.
    pub args: [Option<u64>; 6],
}

/// More states than any filter of ours has; beyond it everything is possible.
const MOST_STATES: usize = 200_000;
const RET_ALLOW: u32 = 0x7fff_0000;
const RET_LOG: u32 = 0x7ffc_0000;
const RET_ERRNO: u32 = 0x0005_0000;

#[derive(Clone, PartialEq, Eq, Hash)]
struct Machine {
    at: usize,
    a: Option<u32>,
    x: Option<u32>,
    words: [Option<u32>; 16],
}

/// What an instruction leads to.
enum Step {
    Next(Machine),
    Either(Machine, Machine),
    Says(Option<u32>),
    Nowhere,
}

/// Every answer `program` can give to `call`: one when all its arguments are known. A program that is
/// not one of a filter gives none.
pub fn answers(program: &[Instruction], call: &Call) -> BTreeSet<Answer> {
    let mut found = BTreeSet::new();
    let mut seen = HashSet::new();
    let mut todo = vec![Machine { at: 0, a: Some(0), x: Some(0), words: [Some(0); 16] }];
    while let Some(mut machine) = todo.pop() {
        // Every jump is forward, so this ends.
        loop {
            match step(program, call, machine) {
                Step::Next(next) => machine = next,
                Step::Either(one, other) => {
                    todo.extend([one, other].into_iter().filter(|m| seen.insert(m.clone())));
                    break;
                }
                Step::Says(Some(word)) => {
                    found.insert(answer(word));
                    break;
                }
                Step::Says(None) => {
                    found.extend([Answer::Allow, Answer::Errno(1)]);
                    break;
                }
                Step::Nowhere => break,
            }
        }
        if seen.len() > MOST_STATES {
            found.extend([Answer::Allow, Answer::Errno(1)]);
            break;
        }
    }
    found
}

fn step(program: &[Instruction], call: &Call, mut machine: Machine) -> Step {
    let Some(&(code, jt, jf, k)) = program.get(machine.at) else { return Step::Nowhere };
    machine.at += 1;
    // The low three bits are the class of an instruction (linux/bpf_common.h).
    match code & 0x07 {
        0x00 => machine.a = load(&machine, code, k, call),
        0x01 => machine.x = load(&machine, code, k, call),
        0x02 | 0x03 => {
            let value = if code & 0x07 == 0x02 { machine.a } else { machine.x };
            if let Some(word) = word(k).and_then(|index| machine.words.get_mut(index)) {
                *word = value;
            }
        }
        0x04 => {
            let operand = if code & 0x08 == 0 { Some(k) } else { machine.x };
            machine.a = compute(code & 0xf0, machine.a, operand);
        }
        0x05 => return jump(code, (jt, jf, k), machine),
        0x06 => return Step::Says(if code & 0x18 == 0x10 { machine.a } else { Some(k) }),
        // 0x07: between the registers.
        _ if code & 0x80 == 0 => machine.x = machine.a,
        _ => machine.a = machine.x,
    }
    Step::Next(machine)
}

fn word(k: u32) -> Option<usize> {
    usize::try_from(k).ok().filter(|index| *index < 16)
}

fn load(machine: &Machine, code: u16, k: u32, call: &Call) -> Option<u32> {
    match code & 0xe0 {
        0x00 => Some(k),
        0x20 => field(call, k),
        0x60 => word(k).and_then(|index| *machine.words.get(index)?),
        // The size of struct seccomp_data.
        0x80 => Some(64),
        _ => None,
    }
}

/// A word of struct seccomp_data, little-endian as all machines rocket runs on.
fn field(call: &Call, offset: u32) -> Option<u32> {
    match offset {
        0 => Some(call.number),
        4 => Some(call.arch),
        16..64 if offset.is_multiple_of(4) => {
            let index = usize::try_from((offset - 16) / 8).ok()?;
            let value = (*call.args.get(index)?)?;
            let half = if offset.is_multiple_of(8) { value } else { value >> 32 };
            u32::try_from(half & 0xffff_ffff).ok()
        }
        // The instruction pointer.
        _ => None,
    }
}

fn compute(operation: u16, a: Option<u32>, operand: Option<u32>) -> Option<u32> {
    // `and` with 0 is 0 whatever it is applied to.
    if operation == 0x50 && (a == Some(0) || operand == Some(0)) {
        return Some(0);
    }
    let a = a?;
    if operation == 0x80 {
        return Some(a.wrapping_neg());
    }
    let operand = operand?;
    match operation {
        0x00 => Some(a.wrapping_add(operand)),
        0x10 => Some(a.wrapping_sub(operand)),
        0x20 => Some(a.wrapping_mul(operand)),
        0x30 => a.checked_div(operand),
        0x40 => Some(a | operand),
        0x50 => Some(a & operand),
        0x60 => a.checked_shl(operand),
        0x70 => a.checked_shr(operand),
        0xa0 => Some(a ^ operand),
        _ => None,
    }
}

fn jump(code: u16, (jt, jf, k): (u8, u8, u32), machine: Machine) -> Step {
    let go = |by: u32, a: Option<u32>| {
        let at = usize::try_from(by).ok().and_then(|by| machine.at.checked_add(by));
        Machine { at: at.unwrap_or(usize::MAX), a, ..machine.clone() }
    };
    let operand = if code & 0x08 == 0 { Some(k) } else { machine.x };
    let taken = match (code & 0xf0, machine.a, operand) {
        (0x00, ..) => return Step::Next(go(k, machine.a)),
        (_, None, _) | (_, _, None) => None,
        (0x10, Some(a), Some(b)) => Some(a == b),
        (0x20, Some(a), Some(b)) => Some(a > b),
        (0x30, Some(a), Some(b)) => Some(a >= b),
        (_, Some(a), Some(b)) => Some(a & b != 0),
    };
    // Past an equality the register is known.
    let equal = if code & 0xf0 == 0x10 { operand } else { machine.a };
    match taken {
        Some(true) => Step::Next(go(jt.into(), machine.a)),
        Some(false) => Step::Next(go(jf.into(), machine.a)),
        None => Step::Either(go(jt.into(), equal), go(jf.into(), machine.a)),
    }
}

fn answer(value: u32) -> Answer {
    match value & 0xffff_0000 {
        RET_ALLOW | RET_LOG => Answer::Allow,
        RET_ERRNO => Answer::Errno(u16::try_from(value & 0xffff).unwrap_or(u16::MAX)),
        _ => Answer::Other(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const X86_64: u32 = 0xc000_003e;
    const ALLOW: Instruction = (0x06, 0, 0, RET_ALLOW);
    const EPERM: Instruction = (0x06, 0, 0, 0x0005_0001);
    const NOSYS: Instruction = (0x06, 0, 0, 0x0005_0026);

    fn ask(program: &[Instruction], number: u32, args: [Option<u64>; 6]) -> Vec<Answer> {
        answers(program, &Call { number, arch: X86_64, args }).into_iter().collect()
    }

    #[test]
    fn a_decision_on_an_unknown_argument_goes_both_ways() {
        // Number 7 with bit 40 of its second argument is refused, without it allowed; 8 does not exist.
        let program = [
            (0x20, 0, 0, 0),
            (0x15, 0, 4, 7),
            (0x20, 0, 0, 28),
            (0x45, 0, 1, 1 << 8),
            EPERM,
            ALLOW,
            (0x15, 0, 1, 8),
            NOSYS,
            ALLOW,
        ];
        let any = [None; 6];
        assert_eq!(ask(&program, 7, any), [Answer::Allow, Answer::Errno(1)]);
        let mut args = [Some(0); 6];
        assert_eq!(ask(&program, 7, args), [Answer::Allow]);
        args[1] = Some(1 << 40);
        assert_eq!(ask(&program, 7, args), [Answer::Errno(1)]);
        args[1] = Some(1 << 8);
        assert_eq!(ask(&program, 7, args), [Answer::Allow]);
        assert_eq!(ask(&program, 8, any), [Answer::Errno(0x26)]);
        assert_eq!(ask(&program, 9, any), [Answer::Allow]);
    }

    #[test]
    fn arithmetic_and_memory_are_the_kernels() {
        // ((nr & 0xff) << 1 | 1) kept in a word and compared over the other register.
        let program = [
            (0x20, 0, 0, 0),
            (0x54, 0, 0, 0xff),
            (0x64, 0, 0, 1),
            (0x44, 0, 0, 1),
            (0x02, 0, 0, 3),
            (0x61, 0, 0, 3),
            (0x00, 0, 0, 0x17),
            (0x1d, 0, 1, 0),
            EPERM,
            ALLOW,
        ];
        assert_eq!(ask(&program, 0xb0b, [None; 6]), [Answer::Errno(1)]);
        assert_eq!(ask(&program, 12, [None; 6]), [Answer::Allow]);
    }

    #[test]
    fn what_is_no_program_gives_no_answer() {
        assert!(ask(&[], 0, [None; 6]).is_empty());
        assert!(ask(&[(0x05, 0, 0, u32::MAX)], 0, [None; 6]).is_empty());
        assert_eq!(ask(&[(0x06, 0, 0, 0)], 0, [None; 6]), [Answer::Other(0)]);
    }

    #[test]
    fn any_bytes_are_survived() {
        let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
        let mut random = move || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        for _ in 0..2000 {
            let program: Vec<Instruction> = (0..12)
                .map(|_| {
                    let word = random();
                    (
                        (word & 0xff) as u16,
                        (word >> 8) as u8 & 7,
                        (word >> 16) as u8 & 7,
                        (word >> 32) as u32 & 0x3f,
                    )
                })
                .collect();
            assert!(answers(&program, &Call { number: 1, arch: 2, args: [None; 6] }).len() < 64);
        }
    }
}
