//! `limits`.

use super::section::Section;
use crate::grammar;
use crate::limits::Limits;
use crate::tree::Value;
use crate::values::name::parse_path;
use crate::values::{
    Base, IoMax, parse_bytes, parse_cpu_set, parse_cpu_weight, parse_memory, parse_quota,
    parse_tasks, parse_weight,
};

/// Reads the table `limits` of `above`; `name` is the table's full name.
pub(super) fn limits(above: &Section<'_>, name: &str) -> Limits {
    let Some(section) = above.section("limits", name, grammar::LIMITS) else {
        return Limits::default();
    };
    Limits {
        memory_max: section.scalar("memory-max", parse_memory),
        memory_high: section.scalar("memory-high", parse_memory),
        memory_low: section.scalar("memory-low", parse_memory),
        memory_swap_max: section.scalar("memory-swap-max", parse_memory),
        cpu_quota: section.scalar("cpu-quota", parse_quota),
        cpu_weight: section.scalar("cpu-weight", parse_cpu_weight),
        tasks_max: section.scalar("tasks-max", parse_tasks),
        io_weight: section.scalar("io-weight", parse_weight),
        io_max: io_max(&section, name),
        allowed_cpus: section.scalar("allowed-cpus", parse_cpu_set),
    }
}

fn io_max(section: &Section<'_>, name: &str) -> Vec<IoMax> {
    let report = section.report;
    let Some(node) = section.node("io-max") else { return Vec::new() };
    let Value::Table(devices) = &node.value else {
        report.expected(node, "io-max", "a table of devices, { \"/dev/sda\" = { … } }");
        return Vec::new();
    };
    let mut all: Vec<IoMax> = Vec::new();
    for (device, entry) in &devices.entries {
        let title = format!("{name}.io-max.{device:?}");
        let Some(path) = report.take(entry.key, device_path(device)) else { continue };
        let Some(keys) = Section::open(report, &entry.node, &title, grammar::IO_MAX) else {
            continue;
        };
        let max = IoMax {
            path,
            read_bandwidth: keys.scalar("read-bandwidth", bandwidth),
            write_bandwidth: keys.scalar("write-bandwidth", bandwidth),
            read_iops: keys.scalar("read-iops", operations),
            write_iops: keys.scalar("write-iops", operations),
        };
        if all.iter().any(|other| other.path == max.path) {
            report.error(entry.key, format!("io-max has {} twice", max.path));
        }
        if keys.is_empty() {
            report.error(keys.pos, format!("io-max of {device:?} limits nothing"));
        }
        all.push(max);
    }
    all
}

fn device_path(text: &str) -> Result<String, String> {
    let path = parse_path(text)?;
    // A unit file separates the path from the number by a blank and knows no quotes here.
    if path.contains(char::is_whitespace) {
        return Err(format!("{text:?} has blanks, which io-max cannot take"));
    }
    Ok(path)
}

/// Bandwidths are the one thing that systemd counts to the base of 1000.
fn bandwidth(text: &str) -> Result<u64, String> {
    above_zero(text, parse_bytes(text, Base::Decimal)?)
}

fn operations(text: &str) -> Result<u64, String> {
    above_zero(text, parse_bytes(text, Base::Decimal)?)
}

fn above_zero(text: &str, number: u64) -> Result<u64, String> {
    if number == 0 {
        Err(format!("{text:?} would stop the device; 1 is the least"))
    } else {
        Ok(number)
    }
}
