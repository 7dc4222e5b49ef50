//! A host with keys and rules of its own, and images to fetch.

use crate::desk::Desk;
use rocket_testkit::{Command, Done};
use std::path::PathBuf;

pub struct Setup {
    pub desk: Desk,
}

impl Setup {
    pub fn new() -> Self {
        let setup = Self { desk: Desk::new() };
        std::fs::create_dir_all(setup.path("config")).unwrap();
        let root = setup.path("root");
        std::fs::create_dir_all(root.join("bin")).unwrap();
        std::fs::write(root.join("bin/app"), "an app\n").unwrap();
        setup
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.desk.path(name)
    }

    pub fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Rocket on the host that fetches.
    pub fn rocket(&self, args: &[&str]) -> Done {
        self.on("state", args)
    }

    /// Rocket with another state: where images are packed, nothing here is known of.
    pub fn on(&self, state: &str, args: &[&str]) -> Done {
        Command::new(env!("CARGO_BIN_EXE_rocket"))
            .args(args)
            .env("ROCKET_STATE_DIR", self.path(state))
            .env("ROCKET_CONFIG_DIR", self.path("config"))
            .env("GNUPGHOME", self.path("gnupg"))
            .run()
    }

    /// Packs an image elsewhere; what to fetch.
    pub fn pack(&self, name: &str, file: &str, more: &[&str]) -> String {
        let out = match file.split_once(':') {
            Some((scheme, rest)) => format!("{scheme}:{}", self.text(rest)),
            None => self.text(file),
        };
        let root = self.text("root");
        let mut args =
            vec!["image", "pack", &root, "--name", name, "--exec", "/bin/app", "-o", &out];
        args.extend(more);
        self.on("elsewhere", &args).ok();
        out
    }

    /// Writes the rules.
    pub fn rules(&self, text: &str) {
        let dir = self.path("config/trust.d");
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("10-test.toml"), format!("version = 1\n{text}")).unwrap();
    }

    /// Trusts a key file for a prefix, or for all.
    pub fn trust(&self, key: &str, prefix: Option<&str>) {
        let key = self.text(key);
        let mut args = vec!["trust", "add", &key];
        args.extend(prefix.map_or(vec!["--root"], |prefix| vec!["--prefix", prefix]));
        self.rocket(&args).ok();
    }

    /// Trusts nobody any more.
    pub fn distrust(&self) {
        let dir = self.path("config/trustedkeys");
        if dir.exists() {
            std::fs::remove_dir_all(dir).unwrap();
        }
    }

    /// The images in the store.
    pub fn stored(&self) -> Vec<String> {
        let list = self.rocket(&["image", "list", "--format=json"]).ok().stdout;
        let list: serde_json::Value = serde_json::from_str(&list).unwrap();
        let ids = list.as_array().unwrap().iter();
        ids.map(|image| image["id"].as_str().unwrap().to_owned()).collect()
    }

    /// Fetches, and fails unless that is refused with all of these words and the store stays as it is.
    #[track_caller]
    pub fn refuses(&self, args: &[&str], words: &[&str]) {
        let before = self.stored();
        let mut all = vec!["fetch"];
        all.extend(args);
        self.rocket(&all).ends_with(125).says(words);
        assert_eq!(self.stored(), before, "{args:?}");
    }

    /// Whether `trust why` says that a stored image is trusted, and what it says.
    pub fn why(&self, reference: &str) -> (bool, String) {
        let done = self.rocket(&["trust", "why", reference]);
        assert!(done.code() < 2, "{}", done.stderr);
        (done.code() == 0, done.stdout)
    }
}
