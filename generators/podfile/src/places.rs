//! Where each value of a pod file was written: for warnings about files that are right.

use crate::diagnostic::Diagnostic;
use crate::tree::{Node, Pos, Sources, Value};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The place of each value, by its keys from the top joined with `.`; entries of lists by number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    files: Vec<PathBuf>,
    /// Number of the file, line and column.
    of: BTreeMap<String, (usize, usize, usize)>,
}

impl Places {
    pub(crate) fn new(tree: &Node, sources: &Sources) -> Self {
        let mut values = Vec::new();
        add(tree, String::new(), &mut values);
        // In the order of writing one walk through the texts finds all of them.
        values.sort_unstable_by_key(|(_, pos)| *pos);
        let mut walk = Walk::default();
        let place = |(path, pos): (String, Pos)| (path, walk.to(pos, sources));
        Self { of: values.into_iter().map(place).collect(), files: sources.paths() }
    }

    /// A diagnostic at `path`, such as `app.web.image`, or at what is nearest above it.
    pub fn diagnostic(
        &self,
        path: &str,
        message: impl Into<String>,
        hint: Option<String>,
    ) -> Diagnostic {
        let mut path = path;
        loop {
            if let Some((file, line, column)) = self.of.get(path) {
                let (line, column) = (*line, *column);
                let file = self.files.get(*file).cloned().unwrap_or_default();
                return Diagnostic { file, line, column, message: message.into(), hint };
            }
            match path.rsplit_once('.') {
                Some((above, _)) => path = above,
                None if path.is_empty() => break,
                None => path = "",
            }
        }
        Diagnostic { file: PathBuf::new(), line: 1, column: 1, message: message.into(), hint }
    }
}

/// The value at `path` and everything in it.
fn add(node: &Node, path: String, values: &mut Vec<(String, Pos)>) {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match &node.value {
        Value::Table(table) => {
            for (key, entry) in &table.entries {
                add(&entry.node, below(key), values);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                add(item, below(&index.to_string()), values);
            }
        }
        Value::String(_) | Value::Integer(_) | Value::Boolean(_) | Value::Other(_) => {}
    }
    values.push((path, node.pos));
}

/// How far the texts have been counted.
#[derive(Default)]
struct Walk {
    file: usize,
    offset: usize,
    /// Line ends and, since the last one, characters before `offset`.
    lines: usize,
    characters: usize,
}

impl Walk {
    /// File, line and column of a place that is not before the last one.
    fn to(&mut self, pos: Pos, sources: &Sources) -> (usize, usize, usize) {
        if pos.file != self.file {
            *self = Self { file: pos.file, ..Self::default() };
        }
        let text = sources.text(pos.file);
        for c in text.get(self.offset..).unwrap_or_default().chars() {
            // A place inside a character is that character's.
            if self.offset + c.len_utf8() > pos.offset {
                break;
            }
            self.offset += c.len_utf8();
            (self.lines, self.characters) =
                if c == '\n' { (self.lines + 1, 0) } else { (self.lines, self.characters + 1) };
        }
        (pos.file, self.lines + 1, self.characters + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{line_and_column, parse};

    #[test]
    fn each_value_has_the_place_that_a_complaint_about_it_would_have() {
        let first =
            "\u{feff}# ä\nlist = [\"ö\", 2, [3]]\n[app.\"w.b\"]\na = { b = \"ü\", c = 1 }\n";
        let second = "z = 'é'\nx = [\n  1,\n\n 2 ]";
        let mut sources = Sources::default();
        for text in [first, second] {
            let file = sources.add(PathBuf::from(format!("{}", text.len())), text.to_owned());
            let tree = parse(text, file).unwrap();
            let places = Places::new(&tree, &sources);
            let mut values = Vec::new();
            add(&tree, String::new(), &mut values);
            assert!(values.len() > 4);
            for (path, pos) in values {
                let found = places.diagnostic(&path, "", None);
                let expected = line_and_column(text, pos.offset);
                assert_eq!((found.line, found.column), expected, "{path}");
                assert_eq!(found.file, PathBuf::from(format!("{}", text.len())));
            }
        }
    }
}
