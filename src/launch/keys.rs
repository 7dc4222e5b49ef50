//! The keys that detach from a terminal.

use std::str::FromStr;

/// Most keys of a sequence.
const MOST: usize = 8;

/// A sequence of keys: `ctrl-p,ctrl-q`; an empty text is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DetachKeys {
    keys: [u8; MOST],
    count: usize,
}

/// A text that does not name keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a list of at most {MOST} keys such as ctrl-p,ctrl-q or ctrl-],d")]
pub struct KeysError(String);

impl FromStr for DetachKeys {
    type Err = KeysError;

    fn from_str(text: &str) -> Result<Self, KeysError> {
        let mut keys = Self::default();
        if text.is_empty() {
            return Ok(keys);
        }
        for word in text.split(',') {
            let byte = key(word).ok_or_else(|| KeysError(text.to_owned()))?;
            *keys.keys.get_mut(keys.count).ok_or_else(|| KeysError(text.to_owned()))? = byte;
            keys.count += 1;
        }
        Ok(keys)
    }
}

fn key(word: &str) -> Option<u8> {
    let one = |text: &str| match text.as_bytes() {
        [byte] if byte.is_ascii_graphic() => Some(*byte),
        _ => None,
    };
    match word.strip_prefix("ctrl-") {
        Some(letter) => match one(letter)?.to_ascii_lowercase() {
            letter @ b'a'..=b'z' => Some(letter - b'a' + 1),
            sign @ b'@' => Some(sign - b'@'),
            sign @ (b'[' | b'\\' | b']' | b'^' | b'_') => Some(sign - b'@'),
            _ => None,
        },
        None => one(word),
    }
}

/// Looks for the keys in what is typed.
#[derive(Debug)]
pub(super) struct Watch {
    keys: DetachKeys,
    /// How many of them have just been typed and are held back.
    seen: usize,
}

impl Watch {
    pub(super) fn new(keys: DetachKeys) -> Self {
        Self { keys, seen: 0 }
    }

    /// Adds to `out` what is for the app; `true` when the last key has come, and what was typed
    /// after it is for nobody.
    pub(super) fn typed(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> bool {
        let keys = self.keys.keys.get(..self.keys.count).unwrap_or_default();
        if keys.is_empty() {
            out.extend_from_slice(bytes);
            return false;
        }
        for byte in bytes {
            if keys.get(self.seen) != Some(byte) {
                out.extend_from_slice(keys.get(..self.seen).unwrap_or_default());
                self.seen = 0;
            }
            if keys.get(self.seen) == Some(byte) {
                self.seen += 1;
                if self.seen == keys.len() {
                    self.seen = 0;
                    return true;
                }
            } else {
                out.push(*byte);
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> DetachKeys {
        text.parse().unwrap()
    }

    fn typed(watch: &mut Watch, bytes: &[u8]) -> (bool, Vec<u8>) {
        let mut out = Vec::new();
        let detach = watch.typed(bytes, &mut out);
        (detach, out)
    }

    #[test]
    fn sequences_are_read_and_others_refused() {
        assert_eq!(keys("ctrl-p,ctrl-q").keys[..2], [16, 17]);
        assert_eq!(keys("ctrl-],d").keys[..2], [29, b'd']);
        assert_eq!(keys("ctrl-A").keys[0], 1);
        assert_eq!(keys("").count, 0);
        for bad in ["ctrl-", "ctrl-pp", ",", "ab", "ctrl-1", "ä", "a,b,c,d,e,f,g,h,i"] {
            assert!(bad.parse::<DetachKeys>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_keys_are_seen_however_they_are_cut_and_others_pass() {
        let mut watch = Watch::new(keys("ctrl-p,ctrl-q"));
        assert_eq!(typed(&mut watch, b"ls\n"), (false, b"ls\n".to_vec()));
        assert_eq!(typed(&mut watch, b"a\x10"), (false, b"a".to_vec()));
        assert_eq!(typed(&mut watch, b"b"), (false, b"\x10b".to_vec()));
        assert_eq!(typed(&mut watch, b"\x10\x10"), (false, b"\x10".to_vec()));
        assert_eq!(typed(&mut watch, b"\x11rest"), (true, Vec::new()));
        let mut none = Watch::new(keys(""));
        assert_eq!(typed(&mut none, b"\x10\x11"), (false, b"\x10\x11".to_vec()));
    }
}
