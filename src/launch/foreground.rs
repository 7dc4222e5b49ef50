//! stage0 as the parent of a foreground pod: hands it a scope, forwards signals, waits.
//!
//! Killing this process closes the tether, and init stops the pod in order.

use super::terminal::{Bridge, SIGWINCH, Turn, WATCHED};
use super::{
    Ahead, LaunchError, Outcome, Ready, describe, failed, io_error, record_cgroup, unit_name,
};
use crate::pod::directory::{Pod, Running};
use crate::pod::meta::Meta;
use crate::systemd::{bus, detect, properties};
use rocket_plan::Cgroup;
use rocket_sys::pidfd::{self, Exit};
use rocket_sys::signal::SignalFd;
use rocket_sys::spawn::Child;
use rustix::event::{PollFd, PollFlags, poll};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// A second Ctrl-C within this time kills.
const IMPATIENCE: Duration = Duration::from_secs(2);
/// SIGHUP, SIGINT, SIGQUIT, SIGTERM.
const FORWARDED: [i32; 4] = [1, 2, 3, 15];
/// Exit status of a start that a signal called off: that of SIGINT, the usual one.
const CALLED_OFF: i32 = 130;
/// How long a failed start waits for stage1's own words about it.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// More than this without a newline is not stage1.
const ENTRY_LINE_LIMIT: usize = 64 * 1024;

/// Runs the pod until it ends, or until the caller leaves it.
///
/// `ahead` is what makes the move into a scope a short one, and is over when that is.
pub(super) fn run(
    ready: Ready,
    cgroup: Cgroup,
    ahead: Ahead,
    tell: Option<fn(&str)>,
) -> Result<Outcome, LaunchError> {
    let Ready { pod, flavour, descriptors, meta, tether, mut bridge } = ready;
    let mut tether =
        tether.ok_or_else(|| io_error("find the tether")(io::Error::other("there is none")))?;
    // From here on the signals that a terminal or a supervisor sends are read, not suffered.
    let watched: &[i32] = if bridge.is_some() { &WATCHED } else { &FORWARDED };
    let signals = SignalFd::of(watched).map_err(failed("watch signals"))?;
    let (entry, program) = flavour.spawn(pod.path(), &descriptors.numbered())?;
    // What stage1 was given is no longer ours: the mounts are the pod's, and the tether ends with
    // init.
    drop(descriptors);
    let mut lines = Lines::default();
    let begun = Begun { entry: &entry, program };
    let init = match hand_over(&pod, &meta, cgroup, &signals, &mut tether, &mut lines, begun) {
        Ok(init) => init,
        Err(error) => {
            // What stage1 says of its own failure is the cause; what broke here is its effect.
            let error = lines.failure(&mut tether).unwrap_or(error);
            // A word, and not only the end: no scope will be asked for any more.
            let _ = tether.write_all(b"s");
            // The terminal's keeper is a child too.
            drop((tether, bridge));
            let _ = pidfd::wait(entry.pidfd.as_fd());
            drop(ahead);
            reap_children();
            return Err(error);
        }
    };
    drop(ahead);
    match supervise(&signals, &mut tether, &mut lines, &init, bridge.as_mut(), tell)? {
        Some(code) => Ok(Outcome::Ended(code, pod)),
        None => Ok(Outcome::Detached(pod.uuid())),
    }
}

/// stage1's entry process, and the mount it was executed from.
struct Begun<'a> {
    entry: &'a Child,
    program: Option<OwnedFd>,
}

/// Learns init's PID, gives it its cgroup, and lets it go on.
fn hand_over(
    pod: &Pod<Running>,
    meta: &Meta,
    cgroup: Cgroup,
    signals: &SignalFd,
    tether: &mut UnixStream,
    lines: &mut Lines,
    Begun { entry, program }: Begun<'_>,
) -> Result<OwnedFd, LaunchError> {
    if cgroup != Cgroup::Scope {
        let (_, init) = started(tether, lines, entry)?;
        record_cgroup(pod.path(), None, None)?;
        return Ok(init);
    }
    let unit = properties::Unit {
        description: &describe(meta),
        slice: meta.slice.as_deref().unwrap_or(properties::SLICE),
        stop_usec: meta.stop_timeout_ms.saturating_mul(1000),
        limits: &meta.limits,
    };
    let scope = unit_name(meta.uuid, "scope");
    let mut init = None;
    // Nothing else looks at signals while systemd is waited for.
    let watch = Watch::begin(signals, program)?;
    // The bus is connected to while stage1's entry process does its work.
    bus::start_transient_with(&scope, || {
        let (pid, pidfd) = started(tether, lines, entry)?;
        init = Some((pid, pidfd));
        Ok::<_, LaunchError>(properties::scope(&unit, pid)?)
    })?;
    drop(watch);
    let (pid, init) =
        init.ok_or_else(|| io_error("start stage1")(io::Error::other("it has no init")))?;
    let path = detect::cgroup_of(Some(pid)).map_err(io_error("find the cgroup of the scope"))?;
    // An init that has died meanwhile is where it was before: in a cgroup of the caller's.
    if detect::unit_of(&path) != Some(scope.as_str()) {
        let why = io::Error::other("stage1's init is not in it");
        return Err(io_error(format!("use {scope}"))(why));
    }
    record_cgroup(pod.path(), Some(&path), None)?;
    tether.write_all(b"g").map_err(io_error("release stage1's init"))?;
    Ok(init)
}

/// A look at signals from beside a call that cannot be interrupted: the first one ends this process,
/// and the end of the tether ends the pod, which has not begun.
struct Watch {
    stop: OwnedFd,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Watch {
    /// Begins to look, and closes `done` beside that. Everything that is to be forked has been by now.
    fn begin(signals: &SignalFd, done: Option<OwnedFd>) -> Result<Self, LaunchError> {
        let failed = || io_error("watch signals");
        let signals = signals.as_fd().try_clone_to_owned().map_err(failed())?;
        let (ended, stop) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .map_err(|e| failed()(e.into()))?;
        let thread = std::thread::Builder::new()
            .spawn(move || {
                drop(done);
                let mut fds =
                    [PollFd::new(&signals, PollFlags::IN), PollFd::new(&ended, PollFlags::IN)];
                while poll(&mut fds, None).is_err() {}
                // A signal that is not read here is pending still, and is the caller's to read.
                if !fds[0].revents().is_empty() && fds[1].revents().is_empty() {
                    let text = b"rocket: called off while systemd was asked for a scope\n";
                    let _ = io::stderr().write_all(text);
                    std::process::exit(CALLED_OFF);
                }
            })
            .map_err(failed())?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // A byte ends the wait as surely as the closing would, and the thread is gone after this.
        let _ = rustix::io::write(&self.stop, b".");
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Waits until the entry process has cloned init and ended.
fn started(
    tether: &mut UnixStream,
    lines: &mut Lines,
    entry: &Child,
) -> Result<(u32, OwnedFd), LaunchError> {
    let pid = match lines.first(tether)? {
        Line::Pid(pid) => pid,
        Line::Error { code, text } => return Err(LaunchError::Stage1 { code, text }),
        Line::Ready | Line::Note(_) | Line::End => {
            let text = "stage1 ended before it had started the pod".to_owned();
            return Err(LaunchError::Stage1 { code: 125, text });
        }
    };
    // Not reaped before this process waits for it, so the PID is still its own.
    let init = pidfd::open(pid).map_err(failed("open stage1's init"))?;
    pidfd::wait(entry.pidfd.as_fd()).map_err(failed("wait for stage1"))?;
    Ok((u32::try_from(pid).unwrap_or(0), init))
}

/// After a failed start: whatever stage1 has started as a child of this process is waited for.
fn reap_children() {
    use rustix::process::{WaitOptions, wait};
    while let Ok(Some(_)) = wait(WaitOptions::empty()) {}
}

/// The pod's exit status, or `None` when the caller has detached from it.
fn supervise(
    signals: &SignalFd,
    tether: &mut UnixStream,
    lines: &mut Lines,
    init: &OwnedFd,
    mut bridge: Option<&mut Bridge>,
    tell: Option<fn(&str)>,
) -> Result<Option<u8>, LaunchError> {
    tether.set_nonblocking(true).map_err(io_error("set up the tether"))?;
    if let Some(bridge) = &mut bridge {
        bridge.begin()?;
    }
    let mut last_interrupt: Option<Instant> = None;
    let mut said = None;
    let mut open = true;
    loop {
        let mut fds = vec![PollFd::new(init, PollFlags::IN), PollFd::new(signals, PollFlags::IN)];
        if open {
            fds.push(PollFd::new(&*tether, PollFlags::IN));
        }
        if let Some(bridge) = &bridge {
            fds.extend(bridge.interest());
        }
        match poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(io_error("wait for the pod")(error.into())),
        }
        let ended = !fds[0].revents().is_empty();
        drop(fds);
        if bridge.as_mut().is_some_and(|bridge| bridge.turn() == Turn::Detach) {
            tether.write_all(b"d").map_err(io_error("detach from the pod"))?;
            return Ok(None);
        }
        while let Some(signal) = signals.next().map_err(failed("read a signal"))? {
            if signal == SIGWINCH {
                if let Some(bridge) = &bridge {
                    bridge.resize();
                }
                continue;
            }
            let now = Instant::now();
            let byte = match signal {
                2 if last_interrupt.is_some_and(|at| now - at < IMPATIENCE) => b"k",
                _ => b"s",
            };
            if signal == 2 {
                last_interrupt = Some(now);
            }
            // If init has gone, its end is what counts.
            let _ = tether.write_all(byte);
        }
        if open {
            open = lines.read(tether)?;
            while let Some(line) = lines.next() {
                match (line, tell) {
                    (Line::Error { code, text }, _) => {
                        said = Some(LaunchError::Stage1 { code, text });
                    }
                    (Line::Note(text), Some(tell)) => tell(&text),
                    _ => {}
                }
            }
        }
        if ended {
            if let Some(bridge) = &mut bridge {
                bridge.drain();
            }
            let exit = pidfd::wait(init.as_fd()).map_err(failed("wait for stage1's init"))?;
            return match said {
                Some(error) => Err(error),
                None => Ok(Some(status(exit))),
            };
        }
    }
}

fn status(exit: Exit) -> u8 {
    u8::try_from(exit.status()).unwrap_or(u8::MAX)
}

/// What stage1 says on the tether.
#[derive(Debug, PartialEq, Eq)]
enum Line {
    /// init's PID as this process sees it.
    Pid(i32),
    /// Every app has been executed.
    Ready,
    /// It failed, and ends with this code.
    Error { code: u8, text: String },
    /// Something for people about an app.
    Note(String),
    /// The other end is closed.
    End,
}

/// Bytes of the tether, cut into lines.
#[derive(Debug, Default)]
struct Lines {
    buffer: Vec<u8>,
}

impl Lines {
    /// Waits for the first line.
    fn first(&mut self, tether: &mut UnixStream) -> Result<Line, LaunchError> {
        loop {
            if let Some(line) = self.next() {
                return Ok(line);
            }
            if !self.read(tether)? {
                return Ok(Line::End);
            }
        }
    }

    /// The failure that stage1 has told, or tells within a moment.
    fn failure(&mut self, tether: &mut UnixStream) -> Option<LaunchError> {
        tether.set_read_timeout(Some(LAST_WORDS)).ok()?;
        loop {
            while let Some(line) = self.next() {
                if let Line::Error { code, text } = line {
                    return Some(LaunchError::Stage1 { code, text });
                }
            }
            let before = self.buffer.len();
            if !self.read(tether).ok()? || self.buffer.len() == before {
                return None;
            }
        }
    }

    /// Reads what is there; `false` at the end.
    fn read(&mut self, tether: &mut UnixStream) -> Result<bool, LaunchError> {
        let mut chunk = [0; 1024];
        match tether.read(&mut chunk) {
            Ok(0) => Ok(false),
            Ok(n) if self.buffer.len() + n > ENTRY_LINE_LIMIT => Ok(false),
            Ok(n) => {
                self.buffer.extend_from_slice(&chunk[..n]);
                Ok(true)
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(true),
                io::ErrorKind::ConnectionReset => Ok(false),
                _ => Err(io_error("read from stage1")(error)),
            },
        }
    }

    /// The next whole line.
    fn next(&mut self) -> Option<Line> {
        loop {
            let end = self.buffer.iter().position(|b| *b == b'\n')?;
            let line: Vec<u8> = self.buffer.drain(..=end).collect();
            if let Some(line) = parse(String::from_utf8_lossy(&line[..end]).as_ref()) {
                return Some(line);
            }
        }
    }
}

/// An unknown line is from a newer stage1 and skipped.
fn parse(line: &str) -> Option<Line> {
    if line == "READY" {
        return Some(Line::Ready);
    }
    if let Some(pid) = line.strip_prefix("PID ") {
        return pid.parse().ok().map(Line::Pid);
    }
    if let Some(text) = line.strip_prefix("NOTE ") {
        return Some(Line::Note(text.to_owned()));
    }
    let (code, text) = line.strip_prefix("ERR ")?.split_once(' ')?;
    Some(Line::Error { code: code.parse().unwrap_or(125), text: text.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_wherever_the_reads_fall() {
        let mut lines = Lines::default();
        lines.buffer.extend_from_slice(b"PID 42\nsomething new\nREA");
        assert_eq!(lines.next(), Some(Line::Pid(42)));
        assert_eq!(lines.next(), None);
        lines.buffer.extend_from_slice(b"DY\nERR 127 no /bin/x: gone\n");
        assert_eq!(lines.next(), Some(Line::Ready));
        let text = "no /bin/x: gone".to_owned();
        assert_eq!(lines.next(), Some(Line::Error { code: 127, text }));
        assert_eq!(lines.next(), None);
    }
}
