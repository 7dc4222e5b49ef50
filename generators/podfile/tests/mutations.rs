//! Pod files bent at random, always the same way: reading never panics, and every diagnostic
//! points into the text.
#![allow(clippy::unwrap_used)]

use rocket_podfile::{LoadError, load, parse};
use std::fs;
use std::path::Path;

const SEEDS: [&str; 2] = [
    "version = 1\nnetwork = \"host\"\n[app.web]\nimage = \"i\"\nexec = [\"/x\", \"ä\"]\n\
     ready = { http = 80, path = \"/\" }\nhealth = { tcp = 1, interval = \"3s\" }\n\
     limits = { memory-max = \"1.5G\", cpu-quota = \"50%\", io-max = { \"/dev/a\" = { read-iops = 5 \
     } } }\nmounts = { \"/srv\" = \"data\", \"/x\" = { volume = \"data\", read-only = true } }\n\
     restart-limit = \"5/10min\"\n[app.db]\nimage = \"j\"\nafter = [\"web\"]\n",
    "network = [\"a\"]\n[app.web]\nimage = \"i\"\nsecurity.capabilities = [\"chown\"]\n[volume.data]\n\
     kind = \"host\"\nsource = \"/srv\"\nmode = \"0755\"\n[port.http]\napp = \"web\"\nport = 80\n\
     listen = [\"[::]:80\", \"/run/s\"]\n[unit]\nafter = [\"pod:db\"]\nslice = \"a-b.slice\"\n\
     stop-timeout = \"1min 2s\"\n[credentials]\nx = { set = \"y\" }\n",
];

const PIECES: [&str; 24] = [
    "=",
    "\"",
    "[",
    "]",
    "{",
    "}",
    ".",
    ",",
    "\n",
    "'",
    "\"\"\"",
    "-",
    "@",
    "%",
    "\u{0}",
    "é",
    "99999999999999999999999",
    "-1",
    "1.5",
    "true",
    "[[app]]",
    "app",
    "1979-05-27",
    "\\u0000",
];

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % below.max(1) as u64) as usize
    }

    fn cut(&mut self, text: &str) -> usize {
        let mut at = self.next(text.len() + 1);
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    }

    fn bend(&mut self, text: &mut String) {
        let (a, b) = (self.cut(text), self.cut(text));
        let (from, to) = (a.min(b), a.max(b));
        match self.next(5) {
            0 => text.insert_str(from, PIECES[self.next(PIECES.len())]),
            1 if text.is_char_boundary(to.min(from + 12)) => {
                text.replace_range(from..to.min(from + 12), "");
            }
            2 if text.is_char_boundary(to.min(from + 5)) => {
                text.replace_range(from..to.min(from + 5), PIECES[self.next(PIECES.len())]);
            }
            3 => {
                let lines: Vec<&str> = text.lines().collect();
                let line = lines[self.next(lines.len())].to_owned();
                text.insert_str(from, &format!("\n{line}\n"));
            }
            _ => text.truncate(to),
        }
    }
}

fn bent(random: &mut Random) -> String {
    let mut text = SEEDS[random.next(SEEDS.len())].to_owned();
    for _ in 0..=random.next(6) {
        if text.is_empty() {
            break;
        }
        random.bend(&mut text);
    }
    text
}

#[test]
fn reading_never_panics_and_positions_are_real() {
    let mut random = Random(1);
    for _ in 0..20_000 {
        let text = bent(&mut random);
        let Err(diagnostics) = parse(Path::new("x.toml"), &text) else { continue };
        assert!(!diagnostics.is_empty());
        let lines: Vec<&str> = text.split('\n').collect();
        for d in diagnostics {
            let line = lines.get(d.line - 1).unwrap_or_else(|| panic!("{d}\n{text}"));
            assert!(d.column >= 1 && d.column <= line.chars().count() + 1, "{d}\n{text}");
            assert!(!d.message.is_empty() && !d.message.contains('\n'), "{d}");
            assert!(!d.message.chars().any(char::is_control), "{d:?}");
        }
    }
}

#[test]
fn merging_never_panics() {
    let dir = tempfile::tempdir().unwrap();
    let dirs = [dir.path().to_owned()];
    let drop_in = dir.path().join("web.toml.d");
    fs::create_dir(&drop_in).unwrap();
    fs::write(dir.path().join("web.toml"), SEEDS[0]).unwrap();
    let mut random = Random(2);
    for _ in 0..1_000 {
        fs::write(drop_in.join("1.toml"), bent(&mut random)).unwrap();
        if let Err(LoadError::Invalid(diagnostics)) = load(&dirs, "web") {
            assert!(!diagnostics.is_empty());
        }
    }
}

#[test]
fn deep_and_wide_files_are_no_trouble() {
    let deep = format!("a = {}", "[".repeat(100_000));
    assert!(parse(Path::new("x.toml"), &deep).is_err());
    let wide: String = (0..50_000).map(|i| format!("k{i} = 1\n")).collect();
    assert_eq!(parse(Path::new("x.toml"), &wide).unwrap_err().len(), 100);
    let dotted = format!("{} = 1", vec!["a"; 20_000].join("."));
    assert!(parse(Path::new("x.toml"), &dotted).is_err());
}
