//! init, other apps and processes of the host: reading, tracing, signalling.

use crate::protection::Protection::{self, Capabilities, PidNamespace, Seccomp, UserNamespace};
use crate::sys::{Arg, call, ignore};
use crate::world::{World, processes, refuse};
use crate::{Attempt, Fail, Outcome};
use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::time::Duration;

const INIT: &[Protection] = &[UserNamespace, Capabilities];
const TRACE: &[Protection] = &[UserNamespace, Seccomp, Capabilities];
const HOST: &[Protection] = &[PidNamespace];

pub const ATTEMPTS: &[Attempt] = &[
    Attempt::new("ptrace-init", "attach to init with ptrace", TRACE, ptrace_init).harmless(),
    Attempt::new(
        "ptrace-peer",
        "attach to another user's app with ptrace",
        &[Seccomp, Capabilities],
        ptrace_peer,
    )
    .harmless(),
    Attempt::new("ptrace-host", "attach to a process of the host with ptrace", HOST, ptrace_host),
    Attempt::new("readv-init", "read init's program with process_vm_readv", TRACE, readv_init)
        .harmless(),
    Attempt::new("mem-init", "read init's program from /proc/1/mem", INIT, mem_init).harmless(),
    Attempt::new(
        "mem-peer",
        "read another user's app from /proc/PID/mem",
        &[Capabilities],
        mem_peer,
    )
    .harmless(),
    Attempt::new("environ-init", "read init's environment", INIT, environ_init).harmless(),
    Attempt::new("root-init", "list /proc/1/root", INIT, root_init).harmless(),
    Attempt::new(
        "root-peer",
        "list /proc/PID/root of another user's app",
        &[Capabilities],
        root_peer,
    )
    .harmless(),
    Attempt::new("cwd-init", "list /proc/1/cwd", INIT, cwd_init).harmless(),
    Attempt::new("exe-init", "open /proc/1/exe, a file of the host", INIT, exe_init).harmless(),
    Attempt::new("fd-init", "open what init has open, through /proc/1/fd", INIT, fd_init)
        .harmless(),
    Attempt::new("maps-init", "read init's memory map", INIT, maps_init).harmless(),
    Attempt::new("pidfd-getfd-init", "copy a descriptor of init", TRACE, getfd_init).harmless(),
    Attempt::new("setns-init", "enter init's mount namespace", TRACE, setns_init).harmless(),
    Attempt::new("kill-init", "end or stop init with signals nobody can catch", HOST, kill_init),
    Attempt::new(
        "kill-everything",
        "signal everything with kill(-1) and find the host's canary dead",
        HOST,
        kill_all,
    ),
    Attempt::new("setns-host", "enter the namespaces of a process of the host", HOST, setns_host),
    Attempt::new("see-host", "find a process of the host in /proc", HOST, see_host).harmless(),
    // The last one that needs the canary.
    Attempt::new("kill-host", "end a process of the host", HOST, kill_host),
];

fn seize(pid: i64) -> Outcome {
    // PTRACE_SEIZE lets it run on; the end of this process lets it go.
    call(libc::SYS_ptrace, &mut [Arg::Int(0x4206), Arg::Int(pid), Arg::Null, Arg::Null])?;
    Ok(format!("process {pid} is traced"))
}

fn ptrace_init(world: &World) -> Outcome {
    seize(world.init())
}

fn ptrace_peer(world: &World) -> Outcome {
    seize(world.peer()?)
}

fn ptrace_host(world: &World) -> Outcome {
    seize(canary(world)?)
}

/// The host's canary process, if the number means it here.
fn canary(world: &World) -> Result<i64, Fail> {
    let pid = world.number("CANARY")?;
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    if String::from_utf8_lossy(&line).contains("86401") {
        return Ok(pid);
    }
    refuse(format!("process {pid} is not in sight"))
}

/// Where its program begins: the first mapping.
fn program(pid: i64) -> Result<u64, Fail> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let first = maps.split('-').next().unwrap_or_default();
    u64::from_str_radix(first, 16).or_else(|_| refuse("an empty memory map"))
}

fn readv_init(world: &World) -> Outcome {
    // Its memory map may be closed: its program then lies where static ones do.
    let at = program(world.init()).unwrap_or(0x0040_0000);
    let mut bytes = [0u8; 4];
    let words = |address: u64| [address.to_ne_bytes(), 4u64.to_ne_bytes()].concat();
    let (local, remote) = (words(crate::sys::address(&bytes)), words(at));
    let args = &mut [
        Arg::Int(world.init()),
        Arg::In(&local),
        Arg::Int(1),
        Arg::In(&remote),
        Arg::Int(1),
        Arg::Int(0),
    ];
    call(libc::SYS_process_vm_readv, args)?;
    // The kernel has written to it behind the compiler's back.
    let seen = std::hint::black_box(&mut bytes);
    Ok(format!("{seen:02x?} at {at:x}"))
}

fn memory(pid: i64) -> Outcome {
    let mut file = fs::File::open(format!("/proc/{pid}/mem"))?;
    let mut bytes = [0u8; 4];
    file.seek(SeekFrom::Start(program(pid)?))?;
    file.read_exact(&mut bytes)?;
    if &bytes == b"\x7fELF" {
        Ok("the head of its program".into())
    } else {
        refuse("something else")
    }
}

fn mem_init(world: &World) -> Outcome {
    memory(world.init())
}

fn mem_peer(world: &World) -> Outcome {
    memory(world.peer()?)
}

fn environ_init(world: &World) -> Outcome {
    let bytes = fs::read(format!("/proc/{}/environ", world.init()))?;
    Ok(format!("{} bytes", bytes.len()))
}

fn list(path: String) -> Outcome {
    let names = fs::read_dir(&path)?.flatten().map(|e| e.file_name().display().to_string());
    Ok(format!("{path}: {}", names.take(8).collect::<Vec<_>>().join(" ")))
}

fn root_init(world: &World) -> Outcome {
    list(format!("/proc/{}/root/", world.init()))
}

fn root_peer(world: &World) -> Outcome {
    list(format!("/proc/{}/root/", world.peer()?))
}

fn cwd_init(world: &World) -> Outcome {
    list(format!("/proc/{}/cwd/", world.init()))
}

fn exe_init(world: &World) -> Outcome {
    let mut bytes = [0u8; 4];
    fs::File::open(format!("/proc/{}/exe", world.init()))?.read_exact(&mut bytes)?;
    Ok(format!("read {bytes:02x?} of it"))
}

fn fd_init(world: &World) -> Outcome {
    let mut last = refuse("it has nothing open");
    for entry in fs::read_dir(format!("/proc/{}/fd", world.init()))?.flatten() {
        let link = fs::read_link(entry.path());
        last = link.map(|to| format!("{} is open", to.display())).map_err(Fail::from);
        if last.is_ok() {
            break;
        }
    }
    last
}

fn maps_init(world: &World) -> Outcome {
    let at = program(world.init())?;
    Ok(format!("its program is at {at:x}"))
}

fn getfd_init(world: &World) -> Outcome {
    let pidfd = call(libc::SYS_pidfd_open, &mut [Arg::Int(world.init()), Arg::Int(0)])?;
    let mut last = refuse("it has no descriptors");
    for number in 0..32 {
        let args = &mut [Arg::Int(pidfd), Arg::Int(number), Arg::Int(0)];
        match call(libc::SYS_pidfd_getfd, args) {
            Ok(fd) => {
                let what = fs::read_link(format!("/proc/self/fd/{fd}"))?;
                return Ok(format!("its descriptor {number}: {}", what.display()));
            }
            Err(errno) => last = Err(errno.into()),
        }
    }
    last
}

fn setns(pid: i64) -> Result<(), Fail> {
    let fd = fs::File::open(format!("/proc/{pid}/ns/mnt"))?;
    let fd = std::os::fd::AsRawFd::as_raw_fd(&fd);
    call(libc::SYS_setns, &mut [Arg::Int(i64::from(fd)), Arg::Int(0)])?;
    Ok(())
}

fn setns_init(world: &World) -> Outcome {
    setns(world.init())?;
    list("/".into())
}

fn setns_host(world: &World) -> Outcome {
    setns(canary(world)?)?;
    world.has_token(&fs::read_to_string(world.told("SECRET")?)?, "its root")
}

/// One letter: running, sleeping, stopped, dead …; `None` when it is gone.
fn state(pid: i64) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    text.rsplit_once(") ")?.1.split(' ').next().map(str::to_owned)
}

fn kill(pid: i64, signal: i32) -> Result<(), Fail> {
    call(libc::SYS_kill, &mut [Arg::Int(pid), Arg::Int(i64::from(signal))])?;
    Ok(())
}

fn kill_init(world: &World) -> Outcome {
    let pid = world.init();
    kill(pid, libc::SIGSTOP)?;
    kill(pid, libc::SIGKILL)?;
    std::thread::sleep(Duration::from_millis(200));
    match state(pid).as_deref() {
        None | Some("Z" | "X" | "T") => Ok(format!("process {pid} is no more")),
        Some(letter) => refuse(format!("it does not heed them: state {letter}")),
    }
}

fn kill_host(world: &World) -> Outcome {
    // By its number, whatever that means here: not even that may reach it.
    let pid = canary(world)?;
    kill(pid, libc::SIGTERM)?;
    std::thread::sleep(Duration::from_millis(200));
    match state(pid).as_deref() {
        None | Some("Z" | "X") => Ok(format!("process {pid} is no more")),
        Some(letter) => refuse(format!("state {letter}")),
    }
}

fn kill_all(world: &World) -> Outcome {
    ignore(libc::SIGUSR2);
    kill(-1, libc::SIGUSR2)?;
    std::thread::sleep(Duration::from_millis(200));
    // Outside of pods the victim is in sight. From inside the test looks at its canary.
    let victim = world.number("VICTIM").map_err(|_| Fail::Refused("only the pod's own".into()))?;
    match state(victim).as_deref() {
        None | Some("Z" | "X") => Ok(format!("process {victim} is no more")),
        Some(letter) => refuse(format!("state {letter}")),
    }
}

fn see_host(world: &World) -> Outcome {
    let pid = canary(world)?;
    Ok(format!("{} processes, {pid} among them", processes().count()))
}
