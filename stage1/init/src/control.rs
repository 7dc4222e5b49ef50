//! The control protocol: one JSON object a packet on a `SOCK_SEQPACKET` unix socket.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rocket_sys::fds;
use rocket_sys::pidfd::Exit;
use rustix::net::SocketFlags;
use serde::{Deserialize, Serialize};

use crate::failure::{Context, Failure, Result};

/// Longest packet.
pub const LIMIT: usize = 128 * 1024;
/// Most connections at a time; more are closed at once.
const CONNECTIONS: usize = 32;

/// What a client asks.
#[derive(Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", tag = "op")]
pub enum Request {
    /// Stop in order.
    Stop,
    /// Kill everything now.
    Kill,
    /// How are you?
    Status,
    /// Run a command beside an app; three descriptors come with it.
    Enter {
        /// The app; may be left out when there is only one.
        app: Option<String>,
        /// Program and arguments.
        argv: Vec<String>,
        /// The whole environment; `None` = the app's.
        env: Option<Vec<String>>,
        /// Standard input is a terminal to take.
        #[serde(default)]
        tty: bool,
        /// What kind of terminal it is: `TERM`, unless the environment has one.
        #[serde(default)]
        term: Option<String>,
    },
    /// Send a signal to an app's main process.
    SignalApp {
        /// The app; every app when left out.
        #[serde(default)]
        app: Option<String>,
        /// The signal's number.
        number: i32,
    },
    /// Another run of an app.
    Restart {
        /// The app; may be left out when there is only one.
        #[serde(default)]
        app: Option<String>,
    },
    /// Have an app's terminal for as long as this connection lasts.
    Attach {
        /// The app; may be left out when there is only one.
        #[serde(default)]
        app: Option<String>,
    },
    /// Send a signal to the command entered on this connection.
    Signal {
        /// Its number.
        number: i32,
    },
}

/// How an app is doing.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct AppStatus<'a> {
    /// App name.
    pub name: &'a str,
    /// `waiting`, `running`, `stopping`, `backoff`, `ended` or `failed`.
    pub state: &'static str,
    /// Its PID in the pod's PID namespace, while it has one.
    pub pid: Option<i32>,
    /// How often it was started again.
    pub restarts: u32,
    /// Unix time of its last start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_ms: Option<u64>,
    /// How its last run ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit: Option<Ended>,
    /// The same in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<&'a str>,
    /// Processes the kernel has killed because memory ran out.
    pub oom_kills: u64,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// By itself.
    Code(i32),
    /// By a signal.
    Signal(i32),
}

impl From<Exit> for Ended {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Code(code) => Self::Code(code),
            Exit::Signal(signal) => Self::Signal(signal),
        }
    }
}

/// What init answers.
#[derive(Debug, Default, Serialize)]
pub struct Reply<'a> {
    /// Whether it was done.
    pub ok: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The exit code that goes with the error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// `starting`, `ready` or `stopping`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<&'static str>,
    /// The apps in start order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apps: Option<Vec<AppStatus<'a>>>,
    /// The entered command, in the pod's PID namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    /// Attached: how many bytes of the past follow, in a packet of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backlog: Option<usize>,
}

impl Reply<'_> {
    /// Done.
    pub fn ok() -> Self {
        Self { ok: true, ..Self::default() }
    }

    /// Not done.
    pub fn refuse(failure: Failure) -> Self {
        Self { error: Some(failure.text), code: Some(failure.code), ..Self::default() }
    }
}

/// One client.
#[derive(Debug)]
pub struct Connection {
    socket: OwnedFd,
    /// The command it has entered, while that runs.
    pub entered: Option<(i32, OwnedFd)>,
    /// The app whose terminal it has.
    pub attached: Option<usize>,
}

impl Connection {
    /// The next packet: `Ok(None)` when there is none yet, an error when the client is gone.
    pub fn receive(&self) -> Result<Option<(Request, Vec<OwnedFd>)>> {
        let packet = match fds::recv_with_fds(self.socket.as_fd(), LIMIT) {
            Ok(packet) => packet,
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => return Ok(None),
            Err(e) => return Err(Failure::rocket(e.to_string())),
        };
        if packet.bytes.is_empty() {
            return Err(Failure::rocket("closed"));
        }
        let request = if packet.truncated {
            Err("the request is too long".to_owned())
        } else {
            serde_json::from_slice(&packet.bytes).map_err(|e| e.to_string())
        };
        match request {
            Ok(request) => Ok(Some((request, packet.fds))),
            Err(text) => {
                self.reply(&Reply::refuse(Failure::rocket(format!("bad request: {text}"))));
                Ok(None)
            }
        }
    }

    /// Answers; a client that does not read loses its answer.
    pub fn reply(&self, reply: &Reply<'_>) {
        self.reply_with(reply, &[]);
    }

    /// Answers, with descriptors.
    pub fn reply_with(&self, reply: &Reply<'_>, passed: &[BorrowedFd<'_>]) {
        if let Ok(json) = serde_json::to_vec(reply) {
            let _ = fds::send_with_fds(self.socket.as_fd(), &json, passed);
        }
    }

    /// Sends a packet of plain bytes; an empty one would look like the end.
    pub fn send(&self, bytes: &[u8]) {
        if !bytes.is_empty() {
            let _ = fds::send_with_fds(self.socket.as_fd(), bytes, &[]);
        }
    }

    /// Tells how the entered command ended.
    pub fn exited(&mut self, exit: Exit) {
        self.entered = None;
        let json = match exit {
            Exit::Code(code) => format!("{{\"exited\":{{\"code\":{code}}}}}"),
            Exit::Signal(signal) => format!("{{\"exited\":{{\"signal\":{signal}}}}}"),
        };
        let _ = fds::send_with_fds(self.socket.as_fd(), json.as_bytes(), &[]);
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The listening socket and its clients.
#[derive(Debug)]
pub struct Control {
    listener: Option<OwnedFd>,
    /// Open connections.
    pub connections: Vec<Connection>,
}

impl Control {
    /// Takes the listening descriptor.
    pub fn new(listener: Option<OwnedFd>) -> Self {
        if let Some(listener) = &listener {
            // init must never wait in accept for a client that has gone again.
            let _ = rustix::io::ioctl_fionbio(listener, true);
        }
        Self { listener, connections: Vec::new() }
    }

    /// The listener, to poll.
    pub fn listener(&self) -> Option<BorrowedFd<'_>> {
        self.listener.as_ref().map(AsFd::as_fd)
    }

    /// Accepts who is waiting.
    pub fn accept(&mut self) {
        let Some(listener) = &self.listener else { return };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        while let Ok(socket) = rustix::net::accept_with(listener, flags) {
            if self.connections.len() < CONNECTIONS {
                self.connections.push(Connection { socket, entered: None, attached: None });
            }
        }
    }
}

/// Connects to the control socket of the pod directory that is the working directory.
pub fn connect() -> Result<OwnedFd> {
    let say = || "connect to the pod's control socket (is the pod running?)".to_owned();
    let socket = rustix::net::socket_with(
        rustix::net::AddressFamily::UNIX,
        rustix::net::SocketType::SEQPACKET,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )
    .context(say)?;
    let address = rustix::net::SocketAddrUnix::new("control").context(say)?;
    // Nobody waits in the queue of an init that accepts nobody.
    match rustix::net::connect(&socket, &address) {
        Err(rustix::io::Errno::AGAIN) => {
            return Err(Failure::rocket("the pod's init does not answer"));
        }
        connected => connected.context(say)?,
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_as_they_are_written() {
        let parse = |text: &str| serde_json::from_str::<Request>(text).ok();
        assert_eq!(parse(r#"{"op":"stop"}"#), Some(Request::Stop));
        assert_eq!(parse(r#"{"op":"restart"}"#), Some(Request::Restart { app: None }));
        assert_eq!(parse(r#"{"op":"signal","number":2}"#), Some(Request::Signal { number: 2 }));
        let enter = parse(r#"{"op":"enter","app":"a","argv":["sh"],"env":null}"#);
        assert!(matches!(enter, Some(Request::Enter { tty: false, env: None, .. })));
        let kill = Request::SignalApp { app: None, number: 9 };
        assert_eq!(parse(r#"{"op":"signal-app","number":9}"#), Some(kill));
        assert_eq!(parse(r#"{"op":"attach"}"#), Some(Request::Attach { app: None }));
        assert_eq!(parse(r#"{"op":"dance"}"#), None);
        assert_eq!(parse("[]"), None);
    }
}
