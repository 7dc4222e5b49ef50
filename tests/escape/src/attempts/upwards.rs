//! Gaining privileges inside.

use crate::protection::Protection::{self, Capabilities, NoNewPrivileges, Seccomp, UserNamespace};
use crate::sys::{Arg, call, fork_with};
use crate::world::{World, directory, has_capability, is_mounted, mount, refuse, status, write};
use crate::{Attempt, Outcome};
use std::fs;
use std::process::Command;

const NOBODY: &[Protection] = &[NoNewPrivileges];
const REAL: &[Protection] = &[UserNamespace, Capabilities];
const SYS_ADMIN: u32 = 21;

pub const ATTEMPTS: &[Attempt] = &[
    Attempt::new(
        "setuid-program",
        "run a set-uid program of the image and be root",
        NOBODY,
        setuid_program,
    )
    .user()
    .harmless(),
    Attempt::new(
        "file-capabilities",
        "run a program with file capabilities and have them",
        NOBODY,
        file_capabilities,
    )
    .user()
    .harmless(),
    Attempt::new("setuid-call", "become root with setuid(0)", &[Capabilities], setuid_call)
        .user()
        .harmless(),
    Attempt::new("capset", "raise CAP_SYS_ADMIN with capset", &[Capabilities], capset).harmless(),
    Attempt::new(
        "user-namespace",
        "make a user namespace, have all capabilities in it, mount",
        &[Seccomp],
        nested,
    )
    .harmless(),
    Attempt::new(
        "user-namespace-clone",
        "make a user namespace with clone",
        &[Seccomp],
        nested_clone,
    )
    .harmless(),
    Attempt::new(
        "user-namespace-clone3",
        "make a user namespace with clone3, whose flags no filter sees",
        &[Seccomp],
        nested_clone3,
    )
    .harmless(),
    Attempt::new(
        "unshare-mount",
        "make a mount namespace",
        &[Seccomp, Capabilities],
        unshare_mount,
    )
    .harmless(),
    Attempt::new(
        "unshare-network",
        "make a network namespace",
        &[Seccomp, Capabilities],
        unshare_network,
    )
    .harmless(),
    Attempt::new(
        "set-host-name",
        "change the host name",
        &[UserNamespace, Seccomp, Capabilities],
        host_name,
    )
    .harmless(),
    Attempt::new(
        "set-domain-name",
        "change the domain name",
        &[UserNamespace, Seccomp, Capabilities],
        domain_name,
    )
    .harmless(),
    Attempt::new("scheduler-fifo", "run before everybody else with SCHED_FIFO", REAL, fifo),
    Attempt::new("nice-lower", "take a better nice value", REAL, nice),
    Attempt::new("ionice-realtime", "take the real-time class of the disk", REAL, ionice),
    Attempt::new(
        "oom-score-lower",
        "be the last that the kernel kills when memory runs out",
        REAL,
        oom_score,
    )
    .harmless(),
    Attempt::new("rlimit-raise", "raise a hard limit", REAL, rlimit).harmless(),
    Attempt::new(
        "immutable-file",
        "make a file that not even the host can change",
        REAL,
        immutable,
    ),
    Attempt::new(
        "trusted-attribute",
        "set a trusted.* attribute, as overlayfs reads them",
        REAL,
        trusted,
    ),
];

fn helper(program: &str, wanted: &str) -> Outcome {
    let out = Command::new(program).arg("who").output()?;
    let text = String::from_utf8_lossy(&out.stdout);
    let gained = text.contains(wanted);
    if gained { Ok(text.trim().to_owned()) } else { refuse(text.trim().to_owned()) }
}

fn setuid_program(_: &World) -> Outcome {
    if crate::sys::effective_uid() == 0 {
        return refuse("root already");
    }
    helper("/setuid-probe", "uid 0 ")
}

fn file_capabilities(_: &World) -> Outcome {
    // The file has CAP_KILL, number 5: an app of root's has it anyway.
    if has_capability(5) {
        return refuse("has them already");
    }
    helper("/caps-probe", "kill true")
}

fn setuid_call(_: &World) -> Outcome {
    if crate::sys::effective_uid() == 0 {
        return refuse("root already");
    }
    call(libc::SYS_setuid, &mut [Arg::Int(0)])?;
    if crate::sys::effective_uid() == 0 { Ok("uid 0".into()) } else { refuse("no change") }
}

fn capset(_: &World) -> Outcome {
    let header: Vec<u8> = [0x2008_0522u32, 0].into_iter().flat_map(u32::to_ne_bytes).collect();
    let mut low = [0u8; 24];
    call(libc::SYS_capget, &mut [Arg::In(&header), Arg::Out(&mut low)])?;
    let mut sets: Vec<u8> = low.to_vec();
    // Bit 21 is in byte 2 of the first words: effective at 0, permitted at 4.
    for at in [2, 6] {
        if let Some(byte) = sets.get_mut(at) {
            *byte |= 1 << (SYS_ADMIN - 16);
        }
    }
    call(libc::SYS_capset, &mut [Arg::In(&header), Arg::In(&sets)])?;
    if has_capability(SYS_ADMIN) { Ok("CAP_SYS_ADMIN".into()) } else { refuse("not effective") }
}

const NEW_USER: i64 = libc::CLONE_NEWUSER as i64;

fn nested(_: &World) -> Outcome {
    let at = directory("nested")?;
    call(libc::SYS_unshare, &mut [Arg::Int(NEW_USER | i64::from(libc::CLONE_NEWNS))])?;
    let set = status("CapEff").unwrap_or_default();
    mount("none", &at, "tmpfs", 0)?;
    if is_mounted(&at) {
        Ok(format!("capabilities {set}, and a tmpfs"))
    } else {
        refuse("not mounted")
    }
}

fn nested_clone(_: &World) -> Outcome {
    let flags = NEW_USER | i64::from(libc::SIGCHLD);
    let args = &mut [Arg::Int(flags), Arg::Null, Arg::Null, Arg::Null, Arg::Null];
    fork_with(libc::SYS_clone, args)?;
    Ok("a process in a user namespace of its own".into())
}

fn nested_clone3(_: &World) -> Outcome {
    // struct clone_args: flags, pidfd, child tid, parent tid, exit signal, stack …
    let signal = libc::SIGCHLD as u64;
    let words = [libc::CLONE_NEWUSER as u64, 0, 0, 0, signal, 0, 0, 0];
    let bytes: Vec<u8> = words.into_iter().flat_map(u64::to_ne_bytes).collect();
    fork_with(libc::SYS_clone3, &mut [Arg::In(&bytes), Arg::Int(64)])?;
    Ok("a process in a user namespace of its own".into())
}

fn unshared(flag: i32, name: &str) -> Outcome {
    let link = format!("/proc/self/ns/{name}");
    let before = fs::read_link(&link)?;
    call(libc::SYS_unshare, &mut [Arg::Int(i64::from(flag))])?;
    let after = fs::read_link(&link)?;
    if before == after { refuse("the same") } else { Ok(after.display().to_string()) }
}

fn unshare_mount(_: &World) -> Outcome {
    unshared(libc::CLONE_NEWNS, "mnt")
}

fn unshare_network(_: &World) -> Outcome {
    unshared(libc::CLONE_NEWNET, "net")
}

fn host_name(_: &World) -> Outcome {
    let path = "/proc/sys/kernel/hostname";
    let before = fs::read_to_string(path)?;
    let set = |name: &str| {
        let len = i64::try_from(name.len()).unwrap_or(0);
        call(libc::SYS_sethostname, &mut [Arg::Text(name), Arg::Int(len)])
    };
    set("escaped")?;
    let after = fs::read_to_string(path)?;
    set(before.trim())?;
    if after.trim() == "escaped" { Ok("the name is escaped".into()) } else { refuse("no change") }
}

fn domain_name(_: &World) -> Outcome {
    call(libc::SYS_setdomainname, &mut [Arg::Text("escaped"), Arg::Int(7)])?;
    let after = fs::read_to_string("/proc/sys/kernel/domainname")?;
    if after.trim() == "escaped" { Ok("the name is escaped".into()) } else { refuse("no change") }
}

fn fifo(_: &World) -> Outcome {
    let priority = 1i32.to_ne_bytes();
    let args = &mut [Arg::Int(0), Arg::Int(i64::from(libc::SCHED_FIFO)), Arg::In(&priority)];
    call(libc::SYS_sched_setscheduler, args)?;
    let policy = call(libc::SYS_sched_getscheduler, &mut [Arg::Int(0)])?;
    if policy == i64::from(libc::SCHED_FIFO) {
        Ok("SCHED_FIFO".into())
    } else {
        refuse("no change")
    }
}

fn nice(_: &World) -> Outcome {
    call(libc::SYS_setpriority, &mut [Arg::Int(0), Arg::Int(0), Arg::Int(-5)])?;
    // The kernel's answer is 20 less the value.
    let now = 20 - call(libc::SYS_getpriority, &mut [Arg::Int(0), Arg::Int(0)])?;
    if now == -5 { Ok("nice -5".into()) } else { refuse(format!("nice {now}")) }
}

fn ionice(_: &World) -> Outcome {
    // IOPRIO_WHO_PROCESS, class 1 (real time), level 4.
    let want = (1 << 13) | 4;
    call(libc::SYS_ioprio_set, &mut [Arg::Int(1), Arg::Int(0), Arg::Int(want)])?;
    let now = call(libc::SYS_ioprio_get, &mut [Arg::Int(1), Arg::Int(0)])?;
    if now == want { Ok("the real-time class".into()) } else { refuse("no change") }
}

fn oom_score(_: &World) -> Outcome {
    let path = "/proc/self/oom_score_adj";
    let before: i32 = fs::read_to_string(path)?.trim().parse().unwrap_or(0);
    let lower = (before - 1).max(-1000);
    write(path, &lower.to_string())?;
    let after = fs::read_to_string(path)?;
    if after.trim() == lower.to_string() {
        Ok(format!("{before} became {lower}"))
    } else {
        refuse("no change")
    }
}

fn rlimit(_: &World) -> Outcome {
    // RLIMIT_CORE, 4, is small enough everywhere to be raised: first made so.
    let words = |soft: u64, hard: u64| [soft.to_ne_bytes(), hard.to_ne_bytes()].concat();
    for (soft, hard) in [(1000, 1000), (2000, 2000)] {
        let limits = words(soft, hard);
        call(libc::SYS_prlimit64, &mut [Arg::Int(0), Arg::Int(4), Arg::In(&limits), Arg::Null])?;
    }
    Ok("from 1000 to 2000".into())
}

fn immutable(_: &World) -> Outcome {
    let path = "/vol/immutable";
    drop(fs::remove_file(path));
    let file = fs::File::create(path)?;
    let fd = i64::from(std::os::fd::AsRawFd::as_raw_fd(&file));
    let set = |flags: u64| {
        let bytes = flags.to_ne_bytes();
        // FS_IOC_SETFLAGS; FS_IMMUTABLE_FL is 0x10.
        call(libc::SYS_ioctl, &mut [Arg::Int(fd), Arg::Int(0x4008_6602), Arg::In(&bytes)])
    };
    set(0x10)?;
    let refused = fs::write(path, "x").is_err();
    set(0)?;
    if refused { Ok(format!("{path} was immutable")) } else { refuse("no effect") }
}

fn trusted(_: &World) -> Outcome {
    let path = "/vol/trusted";
    fs::write(path, "")?;
    let name = "trusted.overlay.opaque";
    let args = &mut [Arg::Text(path), Arg::Text(name), Arg::In(b"y"), Arg::Int(1), Arg::Int(0)];
    call(libc::SYS_setxattr, args)?;
    Ok(format!("{name} of {path}"))
}
