//! What goes wrong, as an exit code and one sentence.

use std::io::Write;

/// rocket itself failed.
pub const ROCKET: i32 = 125;
/// The program cannot be executed.
pub const CANNOT_EXECUTE: i32 = 126;
/// The program was not found.
pub const NOT_FOUND: i32 = 127;

/// An error that ends the pod or refuses a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// 125, 126 or 127.
    pub code: i32,
    /// One line for people.
    pub text: String,
}

/// What most functions of init return.
pub type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// With a code.
    pub fn new(code: i32, text: impl Into<String>) -> Self {
        Self { code, text: text.into().replace(['\n', '\0'], " ") }
    }

    /// A failure of stage1 itself.
    pub fn rocket(text: impl Into<String>) -> Self {
        Self::new(ROCKET, text)
    }

    /// Says it on standard error, once; a closed standard error is nobody's problem.
    pub fn print(&self) {
        warn(&self.text);
    }
}

/// A line on standard error.
pub fn warn(text: &str) {
    let _ = std::io::stderr().lock().write_all(format!("rocket: {text}\n").as_bytes());
}

/// Adds what was being done to an error.
pub trait Context<T> {
    /// `what: error`, as a failure of stage1.
    fn context(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: std::fmt::Display> Context<T> for std::result::Result<T, E> {
    fn context(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Failure::rocket(format!("{}: {error}", what())))
    }
}

/// A string without NUL for the kernel.
pub fn c_string(text: &str) -> Result<std::ffi::CString> {
    std::ffi::CString::new(text).map_err(|_| Failure::rocket(format!("{text:?} holds a NUL byte")))
}
