//! Text of unit files: what systemd would read differently from what is meant is escaped, and what
//! no escape can carry is left out.

/// A unit file being written.
#[derive(Debug, Default)]
pub struct UnitText {
    text: String,
}

impl UnitText {
    /// A comment, one line a line of `text`.
    pub fn comment(&mut self, text: &str) {
        for line in text.lines() {
            self.line(&["# ", &printable(line)]);
        }
    }

    /// A section's header.
    pub fn section(&mut self, name: &str) {
        self.line(&["\n[", name, "]"]);
    }

    /// A directive whose value systemd takes as it stands: numbers, times, names that were checked.
    pub fn plain(&mut self, key: &str, value: &str) {
        self.line(&[key, "=", &printable(value)]);
    }

    /// A directive whose value is one text in which systemd expands specifiers: `Description=`,
    /// paths.
    pub fn text(&mut self, key: &str, value: &str) {
        let mut value = percent(&printable(value));
        if value.ends_with('\\') {
            // A backslash at the end would join the next line to this one. systemd strips the
            // blank again.
            value.push(' ');
        }
        self.line(&[key, "=", &value]);
    }

    /// A directive that takes words, each of them quoted if it has to be.
    pub fn words<'a>(&mut self, key: &str, words: impl IntoIterator<Item = &'a str>) {
        let words: Vec<String> = words.into_iter().map(quoted).collect();
        self.line(&[key, "=", &words.join(" ")]);
    }

    /// `ExecStart=`, where `$` is special too.
    pub fn command(&mut self, key: &str, words: &[&str]) {
        let words: Vec<String> =
            words.iter().map(|word| quoted(&word.replace('$', "$$"))).collect();
        self.line(&[key, "=", &words.join(" ")]);
    }

    /// `LoadCredential=` and the like: an id and a path in which specifiers are expanded.
    pub fn credential_file(&mut self, key: &str, id: &str, path: &str) {
        self.line(&[key, "=", id, ":", &percent(&printable(path))]);
    }

    /// `SetCredential=`: an id and its bytes, in which systemd expands specifiers and then takes
    /// back the escapes of C.
    pub fn credential(&mut self, id: &str, value: &str) {
        let seen = value.trim_end_matches(' ');
        let mut text: String = seen.chars().map(escaped).collect();
        // systemd does not see blanks at the end of a line.
        text.push_str(&"\\x20".repeat(value.len() - seen.len()));
        self.line(&["SetCredential=", id, ":", &percent(&text)]);
    }

    /// A directive emptied of what the template has given it.
    pub fn reset(&mut self, key: &str) {
        self.line(&[key, "="]);
    }

    /// The text.
    pub fn finish(self) -> String {
        self.text
    }

    fn line(&mut self, parts: &[&str]) {
        for part in parts {
            self.text.push_str(part);
        }
        self.text.push('\n');
    }
}

/// Control characters end a line or are refused by systemd; nothing that is written here needs one.
fn printable(value: &str) -> String {
    value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn percent(value: &str) -> String {
    value.replace('%', "%%")
}

/// A word as systemd's own splitting takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/:-_.@=,+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    let mut text = String::from('"');
    for c in word.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '%' => text.push_str("%%"),
            c => text.push_str(&escaped(c)),
        }
    }
    text.push('"');
    text
}

/// A character as systemd's unescaping takes it back.
fn escaped(c: char) -> String {
    match c {
        '\\' => "\\\\".to_owned(),
        '\n' => "\\n".to_owned(),
        '\t' => "\\t".to_owned(),
        c if c.is_control() => c.to_string().bytes().map(|byte| format!("\\x{byte:02x}")).collect(),
        c => c.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut UnitText)) -> String {
        let mut unit = UnitText::default();
        write(&mut unit);
        unit.finish()
    }

    #[test]
    fn texts() {
        let table = [
            ("Blog", "K=Blog\n"),
            ("100% of \"it\" $HOME", "K=100%% of \"it\" $HOME\n"),
            ("two\nlines\r[Service]", "K=two lines [Service]\n"),
            ("ends with \\", "K=ends with \\ \n"),
            ("", "K=\n"),
        ];
        for (value, expected) in table {
            assert_eq!(written(|u| u.text("K", value)), expected);
        }
    }

    #[test]
    fn words() {
        let table: [(&[&str], &str); 6] = [
            (&["/usr/bin/x", "--a=b"], "K=/usr/bin/x --a=b\n"),
            (&["a b", ""], "K=\"a b\" \"\"\n"),
            (&["say \"hi\" \\ 50%"], "K=\"say \\\"hi\\\" \\\\ 50%%\"\n"),
            (&["a\nb\tc\u{1b}"], "K=\"a\\nb\\tc\\x1b\"\n"),
            (&["; not a separator"], "K=\"; not a separator\"\n"),
            (&["ä"], "K=\"ä\"\n"),
        ];
        for (words, expected) in table {
            assert_eq!(written(|u| u.words("K", words.iter().copied())), expected);
        }
        assert_eq!(
            written(|u| u.credential("k", "a\\b\n50%\u{1}")),
            "SetCredential=k:a\\\\b\\n50%%\\x01\n"
        );
        assert_eq!(written(|u| u.credential("k", " x  ")), "SetCredential=k: x\\x20\\x20\n");
        assert_eq!(
            written(|u| u.credential_file("LoadCredential", "k", "/a b%/c\\d")),
            "LoadCredential=k:/a b%%/c\\d\n"
        );
        assert_eq!(written(|u| u.command("K", &["/x", "${A} $$"])), "K=/x \"$${A} $$$$\"\n");
    }

    #[test]
    fn the_rest() {
        let text = written(|unit| {
            unit.comment("one\ntwo \u{7}");
            unit.section("Unit");
            unit.reset("ExecStart");
            unit.plain("CPUQuota", "50%");
        });
        assert_eq!(text, "# one\n# two  \n\n[Unit]\nExecStart=\nCPUQuota=50%\n");
    }
}
