//! Attaching to the terminal of an app that runs.

use super::keys::DetachKeys;
use super::terminal::{Bridge, SIGWINCH, Turn, WATCHED};
use super::{LaunchError, failed, io_error};
use crate::pod::control::{Client, ControlError};
use rocket_sys::signal::SignalFd;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use serde_json::json;
use std::io;

/// How an attachment ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attached {
    /// The pod has ended.
    Ended,
    /// The pod goes on: the detach keys, or a signal to this process.
    Detached,
}

/// Carries bytes between the caller's terminal and the app's until one of them ends.
///
/// # Errors
/// init refuses, or the terminal cannot be used.
pub fn attach(
    client: &Client,
    app: Option<&str>,
    interactive: bool,
    keys: DetachKeys,
) -> Result<Attached, LaunchError> {
    let mut answer = client.ask(&json!({"op": "attach", "app": app}))?;
    let master = answer.fds.pop().ok_or_else(|| {
        io_error("attach")(io::Error::other("init's answer came without a terminal"))
    })?;
    let signals = SignalFd::of(&WATCHED).map_err(failed("watch signals"))?;
    let mut bridge = Bridge::new(master, interactive, keys)?;
    bridge.begin()?;
    if answer.value["backlog"].as_u64().is_some_and(|count| count > 0) {
        bridge.show_past(&client.packet()?.bytes);
    }
    bridge.resize();
    loop {
        let mut fds =
            vec![PollFd::new(client, PollFlags::IN), PollFd::new(&signals, PollFlags::IN)];
        fds.extend(bridge.interest());
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(io_error("wait for the terminal")(error.into())),
        }
        let said = fds.first().is_some_and(|fd| !fd.revents().is_empty());
        drop(fds);
        while let Some(signal) = signals.next().map_err(failed("read a signal"))? {
            if signal == SIGWINCH {
                bridge.resize();
            } else {
                return Ok(Attached::Detached);
            }
        }
        if bridge.turn() == Turn::Detach {
            return Ok(Attached::Detached);
        }
        if said && matches!(client.packet(), Err(ControlError::Ended)) {
            bridge.drain();
            return Ok(Attached::Ended);
        }
    }
}
