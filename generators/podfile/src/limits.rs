//! `limits` of an app or of the pod: systemd's directives with systemd's units.

use crate::values::{CpuQuota, CpuSet, CpuWeight, IoMax, MemorySize, Tasks};

/// A `limits` table. `None` = no limit of rocket's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// `memory-max`.
    pub memory_max: Option<MemorySize>,
    /// `memory-high`.
    pub memory_high: Option<MemorySize>,
    /// `memory-low`.
    pub memory_low: Option<MemorySize>,
    /// `memory-swap-max`.
    pub memory_swap_max: Option<MemorySize>,
    /// `cpu-quota`.
    pub cpu_quota: Option<CpuQuota>,
    /// `cpu-weight`.
    pub cpu_weight: Option<CpuWeight>,
    /// `tasks-max`.
    pub tasks_max: Option<Tasks>,
    /// `io-weight`, 1 to 10000.
    pub io_weight: Option<u32>,
    /// `io-max`, one entry a device.
    pub io_max: Vec<IoMax>,
    /// `allowed-cpus`.
    pub allowed_cpus: Option<CpuSet>,
}

/// What percentages are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostTotals {
    /// Memory in bytes.
    pub memory: u64,
    /// Tasks.
    pub tasks: u64,
}

impl Limits {
    /// Whether nothing is limited.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The same limits with every share of the host as a number: what a transient unit takes.
    #[must_use]
    pub fn resolved(&self, host: HostTotals) -> Self {
        let memory = |size: Option<MemorySize>| size.map(|size| size.resolved(host.memory));
        Self {
            memory_max: memory(self.memory_max),
            memory_high: memory(self.memory_high),
            memory_low: memory(self.memory_low),
            memory_swap_max: memory(self.memory_swap_max),
            tasks_max: self.tasks_max.map(|tasks| tasks.resolved(host.tasks)),
            ..self.clone()
        }
    }

    /// Files of a leaf cgroup and what to write in them, in a fixed order. `io-max` is not among
    /// them: its devices have to be looked up on the host first, see [`IoMax::cgroup_value`].
    pub fn cgroup_files(&self, host: HostTotals) -> Vec<(&'static str, String)> {
        let mut files = Vec::new();
        let memory = [
            ("memory.max", self.memory_max),
            ("memory.high", self.memory_high),
            ("memory.low", self.memory_low),
            ("memory.swap.max", self.memory_swap_max),
        ];
        for (file, size) in memory {
            if let Some(size) = size {
                files.push((file, size.cgroup_value(host.memory)));
            }
        }
        if let Some(quota) = self.cpu_quota {
            files.push(("cpu.max", quota.cgroup_value()));
        }
        match self.cpu_weight {
            Some(CpuWeight::Weight(weight)) => files.push(("cpu.weight", weight.to_string())),
            Some(CpuWeight::Idle) => files.push(("cpu.idle", "1".to_owned())),
            None => {}
        }
        if let Some(tasks) = self.tasks_max {
            files.push(("pids.max", tasks.cgroup_value(host.tasks)));
        }
        if let Some(weight) = self.io_weight {
            files.push(("io.weight", format!("default {weight}")));
        }
        if let Some(cpus) = &self.allowed_cpus {
            files.push(("cpuset.cpus", cpus.to_string()));
        }
        files
    }

    /// systemd's directives and their values, in a fixed order.
    pub fn unit_properties(&self) -> Vec<(&'static str, String)> {
        let mut properties = Vec::new();
        let memory = [
            ("MemoryMax", self.memory_max),
            ("MemoryHigh", self.memory_high),
            ("MemoryLow", self.memory_low),
            ("MemorySwapMax", self.memory_swap_max),
        ];
        for (name, size) in memory {
            if let Some(size) = size {
                properties.push((name, size.to_string()));
            }
        }
        if let Some(quota) = self.cpu_quota {
            properties.push(("CPUQuota", quota.to_string()));
        }
        if let Some(weight) = self.cpu_weight {
            properties.push(("CPUWeight", weight.to_string()));
        }
        if let Some(tasks) = self.tasks_max {
            properties.push(("TasksMax", tasks.to_string()));
        }
        if let Some(weight) = self.io_weight {
            properties.push(("IOWeight", weight.to_string()));
        }
        for device in &self.io_max {
            properties.extend(device.unit_properties());
        }
        if let Some(cpus) = &self.allowed_cpus {
            properties.push(("AllowedCPUs", cpus.to_string()));
        }
        properties
    }
}
