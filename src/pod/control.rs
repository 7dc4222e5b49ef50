//! init's control socket, as seen by whoever asks (docs/stage1-abi.md). Nobody waits for an init
//! that does not answer.

use super::directory::CONTROL;
use rocket_sys::fds;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use serde::Deserialize;
use serde_json::{Value, json};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use thiserror::Error;

/// How long an answer may take.
pub const PATIENCE: Duration = Duration::from_secs(2);
/// How long `status` and `list` wait for what they can do without.
pub const SHORT: Duration = Duration::from_secs(1);
/// Longest packet of the protocol.
const LIMIT: usize = 128 * 1024;

/// Why init did not do what it was asked.
#[derive(Debug, Error)]
pub enum ControlError {
    /// The socket.
    #[error("cannot ask init on {path}")]
    Io {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Nothing came.
    #[error("init does not answer on {0}")]
    Silent(PathBuf),
    /// It ended.
    #[error("the pod has just ended")]
    Ended,
    /// What came is not an answer.
    #[error("init's answer on {path} is not in the form of the protocol")]
    Form {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// init says why not.
    #[error("{0}")]
    Refused(String),
}

/// A connection to init.
#[derive(Debug)]
pub struct Client {
    socket: OwnedFd,
    path: PathBuf,
    patience: Duration,
}

/// init's answer to a request that it granted.
#[derive(Debug)]
pub struct Answer {
    /// All of it.
    pub value: Value,
    /// Descriptors that came with it.
    pub fds: Vec<OwnedFd>,
}

impl Client {
    /// Connects to the init of a pod directory.
    ///
    /// # Errors
    /// There is none, or it is too busy.
    pub fn connect(pod: &Path, patience: Duration) -> Result<Self, ControlError> {
        let path = pod.join(CONTROL);
        match connect(pod) {
            Ok(socket) => Ok(Self { socket, path, patience }),
            Err(source) if source.kind() == io::ErrorKind::ConnectionRefused => {
                Err(ControlError::Ended)
            }
            // The queue of those who wait to be accepted is full.
            Err(source) if source.kind() == io::ErrorKind::WouldBlock => {
                Err(ControlError::Silent(path))
            }
            Err(source) => Err(ControlError::Io { path, source }),
        }
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// [`ControlError`].
    pub fn ask(&self, request: &Value) -> Result<Answer, ControlError> {
        self.send(request)?;
        self.answer()
    }

    fn send(&self, request: &Value) -> Result<(), ControlError> {
        let bytes = request.to_string().into_bytes();
        self.ready(PollFlags::OUT)?;
        fds::send_with_fds(self.socket.as_fd(), &bytes, &[]).map(drop).map_err(|e| self.failed(e))
    }

    fn answer(&self) -> Result<Answer, ControlError> {
        let packet = self.packet()?;
        let value: Value = serde_json::from_slice(&packet.bytes)
            .map_err(|source| ControlError::Form { path: self.path.clone(), source })?;
        if value["ok"] == json!(true) {
            return Ok(Answer { value, fds: packet.fds });
        }
        let text = value["error"].as_str().unwrap_or("it did not say why");
        Err(ControlError::Refused(text.to_owned()))
    }

    /// The next packet as it comes.
    ///
    /// # Errors
    /// [`ControlError::Ended`] at the end.
    pub fn packet(&self) -> Result<fds::Packet, ControlError> {
        self.ready(PollFlags::IN)?;
        let packet = fds::recv_with_fds(self.socket.as_fd(), LIMIT).map_err(|e| self.failed(e))?;
        if packet.bytes.is_empty() { Err(ControlError::Ended) } else { Ok(packet) }
    }

    fn ready(&self, what: PollFlags) -> Result<(), ControlError> {
        let timeout = Timespec::try_from(self.patience).ok();
        loop {
            let mut fds = [PollFd::new(&self.socket, what)];
            match poll(&mut fds, timeout.as_ref()) {
                Ok(0) => return Err(ControlError::Silent(self.path.clone())),
                Ok(_) => return Ok(()),
                Err(rustix::io::Errno::INTR) => {}
                Err(source) => {
                    return Err(ControlError::Io {
                        path: self.path.clone(),
                        source: source.into(),
                    });
                }
            }
        }
    }

    fn failed(&self, error: rocket_sys::Error) -> ControlError {
        match error.kind() {
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => ControlError::Ended,
            io::ErrorKind::WouldBlock => ControlError::Silent(self.path.clone()),
            _ => ControlError::Io { path: self.path.clone(), source: io::Error::other(error) },
        }
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Through the directory's descriptor, so that the length of the path does not matter (unix(7):
/// 108 bytes), and without waiting for an init that accepts nobody.
fn connect(pod: &Path) -> io::Result<OwnedFd> {
    let dir =
        rustix::fs::open(pod, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    let address = SocketAddrUnix::new(format!("/proc/self/fd/{}/{CONTROL}", dir.as_raw_fd()))?;
    rustix::net::connect(&socket, &address)?;
    Ok(socket)
}

/// What init says of its apps; what it does not say is absent.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct PodStatus {
    /// `starting`, `ready` or `stopping`.
    pub state: Option<String>,
    /// In start order.
    pub apps: Vec<AppStatus>,
}

/// One app, as init sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct AppStatus {
    /// App name.
    pub name: String,
    /// `waiting`, `running`, `stopping`, `backoff`, `ended`, `failed`.
    pub state: String,
    /// PID in the pod's PID namespace.
    pub pid: Option<i32>,
    /// How often it was started again.
    pub restarts: Option<u32>,
    /// Unix time in milliseconds of its last start.
    pub started_ms: Option<u64>,
    /// How its last run ended, in words.
    pub why: Option<String>,
    /// How often the kernel killed something of it for want of memory.
    pub oom_kills: Option<u64>,
}

/// So many are asked at a time: each needs a descriptor.
const AT_A_TIME: usize = 64;

/// How the inits of pod directories say their apps fare; `None` where one does not say so soon. They
/// are asked together, so that those that do not answer cost the time of one.
pub fn statuses(pods: &[PathBuf]) -> Vec<Option<PodStatus>> {
    let request = json!({"op": "status"});
    let mut statuses = Vec::with_capacity(pods.len());
    for pods in pods.chunks(AT_A_TIME) {
        let asked = |pod: &PathBuf| {
            let client = Client::connect(pod, SHORT).ok()?;
            client.send(&request).ok().map(|()| client)
        };
        let clients: Vec<_> = pods.iter().map(asked).collect();
        let began = Instant::now();
        for client in clients {
            let status = client.and_then(|mut client| {
                client.patience = SHORT.saturating_sub(began.elapsed());
                serde_json::from_value(client.answer().ok()?.value).ok()
            });
            statuses.push(status);
        }
    }
    statuses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_may_say_more_or_less_than_is_known_here() {
        let value = json!({"ok": true, "state": "ready", "new": 1, "apps": [
            {"name": "a", "state": "running", "pid": 2, "started-ms": 7, "exit": {"code": 1}},
        ]});
        let status: PodStatus = serde_json::from_value(value).unwrap();
        assert_eq!(status.apps[0].started_ms, Some(7));
        assert_eq!(status.apps[0].restarts, None);
    }

    #[test]
    fn many_that_do_not_answer_cost_the_time_of_one() {
        let flags = SocketFlags::CLOEXEC;
        let mut silent = Vec::new();
        for _ in 0..20 {
            let dir = tempfile::tempdir().unwrap();
            let listener =
                rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
                    .unwrap();
            let address = SocketAddrUnix::new(dir.path().join(CONTROL)).unwrap();
            rustix::net::bind(&listener, &address).unwrap();
            rustix::net::listen(&listener, 1).unwrap();
            silent.push((dir, listener));
        }
        let pods: Vec<_> = silent.iter().map(|(dir, _)| dir.path().to_owned()).collect();
        let began = Instant::now();
        assert!(statuses(&pods).iter().all(Option::is_none));
        assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    }

    #[test]
    fn an_init_that_does_not_answer_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let listener = rustix::net::socket_with(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        let address = SocketAddrUnix::new(dir.path().join(CONTROL)).unwrap();
        rustix::net::bind(&listener, &address).unwrap();
        rustix::net::listen(&listener, 1).unwrap();
        let patience = Duration::from_millis(20);
        let mut clients = Vec::new();
        // The first ones are kept waiting for an answer, the others for being accepted.
        for _ in 0..4 {
            match Client::connect(dir.path(), patience) {
                Ok(client) => {
                    let asked = client.ask(&json!({"op": "status"}));
                    assert!(matches!(asked, Err(ControlError::Silent(_))), "{asked:?}");
                    clients.push(client);
                }
                Err(error) => assert!(matches!(error, ControlError::Silent(_)), "{error:?}"),
            }
        }
        assert!(!clients.is_empty() && clients.len() < 4);
        drop(listener);
        assert!(matches!(Client::connect(dir.path(), patience), Err(ControlError::Ended)));
    }
}
