//! Sizes: bytes with the suffixes K, M, G, T, P, E, and what may stand in place of a size.

use super::time::scaled;
use std::fmt;

/// A limit on memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemorySize {
    /// In bytes.
    Bytes(u64),
    /// Of the host's memory, in hundredths of a percent.
    Share(u32),
    /// `infinity`.
    Infinity,
}

impl MemorySize {
    /// The same without a share: of the host's total as it is now.
    #[must_use]
    pub fn resolved(self, host_memory: u64) -> Self {
        match self {
            Self::Share(share) => Self::Bytes(share_of(host_memory, share)),
            other => other,
        }
    }

    /// As the kernel's `memory.*` files take it.
    pub fn cgroup_value(self, host_memory: u64) -> String {
        match self {
            Self::Bytes(bytes) => bytes.to_string(),
            Self::Share(share) => share_of(host_memory, share).to_string(),
            Self::Infinity => "max".to_owned(),
        }
    }
}

impl fmt::Display for MemorySize {
    /// As a unit file takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "{bytes}"),
            Self::Share(share) => f.write_str(&percent(u64::from(*share))),
            Self::Infinity => f.write_str("infinity"),
        }
    }
}

/// A limit on the number of tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tasks {
    /// This many.
    Number(u64),
    /// Of the host's maximum, in hundredths of a percent.
    Share(u32),
    /// `infinity`.
    Infinity,
}

impl Tasks {
    /// The same without a share: of the host's total as it is now.
    #[must_use]
    pub fn resolved(self, host_tasks: u64) -> Self {
        match self {
            Self::Share(share) => Self::Number(share_of(host_tasks, share)),
            other => other,
        }
    }

    /// As the kernel's `pids.max` takes it.
    pub fn cgroup_value(self, host_tasks: u64) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Share(share) => share_of(host_tasks, share).to_string(),
            Self::Infinity => "max".to_owned(),
        }
    }
}

impl fmt::Display for Tasks {
    /// As a unit file takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Share(share) => f.write_str(&percent(u64::from(*share))),
            Self::Infinity => f.write_str("infinity"),
        }
    }
}

/// What `K` stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Base {
    /// 1024: sizes.
    Binary,
    /// 1000: bandwidths.
    Decimal,
}

/// Reads `4096`, `256M`, `1.5G`.
pub(crate) fn parse_bytes(text: &str, base: Base) -> Result<u64, String> {
    let bad = || {
        format!(
            "{text:?} is not a size; write bytes, or a number with K, M, G, T, P or E: \"256M\""
        )
    };
    let trimmed = text.trim();
    let (number, suffix) = match trimmed.find(|c: char| !c.is_ascii_digit() && c != '.') {
        None => (trimmed, ""),
        Some(end) => (trimmed[..end].trim_end(), trimmed[end..].trim_start()),
    };
    let power = match suffix {
        "" | "B" => 0,
        "K" => 1,
        "M" => 2,
        "G" => 3,
        "T" => 4,
        "P" => 5,
        "E" => 6,
        _ => return Err(bad()),
    };
    let step: u64 = match base {
        Base::Binary => 1024,
        Base::Decimal => 1000,
    };
    // The largest size a unit file can carry is one below the value that means infinity.
    scaled(number, step.pow(power)).filter(|bytes| *bytes < u64::MAX).ok_or_else(bad)
}

/// Reads a memory limit.
pub(crate) fn parse_memory(text: &str) -> Result<MemorySize, String> {
    match text.trim() {
        "infinity" => Ok(MemorySize::Infinity),
        share if share.ends_with('%') => parse_share(share).map(MemorySize::Share),
        bytes => parse_bytes(bytes, Base::Binary).map(MemorySize::Bytes),
    }
}

/// Reads a limit on tasks.
pub(crate) fn parse_tasks(text: &str) -> Result<Tasks, String> {
    match text.trim() {
        "infinity" => Ok(Tasks::Infinity),
        share if share.ends_with('%') => match parse_share(share)? {
            0 => Err(format!("{text:?} would be no task at all; write \"0.01%\" or more")),
            share => Ok(Tasks::Share(share)),
        },
        number => match number.parse::<u64>() {
            Ok(number) if number > 0 && number < u64::MAX => Ok(Tasks::Number(number)),
            _ => Err(format!(
                "{text:?} is not a number of tasks; write a number of 1 or more, \"50%\" or \
                 \"infinity\""
            )),
        },
    }
}

/// Reads `50%`, `12.5%`: at most 100 %, to the hundredth.
fn parse_share(text: &str) -> Result<u32, String> {
    parse_percent(text)
        .and_then(|share| u32::try_from(share).ok())
        .filter(|share| *share <= 10_000)
        .ok_or_else(|| format!("{text:?} is not a share; write it like \"50%\", at most 100%"))
}

/// Reads a percentage in hundredths of a percent.
pub(crate) fn parse_percent(text: &str) -> Option<u64> {
    let number = text.trim().strip_suffix('%')?;
    if number.split_once('.').is_some_and(|(_, decimals)| decimals.len() > 2) {
        return None;
    }
    scaled(number, 100)
}

/// Hundredths of a percent as a percentage.
pub(crate) fn percent(hundredths: u64) -> String {
    match (hundredths / 100, hundredths % 100) {
        (whole, 0) => format!("{whole}%"),
        (whole, part) if part % 10 == 0 => format!("{whole}.{}%", part / 10),
        (whole, part) => format!("{whole}.{part:02}%"),
    }
}

fn share_of(total: u64, hundredths: u32) -> u64 {
    let share = u128::from(total) * u128::from(hundredths) / 10_000;
    u64::try_from(share).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let table = [
            ("4096", 4096),
            ("256M", 268_435_456),
            ("1.5G", 1_610_612_736),
            ("1 K", 1024),
            ("0", 0),
            ("2T", 2_199_023_255_552),
            ("7B", 7),
        ];
        for (text, bytes) in table {
            assert_eq!(parse_bytes(text, Base::Binary), Ok(bytes), "{text}");
        }
        assert_eq!(parse_bytes("10M", Base::Decimal), Ok(10_000_000));
        for text in ["", "M", "-1", "256MB", "256m", "1..5M", "16E", "0x10", "1_000", "infinity"] {
            assert!(parse_bytes(text, Base::Binary).is_err(), "{text}");
        }
    }

    #[test]
    fn memory_in_both_forms() {
        let table = [
            ("256M", "268435456", "268435456"),
            ("50%", "50%", "500"),
            ("12.5%", "12.5%", "125"),
            ("0.05%", "0.05%", "0"),
            ("infinity", "infinity", "max"),
        ];
        for (text, unit, cgroup) in table {
            let size = parse_memory(text).unwrap();
            assert_eq!(size.to_string(), unit);
            assert_eq!(size.cgroup_value(1000), cgroup);
        }
        for text in ["101%", "%", "1.234%", "-1%"] {
            assert!(parse_memory(text).is_err(), "{text}");
        }
    }

    #[test]
    fn tasks_in_both_forms() {
        for (text, unit, cgroup) in
            [("64", "64", "64"), ("10%", "10%", "100"), ("infinity", "infinity", "max")]
        {
            let tasks = parse_tasks(text).unwrap();
            assert_eq!((tasks.to_string(), tasks.cgroup_value(1000)), (unit.into(), cgroup.into()));
        }
        for text in ["0", "0%", "0.00%", "64K", "-1", "many", ""] {
            assert!(parse_tasks(text).is_err(), "{text}");
        }
    }
}
