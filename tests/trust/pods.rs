//! Signed pod files: what starts, what does not, and that lint says so beforehand.

use crate::setup::Setup;

const RULE: &str = "pods = \"signed\"\n";

/// A host with an image in its store, and a pod file that names it by its digest.
struct Host {
    setup: Setup,
    file: String,
    pinned: String,
}

impl Host {
    fn new() -> Self {
        let setup = Setup::new();
        let image = setup.pack("example.com/app", "app.aci", &[]);
        setup.rocket(&["fetch", "--insecure-options=image", &image]).ok();
        setup.rocket(&["trust", "accept", "example.com/app"]).ok();
        let pinned = format!("example.com/app@{}", setup.stored()[0]);
        let file = setup.text("web.toml");
        let host = Self { setup, file, pinned };
        host.write(&host.pinned);
        for key in ["a", "b"] {
            host.setup.desk.minisign_key(key);
        }
        host
    }

    fn write(&self, image: &str) {
        let text = format!("network = \"none\"\n[app.a]\nimage = \"{image}\"\n");
        std::fs::write(&self.file, text).unwrap();
    }

    fn sign(&self, key: &str) {
        let key = format!("{key}.key");
        self.setup.desk.run("minisign", &["-S", "-s", &key, "-m", "web.toml"]);
    }

    /// What a start and lint both say.
    #[track_caller]
    fn refuses(&self, words: &[&str], rule: &str) {
        let prepare = self.setup.rocket(&["prepare", "-f", &self.file]).ends_with(125);
        prepare.says(words).says(&["10-test.toml", "pods = \"signed\""]);
        let lint = self.setup.rocket(&["lint", "--format=json", &self.file]).ends_with(1);
        let found: serde_json::Value = serde_json::from_str(&lint.stdout).unwrap();
        let found = found.as_array().unwrap();
        assert_eq!(found.len(), 1, "{found:#?}");
        assert_eq!((&found[0]["rule"], &found[0]["severity"]), (&rule.into(), &"error".into()));
        let told = format!("{} {}", found[0]["message"], found[0]["hint"]).replace('\\', "");
        assert!(words.iter().all(|word| told.contains(word)), "{words:?}: {told}");
    }

    #[track_caller]
    fn takes(&self) {
        let uuid = self.setup.rocket(&["prepare", "-f", &self.file]).ok().text().to_owned();
        self.setup.rocket(&["rm", &uuid]).ok();
        let lint = self.setup.rocket(&["lint", "--strict", &self.file]).ok();
        assert_eq!(lint.stdout, "");
    }
}

#[test]
fn only_pod_files_that_a_key_for_every_name_has_signed_start() {
    let host = Host::new();
    host.takes();
    host.setup.rules(RULE);
    let signature = "pod-file-signature";
    host.refuses(&["web.toml", "no signature was found", "minisign -S -m"], signature);
    host.sign("a");
    host.refuses(&["which this host does not have", "rocket trust add --root KEY"], signature);
    // For some names is not enough, and the key that is for these only is named.
    host.setup.trust("a.pub", Some("example.com"));
    host.refuses(&["trusts for example.com only", "rocket trust add --root"], signature);
    host.setup.trust("a.pub", None);
    host.takes();
    // Not a byte may be another one.
    let text = std::fs::read_to_string(&host.file).unwrap();
    std::fs::write(&host.file, format!("{text}\n")).unwrap();
    host.refuses(&["its minisign signature is no good", "signed anew"], signature);
    std::fs::write(&host.file, text).unwrap();
    host.takes();
    // A key that is taken away counts no more.
    host.setup.distrust();
    host.refuses(&["which this host does not have"], signature);
    host.setup.trust("b.pub", None);
    host.refuses(&["which this host does not have"], signature);
    host.sign("b");
    host.takes();
    // What lies there and is no signature is not none.
    std::fs::write(host.setup.path("web.toml.asc"), "hello\n").unwrap();
    std::fs::remove_file(host.setup.path("web.toml.minisig")).unwrap();
    host.refuses(&["its openpgp signature is no good"], signature);
    std::fs::remove_file(host.setup.path("web.toml.asc")).unwrap();
    std::fs::create_dir(host.setup.path("web.toml.minisig")).unwrap();
    host.refuses(&["its signatures cannot be checked", "not a regular file"], signature);
}

#[test]
fn openpgp_signs_pod_files_too() {
    let host = Host::new();
    host.setup.rules(RULE);
    let armored = host.setup.desk.gpg_key("maker@example.com", &[]);
    std::fs::write(host.setup.path("maker.pub"), armored.data).unwrap();
    host.setup.trust("maker.pub", None);
    host.setup.desk.gpg(&["-u", "maker@example.com", "--armor", "--detach-sign", "web.toml"]);
    host.takes();
}

#[test]
fn images_of_signed_pod_files_are_named_by_digest() {
    let host = Host::new();
    host.setup.rules(RULE);
    host.setup.trust("a.pub", None);
    for image in ["example.com/app", "docker://example.com/app:1"] {
        host.write(image);
        host.sign("a");
        let prepare = host.setup.rocket(&["prepare", "-f", &host.file]).ends_with(125);
        prepare.says(&[image, "without a digest", "10-test.toml", "NAME@DIGEST"]);
        let lint = host.setup.rocket(&["lint", &host.file]).ends_with(1);
        let expected = format!("web.toml:3:9: error: {image} names no digest");
        assert!(lint.stdout.contains(&expected), "{lint}");
    }
    host.write(&host.pinned);
    host.sign("a");
    host.takes();
}

#[test]
fn without_the_rule_a_signature_that_does_not_count_is_a_warning() {
    let host = Host::new();
    host.sign("a");
    let lint = host.setup.rocket(&["lint", &host.file]).ok();
    let expected = "web.toml:1:1: warning: the signature of the file does not count: it is signed \
                    by the minisign key";
    assert!(lint.stdout.contains(expected), "{lint}");
    host.setup.rocket(&["prepare", "-f", &host.file]).ok();
    host.setup.trust("a.pub", None);
    host.takes();
    // Nobody is asked about a pod that has no file.
    host.setup.rules(RULE);
    host.setup.rocket(&["prepare", "example.com/app"]).ok();
}
