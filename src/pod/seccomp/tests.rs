use super::default::{Answer, CHECKS, EPERM, GROUPS, Test};
use super::policy::{NO_CALL, Policy, Rule, X32};
use super::*;
use serde_json::json;
use std::collections::BTreeSet;

const MACHINES: [Machine; 2] = [Machine::X86_64, Machine::Aarch64];

/// A system call as a filter sees it.
#[derive(Clone, Copy)]
struct Data {
    number: u32,
    machine: u32,
    arguments: [u64; 6],
}

/// Runs a program as the kernel does. Loads of the upper half of an argument, or of anything else
/// that the compiler has no business with, are a failure of the test.
fn run(program: &[(u16, u8, u8, u32)], data: Data) -> u32 {
    let mut accumulator = 0;
    let mut at = 0;
    for _ in 0..program.len() {
        let (code, jt, jf, k) = program[at];
        at += 1;
        let mut jump = |condition: bool| at += usize::from(if condition { jt } else { jf });
        match code {
            0x20 => {
                accumulator = match k {
                    0 => data.number,
                    4 => data.machine,
                    16..64 if k % 8 == 0 => data.arguments[(k as usize - 16) / 8] as u32,
                    _ => panic!("load from {k}"),
                }
            }
            0x05 => at += k as usize,
            0x15 => jump(accumulator == k),
            0x35 => jump(accumulator >= k),
            0x45 => jump(accumulator & k != 0),
            0x06 => return k,
            _ => panic!("instruction {code:#x}"),
        }
    }
    panic!("no answer");
}

fn meaning(value: u32) -> Answer {
    match value & 0xFFFF_0000 {
        0x7FFF_0000 => Answer::Allow,
        0x0005_0000 => Answer::Errno(value as u16),
        0x8000_0000 => Answer::Kill,
        _ => panic!("{value:#x}"),
    }
}

/// What the policy says, without any program.
fn expected(policy: &Policy, data: Data) -> Answer {
    if data.machine != policy.machine.audit() {
        return policy.foreign;
    }
    match policy.rules.get(&data.number) {
        Some(Rule::Fixed(answer)) => *answer,
        Some(Rule::Checked(check)) => {
            let value = data.arguments[usize::from(check.argument)] as u32;
            let met = match check.test {
                Test::OneOf(values) => values.contains(&value),
                Test::AnyBit(bits) => value & bits != 0,
            };
            if met { check.yes } else { check.no }
        }
        None if data.number == NO_CALL => Answer::Allow,
        None if data.number >= X32 && policy.machine == Machine::X86_64 => policy.foreign,
        None => policy.other,
    }
}

fn retain(set: serde_json::Value) -> Wish {
    Wish::Nothing.read(RETAIN, &json!({ "set": set, "errno": "EACCES" })).unwrap()
}

fn remove(set: serde_json::Value) -> Wish {
    Wish::Nothing.read(REMOVE, &json!({ "set": set })).unwrap()
}

fn policies(machine: Machine) -> Vec<Policy> {
    let caps = ["sys_chroot".to_owned()];
    let wishes = [
        Wish::Nothing,
        retain(json!(["@appc.io/all"])),
        retain(json!(["@appc.io/empty"])),
        retain(json!(["read", "mount", "@systemd/timer"])),
        remove(json!(["mount", "socket", "@docker/default-blacklist"])),
        remove(json!(["@appc.io/all"])),
    ];
    let mut all = Vec::new();
    for wish in &wishes {
        for capabilities in [&[][..], &caps] {
            for privileges in [true, false] {
                for policy in [
                    Policy::narrowed(machine, wish, capabilities),
                    Policy::wished(machine, wish, capabilities),
                ] {
                    all.push(policy.with_what_an_exec_needs(privileges));
                }
            }
        }
    }
    // Every second number something else: the longest search there can be.
    let mut striped = Policy::narrowed(machine, &Wish::Nothing, &[]);
    for number in 0..600 {
        striped.rules.insert(number, Rule::Fixed(Answer::Errno(number as u16 + 1)));
    }
    all.push(striped);
    all
}

#[test]
fn programs_answer_as_their_policies_say() {
    for machine in MACHINES {
        for policy in policies(machine) {
            let program = compile::compile(&policy);
            assert!(program.len() < 4096, "the kernel takes no more");
            let ask = |data: Data| {
                assert_eq!(
                    meaning(run(&program, data)),
                    expected(&policy, data),
                    "{}",
                    data.number
                );
            };
            let numbers = (0..700).chain([1 << 16, X32 - 1, X32, X32 + 56, 1 << 31, !1, NO_CALL]);
            for number in numbers {
                for foreign in [machine.audit(), 0x4000_0003, 0x4000_0028, 0] {
                    ask(Data { number, machine: foreign, arguments: [0; 6] });
                }
            }
            for check in CHECKS {
                let Some(call) = table::find(check.call) else { panic!("{}", check.call) };
                let Some(number) = call.number(machine) else { continue };
                let mut values: Vec<u64> = (0..32).map(|bit| 1 << bit).collect();
                values.extend([0, 0x11, 0x7E02_0011, 0x20, u64::from(u32::MAX)]);
                if let Test::OneOf(list) = check.test {
                    values.extend(list.iter().map(|value| u64::from(*value)));
                }
                for value in values {
                    // The upper half, which the kernel does not look at, changes nothing.
                    for upper in [0, 1 << 32, 0xFFFF_FFFF << 32] {
                        let mut arguments = [0xA5A5_A5A5_A5A5_A5A5; 6];
                        arguments[usize::from(check.argument)] = value | upper;
                        ask(Data { number, machine: machine.audit(), arguments });
                    }
                }
            }
        }
    }
}

#[test]
fn every_call_is_in_one_group_and_every_word_is_a_call() {
    let mut seen = BTreeSet::new();
    for name in GROUPS.iter().flat_map(|group| group.calls.split_ascii_whitespace()) {
        assert!(seen.insert(name), "{name} is in two groups");
        assert!(table::find(name).is_some(), "{name} is no call");
    }
    for call in table::calls() {
        if MACHINES.into_iter().any(|machine| call.number(machine).is_some()) {
            assert!(seen.contains(call.name), "{} is in no group", call.name);
        }
    }
    for check in CHECKS {
        assert!(seen.contains(check.call), "{}", check.call);
    }
    for word in wish::systemd_words() {
        let group = |name| GROUPS.iter().any(|group| group.name == name);
        assert!(word.strip_prefix('+').map_or(seen.contains(word), group), "{word}");
    }
}

#[test]
fn the_table_is_the_kernels() {
    let number = |name: &str, machine| table::find(name).and_then(|call| call.number(machine));
    let x86 = |name| number(name, Machine::X86_64);
    assert_eq!(x86("read").map(i64::from), Some(libc::SYS_read));
    assert_eq!(x86("clone3").map(i64::from), Some(libc::SYS_clone3));
    assert_eq!(x86("openat2").map(i64::from), Some(libc::SYS_openat2));
    assert_eq!((number("read", Machine::Aarch64), x86("open")), (Some(63), Some(2)));
    assert_eq!((number("open", Machine::Aarch64), x86("waitpid")), (None, None));
    for machine in MACHINES {
        let mut numbers = BTreeSet::new();
        for call in table::calls() {
            assert!(call.number(machine).is_none_or(|n| n < 500 && numbers.insert(n)));
        }
        assert!(numbers.len() > 300);
    }
    let names: Vec<_> = table::calls().map(|call| call.name).collect();
    assert!(names.is_sorted_by(|a, b| a < b));
}

#[test]
fn the_default_lets_programs_work_and_closes_what_leads_out() {
    let policy = Policy::narrowed(Machine::X86_64, &Wish::Nothing, &[]);
    let program = compile::compile(&policy);
    let ask = |name: &str, first: u64, second: u64| {
        let number = table::find(name).unwrap().number(Machine::X86_64).unwrap();
        let arguments = [first, second, 0, 0, 0, 0];
        meaning(run(&program, Data { number, machine: 0xC000_003E, arguments }))
    };
    for name in ["read", "openat", "execve", "fork", "setuid", "futex", "epoll_wait", "seccomp"] {
        assert_eq!(ask(name, 0, 0), Answer::Allow, "{name}");
    }
    for name in ["mount", "setns", "bpf", "ptrace", "keyctl", "open_by_handle_at", "kexec_load"] {
        assert_eq!(ask(name, 0, 0), Answer::Errno(EPERM), "{name}");
    }
    assert_eq!(ask("clone3", 0, 0), Answer::Errno(38));
    assert_eq!(ask("clone", 0x1000_0011, 0), Answer::Errno(EPERM));
    // A thread as libc makes it.
    assert_eq!(ask("clone", 0x3D_0F00, 0), Answer::Allow);
    assert_eq!(ask("ioctl", 0, 0x5412), Answer::Errno(EPERM));
    assert_eq!(ask("ioctl", 0, 0x1_0000_5412), Answer::Errno(EPERM));
    assert_eq!(ask("ioctl", 0, 0x5401), Answer::Allow);
    assert_eq!(ask("socket", 38, 0), Answer::Errno(97));
    assert_eq!(ask("socket", 40, 0), Answer::Errno(97));
    assert_eq!(ask("socket", 1, 0), Answer::Allow);
    assert_eq!(ask("personality", 0x4_0000, 0), Answer::Errno(EPERM));
    assert_eq!(ask("chroot", 0, 0), Answer::Errno(EPERM));
    let caps = ["sys_chroot".to_owned()];
    let program = compile::compile(&Policy::narrowed(Machine::X86_64, &Wish::Nothing, &caps));
    let data = Data { number: 161, machine: 0xC000_003E, arguments: [0; 6] };
    assert_eq!(meaning(run(&program, data)), Answer::Allow);
}

#[test]
fn an_image_narrows_and_with_leave_replaces() {
    let decide = |mode, wish: &Wish| decide(Machine::X86_64, mode, wish, &[], true).unwrap();
    let answer = |decision: &Decision, number| {
        let data = Data { number, machine: 0xC000_003E, arguments: [0x5A; 6] };
        meaning(run(&decision.program.as_ref().unwrap().program, data))
    };
    let (read, mount, uname, new) = (0, 165, 63, 499);
    let wish = retain(json!(["read", "mount"]));
    let narrowed = decide(Mode::Default, &wish);
    assert_eq!(narrowed.withheld, ["mount"]);
    assert_eq!(answer(&narrowed, read), Answer::Allow);
    assert_eq!(answer(&narrowed, mount), Answer::Errno(EPERM));
    assert_eq!(answer(&narrowed, uname), Answer::Errno(13));
    assert_eq!(answer(&narrowed, new), Answer::Errno(13));
    let wished = decide(Mode::Image, &wish);
    assert!(wished.withheld.is_empty());
    assert_eq!(answer(&wished, mount), Answer::Allow);
    assert_eq!(answer(&wished, uname), Answer::Errno(13));
    let removed = decide(Mode::Default, &remove(json!(["@systemd/basic-io"])));
    assert_eq!(answer(&removed, read), Answer::Kill);
    assert_eq!(answer(&removed, uname), Answer::Allow);
    assert_eq!(answer(&removed, mount), Answer::Errno(EPERM));
    assert_eq!(decide(Mode::None, &wish).program, None);
    assert_eq!(decide(Mode::Image, &Wish::Nothing), decide(Mode::Default, &Wish::Nothing));
    // Whatever a set leaves out, the exec and the end work.
    let nothing = decide(Mode::Image, &retain(json!(["@appc.io/empty"])));
    let allowed = (0..500).filter(|n| answer(&nothing, *n) == Answer::Allow).count();
    assert_eq!(allowed, 6);
}

#[test]
fn wrong_isolators_are_refused_by_name() {
    let read = |value| Wish::Nothing.read(REMOVE, &value).unwrap_err().to_string();
    let set = "os/linux/seccomp-remove-set: ";
    for (value, text) in [
        (json!({}), "its value has no list \"set\""),
        (json!({"set": []}), "its set is empty; \"@appc.io/empty\" stands for no call"),
        (json!({"set": [1]}), "its set has more than names"),
        (json!({"set": ["mout"]}), "\"mout\" is not a system call that this release knows"),
        (json!({"set": ["Mount"]}), "\"Mount\" is not a system call that this release knows"),
        (json!({"set": ["@x/y"]}), "\"@x/y\" is not a set of system calls that this release knows"),
        (json!({"set": ["read"], "errno": "ENOPE"}), "\"ENOPE\" is not the name of an error"),
        (json!({"set": ["read"], "errno": 1}), "its errno is not a name"),
    ] {
        assert_eq!(read(value), format!("{set}{text}"));
    }
    let both = remove(json!(["read"])).read(RETAIN, &json!({"set": ["read"]}));
    assert_eq!(both, Err(SeccompError::Both));
    for errno in [json!(null), json!("")] {
        let wish = Wish::Nothing.read(REMOVE, &json!({"set": ["read"], "errno": errno})).unwrap();
        assert_eq!(wish.answer("read"), Answer::Kill);
    }
}
