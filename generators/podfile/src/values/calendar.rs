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

/// The week begins on Monday, and a range goes forward.
fn is_weekdays(word: &str) -> bool {
    let word = word.strip_suffix(',').unwrap_or(word);
    let day = |day: &str| {
        let day = day.to_ascii_lowercase();
        DAYS.iter().position(|name| *name == day).map(|at| at / 2)
    };
    word.split(',').all(|part| match part.split_once("..").or_else(|| part.split_once('-')) {
        Some((first, last)) => match (day(first), day(last)) {
            (Some(first), Some(last)) => first <= last,
            _ => false,
        },
        None => day(part).is_some(),
    })
}

fn is_date(word: &str) -> bool {
    if let Some(seconds) = word.strip_prefix('@') {
        return is_digits(seconds) && seconds.parse().is_ok_and(|at: u64| at <= LAST_SECOND);
    }
    let (month, day, from_end) = match word.rsplit_once('~') {
        Some((before, day)) => (before, day, true),
        None => match word.rsplit_once('-') {
            Some((before, day)) => (before, day, false),
            None => return false,
        },
    };
    let (year, month) = match month.rsplit_once('-') {
        Some((year, month)) => (Some(year), month),
        None => (None, month),
    };
    let day_fits = if from_end { is_chain(day, DAY_FROM_END) } else { is_chain(day, DAY) };
    year.is_none_or(is_year) && is_chain(month, MONTH) && day_fits
}

/// Of two digits: 70 to 99 are of the last century, the others of this one.
fn is_year(text: &str) -> bool {
    let century = |year: u64| match year {
        0..70 => year + 2000,
        70..100 => year + 1900,
        _ => year,
    };
    is_chain_of(text, YEAR, |text| whole(text).map(century), whole)
}

fn is_time(word: &str) -> bool {
    let parts: Vec<&str> = word.split(':').collect();
    match parts.as_slice() {
        [hour, minute] => is_chain(hour, HOUR) && is_chain(minute, MINUTE),
        [hour, minute, second] => {
            is_chain(hour, HOUR)
                && is_chain(minute, MINUTE)
                && is_chain_of(second, SECOND, microseconds, microseconds)
        }
        _ => false,
    }
}

/// `UTC` or `Region/City`. Others, `CET` say, some hosts know and some do not. Whether a host knows
/// this one only the host can say.
fn is_zone(word: &str) -> bool {
    let named = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic())
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+-".contains(&b))
    };
    word.eq_ignore_ascii_case("UTC")
        || matches!(word, "GMT" | "localtime")
        || is_short_zone(word)
        || (word.contains('/') && word.split('/').all(named))
}

/// Zones of one word that come with tzdata or tzdata-legacy: `CET`, `EST5EDT`, `Japan`.
fn is_short_zone(word: &str) -> bool {
    let is_day = DAYS.contains(&word.to_ascii_lowercase().as_str());
    let fine = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    word.len() >= 3
        && !is_day
        && word.starts_with(|c: char| c.is_ascii_uppercase())
        && word.bytes().all(fine)
}

/// The last second that systemd has a date for: in the year 9999.
const LAST_SECOND: u64 = 253_402_214_399;

/// What a part of an event may be.
#[derive(Clone, Copy)]
struct Bounds {
    min: u64,
    max: u64,
    /// The step of a range that says none.
    step: u64,
    /// Days before the end of the month: steps go towards the first.
    from_end: bool,
}

const fn bounds(min: u64, max: u64) -> Bounds {
    Bounds { min, max, step: 0, from_end: false }
}

const YEAR: Bounds = bounds(1970, 2199);
const MONTH: Bounds = bounds(1, 12);
const DAY: Bounds = bounds(1, 31);
const DAY_FROM_END: Bounds = Bounds { from_end: true, ..DAY };
const HOUR: Bounds = bounds(0, 23);
const MINUTE: Bounds = bounds(0, 59);
const SECOND: Bounds = Bounds { step: 1_000_000, ..bounds(0, 59_999_999) };

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn whole(text: &str) -> Option<u64> {
    text.parse().ok().filter(|_| is_digits(text))
}

/// Seconds, which may have decimals, in microseconds.
fn microseconds(text: &str) -> Option<u64> {
    let (seconds, decimals) = match text.split_once('.') {
        None => (text, None),
        Some((seconds, decimals)) => (seconds, Some(decimals)),
    };
    let decimals = decimals.unwrap_or("0");
    if !is_digits(decimals) {
        return None;
    }
    let mut fraction = 0;
    let mut digits = decimals.bytes().chain(*b"0000000");
    for digit in digits.by_ref().take(6) {
        fraction = fraction * 10 + u64::from(digit - b'0');
    }
    // systemd rounds, and 59.9999999 is a second too many.
    fraction += u64::from(digits.next().is_some_and(|digit| digit >= b'5'));
    whole(seconds)?.checked_mul(1_000_000)?.checked_add(fraction)
}

fn is_chain(text: &str, bounds: Bounds) -> bool {
    is_chain_of(text, bounds, whole, whole)
}

/// `*`, `5`, `1..5`, `0/15`, `1,3,8..10/2`: numbers in bounds, ranges that go forward, and steps of
/// which at least one has room.
fn is_chain_of(
    text: &str,
    bounds: Bounds,
    number: impl Fn(&str) -> Option<u64>,
    length: impl Fn(&str) -> Option<u64>,
) -> bool {
    if text == "*" {
        return true;
    }
    text.split(',').all(|part| {
        let (range, step) = match part.split_once('/') {
            None => (part, None),
            Some((range, step)) => match length(step) {
                None | Some(0) => return false,
                step => (range, step),
            },
        };
        let (first, last) = match range.split_once("..") {
            None => (number(range), None),
            Some((first, last)) => match number(last) {
                None => return false,
                last => (number(first), last),
            },
        };
        let within = |n: &u64| (bounds.min..=bounds.max).contains(n);
        let Some(first) = first.filter(within) else { return false };
        match (last, step) {
            (None, None) => true,
            (None, Some(step)) if bounds.from_end => {
                first.checked_sub(step).is_some_and(|n| within(&n))
            }
            (None, Some(step)) => first.checked_add(step).is_some_and(|n| within(&n)),
            (Some(last), None) => within(&last) && first + bounds.step <= last,
            (Some(last), Some(_)) => within(&last) && first <= last,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What systemd 252 and 257 both take.
    const GOOD: &[&str] = &[
        "daily",
        "weekly UTC",
        "daily utc",
        "minutely Europe/Berlin",
        "03:00",
        "*-*-* 03:00:00",
        "Mon..Fri 08:30",
        "Mon-Fri 03:00",
        "Mon-Wed,Fri 1:0",
        "Mon..Mon",
        "Mon,Tue,",
        "Sat,Sun 2026-*-01 12:00 Europe/Berlin",
        "*-*-1/4 *:0/15",
        "*-02~03",
        "*~*",
        "*-*~7/1",
        "*-*~1..3",
        "*:*:0/10",
        "*:*:0/0.5",
        "*:*:0/0.0000005",
        "*:*:59.9999994",
        "*:*:1.5..3.5",
        "*:*:1..5/0.5",
        "*:*:5/54",
        "*:0/59",
        "*:1..5/9",
        "*:5..5",
        "*-*-1..31/40",
        "0005:00",
        "2020/5-1-1",
        "69-1-1",
        "70-1-1",
        "2026-02-31",
        "02-30",
        "Mon",
        "@1395716396",
        "2026-11-23",
        "03:00 localtime",
        "03:00 GMT",
    ];

    /// What neither takes.
    const BAD: &[&str] = &[
        "",
        "often",
        "25:00",
        "13-32",
        "Mon..Blurb",
        "daily 03:00",
        "03:00 Mon",
        "x y z",
        "UTC",
        "Fri..Mon 03:00",
        "Sun..Tue",
        "Mon...Fri",
        "5..3:00",
        "*:*:*/0",
        "*:*/0",
        "*:*:*/2",
        "*:*:5/0",
        "*/5:00",
        "*:0/60",
        "*:0/1000",
        "*:*:0/61",
        "*:*:5/55",
        "*:*:5..5",
        "*:*:3..1",
        "*:*:.5",
        "*:*:1.",
        "*:*:0/0.0000001",
        "*:*:59.9999999999:1",
        "*:*:59.9999999",
        "*:*:0/0.0000004",
        "03:00:60",
        "23/1:00",
        "*-12/1-1",
        "*-*-0/32",
        "*-*-31/1",
        "*-*-*/31",
        "*-*~1/2",
        "*-*~3..1",
        "*-*~40",
        "2020..2019-1-1",
        "2020/300-1-1",
        "1969-1-1",
        "2200-1-1",
        "5,:00",
        "*:00,,5",
        "*:0/30/2",
        "+5:00",
        "03:00 UTC+1",
        "12:00 ../UTC",
        "03:00Z",
        "@-5",
        "@5.5",
        "@99999999999999",
    ];

    #[test]
    fn events() {
        for text in GOOD {
            assert_eq!(parse_calendar(text).as_deref(), Ok(*text));
        }
        for text in BAD {
            assert!(parse_calendar(text).is_err(), "{text}");
        }
        // The next ones only some hosts have.
        for text in ["03:00 CET", "03:00 EST5EDT"] {
            assert_eq!(parse_calendar(text).as_deref(), Ok(text));
        }
    }
}
