//! How a fetch tells of itself: a line that changes on a terminal, a line for each piece of work
//! elsewhere, or events for programs.

use crate::cli::fetch::Format;
use crate::cli::output;
use crate::image::fetch::{Reporter, Transfer};
use crate::image::reference::Reference;
use crate::image::store::Stored;
use serde_json::json;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// How often a line is drawn anew.
const FRAME: Duration = Duration::from_millis(100);
/// How often programs are told of a transfer.
const EVENT: Duration = Duration::from_millis(500);

/// Who listens to a fetch.
#[derive(Debug)]
pub struct Progress {
    quiet: bool,
    json: bool,
    terminal: bool,
    drawn: Option<Instant>,
    work: String,
    /// What comes, since when, and what was there then.
    transfer: Option<(String, Instant, u64)>,
    /// Layers that are here.
    complete: Vec<usize>,
}

impl Progress {
    /// Tells in this way.
    pub fn new(quiet: bool, format: Format) -> Self {
        let json = format == Format::Json;
        let terminal = !json && !quiet && std::io::stderr().is_terminal();
        let (work, complete) = (String::new(), Vec::new());
        Self { quiet, json, terminal, drawn: None, work, transfer: None, complete }
    }

    /// Takes the changing line away.
    pub fn clear(&mut self) {
        if self.drawn.take().is_some() && self.terminal {
            let _ = write!(std::io::stderr().lock(), "\r\x1b[K");
        }
    }

    /// Tells of an image that is in the store now.
    pub fn stored(&mut self, reference: &Reference, stored: &Stored) {
        if self.json {
            let before = stored.replaced.as_ref().map(ToString::to_string);
            let event = json!({"event": "stored", "reference": reference.to_string(),
                "id": stored.id.to_string(), "replaced": before});
            output::data(&event.to_string());
            return;
        }
        if let Some(before) = &stored.replaced {
            self.note(&format!(
                "{reference}: the name now means {}; before it meant {}",
                stored.id.digest().short(),
                before.digest().short()
            ));
        }
        output::data(&stored.id.to_string());
    }

    /// Whether it is time to draw again.
    fn due(&mut self, pause: Duration) -> bool {
        if self.drawn.is_some_and(|at| at.elapsed() < pause) {
            return false;
        }
        self.drawn = Some(Instant::now());
        true
    }

    fn draw(&mut self, line: &str) {
        if self.due(FRAME) {
            let _ = write!(std::io::stderr().lock(), "\r\x1b[K{line}");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

impl Reporter for Progress {
    fn note(&mut self, text: &str) {
        if self.json {
            output::data(&json!({"event": "note", "text": text}).to_string());
        } else if !self.quiet {
            self.clear();
            output::note(text);
        }
    }

    fn transfer(&mut self, what: &str, blobs: &[Transfer]) {
        let done: u64 = blobs.iter().map(|blob| blob.done).sum();
        let total: u64 = blobs.iter().map(|blob| blob.total).fold(0, u64::saturating_add);
        let (since, before) = match &self.transfer {
            Some((name, since, before)) if name == what => (*since, *before),
            _ => {
                // What is here from the start says nothing of the speed.
                self.transfer = Some((what.to_owned(), Instant::now(), done));
                self.complete.clear();
                (Instant::now(), done)
            }
        };
        let fresh: Vec<Transfer> = blobs
            .iter()
            .filter(|blob| blob.done == blob.total && !self.complete.contains(&blob.layer))
            .copied()
            .collect();
        self.complete.extend(fresh.iter().map(|blob| blob.layer));
        if self.json {
            let told: Vec<Transfer> = match self.due(EVENT) {
                true => blobs.to_vec(),
                false => fresh,
            };
            for blob in told {
                let event = json!({"event": "transfer", "reference": what, "layer": blob.layer,
                    "layers": blob.layers, "done": blob.done, "total": blob.total});
                output::data(&event.to_string());
            }
        } else if self.terminal {
            let line = line(done, total, done.saturating_sub(before), since.elapsed());
            let layers = format!("{}/{} layers", self.complete.len(), blobs.len());
            self.draw(&format!("fetching {what}: {layers}, {line}"));
        } else if !self.quiet {
            for blob in fresh {
                let (layer, layers, size) = (blob.layer, blob.layers, megabytes(blob.total));
                output::note(&format!("fetched {what} layer {layer}/{layers} ({size})"));
            }
        }
    }

    fn progress(&mut self, what: &str, done: u64, total: u64) {
        if self.quiet && !self.json {
            return;
        }
        if self.terminal {
            let percent = (done * 100).checked_div(total).unwrap_or(100).min(100);
            self.draw(&format!("unpacking {what}: {percent} %"));
        } else if self.work != what || (self.json && self.due(EVENT)) {
            what.clone_into(&mut self.work);
            if self.json {
                let event = json!({"event": "unpack", "what": what, "done": done, "total": total});
                output::data(&event.to_string());
            } else {
                output::note(&format!("unpacking {what} ({})", megabytes(total)));
            }
        }
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{}.{} MB", bytes / 1_000_000, bytes / 100_000 % 10)
}

/// How far a transfer is, how fast, and for how long still.
fn line(done: u64, total: u64, came: u64, elapsed: Duration) -> String {
    let text = format!("{} of {}", megabytes(done), megabytes(total));
    let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    // What came in the first moment says nothing.
    let speed = came.saturating_mul(1000).checked_div(millis).filter(|_| millis >= 500);
    let Some(speed) = speed.filter(|speed| *speed > 0) else { return text };
    let left = total.saturating_sub(done) / speed;
    let left = match left {
        0..=119 => format!("{left} s"),
        120..=7199 => format!("{} min", left / 60),
        _ => format!("{} h", left / 3600),
    };
    format!("{text}, {}/s, {left} left", megabytes(speed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_in_a_line() {
        let seconds = Duration::from_secs;
        assert_eq!(line(5_000_000, 20_000_000, 0, seconds(0)), "5.0 MB of 20.0 MB");
        let text = "5.0 MB of 20.0 MB, 1.5 MB/s, 10 s left";
        assert_eq!(line(5_000_000, 20_000_000, 3_000_000, seconds(2)), text);
        assert!(line(0, 10_000_000_000, 1_000_000, seconds(1)).ends_with("2 h left"));
        assert_eq!(line(0, u64::MAX, 0, seconds(9)), format!("0.0 MB of {}", megabytes(u64::MAX)));
    }
}
