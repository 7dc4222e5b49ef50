//! Values of a pod file, and how they are written.

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    Number(i64),
    Boolean(bool),
    List(Vec<Value>),
    Table(Vec<(String, Value)>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Boolean(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Number(value)
    }
}

impl From<Vec<String>> for Value {
    fn from(list: Vec<String>) -> Self {
        Self::List(list.into_iter().map(Self::Text).collect())
    }
}

impl Value {
    /// On one line, as TOML writes it. In a template a `%` stands for itself only when it is doubled.
    pub(super) fn render(&self, template: bool) -> String {
        match self {
            Self::Text(text) if template => {
                quoted(&text.replace('%', "%%").replace(INSTANCE, "%i"))
            }
            // Any instance does, to see whether the grammar takes it.
            Self::Text(text) => quoted(&text.replace(INSTANCE, "1")),
            Self::Number(number) => number.to_string(),
            Self::Boolean(value) => value.to_string(),
            Self::List(list) => {
                let list: Vec<_> = list.iter().map(|value| value.render(template)).collect();
                format!("[{}]", list.join(", "))
            }
            Self::Table(table) => {
                let entries: Vec<_> = table
                    .iter()
                    .map(|(key, value)| {
                        format!("{} = {}", bare_or_quoted(key), value.render(template))
                    })
                    .collect();
                format!("{{ {} }}", entries.join(", "))
            }
        }
    }
}

/// Stands for a template's instance until it is written, so that no other `%i` is taken for it.
pub(super) const INSTANCE: &str = "\u{1}instance\u{1}";

/// A basic string.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A key: bare where it can be.
pub(super) fn bare_or_quoted(key: &str) -> String {
    let bare = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if !key.is_empty() && key.bytes().all(bare) { key.to_owned() } else { quoted(key) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_survive_toml() {
        for text in ["", "a b", "\"\\\n\t\u{1}\u{7f}\u{85}é'", "%i"] {
            let line = format!("{} = {}", bare_or_quoted(text), Value::from(text).render(false));
            let read: toml::Table = line.parse().unwrap();
            assert_eq!(read.get(text).and_then(toml::Value::as_str), Some(text), "{line}");
        }
        let template = Value::Text(format!("%i-{INSTANCE}"));
        assert_eq!(template.render(true), "\"%%i-%i\"");
    }
}
