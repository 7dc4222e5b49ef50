//! What a fetch tells while it runs, and how it is ended on a terminal.

use crate::kit::{Tar, hold_worker, stored};
use crate::server::{Body, Reply};
use crate::setup::{Image, serve};
use rocket_testkit::tmux::{PROMPT, Tmux};
use rocket_testkit::wait_until;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[test]
fn a_terminal_shows_each_layer_and_all_of_them_with_speed_and_time_left() {
    let image = Image::new(3_000_000);
    let (large, blob) = (image.layer(0), image.layers[0].clone());
    let held = Arc::new(AtomicBool::new(true));
    let still = Arc::clone(&held);
    let (_server, client, reference) = serve(&image, move |asked| {
        let hold = asked.path.ends_with(&large) && still.load(Ordering::Relaxed);
        let half = blob[..blob.len() / 2].to_vec();
        hold.then(|| Reply::body(Body::Hold(blob.len() as u64, half)))
    });
    client.config("rocket.toml", "[fetch]\ntimeout = 300\n");
    let set = |name: &str, value: std::path::PathBuf| format!("{name}={} ", value.display());
    let script = format!(
        "trap : INT; env {}{}{}{} fetch {reference}; echo ended with $?",
        set("ROCKET_STATE_DIR", client.host.path("state")),
        set("ROCKET_TRANSPORT_DIR", client.host.path("transport")),
        set("ROCKET_CONFIG_DIR", client.host.path("config")),
        env!("CARGO_BIN_EXE_rocket"),
    );
    let script = client.host.file("script", script.as_bytes());
    let tmux = Tmux::new();
    tmux.line(&format!("sh {script}"));
    let mut screen = String::new();
    wait_until("the window shows how far it is", 40, || {
        screen = tmux.screen();
        let has = |words: &[&str]| {
            screen.lines().any(|line| words.iter().all(|word| line.contains(word)))
        };
        has(&["fetching docker://127.0.0.1:"])
            && has(&["layer 1/2: ", " MB of ", " %"])
            && has(&["1/2 layers, ", " MB of ", " MB/s, ", " left"])
    });
    // Drawn over itself, not below.
    assert_eq!(screen.matches("fetching").count(), 1, "{screen}");
    tmux.key("C-c");
    tmux.wait_for("ended with 130");
    let screen = tmux.screen();
    assert!(screen.contains("interrupted") && !screen.contains("layer 1/2"), "{screen}");
    held.store(false, Ordering::Relaxed);
    tmux.clear();
    tmux.line(&format!("sh {script}"));
    tmux.wait_for("ended with 0");
    // What is left on the screen is the id.
    let screen = tmux.screen();
    assert!(screen.contains("sha256-") && !screen.contains("fetching"), "{screen}");
    tmux.wait_for_last(PROMPT);
}

#[test]
fn ctrl_c_while_unpacking_keeps_what_came_and_the_next_run_brings_none_of_it_again() {
    let mut tar = Tar::default().dir("many", 0o755, 0);
    for number in 0..5_000 {
        tar = tar.file(&format!("many/{number}"), "x");
    }
    let image = Image::of(&[Tar::default().dir("./", 0o755, 0).end(), tar.end()]);
    let (server, client, reference) = serve(&image, |_| None);
    client.config("rocket.toml", "[fetch]\ntimeout = 300\n");
    let mut fetch = client.command(&["fetch", &reference]).start();
    hold_worker(&mut fetch, &client.host.store().join("tmp"));
    fetch.signal(rustix::process::Signal::INT);
    fetch.wait().ends_with(130).says(&["interrupted"]);
    assert_eq!(client.stored(), [] as [String; 0]);
    let partial: Vec<_> = fs::read_dir(client.host.store().join("tmp/partial"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(partial.len(), 2, "both layers are kept");
    assert_eq!(stored(&client.host.store()), partial, "and nothing else");
    client.rocket(&["fetch", &reference]).ok();
    for layer in [0, 1] {
        assert_eq!(server.count(&image.layer(layer)), 1, "layer {layer}");
    }
    let listed = client.rocket(&["image", "list", "--format=json"]).ok().stdout;
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed[0]["evidence"]["kind"], "registry", "{listed}");
}

#[test]
fn events_for_programs_tell_of_bytes_of_unpacking_and_of_what_is_stored() {
    let image = Image::new(3_000_000);
    let (_server, client, reference) = serve(&image, |_| None);
    let done = client.rocket(&["fetch", "--format=json", &reference]).ok();
    let events: Vec<serde_json::Value> =
        done.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |kind: &str| events.iter().filter(|event| event["event"] == kind).count();
    assert!(of("transfer") >= 2 && of("unpack") >= 1 && of("stored") == 1, "{}", done.stdout);
    let unpack = events.iter().find(|event| event["event"] == "unpack").unwrap();
    assert!(unpack["done"].is_u64() && unpack["total"].is_u64(), "{unpack}");
    assert!(!done.stdout.contains('\u{1b}') && done.stderr.is_empty(), "{}", done.stderr);
}
