//! appc's resource isolators (ace.md) of an image, as files of its app's leaf.

use super::plan::{AppInput, Input};
use rocket_plan::{Isolator, Isolators, LimitFile};
use serde_json::Value;

/// The isolators that are dealt with here.
pub(super) const NAMES: [&str; 5] = [
    "resource/memory",
    "resource/cpu",
    "resource/block-bandwidth",
    "resource/block-iops",
    "os/linux/cpu-shares",
];

/// One limit an image asks for.
#[derive(Debug, PartialEq, Eq)]
struct Wish {
    file: &'static str,
    value: String,
    /// Why that is not quite what the image says.
    changed: Option<String>,
}

/// Adds what the image asks for and the pod file does not say.
pub(super) fn add(
    input: &Input<'_>,
    app: &AppInput<'_>,
    files: &mut Vec<LimitFile>,
    isolators: &mut Isolators,
) {
    for (name, value) in &app.image.resources {
        let entry = |detail: String| Isolator { name: name.clone(), detail };
        // What a scheduler would look at when it chooses a host.
        if value.get("request").is_some() && name.starts_with("resource/") {
            let detail = "request: nothing is set aside on this host".to_owned();
            isolators.changed.push(entry(detail));
        }
        match wish(name, value, input.disk) {
            Ok(wish) if says(&app.app.limits, wish.file) => {
                isolators.changed.push(entry("the pod file says it otherwise".to_owned()));
            }
            Ok(wish) => files.push(LimitFile {
                name: name.clone(),
                file: wish.file.to_owned(),
                value: wish.value,
                changed: wish.changed,
                required: input.enforcement.requires(true),
                ..LimitFile::default()
            }),
            Err(why) => isolators.ignored.push(entry(why)),
        }
    }
}

/// Whether the pod file has a word on what a file limits.
fn says(limits: &rocket_podfile::Limits, file: &str) -> bool {
    match file {
        "memory.max" => limits.memory_max.is_some(),
        "cpu.max" => limits.cpu_quota.is_some(),
        "cpu.weight" => limits.cpu_weight.is_some(),
        _ => !limits.io_max.is_empty(),
    }
}

fn wish(name: &str, value: &Value, disk: Option<(u32, u32)>) -> Result<Wish, String> {
    let limit = || match value.get("limit") {
        Some(limit) => milli(limit).ok_or_else(|| format!("its limit {limit} is no quantity")),
        None => Err("it has no limit".to_owned()),
    };
    let plain = |file, value| Wish { file, value, changed: None };
    match name {
        "resource/memory" => Ok(plain("memory.max", limit()?.div_ceil(1000).to_string())),
        "resource/cpu" => match limit()? {
            0 => Err("a limit of no CPU at all would stop it".to_owned()),
            // The kernel's shortest quota is 1 ms, its usual period 100 ms, its longest 1 s.
            few @ 1..10 => Ok(plain("cpu.max", format!("1000 {}", 1_000_000 / few))),
            milli => Ok(plain("cpu.max", format!("{} 100000", milli.saturating_mul(100)))),
        },
        "os/linux/cpu-shares" => {
            let shares = milli(value).ok_or_else(|| format!("{value} is no number of shares"))?;
            // 1024 shares are what everything has that does not say, and so is a weight of 100.
            let exact = shares.saturating_mul(100);
            let weight = (exact.saturating_add(512_000) / 1_024_000).clamp(1, 10_000);
            let changed = (weight.saturating_mul(1_024_000) != exact)
                .then(|| format!("{value} shares on the scale of weights"));
            Ok(Wish { file: "cpu.weight", value: weight.to_string(), changed })
        }
        _ => {
            if value.get("default").and_then(Value::as_bool) != Some(true) {
                return Err("it does not say \"default\": true".to_owned());
            }
            let limit = limit()?.div_ceil(1000);
            if limit == 0 {
                return Err("a limit of 0 would stop the device".to_owned());
            }
            let Some((major, minor)) = disk else {
                return Err("the pod's files are on no block device".to_owned());
            };
            let (read, write) = match name {
                "resource/block-iops" => ("riops", "wiops"),
                _ => ("rbps", "wbps"),
            };
            let value = format!("{major}:{minor} {read}={limit} {write}={limit}");
            let changed = "on the disk of the pod's files, reading and writing each".to_owned();
            Ok(Wish { file: "io.max", value, changed: Some(changed) })
        }
    }
}

/// A quantity in thousandths: `42Mi`, `900m`, `1.5G`, a plain number.
fn milli(value: &Value) -> Option<u64> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let factor: u128 = match suffix {
        "m" => 1,
        "" => 1000,
        _ => {
            let (letter, step) = match suffix.strip_suffix('i') {
                Some(letter) => (letter, 1024u128),
                None => (suffix, 1000),
            };
            let power = match letter {
                "K" | "k" => 1,
                "M" => 2,
                "G" => 3,
                "T" => 4,
                "P" => 5,
                "E" => 6,
                _ => return None,
            };
            step.pow(power) * 1000
        }
    };
    let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && decimals.is_empty() || decimals.len() > 9 || whole.len() > 20 {
        return None;
    }
    let part = |digits: &str| if digits.is_empty() { Some(0) } else { digits.parse::<u128>().ok() };
    let scale = 10u128.pow(u32::try_from(decimals.len()).ok()?);
    let digits = part(whole)?.checked_mul(scale)?.checked_add(part(decimals)?)?;
    u64::try_from(digits.checked_mul(factor)?.div_ceil(scale)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn quantities() {
        let table = [
            (json!("42Mi"), Some(44_040_192_000)),
            (json!("900m"), Some(900)),
            (json!("1.5G"), Some(1_500_000_000_000)),
            (json!(12345), Some(12_345_000)),
            (json!("0.0001"), Some(1)),
            (json!("2K"), Some(2_000_000)),
            (json!("1Zi"), None),
            (json!("-1"), None),
            (json!("."), None),
            (json!("1.2.3"), None),
            (json!("99999999999999999999E"), None),
            (json!(true), None),
        ];
        for (value, expected) in table {
            assert_eq!(milli(&value), expected, "{value}");
        }
    }

    #[test]
    fn isolators_become_files() {
        let disk = Some((254, 0));
        let plain = |file, value: &str| Ok(Wish { file, value: value.to_owned(), changed: None });
        let limit = |text: &str| json!({ "limit": text });
        let table = [
            ("resource/memory", limit("42Mi"), plain("memory.max", "44040192")),
            ("resource/cpu", limit("900m"), plain("cpu.max", "90000 100000")),
            ("resource/cpu", limit("2"), plain("cpu.max", "200000 100000")),
            ("resource/cpu", limit("5m"), plain("cpu.max", "1000 200000")),
            ("os/linux/cpu-shares", json!(2048), plain("cpu.weight", "200")),
        ];
        for (name, value, expected) in table {
            assert_eq!(wish(name, &value, disk), expected, "{name} {value}");
        }
        let shares = wish("os/linux/cpu-shares", &json!(12345), disk).unwrap();
        assert_eq!((shares.value.as_str(), shares.changed.is_some()), ("1206", true));
        let io = json!({ "default": true, "limit": "2M" });
        let io = wish("resource/block-bandwidth", &io, disk).unwrap();
        assert_eq!(io.value, "254:0 rbps=2000000 wbps=2000000");
        for (name, value) in [
            ("resource/memory", json!({})),
            ("resource/memory", limit("much")),
            ("resource/cpu", limit("0")),
            ("resource/block-iops", limit("5")),
            ("os/linux/cpu-shares", json!({ "limit": "5" })),
        ] {
            assert!(wish(name, &value, disk).is_err(), "{name} {value}");
        }
    }
}
