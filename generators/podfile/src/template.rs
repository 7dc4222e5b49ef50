//! Templates: what `%i` in a template's file becomes for one instance.

use crate::tree::{Node, Problem, Value};

/// Puts `instance` in place of `%i`, and `%` in place of `%%`, in every string value below `node`.
/// Another `%` is a problem: what looks like a specifier of systemd's would be taken for one.
pub(crate) fn expand(node: &mut Node, instance: &str, problems: &mut Vec<Problem>) {
    match &mut node.value {
        Value::String(text) if text.contains('%') => match expanded(text, instance) {
            Ok(new) => *text = new,
            Err(message) => {
                let hint = Some("a % that stands for itself is written %%".to_owned());
                problems.push(Problem { pos: node.pos, message, hint });
            }
        },
        Value::Array(items) => {
            for item in items {
                expand(item, instance, problems);
            }
        }
        Value::Table(table) => {
            for entry in table.entries.values_mut() {
                expand(&mut entry.node, instance, problems);
            }
        }
        Value::String(_) | Value::Integer(_) | Value::Boolean(_) | Value::Other(_) => {}
    }
}

fn expanded(text: &str, instance: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len() + instance.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        match rest.next() {
            Some('i') => out.push_str(instance),
            Some('%') => out.push('%'),
            Some(other) => {
                return Err(format!("%{other} is nothing in a template; it has %i and %%"));
            }
            None => return Err("a % at the end is nothing in a template".to_owned()),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_are_put_in() {
        assert_eq!(expanded("x", "1").unwrap(), "x");
        assert_eq!(expanded("/srv/%i/%i-%%i", "blue").unwrap(), "/srv/blue/blue-%i");
        assert!(expanded("%I", "1").unwrap_err().contains("%I is nothing"));
        assert!(expanded("100%", "1").is_err());
    }
}
