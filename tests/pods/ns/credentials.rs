//! Credentials from where they are kept to the app that may read them, and nowhere else.

use rocket_testkit::unit::{Pod, systemctl};
use rocket_testkit::{Done, image, require_bed, rocket, run, wait_until};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Files that go when the test ends.
struct Files(Vec<PathBuf>);

impl Files {
    fn add(&mut self, path: &str, bytes: &[u8]) {
        let path = PathBuf::from(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        self.0.push(path);
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        for path in &self.0 {
            drop(fs::remove_file(path));
        }
    }
}

/// Every file below `dir` that has `text` in it; pipes and sockets are not read.
fn files_with(dir: &Path, text: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            files_with(&entry.path(), text, found);
        } else if kind.is_file() {
            let bytes = fs::read(entry.path()).unwrap_or_default();
            if bytes.windows(text.len()).any(|window| window == text.as_bytes()) {
                found.push(entry.path());
            }
        }
    }
}

/// Nothing that rocket or systemd keeps or says about any pod has `secret` in it.
#[track_caller]
fn is_nowhere(secret: &str) {
    let mut found = Vec::new();
    files_with(Path::new("/var/lib/rocket/pods"), secret, &mut found);
    assert_eq!(found, Vec::<PathBuf>::new(), "{secret}");
    run("journalctl", ["--sync"]).ok();
    let journal = run("journalctl", ["--boot", "--all", "--output=export"]);
    assert!(!journal.stdout.contains(secret), "{secret} is in the journal");
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(line) = fs::read(entry.path().join("cmdline")) else { continue };
        let line = String::from_utf8_lossy(&line).into_owned();
        assert!(!line.contains(secret), "{}: {line}", entry.path().display());
    }
}

/// Three apps; `TAG` is the test's own.
const APPS: &str = "network = \"none\"\n\
    [app.one]\nimage = \"example.com/creds:1.0\"\nuser = \"7\"\ngroup = \"8\"\n\
    credentials = [\"from-path\", \"from-store\", \"from-file\"]\n\
    exec = [\"/bin/sh\", \"-c\", 'cd $CREDENTIALS_DIRECTORY; pwd; sha256sum *; stat -c \"%a %u %g\" . *; \
    test -e /run/credentials/two && echo leak; while :; do sleep 0.1; done']\n\
    [app.two]\nimage = \"example.com/creds:1.0\"\nafter = [\"one\"]\ncredentials = [\"from-path\"]\n\
    exec = [\"/bin/sh\", \"-c\", 'ls /run/credentials /run/credentials/two; while :; do sleep 0.1; done']\n\
    [app.three]\nimage = \"example.com/creds:1.0\"\nafter = [\"two\"]\n\
    exec = [\"/bin/sh\", \"-c\", 'ls /run/credentials 2>/dev/null; echo three ${CREDENTIALS_DIRECTORY-has none}; \
    while :; do sleep 0.1; done']\n\
    [credentials]\nfrom-path = { load = \"/etc/creds-TAG/path\" }\n\
    from-store = { load = \"creds-TAG.stored\" }\nfrom-file = { set = \"in the pod file 3r7\" }\n";

fn world(tag: &str) -> (Files, String) {
    image::add_busybox("example.com/creds:1.0", &["/bin/sh"]);
    let mut files = Files(Vec::new());
    files.add(&format!("/etc/creds-{tag}/path"), b"secret-of-a-path-9k2");
    files.add(&format!("/etc/credstore/creds-{tag}.stored"), b"secret-of-a-store-8m4");
    (files, APPS.replace("TAG", tag))
}

/// What `sha256sum` says of the three.
fn sums() -> Vec<String> {
    let sum = |name: &str, bytes: &[u8]| {
        let path = std::env::temp_dir().join(format!("creds-sum-{}", std::process::id()));
        fs::write(&path, bytes).unwrap();
        let done = run("sha256sum", [path.to_str().unwrap()]).ok();
        fs::remove_file(&path).unwrap();
        format!("{}  {name}", done.stdout.split_ascii_whitespace().next().unwrap())
    };
    vec![
        sum("from-file", b"in the pod file 3r7"),
        sum("from-path", b"secret-of-a-path-9k2"),
        sum("from-store", b"secret-of-a-store-8m4"),
    ]
}

#[test]
fn alone_a_units_credentials_reach_the_apps_that_name_them_and_nobody_else() {
    require_bed("ns");
    let (_files, apps) = world("unit");
    let pod = Pod::new("creds", &apps);
    pod.start();
    pod.wait_for_line("three has none");
    let lines = |app: &str| -> Vec<String> {
        let of_app = |entry: &serde_json::Value| entry["SYSLOG_IDENTIFIER"] == app;
        let entries = pod.journal().into_iter().filter(of_app);
        entries.map(|entry| entry["MESSAGE"].as_str().unwrap().to_owned()).collect()
    };
    let mut expected = vec!["/run/credentials/one".to_owned()];
    expected.extend(sums());
    expected.push("500 7 8".to_owned());
    expected.extend(["400 7 8"; 3].map(str::to_owned));
    wait_until("what app one has", 20, || lines("one").len() >= expected.len());
    assert_eq!(lines("one"), expected);
    assert_eq!(lines("two"), ["/run/credentials:", "two", "/run/credentials/two:", "from-path"]);
    assert_eq!(lines("three"), ["three has none"]);

    // A restart of the app finds the same, though what it was loaded from has gone.
    fs::remove_file("/etc/creds-unit/path").unwrap();
    rocket(["restart", "creds/one"]).ok();
    wait_until("the same again", 20, || lines("one").len() >= 2 * expected.len());
    assert_eq!(lines("one")[expected.len()..], expected);
    // Who enters has those of the app.
    let script = "cat $CREDENTIALS_DIRECTORY/from-path | sha256sum; id -u";
    let done = rocket(["enter", "creds/one", "--", "/bin/sh", "-c", script]).ok();
    assert_eq!(done.stdout, sums()[1].replace("from-path", "-\n7\n"), "{done}");
    let done = rocket(["enter", "creds/three", "--", "/bin/sh", "-c", "ls /run/credentials"]);
    assert_ne!(done.code(), 0, "{done}");

    // Names are told, contents are not.
    for words in [["status", "creds"], ["explain", "creds"], ["cat-manifest", "creds"]] {
        let done = rocket(words).ok();
        assert!(done.stdout.contains("from-store"), "{done}");
        assert!(!done.stdout.contains("secret-of") && !done.stdout.contains("3r7"), "{done}");
    }
    for secret in ["secret-of-a-path-9k2", "secret-of-a-store-8m4"] {
        is_nowhere(secret);
    }
    // What is in the pod file is in the unit, but not in the pod's directory either.
    let mut found = Vec::new();
    files_with(Path::new("/var/lib/rocket/pods"), "3r7", &mut found);
    assert_eq!(found, Vec::<PathBuf>::new());
    assert_eq!(systemctl(["stop", &pod.unit()]).code(), 0);
}

#[test]
fn without_a_unit_they_are_read_in_the_same_places_when_the_pod_starts() {
    require_bed("ns");
    let (mut files, apps) = world("shell");
    let text = apps.replace("while :; do sleep 0.1; done", "true");
    files.add("/etc/creds-shell/shell.toml", text.as_bytes());
    let file = "/etc/creds-shell/shell.toml";
    let check = |done: Done| {
        let done = done.ok();
        for line in sums() {
            assert!(done.stdout.contains(&line), "{line}: {done}");
        }
        assert!(done.stdout.contains("three has none"), "{done}");
    };
    check(rocket(["run", "--rm", "-f", file]));
    check(rocket(["run", "--rm", "--cgroup=none", "-f", file]));
    // Read at the start: what was prepared holds nothing of them.
    let prepare = || rocket(["prepare", "-f", file]).ok().text().to_owned();
    let uuid = prepare();
    for secret in ["secret-of-a-path-9k2", "secret-of-a-store-8m4"] {
        is_nowhere(secret);
    }
    check(rocket(["run-prepared", "--rm", &uuid]));
    // The pod file has changed since: its text may be another now.
    let uuid = prepare();
    fs::write(file, text.replace("3r7", "3r8")).unwrap();
    let done = rocket(["run-prepared", &uuid]);
    assert_eq!(done.code(), 125, "{done}");
    assert!(done.stderr.contains("\"from-file\" is written in the pod file"), "{done}");
    fs::write(file, text).unwrap();
    check(rocket(["run-prepared", "--rm", &uuid]));
    // What is missing is said by name, and the pod stays prepared.
    let uuid = prepare();
    fs::remove_file("/etc/creds-shell/path").unwrap();
    let done = rocket(["run-prepared", &uuid]);
    assert_eq!(done.code(), 125, "{done}");
    assert!(done.stderr.contains("\"from-path\": cannot read /etc/creds-shell/path"), "{done}");
    rocket(["rm", &uuid]).ok();
    fs::remove_file("/etc/credstore/creds-shell.stored").unwrap();
    fs::write("/etc/creds-shell/path", "x").unwrap();
    let done = rocket(["run", "--rm", "-f", file]);
    assert_eq!(done.code(), 125, "{done}");
    assert!(done.stderr.contains("there is no creds-shell.stored in"), "{done}");
}

#[test]
fn a_unit_without_a_credential_says_which_and_does_not_start() {
    require_bed("ns");
    image::add_busybox("example.com/creds:1.0", &["/bin/sh"]);
    let text = "network = \"none\"\n[app.main]\nimage = \"example.com/creds:1.0\"\n\
                exec = [\"/bin/sh\", \"-c\", \"echo ran\"]\ncredentials = [\"key\"]\n\
                [unit]\nrestart = \"no\"\n[credentials]\nkey = { load = \"creds-test.nowhere\" }\n";
    let pod = Pod::new("creds-missing", text);
    assert_ne!(pod.systemctl("start").code(), 0);
    let journal = pod.journal();
    let told = |entry: &serde_json::Value| {
        entry["MESSAGE"].as_str().is_some_and(|text| text.contains("credential \"key\""))
    };
    assert!(journal.iter().any(told), "{journal:#?}");
    assert!(journal.iter().all(|entry| entry["MESSAGE"] != "ran"));
}

#[test]
fn an_encrypted_credential_is_decrypted_by_systemd_and_without_a_unit_by_systemd_creds() {
    require_bed("ns");
    let (mut files, _) = world("encrypted");
    files.add("/etc/creds-encrypted/plain", b"secret-that-was-encrypted-5x1");
    let encrypted = "/etc/creds-encrypted/encrypted";
    run("systemd-creds", ["setup"]).ok();
    let plain = "/etc/creds-encrypted/plain";
    run("systemd-creds", ["--with-key=host", "--name=key", "encrypt", plain, encrypted]).ok();
    files.0.push(encrypted.into());
    let text = format!(
        "network = \"none\"\n[app.main]\nimage = \"example.com/creds:1.0\"\nkind = \"oneshot\"\n\
         exec = [\"/bin/sh\", \"-c\", \"sha256sum < /run/credentials/main/key\"]\ncredentials = [\"key\"]\n\
         [credentials]\nkey = {{ load-encrypted = \"{encrypted}\" }}\n"
    );
    let sum = run("sha256sum", [plain]).ok().stdout.trim_end().replace(plain, "-");
    let pod = Pod::new("creds-encrypted", &text);
    pod.start();
    pod.wait_for_line(&sum);
    let done = rocket(["run", "--rm", "--pod=creds-encrypted"]).ok();
    assert_eq!(done.text(), sum);
    is_nowhere("secret-that-was-encrypted-5x1");
    // Encrypted for another name.
    let text = text.replace("key", "other");
    files.add("/etc/creds-encrypted/other.toml", text.as_bytes());
    let done = rocket(["run", "--rm", "-f", "/etc/creds-encrypted/other.toml"]);
    assert_eq!(done.code(), 125, "{done}");
    assert!(done.stderr.contains("systemd-creds does not decrypt it"), "{done}");
}
