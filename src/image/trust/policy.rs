//! What a name requires: rules for prefixes, the narrowest wins.
//!
//! Files `trust.d/*.toml` of the configuration's directories, with one table a prefix:
//!
//! ```toml
//! version = 1
//! pods = "signed"
//! [root]
//! unsigned = "warn"
//! [prefix."example.com/db"]
//! require = { any = ["minisign", "openpgp"], threshold = 2 }
//! ```

use super::key::Kind;
use super::scope::Scope;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

/// What becomes of an image that nobody vouches for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unsigned {
    /// It is not taken.
    #[default]
    Refuse,
    /// It is taken, and said to be unsigned.
    Warn,
}

/// What names below a prefix require.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Which names.
    pub scope: Scope,
    /// Which kinds of signature count; all, if none is named.
    pub kinds: Vec<Kind>,
    /// How many keys must have signed.
    pub threshold: usize,
    /// It was written as a `require`: what this host vouches for itself does not satisfy it.
    pub requires: bool,
    /// What becomes of unsigned images.
    pub unsigned: Unsigned,
    /// The file; none = built in.
    pub source: Option<PathBuf>,
}

impl Rule {
    /// What holds where nothing is written.
    pub fn built_in() -> Self {
        Self {
            scope: Scope::Root,
            kinds: Vec::new(),
            threshold: 1,
            requires: false,
            unsigned: Unsigned::Refuse,
            source: None,
        }
    }

    /// Whether a kind of signature counts.
    pub fn takes(&self, kind: Kind) -> bool {
        self.kinds.is_empty() || self.kinds.contains(&kind)
    }
}

impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.source {
            Some(path) => write!(f, "{}, for {}: ", path.display(), self.scope)?,
            None => f.write_str("built in: ")?,
        }
        let kinds: Vec<_> = self.kinds.iter().map(|kind| kind.word()).collect();
        let kinds =
            if kinds.is_empty() { String::new() } else { format!(" ({})", kinds.join(", ")) };
        match (self.requires, self.unsigned, self.threshold) {
            (false, Unsigned::Warn, _) => f.write_str("unsigned images are taken, with a word"),
            (false, Unsigned::Refuse, _) => f.write_str("images must be signed by a trusted key"),
            (true, _, 0 | 1) => write!(f, "images must be signed by a trusted key{kinds}"),
            (true, _, many) => write!(f, "images must be signed by {many} trusted keys{kinds}"),
        }
    }
}

/// All rules of this host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    rules: BTreeMap<Scope, Rule>,
    /// The file that wants pod files signed.
    pods: Option<PathBuf>,
}

/// Which pod files start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Pods {
    /// All of them.
    Any,
    /// Those that a key for every name has signed.
    Signed,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct File {
    version: u32,
    pods: Option<Pods>,
    root: Option<Table>,
    #[serde(default)]
    prefix: BTreeMap<String, Table>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Table {
    require: Option<Require>,
    #[serde(default)]
    unsigned: Unsigned,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Require {
    #[serde(default)]
    any: Vec<Kind>,
    threshold: Option<NonZeroUsize>,
}

impl Policy {
    /// Adds a file's rules; those of a prefix replace what an earlier file said of the same.
    ///
    /// # Errors
    /// Offset in the text, and what is wrong there. Nothing is added then.
    pub fn add(&mut self, path: &Path, text: &str) -> Result<(), (usize, String)> {
        let file: File = toml::from_str(text)
            .map_err(|e| (e.span().map_or(0, |span| span.start), e.message().to_owned()))?;
        if file.version != 1 {
            return Err((
                0,
                format!("version {} is not known; this is for version 1", file.version),
            ));
        }
        let mut tables = Vec::new();
        tables.extend(file.root.map(|table| (Scope::Root, table)));
        for (prefix, table) in file.prefix {
            let scope = Scope::prefix(&prefix)
                .map_err(|e| (text.find(&prefix).unwrap_or(0), e.to_string()))?;
            tables.push((scope, table));
        }
        for (scope, table) in tables {
            let (requires, require) = (table.require.is_some(), table.require);
            let threshold = require.as_ref().and_then(|r| r.threshold).map_or(1, usize::from);
            let kinds = require.map(|r| r.any).unwrap_or_default();
            let source = Some(path.to_owned());
            let unsigned = table.unsigned;
            let rule = Rule { scope: scope.clone(), kinds, threshold, requires, unsigned, source };
            self.rules.insert(scope, rule);
        }
        if let Some(pods) = file.pods {
            self.pods = (pods == Pods::Signed).then(|| path.to_owned());
        }
        Ok(())
    }

    /// The file that says that only signed pod files start, if one does.
    pub fn signed_pods(&self) -> Option<&Path> {
        self.pods.as_deref()
    }

    /// The rule for a name: the narrowest that covers it.
    pub fn rule(&self, name: &str) -> Rule {
        let covering = self.rules.values().filter(|rule| rule.scope.covers(name));
        covering.max_by_key(|rule| rule.scope.depth()).cloned().unwrap_or_else(Rule::built_in)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "version = 1\n[root]\nunsigned = \"warn\"\n[prefix.\"example.com/db\"]\n\
        require = { any = [\"minisign\", \"openpgp\"], threshold = 2 }\n[prefix.\"example.com\"]\n";

    #[test]
    fn the_narrowest_rule_wins() {
        let mut policy = Policy::default();
        assert_eq!(policy.rule("example.com/db"), Rule::built_in());
        policy.add(Path::new("a.toml"), TEXT).unwrap();
        let rule = policy.rule("example.com/db/main");
        assert_eq!((rule.threshold, rule.requires, rule.unsigned), (2, true, Unsigned::Refuse));
        assert!(rule.takes(Kind::OpenPgp) && !rule.takes(Kind::Cosign));
        assert_eq!(policy.rule("example.com/dbx").scope, Scope::prefix("example.com").unwrap());
        assert_eq!(policy.rule("other.test/a").unsigned, Unsigned::Warn);
        // A later file says all of what a prefix requires.
        policy.add(Path::new("b.toml"), "version = 1\n[prefix.\"example.com/db\"]\n").unwrap();
        assert_eq!((policy.rule("example.com/db").threshold), 1);
        // What a file does not speak of stays as it is.
        assert_eq!(policy.signed_pods(), None);
        policy.add(Path::new("c.toml"), "version = 1\npods = \"signed\"\n").unwrap();
        policy.add(Path::new("d.toml"), "version = 1\n").unwrap();
        assert_eq!(policy.signed_pods(), Some(Path::new("c.toml")));
        policy.add(Path::new("e.toml"), "version = 1\npods = \"any\"\n").unwrap();
        assert_eq!(policy.signed_pods(), None);
    }

    #[test]
    fn what_is_wrong_is_found_where_it_is() {
        for (text, place, words) in [
            ("version = 2\n", 0, "version 2"),
            ("[root]\n", 0, "version"),
            ("version = 1\n[root]\nunsinged = \"warn\"\n", 19, "unsinged"),
            ("version = 1\n[prefix.\"Example\"]\n", 21, "lower-case"),
            ("version = 1\npods = \"some\"\n", 19, "signed"),
            ("version = 1\n[root]\nrequire = { threshold = 0 }\n", 43, "nonzero"),
            ("version = 1\n[root]\nrequire = { any = [\"pgp\"] }\n", 38, "openpgp"),
        ] {
            let mut policy = Policy::default();
            let (offset, why) = policy.add(Path::new("a.toml"), text).unwrap_err();
            assert_eq!(offset, place, "{text}: {why}");
            assert!(why.contains(words), "{text}: {why}");
            assert_eq!(policy, Policy::default());
        }
    }
}
