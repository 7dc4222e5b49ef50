//! systemd's unit files: sections, keys, continued lines, lists that an empty value begins anew.

use super::{ImportError, Input, Place};
use std::sync::Arc;

/// A key with its value, in the order of writing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) section: String,
    pub(super) key: String,
    pub(super) value: String,
    pub(super) place: Place,
}

/// Reads a file and appends what it says to `lines`, which is how drop-ins work.
pub(super) fn read(input: &Input, lines: &mut Vec<Line>) -> Result<(), ImportError> {
    let file: Arc<str> = input.path.as_str().into();
    let text = input.text.strip_prefix('\u{feff}').unwrap_or(&input.text);
    let mut section = String::new();
    let mut open: Option<(usize, String)> = None;
    for (number, written) in (1..).zip(text.lines()) {
        let trimmed = written.trim();
        if trimmed.starts_with('#') || trimmed.starts_with(';') {
            continue;
        }
        let (start, whole) = match open.take() {
            Some((start, before)) => (start, format!("{before} {trimmed}")),
            None if trimmed.is_empty() => continue,
            None => (number, trimmed.to_owned()),
        };
        if let Some(before) = whole.strip_suffix('\\') {
            open = Some((start, before.trim_end().to_owned()));
            continue;
        }
        line(&file, start, &whole, &mut section, lines)?;
    }
    if let Some((start, whole)) = open {
        line(&file, start, &whole, &mut section, lines)?;
    }
    Ok(())
}

fn line(
    file: &Arc<str>,
    number: usize,
    text: &str,
    section: &mut String,
    lines: &mut Vec<Line>,
) -> Result<(), ImportError> {
    let place = Place { file: file.clone(), line: number, column: 1 };
    if let Some(rest) = text.strip_prefix('[') {
        let Some(name) = rest.strip_suffix(']') else {
            return Err(ImportError::new(&place, format!("{text:?} is not the name of a section")));
        };
        name.clone_into(section);
        return Ok(());
    }
    let Some((key, value)) = text.split_once('=') else {
        return Err(ImportError::new(&place, format!("{text:?} is not KEY=VALUE")));
    };
    if section.is_empty() {
        return Err(ImportError::new(
            &place,
            format!("{} stands before any [Section]", key.trim()),
        ));
    }
    let (key, value) = (key.trim().to_owned(), value.trim().to_owned());
    if value.is_empty() {
        lines.retain(|line| line.section != *section || line.key != key);
    } else {
        lines.push(Line { section: section.clone(), key, value, place });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_go_on_and_lists_begin_anew() {
        let text = "# x\n[Container]\nExec=a \\\n# in between\n  b\nEnvironment=A=1\nEnvironment=\nEnvironment=B=2\n";
        let mut lines = Vec::new();
        read(&Input { path: "x".into(), text: text.into() }, &mut lines).unwrap();
        let seen: Vec<_> =
            lines.iter().map(|l| (l.key.as_str(), l.value.as_str(), l.place.line)).collect();
        assert_eq!(seen, [("Exec", "a b", 3), ("Environment", "B=2", 8)]);
        for bad in ["[x\n", "a=b\n", "[x]\nab\n"] {
            assert!(read(&Input { path: "x".into(), text: bad.into() }, &mut lines).is_err());
        }
    }
}
