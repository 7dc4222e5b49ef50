//! Sizes, times, shares and paths as other programs write them.

/// Bytes: `512m`, `1.5G`, `2gb`, `64MiB`; Docker counts to the base of 1024 whatever the suffix.
pub(super) fn docker_size(text: &str) -> Option<u64> {
    let (number, suffix) = split_number(text.trim())?;
    let power = match suffix.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" | "ki" => 1,
        "m" | "mb" | "mib" | "mi" => 2,
        "g" | "gb" | "gib" | "gi" => 3,
        "t" | "tb" | "tib" | "ti" => 4,
        "p" | "pb" | "pib" | "pi" => 5,
        _ => return None,
    };
    scaled(number, 1024_u64.pow(power))
}

/// A quantity of Kubernetes: `128Mi`, `1G`, `500m`, `1e3`; in thousandths.
pub(super) fn quantity(text: &str) -> Option<u64> {
    let (number, suffix) = split_number(text.trim())?;
    let factor: u64 = match suffix {
        "m" => return scaled(number, 1),
        "" => 1,
        "k" => 1000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        _ => return None,
    };
    scaled(number, factor.checked_mul(1000)?)
}

fn split_number(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    if end == 0 {
        return None;
    }
    Some((text.get(..end)?, text.get(end..)?.trim()))
}

/// A decimal number times `factor`, exact but for what is below one.
pub(super) fn scaled(number: &str, factor: u64) -> Option<u64> {
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    if part.len() > 9 || (whole.is_empty() && part.is_empty()) {
        return None;
    }
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let decimals: u128 = if part.is_empty() { 0 } else { part.parse().ok()? };
    let unit = 10_u128.pow(u32::try_from(part.len()).ok()?);
    let factor = u128::from(factor);
    let sum = whole.checked_mul(factor)?.checked_add(decimals.checked_mul(factor)? / unit)?;
    u64::try_from(sum).ok().filter(|sum| i64::try_from(*sum).is_ok())
}

/// Bytes as a pod file writes them: `256M`.
pub(super) fn size_text(bytes: u64) -> String {
    for (suffix, unit) in [("T", 1 << 40), ("G", 1 << 30), ("M", 1 << 20), ("K", 1_u64 << 10)] {
        if bytes > 0 && bytes.is_multiple_of(unit) {
            return format!("{}{suffix}", bytes / unit);
        }
    }
    bytes.to_string()
}

/// A time of Go: `1m30s`, `500ms`, `1h`; a bare number is seconds.
pub(super) fn go_time(text: &str) -> Option<String> {
    let mut rest = text.trim();
    if !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()) {
        return Some(format!("{rest}s"));
    }
    let mut parts = Vec::new();
    while !rest.is_empty() {
        let (number, after) = split_number(rest)?;
        let end = after.find(|c: char| !c.is_ascii_lowercase() && c != 'µ').unwrap_or(after.len());
        let (unit, next) = (after.get(..end)?, after.get(end..)?);
        let unit = match unit {
            "h" | "ms" | "us" | "s" | "d" | "w" => unit,
            "µs" => "us",
            "m" | "min" => "min",
            _ => return None,
        };
        parts.push(format!("{number}{unit}"));
        rest = next;
    }
    (!parts.is_empty()).then(|| parts.join(" "))
}

/// Thousandths of a processor as `cpu-quota`.
pub(super) fn cpu_quota(thousandths: u64) -> Option<String> {
    match (thousandths / 10, thousandths % 10) {
        (0, 0) => None,
        (whole, 0) => Some(format!("{whole}%")),
        (whole, part) => Some(format!("{whole}.{part}%")),
    }
}

/// `cpu-shares` (2 to 262144, 1024 is usual) as cgroup v2's weight (1 to 10000), the way runtimes do it.
pub(super) fn cpu_weight(shares: u64) -> Option<i64> {
    let shares = shares.clamp(2, 262_144);
    i64::try_from(1 + (shares - 2) * 9999 / 262_142).ok()
}

/// A weight of Docker's `blkio` (10 to 1000) as cgroup v2's (1 to 10000).
pub(super) fn io_weight(weight: u64) -> Option<i64> {
    i64::try_from(1 + (weight.clamp(10, 1000) - 10) * 9999 / 990).ok()
}

/// An absolute path without `.` and `..`; `~` and relative paths start from where they do.
pub(super) fn absolute(path: &str, base: &str, home: &str) -> String {
    let joined = match path.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => format!("{home}{rest}"),
        _ if path.starts_with('/') => path.to_owned(),
        _ => format!("{base}/{path}"),
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in joined.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// `yes`, `true`, `1`, `on`.
pub(super) fn boolean(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "" | "1" | "true" | "yes" | "on" | "t" | "y" => Some(true),
        "0" | "false" | "no" | "off" | "f" | "n" => Some(false),
        _ => None,
    }
}

/// Base64, as the data of a Secret is written.
pub(super) fn base64(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let (mut buffer, mut bits) = (0_u32, 0_u32);
    for b in text.bytes().filter(|b| !b.is_ascii_whitespace() && *b != b'=') {
        let digit = match b {
            b'A'..=b'Z' => b - b'A',
            b'a'..=b'z' => b - b'a' + 26,
            b'0'..=b'9' => b - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        buffer = (buffer << 6 | u32::from(digit)) & 0xff_ffff;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push(u8::try_from(buffer >> bits & 0xff).ok()?);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_write() {
        assert_eq!(docker_size("1.5g"), Some(3 << 29));
        assert_eq!(docker_size("64MiB").map(size_text), Some("64M".to_owned()));
        assert_eq!(docker_size("x"), None);
        assert_eq!(docker_size("99999999999p"), None);
        assert_eq!(quantity("500m"), Some(500));
        assert_eq!(quantity("128Mi").map(|q| size_text(q / 1000)), Some("128M".to_owned()));
        assert_eq!(go_time("1m30s").as_deref(), Some("1min 30s"));
        assert_eq!(go_time("90").as_deref(), Some("90s"));
        assert_eq!((go_time("1x"), go_time("")), (None, None));
        assert_eq!(cpu_quota(1500).as_deref(), Some("150%"));
        assert_eq!(cpu_quota(5).as_deref(), Some("0.5%"));
        assert_eq!(
            (cpu_weight(1024), cpu_weight(2), cpu_weight(262_144)),
            (Some(39), Some(1), Some(10000))
        );
        assert_eq!(absolute("../x/./y", "/a/b", "/root"), "/a/x/y");
        assert_eq!(absolute("~/x", "/a", "/root"), "/root/x");
        assert_eq!(base64("c2VjcmV0").as_deref(), Some(&b"secret"[..]));
        assert_eq!(base64("YQ==").as_deref(), Some(&b"a"[..]));
        assert_eq!(base64("!"), None);
    }
}
