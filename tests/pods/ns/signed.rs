//! Pod files that have to be signed, as units: the rule holds for the whole bed, so these are alone.

use ring::signature::{Ed25519KeyPair, KeyPair};
use rocket::image::trust::armor::to_base64;
use rocket_testkit::unit::{Pod, systemctl};
use rocket_testkit::{image, require_bed, rocket};
use std::fs;
use std::path::{Path, PathBuf};

/// A key as minisign writes it, without the program: the bed has none.
struct Signer(Ed25519KeyPair);

impl Signer {
    const HEAD: &[u8] = b"Ed\x07\x06\x05\x04\x03\x02\x01\x00";

    fn new() -> Self {
        Self(Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap())
    }

    fn public(&self) -> String {
        let key = [Self::HEAD, self.0.public_key().as_ref()].concat();
        format!("untrusted comment: of a test\n{}\n", to_base64(&key))
    }

    /// Writes the signature of a file beside it.
    fn sign(&self, file: &str) {
        let signature = self.0.sign(&fs::read(file).unwrap());
        let comment = "by a test";
        let whole = self.0.sign(&[signature.as_ref(), comment.as_bytes()].concat());
        let text = format!(
            "untrusted comment: none\n{}\ntrusted comment: {comment}\n{}\n",
            to_base64(&[Self::HEAD, signature.as_ref()].concat()),
            to_base64(whole.as_ref())
        );
        fs::write(format!("{file}.minisig"), text).unwrap();
    }
}

/// Files and directories that go when the test ends, however it does.
struct Gone(Vec<PathBuf>);

impl Drop for Gone {
    fn drop(&mut self) {
        for path in &self.0 {
            drop(fs::remove_file(path).or_else(|_| fs::remove_dir_all(path)));
        }
    }
}

fn write(path: &str, text: &str) {
    fs::create_dir_all(Path::new(path).parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn alone_a_unit_starts_no_pod_file_that_is_not_signed_where_a_rule_asks_for_it() {
    require_bed("ns");
    const FILE: &str = "/etc/rocket/pods/signed.toml";
    const DROP_IN: &str = "/etc/rocket/pods/signed.toml.d/10.toml";
    const KEY: &str = "/etc/rocket/trustedkeys/root.d/of-a-test";
    const RULE: &str = "/etc/rocket/trust.d/90-of-a-test.toml";
    image::add_busybox("example.com/signed:1.0", &["/bin/sleep", "1000"]);
    let list = rocket(["image", "list", "--format=json"]).ok().stdout;
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    let ours = |image: &&serde_json::Value| image.to_string().contains("example.com/signed");
    let id = list.as_array().unwrap().iter().find(ours).unwrap()["id"].as_str().unwrap();
    let signer = Signer::new();
    let paths = [FILE, "/etc/rocket/pods/signed.toml.minisig", "/etc/rocket/pods/signed.toml.d"];
    let _gone = Gone(paths.iter().chain(&[KEY, RULE]).map(PathBuf::from).collect());
    let text = format!(
        "network = \"none\"\n[app.main]\nimage = \"example.com/signed:1.0@{id}\"\n\
         stop-timeout = \"1s\"\n[unit]\nrestart = \"no\"\n"
    );
    let pod = Pod::new("signed", &text);
    write(KEY, &signer.public());
    write(RULE, "version = 1\npods = \"signed\"\n");
    let refused = |words: &[&str]| {
        assert_ne!(pod.systemctl("start").code(), 0);
        // The unit's own words: of a process that ends at once the journal may not know whose they were.
        let status = pod.show("StatusText");
        for word in [words, &[RULE]].concat() {
            assert!(status.contains(word), "{word}: {status}");
        }
        assert_eq!(pod.show("ExecMainStatus"), "125");
        systemctl(["reset-failed", &pod.unit()]).ok();
    };
    refused(&[FILE, "no signature was found"]);
    signer.sign(FILE);
    pod.start();
    pod.systemctl("stop").ok();
    // What is added to a signed file is signed as well, or it does not start.
    write(DROP_IN, "description = \"unsigned\"\n");
    systemctl(["daemon-reload"]).ok();
    refused(&[DROP_IN, "no signature was found"]);
    fs::write(DROP_IN, "description = \"signed\"\n").unwrap();
    systemctl(["daemon-reload"]).ok();
    signer.sign(DROP_IN);
    pod.start();
    assert_eq!(pod.show("Description"), "signed");
    pod.systemctl("stop").ok();
    // A name that may come to mean another image is no part of what was signed.
    pod.write(&text.replace(&format!("@{id}"), ""));
    signer.sign(FILE);
    refused(&["example.com/signed:1.0", "without a digest"]);
}
