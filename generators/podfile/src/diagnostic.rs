//! What is wrong with a pod file, and where.

use std::fmt;
use std::path::PathBuf;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file.
    pub file: PathBuf,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl fmt::Display for Diagnostic {
    /// `file:line:column: message`, without the hint.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.shown_file(), self.line, self.column, self.message)
    }
}

impl Diagnostic {
    /// The file as people see it: a control character in its name would end the line, or worse.
    pub fn shown_file(&self) -> String {
        let name = self.file.to_string_lossy();
        name.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
    }
}

impl std::error::Error for Diagnostic {}
