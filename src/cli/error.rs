//! What a person sees when something fails: once, on stderr, with hints and the right exit code.

use crate::cli::output;
use std::process::ExitCode;

/// Exit status when rocket itself failed.
pub const FAILED: u8 = 125;
/// Exit status when the program exists and cannot be executed.
pub const CANNOT_EXECUTE: u8 = 126;
/// Exit status when the program does not exist.
pub const NOT_FOUND: u8 = 127;

/// An error on its way to the user.
#[derive(Debug)]
pub struct Failure {
    /// Exit status.
    pub code: u8,
    /// What failed, on what, why.
    pub error: anyhow::Error,
    /// What to do next, one sentence each.
    pub hints: Vec<String>,
}

impl Failure {
    /// A failure with rocket's own exit status.
    pub fn new(error: impl Into<anyhow::Error>) -> Self {
        Self { code: FAILED, error: error.into(), hints: Vec::new() }
    }

    /// A failure described by one sentence.
    pub fn message(text: impl Into<String>) -> Self {
        Self::new(anyhow::Error::msg(text.into()))
    }

    /// Adds a hint.
    #[must_use]
    pub fn hint(mut self, text: impl Into<String>) -> Self {
        self.hints.push(text.into());
        self
    }

    /// Sets another exit status.
    #[must_use]
    pub fn code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// What helps where the kernel gives no more descriptors. The text is asked, since much of it comes
    /// from stage1 as text.
    fn scarce(&self) -> Option<&'static str> {
        let number = rustix::io::Errno::MFILE.raw_os_error();
        format!("{:#}", self.error)
            .contains(&format!("(os error {number})"))
            .then_some("raise the limit on open files (ulimit -n, LimitNOFILE=): 1024 is plenty")
    }

    /// Prints the failure and gives its exit status.
    pub fn report(&self) -> ExitCode {
        output::note(&format!("rocket: {:#}", self.error));
        for hint in self.hints.iter().map(String::as_str).chain(self.scarce()) {
            output::note(&format!("hint: {hint}"));
        }
        ExitCode::from(self.code)
    }
}

impl<E> From<E> for Failure
where
    E: std::error::Error + Send + Sync + 'static,
{
    fn from(error: E) -> Self {
        Self::new(error)
    }
}

/// Prints a command-line error, or the help that was asked for.
pub fn usage(error: &clap::Error) -> ExitCode {
    // A closed pipe is the reader's choice, not an error.
    let _ = error.print();
    if error.use_stderr() { ExitCode::from(FAILED) } else { ExitCode::SUCCESS }
}
