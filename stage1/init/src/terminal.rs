//! The terminals of apps. init keeps the master's side of each; while nobody is attached it reads
//! what the app writes, so that the app is never held up, and remembers the end of it.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rocket_plan::PodPlan;
use rocket_sys::tty::Saved;
use rustix::io::Errno;

use crate::control::{Control, Reply};
use crate::descriptors::Descriptors;
use crate::failure::{Context, Failure, Result};

/// How much of an unattended terminal's output is kept.
const KEPT: usize = 64 * 1024;
/// What is read of one terminal before anything else has its turn.
const TURN: usize = 16;

/// The last bytes of a stream.
#[derive(Debug, Default)]
struct Ring(VecDeque<u8>);

impl Ring {
    fn push(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
        let over = self.0.len().saturating_sub(KEPT);
        self.0.drain(..over);
    }

    /// Everything kept, which is kept no longer.
    fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0).into()
    }
}

/// An app's terminal.
#[derive(Debug)]
struct Terminal {
    app: usize,
    master: OwnedFd,
    /// Its settings before any program had it.
    fresh: Saved,
    kept: Ring,
    /// It cannot be read any more.
    broken: bool,
}

/// The terminals of a pod.
#[derive(Debug, Default)]
pub struct Terminals {
    list: Vec<Terminal>,
    /// A foreground stage0 reads them itself.
    front: bool,
}

impl Terminals {
    /// Takes the masters that the plan names; `front`: somebody is attached from the start.
    pub fn take(plan: &PodPlan, descriptors: &mut Descriptors, front: bool) -> Result<Self> {
        let mut list = Vec::new();
        for (app, name) in plan.apps.iter().map(|a| &a.terminal).enumerate() {
            let Some(name) = name else { continue };
            let master = descriptors.take(name)?;
            // Shared with whoever is attached, who knows it too.
            rustix::io::ioctl_fionbio(&master, true)
                .map_err(|e| Failure::rocket(format!("set up a terminal: {e}")))?;
            let fresh = Saved::of(master.as_fd()).context(|| "look at a terminal".to_owned())?;
            list.push(Terminal { app, master, fresh, kept: Ring::default(), broken: false });
        }
        Ok(Self { list, front })
    }

    /// Makes the settings of an app's terminal those of a new one: a program that was killed may
    /// have left them such that the next one hears no Ctrl-C.
    pub fn refresh(&self, app: usize) {
        if let Some(terminal) = self.list.iter().find(|t| t.app == app) {
            // A terminal that is gone shows as soon as somebody uses it.
            let _ = terminal.fresh.put_back(terminal.master.as_fd());
        }
    }

    /// The foreground stage0 has gone or reads no more.
    pub fn front_is_gone(&mut self) {
        self.front = false;
    }

    /// Those that init has to read, to poll.
    pub fn unattended<'a>(&'a self, control: &'a Control) -> impl Iterator<Item = BorrowedFd<'a>> {
        self.list
            .iter()
            .filter(|t| !self.front && !t.broken && !is_attached(control, t.app))
            .map(|t| t.master.as_fd())
    }

    /// Reads what unattended apps have written.
    pub fn read(&mut self, control: &Control) {
        if self.front {
            return;
        }
        let mut bytes = [0; 4096];
        for terminal in self.list.iter_mut().filter(|t| !t.broken && !is_attached(control, t.app)) {
            for _ in 0..TURN {
                match rustix::io::read(&terminal.master, &mut bytes) {
                    Ok(n @ 1..) => terminal.kept.push(bytes.get(..n).unwrap_or_default()),
                    Err(Errno::INTR) => {}
                    Err(Errno::AGAIN) => break,
                    Ok(_) | Err(_) => {
                        terminal.broken = true;
                        break;
                    }
                }
            }
        }
    }

    /// Hands an app's terminal to the client of a connection, with what it has missed, until the
    /// connection ends.
    pub fn attach(&mut self, control: &mut Control, connection: usize, app: usize) -> Result<()> {
        if self.front || is_attached(control, app) {
            return Err(Failure::rocket("somebody is attached to it already"));
        }
        let Some(terminal) = self.list.iter_mut().find(|t| t.app == app) else {
            return Err(Failure::rocket("it was started without a terminal (rocket run --tty)"));
        };
        let Some(connection) = control.connections.get_mut(connection) else { return Ok(()) };
        let missed = terminal.kept.take();
        let reply = Reply { backlog: Some(missed.len()), ..Reply::ok() };
        connection.reply_with(&reply, &[terminal.master.as_fd()]);
        connection.send(&missed);
        connection.attached = Some(app);
        Ok(())
    }
}

fn is_attached(control: &Control, app: usize) -> bool {
    control.connections.iter().any(|c| c.attached == Some(app))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_keeps_the_end() {
        let mut ring = Ring::default();
        ring.push(&[b'a'; KEPT]);
        ring.push(b"the end");
        let kept = ring.take();
        assert_eq!(kept.len(), KEPT);
        assert!(kept.ends_with(b"athe end"));
        assert!(ring.take().is_empty());
    }
}
