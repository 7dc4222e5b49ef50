//! Drop-ins: tables merge, everything else replaces, `unset` clears first.

use crate::grammar;
use crate::tree::{Node, Problem, Table, Value};

/// The key of a drop-in that clears others.
pub(crate) const UNSET: &str = "unset";

/// Lays `drop_in` over `base`.
pub(crate) fn merge(base: &mut Table, mut drop_in: Table, problems: &mut Vec<Problem>) {
    if let Some(unset) = drop_in.entries.remove(UNSET) {
        clear(base, &unset.node, problems);
    }
    lay_over(base, drop_in);
}

fn lay_over(base: &mut Table, over: Table) {
    for (key, entry) in over.entries {
        match base.entries.get_mut(&key) {
            None => {
                base.entries.insert(key, entry);
            }
            Some(below) => match (&mut below.node.value, entry.node.value) {
                (Value::Table(below), Value::Table(over)) => lay_over(below, over),
                (below_value, value) => {
                    *below_value = value;
                    below.node.pos = entry.node.pos;
                    below.key = entry.key;
                }
            },
        }
    }
}

fn clear(base: &mut Table, unset: &Node, problems: &mut Vec<Problem>) {
    let mut problem = |node: &Node, message: String, hint: Option<String>| {
        problems.push(Problem { pos: node.pos, message, hint });
    };
    let Value::Array(keys) = &unset.value else {
        let hint = Some("unset = [\"app.web.exec\"]".to_owned());
        problem(unset, format!("unset takes a list of keys, not {}", unset.value.kind()), hint);
        return;
    };
    for key in keys {
        let Value::String(text) = &key.value else {
            problem(key, format!("a key is written as a string, not {}", key.value.kind()), None);
            continue;
        };
        match split_key(text) {
            None => problem(key, format!("{text:?} is not a key"), None),
            Some(parts) if !grammar::is_known(&parts) => {
                problem(key, format!("no key is called {text:?}"), None);
            }
            Some(parts) => remove(base, &parts),
        }
    }
}

fn remove(table: &mut Table, parts: &[String]) {
    match parts {
        [] => {}
        [last] => {
            table.entries.remove(last);
        }
        [first, rest @ ..] => {
            if let Some(entry) = table.entries.get_mut(first)
                && let Value::Table(below) = &mut entry.node.value
            {
                remove(below, rest);
            }
        }
    }
}

/// Splits a dotted key; parts may be quoted: `app.web.mounts."/srv"`.
fn split_key(text: &str) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    let mut rest = text;
    loop {
        let (part, after) = match rest.chars().next()? {
            quote @ ('"' | '\'') => rest[1..].split_once(quote)?,
            _ => rest.split_at(rest.find('.').unwrap_or(rest.len())),
        };
        let quoted = rest.starts_with(['"', '\'']);
        if !quoted && (part.is_empty() || part.contains(['"', '\'', ' '])) {
            return None;
        }
        parts.push(part.to_owned());
        match after.strip_prefix('.') {
            Some(more) => rest = more,
            None if after.is_empty() => return Some(parts),
            None => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_split_at_dots_outside_quotes() {
        let table: [(&str, &[&str]); 4] = [
            ("description", &["description"]),
            ("app.web.exec", &["app", "web", "exec"]),
            ("app.web.mounts.\"/srv.d\"", &["app", "web", "mounts", "/srv.d"]),
            ("app.web.environment.'A B'", &["app", "web", "environment", "A B"]),
        ];
        for (text, parts) in table {
            assert_eq!(split_key(text).unwrap(), parts);
        }
        for text in ["", ".", "a.", ".a", "a..b", "\"a", "\"a\"b", "a b", "a.\"b"] {
            assert_eq!(split_key(text), None, "{text}");
        }
    }
}
