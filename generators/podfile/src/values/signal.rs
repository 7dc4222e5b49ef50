//! Signals by name or number.

use std::fmt;

/// A signal that can be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signal(i32);

/// Names and numbers on x86-64 and aarch64.
const NAMES: &[(&str, i32)] = &[
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("PWR", 30),
    ("SYS", 31),
];

/// The first and last real-time signal an application can use (the C library keeps two).
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

impl Signal {
    /// Its number.
    pub fn number(self) -> i32 {
        self.0
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(_, number)| *number == self.0) {
            Some((name, _)) => write!(f, "SIG{name}"),
            None if self.0 == RTMIN => f.write_str("SIGRTMIN"),
            None => write!(f, "SIGRTMIN+{}", self.0 - RTMIN),
        }
    }
}

/// The names, without `SIG` and without the real-time ones.
pub(crate) fn names() -> Vec<&'static str> {
    NAMES.iter().map(|(name, _)| *name).collect()
}

/// Reads `SIGQUIT`, `QUIT`, `3`, `SIGRTMIN+3`, `RTMAX-1`.
pub(crate) fn parse_signal(text: &str) -> Result<Signal, String> {
    let name = text.strip_prefix("SIG").unwrap_or(text);
    let offset = |s: &str| s.parse::<u8>().ok().map(i32::from);
    let number = if let Some((_, number)) = NAMES.iter().find(|(known, _)| *known == name) {
        Some(*number)
    } else if let Some(rest) = name.strip_prefix("RTMIN") {
        match rest.strip_prefix('+') {
            None if rest.is_empty() => Some(RTMIN),
            None => None,
            Some(more) => offset(more).map(|more| RTMIN + more),
        }
    } else if let Some(rest) = name.strip_prefix("RTMAX") {
        match rest.strip_prefix('-') {
            None if rest.is_empty() => Some(RTMAX),
            None => None,
            Some(less) => offset(less).map(|less| RTMAX - less),
        }
    } else {
        // Two numbers between the classic and the real-time ones belong to the C library.
        offset(text).filter(|n| (1..=31).contains(n) || *n >= RTMIN)
    };
    number
        .filter(|number| (1..=RTMAX).contains(number))
        .filter(|number| *number <= 31 || *number >= RTMIN)
        .map(Signal)
        .ok_or_else(|| format!("{text:?} is not a signal; write it like \"SIGTERM\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals() {
        let table = [
            ("SIGTERM", 15, "SIGTERM"),
            ("QUIT", 3, "SIGQUIT"),
            ("9", 9, "SIGKILL"),
            ("SIGRTMIN", 34, "SIGRTMIN"),
            ("SIGRTMIN+3", 37, "SIGRTMIN+3"),
            ("RTMAX-1", 63, "SIGRTMIN+29"),
            ("SIGRTMAX", 64, "SIGRTMIN+30"),
        ];
        for (text, number, name) in table {
            let signal = parse_signal(text).unwrap();
            assert_eq!((signal.number(), signal.to_string()), (number, name.to_owned()));
        }
        for text in ["", "SIG", "sigterm", "0", "65", "33", "-1", "RTMIN+31", "RTMAX-31", "RTMIN3"]
        {
            assert!(parse_signal(text).is_err(), "{text}");
        }
    }
}
