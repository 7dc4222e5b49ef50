//! The parse tree of one or more files: plain values that know where they were written.

use crate::appc;
use crate::diagnostic::Diagnostic;
use crate::json;
use std::collections::BTreeMap;
use std::path::PathBuf;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The most that is reported of one pod file: more helps nobody.
pub(crate) const MOST_PROBLEMS: usize = 100;

/// A place in the sources. Ordered by file, then by offset: the order of writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pos {
    pub(crate) file: usize,
    pub(crate) offset: usize,
}

/// The texts that positions point into.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    files: Vec<(PathBuf, String)>,
}

impl Sources {
    pub(crate) fn add(&mut self, path: PathBuf, text: String) -> usize {
        self.files.push((path, text));
        self.files.len() - 1
    }

    pub(crate) fn text(&self, file: usize) -> &str {
        self.files.get(file).map_or("", |(_, text)| text)
    }

    pub(crate) fn into_texts(self) -> Vec<String> {
        self.files.into_iter().map(|(_, text)| text).collect()
    }

    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        self.files.iter().map(|(path, _)| path.clone()).collect()
    }

    fn diagnostic(&self, problem: Problem) -> Diagnostic {
        let Problem { pos, message, hint } = problem;
        let path = self.files.get(pos.file).map(|(path, _)| path.clone()).unwrap_or_default();
        let (line, column) = line_and_column(self.text(pos.file), pos.offset);
        Diagnostic { file: path, line, column, message, hint }
    }

    /// The problems in the order of writing, one a place.
    pub(crate) fn diagnostics(&self, mut problems: Vec<Problem>) -> Vec<Diagnostic> {
        problems.sort_by_key(|problem| problem.pos);
        problems.dedup_by_key(|problem| problem.pos);
        problems.truncate(MOST_PROBLEMS);
        problems.into_iter().map(|problem| self.diagnostic(problem)).collect()
    }
}

/// Line and column of a byte offset, both from 1, the column in characters.
pub(crate) fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    let before = &text[..offset];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
    (line, before[line_start..].chars().count() + 1)
}

/// Something wrong at a place.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) pos: Pos,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

/// A value and where it was written.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) pos: Pos,
    pub(crate) value: Value,
}

/// A value.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    String(String),
    /// `None` = larger than any number a pod file can use.
    Integer(Option<i128>),
    Boolean(bool),
    Array(Vec<Node>),
    Table(Table),
    /// A float or a date: no key takes one.
    Other(&'static str),
}

impl Value {
    /// For "expected …, found …".
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::String(_) => "a string",
            Self::Integer(_) => "a number",
            Self::Boolean(_) => "true or false",
            Self::Array(_) => "a list",
            Self::Table(_) => "a table",
            Self::Other(kind) => kind,
        }
    }
}

/// A table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    pub(crate) entries: BTreeMap<String, Entry>,
}

/// A key with its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: Pos,
    pub(crate) node: Node,
}

impl Table {
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.entries.get(key).map(|entry| &entry.node)
    }

    /// The entries in the order of writing.
    pub(crate) fn in_order(&self) -> Vec<(&str, &Entry)> {
        let mut entries: Vec<_> = self.entries.iter().map(|(k, v)| (k.as_str(), v)).collect();
        entries.sort_by_key(|(_, entry)| entry.key);
        entries
    }
}

/// Whether a file is a pod manifest in JSON: no pod file in TOML begins that way.
pub(crate) fn is_json(text: &str) -> bool {
    text.trim_start_matches('\u{feff}').trim_start().starts_with('{')
}

/// Parses file number `file`. Syntax errors are all reported; then there is no tree.
pub(crate) fn parse(text: &str, file: usize) -> Result<Node, Vec<Problem>> {
    let at = |offset| Pos { file, offset };
    // What an editor may put in front and TOML does not speak of.
    let bare = text.strip_prefix('\u{feff}').unwrap_or(text);
    let skipped = text.len() - bare.len();
    if is_json(bare) {
        let manifest = json::parse(bare, file, skipped).map_err(|problem| vec![problem])?;
        return appc::pod_file(&manifest);
    }
    let (table, errors) = DeTable::parse_recoverable(bare);
    if errors.is_empty() {
        let builder = Builder { file, skipped };
        return Ok(Node { pos: at(0), value: Value::Table(builder.table(table.into_inner())) });
    }
    Err(errors
        .into_iter()
        .map(|error| Problem {
            pos: at(skipped + error.span().map_or(0, |span| span.start)),
            message: error.message().lines().collect::<Vec<_>>().join(", "),
            hint: None,
        })
        .collect())
}

struct Builder {
    file: usize,
    skipped: usize,
}

impl Builder {
    fn pos<T>(&self, spanned: &Spanned<T>) -> Pos {
        Pos { file: self.file, offset: self.skipped + spanned.span().start }
    }

    fn table(&self, table: DeTable<'_>) -> Table {
        let entries = table.into_iter().map(|(key, value)| {
            let entry = Entry { key: self.pos(&key), node: self.node(value) };
            (key.into_inner().into_owned(), entry)
        });
        Table { entries: entries.collect() }
    }

    fn node(&self, value: Spanned<DeValue<'_>>) -> Node {
        let pos = self.pos(&value);
        let value = match value.into_inner() {
            DeValue::String(text) => Value::String(text.into_owned()),
            DeValue::Integer(number) => {
                Value::Integer(i128::from_str_radix(number.as_str(), number.radix()).ok())
            }
            DeValue::Boolean(value) => Value::Boolean(value),
            DeValue::Array(items) => {
                Value::Array(items.into_iter().map(|item| self.node(item)).collect())
            }
            DeValue::Table(table) => Value::Table(self.table(table)),
            DeValue::Float(_) => Value::Other("a number with decimals"),
            DeValue::Datetime(_) => Value::Other("a date"),
        };
        Node { pos, value }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_characters() {
        let text = "a = 1\nä = x\n";
        assert_eq!(line_and_column(text, 0), (1, 1));
        assert_eq!(line_and_column(text, 6), (2, 1));
        assert_eq!(line_and_column(text, 11), (2, 5));
        assert_eq!(line_and_column(text, 7), (2, 1), "inside a character");
        assert_eq!(line_and_column(text, 999), (3, 1));
    }

    #[test]
    fn a_byte_order_mark_is_skipped_and_counted() {
        let text = "\u{feff}a = 1";
        let Value::Table(table) = parse(text, 0).unwrap().value else { panic!() };
        assert_eq!(table.entries["a"].key.offset, 3);
    }

    #[test]
    fn headers_have_positions_of_their_own() {
        let text = "x = 1\n\n[app.web]\nimage = \"i\"\n[app.db]\nlimits.tasks-max = 3\n";
        let Value::Table(top) = parse(text, 0).unwrap().value else { panic!() };
        let Value::Table(apps) = &top.get("app").unwrap().value else { panic!() };
        let web = &apps.entries["web"];
        assert_eq!(line_and_column(text, web.key.offset), (3, 6));
        assert_eq!(line_and_column(text, web.node.pos.offset), (3, 1));
        let names: Vec<_> = apps.in_order().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["web", "db"]);
        let Value::Table(db) = &apps.get("db").unwrap().value else { panic!() };
        assert_eq!(line_and_column(text, db.entries["limits"].key.offset), (6, 1));
    }

    #[test]
    fn every_syntax_error_is_found() {
        let text = "a = \nb = 1\nb = 2\n[x\n";
        let problems = parse(text, 0).unwrap_err();
        let lines: Vec<_> =
            problems.iter().map(|p| line_and_column(text, p.pos.offset).0).collect();
        assert!(lines.contains(&1) && lines.contains(&3) && lines.contains(&4), "{problems:?}");
    }
}
