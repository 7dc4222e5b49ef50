//! Where the time of a miss goes: its dearest system calls, by the clock, waiting included.

use crate::measure::{run, shell};

const TABLE: &str = "/run/rocket-bench.strace";
/// Heading, rule and the calls that are shown.
const LINES: usize = 10;

/// Runs a command once more, under strace.
pub fn trace(command: &[String]) -> Vec<String> {
    let mut argv: Vec<&str> = "strace -f -c -w -S time -o".split(' ').collect();
    argv.push(TABLE);
    argv.extend(command.iter().map(String::as_str));
    match run(&argv).and_then(|_| shell(&format!("cat {TABLE}"))) {
        Ok(table) => table.lines().take(LINES).map(str::to_owned).collect(),
        Err(error) => vec![format!("strace: {error:#}")],
    }
}
