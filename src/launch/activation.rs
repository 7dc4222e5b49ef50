//! Sockets that systemd has opened for the pod (sd_listen_fds(3)), and which app gets which.

use super::LaunchError;
use super::descriptors::Descriptors;
use rocket_plan::{PodPlan, Socket};
use rocket_sys::fds;
use rustix::fs::FileType;
use std::env;
use std::os::fd::{IntoRawFd, OwnedFd, RawFd};

/// The first descriptor that systemd hands over.
const FIRST: RawFd = 3;

/// What was handed over: names and descriptors, in their order.
#[derive(Debug, Default)]
pub(super) struct Received(Vec<(String, OwnedFd)>);

impl Received {
    /// Takes what this process was handed over, close-on-exec from now on. To be called before
    /// anything is opened that could be mistaken for it.
    pub(super) fn take() -> Self {
        let text = |name| env::var(name).unwrap_or_default();
        let names = names(
            &text("LISTEN_PID"),
            &text("LISTEN_FDS"),
            &text("LISTEN_FDNAMES"),
            std::process::id(),
        );
        let list = names.into_iter().zip(FIRST..);
        Self(list.filter_map(|(name, number)| Some((name, socket(number)?))).collect())
    }

    /// Names the descriptors of each app's sockets, which the plan knows by port only.
    ///
    /// # Errors
    /// A port without a socket: the pod was not started by the unit whose sockets these are.
    pub(super) fn assign(
        mut self,
        plan: &mut PodPlan,
        descriptors: &mut Descriptors,
    ) -> Result<(), LaunchError> {
        for app in &mut plan.apps {
            for port in std::mem::take(&mut app.sockets) {
                let (mine, others) = self.0.into_iter().partition(|(name, _)| *name == port.name);
                self.0 = others;
                let mine: Vec<(String, OwnedFd)> = mine;
                if mine.is_empty() {
                    return Err(LaunchError::NoSocket {
                        port: port.name,
                        pod: plan.name.clone().unwrap_or_else(|| "NAME".to_owned()),
                    });
                }
                for (index, (name, fd)) in mine.into_iter().enumerate() {
                    let descriptor = format!("socket:{name}:{index}");
                    descriptors.add(descriptor.clone(), fd);
                    app.sockets.push(Socket { name, descriptor });
                }
            }
        }
        Ok(())
    }
}

/// The socket `number`. What is no socket was not handed over, whatever the variables say: it is
/// somebody else's in this process, and stays as it is.
fn socket(number: RawFd) -> Option<OwnedFd> {
    let fd = fds::inherit(number).ok()?;
    let stat = rustix::fs::fstat(&fd).ok()?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Socket {
        return Some(fd);
    }
    let _ = fd.into_raw_fd();
    None
}

/// The names of the descriptors from 3 on; none unless they are for process `me`.
fn names(pid: &str, count: &str, names: &str, me: u32) -> Vec<String> {
    if pid.parse() != Ok(me) {
        return Vec::new();
    }
    // More than a process can have is no number of descriptors.
    let count = count.parse().ok().filter(|count| *count < 65_536).unwrap_or(0);
    let mut names: Vec<String> = names.split(':').map(str::to_owned).collect();
    names.resize(count, "unknown".to_owned());
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_for_one_process_and_as_many_as_there_are_descriptors() {
        let of = |pid: &str, count: &str, text: &str| names(pid, count, text, 42);
        assert_eq!(of("42", "2", "http:admin"), ["http", "admin"]);
        assert_eq!(of("42", "3", "http"), ["http", "unknown", "unknown"]);
        assert_eq!(of("42", "1", "http:admin"), ["http"]);
        for (pid, count) in [("41", "2"), ("", "2"), ("42", ""), ("42", "-1"), ("42", "99999999")] {
            assert!(of(pid, count, "http").is_empty(), "{pid} {count}");
        }
    }
}
