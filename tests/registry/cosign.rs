//! Signatures as cosign leaves them in registries, by keys and signatures of openssl.

use crate::server::{Asked, Reply, Server};
use crate::setup::{Client, Image, MANIFEST, describe};
use rocket::image::{Algo, Digest};
use rocket_testkit::run;
use serde_json::json;
use std::fs;
use std::sync::{Arc, Mutex};

const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

/// Payloads and signatures in base64.
type Signatures = Arc<Mutex<Vec<(Vec<u8>, String)>>>;

/// A registry with an image, and the signatures that lie under its tag for them.
struct Signed {
    server: Server,
    client: Client,
    image: Image,
    signatures: Signatures,
}

impl Signed {
    fn new() -> Self {
        let image = Image::new(2000);
        let signatures = Signatures::default();
        let (good, known) = (image.clone(), Arc::clone(&signatures));
        let server = Server::start(move |asked: &Asked| {
            let known = known.lock().unwrap();
            if asked.path.ends_with(".sig") {
                let layers: Vec<_> = known
                    .iter()
                    .map(|(payload, signature)| {
                        let mut layer = describe(PAYLOAD, payload);
                        layer["annotations"] =
                            json!({"dev.cosignproject.cosign/signature": signature});
                        layer
                    })
                    .collect();
                if layers.is_empty() {
                    return Reply::new(404, "");
                }
                let config = describe("application/vnd.oci.image.config.v1+json", b"{}");
                let list = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config,
                    "layers": layers});
                return Reply::new(200, list.to_string()).with("Content-Type", MANIFEST);
            }
            let payload = known.iter().find(|(payload, _)| {
                asked.path.ends_with(&Digest::of(Algo::Sha256, payload).oci())
            });
            match payload {
                Some((payload, _)) => Reply::new(200, payload.clone()),
                None => good.answer(asked),
            }
        });
        let client = Client::new();
        client.insecure(&[&server.host()]);
        // The tests' own rule lets unsigned images pass.
        fs::remove_dir_all(client.host.path("config/trust.d")).unwrap();
        Self { server, client, image, signatures }
    }

    fn path(&self, name: &str) -> String {
        self.client.host.path(name).display().to_string()
    }

    fn reference(&self) -> String {
        format!("docker://{}/team/app:v1", self.server.host())
    }

    /// A key: `NAME.key`, `NAME.pub`.
    fn key(&self, name: &str) {
        let (secret, public) =
            (self.path(&format!("{name}.key")), self.path(&format!("{name}.pub")));
        run("openssl", ["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", &secret])
            .ok();
        run("openssl", ["ec", "-in", &secret, "-pubout", "-out", &public]).ok();
    }

    /// Signs a payload about a repository and a digest.
    fn sign(&self, key: &str, repository: &str, digest: &str) {
        let payload = json!({"critical": {"identity": {"docker-reference": repository},
            "image": {"docker-manifest-digest": digest}, "type": "cosign container image signature"},
            "optional": null})
        .to_string();
        let file = self.client.host.file("payload", payload.as_bytes());
        let (key, out) = (self.path(&format!("{key}.key")), self.path("signature"));
        run("openssl", ["dgst", "-sha256", "-sign", &key, "-out", &out, &file]).ok();
        let text = run("openssl", ["base64", "-A", "-in", &out]).ok().stdout;
        self.signatures.lock().unwrap().push((payload.into_bytes(), text.trim().to_owned()));
    }

    fn only(&self, key: &str, repository: &str, digest: &str) {
        self.signatures.lock().unwrap().clear();
        self.sign(key, repository, digest);
    }

    #[track_caller]
    fn refuses(&self, words: &[&str]) {
        self.client.rocket(&["fetch", &self.reference()]).ends_with(125).says(words);
        assert_eq!(self.client.stored(), Vec::<String>::new());
    }
}

#[test]
fn the_steps_from_unsigned_to_a_key_for_the_repository() {
    let registry = Signed::new();
    registry.key("mine");
    registry.key("other");
    let repository = format!("{}/team/app", registry.server.host());
    let digest = Digest::of(Algo::Sha256, &registry.image.manifest).oci();
    registry.refuses(&["no signature was found"]);
    // Nobody is asked for signatures that no key could vouch for.
    assert_eq!(registry.server.count(".sig"), 0);
    let trust = |key: &str, scope: &[&str]| {
        let key = registry.path(&format!("{key}.pub"));
        let mut args = vec!["trust", "add", &key];
        args.extend(scope);
        registry.client.rocket(&args).ok();
    };
    trust("other", &["--root"]);
    registry.refuses(&["no signature was found"]);
    registry.sign("mine", &repository, &digest);
    registry.refuses(&["cosign key"]);
    trust("mine", &["--prefix", "example.com/elsewhere"]);
    registry.refuses(&["trusts for example.com/elsewhere only"]);
    trust("mine", &["--root"]);
    let other = Digest::of(Algo::Sha256, b"other").oci();
    registry.only("mine", &repository, &other);
    registry.refuses(&["about another image"]);
    registry.only("mine", &format!("{}/team/db", registry.server.host()), &digest);
    registry.refuses(&["is called"]);
    registry.only("mine", &repository, &digest);
    registry.signatures.lock().unwrap()[0].1.replace_range(10..12, "AA");
    registry.refuses(&["cosign"]);
    registry.only("mine", &repository, &digest);
    // A bad one beside a good one takes nothing away.
    registry.sign("mine", &repository, &other);
    let done = registry.client.rocket(&["fetch", &registry.reference()]).ok();
    assert!(done.stderr.contains("signed by the cosign key"), "{}", done.stderr);
    let why = registry.client.rocket(&["trust", "why", &registry.reference()]).ok();
    assert!(why.stdout.contains("good: cosign key"), "{why}");
}
