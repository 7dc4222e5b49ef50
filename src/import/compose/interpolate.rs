//! `${NAME}` in a compose file.

use crate::import::{ImportError, Place};
use std::collections::{BTreeMap, BTreeSet};

/// Fills in variables; what has no value and no default is empty, and named in `unset`.
pub(super) fn fill(
    text: &str,
    place: &Place,
    variables: &BTreeMap<String, String>,
    unset: &mut BTreeSet<(Place, String)>,
) -> Result<String, ImportError> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(rest.get(..at).unwrap_or_default());
        rest = rest.get(at + 1..).unwrap_or_default();
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some(after) = rest.strip_prefix('{') {
            let Some(end) = closing(after) else {
                return Err(ImportError::new(place, "a ${ is not closed").hint("$$ is a $"));
            };
            let inside = after.get(..end).unwrap_or_default();
            out.push_str(&braced(inside, place, variables, unset)?);
            rest = after.get(end + 1..).unwrap_or_default();
        } else {
            let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
            let name = rest.get(..end).unwrap_or_default();
            if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
                out.push('$');
                continue;
            }
            out.push_str(&value(name, place, variables, unset));
            rest = rest.get(end..).unwrap_or_default();
        }
    }
    out.push_str(rest);
    Ok(out)
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Where the brace that is already open closes; others may open inside.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => return Some(at),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

fn value(
    name: &str,
    place: &Place,
    variables: &BTreeMap<String, String>,
    unset: &mut BTreeSet<(Place, String)>,
) -> String {
    variables.get(name).cloned().unwrap_or_else(|| {
        unset.insert((place.clone(), name.to_owned()));
        String::new()
    })
}

/// `NAME`, `NAME:-default`, `NAME-default`, `NAME:?message`, `NAME?message`, `NAME:+other`, `NAME+other`.
fn braced(
    inside: &str,
    place: &Place,
    variables: &BTreeMap<String, String>,
    unset: &mut BTreeSet<(Place, String)>,
) -> Result<String, ImportError> {
    let end = inside.find(|c| !is_name(c)).unwrap_or(inside.len());
    let (name, operator) =
        (inside.get(..end).unwrap_or_default(), inside.get(end..).unwrap_or_default());
    if name.is_empty() {
        return Err(
            ImportError::new(place, format!("${{{inside}}} names no variable")).hint("$$ is a $")
        );
    }
    let known = variables.get(name);
    let (empty_counts, operator) = match operator.strip_prefix(':') {
        Some(operator) => (true, operator),
        None => (false, operator),
    };
    let set = known.filter(|value| !(empty_counts && value.is_empty()));
    let mut chars = operator.chars();
    let word = operator.get(1..).unwrap_or_default();
    match (chars.next(), set) {
        (None, _) if empty_counts => {
            Err(ImportError::new(place, format!("${{{inside}}} is not understood")))
        }
        (None, _) => Ok(value(name, place, variables, unset)),
        (Some('-' | '?'), Some(value)) => Ok(value.clone()),
        (Some('-'), None) => fill(word, place, variables, unset),
        (Some('?'), None) => {
            let message = format!("the variable {name} is required: {word}");
            Err(ImportError::new(place, message).hint("set it in .env, or with --env-file"))
        }
        (Some('+'), Some(_)) => fill(word, place, variables, unset),
        (Some('+'), None) => Ok(String::new()),
        _ => {
            Err(ImportError::new(place, format!("${{{inside}}} is not understood"))
                .hint("$$ is a $"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form() {
        let place = Place { file: "x".into(), line: 1, column: 1 };
        let variables =
            BTreeMap::from([("A".to_owned(), "1".to_owned()), ("E".to_owned(), String::new())]);
        let table = [
            ("$A-${A}", "1-1"),
            ("$$A", "$A"),
            ("${E:-d}", "d"),
            ("${E-d}", ""),
            ("${N-d}", "d"),
            ("${N:-${A:-x}y}", "1y"),
            ("${A:+y}${N:+y}", "y"),
            ("${N}", ""),
            ("a$", "a$"),
            ("$1", "$1"),
        ];
        for (text, expected) in table {
            assert_eq!(
                fill(text, &place, &variables, &mut BTreeSet::new()).unwrap(),
                expected,
                "{text}"
            );
        }
        let mut unset = BTreeSet::new();
        fill("$N", &place, &variables, &mut unset).unwrap();
        assert_eq!(unset.len(), 1);
        for bad in ["${A", "${}", "${N:?why}", "${A:}", "${A!x}"] {
            assert!(fill(bad, &place, &variables, &mut BTreeSet::new()).is_err(), "{bad}");
        }
    }
}
