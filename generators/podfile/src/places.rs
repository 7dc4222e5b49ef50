//! Where each value of a pod file was written: for warnings about files that are right.

use crate::diagnostic::Diagnostic;
use crate::tree::{Node, Problem, Sources, Value};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The place of each value, by its keys from the top joined with `.`; entries of lists by number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    of: BTreeMap<String, (PathBuf, usize, usize)>,
}

impl Places {
    pub(crate) fn new(tree: &Node, sources: &Sources) -> Self {
        let mut places = Self::default();
        places.add(tree, "", sources);
        places
    }

    fn add(&mut self, node: &Node, path: &str, sources: &Sources) {
        let problem = Problem { pos: node.pos, message: String::new(), hint: None };
        let found = sources.diagnostics(vec![problem]).pop();
        if let Some(Diagnostic { file, line, column, .. }) = found {
            self.of.insert(path.to_owned(), (file, line, column));
        }
        let below =
            |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        match &node.value {
            Value::Table(table) => {
                for (key, entry) in &table.entries {
                    self.add(&entry.node, &below(key), sources);
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.add(item, &below(&index.to_string()), sources);
                }
            }
            Value::String(_) | Value::Integer(_) | Value::Boolean(_) | Value::Other(_) => {}
        }
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
                let (file, line, column) = (file.clone(), *line, *column);
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
