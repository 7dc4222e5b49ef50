//! stdout is data, stderr is talk; neither panics when the reader has gone.

use std::io::{self, Write};
use std::sync::OnceLock;

/// The first write to stdout that failed otherwise than by a reader that has gone.
static LOST: OnceLock<io::Error> = OnceLock::new();

/// Writes one line of data to stdout. A closed pipe is the reader's choice; any other failure is
/// remembered for [`lost`].
pub fn data(line: &str) {
    let mut out = io::stdout().lock();
    if let Err(error) = writeln!(out, "{line}").and_then(|()| out.flush())
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        // Only the first one is the cause.
        let _ = LOST.set(error);
    }
}

/// Why data did not reach stdout, if some did not.
pub fn lost() -> Option<&'static io::Error> {
    LOST.get()
}

/// Writes a piece of a screen to stdout, without a line end, at once.
pub fn text(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}

/// Writes one line of talk to stderr.
pub fn note(line: &str) {
    let mut err = std::io::stderr().lock();
    let _ = writeln!(err, "{line}");
}

/// How a listing is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Columns for people.
    #[default]
    Table,
    /// JSON for programs.
    Json,
}

/// Prints rows under a header, columns padded to their widest cell.
pub fn table(header: &[&str], rows: &[Vec<String>]) {
    let mut widths: Vec<usize> = header.iter().map(|h| h.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    let mut line = |cells: &mut dyn Iterator<Item = &str>| {
        for (cell, width) in cells.zip(&widths) {
            let pad = width.saturating_sub(cell.chars().count());
            text.push_str(cell);
            text.push_str(&" ".repeat(pad + 2));
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    };
    line(&mut header.iter().copied());
    for row in rows {
        line(&mut row.iter().map(String::as_str));
    }
    // One write: a listing may be long.
    data(text.trim_end());
}

/// Prints a JSON value, indented.
pub fn json(value: &serde_json::Value) {
    data(&format!("{value:#}"));
}

/// How long ago a time in milliseconds since 1970 was, in words.
pub fn age(then_ms: u64) -> String {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let seconds = now.saturating_sub(then_ms / 1000);
    match seconds {
        0..=119 => format!("{seconds} s ago"),
        120..=7199 => format!("{} min ago", seconds / 60),
        7200..=172_799 => format!("{} h ago", seconds / 3600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}
