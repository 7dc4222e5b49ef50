//! Time spans as systemd writes them: `90`, `500ms`, `1min 30s`, `1.5h`, `infinity`.

use std::fmt;
use std::time::Duration;

/// A time span that may be endless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TimeSpan {
    /// Of this length, to the microsecond.
    Finite(Duration),
    /// `infinity`.
    Infinity,
}

impl fmt::Display for TimeSpan {
    /// As a unit file takes it: one number with one unit, exact.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Infinity => f.write_str("infinity"),
            Self::Finite(span) => {
                let us = span.as_micros();
                match us {
                    _ if us % 1_000_000 == 0 => write!(f, "{}s", us / 1_000_000),
                    _ if us % 1_000 == 0 => write!(f, "{}ms", us / 1_000),
                    _ => write!(f, "{us}us"),
                }
            }
        }
    }
}

/// Microseconds of each unit, by all the names systemd.time(7) gives it.
const UNITS: &[(&[&str], u64)] = &[
    (&["usec", "us", "µs", "μs"], 1),
    (&["msec", "ms"], 1_000),
    (&["seconds", "second", "sec", "s"], 1_000_000),
    (&["minutes", "minute", "min", "m"], 60_000_000),
    (&["hours", "hour", "hr", "h"], 3_600_000_000),
    (&["days", "day", "d"], 86_400_000_000),
    (&["weeks", "week", "w"], 604_800_000_000),
    (&["months", "month", "M"], 2_629_800_000_000),
    (&["years", "year", "y"], 31_557_600_000_000),
];

/// All names of units.
pub(crate) fn units() -> Vec<&'static str> {
    UNITS.iter().flat_map(|(names, _)| names.iter().copied()).collect()
}

impl std::str::FromStr for TimeSpan {
    type Err = String;

    /// Reads a span as systemd writes it: `1min 30s`, `500ms`, `infinity`; a bare number is
    /// seconds (systemd.time(7)).
    fn from_str(text: &str) -> Result<Self, String> {
        parse_time_span(text)
    }
}

/// Reads a time span.
pub(crate) fn parse_time_span(text: &str) -> Result<TimeSpan, String> {
    let trimmed = text.trim();
    if trimmed == "infinity" {
        return Ok(TimeSpan::Infinity);
    }
    if trimmed.is_empty() {
        return Err("an empty time span; write it like \"500ms\" or \"1min 30s\"".to_owned());
    }
    let mut rest = trimmed;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        // A sign belongs to a digit.
        let unsigned = match rest.strip_prefix('+') {
            Some(after) if after.starts_with(|c: char| c.is_ascii_digit()) => after,
            _ => rest,
        };
        let (number, after) = split_while(unsigned, |c| c.is_ascii_digit() || c == '.');
        if number.is_empty() {
            return Err(format!(
                "{text:?} is not a time span: a number is missing before {rest:?}"
            ));
        }
        if after.starts_with('+') {
            return Err(format!("{text:?} is not a time span: a unit is missing before {after:?}"));
        }
        let (unit, after) = split_while(after.trim_start(), char::is_alphabetic);
        let scale = match unit {
            "" => 1_000_000,
            _ => unit_scale(unit).ok_or_else(|| {
                format!("{text:?} is not a time span: no unit of time is called {unit:?}")
            })?,
        };
        // ".5" is a half; "." and "5." are nothing.
        let number = match number.strip_prefix('.') {
            Some(decimals) if !decimals.is_empty() => format!("0.{decimals}"),
            _ => number.to_owned(),
        };
        let part = scaled(&number, scale)
            .filter(|_| whole_in_bounds(&number, scale))
            .ok_or_else(|| format!("{text:?} is not a time span: {number:?} is out of range"))?;
        total = total
            .checked_add(part)
            .filter(|us| *us < u64::MAX)
            .ok_or_else(|| format!("{text:?} is too long a time"))?;
        rest = after.trim_start();
    }
    Ok(TimeSpan::Finite(Duration::from_micros(total)))
}

/// systemd reads the number as one with a sign, and refuses it in a unit where it could be endless.
fn whole_in_bounds(number: &str, scale: u64) -> bool {
    let whole = number.split('.').next().and_then(|whole| whole.parse::<u64>().ok());
    whole.is_some_and(|whole| i64::try_from(whole).is_ok() && whole < u64::MAX / scale)
}

/// Reads a time span that must end.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    match parse_time_span(text)? {
        TimeSpan::Finite(span) => Ok(span),
        TimeSpan::Infinity => Err("this time has to end; \"infinity\" is not allowed".to_owned()),
    }
}

fn unit_scale(unit: &str) -> Option<u64> {
    UNITS.iter().find(|(names, _)| names.contains(&unit)).map(|(_, scale)| *scale)
}

fn split_while(text: &str, accept: impl Fn(char) -> bool) -> (&str, &str) {
    let end = text.find(|c| !accept(c)).unwrap_or(text.len());
    text.split_at(end)
}

/// `number`, which may have decimals, times `scale`, cut to a whole. `None` = not a number, or
/// too large.
pub(crate) fn scaled(number: &str, scale: u64) -> Option<u64> {
    let (whole, decimals) = match number.split_once('.') {
        None => (number, ""),
        Some((_, "")) => return None,
        Some(parts) => parts,
    };
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(decimals) {
        return None;
    }
    let whole = u128::from(whole.parse::<u64>().ok()?) * u128::from(scale);
    // More digits than these cannot change the result of any scale in use by a whole.
    let decimals = decimals.get(..18).unwrap_or(decimals);
    let fraction = match decimals.parse::<u64>() {
        Err(_) => 0,
        Ok(value) => {
            let power = 10u128.checked_pow(u32::try_from(decimals.len()).ok()?)?;
            u128::from(value) * u128::from(scale) / power
        }
    };
    u64::try_from(whole + fraction).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_as_systemd_reads_them() {
        let table = [
            ("90", "90s"),
            ("500ms", "500ms"),
            ("1min 30s", "90s"),
            ("1min30s", "90s"),
            ("1.5h", "5400s"),
            ("2 h", "7200s"),
            ("0", "0s"),
            ("5us", "5us"),
            ("1d", "86400s"),
            ("1week", "604800s"),
            ("1month", "2629800s"),
            ("1y", "31557600s"),
            (" infinity ", "infinity"),
            ("0.25s", "250ms"),
            ("1s 1s", "2s"),
            (".5s", "500ms"),
            ("1s .5s", "1500ms"),
            ("+1", "1s"),
            ("1s+1s", "2s"),
            ("584541y", "18446711061600s"),
            ("9223372036854775807us", "9223372036854775807us"),
        ];
        for (text, expected) in table {
            assert_eq!(parse_time_span(text).unwrap().to_string(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_not_a_span_is_refused() {
        let table = [
            "",
            " ",
            "s",
            "5 parsecs",
            "-5s",
            "1..5s",
            "1.s",
            ".s",
            "+.5s",
            "++1",
            "+ 1s",
            "1+1",
            "1.5.5s",
            "584542y",
            "9223372036854775808us",
            "9223372036854775807",
            "5s-",
            "ten",
            "99999999999999999999",
            "18446744073709551615y",
            "5s infinity",
        ];
        for text in table {
            assert!(parse_time_span(text).is_err(), "{text}");
        }
        assert!(parse_duration("infinity").is_err());
    }
}
