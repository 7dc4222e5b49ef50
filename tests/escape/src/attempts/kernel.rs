//! The kernel's files: what changes the host, and what tells of it.

use crate::protection::Protection::{self, Capabilities, Masks, ReadOnly, UserNamespace};
use crate::world::{World, change, refuse, write};
use crate::{Attempt, Outcome};
use std::fs;
use std::io::Read;

const KNOB: &[Protection] = &[UserNamespace, ReadOnly];
const SHOWN: &[Protection] = &[Masks];
/// A user namespace sees the keys of its own users only.
const OWNED: &[Protection] = &[UserNamespace, Masks];
const ROOTS: &[Protection] = &[UserNamespace, Masks, Capabilities];

pub const ATTEMPTS: &[Attempt] = &[
    Attempt::new("core-pattern", "have a program run as root for each crash", KNOB, core_pattern),
    Attempt::new("modprobe-path", "have a program run as root for each module", KNOB, modprobe),
    Attempt::new("sysrq-trigger", "press a key of the kernel's own", KNOB, sysrq),
    Attempt::new("uevent-helper", "have a program run as root for each device", KNOB, uevent),
    Attempt::new("sysctl-vm", "change a setting of the machine's memory", KNOB, overcommit),
    Attempt::new("sysctl-kernel", "change when the machine panics", KNOB, panic_on_oops),
    Attempt::new("sysctl-fs", "change how many files the machine may have open", KNOB, file_max),
    Attempt::new("sys-block", "change a setting of the host's disk", KNOB, block),
    Attempt::new("proc-irq", "change which processor handles interrupts", KNOB, irq),
    Attempt::new("kallsyms", "read where the kernel's functions are", SHOWN, kallsyms).harmless(),
    Attempt::new("config-gz", "read how the kernel was built", SHOWN, config).harmless(),
    Attempt::new("proc-keys", "list the keys of the machine", OWNED, keys).harmless(),
    Attempt::new("sys-module", "list the kernel's modules and their addresses", SHOWN, modules)
        .harmless(),
    Attempt::new("sys-firmware", "list the firmware's tables", SHOWN, firmware).harmless(),
    Attempt::new("timer-list", "read which timers the machine has", ROOTS, timers).harmless(),
    Attempt::new("kcore", "read the kernel's memory", ROOTS, kcore).harmless(),
];

fn core_pattern(_: &World) -> Outcome {
    change("/proc/sys/kernel/core_pattern", "|/escaped")
}

fn modprobe(_: &World) -> Outcome {
    change("/proc/sys/kernel/modprobe", "/escaped")
}

fn sysrq(_: &World) -> Outcome {
    // The key that prints which keys there are.
    write("/proc/sysrq-trigger", "h")?;
    Ok("pressed h".into())
}

fn uevent(_: &World) -> Outcome {
    change("/sys/kernel/uevent_helper", "/bin/false")
}

/// Changes a number by one, and back.
fn bump(path: &str) -> Outcome {
    let before: u64 = fs::read_to_string(path)?.trim().parse().unwrap_or(0);
    change(path, &(before + 1).to_string())
}

fn overcommit(_: &World) -> Outcome {
    bump("/proc/sys/vm/overcommit_ratio")
}

fn panic_on_oops(_: &World) -> Outcome {
    bump("/proc/sys/kernel/panic")
}

fn file_max(_: &World) -> Outcome {
    bump("/proc/sys/fs/nr_open").or_else(|_| bump("/proc/sys/fs/pipe-max-size"))
}

fn block(_: &World) -> Outcome {
    let disks = fs::read_dir("/sys/block")?.flatten();
    let Some(disk) = disks.last() else { return refuse("no disk in /sys/block") };
    let path = disk.path().join("queue/read_ahead_kb").display().to_string();
    let before: u64 = fs::read_to_string(&path)?.trim().parse().unwrap_or(0);
    change(&path, &(before + 4).to_string())
}

fn irq(_: &World) -> Outcome {
    let path = "/proc/irq/default_smp_affinity";
    let before = fs::read_to_string(path)?;
    write(path, before.trim())?;
    Ok(format!("wrote {}", before.trim()))
}

fn lines(path: &str, what: &str) -> Outcome {
    let text = fs::read_to_string(path)?;
    match text.lines().count() {
        0 => refuse("empty"),
        count => Ok(format!("{count} {what}")),
    }
}

fn kallsyms(_: &World) -> Outcome {
    lines("/proc/kallsyms", "symbols")
}

fn config(_: &World) -> Outcome {
    let mut head = [0; 2];
    fs::File::open("/proc/config.gz")?.read_exact(&mut head)?;
    Ok("a compressed configuration".into())
}

fn keys(_: &World) -> Outcome {
    lines("/proc/keys", "keys")
}

fn entries(path: &str) -> Outcome {
    match fs::read_dir(path)?.count() {
        0 => refuse("empty"),
        count => Ok(format!("{count} entries")),
    }
}

fn modules(_: &World) -> Outcome {
    entries("/sys/module")
}

fn firmware(_: &World) -> Outcome {
    entries("/sys/firmware")
}

fn timers(_: &World) -> Outcome {
    lines("/proc/timer_list", "lines")
}

fn kcore(_: &World) -> Outcome {
    let mut head = [0; 4];
    fs::File::open("/proc/kcore")?.read_exact(&mut head)?;
    if &head == b"\x7fELF" { Ok("the head of the kernel's core".into()) } else { refuse("no core") }
}
