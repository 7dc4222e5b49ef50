//! Calendar events (systemd.time(7)).

/// Words that stand for a whole event.
pub(crate) const WORDS: [&str; 11] = [
    "minutely",
    "hourly",
    "daily",
    "monthly",
    "weekly",
    "yearly",
    "annually",
    "anually",
    "quarterly",
    "semiannually",
    "biannually",
];
/// Days, long and short.
pub(crate) const DAYS: [&str; 14] = [
    "mon",
    "monday",
    "tue",
    "tuesday",
    "wed",
    "wednesday",
    "thu",
    "thursday",
    "fri",
    "friday",
    "sat",
    "saturday",
    "sun",
    "sunday",
];

/// Reads an event: `[WEEKDAYS] [DATE] [TIME] [ZONE]`, each part once and in this order. The form of
/// each part is checked, so that systemd does not find a broken timer later.
pub(crate) fn parse_calendar(text: &str) -> Result<String, String> {
    let bad = |why: &str| {
        Err(format!("{text:?} is not a calendar event: {why}; for example \"Mon..Fri 03:00\""))
    };
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let Some(first) = words.first() else { return bad("it is empty") };
    if WORDS.contains(&first.to_ascii_lowercase().as_str()) {
        return match words.as_slice() {
            [_] => Ok(text.trim().to_owned()),
            [_, zone] if is_zone(zone) => Ok(words.join(" ")),
            _ => bad("only a time zone may follow such a word"),
        };
    }
    let mut rest = words.as_slice();
    let mut parts = 0;
    for is_part in [is_weekdays, is_date, is_time, is_zone] {
        if let Some((word, more)) = rest.split_first()
            && is_part(word)
        {
            rest = more;
            parts += 1;
        }
    }
    match rest.first() {
        Some(word) => bad(&format!("{word:?} is no weekday, date, time or zone in its place")),
        None if parts == 1 && words.iter().all(|word| is_zone(word)) => bad("it has only a zone"),
        None => Ok(words.join(" ")),
    }
}

fn is_weekdays(word: &str) -> bool {
    let word = word.strip_suffix(',').unwrap_or(word);
    let day = |day: &str| DAYS.contains(&day.to_ascii_lowercase().as_str());
    word.split(',').all(|part| match part.split_once("..") {
        Some((first, last)) => day(first) && day(last),
        None => day(part),
    })
}

fn is_date(word: &str) -> bool {
    if let Some(seconds) = word.strip_prefix('@') {
        return !seconds.is_empty() && seconds.bytes().all(|b| b.is_ascii_digit());
    }
    let (month, day) = match word.rsplit_once('~') {
        Some((before, day)) => (before, day),
        None => match word.rsplit_once('-') {
            Some((before, day)) => (before, day),
            None => return false,
        },
    };
    let (year, month) = match month.rsplit_once('-') {
        Some((year, month)) => (Some(year), month),
        None => (None, month),
    };
    year.is_none_or(|year| is_numbers(year, 1970, 2199) || is_numbers(year, 0, 99))
        && is_numbers(month, 1, 12)
        && is_numbers(day, 1, 31)
}

fn is_time(word: &str) -> bool {
    let parts: Vec<&str> = word.split(':').collect();
    match parts.as_slice() {
        [hour, minute] => is_numbers(hour, 0, 23) && is_numbers(minute, 0, 59),
        [hour, minute, second] => {
            is_numbers(hour, 0, 23) && is_numbers(minute, 0, 59) && is_seconds(second)
        }
        _ => false,
    }
}

/// `UTC` or `Region/City`: whether the host knows it only the host can say.
fn is_zone(word: &str) -> bool {
    let named = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic())
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+-".contains(&b))
    };
    word == "UTC" || (word.contains('/') && word.split('/').all(named))
}

/// `*`, `5`, `1..5`, `*/2`, `0/15`, `1,3,8..10/2`.
fn is_numbers(text: &str, min: u32, max: u32) -> bool {
    text.split(',').all(|part| {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (part, None),
        };
        let number = |text: &str| {
            text.len() <= 4
                && text.bytes().all(|b| b.is_ascii_digit())
                && text.parse().is_ok_and(|n: u32| (min..=max).contains(&n))
        };
        let step = step.is_none_or(|step| step.parse::<u32>().is_ok_and(|n| n > 0));
        let range = range == "*"
            || match range.split_once("..") {
                Some((first, last)) => number(first) && number(last),
                None => number(range),
            };
        range && step
    })
}

/// Seconds may have decimals.
fn is_seconds(text: &str) -> bool {
    text.split(',').all(|part| {
        let whole: Vec<&str> = part.split('/').map(|n| n.split('.').next().unwrap_or(n)).collect();
        let digits = part.bytes().all(|b| b.is_ascii_digit() || b"./*".contains(&b));
        digits && is_numbers(&whole.join("/"), 0, 59)
    }) || is_numbers(text, 0, 59)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events() {
        for text in [
            "daily",
            "weekly UTC",
            "03:00",
            "*-*-* 03:00:00",
            "Mon..Fri 08:30",
            "Sat,Sun 2026-*-01 12:00 Europe/Berlin",
            "*-*-1/4 *:0/15",
            "*-02~03",
            "*:*:0/10",
            "Mon",
            "@1395716396",
            "2026-11-23",
        ] {
            assert_eq!(parse_calendar(text).as_deref(), Ok(text));
        }
        for text in [
            "",
            "often",
            "25:00",
            "13-32",
            "Mon..Blurb",
            "daily 03:00",
            "03:00 Mon",
            "x y z",
            "UTC",
        ] {
            assert!(parse_calendar(text).is_err(), "{text}");
        }
    }
}
