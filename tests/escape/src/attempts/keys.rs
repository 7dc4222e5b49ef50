//! The kernel's keyrings and IPC objects, which have no place in a file system.

use crate::protection::Protection::{self, IpcNamespace, Seccomp, UserNamespace};
use crate::sys::{Arg, Errno, call};
use crate::world::{World, refuse};
use crate::{Attempt, Outcome};

const FILTER: &[Protection] = &[Seccomp];
const IPC: &[Protection] = &[IpcNamespace];

pub const ATTEMPTS: &[Attempt] = &[
    Attempt::new("keyring-join", "join a session keyring", FILTER, join).harmless(),
    Attempt::new("key-add", "put a key into the kernel", FILTER, add).harmless(),
    Attempt::new("key-request", "ask the kernel for a key", FILTER, request).harmless(),
    Attempt::new(
        "key-of-the-host",
        "read a key of the host's root",
        &[UserNamespace, Seccomp],
        read_host,
    ),
    Attempt::new("shm-of-the-host", "open shared memory of the host", IPC, shm).harmless(),
    Attempt::new("mqueue-of-the-host", "open a message queue of the host", IPC, mqueue).harmless(),
];

/// KEY_SPEC_PROCESS_KEYRING, KEY_SPEC_USER_KEYRING
const PROCESS: i64 = -2;
const USER: i64 = -4;
/// What the host's canary key is called.
const NAME: &str = "escape-canary";

fn join(_: &World) -> Outcome {
    let id = call(libc::SYS_keyctl, &mut [Arg::Int(1), Arg::Text("escape")])?;
    Ok(format!("keyring {id}"))
}

fn put(ring: i64, text: &str) -> Result<i64, Errno> {
    let length = i64::try_from(text.len()).unwrap_or(0);
    let args = &mut [
        Arg::Text("user"),
        Arg::Text(NAME),
        Arg::Text(text),
        Arg::Int(length),
        Arg::Int(ring),
    ];
    call(libc::SYS_add_key, args)
}

fn add(_: &World) -> Outcome {
    let id = put(PROCESS, "mine")?;
    Ok(format!("key {id}"))
}

fn request(_: &World) -> Outcome {
    put(PROCESS, "mine")?;
    let args = &mut [Arg::Text("user"), Arg::Text(NAME), Arg::Null, Arg::Int(PROCESS)];
    let id = call(libc::SYS_request_key, args)?;
    Ok(format!("key {id}"))
}

/// What the test has done on the host: a key of its root with the token, and the two other objects.
///
/// # Errors
/// What the kernel answers.
pub fn plant(world: &World) -> Outcome {
    let id = put(PROCESS, &world.told("TOKEN")?)?;
    // KEYCTL_SET_TIMEOUT: a kernel that is kept forgets it in ten minutes.
    call(libc::SYS_keyctl, &mut [Arg::Int(15), Arg::Int(id), Arg::Int(600)])?;
    // KEYCTL_SETPERM: its owner may read it without possessing it. KEYCTL_LINK.
    call(libc::SYS_keyctl, &mut [Arg::Int(5), Arg::Int(id), Arg::Int(0x3f3f_0000)])?;
    call(libc::SYS_keyctl, &mut [Arg::Int(8), Arg::Int(id), Arg::Int(USER)])?;
    // IPC_CREAT | 0666
    let create = &mut [Arg::Int(SHM_KEY), Arg::Int(4096), Arg::Int(0o1666)];
    call(libc::SYS_shmget, create)?;
    let flags = i64::from(libc::O_CREAT | libc::O_RDWR);
    call(libc::SYS_mq_open, &mut [Arg::Text(NAME), Arg::Int(flags), Arg::Int(0o666), Arg::Null])?;
    Ok("planted".into())
}

fn read_host(world: &World) -> Outcome {
    // KEYCTL_SEARCH is 10, KEYCTL_READ 11; the user keyring is root's own.
    let args = &mut [Arg::Int(10), Arg::Int(USER), Arg::Text("user"), Arg::Text(NAME), Arg::Int(0)];
    let id = call(libc::SYS_keyctl, args)?;
    let mut bytes = [0u8; 256];
    let args = &mut [Arg::Int(11), Arg::Int(id), Arg::Out(&mut bytes), Arg::Int(256)];
    call(libc::SYS_keyctl, args)?;
    world.has_token(&String::from_utf8_lossy(&bytes), "a key")
}

const SHM_KEY: i64 = 0x4553_4341;

fn shm(_: &World) -> Outcome {
    let id = call(libc::SYS_shmget, &mut [Arg::Int(SHM_KEY), Arg::Int(0), Arg::Int(0)])?;
    Ok(format!("segment {id}"))
}

fn mqueue(_: &World) -> Outcome {
    let args = &mut [Arg::Text(NAME), Arg::Int(i64::from(libc::O_RDWR)), Arg::Int(0), Arg::Null];
    let fd = call(libc::SYS_mq_open, args)?;
    if fd < 0 { refuse("none") } else { Ok("a queue of the host".into()) }
}
