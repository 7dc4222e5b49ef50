//! What is said to a transport and heard from it, a JSON object a line: docs/transport.md.

use serde::{Deserialize, Serialize};

/// The version spoken here.
pub(crate) const PROTOCOL: u32 = 1;
/// Longest message that is shown to people.
const MAX_MESSAGE: usize = 600;

/// A request. No `Debug`: `setup` holds secrets.
#[derive(Serialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub(crate) enum Request<'a> {
    /// Whom to speak to, and how.
    Setup(Setup<'a>),
    /// A manifest by tag or digest.
    Resolve { repository: &'a str, reference: &'a str, max: u64 },
    /// A blob.
    Blob { repository: &'a str, digest: &'a str, size: u64, offset: u64 },
    /// A file; with a tag only if it is another one, or the rest of that one.
    Get { url: &'a str, etag: Option<&'a str>, offset: u64, max: u64 },
}

/// The first request.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Setup<'a> {
    pub protocol: u32,
    pub scheme: &'a str,
    pub url: &'a str,
    pub http: bool,
    pub ca: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<&'a Credentials>,
    pub token_hosts: &'a [String],
    pub proxy: &'a Proxy,
    pub timeout: u64,
    pub agent: &'a str,
}

/// Who we are to a server. No `Debug`: it is a secret.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Credentials {
    /// A user with a password.
    Password { user: String, password: String },
    /// A token for the server itself.
    Token(String),
    /// A token to get tokens with.
    IdentityToken(String),
}

/// Proxies, as the environment names them. No `Debug`: an address may hold a password.
#[derive(Clone, Default, Serialize)]
pub(crate) struct Proxy {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub https: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<String>,
    pub no: Vec<String>,
}

/// An answer.
#[derive(Debug, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub(crate) enum Answer {
    Ready {
        protocol: u32,
    },
    Body {
        #[serde(default)]
        offset: u64,
        #[serde(flatten)]
        about: About,
    },
    End(End),
    #[serde(rename_all = "kebab-case")]
    Unchanged {
        #[serde(default)]
        max_age: Option<u64>,
    },
    Later {
        #[serde(default)]
        after: Option<u64>,
    },
    Error {
        kind: Kind,
        #[serde(default)]
        message: String,
        #[serde(default)]
        hint: Option<String>,
        #[serde(default)]
        after: Option<u64>,
    },
}

/// What a server said of a body before it came.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct About {
    pub etag: Option<String>,
    pub total: Option<u64>,
}

/// The end of a body, and what the server said of it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(crate) struct End {
    pub bytes: u64,
    pub media_type: Option<String>,
    pub digest: Option<String>,
    pub etag: Option<String>,
    pub max_age: Option<u64>,
    /// Nothing came: it is the one that is here.
    #[serde(skip)]
    pub unchanged: bool,
}

/// Kinds of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    NotFound,
    Unauthorized,
    Network,
    Timeout,
    Tls,
    Busy,
    Server,
    Range,
    Refused,
    Protocol,
    /// The fetch was ended from this side.
    #[serde(skip)]
    Stopped,
    /// A kind that only a later protocol has.
    #[serde(other)]
    Unknown,
}

/// Why a request failed.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub kind: Kind,
    pub message: String,
    pub hint: Option<String>,
    /// Seconds after which it may work.
    pub after: Option<u64>,
}

impl Fault {
    /// A failure noticed on this side.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, after: None }
    }

    /// A failure that a transport tells of, in words that cannot harm a terminal.
    pub fn told(kind: Kind, message: &str, hint: Option<String>, after: Option<u64>) -> Self {
        Self { kind, message: tame(message), hint: hint.as_deref().map(tame), after }
    }

    /// Whether the same request may work a moment later.
    pub fn passes(&self) -> bool {
        matches!(self.kind, Kind::Network | Kind::Timeout | Kind::Busy | Kind::Server)
    }
}

/// Text from elsewhere for a person's eyes.
pub(crate) fn tame(text: &str) -> String {
    let plain = |c: char| if c.is_control() || is_format(c) { '\u{fffd}' } else { c };
    text.chars().take(MAX_MESSAGE).map(plain).collect()
}

/// Characters that change how others are shown.
fn is_format(character: char) -> bool {
    matches!(character, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_and_their_words_tamed() {
        let line = r#"{"answer":"error","kind":"brand-new","message":"a\u001b[31mb","after":3}"#;
        let Answer::Error { kind, message, hint, after } = serde_json::from_str(line).unwrap()
        else {
            panic!("{line}")
        };
        let fault = Fault::told(kind, &message, hint, after);
        assert_eq!((fault.kind, fault.message.as_str()), (Kind::Unknown, "a\u{fffd}[31mb"));
        assert!(serde_json::from_str::<Answer>(r#"{"answer":"stopped"}"#).is_err());
        assert_eq!(tame(&"x".repeat(10_000)).len(), MAX_MESSAGE);
    }
}
