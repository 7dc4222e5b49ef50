//! Rust source with everything that is not code blanked out, so that a plain search finds only code.

/// Replaces comments, string and character literals by spaces; lines and columns stay.
pub fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = skip(bytes, at);
        if end == at {
            at += 1;
            continue;
        }
        for byte in out.iter_mut().take(end).skip(at).filter(|b| **b != b'\n') {
            *byte = b' ';
        }
        at = end;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The end of the comment or literal that starts at `at`, or `at` when none does.
fn skip(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    let word_before = at > 0 && bytes.get(at - 1).is_some_and(|b| is_word(*b));
    if rest.starts_with(b"//") {
        return at + rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
    }
    if rest.starts_with(b"/*") {
        return at + block_comment(rest);
    }
    match rest.first() {
        Some(b'"') => at + quoted(rest, b'"'),
        Some(b'r' | b'b' | b'c') if !word_before => at + raw_or_prefixed(rest),
        Some(b'\'') => at + character(rest),
        _ => at,
    }
}

fn is_word(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphanumeric()
}

fn block_comment(rest: &[u8]) -> usize {
    let mut depth = 0usize;
    let mut at = 0;
    while let Some(pair) = rest.get(at..at + 2) {
        match pair {
            b"/*" => depth += 1,
            b"*/" => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// Length of a literal that ends at an unescaped `mark`, both marks included.
fn quoted(rest: &[u8], mark: u8) -> usize {
    let mut at = 1;
    while let Some(byte) = rest.get(at) {
        match byte {
            b'\\' => at += 2,
            byte if *byte == mark => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// `r"…"`, `r#"…"#`, `b"…"`, `br#"…"#`, `c"…"`, `b'…'`; 0 for an ordinary word.
fn raw_or_prefixed(rest: &[u8]) -> usize {
    let prefix = rest.iter().take_while(|b| matches!(b, b'r' | b'b' | b'c')).count();
    let raw = rest.get(..prefix).is_some_and(|p| p.contains(&b'r'));
    let hashes = rest.iter().skip(prefix).take_while(|b| **b == b'#').count();
    let tail = rest.get(prefix + hashes..).unwrap_or_default();
    match tail.first() {
        Some(b'"') if raw => {
            let close = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
            let body = tail.get(1..).unwrap_or_default();
            let found = body.windows(close.len()).position(|w| w == close);
            prefix + hashes + 1 + found.map_or(body.len(), |p| p + close.len())
        }
        Some(b'"') if hashes == 0 => prefix + quoted(tail, b'"'),
        Some(b'\'') if hashes == 0 && rest.first() == Some(&b'b') => prefix + quoted(tail, b'\''),
        _ => 0,
    }
}

/// A character literal; 0 for a lifetime.
fn character(rest: &[u8]) -> usize {
    if rest.get(1) == Some(&b'\\') {
        return quoted(rest, b'\'');
    }
    // One character of up to four bytes, then the closing mark; anything else is a lifetime.
    let close = rest.iter().skip(1).take(5).position(|b| *b == b'\'');
    let single = |n: usize| {
        let body = rest.get(1..1 + n).unwrap_or_default();
        std::str::from_utf8(body).is_ok_and(|s| s.chars().count() == 1)
    };
    close.filter(|n| single(*n)).map_or(0, |n| n + 2)
}

#[cfg(test)]
mod tests {
    use super::blank;

    #[test]
    fn only_code_is_left() {
        for (text, code) in [
            ("a // b\nc", "a     \nc"),
            ("a /* /* b */ */ c", "a               c"),
            ("f(\"x\\\"y\") g", "f(      ) g"),
            ("r#\"a\"b\"# c", "         c"),
            ("br\"a\\\" c", "       c"),
            ("'x' 'y'", "       "),
            ("'\\'' z", "     z"),
            ("fn f<'a>(x: &'a str) 'é'", "fn f<'a>(x: &'a str)     "),
            ("for b in robber", "for b in robber"),
            ("\"unclosed", "         "),
            ("/* unclosed", "           "),
        ] {
            assert_eq!(blank(text), code, "{text}");
        }
    }
}
