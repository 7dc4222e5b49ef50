//! How a fetch tells of itself: lines that change on a terminal, a line for each piece of work
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
/// What is smaller is unpacked before anybody has read of it.
const SMALL: u64 = 1_000_000;
/// Layers that are shown at once.
const MAX_LINES: usize = 8;
/// How often programs are told of a transfer.
const EVENT: Duration = Duration::from_millis(500);

/// Who listens to a fetch.
#[derive(Debug)]
pub struct Progress {
    quiet: bool,
    json: bool,
    terminal: bool,
    drawn: Option<Instant>,
    /// Lines that are on the screen now.
    lines: usize,
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
        Self { quiet, json, terminal, drawn: None, lines: 0, work, transfer: None, complete }
    }

    /// Takes the changing lines away.
    pub fn clear(&mut self) {
        self.drawn = None;
        if self.lines > 0 {
            let text = over(self.lines);
            self.lines = 0;
            let _ = std::io::stderr().lock().write_all(text.as_bytes());
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

    /// Draws lines over those of before, cut where the terminal ends: one that goes on below could not be
    /// taken away again.
    fn draw(&mut self, lines: &[String]) {
        if !self.due(FRAME) {
            return;
        }
        let mut err = std::io::stderr().lock();
        let width = rustix::termios::tcgetwinsize(&err).map_or(0, |size| usize::from(size.ws_col));
        let width = if width == 0 { 80 } else { width };
        let cut = |line: &String| line.chars().take(width - 1).collect::<String>();
        let text = lines.iter().map(cut).collect::<Vec<_>>().join("\r\n");
        let _ = err.write_all(format!("{}{text}", over(self.lines)).as_bytes());
        self.lines = lines.len();
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
            let mut lines = vec![format!("fetching {what}")];
            let coming = |blob: &&Transfer| blob.done > 0 && blob.done < blob.total;
            lines.extend(blobs.iter().filter(coming).take(MAX_LINES).map(of_layer));
            lines.push(format!("  {}/{} layers, {line}", self.complete.len(), blobs.len()));
            self.draw(&lines);
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
        if !self.json && done == 0 && total < SMALL {
            return;
        }
        if self.terminal {
            let percent = (done * 100).checked_div(total).unwrap_or(100).min(100);
            self.draw(&[format!("unpacking {what}: {percent} %")]);
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

/// What takes lines away: up to the first of them, then everything from there on.
fn over(lines: usize) -> String {
    match lines {
        0 => String::new(),
        1 => "\r\x1b[J".to_owned(),
        _ => format!("\r\x1b[{}A\x1b[J", lines - 1),
    }
}

/// A layer that comes.
fn of_layer(blob: &Transfer) -> String {
    let percent = (blob.done.saturating_mul(100)).checked_div(blob.total).unwrap_or(100);
    let (done, total) = (megabytes(blob.done), megabytes(blob.total));
    format!("  layer {}/{}: {done} of {total}, {percent} %", blob.layer, blob.layers)
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
    fn lines_are_taken_away_from_the_first_one_on() {
        assert_eq!(over(0), "");
        assert_eq!(over(1), "\r\x1b[J");
        assert_eq!(over(3), "\r\x1b[2A\x1b[J");
        let blob = Transfer { layer: 2, layers: 3, done: 5_000_000, total: 20_000_000 };
        assert_eq!(of_layer(&blob), "  layer 2/3: 5.0 MB of 20.0 MB, 25 %");
    }

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
