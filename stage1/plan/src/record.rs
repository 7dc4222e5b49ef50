//! The exit record: what init appends, one checksummed line an event, to the pod's `exit` file.
//!
//! A line is `CRC JSON\n`: the CRC-32 (IEEE 802.3, reflected) of the JSON bytes as eight lower-case
//! hex digits, a space, one JSON object without newlines. A torn last line (power cut) fails its
//! checksum and is ignored; a bad line before a good one is an error.

use serde::{Deserialize, Serialize};

/// One line of the record. This crate only fixes the shape; the caller brings the JSON encoder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum ExitRecord {
    /// An app ended.
    App(AppExit),
    /// The pod ended; always the last line.
    Pod(PodExit),
}

/// Why something ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// On its own.
    Exited,
    /// Somebody asked: systemd, `rocket stop`, Ctrl-C, the end of the foreground.
    StopAsked,
    /// The pod was ending because of another app.
    PodEnding,
    /// Did not stop in time and was killed.
    Timeout,
    /// Could not be started; the code is 126 or 127.
    ExecFailed,
    /// The kernel killed it because memory ran out.
    Oom,
    /// An app it requires had ended: it was stopped, or never started (neither code nor signal).
    Dependency,
    /// Its pre-start handler failed, and it was not started; code or signal are the handler's.
    PreStart,
    /// stage1 itself failed; the code is 125.
    Setup,
}

/// How an app ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AppExit {
    /// App name.
    pub app: String,
    /// Exit code, if it exited.
    pub code: Option<i32>,
    /// Signal number, if it was killed.
    pub signal: Option<i32>,
    /// Why.
    pub cause: Cause,
    /// Unix time in milliseconds.
    pub started_ms: u64,
    /// Unix time in milliseconds.
    pub ended_ms: u64,
    /// Restarts before this end.
    pub restarts: u32,
    /// A sentence for people, when there is more to say than the numbers do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl AppExit {
    /// The status a shell would show: the code, or 128 + signal.
    pub fn status(&self) -> i32 {
        match (self.code, self.signal) {
            (Some(code), _) => code,
            (None, Some(signal)) => 128 + signal,
            (None, None) => 125,
        }
    }
}

/// How the pod ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PodExit {
    /// Boot id of the boot it ran in.
    pub boot_id: String,
    /// Status of the app that ended the pod, or 0.
    pub status: i32,
    /// Why.
    pub cause: Cause,
    /// Unix time in milliseconds.
    pub ended_ms: u64,
}

/// A record file that cannot be trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordError {
    /// Line number (from 1) whose checksum or form is wrong although it is not the last.
    Corrupt(usize),
}

impl std::fmt::Display for RecordError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Corrupt(line) => write!(f, "line {line} of the exit record is corrupt"),
        }
    }
}

impl std::error::Error for RecordError {}

/// Frames one JSON object as a line of the record.
pub fn encode_record(json: &str) -> String {
    format!("{:08x} {json}\n", crc32(json.as_bytes()))
}

/// The JSON texts of a record file, in order. A torn last line is dropped.
///
/// # Errors
/// [`RecordError::Corrupt`] for a bad line that is followed by others.
pub fn decode_records(bytes: &[u8]) -> Result<Vec<&str>, RecordError> {
    let mut out = Vec::new();
    let mut lines = bytes.split_inclusive(|b| *b == b'\n').enumerate().peekable();
    while let Some((index, line)) = lines.next() {
        match decode_line(line) {
            Some(json) => out.push(json),
            None if lines.peek().is_none() => break,
            None => return Err(RecordError::Corrupt(index + 1)),
        }
    }
    Ok(out)
}

fn decode_line(line: &[u8]) -> Option<&str> {
    let line = line.strip_suffix(b"\n")?;
    let (sum, rest) = line.split_at_checked(8)?;
    let json = rest.strip_prefix(b" ")?;
    let sum = u32::from_str_radix(std::str::from_utf8(sum).ok()?, 16).ok()?;
    if sum != crc32(json) {
        return None;
    }
    std::str::from_utf8(json).ok()
}

/// CRC-32 of IEEE 802.3, bit by bit: records are a few hundred bytes.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = !0u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            let mask = (crc & 1).wrapping_neg();
            crc = (crc >> 1) ^ (0xEDB8_8320 & mask);
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc_matches_the_check_value_of_the_standard() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn a_torn_last_line_is_dropped_and_a_torn_middle_is_an_error() {
        let good = encode_record("{\"a\":1}") + &encode_record("{\"b\":2}");
        let torn = &good.as_bytes()[..good.len() - 3];
        assert_eq!(decode_records(good.as_bytes()), Ok(vec!["{\"a\":1}", "{\"b\":2}"]));
        assert_eq!(decode_records(torn), Ok(vec!["{\"a\":1}"]));
        let mut bad = good.into_bytes();
        bad[9] ^= 1;
        assert_eq!(decode_records(&bad), Err(RecordError::Corrupt(1)));
    }
}
