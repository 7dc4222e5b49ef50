//! `io-max`: bandwidth and operations per second of one device.

/// What one device may give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IoMax {
    /// A device node, or any path on the file system of the device.
    pub path: String,
    /// `read-bandwidth` in bytes per second.
    pub read_bandwidth: Option<u64>,
    /// `write-bandwidth` in bytes per second.
    pub write_bandwidth: Option<u64>,
    /// `read-iops`.
    pub read_iops: Option<u64>,
    /// `write-iops`.
    pub write_iops: Option<u64>,
}

impl IoMax {
    /// One line for the kernel's `io.max`, for the device the caller found at `path`.
    pub fn cgroup_value(&self, major: u32, minor: u32) -> String {
        let mut line = format!("{major}:{minor}");
        let parts = [
            ("rbps", self.read_bandwidth),
            ("wbps", self.write_bandwidth),
            ("riops", self.read_iops),
            ("wiops", self.write_iops),
        ];
        for (key, value) in parts {
            if let Some(value) = value {
                line.push_str(&format!(" {key}={value}"));
            }
        }
        line
    }

    /// systemd's directives for this device.
    pub fn unit_properties(&self) -> Vec<(&'static str, String)> {
        let parts = [
            ("IOReadBandwidthMax", self.read_bandwidth),
            ("IOWriteBandwidthMax", self.write_bandwidth),
            ("IOReadIOPSMax", self.read_iops),
            ("IOWriteIOPSMax", self.write_iops),
        ];
        parts
            .into_iter()
            .filter_map(|(name, value)| value.map(|v| (name, format!("{} {v}", self.path))))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms() {
        let max = IoMax {
            path: "/dev/sda".into(),
            read_bandwidth: Some(10_000_000),
            write_bandwidth: None,
            read_iops: None,
            write_iops: Some(100),
        };
        assert_eq!(max.cgroup_value(8, 0), "8:0 rbps=10000000 wiops=100");
        assert_eq!(
            max.unit_properties(),
            [
                ("IOReadBandwidthMax", "/dev/sda 10000000".to_owned()),
                ("IOWriteIOPSMax", "/dev/sda 100".to_owned())
            ]
        );
    }
}
