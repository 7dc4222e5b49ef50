//! sd_notify on a socket that stage0 connected.

use std::os::fd::OwnedFd;

use rustix::net::SendFlags;

/// The service manager, if there is one that listens.
#[derive(Debug, Default)]
pub struct Notify(Option<OwnedFd>);

impl Notify {
    /// Takes the descriptor.
    pub fn new(fd: Option<OwnedFd>) -> Self {
        Self(fd)
    }

    /// Sends a message; never waits and never fails the pod.
    pub fn send(&self, message: &str) {
        if let Some(fd) = &self.0 {
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            let _ = rustix::net::send(fd, message.as_bytes(), flags);
        }
    }
}
