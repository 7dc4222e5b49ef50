//! Command lines of `docker run` and `podman run`.

use super::container::{Container, Source, is_known};
use super::reference::reference;
use super::sheet::Sheet;
use super::words::{Word, commands};
use super::{ImportError, Input, Loss, Options, Place};

/// Flags that take no value.
const FLAGS: &[&str] = &[
    "detach",
    "disable-content-trust",
    "env-host",
    "help",
    "init",
    "interactive",
    "no-healthcheck",
    "no-hosts",
    "oom-kill-disable",
    "privileged",
    "publish-all",
    "quiet",
    "read-only",
    "read-only-tmpfs",
    "replace",
    "rm",
    "rmi",
    "sig-proxy",
    "tls-verify",
    "tty",
    "use-api-socket",
];
/// Short flags and what they stand for.
const SHORT: &[(char, &str)] = &[
    ('a', "attach"),
    ('c', "cpu-shares"),
    ('d', "detach"),
    ('e', "env"),
    ('h', "hostname"),
    ('i', "interactive"),
    ('l', "label"),
    ('m', "memory"),
    ('p', "publish"),
    ('P', "publish-all"),
    ('q', "quiet"),
    ('t', "tty"),
    ('u', "user"),
    ('v', "volume"),
    ('w', "workdir"),
];
/// Other names of the same.
const ALIASES: &[(&str, &str)] = &[
    ("net", "network"),
    ("net-alias", "network-alias"),
    ("dns-opt", "dns-option"),
    ("expose", "expose"),
];

/// Reads all commands.
pub(super) fn read(
    inputs: &[Input],
    options: &Options,
) -> Result<(Vec<Sheet>, Vec<Loss>), ImportError> {
    let mut sheets = Vec::new();
    let mut losses = Vec::new();
    for input in inputs {
        for words in commands(&input.path, &input.text, &options.variables)? {
            match run_of(&words) {
                Some((podman, rest)) => sheets.push(pod(&words, podman, rest, options)?),
                None => {
                    let Some(first) = words.first() else { continue };
                    let said: Vec<&str> =
                        words.iter().take(3).map(|word| word.text.as_str()).collect();
                    losses.push(Loss {
                        place: first.place.clone(),
                        key: said.join(" "),
                        why: "it is no docker run or podman run: it is not carried".to_owned(),
                        todo: String::new(),
                    });
                }
            }
        }
    }
    Ok((sheets, losses))
}

/// What follows `docker run`, and whether it is podman's.
fn run_of(words: &[Word]) -> Option<(bool, &[Word])> {
    let skip = usize::from(words.first()?.text == "sudo");
    let program = words.get(skip)?.text.rsplit('/').next()?;
    if !["docker", "podman", "nerdctl"].contains(&program) {
        return None;
    }
    let mut next = skip + 1;
    if words.get(next)?.text == "container" {
        next += 1;
    }
    let run = ["run", "create"].contains(&words.get(next)?.text.as_str());
    run.then(|| (program == "podman", words.get(next + 1..).unwrap_or_default()))
}

struct Flag {
    name: String,
    /// As it was written, for messages.
    written: String,
    value: String,
    place: Place,
}

fn pod(all: &[Word], podman: bool, rest: &[Word], options: &Options) -> Result<Sheet, ImportError> {
    let start = all.first().map(|word| word.place.clone()).unwrap_or(Place {
        file: "-".into(),
        line: 1,
        column: 1,
    });
    let (flags, image, arguments) = flags(rest, &start)?;
    let last = |name: &str| flags.iter().rev().find(|flag| flag.name == name);
    let name = match last("name") {
        Some(flag) => flag.value.clone(),
        None => {
            let path = image.text.split('@').next().unwrap_or_default();
            let base = path.rsplit('/').next().unwrap_or_default();
            base.split(':').next().unwrap_or_default().to_owned()
        }
    };
    let mut sheet = Sheet::new(&name, &start);
    let source = if podman { Source::Podman } else { Source::Docker };
    let mut container = Container::new(&mut sheet, options, source, &name, &start);
    container.throw_away = last("rm").is_some();
    container.image(&image.text, &image.place);
    for flag in &flags {
        match flag.name.as_str() {
            "name" => {}
            "entrypoint" if !flag.value.is_empty() => {
                container.entrypoint(vec![flag.value.clone()], &flag.place);
            }
            name => container.option(name, &flag.value, &flag.written, &flag.place)?,
        }
    }
    if let Some(first) = arguments.first() {
        let words = arguments.iter().map(|word| word.text.clone()).collect();
        container.command(words, &first.place);
    }
    let unknown = rest.iter().flat_map(|word| word.unknown.iter().map(move |text| (word, text)));
    for (word, text) in unknown {
        let why = "a shell would have filled this in: it is left as it is";
        container.lose(&word.place, text, why, "write what it stands for");
    }
    container.finish()?;
    // Only checks the mapping's spelling: an image that nothing can name is an error here, with its place.
    if reference(&image.text, &options.images).0.contains(char::is_whitespace) {
        return Err(ImportError::new(&image.place, format!("{:?} is no image", image.text)));
    }
    Ok(sheet)
}

fn flags<'a>(
    rest: &'a [Word],
    start: &Place,
) -> Result<(Vec<Flag>, &'a Word, &'a [Word]), ImportError> {
    let mut flags = Vec::new();
    let mut at = 0;
    loop {
        let Some(word) = rest.get(at) else {
            return Err(ImportError::new(start, "the command names no image"));
        };
        at += 1;
        if word.text == "--" {
            continue;
        }
        let mut value_of =
            |name: &str, written: String, given: Option<&str>| -> Result<Flag, ImportError> {
                let value = match given {
                    Some(value) => value.to_owned(),
                    None if FLAGS.contains(&name) => "true".to_owned(),
                    None if !is_known(name) => {
                        let message =
                            format!("{} is not known, nor whether it takes a value", word.text);
                        return Err(ImportError::new(&word.place, message)
                            .hint("leave it out, or write --FLAG=VALUE"));
                    }
                    None => {
                        let Some(next) = rest.get(at) else {
                            return Err(ImportError::new(
                                &word.place,
                                format!("{} lacks its value", word.text),
                            ));
                        };
                        at += 1;
                        next.text.clone()
                    }
                };
                Ok(Flag { name: name.to_owned(), written, value, place: word.place.clone() })
            };
        if let Some(long) = word.text.strip_prefix("--") {
            let (name, value) = long.split_once('=').map_or((long, None), |(n, v)| (n, Some(v)));
            let name =
                ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, name)| name);
            flags.push(value_of(name, written(word), value)?);
        } else if let Some(short) = word.text.strip_prefix('-').filter(|short| !short.is_empty()) {
            for (index, c) in short.char_indices() {
                let Some((_, name)) = SHORT.iter().find(|(short, _)| *short == c) else {
                    return Err(ImportError::new(
                        &word.place,
                        format!("-{c} is no flag of docker run"),
                    ));
                };
                if FLAGS.contains(name) {
                    flags.push(value_of(name, format!("-{c}"), None)?);
                    continue;
                }
                let value = short.get(index + c.len_utf8()..).unwrap_or_default();
                let value = value.strip_prefix('=').unwrap_or(value);
                flags.push(value_of(name, format!("-{c}"), (!value.is_empty()).then_some(value))?);
                break;
            }
        } else {
            return Ok((flags, word, rest.get(at..).unwrap_or_default()));
        }
    }
}

/// A long flag without its value, which may be a secret.
fn written(word: &Word) -> String {
    word.text.split('=').next().unwrap_or_default().to_owned()
}
