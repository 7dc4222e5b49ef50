//! The program as anybody may start it: lines in, lines out, bodies on descriptor 3.

#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::process::{Command, Stdio};

/// Says these lines to the program; its answers.
fn say(lines: &str) -> Vec<serde_json::Value> {
    let program = env!("CARGO_BIN_EXE_rocket-transport");
    let mut child = Command::new("sh")
        .args(["-c", "exec \"$0\" 3>/dev/null", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success());
    let text = String::from_utf8(out.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

const SETUP: &str = r#"{"do":"setup","protocol":1,"scheme":"https","url":"http://127.0.0.1:1",
"http":true,"timeout":5,"agent":"test","credentials":{"password":{"user":"me","password":"hunter2"}}}"#;

#[test]
fn requests_are_answered_in_order() {
    let setup = SETUP.replace('\n', "");
    let blob = r#"{"do":"blob","repository":"a/../b","digest":"sha256:0","size":1,"offset":0}"#;
    let get = r#"{"do":"get","url":"file:///etc/passwd","max":10}"#;
    let down = r#"{"do":"resolve","repository":"a","reference":"latest","max":10}"#;
    let answers = say(&format!("{blob}\n{setup}\n{blob}\n{get}\n{down}\n"));
    let kinds: Vec<_> = answers.iter().map(|a| a["kind"].as_str().unwrap_or_default()).collect();
    assert_eq!(kinds, ["protocol", "", "protocol", "refused", "network"], "{answers:?}");
    assert_eq!(answers[1], serde_json::json!({"answer": "ready", "protocol": 1}));
}

#[test]
fn what_cannot_be_read_is_not_repeated() {
    let setup = SETUP.replace('\n', "");
    let broken = setup.replace("\"timeout\":5", "\"timeout\":\"hunter2\"");
    let later = setup.replace("\"protocol\":1", "\"protocol\":9");
    let answers = say(&format!("{broken}\nnonsense\n{later}\n"));
    assert_eq!(answers.len(), 3);
    for answer in answers {
        assert_eq!(answer["kind"], "protocol");
        assert!(!answer.to_string().contains("hunter2"), "{answer}");
    }
}

#[test]
fn without_a_descriptor_for_bodies_it_says_who_starts_it() {
    let program = env!("CARGO_BIN_EXE_rocket-transport");
    let out = Command::new("sh").args(["-c", "exec \"$0\" 3>&-", program]).output().unwrap();
    assert!(!out.status.success());
    assert!(String::from_utf8_lossy(&out.stderr).contains("docs/transport.md"));
}
