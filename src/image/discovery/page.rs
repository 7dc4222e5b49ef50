//! What a page says of image names: `<meta name="ac-discovery" content="PREFIX TEMPLATE">` and
//! `<meta name="ac-discovery-pubkeys" content="PREFIX URL">` (appc specification, discovery.md).
//!
//! A reader of tags, not of pages: it knows comments, elements whose content is text, quotes and entities, and
//! is never surprised. Pages come from strangers.

use super::place::covers;

/// Largest page that is read.
pub const MAX_PAGE: u64 = 1 << 20;
/// Most entries that a page may have.
const MAX_ENTRIES: usize = 256;
/// Attributes of a tag that are looked at.
const MAX_ATTRIBUTES: usize = 16;
/// Elements that hold text, whatever it looks like.
const TEXT: [&str; 6] = ["script", "style", "title", "textarea", "noscript", "template"];

/// Why a page is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// More than anybody needs.
    #[error("the page has more than {MAX_ENTRIES} entries for discovery")]
    TooMany,
}

/// What a page says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Prefixes and the templates of addresses below them, in the page's order.
    pub endpoints: Vec<(String, String)>,
    /// Prefixes and the addresses of keys for them.
    pub keys: Vec<(String, String)>,
}

impl Page {
    /// Reads a page.
    ///
    /// # Errors
    /// [`PageError`]; whatever else is no page says nothing.
    pub fn parse(bytes: &[u8]) -> Result<Self, PageError> {
        let text = String::from_utf8_lossy(bytes);
        let mut page = Self::default();
        let mut rest = text.as_ref();
        while let Some(start) = rest.find('<') {
            rest = rest.get(start..).unwrap_or_default();
            if let Some(comment) = rest.strip_prefix("<!--") {
                rest = comment.find("-->").and_then(|end| comment.get(end..)).unwrap_or_default();
                continue;
            }
            if !rest.as_bytes().get(1).is_some_and(u8::is_ascii_alphabetic) {
                rest = rest.get(1..).unwrap_or_default();
                continue;
            }
            // A tag that does not end is the end.
            let Some((name, attributes, after)) = tag(rest) else { break };
            rest = after;
            if TEXT.contains(&name.as_str()) {
                rest = end_of(&name, rest);
            } else if name == "meta" {
                page.meta(&attributes)?;
            }
        }
        Ok(page)
    }

    fn meta(&mut self, attributes: &[(String, String)]) -> Result<(), PageError> {
        let get = |key: &str| attributes.iter().find(|(name, _)| name == key).map(|(_, v)| v);
        let (Some(name), Some(content)) = (get("name"), get("content")) else { return Ok(()) };
        let list = match name.to_ascii_lowercase().as_str() {
            "ac-discovery" => &mut self.endpoints,
            "ac-discovery-pubkeys" => &mut self.keys,
            _ => return Ok(()),
        };
        let mut words = content.split_ascii_whitespace();
        if let (Some(prefix), Some(value), None) = (words.next(), words.next(), words.next()) {
            if list.len() == MAX_ENTRIES {
                return Err(PageError::TooMany);
            }
            list.push((prefix.trim_end_matches('/').to_owned(), value.to_owned()));
        }
        Ok(())
    }

    /// The templates for a name, in the page's order.
    pub fn templates<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let fits = move |(prefix, _): &&(String, String)| covers(prefix, name);
        self.endpoints.iter().filter(fits).map(|(_, template)| template.as_str())
    }

    /// The addresses of keys for a name, in the page's order.
    pub fn keys_for<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let fits = move |(prefix, _): &&(String, String)| covers(prefix, name);
        self.keys.iter().filter(fits).map(|(_, url)| url.as_str())
    }
}

/// Names and values, each name once.
type Attributes = Vec<(String, String)>;

/// A start tag at the beginning of `text`: its name, its attributes, and what follows it; none if it
/// does not end.
fn tag(text: &str) -> Option<(String, Attributes, &str)> {
    let body = text.strip_prefix('<')?;
    let end = body.find(|c: char| !c.is_ascii_alphanumeric())?;
    let (name, mut rest) = body.split_at_checked(end)?;
    let mut attributes = Vec::new();
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '/');
        if let Some(after) = rest.strip_prefix('>') {
            return Some((name.to_ascii_lowercase(), attributes, after));
        }
        let end = rest.find(|c: char| c.is_ascii_whitespace() || "=>/".contains(c))?;
        // An equals sign first belongs to the name of the attribute (HTML, 13.2.5.32).
        let end = if end == 0 { 1 } else { end };
        let (key, after) = rest.split_at_checked(end)?;
        rest = after.trim_start();
        let mut value = String::new();
        if let Some(after) = rest.strip_prefix('=') {
            let after = after.trim_start();
            let quote = after.chars().next().filter(|c| "\"'".contains(*c));
            let (raw, after) = match quote {
                Some(quote) => after.get(1..)?.split_once(quote)?,
                None => {
                    let end = after.find(|c: char| c.is_ascii_whitespace() || c == '>')?;
                    after.split_at_checked(end)?
                }
            };
            value = unescape(raw);
            rest = after;
        }
        // Of two of a name the first counts.
        let key = key.to_ascii_lowercase();
        if attributes.len() < MAX_ATTRIBUTES && !attributes.iter().any(|(known, _)| *known == key) {
            attributes.push((key, value));
        }
    }
}

/// What follows the end of an element that holds text.
fn end_of<'a>(name: &str, text: &'a str) -> &'a str {
    let mut rest = text;
    while let Some(start) = rest.find("</") {
        let after = rest.get(start + 2..).unwrap_or_default();
        if after.get(..name.len()).is_some_and(|found| found.eq_ignore_ascii_case(name)) {
            return after;
        }
        rest = after;
    }
    ""
}

/// The entities that a template can need.
fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        out.push_str(before);
        let known = after.split_once(';').and_then(|(name, after)| {
            let character = match name {
                "amp" => '&',
                "quot" => '"',
                "apos" => '\'',
                "lt" => '<',
                "gt" => '>',
                _ => {
                    let number = name.strip_prefix('#')?;
                    let hexadecimal = number.strip_prefix(['x', 'X']);
                    let number = match hexadecimal {
                        Some(digits) => u32::from_str_radix(digits, 16),
                        None => number.parse(),
                    };
                    char::from_u32(number.ok()?)?
                }
            };
            Some((character, after))
        });
        match known {
            Some((character, after)) => {
                out.push(character);
                rest = after;
            }
            None => {
                out.push('&');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_as_people_write_them() {
        let page = Page::parse(
            br#"<!DOCTYPE html><html><head><title><meta name="ac-discovery" content="a b"></title>
            <!-- <meta name="ac-discovery" content="comment x"> -->
            <script>document.write('<meta name="ac-discovery" content="script x">')</script>
            <META CONTENT='example.com https://example.com/{name}?a=1&amp;b=2' Name=AC-Discovery>
            <meta name="ac-discovery" content="example.com/team  https://other.test/{name}.{ext}"/>
            <meta
              name = "ac-discovery-pubkeys"
              content = "example.com https://example.com/&#107;eys.asc" >
            <meta name="ac-discovery" content="one"><meta name="ac-discovery" content="a b c">
            <meta charset=utf-8><p a="<meta name='ac-discovery' content='x y'>">"#,
        )
        .unwrap();
        assert_eq!(page.endpoints.len(), 2, "{page:?}");
        let templates: Vec<_> = page.templates("example.com/team/app").collect();
        assert_eq!(
            templates,
            ["https://example.com/{name}?a=1&b=2", "https://other.test/{name}.{ext}"]
        );
        assert_eq!(page.templates("example.com/teams").count(), 1);
        assert_eq!(page.templates("example.community").count(), 0);
        assert_eq!(
            page.keys_for("example.com").collect::<Vec<_>>(),
            ["https://example.com/keys.asc"]
        );
    }

    #[test]
    fn whatever_comes_an_answer() {
        let good =
            b"<a><meta name='ac-discovery' content='a b'><!-- x --><script>y</script>&#x41;<";
        for end in 0..good.len() {
            for byte in [b'<', b'>', b'"', b'=', 0xff, b'&'] {
                let mut bytes = good.to_vec();
                bytes[end] = byte;
                drop(Page::parse(&bytes));
                drop(Page::parse(&bytes[..end]));
            }
        }
        let many = "<meta name=ac-discovery content='a b'>".repeat(MAX_ENTRIES + 1);
        assert_eq!(Page::parse(many.as_bytes()), Err(PageError::TooMany));
        // Many beginnings and no end cost no more than reading them.
        assert_eq!(Page::parse("<meta a=\"".repeat(50_000).as_bytes()), Ok(Page::default()));
        let long = format!("<meta {}>", "a=b ".repeat(200_000));
        assert_eq!(Page::parse(long.as_bytes()), Ok(Page::default()));
        assert_eq!(Page::parse("<script></".repeat(100_000).as_bytes()), Ok(Page::default()));
        assert_eq!(Page::parse("<!--".repeat(100_000).as_bytes()), Ok(Page::default()));
    }
}
