//! Registries that mean ill: refused with a reason, soon, and the store as it was.

use crate::server::{Asked, Body, Reply, Server};
use crate::setup::{Client, INDEX, Image, MANIFEST, describe, serve};
use serde_json::json;
use std::time::{Duration, Instant};

/// So long a refusal may take on a busy machine: every one of these servers would go on for ever.
const BOUND: Duration = Duration::from_secs(45);

/// Fetches and expects a refusal with these words.
#[track_caller]
fn refused(name: &str, client: &Client, reference: &str, words: &str) {
    let begin = Instant::now();
    let done = client.rocket(&["fetch", reference]);
    assert_eq!(done.code(), 125, "{name}: {}", done.stderr);
    assert!(done.stderr.contains(words), "{name}: {}", done.stderr);
    assert!(begin.elapsed() < BOUND, "{name}: {:?}", begin.elapsed());
    assert_eq!(client.stored(), [] as [String; 0], "{name}");
    assert!(!done.stderr.contains('\u{1b}'), "{name}: {:?}", done.stderr);
}

type Special = Box<dyn Fn(&Asked) -> Option<Reply> + Send + Sync>;

/// An answer to whatever has this in its path.
fn on(part: &str, reply: impl Fn() -> Reply + Send + Sync + 'static) -> Special {
    let part = part.to_owned();
    Box::new(move |asked| asked.path.contains(&part).then(&reply))
}

fn typed(kind: &'static str, body: impl Into<Vec<u8>>) -> Reply {
    Reply::new(200, body).with("Content-Type", kind)
}

#[test]
fn bodies_that_are_not_what_was_asked_for() {
    let image = Image::new(300_000);
    let (layer, blob) = (image.layer(0), image.layers[0].clone());
    let (short, wrong) = (blob[..1000].to_vec(), vec![7; blob.len()]);
    let length = blob.len() as u64;
    let cases: Vec<(&str, Special, &str)> = vec![
        ("endless manifest", on("/manifests/", || Reply::body(Body::Endless)), "more than 8388608"),
        ("endless blob", on(&layer, || Reply::body(Body::Endless)), "more than"),
        (
            "larger blob",
            on(&layer, move || Reply::body(Body::Said(length * 1000, vec![0; blob.len() + 1]))),
            "more than",
        ),
        ("another blob", on(&layer, move || Reply::new(200, wrong.clone())), "should be sha256-"),
        ("a short blob", on(&layer, move || Reply::new(200, short.clone())), "ended after 1000"),
        ("no blob", on(&layer, || Reply::new(404, "")), "answers 404"),
        ("an empty blob", on(&layer, || Reply::new(200, "")), "ended after 0"),
        (
            "a huge manifest",
            on("/manifests/", || Reply::body(Body::Said(1 << 40, vec![b' '; 9 << 20]))),
            "more than 8388608",
        ),
        ("no JSON", on("/manifests/", || typed(MANIFEST, "<html>")), "cannot be read"),
        (
            "HTML instead of a manifest",
            on("/manifests/", || typed("text/html", "<html>")),
            "cannot be read",
        ),
        ("deep JSON", on("/manifests/", || typed(MANIFEST, "[".repeat(100_000))), "cannot be read"),
        (
            "huge headers",
            on("/manifests/", || {
                let mut text = b"HTTP/1.1 200 OK\r\nX: ".to_vec();
                text.extend(vec![b'x'; 4 << 20]);
                Reply::body(Body::Raw(text))
            }),
            "127.0.0.1",
        ),
        (
            "no HTTP",
            on("/manifests/", || Reply::body(Body::Raw(b"SSH-2.0-x\r\n\r\n".to_vec()))),
            "127.0.0.1",
        ),
        (
            "an error with colours",
            on("/manifests/", || {
                Reply::new(404, r#"{"errors":[{"code":"\u001b[31m","message":"\u202ered"}]}"#)
            }),
            "answers 404",
        ),
    ];
    for (name, special, words) in cases {
        let (_server, client, reference) = serve(&image, special);
        refused(name, &client, &reference, words);
    }
}

#[test]
fn parts_that_were_not_asked_for() {
    let image = Image::new(300_000);
    let layer = image.layer(0);
    for (name, range, words) in [
        ("the start", "bytes 0-9/10", "another part"),
        ("behind", "bytes 5000-5001/5002", "another part"),
        ("nonsense", "pages 1-2", "another part"),
    ] {
        let (_server, client, reference) = serve(
            &image,
            on(&layer, move || Reply::new(206, "0123456789").with("Content-Range", range)),
        );
        client.rocket(&["image", "list"]).ok();
        let path = client.partial(&layer);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &image.layers[0][..1000]).unwrap();
        refused(name, &client, &reference, words);
    }
}

#[test]
fn manifests_that_lead_astray() {
    let good = Image::new(1000);
    let of = |text: &str| text.to_owned();
    let nested = |depth: usize| {
        let mut bytes = good.manifest.clone();
        let mut kind = MANIFEST;
        let mut all = vec![];
        for _ in 0..depth {
            let mut child = describe(kind, &bytes);
            child["platform"] = json!({"os": "linux", "architecture": "amd64"});
            all.push(bytes);
            bytes = json!({"schemaVersion": 2, "manifests": [child]}).to_string().into_bytes();
            kind = INDEX;
        }
        (bytes, all)
    };
    let cases: Vec<(&str, Image, &str)> = vec![
        ("no layers", good.clone().change(|m| m["layers"] = json!([])), "no layers"),
        (
            "100 000 layers",
            good.clone().change(|m| {
                let layer = m["layers"][1].clone();
                m["layers"] = json!(vec![layer; 30_000]);
            }),
            "layers",
        ),
        (
            "another number of layers",
            good.clone().change(|m| m["layers"] = json!([m["layers"][0].clone()])),
            "the configuration 2",
        ),
        (
            "a size that is none",
            good.clone().change(|m| m["layers"][0]["size"] = json!(-1)),
            "cannot be read",
        ),
        (
            "a larger size",
            good.clone().change(|m| m["layers"][0]["size"] = json!(1u64 << 62)),
            "answers 416",
        ),
        (
            "a smaller size",
            good.clone().change(|m| m["layers"][0]["size"] = json!(10)),
            "more than 10 bytes",
        ),
        (
            "an algorithm that is broken",
            good.clone().change(|m| {
                m["layers"][0]["digest"] = json!("md5:d41d8cd98f00b204e9800998ecf8427e");
            }),
            "algorithm",
        ),
        (
            "a digest that is a path",
            good.clone().change(|m| m["layers"][0]["digest"] = json!("sha256:../../../etc/passwd")),
            "digest",
        ),
        (
            "a digest in capitals",
            good.clone().change(|m| {
                let text = m["layers"][0]["digest"].as_str().unwrap().to_uppercase();
                m["layers"][0]["digest"] = json!(text);
            }),
            "digest",
        ),
        (
            "sha512 of nothing",
            good.clone().change(|m| {
                m["layers"][0]["digest"] = json!(format!("sha512:{}", "a".repeat(128)));
            }),
            "answers 404",
        ),
        (
            "an artifact",
            good.clone().change(|m| m["config"]["mediaType"] = json!("application/x-helm")),
            "artifact",
        ),
        (
            "a layer that is none",
            good.clone().change(|m| m["layers"][0]["mediaType"] = json!("text/plain")),
            "not supported",
        ),
        (
            "another kind than it is sent as",
            good.clone().change(|m| m["mediaType"] = json!(INDEX)),
            "is said to be",
        ),
        (
            "schema version 7",
            good.clone().change(|m| m["schemaVersion"] = json!(7)),
            "schema version 7",
        ),
    ];
    for (name, image, words) in cases {
        let (_server, client, reference) = serve(&image, |_| None);
        refused(name, &client, &reference, words);
    }
    let (top, below) = nested(6);
    let (_server, client, reference) = serve(&good, move |asked| {
        let found = below.iter().find(|bytes| {
            let digest = describe("", bytes)["digest"].as_str().unwrap().to_owned();
            asked.path.ends_with(&digest)
        });
        let top = asked.path.ends_with("/v1").then_some(&top);
        let bytes = found.or(top)?;
        let kind = if bytes.starts_with(b"{\"manifests") { INDEX } else { MANIFEST };
        Some(typed(kind, bytes.clone()))
    });
    refused("indexes in indexes", &client, &reference, "nested too deeply");
    let manifest = good.manifest.clone();
    for (name, special, words) in [
        (
            "the first schema",
            on("/manifests/", || {
                typed("application/vnd.docker.distribution.manifest.v1+prettyjws", "{}")
            }),
            "schema 1",
        ),
        (
            "the first schema in disguise",
            on("/manifests/", || typed("application/json", r#"{"schemaVersion": 1}"#)),
            "schema 1",
        ),
        (
            "the digest of another",
            on("/manifests/", move || {
                let digest = format!("sha256:{}", "a".repeat(64));
                typed(MANIFEST, manifest.clone()).with("Docker-Content-Digest", digest)
            }),
            "the digest of another",
        ),
        (
            "a list for others only",
            on("/manifests/", || {
                let child = json!({"mediaType": MANIFEST, "digest": of_zeros(), "size": 1,
                    "platform": {"os": "plan9", "architecture": "pdp11"}});
                let index = json!({"schemaVersion": 2, "manifests": [child]});
                typed(INDEX, index.to_string())
            }),
            "plan9/pdp11",
        ),
    ] {
        let (_server, client, reference) = serve(&good, special);
        refused(name, &client, &reference, words);
    }
    let (_server, client, reference) = serve(&good, |_| None);
    let pinned = format!("{reference}@{}", of(&of_zeros()));
    refused("another than the digest says", &client, &pinned, "a manifest with the digest");
}

fn of_zeros() -> String {
    format!("sha256:{}", "0".repeat(64))
}

#[test]
fn redirects_to_where_nobody_should_go() {
    let image = Image::new(1000);
    let layer = image.layer(0);
    for (name, location, words) in [
        ("a file", "file:///etc/shadow", "redirects to \"file\""),
        ("another protocol", "ftp://127.0.0.1/x", "redirects to \"ftp\""),
        ("script", "javascript:alert(1)", "redirects to \"javascript\""),
        ("another host without encryption", "http://localhost:1/x", "not encrypted"),
        ("a user in it", "http://user@127.0.0.1/x", "is no address"),
        ("nothing", "", ""),
        ("itself", "?again", "redirects more than"),
    ] {
        for part in ["/manifests/", layer.as_str()] {
            let (_server, client, reference) =
                serve(&image, on(part, move || Reply::new(307, "").with("Location", location)));
            refused(name, &client, &reference, words);
        }
    }
}

#[test]
fn credentials_stay_with_the_registry() {
    let image = Image::new(1000);
    let other = image.clone();
    let elsewhere = Server::start(move |asked| other.answer(asked));
    let to = elsewhere.host();
    let (server, client, reference) = serve(&image, move |asked| {
        match asked.header("authorization") {
            // "me:secret"
            Some("Basic bWU6c2VjcmV0") if asked.path.contains("/blobs/") => {
                let location = format!("http://{to}{}", asked.path);
                Some(Reply::new(307, "").with("Location", location))
            }
            Some("Basic bWU6c2VjcmV0") => None,
            _ => Some(Reply::new(401, "").with("WWW-Authenticate", "Basic realm=\"x\"")),
        }
    });
    let login =
        |host: &str| format!("[registry.\"{host}\"]\nuser = \"me\"\npassword = \"secret\"\n");
    let done = client.rocket(&["fetch", &reference]);
    assert_eq!(done.code(), 125);
    assert!(done.stderr.contains("wants a password"), "{}", done.stderr);
    assert!(done.stderr.contains("auth.d"), "{}", done.stderr);
    client.config("auth.d/x.toml", &login(&server.host()));
    let done = client.rocket(&["fetch", &reference]).ok();
    assert!(!done.stderr.contains("secret"));
    assert_eq!(elsewhere.count("/blobs/"), 3);
    let seen = elsewhere.asked().iter().any(|asked| asked.header("authorization").is_some());
    assert!(!seen, "another host saw the password");
    // A wrong one is told as such, and only once.
    let wrong = Client::new();
    wrong.insecure(&[&server.host()]);
    wrong.config("auth.d/x.toml", &login(&server.host()).replace("secret", "hunter2"));
    let before = server.asked().len();
    let done = wrong.rocket(&["fetch", &reference]);
    assert!(done.stderr.contains("answers 401"), "{}", done.stderr);
    assert!(!done.stderr.contains("hunter2"), "{}", done.stderr);
    assert_eq!(server.asked().len() - before, 2);
}

/// A registry whose tokens come from `realm`.
fn with_tokens(
    image: &Image,
    realm: impl Fn(&Asked) -> String + Send + Sync + 'static,
    token: &'static str,
) -> (Server, Client, String) {
    serve(image, move |asked| {
        if asked.path.starts_with("/token") {
            return Some(Reply::new(200, json!({"token": token}).to_string()));
        }
        let right = asked.header("authorization") == Some("Bearer good");
        let challenge = format!("Bearer realm=\"{}\",service=\"s\"", realm(asked));
        (!right).then(|| Reply::new(401, "").with("WWW-Authenticate", challenge))
    })
}

#[test]
fn tokens_come_from_the_registry_and_its_own() {
    let image = Image::new(1000);
    let own = |asked: &Asked| format!("http://{}/token", asked.header("host").unwrap());
    let (server, client, reference) = with_tokens(&image, own, "good");
    client.rocket(&["fetch", &reference]).ok();
    let token = server.asked().into_iter().find(|asked| asked.path.starts_with("/token")).unwrap();
    assert!(token.path.contains("repository%3Ateam%2Fapp%3Apull"), "{}", token.path);
    assert!(token.path.contains("service=s"), "{}", token.path);
    assert!(token.header("authorization").is_none());
    // Tokens that cannot be ones, and places that are none.
    let long: &'static str = Box::leak("x".repeat(1 << 20).into_boxed_str());
    for (name, token, words) in [
        ("a second line", "good\r\nX-Evil: 1", "none that can be sent"),
        ("too long", long, "127.0.0.1"),
        ("empty", "", "gave no token"),
        ("useless", "bad", "answers 401"),
    ] {
        let (_server, client, reference) = with_tokens(&image, own, token);
        refused(name, &client, &reference, words);
    }
    for (name, realm, words) in [
        ("a file", "file:///etc/shadow", "as the place for tokens"),
        ("nothing", "", "as the place for tokens"),
        ("another host, not encrypted", "http://localhost:1/token", "not encrypted"),
    ] {
        let (_server, client, reference) = with_tokens(&image, |_| realm.to_owned(), "good");
        refused(name, &client, &reference, words);
    }
}

#[test]
fn a_token_realm_elsewhere_does_not_see_the_password() {
    let image = Image::new(1000);
    let evil = Server::start(|_| Reply::new(200, r#"{"token": "good"}"#));
    let realm = format!("https://localhost:{}/token", evil.port);
    let (server, client, reference) = with_tokens(&image, move |_| realm.clone(), "good");
    let text = format!("[registry.\"{}\"]\nuser = \"me\"\npassword = \"secret\"\n", server.host());
    client.config("auth.d/x.toml", &text);
    refused("evil realm", &client, &reference, "wants its password shown to https://localhost");
    assert_eq!(evil.asked().len(), 0);
}

#[test]
fn servers_that_keep_one_waiting() {
    let image = Image::new(300_000);
    let (layer, length) = (image.layer(0), image.layers[0].len() as u64);
    let cases: Vec<(&str, Special, &str)> = vec![
        ("headers drop by drop", on("/manifests/", || Reply::body(Body::DripHeaders)), "timeout"),
        (
            "a blob drop by drop",
            on(&layer, move || Reply::body(Body::Drip(length, vec![]))),
            "bytes came within",
        ),
        (
            "a manifest drop by drop",
            on("/manifests/", || Reply::body(Body::Drip(1000, vec![]))),
            "bytes came within",
        ),
    ];
    for (name, special, words) in cases {
        let (_server, client, reference) = serve(&image, special);
        refused(name, &client, &reference, words);
    }
}
