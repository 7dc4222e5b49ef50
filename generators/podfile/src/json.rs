//! JSON whose values know where they were written.

use crate::tree::{Entry, Node, Pos, Problem, Table, Value};

/// Deeper than any pod manifest, shallower than the stack.
const DEEPEST: usize = 64;

/// Parses file number `file`, of which `skipped` bytes come before `text`.
pub(crate) fn parse(text: &str, file: usize, skipped: usize) -> Result<Node, Problem> {
    let mut parser = Parser { text, at: 0, file, skipped };
    let node = parser.value(0)?;
    parser.space();
    match parser.peek() {
        None => Ok(node),
        Some(_) => Err(parser.wrong("the manifest has ended, and more follows")),
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    file: usize,
    skipped: usize,
}

impl Parser<'_> {
    fn pos(&self) -> Pos {
        Pos { file: self.file, offset: self.skipped + self.at }
    }

    fn wrong(&self, message: &str) -> Problem {
        Problem { pos: self.pos(), message: message.to_owned(), hint: None }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn eat(&mut self, byte: u8) -> bool {
        self.space();
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn word(&mut self, word: &str) -> bool {
        let found = self.text.get(self.at..).is_some_and(|rest| rest.starts_with(word));
        self.at += if found { word.len() } else { 0 };
        found
    }

    fn value(&mut self, depth: usize) -> Result<Node, Problem> {
        self.space();
        let pos = self.pos();
        if depth > DEEPEST {
            return Err(self.wrong("this is nested too deeply"));
        }
        let value = match self.peek() {
            Some(b'{') => Value::Table(self.object(depth)?),
            Some(b'[') => Value::Array(self.array(depth)?),
            Some(b'"') => Value::String(self.string()?),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            _ if self.word("true") => Value::Boolean(true),
            _ if self.word("false") => Value::Boolean(false),
            _ if self.word("null") => Value::Other("null"),
            _ => return Err(self.wrong("expected a value of JSON")),
        };
        Ok(Node { pos, value })
    }

    fn object(&mut self, depth: usize) -> Result<Table, Problem> {
        let mut table = Table::default();
        self.eat(b'{');
        if self.eat(b'}') {
            return Ok(table);
        }
        loop {
            self.space();
            let key = self.pos();
            if self.peek() != Some(b'"') {
                return Err(self.wrong("expected a name in double quotes"));
            }
            let name = self.string()?;
            if !self.eat(b':') {
                return Err(self.wrong("expected a colon"));
            }
            let node = self.value(depth + 1)?;
            if table.entries.insert(name.clone(), Entry { key, node }).is_some() {
                let message = format!("{name:?} is there twice");
                return Err(Problem { pos: key, message, hint: None });
            }
            if self.eat(b'}') {
                return Ok(table);
            }
            if !self.eat(b',') {
                return Err(self.wrong("expected a comma or the end of the object"));
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Vec<Node>, Problem> {
        let mut list = Vec::new();
        self.eat(b'[');
        if self.eat(b']') {
            return Ok(list);
        }
        loop {
            list.push(self.value(depth + 1)?);
            if self.eat(b']') {
                return Ok(list);
            }
            if !self.eat(b',') {
                return Err(self.wrong("expected a comma or the end of the list"));
            }
        }
    }

    fn number(&mut self) -> Result<Value, Problem> {
        let start = self.at;
        while matches!(self.peek(), Some(b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9')) {
            self.at += 1;
        }
        let text = self.text.get(start..self.at).unwrap_or_default();
        if text.contains(['.', 'e', 'E']) {
            return Ok(Value::Other("a number with decimals"));
        }
        let digits = text.strip_prefix('-').unwrap_or(text);
        let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        if !plain || (digits.len() > 1 && digits.starts_with('0')) {
            self.at = start;
            return Err(self.wrong("this is not a number of JSON"));
        }
        Ok(Value::Integer(text.parse().ok()))
    }

    fn string(&mut self) -> Result<String, Problem> {
        self.at += 1;
        let mut out = String::new();
        loop {
            let rest = self.text.get(self.at..).unwrap_or_default();
            let Some(next) = rest.chars().next() else {
                return Err(self.wrong("the string does not end"));
            };
            match next {
                '"' => {
                    self.at += 1;
                    return Ok(out);
                }
                '\\' => out.push(self.escape()?),
                c if c < ' ' => return Err(self.wrong("a control character in a string")),
                c => {
                    out.push(c);
                    self.at += c.len_utf8();
                }
            }
        }
    }

    fn escape(&mut self) -> Result<char, Problem> {
        let start = self.at;
        self.at += 2;
        let byte = self.text.as_bytes().get(start + 1).copied();
        let found = match byte {
            Some(b @ (b'"' | b'\\' | b'/')) => Some(char::from(b)),
            Some(b'b') => Some('\u{8}'),
            Some(b'f') => Some('\u{c}'),
            Some(b'n') => Some('\n'),
            Some(b'r') => Some('\r'),
            Some(b't') => Some('\t'),
            Some(b'u') => self.unicode(),
            _ => None,
        };
        found.ok_or_else(|| {
            self.at = start;
            self.wrong("this is no escape of JSON")
        })
    }

    /// What follows `\u`; a pair of surrogates is one character.
    fn unicode(&mut self) -> Option<char> {
        let first = self.hex()?;
        if !(0xd800..0xdc00).contains(&first) {
            return char::from_u32(first);
        }
        if !self.word("\\u") {
            return None;
        }
        let second = self.hex()?.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
        char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + second)
    }

    fn hex(&mut self) -> Option<u32> {
        let digits = self.text.get(self.at..self.at + 4)?;
        if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        self.at += 4;
        u32::from_str_radix(digits, 16).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_their_places() {
        let text = "{ \"a\": [1, \"x\\n\\u00e4\\ud83d\\ude00\"],\n  \"b\": {\"c\": true} }";
        let Value::Table(top) = parse(text, 0, 3).unwrap().value else { panic!() };
        assert_eq!(top.entries["a"].key.offset, 3 + 2);
        let Value::Array(list) = &top.entries["a"].node.value else { panic!() };
        assert!(matches!(list[0].value, Value::Integer(Some(1))));
        assert!(matches!(&list[1].value, Value::String(s) if s == "x\nä😀"));
        assert_eq!(list[1].pos.offset, 3 + text.find("\"x").unwrap());
    }

    #[test]
    fn what_is_no_json_is_refused_where_it_is() {
        let deep = "[".repeat(10_000);
        for (text, at) in [
            ("{", 1),
            ("{\"a\":1,}", 7),
            ("{\"a\" 1}", 5),
            ("[1 2]", 3),
            ("[01]", 1),
            ("[\"\\x\"]", 2),
            ("[\"\\ud800\"]", 2),
            ("\"a", 2),
            ("{\"a\":1,\"a\":2}", 7),
            ("{} x", 3),
            ("[\"\n\"]", 2),
            ("", 0),
            (&deep, 65),
        ] {
            let problem = parse(text, 0, 0).unwrap_err();
            assert_eq!(problem.pos.offset, at, "{text:.20}: {problem:?}");
        }
    }
}
