//! One table being read.

use crate::grammar;
use crate::merge;
use crate::suggest;
use crate::tree::{MOST_PROBLEMS, Node, Pos, Problem, Table, Value};
use crate::values::name::parse_name;
use std::cell::RefCell;

/// Where problems are collected.
#[derive(Default)]
pub(crate) struct Report {
    problems: RefCell<Vec<Problem>>,
}

impl Report {
    /// Adds a problem.
    pub(crate) fn error(&self, pos: Pos, message: impl Into<String>) {
        self.problems.borrow_mut().push(Problem { pos, message: message.into(), hint: None });
    }

    /// Adds a problem with a hint.
    pub(crate) fn error_with(&self, pos: Pos, message: impl Into<String>, hint: Option<String>) {
        self.problems.borrow_mut().push(Problem { pos, message: message.into(), hint });
    }

    /// Whether there is already as much as is ever shown.
    pub(crate) fn is_full(&self) -> bool {
        self.problems.borrow().len() >= MOST_PROBLEMS
    }

    /// How many problems there are so far.
    pub(crate) fn count(&self) -> usize {
        self.problems.borrow().len()
    }

    pub(crate) fn into_problems(self) -> Vec<Problem> {
        self.problems.into_inner()
    }

    /// Gives the value, or reports why there is none.
    pub(crate) fn take<T>(&self, pos: Pos, result: Result<T, String>) -> Option<T> {
        result.map_err(|message| self.error(pos, message)).ok()
    }

    /// Reports a value of the wrong type.
    pub(crate) fn expected(&self, node: &Node, name: &str, what: &str) {
        self.error(node.pos, format!("{name} takes {what}, not {}", node.value.kind()));
    }

    /// The text of a string without control characters.
    pub(crate) fn line<'a>(&self, node: &'a Node, name: &str) -> Option<&'a str> {
        let text = self.string(node, name)?;
        if text.chars().any(char::is_control) {
            self.error(node.pos, format!("{name} has control characters"));
            return None;
        }
        Some(text)
    }

    /// The text of a string, which may have line ends but no NUL.
    pub(crate) fn string<'a>(&self, node: &'a Node, name: &str) -> Option<&'a str> {
        let Value::String(text) = &node.value else {
            self.expected(node, name, "a string");
            return None;
        };
        if text.contains('\0') {
            self.error(node.pos, format!("{name} has a NUL character"));
            return None;
        }
        Some(text)
    }

    /// The text of a string or of a whole number.
    pub(crate) fn scalar(&self, node: &Node, name: &str) -> Option<String> {
        match &node.value {
            Value::Integer(Some(number)) => Some(number.to_string()),
            Value::Integer(None) => {
                self.error(node.pos, format!("{name} is out of range"));
                None
            }
            Value::String(_) => self.line(node, name).map(str::to_owned),
            _ => {
                self.expected(node, name, "a string or a whole number");
                None
            }
        }
    }

    /// A whole number within bounds.
    pub(crate) fn number(&self, node: &Node, name: &str, min: u32, max: u32) -> Option<u32> {
        let Value::Integer(number) = &node.value else {
            self.expected(node, name, "a whole number");
            return None;
        };
        let number = number.and_then(|n| u32::try_from(n).ok()).filter(|n| (min..=max).contains(n));
        if number.is_none() {
            self.error(node.pos, format!("{name} takes a number from {min} to {max}"));
        }
        number
    }

    fn items<'a>(&self, node: &'a Node, name: &str) -> Option<&'a [Node]> {
        let Value::Array(items) = &node.value else {
            let hint = match &node.value {
                Value::String(text) => Some(format!("{name} = [{text:?}]")),
                _ => None,
            };
            let message = format!("{name} takes a list of strings, not {}", node.value.kind());
            self.error_with(node.pos, message, hint);
            return None;
        };
        Some(items)
    }

    /// The strings of a list, each with its place.
    pub(crate) fn strings<'a>(&self, node: &'a Node, name: &str) -> Option<Vec<(Pos, &'a str)>> {
        let each = format!("each entry of {name}");
        Some(
            self.items(node, name)?
                .iter()
                .filter_map(|item| self.string(item, &each).map(|text| (item.pos, text)))
                .collect(),
        )
    }
}

/// A table whose keys the grammar fixes.
pub(crate) struct Section<'a> {
    pub(crate) report: &'a Report,
    table: &'a Table,
    pub(crate) pos: Pos,
    /// Keys that misspelt ones were taken for.
    meant: Vec<String>,
    /// Whether its name or one of its keys is wrong.
    flawed: bool,
}

impl<'a> Section<'a> {
    /// Opens the table `node` called `name`, and reports every key that is not one of `keys`.
    pub(crate) fn open(
        report: &'a Report,
        node: &'a Node,
        name: &str,
        keys: &[&str],
    ) -> Option<Self> {
        let Value::Table(table) = &node.value else {
            report.expected(node, name, "a table");
            return None;
        };
        let mut meant = Vec::new();
        let before = report.count();
        for (key, entry) in &table.entries {
            if !keys.contains(&key.as_str()) {
                // More is not shown, and guessing is the slow part.
                let near = if report.is_full() { None } else { suggest::nearest(key, keys) };
                meant.extend(near.map(str::to_owned));
                let place = if name.is_empty() {
                    "at the top of the file".to_owned()
                } else {
                    format!("in [{name}]")
                };
                let hint = match near {
                    _ if key == merge::UNSET => {
                        Some("unset clears keys from a drop-in, in NAME.toml.d".to_owned())
                    }
                    Some(near) => Some(format!("did you mean {near:?}?")),
                    None => grammar::home_of(key).map(|home| format!("{key:?} belongs {home}")),
                };
                report.error_with(entry.key, format!("unknown key {key:?} {place}"), hint);
            }
        }
        let flawed = report.count() > before;
        Some(Self { report, table, pos: node.pos, meant, flawed })
    }

    /// Whether the table has no key at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.table.entries.is_empty()
    }

    /// Whether its name or one of its keys is wrong.
    pub(crate) fn is_flawed(&self) -> bool {
        self.flawed
    }

    /// The value of `key`.
    pub(crate) fn node(&self, key: &str) -> Option<&'a Node> {
        self.table.get(key)
    }

    /// The table `key`, opened; `None` when it is absent.
    pub(crate) fn section(&self, key: &str, name: &str, keys: &[&str]) -> Option<Section<'a>> {
        Section::open(self.report, self.node(key)?, name, keys)
    }

    /// Reports that `key` has to be there, unless a misspelt key was reported in its place.
    pub(crate) fn missing(&self, key: &str, hint: &str) {
        if self.meant.iter().any(|meant| meant == key) {
            return;
        }
        let hint = Some(hint.to_owned()).filter(|hint| !hint.is_empty());
        self.report.error_with(self.pos, format!("the key {key:?} is missing"), hint);
    }

    /// A string through a parser.
    pub(crate) fn text<T>(
        &self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let node = self.node(key)?;
        let text = self.report.line(node, key)?;
        self.report.take(node.pos, parse(text))
    }

    /// A string or a whole number through a parser.
    pub(crate) fn scalar<T>(
        &self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let node = self.node(key)?;
        let text = self.report.scalar(node, key)?;
        self.report.take(node.pos, parse(&text))
    }

    /// One of some words.
    pub(crate) fn choice<T: Clone>(&self, key: &str, choices: &[(&str, T)]) -> Option<T> {
        let node = self.node(key)?;
        let text = self.report.line(node, key)?;
        let found = choices.iter().find(|(word, _)| *word == text).map(|(_, value)| value.clone());
        if found.is_none() {
            let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
            let hint = suggest::nearest(text, &words).map(|near| format!("did you mean {near:?}?"));
            let words: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
            let message = format!("{key} is one of {}; not {text:?}", words.join(", "));
            self.report.error_with(node.pos, message, hint);
        }
        found
    }

    /// `true` or `false`.
    pub(crate) fn boolean(&self, key: &str, default: bool) -> bool {
        match self.node(key) {
            None => default,
            Some(Node { value: Value::Boolean(value), .. }) => *value,
            Some(node) => {
                self.report.expected(node, key, "true or false");
                default
            }
        }
    }

    /// A whole number within bounds.
    pub(crate) fn number(&self, key: &str, min: u32, max: u32) -> Option<u32> {
        self.report.number(self.node(key)?, key, min, max)
    }

    /// A list of strings, each through a parser; each value once.
    pub(crate) fn list<T: PartialEq>(
        &self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let texts = self.report.strings(self.node(key)?, key)?;
        Some(self.each_once(texts, parse))
    }

    /// The same of strings and whole numbers.
    pub(crate) fn scalars<T: PartialEq>(
        &self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let each = format!("each entry of {key}");
        let items = self.report.items(self.node(key)?, key)?.iter();
        let texts = items.filter_map(|item| Some((item.pos, self.report.scalar(item, &each)?)));
        Some(self.each_once(texts, parse))
    }

    fn each_once<S: AsRef<str> + Ord, T>(
        &self,
        texts: impl IntoIterator<Item = (Pos, S)>,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        let mut values = Vec::new();
        let mut seen = std::collections::BTreeSet::new();
        for (pos, text) in texts {
            if seen.contains(&text) {
                self.report.error(pos, format!("{:?} is there twice", text.as_ref()));
                continue;
            }
            values.extend(self.report.take(pos, parse(text.as_ref())));
            seen.insert(text);
        }
        values
    }

    /// The tables of a map of names, in the order of writing.
    pub(crate) fn named(&self, key: &str, keys: &[&str]) -> Vec<(String, Section<'a>)> {
        let Some(node) = self.node(key) else { return Vec::new() };
        let Value::Table(table) = &node.value else {
            self.report.expected(node, key, &format!("tables, [{key}.NAME]"));
            return Vec::new();
        };
        let mut sections = Vec::new();
        for (name, entry) in table.in_order() {
            let is_named = self.report.take(entry.key, parse_name(name)).is_some();
            let title = format!("{key}.{name}");
            if let Some(mut section) = Section::open(self.report, &entry.node, &title, keys) {
                section.flawed |= !is_named;
                sections.push((name.to_owned(), section));
            }
        }
        sections
    }
}
