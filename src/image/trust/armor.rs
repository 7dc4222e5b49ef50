//! Texts that carry bytes: base64 (RFC 4648) and OpenPGP's armor around it (RFC 9580, section 6).

/// Reads base64 with its padding, or without any; blanks and line ends between are passed over.
pub fn base64(text: &str) -> Option<Vec<u8>> {
    let (mut out, mut bits, mut count, mut ended) = (Vec::new(), 0u32, 0u32, false);
    for byte in text.bytes().filter(|b| !b.is_ascii_whitespace()) {
        let value = match byte {
            b'=' => {
                ended = true;
                continue;
            }
            _ if ended => return None,
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push(u8::try_from((bits >> count) & 0xff).ok()?);
            bits &= (1 << count) - 1;
        }
    }
    // Bits that are in no byte are zero in what an encoder writes.
    (count < 6 && bits == 0).then_some(out)
}

/// Writes base64 with its padding.
pub fn to_base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = (0..3).fold(0usize, |word, place| {
            (word << 8) | usize::from(chunk.get(place).copied().unwrap_or(0))
        });
        for place in 0..4 {
            let digit = DIGITS.get((word >> (18 - 6 * place)) & 63).copied().unwrap_or(b'=');
            text.push(if place > chunk.len() { '=' } else { char::from(digit) });
        }
    }
    text
}

/// The bytes of the first armored block of this kind, such as `PGP PUBLIC KEY BLOCK`.
///
/// # Errors
/// What is wrong with it, in words.
pub fn dearmor(text: &str, kind: &str) -> Result<Vec<u8>, String> {
    let (begin, end) = (format!("-----BEGIN {kind}-----"), format!("-----END {kind}-----"));
    let mut lines = text.lines().map(str::trim_end).skip_while(|line| *line != begin);
    if lines.next().is_none() {
        return Err(format!("there is no line {begin:?}"));
    }
    // Headers, if there are any, and the empty line after them.
    let mut body = String::new();
    let mut checksum = None;
    let mut in_headers = true;
    for line in lines {
        if line == end {
            let bytes = base64(&body).ok_or("its base64 cannot be read")?;
            return match checksum {
                Some(sum) if sum != crc24(&bytes) => Err("its checksum is wrong".to_owned()),
                _ => Ok(bytes),
            };
        }
        if in_headers && (line.is_empty() || !line.contains(": ")) {
            in_headers = false;
            if line.is_empty() {
                continue;
            }
        }
        match line.strip_prefix('=') {
            _ if in_headers => {}
            Some(sum) if sum.len() == 4 => {
                let bytes = base64(sum).ok_or("its checksum cannot be read")?;
                checksum = Some(bytes.iter().fold(0, |sum, byte| (sum << 8) | u32::from(*byte)));
            }
            _ => body.push_str(line),
        }
    }
    Err(format!("it is cut: there is no line {end:?}"))
}

/// The checksum of an armor: RFC 9580, section 6.1.1.
fn crc24(bytes: &[u8]) -> u32 {
    let mut crc: u32 = 0x00b7_04ce;
    for byte in bytes {
        crc ^= u32::from(*byte) << 16;
        for _ in 0..8 {
            crc <<= 1;
            if crc & 0x0100_0000 != 0 {
                crc ^= 0x0186_4cfb;
            }
        }
    }
    crc & 0x00ff_ffff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_as_it_is_written() {
        for (text, bytes) in
            [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9v\nYg", "foob")]
        {
            assert_eq!(base64(text).as_deref(), Some(bytes.as_bytes()), "{text}");
            let padded = text.len() % 4 == 0 && !text.contains('\n');
            assert!(!padded || to_base64(bytes.as_bytes()) == text, "{text}");
        }
        for text in ["Z", "Zh==", "Zg==Zg==", "Zm9*", "Zm9v-_"] {
            assert_eq!(base64(text), None, "{text}");
        }
    }

    #[test]
    fn armor_with_and_without_headers_and_checksum() {
        let sum = crc24(b"foobar");
        assert_eq!(crc24(b"123456789"), 0x21_cf02);
        let encoded = {
            let bytes = sum.to_be_bytes();
            let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
            let word = u32::from_be_bytes([0, bytes[1], bytes[2], bytes[3]]);
            (0..4)
                .map(|i| char::from(digits[(word >> (18 - 6 * i) & 63) as usize]))
                .collect::<String>()
        };
        let block = |headers: &str, sum: &str| {
            format!(
                "said before\n-----BEGIN X-----\n{headers}\nZm9v\nYmFy\n{sum}-----END X-----\nand after"
            )
        };
        for (headers, sum) in [
            ("", String::new()),
            ("Comment: a\n", format!("={encoded}\n")),
            ("", format!("={encoded}\n")),
        ] {
            assert_eq!(dearmor(&block(headers, &sum), "X").as_deref(), Ok(&b"foobar"[..]));
        }
        assert!(dearmor(&block("", "=AAAA\n"), "X").unwrap_err().contains("checksum"));
        assert!(dearmor("-----BEGIN X-----\n\nZm9v\n", "X").unwrap_err().contains("cut"));
        assert!(dearmor("Zm9v", "X").unwrap_err().contains("no line"));
    }
}
