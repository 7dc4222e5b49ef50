//! Words of a shell's command line, each with its place. Nothing is run and nothing is looked up but the
//! variables that are given.

use super::{ImportError, Place};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) place: Place,
    pub(super) text: String,
    /// What would have been filled in by a shell and is not known: left as it was written.
    pub(super) unknown: Vec<String>,
}

/// Splits a script into commands of words. Comments are skipped; `;`, `&&`, `||`, `&`, `|` and line ends end a
/// command, a backslash at the end of a line does not.
pub(super) fn commands(
    file: &str,
    text: &str,
    variables: &BTreeMap<String, String>,
) -> Result<Vec<Vec<Word>>, ImportError> {
    let mut splitter = Splitter {
        file: file.into(),
        rest: text.chars().collect(),
        at: 0,
        line: 1,
        column: 1,
        variables,
        commands: vec![Vec::new()],
    };
    splitter.run()?;
    splitter.commands.retain(|command| !command.is_empty());
    Ok(splitter.commands)
}

struct Splitter<'a> {
    file: Arc<str>,
    rest: Vec<char>,
    at: usize,
    line: usize,
    column: usize,
    variables: &'a BTreeMap<String, String>,
    commands: Vec<Vec<Word>>,
}

impl Splitter<'_> {
    fn peek(&self) -> Option<char> {
        self.rest.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += 1;
        if c == '\n' {
            self.line += 1;
            self.column = 1;
        } else {
            self.column += 1;
        }
        Some(c)
    }

    fn place(&self) -> Place {
        Place { file: self.file.clone(), line: self.line, column: self.column }
    }

    fn run(&mut self) -> Result<(), ImportError> {
        while let Some(c) = self.peek() {
            match c {
                '\n' | ';' | '&' | '|' => {
                    self.next();
                    self.commands.push(Vec::new());
                }
                '\\' if self.rest.get(self.at + 1) == Some(&'\n') => {
                    self.next();
                    self.next();
                }
                '\\' if self.rest.get(self.at + 1..self.at + 3) == Some(&['\r', '\n']) => {
                    self.next();
                    self.next();
                    self.next();
                }
                c if c.is_whitespace() => {
                    self.next();
                }
                '#' => {
                    while self.peek().is_some_and(|c| c != '\n') {
                        self.next();
                    }
                }
                _ => {
                    let word = self.word()?;
                    if let Some(command) = self.commands.last_mut() {
                        command.push(word);
                    }
                }
            }
        }
        Ok(())
    }

    fn word(&mut self) -> Result<Word, ImportError> {
        let mut word = Word { place: self.place(), text: String::new(), unknown: Vec::new() };
        while let Some(c) = self.peek() {
            match c {
                c if c.is_whitespace() || matches!(c, ';' | '&' | '|') => break,
                '\'' => {
                    let start = self.place();
                    self.next();
                    loop {
                        match self.next() {
                            Some('\'') => break,
                            Some(c) => word.text.push(c),
                            None => return Err(ImportError::new(&start, "this ' is not closed")),
                        }
                    }
                }
                '"' => self.quoted(&mut word)?,
                '\\' => {
                    self.next();
                    match self.next() {
                        Some('\n') | None => {}
                        Some(c) => word.text.push(c),
                    }
                }
                '$' | '`' => self.expansion(&mut word),
                c => {
                    self.next();
                    word.text.push(c);
                }
            }
        }
        Ok(word)
    }

    fn quoted(&mut self, word: &mut Word) -> Result<(), ImportError> {
        let start = self.place();
        self.next();
        loop {
            match self.peek() {
                None => return Err(ImportError::new(&start, "this \" is not closed")),
                Some('"') => {
                    self.next();
                    return Ok(());
                }
                Some('\\') => {
                    self.next();
                    match self.next() {
                        Some('\n') | None => {}
                        Some(c @ ('"' | '\\' | '$' | '`')) => word.text.push(c),
                        Some(c) => word.text.extend(['\\', c]),
                    }
                }
                Some('$' | '`') => self.expansion(word),
                Some(c) => {
                    self.next();
                    word.text.push(c);
                }
            }
        }
    }

    /// `$NAME`, `${NAME}`, `$(pwd)`, and what is not known.
    fn expansion(&mut self, word: &mut Word) {
        let start = self.at;
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let until = |this: &mut Self, end: char| {
            while this.peek().is_some_and(|c| c != end && c != '\n') {
                this.next();
            }
            this.next();
        };
        let value = match self.next() {
            Some('`') => {
                until(self, '`');
                None
            }
            _ if self.peek() == Some('{') => {
                until(self, '}');
                let name: String =
                    self.written(start).chars().filter(|c| !"${}".contains(*c)).collect();
                self.variables.get(&name).cloned()
            }
            _ if self.peek() == Some('(') => {
                until(self, ')');
                (self.written(start) == "$(pwd)")
                    .then(|| self.variables.get("PWD").cloned())
                    .flatten()
            }
            _ if self.peek().is_some_and(is_name) => {
                while self.peek().is_some_and(is_name) {
                    self.next();
                }
                let name: String = self.written(start).chars().skip(1).collect();
                self.variables.get(&name).cloned()
            }
            _ => {
                word.text.push('$');
                return;
            }
        };
        let written = self.written(start);
        match value {
            Some(value) => word.text.push_str(&value),
            None => {
                word.text.push_str(&written);
                word.unknown.push(written);
            }
        }
    }

    fn written(&self, start: usize) -> String {
        self.rest.get(start..self.at).unwrap_or_default().iter().collect()
    }
}

/// One line as `HEALTHCHECK` or a compose command is split: like a shell, with variables left alone.
pub(super) fn split(place: &Place, text: &str) -> Result<Vec<String>, ImportError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some('\'') => break,
                        Some(c) => word.push(c),
                        None => return Err(ImportError::new(place, "a ' is not closed")),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some('"') => break,
                        Some('\\') => match chars.next() {
                            Some(c @ ('"' | '\\' | '$' | '`')) => word.push(c),
                            Some(c) => word.extend(['\\', c]),
                            None => return Err(ImportError::new(place, "a \" is not closed")),
                        },
                        Some(c) => word.push(c),
                        None => return Err(ImportError::new(place, "a \" is not closed")),
                    }
                }
            }
            '\\' => word.get_or_insert_default().extend(chars.next()),
            c if c.is_whitespace() => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<Vec<String>> {
        let variables = BTreeMap::from([("PWD".to_owned(), "/srv".to_owned())]);
        let commands = commands("x", text, &variables).unwrap();
        commands.into_iter().map(|c| c.into_iter().map(|w| w.text).collect()).collect()
    }

    #[test]
    fn quoting_is_a_shells() {
        assert_eq!(
            texts("a 'b c' \"d\\\"e\\x\" f\\ g # no\nh\\\n i"),
            [vec!["a", "b c", "d\"e\\x", "f g"], vec!["h", "i"]]
                .map(|list: Vec<&str>| list.into_iter().map(str::to_owned).collect::<Vec<_>>())
                .into_iter()
                .collect::<Vec<_>>()
        );
        assert_eq!(
            texts("$PWD/x \"${PWD}\" $(pwd) '$PWD' ''")[0],
            ["/srv/x", "/srv", "/srv", "$PWD", ""]
        );
        assert_eq!(texts("a && b; c | d").len(), 4);
    }

    #[test]
    fn what_is_not_known_is_said() {
        let commands = commands("x", "a $(id -u):$NO", &BTreeMap::new()).unwrap();
        assert_eq!(commands[0][1].unknown, ["$(id -u)", "$NO"]);
        let error = super::commands("x", "a\n  'b", &BTreeMap::new()).unwrap_err();
        assert_eq!(error.to_string(), "x:2:3: this ' is not closed");
    }
}
