//! Which devices an app can open, whatever nodes it comes by: the plan's list as an eBPF program on
//! the app's leaf.

use rocket_plan::{DeviceKind, DeviceRule, Isolator};
use rocket_sys::bpf;
use std::os::fd::BorrowedFd;

use crate::failure::warn;

/// `struct bpf_cgroup_dev_ctx`: access in the upper and kind in the lower half, major, minor.
const ACCESS: i16 = 0;
const MAJOR: i16 = 4;
const MINOR: i16 = 8;

/// Registers: what is returned, the context, then what was loaded from it.
const RESULT: u8 = 0;
const CONTEXT: u8 = 1;
const R_KIND: u8 = 2;
const R_ACCESS: u8 = 3;
const R_MAJOR: u8 = 4;
const R_MINOR: u8 = 5;

const LOAD_WORD: u8 = 0x61;
const COPY: u8 = 0xBF;
const AND: u8 = 0x57;
const SHIFT_RIGHT: u8 = 0x77;
const JUMP_IF_NOT: u8 = 0x55;
const JUMP_IF_ANY_BIT: u8 = 0x45;
const SET: u8 = 0xB7;
const EXIT: u8 = 0x95;

fn instruction(code: u8, to: u8, from: u8, offset: i16, value: i32) -> u64 {
    u64::from(code)
        | u64::from(to) << 8
        | u64::from(from) << 12
        | u64::from(offset.cast_unsigned()) << 16
        | u64::from(value.cast_unsigned()) << 32
}

/// The program: 1 for what a rule allows, else 0.
fn program(rules: &[DeviceRule]) -> Vec<u64> {
    let mut code = vec![
        instruction(LOAD_WORD, R_KIND, CONTEXT, ACCESS, 0),
        instruction(COPY, R_ACCESS, R_KIND, 0, 0),
        instruction(AND, R_KIND, 0, 0, 0xFFFF),
        instruction(SHIFT_RIGHT, R_ACCESS, 0, 0, 16),
        instruction(LOAD_WORD, R_MAJOR, CONTEXT, MAJOR, 0),
        instruction(LOAD_WORD, R_MINOR, CONTEXT, MINOR, 0),
    ];
    for rule in rules {
        // BPF_DEVCG_DEV_BLOCK, _CHAR; BPF_DEVCG_ACC_MKNOD, _READ, _WRITE.
        let kind = match rule.kind {
            DeviceKind::Block => 1,
            DeviceKind::Character => 2,
        };
        let refused = if rule.mknod { 0 } else { 1 };
        let mut tests = vec![
            (JUMP_IF_NOT, R_KIND, kind),
            (JUMP_IF_ANY_BIT, R_ACCESS, refused),
            (JUMP_IF_NOT, R_MAJOR, rule.major.cast_signed()),
        ];
        tests.extend(rule.minor.map(|minor| (JUMP_IF_NOT, R_MINOR, minor.cast_signed())));
        // Past the other tests, and the two instructions of "yes".
        for (left, (code_of, register, value)) in
            (2_i16..).zip(tests.iter().rev()).collect::<Vec<_>>().into_iter().rev()
        {
            code.push(instruction(*code_of, *register, 0, left, *value));
        }
        code.extend([instruction(SET, RESULT, 0, 0, 1), instruction(EXIT, 0, 0, 0, 0)]);
    }
    code.extend([instruction(SET, RESULT, 0, 0, 0), instruction(EXIT, 0, 0, 0, 0)]);
    code
}

/// Puts the rules on a leaf; says so if this kernel cannot. What is left then: nodes do not open on
/// the app's file systems, which are `nodev`, and in a user namespace it can make none.
pub fn restrict(
    leaf: BorrowedFd<'_>,
    app: &str,
    rules: &[DeviceRule],
) -> Result<Isolator, Isolator> {
    let named = |detail: String| Isolator { name: "devices".to_owned(), detail };
    match bpf::decide_devices(leaf, &program(rules)) {
        Ok(()) => Ok(named(format!("{} rules", rules.len()))),
        Err(e) => {
            let detail = format!("the kernel takes no list of devices for a cgroup: {e}");
            warn(&format!("devices of app {app}: {detail}"));
            Err(named(detail))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the kernel runs it.
    fn run(program: &[u64], access: u32, major: u32, minor: u32) -> u64 {
        let mut registers = [0u64; 11];
        let mut at = 0;
        loop {
            let word = program[at];
            at += 1;
            let (to, from) = ((word >> 8 & 15) as usize, (word >> 12 & 15) as usize);
            let offset = (word >> 16) as u16 as i16;
            let value = (word >> 32) as u32 as i32 as i64 as u64;
            match word as u8 {
                LOAD_WORD => {
                    registers[to] = u64::from(match offset {
                        0 => access,
                        4 => major,
                        8 => minor,
                        _ => panic!("{offset}"),
                    });
                }
                COPY => registers[to] = registers[from],
                AND => registers[to] &= value,
                SHIFT_RIGHT => registers[to] >>= value,
                JUMP_IF_NOT if registers[to] != value => at += offset as usize,
                JUMP_IF_ANY_BIT if registers[to] & value != 0 => at += offset as usize,
                JUMP_IF_NOT | JUMP_IF_ANY_BIT => {}
                SET => registers[to] = value,
                EXIT => return registers[0],
                code => panic!("{code:#x}"),
            }
        }
    }

    #[test]
    fn only_what_a_rule_names_is_allowed() {
        let rule = |kind, major, minor, mknod| DeviceRule { kind, major, minor, mknod };
        let rules = [
            rule(DeviceKind::Character, 1, Some(3), true),
            rule(DeviceKind::Character, 136, None, false),
            rule(DeviceKind::Block, 8, Some(0), false),
        ];
        let program = program(&rules);
        let (block, character) = (1, 2);
        let (mknod, read, write) = (1 << 16, 2 << 16, 4 << 16);
        let ask = |access, major, minor| run(&program, access, major, minor) == 1;
        for access in [mknod, read, write, read | write] {
            assert!(ask(character | access, 1, 3));
            assert!(!ask(block | access, 1, 3));
            assert!(!ask(character | access, 1, 1));
            assert!(!ask(character | access, 10, 237));
        }
        assert!(ask(character | read | write, 136, 7) && !ask(character | mknod, 136, 7));
        assert!(ask(block | write, 8, 0) && !ask(block | write, 8, 1));
        assert!(!ask(block | mknod, 8, 0) && !ask(block | mknod | write, 8, 0));
        assert_eq!(run(&super::program(&[]), character | read, 1, 3), 0);
    }
}
