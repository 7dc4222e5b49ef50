//! Calendars and time spans: lint lets through nothing that this systemd refuses, and refuses
//! nothing that it takes. This runs under 252 and 257, which agree on all that is here.

use rocket_testkit::{Command, require_bed};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;

/// Of `systemd-analyze calendar`; the judgement is compared, so none is written down.
const CALENDARS: [&str; 107] = [
    "daily",
    "DAILY",
    "anually",
    "semiannually",
    "weekly UTC",
    "daily utc",
    "daily 03:00",
    "minutely Europe/Berlin",
    "03:00",
    "3:0",
    "003:00",
    "03:00:00.5",
    "24:00",
    "23:59:59",
    "23:59:60",
    "03:60",
    "*-*-* 03:00:00",
    "*-*-*  03:00",
    "*-*-*T03:00",
    "Mon..Fri 08:30",
    "Mon-Fri 03:00",
    "Monday..Friday",
    "Mon..friday 1:1",
    "Fri..Mon 03:00",
    "Sun..Tue",
    "Mon...Fri",
    "Mon..",
    "..Fri",
    "Mon,",
    "Mon,,Tue",
    ",Mon",
    "Mon,Tue,Wed",
    "Mon Tue",
    "Moon",
    "Mond",
    "Mon 2026-*-01 12:00",
    "*-*-1/4 *:0/15",
    "*-*-1,2,3",
    "*-*-1..3,7..9/2",
    "*-02~03",
    "*~*",
    "*~1",
    "*-*~7/1",
    "*-*~1/2",
    "*-*~1..3",
    "*-*~3..1",
    "*-*~32",
    "*:*:0/10",
    "*:*:0/0.5",
    "*:*:1.5..3.5",
    "*:*:1..5/0.5",
    "*:*:5..5",
    "*:*:3..1",
    "*:*:5/54",
    "*:*:5/55",
    "*:*:0/61",
    "*:*:0/0",
    "*:*:*/2",
    "*:*:.5",
    "*:*:1.",
    "*:*:0/0.0000001",
    "*:*:0/0.0000004",
    "*:*:0/0.0000005",
    "*:*:59.9999994",
    "*:*:59.9999999",
    "*:0/59",
    "*:0/60",
    "*:1..5/9",
    "*:5..5",
    "5..3:00",
    "*/5:00",
    "23/1:00",
    "0005:00",
    "+5:00",
    "-5:00",
    "5,:00",
    "*:0/30/2",
    "1..2..3:00",
    "2026",
    "2026-11",
    "2026-11-23",
    "2026-11-23 25:00",
    "2026-02-31",
    "2026-13-01",
    "2026-00-01",
    "2026-01-00",
    "02-30",
    "2020/5-1-1",
    "2020/300-1-1",
    "2020..2019-1-1",
    "69-1-1",
    "70-1-1",
    "100-1-1",
    "1969-1-1",
    "1970-1-1",
    "2199-1-1",
    "2200-1-1",
    "often",
    "03:00 Mon",
    "UTC",
    "03:00Z",
    "03:00 UTC+1",
    "@1395716396",
    "@-5",
    "@5.5",
    "@99999999999999",
    "@",
];

/// Of `systemd-analyze timespan`.
const SPANS: [&str; 56] = [
    "90",
    "0",
    "00",
    "500ms",
    "500 ms",
    "1min 30s",
    "1min30s",
    "1.5h",
    "2 h",
    "1d",
    "1D",
    "1M",
    "1m",
    "1week",
    "1weeks",
    "1fortnight",
    "1month",
    "1y",
    "1years",
    "5usec",
    "5us",
    "5µs",
    "5ns",
    "5nsec",
    "infinity",
    "Infinity",
    " infinity ",
    "infinity s",
    "5s infinity",
    "0.25s",
    ".5s",
    "1s .5s",
    "5.s",
    ".s",
    ".",
    "1..5s",
    "1.5.5s",
    "1,5s",
    "+1",
    "++1",
    "+ 1s",
    "+.5s",
    "1s+1s",
    "1+1",
    "-5s",
    "1s -1s",
    "5s-",
    "s",
    "ten",
    "0x10",
    "1e3",
    "584541y",
    "584542y",
    "9223372036854775807us",
    "9223372036854775807",
    "99999999999999999999",
];

/// The inputs that `systemd-analyze VERB` takes, asked in one process.
fn taken(verb: &str, inputs: &[&str]) -> BTreeSet<String> {
    let script = r#"verb=$1; shift
for text; do systemd-analyze "$verb" -- "$text" >/dev/null 2>&1 && printf '%s\n' "$text"; done; :"#;
    let done = Command::new("sh").args(["-c", script, "sh", verb]).args(inputs).seconds(100).run();
    done.ok().stdout.lines().map(str::to_owned).collect()
}

#[test]
fn lint_judges_calendars_and_time_spans_as_this_systemd_does() {
    require_bed("ns");
    let dir = tempfile::tempdir().unwrap();
    let mut lint = Command::new("rocket").args(["lint", "--format=json"]).seconds(100);
    let mut files = BTreeMap::new();
    let cases = CALENDARS.iter().map(|text| (*text, format!("calendar = [{text:?}]")));
    let cases = cases.chain(SPANS.iter().map(|text| (*text, format!("every = {text:?}"))));
    for (number, (text, key)) in cases.enumerate() {
        let path = dir.path().join(format!("case-{number}.toml")).to_str().unwrap().to_owned();
        let file = format!("network = \"none\"\n[app.a]\nimage = \"a\"\n[schedule]\n{key}\n");
        fs::write(&path, file).unwrap();
        lint = lint.args([&path]);
        files.insert(path, text);
    }
    let found: serde_json::Value = serde_json::from_str(&lint.run().stdout).unwrap();
    let errors = found.as_array().unwrap().iter().filter(|finding| finding["severity"] == "error");
    let refused: BTreeSet<&str> = errors.map(|f| files[f["file"].as_str().unwrap()]).collect();
    let mut different = String::new();
    let mut counts = [0, 0];
    for (verb, inputs) in [("calendar", CALENDARS.as_slice()), ("timespan", SPANS.as_slice())] {
        let taken = taken(verb, inputs);
        for text in inputs {
            let (ours, theirs) = (!refused.contains(text), taken.contains(*text));
            counts[usize::from(ours)] += 1;
            if ours != theirs {
                writeln!(different, "{verb} {text:?}: lint {ours}, systemd {theirs}").unwrap();
            }
        }
    }
    assert_eq!(different, "");
    assert!(counts[0] >= 30 && counts[1] >= 30, "{counts:?}");
}
