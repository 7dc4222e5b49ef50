//! The `rocket` program: everything is in the library.
use std::process::ExitCode;

fn main() -> ExitCode {
    rocket::cli::main()
}
