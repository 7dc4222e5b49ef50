//! What a key or a rule is for: every name, or those below a prefix.

use crate::image::name::{AcIdentifier, NameError};
use std::fmt;

/// Which names something is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// All of them.
    Root,
    /// The prefix itself and what is below it, by whole segments of the path: `example.com/etc` is for
    /// `example.com/etc` and `example.com/etc/app`, never for `example.com/etcd`.
    Prefix(AcIdentifier),
}

impl Scope {
    /// The scope of a prefix as people write it; a trailing slash changes nothing.
    ///
    /// # Errors
    /// [`NameError`] for what no image could be called.
    pub fn prefix(text: &str) -> Result<Self, NameError> {
        Ok(Self::Prefix(AcIdentifier::new(text.strip_suffix('/').unwrap_or(text))?))
    }

    /// Whether it is for this name.
    pub fn covers(&self, name: &str) -> bool {
        match self {
            Self::Root => true,
            Self::Prefix(prefix) => match name.strip_prefix(prefix.as_str()) {
                Some(rest) => rest.is_empty() || rest.starts_with('/'),
                None => false,
            },
        }
    }

    /// How narrow it is: of two that cover a name, the one with the greater number says more about it.
    pub fn depth(&self) -> usize {
        match self {
            Self::Root => 0,
            Self::Prefix(prefix) => prefix.as_str().split('/').count(),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str("every name"),
            Self::Prefix(prefix) => write!(f, "{prefix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_segments_only() {
        let etc = Scope::prefix("example.com/etc/").unwrap();
        for (name, covered) in [
            ("example.com/etc", true),
            ("example.com/etc/app", true),
            ("example.com/etcd", false),
            ("example.com/etc-old", false),
            ("example.com", false),
            ("example.com.evil.test/etc", false),
        ] {
            assert_eq!(etc.covers(name), covered, "{name}");
            assert!(Scope::Root.covers(name));
        }
        let host = Scope::prefix("example.com").unwrap();
        assert!(host.covers("example.com/etcd") && !host.covers("example.com.evil.test/a"));
        assert!(Scope::Root.depth() < host.depth() && host.depth() < etc.depth());
        assert!(Scope::prefix("").is_err() && Scope::prefix("Example.com").is_err());
        assert!(Scope::prefix("example.com//").is_err());
    }
}
