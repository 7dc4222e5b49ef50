//! Appends the exit record.

use std::os::fd::OwnedFd;
use std::time::{SystemTime, UNIX_EPOCH};

use rocket_plan::{ExitRecord, encode_record};

use crate::failure::warn;

/// The exit record's file, if the plan has one.
#[derive(Debug, Default)]
pub struct Record(Option<OwnedFd>);

impl Record {
    /// Takes the descriptor.
    pub fn new(fd: Option<OwnedFd>) -> Self {
        Self(fd)
    }

    /// Appends one line; [`Self::sync`] makes it durable. A full disk costs the line, not the pod.
    pub fn append(&self, record: &ExitRecord) {
        let Some(file) = &self.0 else { return };
        let Ok(json) = serde_json::to_string(record) else { return };
        let line = encode_record(&json);
        let result = rustix::io::write(file, line.as_bytes())
            .and_then(|n| if n == line.len() { Ok(()) } else { Err(rustix::io::Errno::NOSPC) });
        if let Err(e) = result {
            warn(&format!("write the exit record: {e}"));
        }
    }

    /// Makes what was appended survive a power cut.
    pub fn sync(&self) {
        let Some(file) = &self.0 else { return };
        if let Err(e) = rustix::fs::fdatasync(file) {
            warn(&format!("write the exit record: {e}"));
        }
    }
}

/// Now, in milliseconds since 1970.
pub fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rocket_plan::decode_records;

    /// The example of `docs/stage1-abi.md` is a record, and written back it is the same bytes.
    #[test]
    fn the_documented_example_is_true() {
        let page = include_str!("../../../docs/stage1-abi.md");
        let block = page.split("```\n").find(|b| b.contains("\"event\":\"app\"")).unwrap();
        let lines = decode_records(block.as_bytes()).unwrap();
        assert_eq!(lines.len(), 2);
        let mut again = String::new();
        for line in lines {
            let record: ExitRecord = serde_json::from_str(line).unwrap();
            again += &encode_record(&serde_json::to_string(&record).unwrap());
        }
        assert_eq!(again, block);
    }
}
