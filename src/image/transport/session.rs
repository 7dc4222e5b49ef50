//! One run of a transport: requests in, answers and bytes out, and an end to everything that takes too
//! long or is too much.

use super::sandbox;
use super::settings::{Endpoint, Remote};
use super::wire::{About, Answer, End, Fault, Kind, PROTOCOL, Request, Setup};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::thread::ThreadId;
use std::time::{Duration, Instant};

/// Longest answer.
const MAX_LINE: usize = 64 << 10;
/// How often it is looked whether anybody still wants the answer.
const LOOK: Duration = Duration::from_millis(200);
/// A transfer slower than this is no transfer.
const LEAST_PER_SECOND: u64 = 1024;
/// A request takes several steps on the way: names, connecting, tokens, redirects.
const STEPS: u32 = 6;

/// Where a body goes.
pub(crate) trait Sink {
    /// What the server says of what comes.
    fn about(&mut self, _about: About) {}
    /// Bytes from this place on follow: the one that was asked for, or the start.
    fn begin(&mut self, offset: u64) -> Result<(), Fault>;
    /// Bytes.
    fn take(&mut self, bytes: &[u8]) -> Result<(), Fault>;
    /// Whether to stop.
    fn stopped(&self) -> bool {
        false
    }
}

/// A running transport that was told whom to speak to.
pub(crate) struct Session {
    child: rocket_sys::spawn::Child,
    requests: OwnedFd,
    answers: OwnedFd,
    body: OwnedFd,
    /// What was read of answers and is not a whole line yet.
    line: Vec<u8>,
    lines: VecDeque<Vec<u8>>,
    timeout: Duration,
    usable: bool,
    maker: ThreadId,
}

impl Drop for Session {
    fn drop(&mut self) {
        // SIGKILL: it holds nothing that would have to be put away.
        let _ = rocket_sys::pidfd::send_signal(self.child.pidfd.as_fd(), 9);
        let _ = rocket_sys::pidfd::wait(self.child.pidfd.as_fd());
    }
}

impl Session {
    /// Starts the transport of an endpoint's scheme.
    pub fn start(remote: &Remote, endpoint: &Endpoint) -> Result<Self, Fault> {
        let broken = |e: &dyn std::fmt::Display| {
            let scheme = &endpoint.scheme;
            Fault::new(Kind::Protocol, format!("cannot start the transport {scheme}: {e}"))
        };
        let program = remote.program(&endpoint.scheme);
        if !program.exists() {
            let text = format!("there is no transport {}", program.display());
            return Err(Fault {
                hint: Some("it comes with rocket's package".to_owned()),
                ..Fault::new(Kind::Protocol, text)
            });
        }
        let pipe = || rocket_sys::fds::pipe().map_err(|e| broken(&e));
        let ((their_requests, requests), (answers, their_answers), (body, their_body)) =
            (pipe()?, pipe()?, pipe()?);
        // A larger pipe saves switches; a small one works.
        let _ = rustix::pipe::fcntl_setpipe_size(&body, 1 << 20);
        for fd in [&requests, &answers, &body] {
            rustix::io::ioctl_fionbio(fd, true).map_err(|e| broken(&e))?;
        }
        let child = sandbox::spawn(&program, &their_requests, &their_answers, &their_body)
            .map_err(|e| broken(&e))?;
        let mut session = Self {
            child,
            requests,
            answers,
            body,
            line: Vec::new(),
            lines: VecDeque::new(),
            timeout: Duration::from_secs(remote.timeout),
            usable: true,
            maker: std::thread::current().id(),
        };
        let setup = Setup {
            protocol: PROTOCOL,
            scheme: &endpoint.scheme,
            url: &endpoint.url,
            http: endpoint.http,
            ca: &endpoint.ca,
            credentials: endpoint.credentials.as_ref(),
            token_hosts: &endpoint.token_hosts,
            proxy: &remote.proxy,
            timeout: remote.timeout,
            agent: concat!("rocket/", env!("CARGO_PKG_VERSION")),
        };
        drop((their_requests, their_answers, their_body));
        match session.exchange(&Request::Setup(setup), 0, None)? {
            Outcome::Ready => Ok(session),
            Outcome::End(_) => Err(broken(&"it does not know the protocol")),
        }
    }

    /// Whether it may be asked something else.
    pub fn usable(&self) -> bool {
        self.usable
    }

    /// The thread that started it: it is killed when that one ends.
    pub fn maker(&self) -> ThreadId {
        self.maker
    }

    /// Asks for bytes, `max` at most.
    pub fn ask(
        &mut self,
        request: &Request<'_>,
        max: u64,
        sink: &mut dyn Sink,
    ) -> Result<End, Fault> {
        match self.exchange(request, max, Some(sink)) {
            Ok(Outcome::End(end)) => Ok(end),
            Ok(Outcome::Ready) => Err(Fault::new(Kind::Protocol, "the transport is out of step")),
            Err(fault) => Err(fault),
        }
    }

    fn exchange(
        &mut self,
        request: &Request<'_>,
        max: u64,
        sink: Option<&mut dyn Sink>,
    ) -> Result<Outcome, Fault> {
        // Until it has answered well nobody knows what it will write next.
        self.usable = false;
        let outcome = self.send(request).and_then(|()| self.hear(max, sink));
        self.usable = outcome.is_ok();
        outcome
    }

    fn send(&mut self, request: &Request<'_>) -> Result<(), Fault> {
        let mut text = serde_json::to_vec(request)
            .map_err(|_| Fault::new(Kind::Protocol, "a request cannot be written"))?;
        text.push(b'\n');
        let (mut rest, end) = (text.as_slice(), Instant::now() + self.timeout);
        while !rest.is_empty() {
            match rustix::io::write(&self.requests, rest) {
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if Instant::now() < end => {
                    self.wait(PollFlags::OUT, false)?;
                }
                // What it said before it went is the better reason.
                Err(Errno::PIPE) => return Ok(()),
                Err(error) => return Err(gone(&error)),
            }
        }
        Ok(())
    }

    /// Waits a moment for something to read, or for room to write.
    fn wait(&self, requests: PollFlags, body: bool) -> Result<(), Fault> {
        let mut fds = vec![PollFd::new(&self.answers, PollFlags::IN)];
        if body {
            fds.push(PollFd::new(&self.body, PollFlags::IN));
        }
        if !requests.is_empty() {
            fds.push(PollFd::new(&self.requests, requests));
        }
        let time = rustix::time::Timespec::try_from(LOOK).ok();
        match poll(&mut fds, time.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(gone(&error)),
        }
    }

    fn hear(&mut self, max: u64, mut sink: Option<&mut dyn Sink>) -> Result<Outcome, Fault> {
        let mut pace = Pace::new(self.timeout);
        let (mut began, mut count) = (false, 0u64);
        let mut end: Option<End> = None;
        let mut buffer = vec![0; 256 << 10];
        loop {
            if sink.as_ref().is_some_and(|sink| sink.stopped()) {
                return Err(Fault::new(Kind::Stopped, "the fetch has ended"));
            }
            if let Some(end) = end.take_if(|end| end.bytes == count) {
                return Ok(Outcome::End(end));
            }
            pace.check(began)?;
            // What was heard and not looked at yet is not to be waited for.
            if self.lines.is_empty() {
                self.wait(PollFlags::empty(), began)?;
            }
            let wanted = end.as_ref().map(|end| end.bytes);
            if began && let Some(sink) = sink.as_mut() {
                let length = read(&self.body, &mut buffer)?;
                let piece = length.and_then(|length| buffer.get(..length)).unwrap_or_default();
                count += piece.len() as u64;
                if count > max.min(wanted.unwrap_or(u64::MAX)) {
                    let text =
                        format!("more than {max} bytes come, which is not what was asked for");
                    return Err(Fault::new(Kind::Refused, text));
                }
                pace.moved(piece.len() as u64);
                if !piece.is_empty() {
                    sink.take(piece)?;
                }
                if length == Some(0) && wanted.is_some_and(|wanted| count < wanted) {
                    return Err(gone(&"its bytes ended early"));
                }
            }
            let more = end.is_none() && self.read_lines()?;
            match self.lines.pop_front() {
                None if more || end.is_some() => {}
                None => return Err(gone(&"it ended without an answer")),
                Some(line) => match answer(&line)? {
                    Answer::Ready { protocol: PROTOCOL } if sink.is_none() => {
                        return Ok(Outcome::Ready);
                    }
                    Answer::Body { offset, about } if !began && sink.is_some() => {
                        began = true;
                        pace = Pace::new(self.timeout);
                        if let Some(sink) = sink.as_mut() {
                            sink.about(about);
                            sink.begin(offset)?;
                        }
                    }
                    Answer::Unchanged { max_age } if !began && sink.is_some() => {
                        let end = End { unchanged: true, max_age, ..End::default() };
                        return Ok(Outcome::End(end));
                    }
                    Answer::Later { after } if !began && sink.is_some() => {
                        let text = "the server is not ready yet";
                        return Err(Fault { after, ..Fault::new(Kind::Busy, text) });
                    }
                    Answer::End(told) if began && end.is_none() => end = Some(told),
                    Answer::Error { kind, message, hint, after } => {
                        return Err(Fault::told(kind, &message, hint, after));
                    }
                    _ => return Err(gone(&"it is out of step")),
                },
            }
        }
    }

    /// Reads what there is of answers; whether more can come.
    fn read_lines(&mut self) -> Result<bool, Fault> {
        let mut buffer = [0; 4096];
        loop {
            let Some(length) = read(&self.answers, &mut buffer)? else { return Ok(true) };
            if length == 0 {
                return Ok(!self.lines.is_empty());
            }
            for byte in buffer.iter().take(length) {
                match byte {
                    b'\n' => self.lines.push_back(std::mem::take(&mut self.line)),
                    byte if self.line.len() < MAX_LINE => self.line.push(*byte),
                    _ => return Err(gone(&"its answer is too long")),
                }
            }
            if self.lines.len() > 8 {
                return Ok(true);
            }
        }
    }
}

/// How a request ended well.
enum Outcome {
    Ready,
    End(End),
}

fn answer(line: &[u8]) -> Result<Answer, Fault> {
    serde_json::from_slice(line).map_err(|_| gone(&"its answer cannot be read"))
}

fn gone(why: &dyn std::fmt::Display) -> Fault {
    Fault::new(Kind::Protocol, format!("the transport failed: {why}"))
}

/// Reads without waiting: nothing there is `None`, the end is 0.
fn read(fd: &OwnedFd, buffer: &mut [u8]) -> Result<Option<usize>, Fault> {
    match rustix::io::read(fd, buffer) {
        Ok(length) => Ok(Some(length)),
        Err(Errno::AGAIN | Errno::INTR) => Ok(None),
        Err(error) => Err(gone(&error)),
    }
}

/// Whether bytes come at a pace at all.
struct Pace {
    timeout: Duration,
    since: Instant,
    bytes: u64,
}

impl Pace {
    fn new(timeout: Duration) -> Self {
        Self { timeout, since: Instant::now(), bytes: 0 }
    }

    fn moved(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    fn check(&mut self, began: bool) -> Result<(), Fault> {
        let limit = if began { self.timeout } else { self.timeout.saturating_mul(STEPS) };
        if self.since.elapsed() < limit {
            return Ok(());
        }
        let seconds = limit.as_secs();
        if !began {
            return Err(Fault::new(Kind::Timeout, format!("no answer within {seconds} s")));
        }
        if self.bytes < LEAST_PER_SECOND * seconds {
            let bytes = self.bytes;
            let text = format!("only {bytes} bytes came within {seconds} s");
            return Err(Fault::new(Kind::Timeout, text));
        }
        (self.since, self.bytes) = (Instant::now(), 0);
        Ok(())
    }
}
