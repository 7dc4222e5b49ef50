//! What is said over stdin and stdout, a JSON object a line: docs/transport.md.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The version spoken here.
pub const PROTOCOL: u32 = 1;

/// A request.
#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Request {
    /// Whom to speak to, and how.
    Setup(Box<Setup>),
    /// A manifest by tag or digest.
    Resolve {
        /// The repository.
        repository: String,
        /// A tag or a digest.
        reference: String,
        /// More bytes than this are an error.
        max: u64,
    },
    /// A blob.
    Blob {
        /// The repository.
        repository: String,
        /// Its digest.
        digest: String,
        /// Its size.
        size: u64,
        /// Where to begin.
        offset: u64,
    },
    /// A file.
    Get {
        /// Its address.
        url: String,
        /// Only if it is another one than this.
        etag: Option<String>,
        /// Where to begin; only of the one with this tag.
        #[serde(default)]
        offset: u64,
        /// More bytes than this are an error.
        max: u64,
    },
}

/// The first request. No `Debug`: it holds secrets.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Setup {
    /// The version rocket speaks.
    pub protocol: u32,
    /// The server: scheme, host and perhaps port.
    pub url: String,
    /// Speaking to it without encryption is allowed.
    #[serde(default)]
    pub http: bool,
    /// Certificates of authorities besides the system's, PEM.
    #[serde(default)]
    pub ca: Vec<String>,
    /// Who we are to this server.
    #[serde(default)]
    pub credentials: Option<Credentials>,
    /// Other hosts that may see the credentials, to give tokens for them.
    #[serde(default)]
    pub token_hosts: Vec<String>,
    /// The way there.
    #[serde(default)]
    pub proxy: Proxy,
    /// Seconds for each step, and for each wait in the middle of a body.
    pub timeout: u64,
    /// What to call ourselves.
    pub agent: String,
}

/// Who we are.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Credentials {
    /// A user with a password.
    Password {
        /// Name.
        user: String,
        /// Password.
        password: String,
    },
    /// A token for the server itself.
    Token(String),
    /// A token to get tokens with.
    IdentityToken(String),
}

/// Proxies.
#[derive(Default, Deserialize)]
pub struct Proxy {
    /// For https.
    pub https: Option<String>,
    /// For http.
    pub http: Option<String>,
    /// Hosts that are spoken to directly.
    #[serde(default)]
    pub no: Vec<String>,
}

/// An answer.
#[derive(Serialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    /// To `setup`.
    Ready {
        /// The version spoken here.
        protocol: u32,
    },
    /// Bytes follow on descriptor 3.
    Body {
        /// The place of the first one.
        offset: u64,
        /// The server's name for this state of the file.
        #[serde(skip_serializing_if = "Option::is_none")]
        etag: Option<String>,
        /// How many bytes the whole file has.
        #[serde(skip_serializing_if = "Option::is_none")]
        total: Option<u64>,
    },
    /// These were all.
    #[serde(rename_all = "kebab-case")]
    End {
        /// How many.
        bytes: u64,
        /// What the server says they are.
        #[serde(skip_serializing_if = "Option::is_none")]
        media_type: Option<String>,
        /// What the server says their digest is.
        #[serde(skip_serializing_if = "Option::is_none")]
        digest: Option<String>,
        /// The server's name for this state of the file.
        #[serde(skip_serializing_if = "Option::is_none")]
        etag: Option<String>,
        /// Seconds for which it need not be asked again.
        #[serde(skip_serializing_if = "Option::is_none")]
        max_age: Option<u64>,
    },
    /// The file is still the one with the given tag.
    #[serde(rename_all = "kebab-case")]
    Unchanged {
        /// Seconds for which it need not be asked again.
        #[serde(skip_serializing_if = "Option::is_none")]
        max_age: Option<u64>,
    },
    /// The server has accepted the request and is not ready.
    Later {
        /// Seconds to wait, if it said so.
        #[serde(skip_serializing_if = "Option::is_none")]
        after: Option<u64>,
    },
    /// It did not work.
    Error {
        /// What kind of failure.
        kind: Kind,
        /// What failed, and why.
        message: String,
        /// What would help.
        #[serde(skip_serializing_if = "Option::is_none")]
        hint: Option<String>,
        /// Seconds after which it may work.
        #[serde(skip_serializing_if = "Option::is_none")]
        after: Option<u64>,
    },
}

/// Kinds of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// There is no such thing.
    NotFound,
    /// The server wants other credentials, or any.
    Unauthorized,
    /// The connection failed or broke.
    Network,
    /// Nothing came for too long.
    Timeout,
    /// The server cannot prove who it is.
    Tls,
    /// The server is busy.
    Busy,
    /// The server failed.
    Server,
    /// The place to begin at is behind the end.
    Range,
    /// What the server says is not to be followed.
    Refused,
    /// A request that makes no sense.
    Protocol,
}

/// A failure.
#[derive(Debug)]
pub struct Fault {
    /// What kind.
    pub kind: Kind,
    /// What failed, and why.
    pub message: String,
    /// What would help.
    pub hint: Option<String>,
    /// Seconds after which it may work.
    pub after: Option<u64>,
}

impl Fault {
    /// A failure.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, after: None }
    }

    /// A server that is not to be followed.
    pub fn refused(message: impl Into<String>) -> Self {
        Self::new(Kind::Refused, message)
    }

    /// Adds what would help.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<Fault> for Answer {
    fn from(fault: Fault) -> Self {
        let Fault { kind, message, hint, after } = fault;
        Self::Error { kind, message, hint, after }
    }
}
