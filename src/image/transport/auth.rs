//! Credentials: `auth.d/*.toml`, then what Docker's and podman's logins left, then their helpers.
//! A secret is in no message, no argument and no environment.

use super::registries::most_specific;
use super::settings::{layered, parse, read};
use super::wire::Credentials;
use crate::image::error::ImageError;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long a helper may take: it may ask somebody.
const HELPER_TIME: Duration = Duration::from_secs(60);
/// Most that a helper answers.
const MAX_HELPER: u64 = 64 << 10;
/// What Docker calls Docker Hub.
const HUB_KEY: &str = "https://index.docker.io/v1/";

/// What is known of us at a registry.
#[derive(Default)]
pub(super) struct Login {
    pub credentials: Option<Credentials>,
    pub token_hosts: Vec<String>,
}

/// An entry of `auth.d`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct Entry {
    user: Option<String>,
    password: Option<String>,
    password_file: Option<PathBuf>,
    token: Option<String>,
    identity_token: Option<String>,
    helper: Option<String>,
    token_hosts: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    registry: BTreeMap<String, Entry>,
}

/// Finds out who we are to `HOST[:PORT]/REPOSITORY`.
pub(super) fn find(config: &[PathBuf], address: &str) -> Result<Login, ImageError> {
    let mut all = BTreeMap::new();
    for path in layered(config, "auth.d")? {
        private(&path)?;
        let file: File = parse(&path, &read(&path)?)?;
        all.extend(file.registry.into_iter().map(|(prefix, e)| (prefix, (path.clone(), e))));
    }
    if let Some((prefix, (path, entry))) = most_specific(&all, address) {
        let credentials = entry.credentials(path, prefix)?;
        return Ok(Login {
            credentials: Some(credentials),
            token_hosts: entry.token_hosts.clone(),
        });
    }
    for path in logins() {
        if path.is_file()
            && let Some(credentials) = from_docker(&path, address)?
        {
            return Ok(Login { credentials: Some(credentials), token_hosts: Vec::new() });
        }
    }
    Ok(Login::default())
}

impl Entry {
    fn credentials(&self, path: &Path, prefix: &str) -> Result<Credentials, ImageError> {
        let bad = |problem: &str| {
            ImageError::bad(path.display().to_string(), format!("registry {prefix:?} {problem}"))
        };
        let ways = [
            self.user.is_some(),
            self.token.is_some(),
            self.identity_token.is_some(),
            self.helper.is_some(),
        ];
        if ways.iter().filter(|way| **way).count() != 1 {
            return Err(bad("needs one of user, token, identity-token and helper"));
        }
        if let Some(token) = &self.token {
            return Ok(Credentials::Token(token.clone()));
        }
        if let Some(token) = &self.identity_token {
            return Ok(Credentials::IdentityToken(token.clone()));
        }
        if let Some(helper) = &self.helper {
            let host = prefix.split('/').next().unwrap_or_default();
            return ask(helper, host)?.ok_or_else(|| bad("is unknown to its helper"));
        }
        let password = match (&self.password, &self.password_file) {
            (Some(password), None) => password.clone(),
            (None, Some(file)) => {
                private(file)?;
                read(file)?.trim_end_matches(['\r', '\n']).to_owned()
            }
            _ => return Err(bad("needs either password or password-file")),
        };
        Ok(Credentials::Password { user: self.user.clone().unwrap_or_default(), password })
    }
}

/// Refuses a secret that others can read.
fn private(path: &Path) -> Result<(), ImageError> {
    let found = std::fs::metadata(path).map_err(|e| ImageError::io("stat", path, e))?;
    if found.mode() & 0o077 != 0 {
        let problem = "others can read this secret: chmod 600";
        return Err(ImageError::bad(path.display().to_string(), problem));
    }
    Ok(())
}

/// Where the logins of others are.
fn logins() -> Vec<PathBuf> {
    let dir = |name: &str, below: &str| std::env::var_os(name).map(|d| Path::new(&d).join(below));
    let file = std::env::var_os("REGISTRY_AUTH_FILE").map(PathBuf::from);
    let places = [
        file,
        dir("XDG_RUNTIME_DIR", "containers/auth.json"),
        dir("DOCKER_CONFIG", "config.json"),
        dir("HOME", ".docker/config.json"),
    ];
    places.into_iter().flatten().filter(|path| path.is_absolute()).collect()
}

/// Docker's file of logins.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Docker {
    auths: BTreeMap<String, DockerEntry>,
    creds_store: Option<String>,
    cred_helpers: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct DockerEntry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

fn from_docker(path: &Path, address: &str) -> Result<Option<Credentials>, ImageError> {
    let bad = |problem: String| ImageError::bad(path.display().to_string(), problem);
    let file: Docker = serde_json::from_str(&read(path)?)
        .map_err(|e| bad(format!("line {}, column {}: no file of logins", e.line(), e.column())))?;
    let host = address.split('/').next().unwrap_or_default();
    let hub = host == "docker.io";
    let key = if hub { HUB_KEY } else { host };
    if let Some(helper) = file.cred_helpers.get(host).or_else(|| file.cred_helpers.get(key)) {
        return ask(helper, key);
    }
    // Keys are written in many ways; with a scheme, with a path of an old version, with a namespace.
    let plain: BTreeMap<String, DockerEntry> = file
        .auths
        .into_iter()
        .map(|(key, entry)| {
            let text = key.trim_start_matches("https://").trim_start_matches("http://");
            let text = text.trim_end_matches('/').trim_end_matches("/v1").trim_end_matches("/v2");
            let text = if text == "index.docker.io" { "docker.io" } else { text };
            (text.to_owned(), entry)
        })
        .collect();
    if let Some((_, entry)) = most_specific(&plain, address)
        && let Some(credentials) = entry.credentials().map_err(|what| bad(what.to_owned()))?
    {
        return Ok(Some(credentials));
    }
    match &file.creds_store {
        Some(helper) => ask(helper, key),
        None => Ok(None),
    }
}

impl DockerEntry {
    fn credentials(&self) -> Result<Option<Credentials>, &'static str> {
        let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        if let Some(token) = filled(&self.identitytoken) {
            return Ok(Some(Credentials::IdentityToken(token)));
        }
        if let Some(token) = filled(&self.registrytoken) {
            return Ok(Some(Credentials::Token(token)));
        }
        if let (Some(user), Some(password)) = (filled(&self.username), filled(&self.password)) {
            return Ok(Some(Credentials::Password { user, password }));
        }
        let Some(auth) = filled(&self.auth) else { return Ok(None) };
        let pair = decode(&auth).and_then(|bytes| String::from_utf8(bytes).ok());
        let pair = pair.as_deref().and_then(|pair| pair.split_once(':'));
        let (user, password) = pair.ok_or("an \"auth\" is not base64 of USER:PASSWORD")?;
        let password = password.trim_end_matches('\0').to_owned();
        Ok(Some(Credentials::Password { user: user.to_owned(), password }))
    }
}

/// Asks `docker-credential-NAME`, which runs as whoever runs rocket.
fn ask(helper: &str, server: &str) -> Result<Option<Credentials>, ImageError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        username: String,
        secret: String,
    }
    let program = format!("docker-credential-{helper}");
    let bad = |problem: String| ImageError::bad(program.clone(), problem);
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if helper.is_empty() || !helper.bytes().all(plain) {
        return Err(bad("this is no name of a credential helper".to_owned()));
    }
    let mut child = Command::new(&program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|e| bad(format!("cannot be run: {e}")))?;
    if let Some(mut stdin) = child.stdin.take() {
        // Who does not read it fails in a moment.
        let _ = writeln!(stdin, "{server}");
    }
    let stdout = child.stdout.take();
    let reader = std::thread::spawn(move || {
        let mut text = Vec::new();
        let read = stdout.map(|out| out.take(MAX_HELPER).read_to_end(&mut text));
        read.is_some_and(|read| read.is_ok()).then_some(text)
    });
    let end = Instant::now() + HELPER_TIME;
    let status = loop {
        match child.try_wait().map_err(|e| bad(e.to_string()))? {
            Some(status) => break status,
            None if Instant::now() > end => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(bad(format!("gave no answer within {} s", HELPER_TIME.as_secs())));
            }
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    if !status.success() {
        // It has nothing for this server; what it says about that is not for us to repeat.
        return Ok(None);
    }
    let text = reader.join().ok().flatten().unwrap_or_default();
    let answer: Answer =
        serde_json::from_slice(&text).map_err(|_| bad("its answer cannot be read".to_owned()))?;
    Ok(Some(match answer.username.as_str() {
        "<token>" => Credentials::IdentityToken(answer.secret),
        _ => Credentials::Password { user: answer.username, password: answer.secret },
    }))
}

/// Reads base64, with or without padding.
fn decode(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let (mut bits, mut count) = (0u32, 0u32);
    for byte in text.trim().trim_end_matches('=').bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
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
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn file(dir: &Path, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = dir.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn password(user: &str, password: &str) -> Credentials {
        Credentials::Password { user: user.to_owned(), password: password.to_owned() }
    }

    #[test]
    fn the_most_specific_entry_wins_and_secrets_are_private() {
        let root = tempfile::tempdir().unwrap();
        let (vendor, local) = (root.path().join("usr"), root.path().join("etc"));
        let text = "[registry.\"r.example\"]\nuser = \"a\"\npassword = \"1\"\n\
                    [registry.\"r.example/team\"]\ntoken = \"t\"\n";
        file(&vendor, "auth.d/a.toml", text, 0o600);
        let config = [vendor.clone(), local.clone()];
        let found = |address: &str| find(&config, address).map(|login| login.credentials);
        assert!(found("r.example/x").unwrap() == Some(password("a", "1")));
        assert!(found("r.example/team/x").unwrap() == Some(Credentials::Token("t".into())));
        assert!(found("r.example:5000/x").unwrap().is_none());
        file(&local, "auth.d/a.toml", "", 0o600);
        assert!(found("r.example/x").unwrap().is_none());
        let both = "[registry.\"r.example\"]\nuser = \"a\"\ntoken = \"hunter2\"\n";
        file(&local, "auth.d/b.toml", both, 0o600);
        let error = found("r.example/x").err().unwrap().to_string();
        assert!(error.contains("one of") && !error.contains("hunter2"), "{error}");
        file(&local, "auth.d/b.toml", "", 0o640);
        assert!(found("r.example/x").err().unwrap().to_string().contains("chmod 600"));
    }

    #[test]
    fn logins_of_docker_are_read() {
        let root = tempfile::tempdir().unwrap();
        // "u:p:q", "hub:pass"
        let text = r#"{"auths": {"https://r.example/v2/": {"auth": "dTpwOnE="},
            "https://index.docker.io/v1/": {"auth": "aHViOnBhc3M="},
            "r.example/team": {"identitytoken": "i"}, "e.example": {}, "b.example": {"auth": "%"}}}"#;
        let path = file(root.path(), "config.json", text, 0o600);
        let found = |address: &str| from_docker(&path, address);
        assert!(found("r.example/x").unwrap() == Some(password("u", "p:q")));
        assert!(found("docker.io/library/x").unwrap() == Some(password("hub", "pass")));
        let identity = Some(Credentials::IdentityToken("i".into()));
        assert!(found("r.example/team/x").unwrap() == identity);
        assert!(found("e.example/x").unwrap().is_none());
        assert!(found("b.example/x").is_err());
    }

    #[test]
    fn helpers_have_names_and_base64_is_read() {
        assert!(ask("../x", "r.example").is_err());
        assert!(ask("", "r.example").is_err());
        assert_eq!(decode("aGVsbG8=").as_deref(), Some(&b"hello"[..]));
        assert_eq!(decode("aGVsbG8").as_deref(), Some(&b"hello"[..]));
        assert_eq!(decode("a b"), None);
    }
}
