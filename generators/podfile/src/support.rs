//! What the grammar has and this release does not do yet. A later release deletes rows.

use crate::tree::{Node, Problem, Table, Value};

/// What is refused of a key.
#[derive(Debug)]
pub enum Refuse {
    /// The key itself.
    Key,
    /// These values.
    Values(&'static [&'static str]),
    /// Every value but these.
    AllBut(&'static [&'static str]),
    /// This value.
    When(bool),
}
use Refuse::{AllBut, Key, Values, When};

/// The keys, `*` for any name.
pub(crate) const NOT_YET: &[(&str, Refuse)] = &[
    ("network", AllBut(&["host", "none"])),
    ("flavour", AllBut(&["ns"])),
    ("log", Values(&["fields"])),
    ("app.*.ready", AllBut(&["exec"])),
    ("app.*.health", Key),
    ("unit.machine", When(true)),
    ("unit.app-scopes", When(true)),
];

/// What every such message ends with.
pub(crate) const NOT_SUPPORTED: &str = "is not supported by this release";

/// The problems of a tree with what this release cannot do.
pub(crate) fn unsupported(top: &Table) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (path, refuse) in NOT_YET {
        let parts: Vec<&str> = path.split('.').collect();
        visit(top, &parts, String::new(), &mut |key, node| {
            problems.extend(judge(key, node, refuse));
        });
    }
    problems
}

/// The keys of which anything is refused.
pub(crate) fn keys() -> Vec<&'static str> {
    NOT_YET.iter().map(|(key, _)| *key).collect()
}

fn visit(table: &Table, parts: &[&str], above: String, found: &mut impl FnMut(&str, &Node)) {
    let Some((first, rest)) = parts.split_first() else { return };
    let entries: Vec<(&String, &Node)> = if *first == "*" {
        table.entries.iter().map(|(key, entry)| (key, &entry.node)).collect()
    } else {
        table
            .entries
            .get_key_value(*first)
            .map(|(key, entry)| (key, &entry.node))
            .into_iter()
            .collect()
    };
    for (key, node) in entries {
        let here = if above.is_empty() { key.clone() } else { format!("{above}.{key}") };
        match &node.value {
            _ if rest.is_empty() => found(&here, node),
            Value::Table(below) => visit(below, rest, here, found),
            _ => {}
        }
    }
}

fn judge(key: &str, node: &Node, refuse: &Refuse) -> Option<Problem> {
    let problem = |what: String, hint: Option<String>| {
        Some(Problem { pos: node.pos, message: format!("{what} {NOT_SUPPORTED}"), hint })
    };
    let use_one = |values: &[&str]| {
        let values: Vec<String> = values.iter().map(|value| format!("{value:?}")).collect();
        Some(format!("supported: {}", values.join(", ")))
    };
    match (refuse, &node.value) {
        (Key, _) => problem(key.to_owned(), None),
        (Values(values), Value::String(text)) if values.contains(&text.as_str()) => {
            problem(format!("{key} = {text:?}"), None)
        }
        (AllBut(values), Value::String(text)) if values.contains(&text.as_str()) => None,
        (AllBut(values), Value::String(text)) => {
            problem(format!("{key} = {text:?}"), use_one(values))
        }
        (AllBut(values), _) => problem(format!("this {key}"), use_one(values)),
        (When(refused), Value::Boolean(value)) if refused == value => {
            problem(format!("{key} = {value}"), None)
        }
        (Values(_) | When(_), _) => None,
    }
}
