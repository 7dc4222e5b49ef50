//! CPU time: quota, weight, and which CPUs.

use super::size::{parse_percent, percent};
use std::fmt;

/// `cpu-quota`: CPU time per second of real time; more than 100 % is more than one CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuQuota {
    hundredths: u64,
}

/// The period of a quota, in microseconds, as systemd has it by default.
const PERIOD: u64 = 100_000;
/// The smallest quota and the longest period the kernel takes, in microseconds.
const SMALLEST_QUOTA: u64 = 1_000;
const LONGEST_PERIOD: u64 = 1_000_000;

impl CpuQuota {
    /// Microseconds of CPU time per second: what `CPUQuotaPerSecUSec` is on the bus.
    pub fn microseconds_per_second(self) -> u64 {
        self.hundredths.saturating_mul(100)
    }

    /// As the kernel's `cpu.max` takes it. A quota too small for the usual period gets a longer
    /// one, as systemd does it.
    pub fn cgroup_value(self) -> String {
        let quota = self.hundredths.saturating_mul(PERIOD / 10_000);
        if quota >= SMALLEST_QUOTA {
            return format!("{quota} {PERIOD}");
        }
        let period = (SMALLEST_QUOTA * 10_000).checked_div(self.hundredths).unwrap_or(u64::MAX);
        format!("{SMALLEST_QUOTA} {}", period.min(LONGEST_PERIOD))
    }
}

impl fmt::Display for CpuQuota {
    /// As a unit file takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&percent(self.hundredths))
    }
}

/// Reads a quota.
pub(crate) fn parse_quota(text: &str) -> Result<CpuQuota, String> {
    match parse_percent(text) {
        // 0.1 % is the smallest that the kernel's longest period can express.
        Some(hundredths) if (10..=100_000_000).contains(&hundredths) => Ok(CpuQuota { hundredths }),
        _ => Err(format!(
            "{text:?} is not a CPU quota; write a percentage of one CPU, 0.1% or more: \"50%\", \
             \"200%\""
        )),
    }
}

/// `cpu-weight`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CpuWeight {
    /// 1 to 10000; 100 is what everything has that does not say.
    Weight(u32),
    /// Runs only when nothing else wants the CPU.
    Idle,
}

impl fmt::Display for CpuWeight {
    /// As a unit file takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Weight(weight) => write!(f, "{weight}"),
            Self::Idle => f.write_str("idle"),
        }
    }
}

/// Reads the number of a weight.
pub(crate) fn parse_weight(text: &str) -> Result<u32, String> {
    match text.trim().parse::<u32>() {
        Ok(weight) if (1..=10_000).contains(&weight) => Ok(weight),
        _ => Err(format!("{text:?} is not a weight; write a number from 1 to 10000")),
    }
}

/// Reads a CPU weight.
pub(crate) fn parse_cpu_weight(text: &str) -> Result<CpuWeight, String> {
    match text.trim() {
        "idle" => Ok(CpuWeight::Idle),
        number => parse_weight(number)
            .map(CpuWeight::Weight)
            .map_err(|_| format!("{text:?} is not a weight; write 1 to 10000, or \"idle\"")),
    }
}

/// `allowed-cpus`: ranges, sorted and merged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuSet {
    ranges: Vec<(u32, u32)>,
}

impl fmt::Display for CpuSet {
    /// As both `AllowedCPUs=` and `cpuset.cpus` take it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (first, last)) in self.ranges.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            if first == last {
                write!(f, "{comma}{first}")?;
            } else {
                write!(f, "{comma}{first}-{last}")?;
            }
        }
        Ok(())
    }
}

/// More CPUs than any kernel is built for.
const MOST_CPUS: u32 = 8192;

/// Reads `0-3,5` or `0-3 5`.
pub(crate) fn parse_cpu_set(text: &str) -> Result<CpuSet, String> {
    let bad =
        || format!("{text:?} is not a set of CPUs; write numbers and ranges below 8192: \"0-3,5\"");
    let mut ranges = Vec::new();
    for part in text.split([',', ' ']).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |s: &str| {
            let digits = !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
            digits.then(|| s.parse::<u32>().ok()).flatten().filter(|n| *n < MOST_CPUS)
        };
        match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => ranges.push((first, last)),
            _ => return Err(bad()),
        }
    }
    if ranges.is_empty() {
        return Err(bad());
    }
    ranges.sort_unstable();
    let mut merged: Vec<(u32, u32)> = Vec::new();
    for (first, last) in ranges {
        match merged.last_mut() {
            Some(previous) if first <= previous.1 + 1 => previous.1 = previous.1.max(last),
            _ => merged.push((first, last)),
        }
    }
    Ok(CpuSet { ranges: merged })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas() {
        let table = [
            ("50%", "50%", "50000 100000", 500_000),
            ("200%", "200%", "200000 100000", 2_000_000),
            ("12.5%", "12.5%", "12500 100000", 125_000),
            ("0.5%", "0.5%", "1000 200000", 5_000),
            ("0.1%", "0.1%", "1000 1000000", 1_000),
        ];
        for (text, unit, cgroup, bus) in table {
            let quota = parse_quota(text).unwrap();
            assert_eq!(quota.to_string(), unit);
            assert_eq!(quota.cgroup_value(), cgroup);
            assert_eq!(quota.microseconds_per_second(), bus);
        }
        for text in ["50", "0%", "-5%", "%", "half", "0.01%", "1.234%", "9999999999999%"] {
            assert!(parse_quota(text).is_err(), "{text}");
        }
    }

    #[test]
    fn weights() {
        assert_eq!(parse_cpu_weight("100"), Ok(CpuWeight::Weight(100)));
        assert_eq!(parse_cpu_weight("idle"), Ok(CpuWeight::Idle));
        for text in ["0", "10001", "", "-1", "high"] {
            assert!(parse_cpu_weight(text).is_err(), "{text}");
        }
    }

    #[test]
    fn cpu_sets() {
        let table = [
            ("0-3,5", "0-3,5"),
            ("5 0-3", "0-3,5"),
            ("0,1,2", "0-2"),
            ("7", "7"),
            ("2-4,3-9", "2-9"),
        ];
        for (text, expected) in table {
            assert_eq!(parse_cpu_set(text).unwrap().to_string(), expected);
        }
        for text in ["", ",", "3-1", "a", "0-", "-1", "0--1", "9000", "+1"] {
            assert!(parse_cpu_set(text).is_err(), "{text}");
        }
    }
}
