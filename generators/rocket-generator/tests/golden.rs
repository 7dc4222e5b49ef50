//! The generator as systemd runs it: directories in, directories out.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const GENERATOR: &str = env!("CARGO_BIN_EXE_rocket-generator");

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn generate(dirs: &[PathBuf], out: &Path) -> Output {
    Command::new(GENERATOR)
        .env("ROCKET_POD_FILE_PATH", std::env::join_paths(dirs).unwrap())
        .env("ROCKET_UNIT_PATH", golden().join("in/units"))
        .env_remove("SYSTEMD_SCOPE")
        .args([out, out, out])
        .output()
        .unwrap()
}

fn tree(dir: &Path) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if entry.file_type().unwrap().is_dir() {
            let below = tree(&entry.path());
            files.extend(below.into_iter().map(|(path, text)| (format!("{name}/{path}"), text)));
        } else {
            files.insert(name, fs::read_to_string(entry.path()).unwrap());
        }
    }
    files
}

/// With ROCKET_BLESS=1 the expected output is written instead; look at the difference then.
#[test]
fn drop_ins_are_as_expected() {
    let dirs = ["etc", "run", "usr"].map(|dir| golden().join("in").join(dir));
    let out = tempfile::tempdir().unwrap();
    let first = generate(&dirs, out.path());
    assert!(first.status.success());
    let talk = String::from_utf8(first.stderr).unwrap();
    assert!(talk.contains("broken.toml:3:1: unknown key"), "{talk}");

    let input = golden().join("in").display().to_string();
    let found: BTreeMap<_, _> = tree(out.path())
        .into_iter()
        .map(|(path, text)| (path, text.replace(&input, "@IN@").replace(GENERATOR, "@SELF@")))
        .collect();
    let expected = golden().join("out");
    if std::env::var_os("ROCKET_BLESS").is_some() {
        let _ = fs::remove_dir_all(&expected);
        for (path, text) in &found {
            fs::create_dir_all(expected.join(path).parent().unwrap()).unwrap();
            fs::write(expected.join(path), text).unwrap();
        }
    }
    assert_eq!(found, tree(&expected));

    // The same again over what is there, byte for byte, and one argument is enough.
    generate(&dirs, out.path());
    let once_more = tempfile::tempdir().unwrap();
    Command::new(GENERATOR)
        .env("ROCKET_POD_FILE_PATH", std::env::join_paths(&dirs).unwrap())
        .env("ROCKET_UNIT_PATH", golden().join("in/units"))
        .arg(once_more.path())
        .output()
        .unwrap();
    assert_eq!(tree(out.path()), tree(once_more.path()));
}

#[test]
fn nothing_makes_it_fail() {
    let dir = tempfile::tempdir().unwrap();
    let pods = dir.path().join("pods");
    fs::create_dir(&pods).unwrap();
    fs::write(pods.join("binary.toml"), [0xff, 0xfe, 0, 1]).unwrap();
    fs::write(pods.join("nul.toml"), "description = \"\\u0000\"").unwrap();
    fs::create_dir(pods.join("directory.toml")).unwrap();
    symlink("loop.toml", pods.join("loop.toml")).unwrap();
    symlink("/dev/null", pods.join("null.toml")).unwrap();
    symlink("/dev/zero", pods.join("zero.toml")).unwrap();
    let out = dir.path().join("out");
    fs::create_dir(&out).unwrap();
    let dirs = [dir.path().join("absent"), pods];
    let run = generate(&dirs, &out);
    assert!(run.status.success(), "{run:?}");
    let files = tree(&out);
    let names: Vec<_> = files.keys().map(|path| path.split('.').next().unwrap()).collect();
    assert_eq!(
        names,
        ["rocket@binary", "rocket@directory", "rocket@loop", "rocket@nul", "rocket@zero"]
    );
    for text in files.values() {
        assert!(text.contains("ExecStart=\nExecStart=") && text.contains(" --fail "), "{text}");
        assert!(text.contains("\nRestart=no\n"), "{text}");
    }
    for arguments in [&[][..], &["/no/such/directory"], &["/proc"], &["a", "b", "c", "d"]] {
        let run = Command::new(GENERATOR)
            .current_dir(dir.path())
            .env("ROCKET_POD_FILE_PATH", std::env::join_paths(&dirs).unwrap())
            .args(arguments)
            .output()
            .unwrap();
        assert!(run.status.success(), "{arguments:?}: {run:?}");
    }
}

#[test]
fn pods_of_users_say_that_they_are_not_supported_yet() {
    let dir = tempfile::tempdir().unwrap();
    let (pods, out) = (dir.path().join("rocket/pods"), dir.path().join("out"));
    fs::create_dir_all(&pods).unwrap();
    fs::create_dir(&out).unwrap();
    fs::write(pods.join("right.toml"), "network = \"none\"\n[app.a]\nimage = \"b\"\n").unwrap();
    fs::write(pods.join("wrong.toml"), "network = \"nowhere\"\n[app.a]\nimage = \"b\"\n").unwrap();
    fs::write(pods.join("masked.toml"), "").unwrap();
    let run = Command::new(GENERATOR)
        .env("XDG_CONFIG_HOME", dir.path())
        .env_remove("ROCKET_POD_FILE_PATH")
        .env("SYSTEMD_SCOPE", "user")
        .arg(&out)
        .output()
        .unwrap();
    assert!(run.status.success(), "{run:?}");
    let units = tree(&out);
    let names: Vec<&str> = units.keys().map(String::as_str).collect();
    assert_eq!(names, ["rocket@right.service", "rocket@wrong.service"]);
    let right = &units["rocket@right.service"];
    assert!(right.contains("right.toml:1:1: pods of users are not supported"), "{right}");
    assert!(right.ends_with("Type=oneshot\n") && right.contains(" --fail "), "{right}");
    assert!(units["rocket@wrong.service"].contains("wrong.toml:1:11: "), "{units:?}");
}

#[test]
fn two_at_once_never_garble() {
    let dir = tempfile::tempdir().unwrap();
    let (pods, out) = (dir.path().join("pods"), dir.path().join("out"));
    fs::create_dir(&pods).unwrap();
    fs::create_dir(&out).unwrap();
    let text = fs::read_to_string(golden().join("in/etc/blog.toml")).unwrap();
    for i in 0..50 {
        fs::write(pods.join(format!("blog-{i}.toml")), &text).unwrap();
    }
    generate(std::slice::from_ref(&pods), &out);
    let alone = tree(&out);
    let mut running: Vec<_> = (0..8)
        .map(|_| {
            Command::new(GENERATOR).env("ROCKET_POD_FILE_PATH", &pods).arg(&out).spawn().unwrap()
        })
        .collect();
    // A reader in the middle of it sees whole files only.
    while running.iter_mut().any(|child| child.try_wait().unwrap().is_none()) {
        for (path, text) in &alone {
            assert_eq!(&fs::read_to_string(out.join(path)).unwrap(), text, "{path}");
        }
    }
    assert_eq!(tree(&out), alone, "and nothing is left beside");
}

#[test]
fn fail_says_what_is_wrong_and_ends_with_78() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
    let run = Command::new(GENERATOR)
        .env("NOTIFY_SOCKET", &path)
        .args(["--fail", "x.toml:1:2: one", "x.toml:3:4: two"])
        .output()
        .unwrap();
    assert_eq!(run.status.code(), Some(78));
    assert_eq!(String::from_utf8(run.stderr).unwrap(), "<3>x.toml:1:2: one\n<3>x.toml:3:4: two\n");
    let mut buffer = [0; 256];
    let length = socket.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"STATUS=x.toml:1:2: one");
}

#[test]
fn a_directory_that_cannot_be_read_takes_nothing_from_the_others() {
    let host = tempfile::tempdir().unwrap();
    let (good, circle) = (host.path().join("good"), host.path().join("circle"));
    std::fs::create_dir(&good).unwrap();
    std::fs::write(good.join("web.toml"), format!("{SMALLEST}[limits]\ntasks-max = 55\n")).unwrap();
    std::os::unix::fs::symlink("circle", &circle).unwrap();
    let out = tempfile::tempdir().unwrap();
    let output = generate(&[circle.clone(), good], out.path());
    assert!(output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(&format!("cannot read {}", circle.display())), "{said}");
    assert!(said.contains("symbolic link"), "{said}");
    let text: String = tree(out.path()).into_values().collect();
    assert!(text.contains("TasksMax=55"), "{text}");
}

#[test]
fn a_template_that_names_ever_more_instances_comes_to_an_end() {
    let dir = tempfile::tempdir().unwrap();
    let more = "[unit]\nafter = [\"pod:w@%ia\", \"pod:w@%ib\"]\n";
    std::fs::write(dir.path().join("w@.toml"), format!("{SMALLEST}{more}")).unwrap();
    let first = "[unit]\nafter = [\"pod:w@s\"]\n";
    std::fs::write(dir.path().join("first.toml"), format!("{SMALLEST}{first}")).unwrap();
    let out = tempfile::tempdir().unwrap();
    let output = generate(&[dir.path().to_owned()], out.path());
    assert!(output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("may name 4096 instances"), "{said}");
    let made = std::fs::read_dir(out.path()).unwrap().count();
    assert!((4097..4200).contains(&made), "{made}");
}

/// A pod file with what every pod must have.
const SMALLEST: &str = "version = 1\nnetwork = \"none\"\n[app.a]\nimage = \"example.com/a:1\"\n";
