//! A host with transports and a configuration of its own, and a small image in a registry of ours.

use crate::kit::{Host, Tar, gzip};
use crate::server::{Asked, Reply, Server};
use rocket::image::{Algo, Digest};
use rocket_testkit::{Command, Done};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The transport, as it was built beside rocket.
fn transport() -> PathBuf {
    let dir = Path::new(env!("CARGO_BIN_EXE_rocket")).parent().unwrap();
    let program = dir.join("rocket-transport");
    if !program.exists() {
        // Only a run of this package alone does not have it.
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        Command::new(&cargo)
            .args(["build", "--package", "rocket-transport"])
            .seconds(600)
            .run()
            .ok();
    }
    program
}

/// Rocket, as the tests here run it.
pub struct Client {
    pub host: Host,
}

impl Client {
    pub fn new() -> Self {
        let client = Self { host: Host::new() };
        // What is executed there has to be reachable for a user without privileges.
        fs::set_permissions(client.host.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir_all(client.host.path("transport")).unwrap();
        for scheme in ["docker", "https", "http"] {
            fs::copy(transport(), client.host.path(&format!("transport/{scheme}"))).unwrap();
        }
        client.config("rocket.toml", "[fetch]\ntimeout = 2\nretries = 1\n");
        client
    }

    /// Writes a file of the configuration, closed to others.
    pub fn config(&self, name: &str, text: &str) {
        let path = self.host.path("config").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Allows plain http to these.
    pub fn insecure(&self, hosts: &[&str]) {
        let entries = hosts.iter().map(|h| format!("[registry.\"{h}\"]\ninsecure-http = true\n"));
        self.config("registries.d/insecure.toml", &entries.collect::<String>());
    }

    pub fn rocket(&self, args: &[&str]) -> Done {
        self.command(args).run()
    }

    pub fn command(&self, args: &[&str]) -> Command {
        Command::new(env!("CARGO_BIN_EXE_rocket"))
            .args(args)
            .env("ROCKET_STATE_DIR", self.host.path("state"))
            .env("ROCKET_TRANSPORT_DIR", self.host.path("transport"))
            .env("ROCKET_CONFIG_DIR", self.host.path("config"))
            .env("HOME", self.host.path("home"))
            .env("REGISTRY_AUTH_FILE", "")
            .env("XDG_RUNTIME_DIR", "")
            .env("DOCKER_CONFIG", "")
            .env("http_proxy", "")
            .env("HTTP_PROXY", "")
            .env("https_proxy", "")
            .env("HTTPS_PROXY", "")
            .env("all_proxy", "")
            .env("ALL_PROXY", "")
    }

    /// What the store has besides empty directories, but for what came in part.
    pub fn stored(&self) -> Vec<String> {
        let mut found = Vec::new();
        for dir in ["blobs/sha256", "layers/sha256", "layers/sha512", "images", "refs"] {
            let Ok(entries) = fs::read_dir(self.host.store().join(dir)) else { continue };
            found.extend(entries.map(|entry| entry.unwrap().path().display().to_string()));
        }
        found
    }

    /// What of a blob came earlier.
    pub fn partial(&self, digest: &str) -> PathBuf {
        self.host.store().join("tmp/partial").join(digest.replace(':', "-"))
    }
}

/// A descriptor.
pub fn describe(kind: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": kind, "digest": Digest::of(Algo::Sha256, bytes).oci(), "size": bytes.len()})
}

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// An image with two layers.
#[derive(Clone)]
pub struct Image {
    pub layers: Vec<Vec<u8>>,
    pub config: Vec<u8>,
    pub manifest: Vec<u8>,
}

impl Image {
    /// Its larger layer has so many bytes that nothing compresses.
    pub fn new(large: usize) -> Self {
        let mut noise = 1u64;
        let random: String = (0..large)
            .map(|_| {
                noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                char::from(32 + u8::try_from((noise >> 33) % 94).unwrap())
            })
            .collect();
        Self::of(&[
            Tar::default().dir("./", 0o755, 0).file("./large", &random).end(),
            Tar::default().dir("./", 0o755, 0).file("./small", "small").end(),
        ])
    }

    /// An image of these layers.
    pub fn of(tars: &[Vec<u8>]) -> Self {
        let diffs: Vec<String> = tars.iter().map(|t| Digest::of(Algo::Sha256, t).oci()).collect();
        let layers: Vec<Vec<u8>> = tars.iter().map(|tar| gzip(tar)).collect();
        let config = json!({"os": "linux", "architecture": "amd64", "config": {"Cmd": ["/x"]},
            "rootfs": {"type": "layers", "diff_ids": diffs}});
        let config = config.to_string().into_bytes();
        let listed: Vec<Value> = layers.iter().map(|layer| describe(LAYER, layer)).collect();
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST,
            "config": describe(CONFIG, &config), "layers": listed});
        Self { layers, config, manifest: manifest.to_string().into_bytes() }
    }

    /// The digest of a layer.
    pub fn layer(&self, place: usize) -> String {
        Digest::of(Algo::Sha256, &self.layers[place]).oci()
    }

    /// The manifest with something changed.
    pub fn change(mut self, change: impl FnOnce(&mut Value)) -> Self {
        let mut manifest: Value = serde_json::from_slice(&self.manifest).unwrap();
        change(&mut manifest);
        self.manifest = manifest.to_string().into_bytes();
        self
    }

    /// What a good registry answers.
    pub fn answer(&self, asked: &Asked) -> Reply {
        if asked.path.contains("/manifests/") {
            return Reply::new(200, self.manifest.clone()).with("Content-Type", MANIFEST);
        }
        let blobs = self.layers.iter().chain([&self.config]);
        for blob in blobs {
            if asked.path.ends_with(&Digest::of(Algo::Sha256, blob).oci()) {
                let range = asked.header("range").and_then(|range| {
                    range.strip_prefix("bytes=")?.trim_end_matches('-').parse::<usize>().ok()
                });
                return match range {
                    Some(from) if from >= blob.len() => Reply::new(416, ""),
                    Some(from) => Reply::new(206, &blob[from..]).with(
                        "Content-Range",
                        format!("bytes {from}-{}/{}", blob.len() - 1, blob.len()),
                    ),
                    None => Reply::new(200, blob.clone()),
                };
            }
        }
        Reply::new(404, "")
    }
}

/// A server with an image, but for what `special` answers, and a client that may ask it.
pub fn serve(
    image: &Image,
    special: impl Fn(&Asked) -> Option<Reply> + Send + Sync + 'static,
) -> (Server, Client, String) {
    let good = image.clone();
    let server = Server::start(move |asked| special(asked).unwrap_or_else(|| good.answer(asked)));
    let client = Client::new();
    client.insecure(&[&server.host()]);
    let reference = format!("docker://{}/team/app:v1", server.host());
    (server, client, reference)
}
