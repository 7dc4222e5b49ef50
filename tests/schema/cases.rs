//! Pod files to ask reader and schema about: made from the grammar's table of keys, so that a new key
//! is asked about without anybody thinking of it.

use super::values::{OTHERS, TEXTS};
use rocket_podfile::{Table, Takes, pod_file};

/// What drop-ins are laid over.
pub const BASE: &str = "network = \"none\"\n[app.web]\nimage = \"i\"\n[app.db]\nimage = \"i\"\n\
                        [volume.data]\nkind = \"state\"\n";

/// What the other keys are in which a key is tried: dotted keys and values.
type Around = Vec<(String, String)>;

fn around(pairs: &[(&str, &str)]) -> Around {
    let fixed = [
        ("network", "\"none\""),
        ("app.web.image", "\"i\""),
        ("app.db.image", "\"i\""),
        ("volume.data.kind", "\"state\""),
    ];
    let taken = |key: &str| pairs.iter().any(|(other, _)| *other == key);
    let fixed = fixed.iter().filter(|(key, _)| !taken(key));
    fixed.chain(pairs).map(|(key, value)| (key.to_string(), value.to_string())).collect()
}

/// A place for keys: what is around it, the path of the table, and the table.
struct Place {
    around: Vec<Around>,
    path: String,
    table: &'static Table,
}

/// The tables of the grammar, with names for those that the user names.
fn places() -> Vec<Place> {
    let mut places = Vec::new();
    walk(String::new(), pod_file(), &mut places);
    places
}

fn walk(path: String, table: &'static Table, places: &mut Vec<Place>) {
    let around = match path.as_str() {
        "volume.data" => vec![
            around(&[("volume.data.mode", "\"0755\"")]),
            around(&[("volume.data.kind", "\"tmpfs\""), ("volume.data.size", "5")]),
            around(&[("volume.data.kind", "\"host\""), ("volume.data.source", "\"/srv\"")]),
        ],
        "port.http" => {
            let port = [
                ("network", "\"host\""),
                ("port.http.app", "\"web\""),
                ("port.http.port", "8080"),
                ("port.http.activation", "true"),
            ];
            vec![around(&port), around(&port[..3])]
        }
        "schedule" => vec![
            around(&[("schedule.calendar", "[\"daily\"]")]),
            around(&[("schedule.every", "\"1h\"")]),
            around(&[]),
        ],
        "app.web.mounts.\"/srv\"" => {
            vec![around(&[("app.web.mounts.\"/srv\".volume", "\"data\"")])]
        }
        "dns" => vec![around(&[]), around(&[("dns.search", "[\"example\"]")])],
        "app.web" => vec![around(&[]), around(&[("app.web.kind", "\"oneshot\"")])],
        _ => vec![around(&[])],
    };
    places.push(Place { around, path: path.clone(), table });
    for key in table.keys {
        let path =
            if path.is_empty() { key.name.to_owned() } else { format!("{path}.{}", key.name) };
        below(path, &key.takes, places);
    }
}

fn below(path: String, takes: &'static Takes, places: &mut Vec<Place>) {
    match takes {
        Takes::Table(table) => walk(path, table, places),
        Takes::Tables(table) => {
            let name = match path.as_str() {
                "app" => "web",
                "volume" => "data",
                "port" => "http",
                _ => "one",
            };
            walk(format!("{path}.{name}"), table, places);
        }
        Takes::Map(_, value) => {
            let name = if path.ends_with("io-max") { "\"/dev/sda\"" } else { "\"/srv\"" };
            below(format!("{path}.{name}"), value, places);
        }
        Takes::Either(all) => {
            for takes in *all {
                below(path.clone(), takes, places);
            }
        }
        _ => {}
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Every value to try a key with; lists of texts only where lists are taken.
fn values(takes: &Takes) -> Vec<String> {
    let mut all: Vec<String> = TEXTS.iter().map(|text| quoted(text)).collect();
    all.extend(OTHERS.iter().map(|text| text.to_string()));
    let lists =
        |takes: &Takes| matches!(takes, Takes::List(_) | Takes::Scalars(..) | Takes::Command(_));
    let either = |takes: &Takes| matches!(takes, Takes::Either(all) if all.iter().any(lists));
    if lists(takes) || either(takes) {
        all.extend(TEXTS.iter().map(|text| format!("[{}]", quoted(text))));
    }
    if matches!(takes, Takes::Scalars(..)) {
        all.extend(OTHERS.iter().map(|other| format!("[{other}]")));
    }
    all
}

/// A file with `key = value` among the others.
fn file(around: &Around, key: &str, value: Option<&str>) -> String {
    let inside = |other: &str, key: &str| {
        other == key || other.strip_prefix(key).is_some_and(|rest| rest.starts_with('.'))
    };
    let mut text = String::new();
    for (other, is) in around {
        if !inside(other, key) && !inside(key, other) {
            text.push_str(&format!("{other} = {is}\n"));
        }
    }
    if let Some(value) = value {
        text.push_str(&format!("{key} = {value}\n"));
    }
    text
}

fn dotted(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// Each key of each table with each value, one that does not exist, and each table without the key.
///
/// Only those of an app, or only the others: together they are many.
pub fn every_key(of_app: bool) -> Vec<String> {
    let mut texts = Vec::new();
    for place in places() {
        // The pod's and the app's are the same.
        let limits = place.path.starts_with("app.web.limits");
        if limits || place.path.starts_with("app.web") != of_app {
            continue;
        }
        for (nth, around) in place.around.iter().enumerate() {
            for key in place.table.keys {
                let path = dotted(&place.path, key.name);
                texts.push(file(around, &path, None));
                let values = values(&key.takes);
                // The form of a string is the hard part; what is around seldom matters to it.
                let strings = matches!(
                    key.takes,
                    Takes::Text(_) | Takes::Scalar(..) | Takes::List(_) | Takes::Scalars(..)
                );
                let step = if nth == 0 && strings { 1 } else { 5 };
                let some = values.iter().step_by(step);
                texts.extend(some.map(|value| file(around, &path, Some(value))));
            }
            texts.push(file(around, &dotted(&place.path, "no-such-key"), Some("1")));
        }
    }
    texts
}

/// Drop-ins of one key.
pub fn drop_ins() -> Vec<String> {
    let mut texts = Vec::new();
    for place in places() {
        // What has to come together with other keys is asked of whole files.
        let alone = ["", "dns", "app.web", "app.web.security", "limits", "unit", "security"];
        if !alone.contains(&place.path.as_str()) {
            continue;
        }
        for key in place.table.keys {
            // The schema of a drop-in does not ask for what the file below has.
            let whole = ["network", "app", "volume", "port", "schedule", "ready", "credentials"];
            if whole.contains(&key.name) {
                continue;
            }
            let path = dotted(&place.path, key.name);
            let some = values(&key.takes).into_iter().step_by(7);
            texts.extend(some.map(|value| format!("{path} = {value}\n")));
        }
        texts.push(format!("{} = 1\n", dotted(&place.path, "no-such-key")));
    }
    texts.extend(
        ["unset = []", "unset = [\"description\"]", "unset = \"x\"", "unset = [1]"]
            .map(str::to_owned),
    );
    texts
}

/// Templates: strings that an instance is put into, beside strings that are wrong without one.
pub fn templates() -> Vec<String> {
    let strings =
        ["\"%i\"", "\"x-%i\"", "\"%%\"", "\"/srv/%i\"", "\"no such %i\"", "\"A B\"", "5", "[]"];
    let mut texts = Vec::new();
    for place in places() {
        for around in &place.around {
            for key in place.table.keys {
                let path = dotted(&place.path, key.name);
                // Which of these an instance makes right, no schema knows: it has to let them through.
                let all = strings.iter().filter(|text| !text.contains('%'));
                texts.extend(all.map(|value| file(around, &path, Some(value))));
            }
        }
    }
    let head = "network = \"none\"\nvolume.data.kind = \"state\"\napp.web.image = \"i:%i\"\n";
    for more in [
        "hostname = \"h-%i\"",
        "description = \"100%% of %i\"",
        "app.web.stop-timeout = \"%is\"",
        "app.web.exec = [\"/bin/x\", \"%i\"]",
        "app.web.environment.I = \"%i\"",
        "app.web.mounts.\"/srv\" = \"data\"",
        "volume.more = { kind = \"host\", source = \"/srv/%i\" }",
        "unit.after = [\"pod:db@%i\"]",
        "limits.memory-max = \"%i%%\"",
        "port.http = { app = \"web\", port = 80, listen = [\"/run/%i.sock\"], activation = true }",
    ] {
        texts.push(format!("{head}{more}\n"));
    }
    texts
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % u64::try_from(limit.max(1)).unwrap()).unwrap()
    }
}

/// Files of several keys at random, half of them with values that are right for themselves.
pub fn random(seed: u64, count: usize) -> Vec<String> {
    let places = places();
    let right = right_ones(&places);
    let mut random = Random(seed);
    let mut texts = Vec::new();
    while texts.len() < count {
        let mut lines: Around = around(&[]);
        for _ in 0..=random.below(5) {
            let (key, value) = if random.below(12) == 0 {
                let place = &places[random.below(places.len())];
                let key = &place.table.keys[random.below(place.table.keys.len())];
                let values = values(&key.takes);
                (dotted(&place.path, key.name), values[random.below(values.len())].clone())
            } else {
                right[random.below(right.len())].clone()
            };
            lines.retain(|(other, _)| {
                !other.starts_with(&format!("{key}."))
                    && *other != key
                    && !key.starts_with(&format!("{other}."))
            });
            lines.push((key, value));
        }
        texts.push(lines.iter().map(|(key, value)| format!("{key} = {value}\n")).collect());
    }
    texts
}

/// Keys with a value that the reader takes.
fn right_ones(places: &[Place]) -> Vec<(String, String)> {
    let mut right = Vec::new();
    for place in places {
        for key in place.table.keys {
            let path = dotted(&place.path, key.name);
            for value in values(&key.takes) {
                let text = file(&place.around[0], &path, Some(&value));
                if rocket_podfile::parse(std::path::Path::new("x"), &text).is_ok() {
                    right.push((path.clone(), value));
                }
            }
        }
    }
    right
}

/// Files without a key that has a default, and the same with it.
pub fn defaults() -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    for place in places() {
        for around in &place.around {
            for key in place.table.keys {
                let Some(default) = key.default else { continue };
                // Without any key of it there is no such table, which is something else.
                if place.path == "dns" && around.iter().all(|(key, _)| !key.starts_with("dns.")) {
                    continue;
                }
                let path = dotted(&place.path, key.name);
                // A table may not be empty without it.
                if place.path.contains("mounts") || around.iter().all(|(other, _)| *other != path) {
                    pairs.push((file(around, &path, None), file(around, &path, Some(default))));
                }
            }
        }
    }
    pairs
}
