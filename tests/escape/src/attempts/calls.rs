//! System calls that reach deep into the kernel.

use crate::protection::Protection::{
    self, Capabilities, Devices, NoDev, PidNamespace, Seccomp, UserNamespace,
};
use crate::sys::{Arg, address, call, call_i386};
use crate::world::{World, refuse};
use crate::{Attempt, Fail, Outcome};
use std::fs;

const FILTER: &[Protection] = &[Seccomp];
const REAL: &[Protection] = &[UserNamespace, Seccomp, Capabilities];
const DISK: &[Protection] = &[UserNamespace, Seccomp, Capabilities, NoDev, Devices];

pub const ATTEMPTS: &[Attempt] = &[
    Attempt::new("bpf", "load a program into the kernel", REAL, bpf),
    Attempt::new("userfaultfd", "hold the kernel up in a page fault", FILTER, userfaultfd)
        .harmless(),
    Attempt::new("perf-event", "watch the machine with perf_event_open", REAL, perf).harmless(),
    Attempt::new("io-uring", "do input and output past the filter", FILTER, io_uring).harmless(),
    Attempt::new("kexec", "load another kernel", REAL, kexec),
    Attempt::new("init-module", "load a module from memory", REAL, init_module),
    Attempt::new("finit-module", "load a module from a file", REAL, finit_module),
    Attempt::new("delete-module", "remove a module", REAL, delete_module),
    Attempt::new("fanotify", "watch all accesses to a file system", REAL, fanotify),
    Attempt::new("syslog", "read the kernel's log", FILTER, syslog).harmless(),
    Attempt::new("clock-settime", "set the machine's clock", REAL, clock_settime),
    Attempt::new("settimeofday", "set the machine's time zone", REAL, settimeofday),
    Attempt::new("adjtimex", "make the machine's clock run faster", REAL, adjtimex),
    Attempt::new("swapon", "have the machine swap to a file of the pod", REAL, swapon),
    Attempt::new(
        "acct",
        "have the kernel write about all processes to a file of the pod",
        REAL,
        acct,
    ),
    Attempt::new("quotactl", "ask for the quota of another user", DISK, quotactl),
    Attempt::new("vhangup", "hang up the terminal", REAL, vhangup),
    Attempt::new(
        "reboot",
        "set what Ctrl-Alt-Del does, as a reboot would be asked for",
        &[PidNamespace],
        reboot,
    ),
    Attempt::new("iopl", "have the input and output ports", REAL, iopl),
    Attempt::new("ioperm", "have one input and output port", REAL, ioperm),
    Attempt::new("personality", "have addresses not randomised", FILTER, personality).harmless(),
    Attempt::new("i386-call", "make a system call by the door for 32-bit programs", FILTER, i386)
        .harmless(),
    Attempt::new("x32-call", "make a system call with the numbers of x32", FILTER, x32).harmless(),
    Attempt::new("af-alg", "open a socket to the kernel's cryptography", FILTER, af_alg).harmless(),
    Attempt::new("vsock", "open a socket to the machine's hypervisor", FILTER, vsock).harmless(),
    Attempt::new("kcmp", "compare the insides of two processes", FILTER, kcmp).harmless(),
];

fn opened(number: i64, args: &mut [Arg<'_>], what: &str) -> Outcome {
    let fd = call(number, args)?;
    Ok(format!("{what}, descriptor {fd}"))
}

fn bpf(_: &World) -> Outcome {
    // A socket filter of two instructions: r0 = 0; exit.
    let program = [0xb7u64, 0x95].map(u64::to_ne_bytes).concat();
    let licence = b"GPL\0";
    let mut attr = [1u32, 2].map(u32::to_ne_bytes).concat();
    attr.extend(address(&program).to_ne_bytes());
    attr.extend(address(licence).to_ne_bytes());
    attr.resize(128, 0);
    opened(
        libc::SYS_bpf,
        &mut [Arg::Int(5), Arg::In(&attr), Arg::Int(128)],
        "a program in the kernel",
    )
}

fn userfaultfd(_: &World) -> Outcome {
    // UFFD_USER_MODE_ONLY: what the kernel grants anybody.
    opened(libc::SYS_userfaultfd, &mut [Arg::Int(1)], "page faults")
}

fn perf(_: &World) -> Outcome {
    // A software event, the processor's clock, of this process.
    let mut attr = [1u32, 112].map(u32::to_ne_bytes).concat();
    attr.resize(112, 0);
    let args = &mut [Arg::In(&attr), Arg::Int(0), Arg::Int(-1), Arg::Int(-1), Arg::Int(0)];
    opened(libc::SYS_perf_event_open, args, "a counter")
}

fn io_uring(_: &World) -> Outcome {
    let mut params = [0u8; 120];
    opened(libc::SYS_io_uring_setup, &mut [Arg::Int(4), Arg::Out(&mut params)], "a ring")
}

fn kexec(_: &World) -> Outcome {
    // No segments: takes away what was loaded.
    call(libc::SYS_kexec_load, &mut [Arg::Int(0), Arg::Int(0), Arg::Null, Arg::Int(0)])?;
    Ok("the kernel to come is another".into())
}

const MODULE: &str = "/module.ko";

fn loaded(result: Result<i64, crate::sys::Errno>) -> Outcome {
    match result {
        Err(errno) if errno.0 == libc::EEXIST => Ok("it was loaded already".into()),
        Err(errno) => Err(errno.into()),
        Ok(_) => Ok("the module is in the kernel".into()),
    }
}

fn init_module(_: &World) -> Outcome {
    let bytes = fs::read(MODULE)?;
    let length = i64::try_from(bytes.len()).unwrap_or(0);
    loaded(call(libc::SYS_init_module, &mut [Arg::In(&bytes), Arg::Int(length), Arg::Text("")]))
}

fn finit_module(_: &World) -> Outcome {
    let file = fs::File::open(MODULE)?;
    let fd = i64::from(std::os::fd::AsRawFd::as_raw_fd(&file));
    loaded(call(libc::SYS_finit_module, &mut [Arg::Int(fd), Arg::Text(""), Arg::Int(0)]))
}

fn delete_module(world: &World) -> Outcome {
    // Whether it was there or not: who may not gets another answer.
    let name = world.told("MODULE")?;
    match call(
        libc::SYS_delete_module,
        &mut [Arg::Text(&name), Arg::Int(i64::from(libc::O_NONBLOCK))],
    ) {
        Err(errno) if errno.0 == libc::ENOENT => Ok("allowed, and not loaded".into()),
        Err(errno) => Err(errno.into()),
        Ok(_) => Ok(format!("{name} is out of the kernel")),
    }
}

fn fanotify(_: &World) -> Outcome {
    // FAN_CLASS_CONTENT
    opened(libc::SYS_fanotify_init, &mut [Arg::Int(4), Arg::Int(0)], "all accesses")
}

fn syslog(_: &World) -> Outcome {
    let mut text = vec![0u8; 65536];
    let length = call(libc::SYS_syslog, &mut [Arg::Int(3), Arg::Out(&mut text), Arg::Int(65536)])?;
    if length > 0 { Ok(format!("{length} bytes of the kernel's log")) } else { refuse("empty") }
}

fn clock_settime(_: &World) -> Outcome {
    let mut now = [0u8; 16];
    call(libc::SYS_clock_gettime, &mut [Arg::Int(0), Arg::Out(&mut now)])?;
    call(libc::SYS_clock_settime, &mut [Arg::Int(0), Arg::In(&now)])?;
    Ok("set the time".into())
}

fn settimeofday(_: &World) -> Outcome {
    let zone = [0u8; 8];
    call(libc::SYS_settimeofday, &mut [Arg::Null, Arg::In(&zone)])?;
    Ok("set the time zone".into())
}

fn adjtimex(_: &World) -> Outcome {
    // struct timex: modes (ADJ_TICK), …, tick at its place; asked for first.
    let mut timex = [0u8; 208];
    call(libc::SYS_adjtimex, &mut [Arg::Out(&mut timex)])?;
    if let Some(modes) = timex.get_mut(0..4) {
        modes.copy_from_slice(&0x4000u32.to_ne_bytes());
    }
    call(libc::SYS_adjtimex, &mut [Arg::Out(&mut timex)])?;
    Ok("set the length of a tick".into())
}

fn swapon(_: &World) -> Outcome {
    let path = "/vol/swap";
    let mut bytes = vec![0u8; 64 * 4096];
    let mut put = |at: usize, what: &[u8]| {
        if let Some(place) = bytes.get_mut(at..at + what.len()) {
            place.copy_from_slice(what);
        }
    };
    // Version 1, 63 pages, and the signature at the end of the first page.
    put(1024, &1u32.to_ne_bytes());
    put(1028, &63u32.to_ne_bytes());
    put(4086, b"SWAPSPACE2");
    fs::write(path, &bytes)?;
    fs::File::open(path)?.sync_all()?;
    call(libc::SYS_swapon, &mut [Arg::Text(path), Arg::Int(0)])?;
    let table = fs::read_to_string("/proc/swaps")?;
    call(libc::SYS_swapoff, &mut [Arg::Text(path)])?;
    if table.contains("swap") {
        Ok("the machine swapped to it".into())
    } else {
        refuse("no effect")
    }
}

fn acct(_: &World) -> Outcome {
    let path = "/vol/acct";
    fs::write(path, "")?;
    call(libc::SYS_acct, &mut [Arg::Text(path)])?;
    drop(std::process::Command::new("/probe").arg("who").output());
    call(libc::SYS_acct, &mut [Arg::Null])?;
    let size = fs::metadata(path)?.len();
    if size > 0 { Ok(format!("{size} bytes about processes")) } else { refuse("nothing written") }
}

fn quotactl(world: &World) -> Outcome {
    // Q_GETQUOTA of user 4711 on the host's disk.
    let node = super::devices::disk_node(world)?;
    let command = i64::from(0x8000_0700_u32 as i32);
    let mut answer = [0u8; 128];
    let args = &mut [Arg::Int(command), Arg::Text(&node), Arg::Int(4711), Arg::Out(&mut answer)];
    match call(libc::SYS_quotactl, args) {
        // That it keeps no quota is an answer for those who may ask.
        Err(errno) if errno.0 == libc::ESRCH => Ok("answered: it keeps no quota".into()),
        Err(errno) => Err(errno.into()),
        Ok(_) => Ok("the quota of user 4711".into()),
    }
}

fn vhangup(_: &World) -> Outcome {
    call(libc::SYS_vhangup, &mut [])?;
    Ok("hung up".into())
}

fn reboot(_: &World) -> Outcome {
    let ask = |command: u32| {
        let args = &mut [
            Arg::Int(0xfee1_dead),
            Arg::Int(0x2812_1969),
            Arg::Int(i64::from(command)),
            Arg::Null,
        ];
        call(libc::SYS_reboot, args)
    };
    // LINUX_REBOOT_CMD_CAD_ON and _OFF
    let path = "/proc/sys/kernel/ctrl-alt-del";
    let before = fs::read_to_string(path)?;
    ask(if before.trim() == "0" { 0x89ab_cdef } else { 0 })?;
    let after = fs::read_to_string(path)?;
    ask(if before.trim() == "0" { 0 } else { 0x89ab_cdef })?;
    if before == after { refuse("no effect") } else { Ok("Ctrl-Alt-Del does another thing".into()) }
}

fn iopl(_: &World) -> Outcome {
    call(libc::SYS_iopl, &mut [Arg::Int(3)])?;
    Ok("all ports".into())
}

fn ioperm(_: &World) -> Outcome {
    call(libc::SYS_ioperm, &mut [Arg::Int(0x80), Arg::Int(1), Arg::Int(1)])?;
    Ok("port 0x80".into())
}

fn personality(_: &World) -> Outcome {
    call(libc::SYS_personality, &mut [Arg::Int(0x0004_0000)])?;
    let now = call(libc::SYS_personality, &mut [Arg::Int(0xffff_ffff)])?;
    if now & 0x0004_0000 == 0 {
        refuse("no effect")
    } else {
        Ok("addresses are the same in each run".into())
    }
}

fn i386(_: &World) -> Outcome {
    // getpid of the 32-bit table
    let answer = call_i386(20);
    if answer == i64::from(std::process::id()) {
        return Ok("getpid by int 0x80".into());
    }
    refuse(format!("answered {answer}"))
}

fn x32(_: &World) -> Outcome {
    let answer = call(libc::SYS_getpid | 0x4000_0000, &mut [])?;
    if answer == i64::from(std::process::id()) {
        Ok("getpid of x32".into())
    } else {
        refuse("another")
    }
}

fn socket(family: i32, kind: i32, what: &str) -> Outcome {
    let args = &mut [Arg::Int(i64::from(family)), Arg::Int(i64::from(kind)), Arg::Int(0)];
    match call(libc::SYS_socket, args) {
        Err(errno)
            if errno.0 == libc::EAFNOSUPPORT
                && crate::world::status("Seccomp").as_deref() == Some("0") =>
        {
            Err(Fail::Impossible(format!("this kernel has no {what}")))
        }
        Err(errno) => Err(errno.into()),
        Ok(_) => Ok(what.to_owned()),
    }
}

fn af_alg(_: &World) -> Outcome {
    socket(libc::AF_ALG, libc::SOCK_SEQPACKET, "socket to the kernel's cryptography")
}

fn vsock(_: &World) -> Outcome {
    socket(libc::AF_VSOCK, libc::SOCK_STREAM, "socket to the hypervisor")
}

fn kcmp(_: &World) -> Outcome {
    let me = i64::from(std::process::id());
    let args = &mut [Arg::Int(me), Arg::Int(me), Arg::Int(1), Arg::Int(0), Arg::Int(0)];
    call(libc::SYS_kcmp, args)?;
    Ok("an order of kernel addresses".into())
}
