//! Keys and signatures of the real `minisign` and `gpg`, as this host's trust directories see them.

use crate::desk::Desk;
use rocket::image::trust::ring::directory_name;
use rocket::image::trust::{
    Finding, Ground, Key, KeyError, Kind, Refusal, Ring, Rule, Scope, Signature, decide,
};
use std::path::Path;
use std::process::Command;

/// A trust directory with these keys, read back.
fn ring(dir: &Path, keys: &[(&str, Option<&str>, &[u8])]) -> Ring {
    for (name, prefix, bytes) in keys {
        let place = match prefix {
            Some(prefix) => dir.join("prefix.d").join(directory_name(prefix)),
            None => dir.join("root.d"),
        };
        std::fs::create_dir_all(&place).unwrap();
        std::fs::write(place.join(name), bytes).unwrap();
    }
    let (ring, problems) = Ring::load(&[dir.to_owned()]);
    assert!(problems.is_empty(), "{problems:?}");
    ring
}

fn outcome(name: &str, findings: &[Finding], ring: &Ring) -> Result<Ground, Refusal> {
    decide(name, findings, Default::default(), ring, Rule::built_in()).outcome
}

#[test]
fn the_steps_from_unsigned_to_a_root_key_with_either_program() {
    let desk = Desk::new();
    let (mine, other) = (desk.minisign_key("mine"), desk.minisign_key("other"));
    let (pgp, stranger) =
        (desk.gpg_key("Mine <m@a.test>", &[]), desk.gpg_key("Other <o@a.test>", &[]));
    let by_minisign = desk.minisign("mine", &[]);
    let by_gpg = desk.gpg_sign("m@a.test", &["--armor"]);
    for (signature, key, wrong) in [(by_minisign, mine, other), (by_gpg, pgp, stranger)] {
        let name = "example.com/etc";
        let dir = tempfile::tempdir().unwrap();
        let check = |image: &str, place: &str, keys: &[(&str, Option<&str>, &[u8])]| {
            let ring = ring(&dir.path().join(place), keys);
            outcome(image, &desk.findings(std::slice::from_ref(&signature), &ring), &ring)
        };
        assert_eq!(outcome(name, &[], &Ring::default()), Err(Refusal::Missing));
        assert!(matches!(check(name, "none", &[]), Err(Refusal::NoKey { .. })));
        let elsewhere = check(name, "elsewhere", &[("k", Some("example.com/other"), &key.data)]);
        assert!(matches!(elsewhere, Err(Refusal::Elsewhere { .. })), "{elsewhere:?}");
        let different = check(name, "different", &[("k", Some(name), &wrong.data)]);
        assert!(matches!(different, Err(Refusal::NoKey { .. })), "{different:?}");
        let right: [(&str, Option<&str>, &[u8]); 1] = [("k", Some(name), &key.data)];
        let Ok(Ground::Signed(vouchers)) = check(name, "right", &right) else { panic!() };
        assert_eq!(vouchers[0].fingerprint, key.fingerprint);
        assert_eq!(vouchers[0].scope, Scope::prefix(name).unwrap());
        assert!(check("example.com/etcd", "right", &right).is_err());
        assert!(check("example.com/etcd", "root", &[("k", None, &key.data)]).is_ok());
    }
}

#[test]
fn changed_bytes_old_forms_and_rubbish() {
    let desk = Desk::new();
    let (mini, pgp) = (desk.minisign_key("mine"), desk.gpg_key("Mine <m@a.test>", &[]));
    let dir = tempfile::tempdir().unwrap();
    let ring = ring(dir.path(), &[("a", None, &mini.data), ("b", None, &pgp.data)]);
    let good = [
        desk.minisign("mine", &[]),
        desk.minisign("mine", &["-l"]),
        desk.gpg_sign("m@a.test", &[]),
        desk.gpg_sign("m@a.test", &["--armor"]),
    ];
    for signature in &good {
        let found = desk.findings(std::slice::from_ref(signature), &ring);
        assert!(matches!(found.as_slice(), [Finding::Good { .. }]), "{found:?}");
        let cut = Signature { bytes: signature.bytes[..30].to_vec(), ..signature.clone() };
        let found = desk.findings(&[cut], &ring);
        assert!(matches!(found.as_slice(), [Finding::Bad { .. }]), "{found:?}");
    }
    let weak = desk.gpg_sign("m@a.test", &["--digest-algo", "SHA1", "--allow-weak-digest-algos"]);
    let text = desk.gpg_sign("m@a.test", &["--textmode"]);
    for signature in [weak, text] {
        let found = desk.findings(&[signature], &ring);
        assert!(matches!(found.as_slice(), [Finding::Bad { .. }]), "{found:?}");
    }
    // The comment that minisign signs as well.
    let mut told = good[0].clone();
    let text = String::from_utf8(told.bytes).unwrap();
    told.bytes = text.replacen("trusted comment: ", "trusted comment: a", 2).into_bytes();
    assert!(matches!(desk.findings(&[told], &ring).as_slice(), [Finding::Bad { .. }]));
    let mut bytes = desk.read("image");
    bytes[50_000] ^= 1;
    std::fs::write(desk.path("image"), bytes).unwrap();
    let found = desk.findings(&good, &ring);
    assert_eq!(found.len(), 4);
    assert!(found.iter().all(|f| matches!(f, Finding::Bad { .. })), "{found:?}");
}

#[test]
fn expired_and_revoked_keys_sign_nothing() {
    let desk = Desk::new();
    let old = ["--faked-system-time", "20200101T000000"];
    let expired = desk.gpg_key("Old <old@a.test>", &old);
    let by_expired = desk.gpg_sign("old@a.test", &old);
    let live = desk.gpg_key("Live <live@a.test>", &[]);
    let by_revoked = desk.gpg_sign("live@a.test", &[]);
    let home = desk.path(&format!("gnupg/openpgp-revocs.d/{}.rev", live.fingerprint));
    // A colon keeps it from being imported by mistake.
    let revocation = std::fs::read_to_string(home).unwrap().replace(":-----BEGIN", "-----BEGIN");
    std::fs::write(desk.path("revocation"), revocation).unwrap();
    desk.gpg(&["--import", "revocation"]);
    let revoked = desk.export("live@a.test");
    assert_eq!(revoked.fingerprint, live.fingerprint);
    let dir = tempfile::tempdir().unwrap();
    let ring = ring(dir.path(), &[("a", None, &expired.data), ("b", None, &revoked.data)]);
    for (signature, words) in [(by_expired, "expired"), (by_revoked, "revoked")] {
        match desk.findings(&[signature], &ring).as_slice() {
            [Finding::Bad { why, .. }] => assert!(why.contains(words), "{why}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn fingerprints_are_those_that_the_programs_show() {
    let desk = Desk::new();
    let (mini, pgp) = (desk.minisign_key("mine"), desk.gpg_key("Mine <m@a.test>", &[]));
    let shown =
        String::from_utf8(desk.gpg(&["--with-colons", "--fingerprint", "m@a.test"])).unwrap();
    let fingerprint = shown.lines().find_map(|line| line.strip_prefix("fpr:::::::::")).unwrap();
    assert_eq!(fingerprint.trim_end_matches(':'), pgp.fingerprint);
    let spaced: Vec<String> = pgp
        .fingerprint
        .as_bytes()
        .chunks(4)
        .map(|c| String::from_utf8_lossy(c).to_lowercase())
        .collect();
    assert!(pgp.is_called(&spaced.join(" ")) && !pgp.is_called(&pgp.fingerprint[24..]));
    let text = String::from_utf8(desk.read("mine.pub")).unwrap();
    assert_eq!(text.lines().nth(1), Some(mini.fingerprint.as_str()));
    assert!(mini.is_called(&mini.fingerprint) && !mini.is_called(&mini.fingerprint.to_lowercase()));
    // The same key without its armor; two keys; secret ones.
    assert_eq!(Key::parse(&desk.gpg(&["--export", "m@a.test"])).unwrap(), pgp);
    desk.gpg_key("Other <o@a.test>", &[]);
    assert_eq!(Key::parse(&desk.gpg(&["--export"])), Err(KeyError::Several(2)));
    for secret in [desk.gpg(&["--export-secret-keys", "m@a.test"]), desk.read("mine.key")] {
        assert_eq!(Key::parse(&secret), Err(KeyError::Secret));
    }
    desk.run("openssl", &["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "ec"]);
    assert_eq!(Key::parse(&desk.read("ec")), Err(KeyError::Secret));
    let public = desk.run("openssl", &["ec", "-in", "ec", "-pubout"]);
    assert_eq!(Key::parse(&public).unwrap().kind, Kind::Cosign);
    let rsa = desk.run("openssl", &["genrsa", "-out", "rsa", "2048"]);
    drop(rsa);
    let rsa = desk.run("openssl", &["rsa", "-in", "rsa", "-pubout"]);
    assert!(matches!(Key::parse(&rsa), Err(KeyError::Damaged(Kind::Cosign, _))));
    // Whatever is in a file: an answer.
    for (bytes, step) in [(pgp.data, 1), (mini.data, 1), (public, 1)] {
        for end in (0..bytes.len()).step_by(step) {
            drop(Key::parse(&bytes[..end]));
            let mut flipped = bytes.clone();
            flipped[end] ^= 0x40;
            drop(Key::parse(&flipped));
        }
    }
}

#[test]
fn the_administrator_masks_what_a_vendor_ships() {
    let desk = Desk::new();
    let key = desk.minisign_key("mine");
    let root = tempfile::tempdir().unwrap();
    let (vendor, local) = (root.path().join("usr"), root.path().join("etc"));
    ring(&vendor, &[("v", Some("example.com/a"), &key.data), ("w", None, &key.data)]);
    let load = || Ring::load(&[vendor.clone(), local.clone()]);
    assert_eq!(load().0.for_name("example.com/a/b").len(), 2);
    let place = local.join("prefix.d/example.com%2Fa");
    std::fs::create_dir_all(&place).unwrap();
    std::fs::write(place.join("v"), "").unwrap();
    let (masked, problems) = load();
    assert_eq!((masked.for_name("example.com/a/b").len(), problems.len()), (1, 0));
    // What is broken is named, and takes nothing else with it.
    std::fs::write(place.join("broken"), "no key").unwrap();
    std::fs::create_dir_all(local.join("prefix.d/Not A Name")).unwrap();
    let (ring, problems) = load();
    assert_eq!((ring.entries().len(), problems.len()), (1, 2));
    let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert!(
        said[0].contains("Not A Name") && said[1].contains("broken: it is no public key"),
        "{said:?}"
    );
}

/// The program, with a configuration of its own.
fn rocket(config: &Path, args: &[&str]) -> (bool, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_rocket"))
        .args(args)
        .env("ROCKET_CONFIG_DIR", config)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

#[test]
fn keys_are_added_listed_and_removed() {
    let desk = Desk::new();
    let (mini, pgp) = (desk.minisign_key("mine"), desk.gpg_key("Mine <m@a.test>", &[]));
    let armored = desk.gpg(&["--armor", "--export", "m@a.test"]);
    std::fs::write(desk.path("mine.asc"), armored).unwrap();
    let root = tempfile::tempdir().unwrap();
    let config = root.path().join("etc");
    let run = |args: &[&str]| rocket(&config, args);
    let file = |name: &str| desk.path(name).display().to_string();
    let listed =
        || serde_json::from_str::<serde_json::Value>(&run(&["trust", "list", "--format=json"]).1);
    assert_eq!(listed().unwrap(), serde_json::json!([]));
    // Nothing is trusted by half an answer.
    for (args, words) in [
        (&["trust", "add", &file("mine.pub")][..], "--prefix"),
        (&["trust", "add", &file("mine.pub"), "--prefix", "Not/A"], "no prefix"),
        (&["trust", "add", &file("mine.key"), "--root"], "secret key"),
        (&["trust", "add", &file("missing"), "--root"], "cannot read"),
        (&["trust", "add", &file("image"), "--root"], "no public key"),
        (&["trust", "add", &file("mine.asc"), "--root", "--fingerprint", "0123"], "another key"),
    ] {
        let (ok, out, err) = run(args);
        assert!(!ok && out.is_empty() && err.contains(words), "{args:?}: {err}");
        assert!(!config.exists());
    }
    let (ok, out, err) = run(&["trust", "add", &file("mine.pub"), "--prefix", "example.com/etc"]);
    assert!(ok && out.trim() == mini.fingerprint && err.contains("example.com/etc"), "{err}");
    let args = ["trust", "add", &file("mine.asc"), "--root", "--fingerprint", &pgp.fingerprint];
    assert!(run(&args).0);
    assert!(run(&args).2.contains("already"));
    let all = listed().unwrap();
    assert_eq!(all.as_array().unwrap().len(), 2);
    assert_eq!((&all[0]["kind"], &all[0]["prefix"]), (&"openpgp".into(), &serde_json::Value::Null));
    let (_, table, _) = run(&["trust", "list", "example.com/etcd"]);
    assert!(table.contains(&pgp.fingerprint) && !table.contains(&mini.fingerprint), "{table}");
    let (ring, problems) = Ring::load(&[config.join("trustedkeys")]);
    assert!(problems.is_empty());
    assert_eq!(
        ring.entries().iter().map(|e| e.key.clone()).collect::<Vec<_>>(),
        [pgp.clone(), mini]
    );
    assert!(!run(&["trust", "rm", "0123"]).0);
    assert!(!run(&["trust", "rm", &pgp.fingerprint, "--prefix", "example.com"]).0);
    assert!(run(&["trust", "rm", &pgp.fingerprint]).0);
    assert_eq!(listed().unwrap().as_array().unwrap().len(), 1);
}

#[test]
fn a_key_that_may_not_sign_has_signed_nothing() {
    let desk = Desk::new();
    desk.gpg_key("Usage <usage@a.test>", &[]);
    let signature = desk.gpg_sign("usage@a.test", &[]);
    let may = desk.export("usage@a.test");
    std::fs::write(desk.path("edit"), "change-usage\nS\nQ\nsave\n").unwrap();
    desk.gpg(&["--expert", "--command-file", "edit", "--edit-key", "usage@a.test"]);
    let may_not = desk.export("usage@a.test");
    assert_eq!(may.fingerprint, may_not.fingerprint);
    assert_ne!(may.data, may_not.data);
    for (place, key, good) in [("may", &may, true), ("may-not", &may_not, false)] {
        let dir = tempfile::tempdir().unwrap();
        let ring = ring(dir.path(), &[("a", None, &key.data)]);
        let found = desk.findings(std::slice::from_ref(&signature), &ring);
        let is_good = found.iter().any(|finding| matches!(finding, Finding::Good { .. }));
        assert_eq!(is_good, good, "{place}: {found:?}");
    }
}
