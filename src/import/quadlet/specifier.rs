//! `%n` and its like, as far as a pod file's reader can know them.

use crate::import::ImportError;
use crate::import::sheet::Sheet;
use crate::import::unit_file::Line;
use crate::import::value::INSTANCE;

/// What the specifiers of one unit stand for.
pub(super) struct Specifiers {
    stem: String,
}

/// Sections whose keys may have specifiers that a pod file cannot fill in: they are systemd's.
const VITAL: [&str; 6] = ["Image", "User", "Group", "DropCapability", "Exec", "Entrypoint"];

impl Specifiers {
    pub(super) fn new(stem: &str) -> Self {
        Self { stem: stem.to_owned() }
    }

    /// The lines with their specifiers filled in; a key with one that nobody knows before the start is lost.
    pub(super) fn expanded(
        &self,
        lines: &[Line],
        home: &str,
        sheet: &mut Sheet,
    ) -> Result<Vec<Line>, ImportError> {
        let mut out = Vec::new();
        for line in lines {
            match self.fill(&line.value, home) {
                Ok(value) => out.push(Line { value, ..line.clone() }),
                Err(specifier) if VITAL.contains(&line.key.as_str()) => {
                    let message = format!("{}: {specifier} is known to systemd only", line.key);
                    return Err(
                        ImportError::new(&line.place, message).hint("write what it stands for")
                    );
                }
                Err(specifier) => {
                    let why = format!("{specifier} is known to systemd only");
                    sheet.lose("", &line.place, &line.key, &why, "write what it stands for");
                }
            }
        }
        Ok(out)
    }

    fn fill(&self, text: &str, home: &str) -> Result<String, String> {
        let template = self.stem.strip_suffix('@');
        let prefix = template.unwrap_or(&self.stem);
        let mut out = String::new();
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            if c != '%' {
                out.push(c);
                continue;
            }
            match rest.next() {
                Some('%') => out.push('%'),
                Some('i' | 'I') if template.is_some() => out.push_str(INSTANCE),
                Some('i' | 'I') => {}
                Some('p' | 'P') => out.push_str(prefix),
                Some('N') => {
                    out.push_str(&self.stem);
                    out.push_str(if template.is_some() { INSTANCE } else { "" });
                }
                Some('n') => {
                    out.push_str(&self.stem);
                    out.push_str(if template.is_some() { INSTANCE } else { "" });
                    out.push_str(".service");
                }
                Some('h') => out.push_str(home),
                Some('t') => out.push_str("/run"),
                Some('S') => out.push_str("/var/lib"),
                Some('C') => out.push_str("/var/cache"),
                Some('L') => out.push_str("/var/log"),
                Some('E') => out.push_str("/etc"),
                Some('T') => out.push_str("/tmp"),
                Some('V') => out.push_str("/var/tmp"),
                Some('u' | 'g') => out.push_str("root"),
                Some('U' | 'G') => out.push('0'),
                Some(other) => return Err(format!("%{other}")),
                // As systemd leaves it: `CPUQuota=50%`.
                None => out.push('%'),
            }
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specifiers_of_system_units() {
        let plain = Specifiers::new("web");
        assert_eq!(
            plain.fill("%n %N %h/x %t 100%%", "/root").unwrap(),
            "web.service web /root/x /run 100%"
        );
        assert_eq!(plain.fill("%H", "/root").unwrap_err(), "%H");
        let template = Specifiers::new("web@");
        assert_eq!(template.fill("/srv/%i", "").unwrap(), format!("/srv/{INSTANCE}"));
    }
}
