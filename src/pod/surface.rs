//! What of the kernel an app sees in `/dev`, `/proc` and `/sys`.

/// Device nodes every app has (appc OS-SPEC, linux).
pub const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
/// Hidden: they show or reach into the host's kernel.
pub const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/config.gz",
    "/proc/kallsyms",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
    "/sys/module",
];
/// Read-only: writing there would change the host.
pub const READ_ONLY: [&str; 6] =
    ["/proc/asound", "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];
