//! Resource-control directives in the typed form that transient units want.
//!
//! A unit file takes text; D-Bus takes numbers, bit sets and device tables
//! (org.freedesktop.systemd1(5), systemd.resource-control(5)).

use super::properties::{Property, Value};
use thiserror::Error;

/// A limit that cannot be put on a transient unit.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("cannot put {name}={value} on a transient unit: {why}")]
pub struct LimitError {
    /// Directive.
    pub name: String,
    /// Its value as given.
    pub value: String,
    /// Why.
    pub why: String,
}

/// Converts directives with normalised values (`MemoryMax`, bytes or `infinity`; `CPUQuota`,
/// `50%`; `AllowedCPUs`, `0-3,7`; `IOReadBandwidthMax`, `/dev/sda 1048576`).
///
/// # Errors
/// An unknown directive or a value that is not of its form.
pub fn from_directives(limits: &[(String, String)]) -> Result<Vec<Property>, LimitError> {
    limits.iter().map(|(name, value)| convert(name, value)).collect()
}

fn convert(name: &str, value: &str) -> Result<Property, LimitError> {
    let bad = |why: &str| LimitError {
        name: name.to_owned(),
        value: value.to_owned(),
        why: why.to_owned(),
    };
    let number = || -> Result<u64, LimitError> {
        if value == "infinity" || value == "max" {
            return Ok(u64::MAX);
        }
        value.parse().map_err(|_| bad("it is not a number"))
    };
    let converted = match name {
        // On the bus no weight at all is the idle one.
        "CPUWeight" if value == "idle" => Property::new(name, Value::U64(0)),
        "MemoryMax" | "MemoryHigh" | "MemoryLow" | "MemorySwapMax" | "TasksMax" | "CPUWeight"
        | "IOWeight" => Property::new(name, Value::U64(number()?)),
        "CPUQuota" => {
            let percent = value.strip_suffix('%').ok_or_else(|| bad("it has no % sign"))?;
            let usec = quota_usec(percent).ok_or_else(|| bad("it is not a percentage"))?;
            Property::new("CPUQuotaPerSecUSec", Value::U64(usec))
        }
        "AllowedCPUs" => Property::new(
            name,
            Value::Bytes(cpu_mask(value).ok_or_else(|| bad("it is not a CPU list"))?),
        ),
        "IOReadBandwidthMax" | "IOWriteBandwidthMax" | "IOReadIOPSMax" | "IOWriteIOPSMax" => {
            let (path, rate) = value.rsplit_once(' ').ok_or_else(|| bad("it is not PATH RATE"))?;
            let rate = if rate == "infinity" {
                u64::MAX
            } else {
                rate.parse().map_err(|_| bad("its rate is not a number"))?
            };
            Property::new(name, Value::DeviceRates(vec![(path.to_owned(), rate)]))
        }
        _ => return Err(bad("rocket knows no such property")),
    };
    Ok(converted)
}

/// Microseconds of CPU time a second: 100 % is one second. At most two decimals.
fn quota_usec(percent: &str) -> Option<u64> {
    let (whole, decimals) = percent.split_once('.').unwrap_or((percent, "0"));
    let whole: u64 = whole.parse().ok()?;
    let part: u64 = format!("{decimals:0<2}").parse().ok().filter(|_| decimals.len() <= 2)?;
    whole.checked_mul(10_000)?.checked_add(part * 100)
}

/// The little-endian bit set of a CPU list such as `0-3,7`.
fn cpu_mask(list: &str) -> Option<Vec<u8>> {
    let mut mask = Vec::new();
    for part in list.split([',', ' ']).filter(|p| !p.is_empty()) {
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (first.parse::<usize>().ok()?, last.parse::<usize>().ok()?),
            None => (part.parse::<usize>().ok()?, part.parse::<usize>().ok()?),
        };
        // CPU_SETSIZE of the kernel's largest configuration.
        if first > last || last >= 8192 {
            return None;
        }
        for cpu in first..=last {
            if mask.len() <= cpu / 8 {
                mask.resize(cpu / 8 + 1, 0u8);
            }
            if let Some(byte) = mask.get_mut(cpu / 8) {
                *byte |= 1 << (cpu % 8);
            }
        }
    }
    Some(mask)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, value: &str) -> Result<Property, LimitError> {
        convert(name, value)
    }

    #[test]
    fn directives_get_the_types_systemd_wants() {
        let table = [
            ("MemoryMax", "268435456", "MemoryMax", Value::U64(268_435_456)),
            ("TasksMax", "infinity", "TasksMax", Value::U64(u64::MAX)),
            ("CPUQuota", "50%", "CPUQuotaPerSecUSec", Value::U64(500_000)),
            ("CPUQuota", "12.5%", "CPUQuotaPerSecUSec", Value::U64(125_000)),
            ("CPUWeight", "idle", "CPUWeight", Value::U64(0)),
            ("AllowedCPUs", "0-1,9", "AllowedCPUs", Value::Bytes(vec![0b11, 0b10])),
            (
                "IOReadBandwidthMax",
                "/dev/sda 1024",
                "IOReadBandwidthMax",
                Value::DeviceRates(vec![("/dev/sda".into(), 1024)]),
            ),
        ];
        for (name, value, property, expected) in table {
            assert_eq!(one(name, value), Ok(Property::new(property, expected)), "{name}={value}");
        }
    }

    #[test]
    fn bad_values_say_why() {
        for (name, value) in
            [("MemoryMax", "many"), ("CPUQuota", "50"), ("AllowedCPUs", "3-1"), ("Nice", "1")]
        {
            assert!(one(name, value).is_err(), "{name}={value}");
        }
    }
}
