//! appc's two kinds of name.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// Why a text is not a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing there.
    #[error("a name must not be empty")]
    Empty,
    /// A character the grammar does not have.
    #[error(
        "{0:?} has the character {1:?}, and only lower-case letters, digits and {2} are allowed"
    )]
    Character(String, char, &'static str),
    /// Separators at an end or next to each other.
    #[error("{0:?} must begin and end with a letter or digit, with single separators between")]
    Separator(String),
}

fn check(text: &str, separators: &'static str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    let mut joined = true;
    for character in text.chars() {
        let plain = character.is_ascii_lowercase() || character.is_ascii_digit();
        if plain {
            joined = false;
        } else if !separators.contains(character) {
            return Err(NameError::Character(text.to_owned(), character, separators));
        } else if joined {
            return Err(NameError::Separator(text.to_owned()));
        } else {
            joined = true;
        }
    }
    if joined { Err(NameError::Separator(text.to_owned())) } else { Ok(()) }
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $separators:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Checks and takes a name.
            pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
                let text = text.into();
                check(&text, $separators)?;
                Ok(Self(text))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
            }
        }
    };
}

name_type!(
    /// An AC Identifier: image, label and annotation names, such as `example.com/app`.
    AcIdentifier,
    "-._~/"
);
name_type!(
    /// An AC Name: apps, volumes, mount points and ports, such as `web-1`.
    AcName,
    "-"
);

/// Turns any text into the nearest AC Identifier, keeping only `keep` of its separators.
pub fn squeeze(text: &str, keep: &str) -> Option<String> {
    let mut out = String::new();
    for character in text.chars() {
        let character = character.to_ascii_lowercase();
        if character.is_ascii_lowercase() || character.is_ascii_digit() {
            out.push(character);
        } else {
            let separator = if keep.contains(character) { character } else { '-' };
            if out.chars().next_back().is_some_and(|last| last.is_ascii_alphanumeric()) {
                out.push(separator);
            }
        }
    }
    let end = out.trim_end_matches(|c: char| !c.is_ascii_alphanumeric()).len();
    out.truncate(end);
    (!out.is_empty()).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_follow_the_grammar() {
        for good in ["a", "example.com/app", "a-b.c_d~e/f", "1"] {
            assert!(AcIdentifier::new(good).is_ok(), "{good}");
        }
        for bad in ["", "A", "a//b", "a/", "/a", "a.-b", "a b", "é"] {
            assert!(AcIdentifier::new(bad).is_err(), "{bad}");
        }
        assert!(AcName::new("a-b").is_ok());
        assert!(AcName::new("a.b").is_err());
    }

    #[test]
    fn squeezing_gives_a_valid_name_or_none() {
        assert_eq!(squeeze("/var/My Data/", "").as_deref(), Some("var-my-data"));
        assert_eq!(squeeze("Ex.Com//app", "./").as_deref(), Some("ex.com/app"));
        assert_eq!(squeeze("//", "/"), None);
    }
}
