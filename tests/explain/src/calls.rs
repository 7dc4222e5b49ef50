//! What a system call filter answers to any call, without any call being made.
//!
//! A thread puts a filter of its own over the one it has, which hands every call to a supervisor. A
//! refusal of the first filter outranks that; what it lets through ends at the supervisor, which answers
//! with a number that no kernel uses. So even the most dangerous call is only asked for.
#![allow(unsafe_code)]

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::{Duration, Instant};

/// The supervisor's answer: the filter under it has let the call through.
const LET_THROUGH: i32 = 1234;
const NEW_LISTENER: libc::c_ulong = 1 << 3;
/// `_IOWR('!', 0, struct seccomp_notif)` and `_IOWR('!', 1, struct seccomp_notif_resp)`.
const RECEIVE: libc::Ioctl = 0xc050_2100_u32 as libc::Ioctl;
const SEND: libc::Ioctl = 0xc018_2101_u32 as libc::Ioctl;
const DEADLINE: Duration = Duration::from_secs(60);

/// A call to ask for.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// Its number.
    pub number: i64,
    /// Its arguments.
    pub args: [u64; 6],
    /// By the i386 way.
    pub i386: bool,
}

#[repr(C)]
#[derive(Default)]
struct Notification {
    id: u64,
    pid: u32,
    flags: u32,
    data: [u64; 8],
}

#[repr(C)]
struct Reply {
    id: u64,
    value: i64,
    error: i32,
    flags: u32,
}

static LISTENER: AtomicI32 = AtomicI32::new(-1);
static FAILED: AtomicI32 = AtomicI32::new(0);
static DONE: AtomicBool = AtomicBool::new(false);
static ANSWERS: Mutex<Vec<i32>> = Mutex::new(Vec::new());

/// Asks for every call; 0 = it would be made, else the number it fails with. Can be used once, and only
/// `exit` may follow: the thread that asked can make no call any more, not even that of its end.
///
/// # Errors
/// The kernel has no such supervisors, or the filter refuses even this.
pub fn ask(list: Vec<Ask>) -> io::Result<Vec<i32>> {
    let count = list.len();
    std::thread::spawn(move || asker(&list));
    let begun = Instant::now();
    while LISTENER.load(Ordering::Acquire) < 0 {
        match FAILED.load(Ordering::Acquire) {
            0 if begun.elapsed() < DEADLINE => std::thread::yield_now(),
            0 => return Err(io::Error::other("no filter in time")),
            error => return Err(io::Error::from_raw_os_error(error)),
        }
    }
    supervise(LISTENER.load(Ordering::Acquire))?;
    let answers = ANSWERS.lock().map_err(|_| io::Error::other("poisoned"))?.clone();
    if answers.len() == count { Ok(answers) } else { Err(io::Error::other("answers are missing")) }
}

fn supervise(listener: i32) -> io::Result<()> {
    let begun = Instant::now();
    while !DONE.load(Ordering::Acquire) {
        if begun.elapsed() > DEADLINE {
            return Err(io::Error::other("no end"));
        }
        let mut ready = libc::pollfd { fd: listener, events: libc::POLLIN, revents: 0 };
        // SAFETY: one entry, which lives over the call.
        if unsafe { libc::poll(&raw mut ready, 1, 20) } <= 0 {
            continue;
        }
        let mut asked = Notification::default();
        // SAFETY: the kernel fills a struct of exactly this size and layout (seccomp_unotify(2)).
        if unsafe { libc::ioctl(listener, RECEIVE, &raw mut asked) } != 0 {
            continue;
        }
        let reply = Reply { id: asked.id, value: 0, error: -LET_THROUGH, flags: 0 };
        // SAFETY: the same, for the answer.
        if unsafe { libc::ioctl(listener, SEND, &raw const reply) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

fn asker(list: &[Ask]) {
    // Room beforehand: once the filter is there, no memory can be had.
    let mut answers = Vec::with_capacity(list.len());
    let code = [libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: 0x7fc0_0000 }];
    let filter = libc::sock_fprog { len: 1, filter: code.as_ptr().cast_mut() };
    let Ok(mut shared) = ANSWERS.lock() else { return };
    // SAFETY: no pointer; then a program of one instruction that the kernel copies in the call.
    let listener = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            NEW_LISTENER,
            &raw const filter,
        )
    };
    match i32::try_from(listener) {
        Ok(fd) if fd >= 0 => LISTENER.store(fd, Ordering::Release),
        _ => {
            let error = io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
            FAILED.store(error, Ordering::Release);
            return;
        }
    }
    answers.extend(list.iter().map(one));
    *shared = answers;
    // Nobody waits for the lock yet, so that giving it back is no call.
    drop(shared);
    DONE.store(true, Ordering::Release);
    loop {
        std::hint::spin_loop();
    }
}

fn one(ask: &Ask) -> i32 {
    let [a, b, c, d, e, f] = ask.args;
    let returned = if ask.i386 {
        i386(ask.number)
    } else {
        // SAFETY: whatever the number and the arguments, no call is made: one filter or the other answers.
        let returned = unsafe { libc::syscall(ask.number, a, b, c, d, e, f) };
        if returned == -1 {
            -i64::from(io::Error::last_os_error().raw_os_error().unwrap_or(0))
        } else {
            returned
        }
    };
    match i32::try_from(-returned) {
        Ok(LET_THROUGH) => 0,
        Ok(number) => number,
        Err(_) => i32::MAX,
    }
}

#[cfg(target_arch = "x86_64")]
fn i386(number: i64) -> i64 {
    let mut register = number & 0xffff_ffff;
    // SAFETY: as above; rbx, which the compiler keeps for itself, is put back.
    unsafe {
        std::arch::asm!(
            "push rbx",
            "xor ebx, ebx",
            "int 0x80",
            "pop rbx",
            inout("rax") register,
            in("rcx") 0_i64,
            in("rdx") 0_i64,
            in("rsi") 0_i64,
            in("rdi") 0_i64,
        );
    }
    i64::from(register as i32)
}

#[cfg(not(target_arch = "x86_64"))]
fn i386(_: i64) -> i64 {
    -i64::from(libc::ENOSYS)
}

/// The caller's securebits.
pub fn securebits() -> Option<i32> {
    // SAFETY: no pointer.
    let bits = unsafe { libc::prctl(libc::PR_GET_SECUREBITS, 0, 0, 0, 0) };
    (bits >= 0).then_some(bits)
}
