//! Nothing is dropped silently, and nothing makes an import panic: keys that nobody has thought of, at every
//! place of every input of the corpus, and bytes of all kinds.

use crate::corpus::cases;
use rocket::import::{Imported, Input, Kind, Loss, Options, import};
use std::fs;
use std::path::Path;

fn options() -> Options {
    Options {
        base: "/srv/project".to_owned(),
        home: "/root".to_owned(),
        profiles: vec!["*".to_owned()],
        variables: [("TAG".to_owned(), "1".to_owned())].into(),
        ..Options::default()
    }
}

fn inputs(dir: &Path) -> Vec<Input> {
    let mut inputs = Vec::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(dir) = todo.pop() {
        let mut entries: Vec<_> = fs::read_dir(&dir).unwrap().map(|e| e.unwrap().path()).collect();
        entries.sort();
        for path in entries {
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() && name != "expected" {
                todo.push(path);
            } else if path.is_file() && !name.starts_with('.') {
                let text = fs::read_to_string(&path).unwrap();
                inputs.push(Input { path: path.to_str().unwrap().to_owned(), text });
            }
        }
    }
    inputs
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// Whether the strange key is in a file, or a loss of its own, or below something that is lost as a whole.
fn is_told(imported: &Imported, text: &str, at: usize) -> bool {
    let lines: Vec<&str> = text.lines().collect();
    let mut above = vec![at + 1];
    let mut depth = indent(lines[at]);
    // A document begins at the top, or below the line that parts it from the one before.
    let mut first = 0;
    for number in (0..at).rev() {
        let line = lines[number];
        if line.trim() == "---" {
            first = number + 1;
            break;
        }
        if !line.trim().is_empty() && indent(line) < depth {
            depth = indent(line);
            above.push(number + 1);
        }
    }
    // An object that is lost as a whole is named by its kind, at its first line.
    let document = lines[first..].iter().take_while(|line| line.trim() != "---");
    let kind = document.filter_map(|line| line.strip_prefix("kind: ")).next();
    let is_whole = |loss: &Loss| {
        loss.place.line == first + 1
            && kind.is_some_and(|kind| loss.key.starts_with(&format!("{kind} ")))
    };
    // What every pod or app is told stands at its line too, and says nothing about its keys.
    let is_general = |loss: &Loss| loss.key == "network" || loss.key.ends_with("command");
    let is_above = |loss: &Loss| above.contains(&loss.place.line) && !is_general(loss);
    imported.files.iter().any(|file| file.text.contains("zzz"))
        || imported
            .losses
            .iter()
            .any(|loss| loss.key.contains("zzz") || is_whole(loss) || is_above(loss))
}

#[test]
fn an_unknown_key_anywhere_in_yaml_is_told() {
    let (mut tried, mut silent) = (0, Vec::new());
    for (kind, name) in [(Kind::Compose, "compose"), (Kind::Kube, "kube")] {
        for case in cases(name) {
            let input = inputs(&case).remove(0);
            let lines: Vec<&str> = input.text.lines().collect();
            for at in 0..lines.len() {
                let line = lines[at];
                let key = line.trim_start().split(':').next().unwrap_or_default();
                let is_key = line.contains(':')
                    && !key.is_empty()
                    && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
                    && !key.starts_with('-');
                if !is_key {
                    continue;
                }
                let strange = format!("{}zzz: 1", " ".repeat(indent(line)));
                let mut changed = lines.clone();
                changed.insert(at, &strange);
                let text = changed.join("\n");
                let input = Input { path: input.path.clone(), text: text.clone() };
                // What is no service, no volume or no text in a script is an error, and that is told too.
                if let Ok(imported) = import(kind, &[input], &options())
                    && !is_told(&imported, &text, at)
                {
                    silent.push(format!("{}:{}", case.display(), at + 1));
                }
                tried += 1;
            }
        }
    }
    assert!(silent.is_empty(), "{silent:#?}");
    assert!(tried > 200, "{tried}");
}

#[test]
fn an_unknown_key_in_a_map_on_one_line_is_told() {
    let (mut tried, mut silent) = (0, Vec::new());
    for (kind, name) in [(Kind::Compose, "compose"), (Kind::Kube, "kube")] {
        for case in cases(name) {
            let input = inputs(&case).remove(0);
            let lines: Vec<&str> = input.text.lines().collect();
            for (at, line) in lines.iter().enumerate() {
                for (column, _) in line.match_indices('{') {
                    let (before, after) = line.split_at(column + 1);
                    if before.ends_with("${") {
                        continue;
                    }
                    let strange = format!("{before}zzz: 1, {after}");
                    let mut changed = lines.clone();
                    changed[at] = &strange;
                    let text = changed.join("\n");
                    let input = Input { path: input.path.clone(), text: text.clone() };
                    if let Ok(imported) = import(kind, &[input], &options())
                        && !is_told(&imported, &text, at)
                    {
                        silent.push(format!("{}:{}:{column}", case.display(), at + 1));
                    }
                    tried += 1;
                }
            }
        }
    }
    assert!(silent.is_empty(), "{silent:#?}");
    assert!(tried > 40, "{tried}");
}

#[test]
fn an_unknown_key_anywhere_in_a_unit_is_told() {
    for case in cases("quadlet") {
        let all = inputs(&case);
        for (index, input) in all.iter().enumerate() {
            let lines: Vec<&str> = input.text.lines().collect();
            for at in 0..lines.len() {
                let after_header = lines[..=at].iter().any(|line| line.starts_with('['));
                if !after_header || lines[at].ends_with('\\') {
                    continue;
                }
                let mut changed = lines.clone();
                changed.insert(at + 1, "Zzz=1");
                let mut all = all.clone();
                all[index].text = changed.join("\n");
                let imported = import(Kind::Quadlet, &all, &options()).unwrap();
                // A unit that is lost as a whole has its first line named.
                let told = imported.losses.iter().any(|loss| {
                    loss.key.contains("Zzz")
                        || *loss.place.file == *input.path && loss.place.line == 1
                });
                assert!(told, "{}:{}: {:#?}", input.path, at + 1, imported.losses);
            }
        }
    }
}

#[test]
fn an_unknown_flag_is_told() {
    let input = |text: &str| Input { path: "-".to_owned(), text: text.to_owned() };
    let imported =
        import(Kind::DockerRun, &[input("docker run --zzz=1 nginx")], &options()).unwrap();
    assert!(imported.losses.iter().any(|loss| loss.key == "--zzz" && loss.why == "unknown key"));
    let error =
        import(Kind::DockerRun, &[input("docker run --zzz nginx")], &options()).unwrap_err();
    assert_eq!((error.place.line, error.place.column), (1, 12));
}

/// A generator of numbers that is the same in each run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap() % below.max(1)
    }
}

#[test]
fn nothing_makes_it_panic() {
    let kinds = [
        (Kind::Compose, "compose"),
        (Kind::Quadlet, "quadlet"),
        (Kind::DockerRun, "docker-run"),
        (Kind::Kube, "kube"),
    ];
    let mut numbers = Numbers(0x5eed);
    let odd: Vec<char> =
        "\0\u{1}\t\r\n {}[]:,-#&*!|>'\"%@`$\\/=~0a1é\u{feff}\u{2028}\u{10ffff}".chars().collect();
    for (kind, name) in kinds {
        for case in cases(name) {
            let all = inputs(&case);
            for _ in 0..60 {
                let mut all = all.clone();
                for _ in 0..=numbers.next(4) {
                    let index = numbers.next(all.len());
                    let mut chars: Vec<char> = all[index].text.chars().collect();
                    let (from, to) = (numbers.next(chars.len()), numbers.next(chars.len()));
                    match numbers.next(4) {
                        0 => chars.insert(from, odd[numbers.next(odd.len())]),
                        1 => chars.truncate(from),
                        2 if from < to => drop(chars.drain(from..to.min(from + 20))),
                        _ if from < to => {
                            let copy: Vec<char> = chars[from..to.min(from + 40)].to_vec();
                            chars.extend(copy);
                        }
                        _ => {}
                    }
                    all[index].text = chars.into_iter().collect();
                }
                let _ = import(kind, &all, &options());
            }
        }
        for _ in 0..400 {
            let text: String =
                (0..numbers.next(80)).map(|_| odd[numbers.next(odd.len())]).collect();
            let _ = import(kind, &[Input { path: "x.container".to_owned(), text }], &options());
        }
    }
}
