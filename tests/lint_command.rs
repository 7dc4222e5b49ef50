//! `rocket lint` as a person or a continuous build calls it: no root, no systemd, nothing changed.

#![allow(clippy::unwrap_used)]

use rocket_testkit::{Command, Done};
use std::path::Path;
use tempfile::TempDir;

fn lint(dir: &TempDir, args: &[&str]) -> Done {
    Command::new(env!("CARGO_BIN_EXE_rocket"))
        .args(["lint"])
        .args(args)
        .env("ROCKET_STATE_DIR", dir.path().join("state"))
        .seconds(20)
        .run()
}

fn file(dir: &TempDir, name: &str, text: &str) -> String {
    let path = dir.path().join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

const GOOD: &str = "network = \"none\"\n[app.a]\nimage = \"example.com/a\"\n";

#[test]
fn every_error_has_its_place_and_the_exit_status_is_for_scripts() {
    let dir = tempfile::tempdir().unwrap();
    let bad =
        file(&dir, "bad.toml", "network = \"none\"\n[app.a]\nimgae = \"x\"\nrestart = \"maybe\"\n");
    let done = lint(&dir, &[&bad]);
    assert_eq!(done.code(), 1, "{done}");
    for expected in [
        format!("{bad}:3:1: error: unknown key \"imgae\" in [app.a] (did you mean \"image\"?)"),
        format!("{bad}:4:11: error: restart is one of"),
    ] {
        assert!(done.stdout.contains(&expected), "{expected} in {done}");
    }
    // The same words as a start has.
    let run = Command::new(env!("CARGO_BIN_EXE_rocket"))
        .args(["prepare", "-f", &bad])
        .env("ROCKET_STATE_DIR", dir.path().join("state"))
        .seconds(20)
        .run();
    assert!(run.stderr.contains("bad.toml:3:1: unknown key \"imgae\" in [app.a]"), "{run}");
}

#[test]
fn warnings_fail_only_when_that_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let good = file(&dir, "good.toml", GOOD);
    let done = lint(&dir, &[&good]);
    assert_eq!(done.code(), 0, "{done}");
    let expected = format!("{good}:3:9: warning: example.com/a is not in the store");
    assert!(done.stdout.starts_with(&expected), "{done}");
    assert!(done.stdout.contains("rocket fetch example.com/a"), "{done}");
    assert_eq!(lint(&dir, &["--strict", &good]).code(), 1);
    assert!(!dir.path().join("state").exists(), "lint only looks");
}

#[test]
fn programs_get_json() {
    let dir = tempfile::tempdir().unwrap();
    let good = file(&dir, "good.toml", GOOD);
    let circle = file(&dir, "circle.toml", &format!("{GOOD}[unit]\nafter = [\"pod:circle\"]\n"));
    let done = lint(&dir, &["--format=json", &good, &circle]);
    let list: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
    let rules: Vec<_> =
        list.as_array().unwrap().iter().map(|f| f["rule"].as_str().unwrap()).collect();
    assert!(rules.contains(&"image-missing") && rules.contains(&"dependency-circle"), "{list}");
    for finding in list.as_array().unwrap() {
        assert!(finding["line"].as_u64().unwrap() > 0 && finding["column"].as_u64().unwrap() > 0);
        assert!(Path::new(finding["file"].as_str().unwrap()).is_absolute());
        assert!(["error", "warning"].contains(&finding["severity"].as_str().unwrap()));
    }
    assert_eq!(done.code(), 1, "a circle is an error");
}

#[test]
fn what_is_not_there_is_not_clean() {
    let dir = tempfile::tempdir().unwrap();
    let done = lint(&dir, &["/no/such/pod.toml"]);
    assert_eq!(done.code(), 1, "{done}");
    assert!(done.stdout.contains("/no/such/pod.toml:1:1: error: cannot be read"), "{done}");
    assert_eq!(lint(&dir, &["no-such-pod"]).code(), 125);
    let template = file(&dir, "web@.toml", GOOD);
    // A template is looked at as what an instance of it would be, by name or where it lies.
    let done = lint(&dir, &[&template]);
    assert_eq!(done.code(), 0, "{done}");
    assert!(
        done.stdout.contains("web@.toml:3:9: warning: example.com/a is not in the store"),
        "{done}"
    );
}

#[test]
fn ports_that_cannot_both_be_had_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let pod = |name: &str, listen: &str, more: &str| {
        let text = format!(
            "{GOOD}[port.p]\napp = \"a\"\nport = 1\nactivation = true\nlisten = {listen}\n{more}"
        );
        file(&dir, name, &text)
    };
    for (one, other, more, clash) in [
        ("[\"[::]:7830\"]", "[\"0.0.0.0:7830\"]", "", true),
        ("[\"[::]:7830\"]", "[\"127.0.0.1:7830\"]", "", true),
        ("[\"[::]:7830\", \"0.0.0.0:7830\"]", "[\"7831\"]", "", false),
        ("[\"[::]:7830\", \"127.0.0.2:7830\"]", "[\"127.0.0.1:7830\"]", "", false),
        ("[\"7830\", \"0.0.0.0:7830\"]", "[\"7831\"]", "", true),
        ("[\"7830\"]", "[\"7830\"]", "protocol = \"udp\"\n", false),
        ("[\"/run//z.sock\"]", "[\"/run/z.sock\"]", "", true),
        ("[\"/run/z.sock\"]", "[\"/run/z.sock\"]", "protocol = \"udp\"\n", true),
        ("[\"127.0.0.1:7830\"]", "[\"127.0.0.2:7830\"]", "", false),
    ] {
        let done = lint(&dir, &[&pod("one.toml", one, ""), &pod("two.toml", other, more)]);
        assert_eq!(
            done.stdout.contains("only one of them gets it"),
            clash,
            "{one} {other}: {done}"
        );
    }
}

#[test]
fn one_word_that_is_wrong_hides_nothing_of_the_others_and_a_file_never_clashes_with_itself() {
    let dir = tempfile::tempdir().unwrap();
    let good = file(&dir, "good.toml", &format!("{GOOD}[port.p]\napp = \"a\"\nport = 80\n"));
    let host = std::fs::read_to_string(&good).unwrap().replace("\"none\"", "\"host\"");
    std::fs::write(&good, host).unwrap();
    let again = good.replace("/good", "/./good");
    let done = lint(&dir, &[&good, "no-such-pod", &again]);
    assert_eq!(done.code(), 125, "{done}");
    assert!(done.stdout.contains("is not in the store"), "{done}");
    assert!(done.stderr.contains("no-such-pod"), "{done}");
    assert!(!done.stdout.contains("only one of them"), "{done}");
}

#[test]
fn a_file_name_with_control_characters_stays_on_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let odd = file(&dir, "odd\n\u{1b}[2J.toml", "x = 1\n");
    let done = lint(&dir, &[&odd]);
    assert_eq!(done.code(), 1, "{done}");
    assert!(!done.stdout.contains('\u{1b}'), "{done}");
    assert!(done.stdout.lines().all(|line| line.contains(".toml:")), "{done}");
    // Programs get the name as it is.
    let done = lint(&dir, &["--format=json", &odd]);
    let list: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(list[0]["file"], odd.as_str());
}

#[test]
fn a_secret_in_the_wrong_place_is_not_said_again() {
    let dir = tempfile::tempdir().unwrap();
    let text = format!("{GOOD}[credentials]\nkey = {{ load = \"hunter 2\" }}\n");
    let done = lint(&dir, &[&file(&dir, "secret.toml", &text)]);
    assert_eq!(done.code(), 1, "{done}");
    assert!(done.stdout.contains("secret.toml:5:16: error: "), "{done}");
    assert!(!done.stdout.contains("hunter"), "{done}");
}

#[test]
fn a_large_file_full_of_mistakes_is_told_as_quickly_as_a_small_one() {
    let dir = tempfile::tempdir().unwrap();
    let keys: String = (0..60_000).map(|n| format!("imagee{n} = 1\n")).collect();
    for text in [keys, "[".repeat(1_000_000), "= \n".repeat(250_000), "a = [".repeat(200_000)] {
        let done = lint(&dir, &[&file(&dir, "large.toml", &text)]);
        assert_eq!(done.code(), 1, "{}", done.stderr);
        assert!(done.stdout.lines().count() <= 100);
    }
}

#[test]
fn a_large_file_that_is_right_is_told_as_quickly_as_a_small_one() {
    let dir = tempfile::tempdir().unwrap();
    let lines: String = (0..45_000).map(|n| format!("NAME_{n} = \"xyz\"\n")).collect();
    let words = "\"x\", ".repeat(200_000);
    let shut = "[unit]\nafter = [\"pod:nobody\"]\n";
    for text in [
        format!("{GOOD}[app.a.environment]\n{lines}{shut}"),
        format!("{GOOD}exec = [\"/x\", {words}]\n{shut}"),
    ] {
        assert!(text.len() > 700_000);
        let done = lint(&dir, &[&file(&dir, "large.toml", &text)]);
        assert_eq!(done.code(), 0, "{}", done.stderr);
        let line = text.lines().count();
        assert!(done.stdout.contains(&format!("large.toml:{line}:10: warning: ")), "{done}");
    }
}
