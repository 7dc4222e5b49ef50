//! Asking a server: TLS, redirects, credentials, and what each answer means.

use crate::address::{join, parse, same_server, shown, without_proxy};
use crate::challenge::{self, Challenge};
use crate::wire::{Credentials, Fault, Kind, Setup};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Duration;
use ureq::http::{Response, StatusCode, Uri, header};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig};
use ureq::{Agent, Body, Proxy};

const MAX_REDIRECTS: usize = 10;
/// All headers of an answer together.
const MAX_HEADERS: usize = 32 << 10;
/// A token server's answer.
const MAX_TOKEN_ANSWER: u64 = 256 << 10;
/// A token: it has to fit into a header.
const MAX_TOKEN: usize = 16 << 10;
/// Where systems keep the authorities they trust.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// A server, and what is known of how to speak to it.
pub struct Client {
    setup: Setup,
    base: Uri,
    direct: Agent,
    /// For https and for http.
    proxies: [Option<Agent>; 2],
    /// What let us in, and for what.
    authorization: Option<(String, String)>,
}

/// An answer that may be read.
pub struct Reply {
    /// The answer.
    pub response: Response<Body>,
    /// Who gave it, for messages.
    pub from: String,
}

impl Client {
    /// A client for the server of `setup`.
    pub fn new(setup: Setup) -> Result<Self, Fault> {
        let base = parse(&setup.url)?;
        let secure = base.scheme_str() == Some("https") || setup.proxy.https.is_some();
        let roots = if secure { roots(&setup.ca)? } else { Vec::new() };
        let agent = |proxy: Option<&String>| -> Result<Agent, Fault> {
            let proxy = proxy.map(|proxy| Proxy::new(proxy)).transpose().map_err(|_| {
                Fault::new(Kind::Protocol, "the address of the proxy cannot be read")
                    .hint("it looks like http://proxy.example:3128")
            })?;
            Ok(build(&setup, &roots, proxy))
        };
        let direct = agent(None)?;
        let https = setup.proxy.https.as_ref().map(|p| agent(Some(p))).transpose()?;
        let http = setup.proxy.http.as_ref().map(|p| agent(Some(p))).transpose()?;
        Ok(Self { base, direct, proxies: [https, http], authorization: None, setup })
    }

    /// An address on the server.
    pub fn address(&self, path: &str) -> String {
        format!("{}{path}", self.setup.url.trim_end_matches('/'))
    }

    /// Asks, following redirects and showing credentials where that is right. `scope` is what is wanted
    /// of a token. Answers that are no success are failures, but for those that `expected` names.
    pub fn ask(
        &mut self,
        url: &str,
        headers: &[(&str, String)],
        scope: &str,
        expected: &[u16],
    ) -> Result<Reply, Fault> {
        let start = parse(url)?;
        let mut again = true;
        loop {
            let known = self.authorization.as_ref().filter(|(for_what, _)| for_what == scope);
            let authorization = known.map(|(_, value)| value.clone());
            let (response, at) = self.follow(&start, headers, authorization.as_deref())?;
            let ours = same_server(&at, &start) && same_server(&at, &self.base);
            if response.status() == StatusCode::UNAUTHORIZED && ours && again {
                again = false;
                let value = self.authorize(&response, scope)?;
                self.authorization = Some((scope.to_owned(), value));
                continue;
            }
            let reply = Reply { from: shown(&at), response };
            let status = reply.response.status();
            if status.is_success() || expected.contains(&status.as_u16()) {
                return Ok(reply);
            }
            return Err(self.failure(reply));
        }
    }

    /// Sends a request and follows redirects. Only the first server sees the authorization.
    fn follow(
        &self,
        start: &Uri,
        headers: &[(&str, String)],
        authorization: Option<&str>,
    ) -> Result<(Response<Body>, Uri), Fault> {
        let mut at = start.clone();
        for _ in 0..=MAX_REDIRECTS {
            self.allowed(&at)?;
            let mut request = self.agent(&at).get(&at);
            for (name, value) in headers {
                request = request.header(*name, value);
            }
            if let Some(value) = authorization.filter(|_| same_server(&at, start)) {
                request = request.header(header::AUTHORIZATION, value);
            }
            let response = request.call().map_err(|e| failed(&at, &e))?;
            let moved = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
            let location = response.headers().get(header::LOCATION).filter(|_| moved);
            let Some(location) = location else { return Ok((response, at)) };
            let location = location.to_str().map_err(|_| {
                Fault::refused(format!("{} redirects to what is no address", shown(&at)))
            })?;
            at = join(&at, location)?;
        }
        Err(Fault::refused(format!("{} redirects more than {MAX_REDIRECTS} times", shown(start))))
    }

    /// Whether this address may be asked at all.
    fn allowed(&self, at: &Uri) -> Result<(), Fault> {
        match at.scheme_str() {
            Some("https") => Ok(()),
            Some("http") if self.setup.http && at.host() == self.base.host() => Ok(()),
            Some("http") => Err(Fault::refused(format!("{} is not encrypted", shown(at))).hint(
                "allow it for this host with insecure-http = true in a file of registries.d",
            )),
            other => {
                let scheme = other.unwrap_or_default();
                Err(Fault::refused(format!("{scheme}: addresses are not followed")))
            }
        }
    }

    fn agent(&self, at: &Uri) -> &Agent {
        let host = at.host().unwrap_or_default();
        let proxy = self.proxies.get(usize::from(at.scheme_str() != Some("https")));
        let proxy =
            proxy.and_then(Option::as_ref).filter(|_| !without_proxy(host, &self.setup.proxy.no));
        proxy.unwrap_or(&self.direct)
    }

    /// From a challenge to the value of an Authorization header.
    fn authorize(&self, response: &Response<Body>, scope: &str) -> Result<String, Fault> {
        let challenges: Vec<Challenge> = response
            .headers()
            .get_all(header::WWW_AUTHENTICATE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(challenge::parse)
            .take(8)
            .collect();
        let find = |scheme: &str| challenges.iter().find(|c| c.scheme == scheme);
        let server = shown(&self.base);
        match (&self.setup.credentials, find("bearer"), find("basic")) {
            (Some(Credentials::Token(token)), _, _) => bearer(token, &server),
            (_, Some(challenge), _) => self.token(challenge, scope),
            (Some(Credentials::Password { user, password }), None, Some(_)) => {
                Ok(basic(user, password))
            }
            (None, None, Some(_)) => Err(unauthorized(format!("{server} wants a password"))),
            (Some(_), None, Some(_)) => {
                Err(unauthorized(format!("{server} wants a password, and a token is configured")))
            }
            (_, None, None) => {
                Err(unauthorized(format!("{server} does not say how it can be satisfied")))
            }
        }
    }

    /// Gets a token from where the server says.
    fn token(&self, challenge: &Challenge, scope: &str) -> Result<String, Fault> {
        #[derive(Deserialize)]
        struct Answer {
            token: Option<String>,
            access_token: Option<String>,
        }
        let server = shown(&self.base);
        let realm = challenge.get("realm").unwrap_or_default();
        let realm = parse(realm).map_err(|_| {
            Fault::refused(format!("{server} names {realm:?} as the place for tokens"))
        })?;
        self.allowed(&realm)?;
        let host = realm.host().unwrap_or_default();
        let registry = self.base.host().unwrap_or_default();
        let downgrade =
            self.base.scheme_str() == Some("https") && realm.scheme_str() != Some("https");
        if self.setup.credentials.is_some()
            && (downgrade || !challenge::may_see(host, registry, &self.setup.token_hosts))
        {
            let text = format!("{server} wants its password shown to {}", shown(&realm));
            return Err(Fault::refused(text).hint(format!(
                "if {host} is to be trusted with it, name it in token-hosts of the registry's \
                 entry in auth.d"
            )));
        }
        let mut fields = vec![("scope", scope)];
        fields.extend(challenge.get("service").map(|service| ("service", service)));
        let response = match &self.setup.credentials {
            Some(Credentials::IdentityToken(token)) => {
                fields.push(("grant_type", "refresh_token"));
                fields.push(("refresh_token", token));
                fields.push(("client_id", "rocket"));
                self.agent(&realm).post(&realm).send_form(fields)
            }
            credentials => {
                let mut request = self.agent(&realm).get(&realm).query_pairs(fields);
                if let Some(Credentials::Password { user, password }) = credentials {
                    request = request.header(header::AUTHORIZATION, basic(user, password));
                }
                request.call()
            }
        };
        let response = response.map_err(|e| failed(&realm, &e))?;
        // A redirect is no success: who gives tokens gives them itself.
        if !response.status().is_success() {
            let mut fault = self.failure(Reply { from: shown(&realm), response });
            if fault.kind == Kind::NotFound {
                fault.kind = Kind::Unauthorized;
            }
            return Err(fault);
        }
        let bytes = read_small(response, MAX_TOKEN_ANSWER, &shown(&realm))?;
        let answer: Option<Answer> = serde_json::from_slice(&bytes).ok();
        let token = answer.and_then(|answer| answer.token.or(answer.access_token));
        let none = || Fault::refused(format!("{} gave no token", shown(&realm)));
        bearer(&token.filter(|t| !t.is_empty()).ok_or_else(none)?, &shown(&realm))
    }

    /// What an answer that is no success means.
    fn failure(&self, reply: Reply) -> Fault {
        let Reply { response, from } = reply;
        let status = response.status();
        let after = seconds(&response, header::RETRY_AFTER);
        let why = reasons(response);
        let message = format!("{from} answers {}{why}", status.as_u16());
        let kind = match status.as_u16() {
            401 | 403 | 407 => return unauthorized(message).with(self.setup.credentials.is_some()),
            404 | 410 => Kind::NotFound,
            408 | 429 | 503 => Kind::Busy,
            416 => Kind::Range,
            500.. => Kind::Server,
            _ => Kind::Refused,
        };
        Fault { after, ..Fault::new(kind, message) }
    }
}

impl Fault {
    fn with(mut self, credentials: bool) -> Self {
        if credentials {
            self.hint = Some("the credentials of this registry may be wrong".to_owned());
        }
        self
    }
}

fn unauthorized(message: String) -> Fault {
    Fault::new(Kind::Unauthorized, message)
        .hint("put user and password into a file of /etc/rocket/auth.d: docs/transport.md")
}

fn build(setup: &Setup, roots: &[Certificate<'static>], proxy: Option<Proxy>) -> Agent {
    let step = Some(Duration::from_secs(setup.timeout));
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(roots))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build();
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(&setup.agent)
        // Digests are of the bytes as stored: nobody is to compress them on the way.
        .accept_encoding("identity")
        .max_response_header_size(MAX_HEADERS)
        .timeout_resolve(step)
        .timeout_connect(step)
        .timeout_send_request(step)
        .timeout_recv_response(step)
        .timeout_per_read(step)
        .tls_config(tls)
        .proxy(proxy);
    config.build().new_agent()
}

/// The authorities: the system's, and those of this server.
fn roots(own: &[String]) -> Result<Vec<Certificate<'static>>, Fault> {
    let mut found = Vec::new();
    let system = BUNDLES.iter().find_map(|path| std::fs::read(path).ok()).unwrap_or_default();
    // One that cannot be read in a system's bundle is not worth failing for.
    found.extend(ureq::tls::parse_pem(&system).filter_map(Result::ok).filter_map(certificate));
    for text in own {
        let before = found.len();
        for item in ureq::tls::parse_pem(text.as_bytes()) {
            let bad =
                |_| Fault::new(Kind::Tls, "a certificate of the configuration cannot be read");
            found.extend(certificate(item.map_err(bad)?));
        }
        if found.len() == before {
            return Err(Fault::new(
                Kind::Tls,
                "a file of certs.d holds no certificate in PEM form",
            ));
        }
    }
    Ok(found)
}

fn certificate(item: PemItem<'static>) -> Option<Certificate<'static>> {
    match item {
        PemItem::Certificate(certificate) => Some(certificate),
        _ => None,
    }
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

fn bearer(token: &str, from: &str) -> Result<String, Fault> {
    if token.len() <= MAX_TOKEN && token.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(format!("Bearer {token}"));
    }
    Err(Fault::refused(format!("the token of {from} is none that can be sent")))
}

/// What a failed exchange means.
fn failed(at: &Uri, error: &ureq::Error) -> Fault {
    use ureq::Error as E;
    let server = shown(at);
    let kind = match error {
        E::Timeout(_) => Kind::Timeout,
        E::Tls(_) | E::Rustls(_) | E::Pem(_) => Kind::Tls,
        E::Io(error) if error.kind() == io::ErrorKind::TimedOut => Kind::Timeout,
        // rustls tells through an io::Error why it does not believe a server.
        E::Io(error) if error.get_ref().is_some_and(|e| e.is::<rustls::Error>()) => Kind::Tls,
        E::Protocol(_) | E::Http(_) | E::BadUri(_) => Kind::Refused,
        _ => Kind::Network,
    };
    let fault = Fault::new(kind, format!("{server}: {error}"));
    match kind {
        Kind::Tls => fault.hint(
            "a private authority's certificate belongs into /etc/rocket/certs.d/HOST/NAME.crt; a \
             server without encryption needs insecure-http = true in registries.d",
        ),
        _ => fault,
    }
}

/// Reads a small body whole.
pub fn read_small(response: Response<Body>, max: u64, from: &str) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    let mut body = response.into_body().into_reader().take(max + 1);
    body.read_to_end(&mut bytes)
        .map_err(|e| Fault::new(Kind::Network, format!("{from}: the answer broke off: {e}")))?;
    if bytes.len() as u64 > max {
        return Err(Fault::refused(format!("{from} answers with more than {max} bytes")));
    }
    Ok(bytes)
}

/// Hands a body over, `max` bytes at most.
pub fn pass_on(
    response: Response<Body>,
    max: u64,
    from: &str,
    to: &mut File,
) -> Result<u64, Fault> {
    let mut body = response.into_body().into_reader();
    let broke = |e: io::Error| {
        let kind = match e.kind() {
            io::ErrorKind::TimedOut => Kind::Timeout,
            _ => Kind::Network,
        };
        Fault::new(kind, format!("{from}: the transfer broke off: {e}"))
    };
    let (mut count, mut buffer) = (0u64, vec![0; 128 << 10]);
    loop {
        let length = body.read(&mut buffer).map_err(broke)?;
        let Some(piece) = buffer.get(..length).filter(|piece| !piece.is_empty()) else {
            return Ok(count);
        };
        count += length as u64;
        if count > max {
            return Err(Fault::refused(format!("{from} sends more than {max} bytes")));
        }
        to.write_all(piece)
            .map_err(|e| Fault::new(Kind::Protocol, format!("rocket does not listen: {e}")))?;
    }
}

/// A header that is a number of seconds.
pub fn seconds(response: &Response<Body>, name: header::HeaderName) -> Option<u64> {
    response.headers().get(name)?.to_str().ok()?.trim().parse().ok()
}

/// A header's text.
pub fn text(response: &Response<Body>, name: &str) -> Option<String> {
    let text = response.headers().get(name)?.to_str().ok()?;
    (text.len() <= 1024).then(|| text.to_owned())
}

/// What a registry says about its refusal.
fn reasons(response: Response<Body>) -> String {
    #[derive(Deserialize)]
    struct Document {
        errors: Vec<Reason>,
    }
    #[derive(Deserialize)]
    struct Reason {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let mut bytes = Vec::new();
    // What does not come is not needed.
    let _ = response.into_body().into_reader().take(8 << 10).read_to_end(&mut bytes);
    let Ok(document) = serde_json::from_slice::<Document>(&bytes) else { return String::new() };
    let Some(reason) = document.errors.first() else { return String::new() };
    format!(" ({}: {})", reason.code, reason.message)
}
