//! Passwords and tokens: nobody who looks at processes, at output or at the store sees one.

use crate::server::{Body, Reply};
use crate::setup::{Image, serve};
use rocket_testkit::wait_until;
use std::fs;
use std::path::Path;

const PASSWORD: &str = "pw-7f3a9c51e0";
/// The same as it goes over the wire, with its user `me`.
const BASIC: &str = "bWU6cHctN2YzYTljNTFlMA==";
const TOKEN: &str = "tk-58b1d04e77";

/// Processes whose command line or environment has one of these words.
fn tellers(words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        for file in ["cmdline", "environ"] {
            // It may be gone.
            let Ok(bytes) = fs::read(entry.path().join(file)) else { continue };
            let text = String::from_utf8_lossy(&bytes);
            if words.iter().any(|word| text.contains(word)) {
                found.push(format!("{}: {text}", entry.path().join(file).display()));
            }
        }
    }
    found
}

/// Files below a directory that have one of these words.
fn holders(dir: &Path, words: &[&str], found: &mut Vec<String>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.is_symlink() {
            holders(&path, words, found);
        } else if let Ok(bytes) = fs::read(&path) {
            let text = String::from_utf8_lossy(&bytes);
            found.extend(
                words.iter().filter(|w| text.contains(**w)).map(|_| path.display().to_string()),
            );
        }
    }
}

#[test]
fn a_password_and_a_token_are_in_no_argument_variable_output_or_file_of_the_store() {
    let words = [PASSWORD, BASIC, TOKEN];
    let image = Image::new(50_000);
    let large = image.layer(0);
    let blob = image.layers[0].clone();
    let host = std::sync::Arc::new(std::sync::OnceLock::<String>::new());
    let own = std::sync::Arc::clone(&host);
    let (server, client, reference) = serve(&image, move |asked| {
        let authorization = asked.header("authorization").unwrap_or_default();
        if asked.path.starts_with("/token") {
            let body = format!("{{\"token\":\"{TOKEN}\",\"expires_in\":300}}");
            let known = authorization == format!("Basic {BASIC}");
            return Some(if known { Reply::new(200, body) } else { Reply::new(401, "") });
        }
        if authorization != format!("Bearer {TOKEN}") {
            let realm = format!("http://{}/token", own.get()?);
            let asks = format!("Bearer realm=\"{realm}\",service=\"x\"");
            return Some(Reply::new(401, "").with("WWW-Authenticate", asks));
        }
        let half = blob[..blob.len() / 2].to_vec();
        asked.path.ends_with(&large).then(|| Reply::body(Body::Hold(blob.len() as u64, half)))
    });
    host.set(server.host()).unwrap();
    client.config("rocket.toml", "[fetch]\ntimeout = 5\nretries = 0\n");
    let login =
        format!("[registry.\"{}\"]\nuser = \"me\"\npassword = \"{PASSWORD}\"\n", server.host());
    client.config("auth.d/x.toml", &login);
    let running = client.command(&["fetch", &reference]).start();
    // In the middle: every process that takes part is there, and has been told what it needs.
    wait_until("the layer comes", 30, || server.count(&image.layer(0)) > 0);
    let seen = tellers(&words);
    assert!(seen.is_empty(), "{seen:?}");
    let done = running.wait().ends_with(125);
    for word in words {
        assert!(!done.stderr.contains(word) && !done.stdout.contains(word), "{done}");
    }
    let mut kept = Vec::new();
    holders(&client.host.path("state"), &words, &mut kept);
    assert!(kept.is_empty(), "{kept:?}");
}
