//! The entry points `enter`, `stop` and `gc`: the working directory is the pod directory.

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rocket_sys::fds;
use rocket_sys::signal::{self, SignalFd};
use rocket_sys::{spawn, tty};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::process::Signal;
use serde::Deserialize;

use crate::control::{self, LIMIT, Request};
use crate::failure::{Context, Failure, ROCKET, Result};

/// How long init may take to say anything at all: a stopped or frozen one never does.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a client cares about in any packet from init.
#[derive(Debug, Deserialize)]
struct Answer {
    #[serde(default)]
    ok: bool,
    error: Option<String>,
    code: Option<i32>,
    exited: Option<Exited>,
}

#[derive(Debug, Deserialize)]
struct Exited {
    code: Option<i32>,
    signal: Option<i32>,
}

fn send(socket: &OwnedFd, request: &Request, passed: &[OwnedFd]) -> Result<()> {
    let json = serde_json::to_vec(request).context(|| "write a request".to_owned())?;
    let passed: Vec<_> = passed.iter().map(AsFd::as_fd).collect();
    fds::send_with_fds(socket.as_fd(), &json, &passed)
        .map(|_| ())
        .context(|| "send a request".to_owned())
}

fn receive(socket: &OwnedFd) -> Result<Answer> {
    let packet =
        fds::recv_with_fds(socket.as_fd(), LIMIT).context(|| "read the pod's answer".to_owned())?;
    if packet.bytes.is_empty() {
        return Err(Failure::rocket("the pod ended"));
    }
    let answer: Answer = serde_json::from_slice(&packet.bytes)
        .context(|| "understand the pod's answer".to_owned())?;
    match answer.error {
        Some(text) => Err(Failure::new(answer.code.unwrap_or(ROCKET), text)),
        None => Ok(answer),
    }
}

/// Waits for a packet until `end`, if there is one; a signal that ends programs ends the wait:
/// `Some` is its number.
fn wait(socket: &OwnedFd, signals: Option<&SignalFd>, end: Option<Instant>) -> Result<Option<i32>> {
    loop {
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        let socket = socket.as_fd();
        let mut polled = vec![PollFd::new(&socket, PollFlags::IN)];
        let watched = signals.map(AsFd::as_fd);
        polled.extend(watched.as_ref().map(|fd| PollFd::new(fd, PollFlags::IN)));
        match rustix::event::poll(&mut polled, timeout.as_ref()) {
            Ok(0) => return Err(Failure::rocket("the pod's init does not answer")),
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(e).context(|| "wait".to_owned()),
        }
        if polled.first().is_some_and(|first| !first.revents().is_empty()) {
            return Ok(None);
        }
        while let Some(Ok(Some(number))) = signals.map(SignalFd::next) {
            let ends = [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM];
            if ends.map(Signal::as_raw).contains(&number) {
                return Ok(Some(number));
            }
        }
    }
}

/// `stop [--force]`: asks, and returns when init has taken note.
pub fn stop(args: &[OsString]) -> Result<i32> {
    let request = match args {
        [] => Request::Stop,
        [force] if force == "--force" => Request::Kill,
        _ => return Err(Failure::rocket("usage: init stop [--force]")),
    };
    let socket = control::connect()?;
    send(&socket, &request, &[])?;
    wait(&socket, None, Instant::now().checked_add(PATIENCE))?;
    let answer = receive(&socket)?;
    if answer.ok { Ok(0) } else { Err(Failure::rocket("the pod did not take the request")) }
}

/// `gc`: takes away what this flavour leaves outside the pod directory when a pod has died. That
/// is nothing: mounts, processes and network end with init. It may be called at any time, also
/// after a reboot, and again.
pub fn gc() -> Result<i32> {
    Ok(0)
}

/// `enter APP [--] CMD [ARG…]`: runs a command on the caller's standard streams, which with a
/// terminal must already be the pod's side of a pair; forwards signals; ends with its status.
pub fn enter(args: &[OsString]) -> Result<i32> {
    let mut words = Vec::with_capacity(args.len());
    for arg in args {
        let word = arg.to_str().ok_or_else(|| Failure::rocket("arguments must be UTF-8"))?;
        words.push(word.to_owned());
    }
    let mut words = words.into_iter();
    let app = words.next();
    let argv: Vec<String> = words.skip_while(|w| w == "--").collect();
    if argv.is_empty() {
        return Err(Failure::rocket("usage: init enter APP [--] CMD [ARG…]"));
    }
    signal::block_all().context(|| "block signals".to_owned())?;
    let signals = SignalFd::all().context(|| "watch signals".to_owned())?;
    let streams: Vec<OwnedFd> = (0..3).filter_map(spawn::standard).collect();
    let terminal = streams.first().is_some_and(|fd| tty::is_tty(fd.as_fd()))
        && std::env::var_os("ROCKET_ENTER_TTY").is_some();
    let socket = control::connect()?;
    let term = std::env::var("TERM").ok().filter(|_| terminal);
    // First whether init answers at all: a command must not wait in its queue and run later, when
    // nobody expects it any more.
    send(&socket, &Request::Status, &[])?;
    if let Some(number) = wait(&socket, Some(&signals), Instant::now().checked_add(PATIENCE))? {
        return Ok(128 + number);
    }
    receive(&socket)?;
    send(&socket, &Request::Enter { app, argv, env: None, tty: terminal, term }, &streams)?;
    if let Some(number) = wait(&socket, Some(&signals), None)? {
        return Ok(128 + number);
    }
    receive(&socket)?;
    loop {
        let (a, b) = (signals.as_fd(), socket.as_fd());
        let mut polled = [PollFd::new(&a, PollFlags::IN), PollFd::new(&b, PollFlags::IN)];
        match rustix::event::poll(&mut polled, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(e).context(|| "wait".to_owned()),
        }
        let answered = !polled[1].revents().is_empty();
        while let Ok(Some(number)) = signals.next() {
            if number != Signal::CHILD.as_raw() {
                send(&socket, &Request::Signal { number }, &[])?;
            }
        }
        if answered && let Some(exited) = receive(&socket)?.exited {
            return Ok(match (exited.code, exited.signal) {
                (Some(code), _) => code,
                (None, Some(signal)) => 128 + signal,
                (None, None) => ROCKET,
            });
        }
    }
}
