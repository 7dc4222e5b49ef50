//! YAML as a tree whose every node knows its place and keeps the text it was written with.
//!
//! What is behind an alias or a merge has the place where it is used. Documents are bounded by the reader's
//! budget: a few lines of aliases that stand for billions of nodes are an error.

use super::{ImportError, Input, Place};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};
use std::fmt;
use std::sync::Arc;

/// A node.
#[derive(Clone, Debug)]
pub(super) struct Yaml {
    pub(super) place: Place,
    pub(super) node: Node,
}

/// What it is.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Null,
    /// A scalar's text: `0755` stays `0755`, and `yes` stays `yes`.
    Scalar(String),
    List(Vec<Yaml>),
    Map(Vec<(Key, Yaml)>),
}

/// A key of a map.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) place: Place,
    pub(super) text: String,
}

/// Nodes of all documents, aliases counted as often as they are used.
const MOST_NODES: usize = 100_000;
const DEEPEST: usize = 64;

/// Reads every document of a file that has something in it.
pub(super) fn read(input: &Input) -> Result<Vec<Yaml>, ImportError> {
    let file: Arc<str> = input.path.as_str().into();
    let mut options = serde_saphyr::Options::default();
    if let Some(budget) = &mut options.budget {
        budget.max_nodes = MOST_NODES;
        budget.max_depth = DEEPEST;
    }
    let text = input.text.strip_prefix('\u{feff}').unwrap_or(&input.text);
    let documents: Vec<Spanned<Raw>> = serde_saphyr::from_multiple_with_options(text, options)
        .map_err(|error| {
            let place = place(&file, error.location().as_ref());
            // The first line says it; what follows is a drawing of the place.
            let said = error.without_snippet().to_string();
            let said = said.lines().next().unwrap_or_default();
            let said = match said.split_once(": ") {
                Some((at, what)) if at.starts_with("error: line") || at.starts_with("line") => what,
                _ => said,
            };
            ImportError::new(&place, format!("not YAML that can be read: {said}"))
        })?;
    let reader = Reader { file, text };
    Ok(documents.into_iter().map(|document| reader.node(document)).collect())
}

fn place(file: &Arc<str>, location: Option<&Location>) -> Place {
    let number = |n: u64| usize::try_from(n).unwrap_or(usize::MAX).max(1);
    let (line, column) = location.map_or((1, 1), |l| (number(l.line()), number(l.column())));
    Place { file: file.clone(), line, column }
}

struct Reader<'a> {
    file: Arc<str>,
    text: &'a str,
}

impl Reader<'_> {
    fn node(&self, raw: Spanned<Raw>) -> Yaml {
        let here = place(&self.file, Some(&raw.referenced));
        let written = |read: String| {
            let span = raw.defined.span();
            let start = span.byte_offset().and_then(|n| usize::try_from(n).ok());
            let length = span.byte_len().and_then(|n| usize::try_from(n).ok());
            let end = start.zip(length).and_then(|(start, length)| start.checked_add(length));
            let text = start.zip(end).and_then(|(start, end)| self.text.get(start..end));
            text.map(str::trim).filter(|text| !text.is_empty()).map_or(read, str::to_owned)
        };
        let node = match raw.value {
            Raw::Null => Node::Null,
            Raw::Plain(text) => Node::Scalar(written(text)),
            Raw::Text(text) => Node::Scalar(text),
            Raw::List(list) => Node::List(list.into_iter().map(|item| self.node(item)).collect()),
            Raw::Map(map) => {
                let entry = |(key, value): (Spanned<String>, Spanned<Raw>)| {
                    let place = place(&self.file, Some(&key.referenced));
                    (Key { place, text: key.value }, self.node(value))
                };
                Node::Map(map.into_iter().map(entry).collect())
            }
        };
        Yaml { place: here, node }
    }
}

enum Raw {
    Null,
    /// A number or a boolean, which its reader has already understood.
    Plain(String),
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

struct AnyNode;

impl<'de> Visitor<'de> for AnyNode {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<Raw, D::Error> {
        inner.deserialize_any(self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Plain(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Plain(value.to_string()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Raw, E> {
        Ok(Raw::Plain(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Plain(value.to_string()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Raw, E> {
        Ok(Raw::Plain(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Plain(value.to_string()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Raw::Map(map))
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyNode)
    }
}

impl Yaml {
    /// A scalar's text; nothing is the empty one.
    pub(super) fn text(&self, what: &str) -> Result<&str, ImportError> {
        match &self.node {
            Node::Scalar(text) => Ok(text),
            Node::Null => Ok(""),
            _ => Err(self.expected(what, "a single value")),
        }
    }

    pub(super) fn map(&self, what: &str) -> Result<&[(Key, Yaml)], ImportError> {
        match &self.node {
            Node::Map(map) => Ok(map),
            Node::Null => Ok(&[]),
            _ => Err(self.expected(what, "a map")),
        }
    }

    pub(super) fn list(&self, what: &str) -> Result<&[Yaml], ImportError> {
        match &self.node {
            Node::List(list) => Ok(list),
            Node::Null => Ok(&[]),
            _ => Err(self.expected(what, "a list")),
        }
    }

    /// A list of texts; one text is a list of one.
    pub(super) fn texts(&self, what: &str) -> Result<Vec<(&Place, &str)>, ImportError> {
        match &self.node {
            Node::Scalar(text) => Ok(vec![(&self.place, text)]),
            _ => self.list(what)?.iter().map(|item| Ok((&item.place, item.text(what)?))).collect(),
        }
    }

    pub(super) fn expected(&self, what: &str, kind: &str) -> ImportError {
        ImportError::new(&self.place, format!("{what} has to be {kind}"))
    }

    /// The value of a key, for a look ahead; walking over all keys is what finds the unknown ones.
    pub(super) fn get(&self, key: &str) -> Option<&Yaml> {
        let Node::Map(map) = &self.node else { return None };
        map.iter().find(|(k, _)| k.text == key).map(|(_, value)| value)
    }

    /// The keys of a map beside the known ones, for places where the known ones are looked up by name.
    pub(super) fn others<'a>(&'a self, known: &'a [&str]) -> impl Iterator<Item = &'a Key> {
        let map: &[(Key, Yaml)] = match &self.node {
            Node::Map(map) => map,
            _ => &[],
        };
        map.iter().map(|(key, _)| key).filter(|key| !known.contains(&key.text.as_str()))
    }

    pub(super) fn get_text(&self, key: &str) -> Option<&str> {
        match &self.get(key)?.node {
            Node::Scalar(text) => Some(text),
            _ => None,
        }
    }

    /// Replaces every scalar's text.
    pub(super) fn map_texts(
        &mut self,
        change: &mut impl FnMut(&Place, &str) -> Result<String, ImportError>,
    ) -> Result<(), ImportError> {
        match &mut self.node {
            Node::Null => {}
            Node::Scalar(text) => *text = change(&self.place, text)?,
            Node::List(list) => {
                for item in list {
                    item.map_texts(change)?;
                }
            }
            Node::Map(map) => {
                for (_, value) in map {
                    value.map_texts(change)?;
                }
            }
        }
        Ok(())
    }
}
