//! Servers that are slow, busy or break off, and what is made of that.

use crate::server::{Body, Reply, Server};
use crate::setup::{Client, Image, serve};
use rocket_testkit::wait_until;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

#[test]
fn a_tag_is_fetched_once_and_then_only_asked_for() {
    let image = Image::new(1000);
    let (server, client, reference) = serve(&image, |_| None);
    let first = client.rocket(&["fetch", &reference]).ok().stdout;
    let blobs = server.count("/blobs/");
    assert_eq!(blobs, 3);
    assert_eq!(client.rocket(&["fetch", &reference]).ok().stdout, first);
    assert_eq!(server.count("/blobs/"), blobs);
    assert_eq!(server.count("/manifests/"), 2);
    // A name in the store of its own, and the reference itself is one.
    let listed = client.rocket(&["image", "list"]).ok().stdout;
    assert!(listed.contains(&format!("127.0.0.1~{}/team/app:v1", server.port)), "{listed}");
    client.rocket(&["image", "cat-manifest", &reference]).ok();
    // What a digest names is not even asked for again.
    let pinned = format!("{}@{}", reference, first.trim().replacen('-', ":", 1));
    client.rocket(&["fetch", &pinned]).ok();
    let asked = server.asked().len();
    client.rocket(&["fetch", &pinned]).ok();
    assert_eq!(server.asked().len(), asked);
    // Nothing is left of what came.
    let partial = client.host.store().join("tmp/partial");
    assert_eq!(fs::read_dir(partial).unwrap().count(), 0);
}

#[test]
fn a_transfer_that_breaks_off_goes_on_where_it_was() {
    let image = Image::new(500_000);
    let (large, blob) = (image.layer(0), image.layers[0].clone());
    let half = blob.len() / 2;
    let cut = large.clone();
    let (server, client, reference) = serve(&image, move |asked| {
        let first = asked.path.ends_with(&cut) && asked.header("range").is_none();
        let bytes = blob[..half].to_vec();
        first.then(|| Reply::body(Body::Said(blob.len() as u64, bytes)))
    });
    client.rocket(&["fetch", &reference]).ok();
    let ranges: Vec<_> = server
        .asked()
        .iter()
        .filter(|asked| asked.path.ends_with(&large))
        .map(|asked| asked.header("range").map(str::to_owned))
        .collect();
    assert_eq!(ranges, [None, Some(format!("bytes={half}-"))]);
}

#[test]
fn what_came_in_part_is_completed_by_the_next_fetch_or_thrown_away() {
    let image = Image::new(200_000);
    for (name, start) in [
        ("a good start", image.layers[0][..1000].to_vec()),
        ("another's start", vec![7; 1000]),
        ("too much", vec![7; 10_000_000]),
        ("all, and wrong", vec![7; image.layers[0].len()]),
        ("all of it", image.layers[0].clone()),
    ] {
        let (server, client, reference) = serve(&image, |_| None);
        client.rocket(&["image", "list"]).ok();
        let path = client.partial(&image.layer(0));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &start).unwrap();
        let done = client.rocket(&["fetch", &reference]);
        assert!(done.status.success(), "{name}: {}", done.stderr);
        let asked = server.count(&image.layer(0));
        assert_eq!(asked == 0, name == "all of it", "{name}: asked {asked} times");
    }
}

#[test]
fn a_server_without_ranges_sends_all_again() {
    let image = Image::new(200_000);
    let whole = image.clone();
    let (_server, client, reference) = serve(&image, move |asked| {
        let mut asked = asked.clone();
        asked.headers.clear();
        Some(whole.answer(&asked))
    });
    client.rocket(&["image", "list"]).ok();
    let path = client.partial(&image.layer(0));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, &image.layers[0][..1000]).unwrap();
    client.rocket(&["fetch", &reference]).ok();
}

#[test]
fn busy_servers_are_asked_again_when_they_say_and_not_for_ever() {
    let image = Image::new(1000);
    for status in [429, 503] {
        let asked = AtomicUsize::new(0);
        let (_server, client, reference) = serve(&image, move |_| {
            let first = asked.fetch_add(1, Ordering::Relaxed) == 0;
            first.then(|| Reply::new(status, "").with("Retry-After", "1"))
        });
        client.rocket(&["fetch", &reference]).ok();
    }
    let (server, client, reference) =
        serve(&image, |_| Some(Reply::new(503, "").with("Retry-After", "0")));
    let done = client.rocket(&["fetch", &reference]);
    assert_eq!(done.code(), 125);
    assert!(done.stderr.contains("answers 503"), "{}", done.stderr);
    assert_eq!(server.asked().len(), 2);
}

#[test]
fn mirrors_come_first_and_are_passed_over_when_they_fail() {
    let image = Image::new(1000);
    let (server, client, _) = serve(&image, |_| None);
    let good = image.clone();
    let mirror = Server::start(move |asked| good.answer(asked));
    let liar = Image::new(2000);
    let (broken, layer, other) = (image.clone(), image.layer(0), liar.layers[0].clone());
    let lying = Server::start(move |asked| match asked.path.ends_with(&layer) {
        true => Reply::new(200, other.clone()),
        false => broken.answer(asked),
    });
    let entry = |host: &str| format!("[registry.\"{host}\"]\ninsecure-http = true\n");
    let all = |mirrors: &str| {
        format!(
            "{}{}{}[registry.\"{}/team\"]\ninsecure-http = true\nmirrors = [{mirrors}]\n",
            entry(&server.host()),
            entry(&mirror.host()),
            entry(&lying.host()),
            server.host()
        )
    };
    let reference = format!("docker://{}/team/app:v1", server.host());
    client.config("registries.d/insecure.toml", &all(&format!("\"{}/copy\"", mirror.host())));
    client.rocket(&["fetch", &reference]).ok();
    assert_eq!((server.asked().len(), mirror.count("/v2/copy/app/")), (0, 4));
    let second = Client::new();
    let mirrors = format!("\"127.0.0.1:1/x\", \"{}/team\"", lying.host());
    second.config("registries.d/insecure.toml", &all(&mirrors));
    let done = second.rocket(&["fetch", &reference]).ok();
    assert!(done.stderr.contains("the mirror is passed over"), "{}", done.stderr);
    assert!(server.count(&image.layer(0)) == 1 && lying.count(&image.layer(0)) == 1);
}

#[test]
fn ctrl_c_leaves_the_store_as_it_was_and_the_next_fetch_goes_on() {
    let image = Image::new(500_000);
    let (large, blob) = (image.layer(0), image.layers[0].clone());
    let half = blob.len() / 2;
    let (cut, slow) = (large.clone(), Arc::new(AtomicBool::new(true)));
    let still = Arc::clone(&slow);
    let (server, client, reference) = serve(&image, move |asked| {
        let held = asked.path.ends_with(&cut) && still.load(Ordering::Relaxed);
        let body = Body::Hold(blob.len() as u64, blob[..half].to_vec());
        held.then(|| Reply::body(body))
    });
    client.config("rocket.toml", "[fetch]\ntimeout = 300\n");
    let fetch = client.command(&["fetch", &reference]).start();
    let partial = client.partial(&large);
    wait_until("half of the layer is here", 60, || {
        fs::metadata(&partial).is_ok_and(|found| found.len() >= half as u64)
    });
    fetch.signal(rustix::process::Signal::INT);
    let done = fetch.wait();
    assert_eq!(done.code(), 130, "{}", done.stderr);
    assert!(done.stderr.contains("interrupted"), "{}", done.stderr);
    assert_eq!(client.stored(), [] as [String; 0]);
    let left: Vec<_> = fs::read_dir(client.host.store().join("tmp"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["partial"]);
    slow.store(false, Ordering::Relaxed);
    client.rocket(&["fetch", &reference]).ok();
    let last = server.asked().into_iter().rfind(|asked| asked.path.ends_with(&large)).unwrap();
    let from = last.header("range").and_then(|range| range.strip_prefix("bytes=")).unwrap();
    assert!(from.trim_end_matches('-').parse::<usize>().unwrap() >= half, "{from}");
}

#[test]
fn a_fetch_tells_as_it_was_asked_to() {
    let image = Image::new(100_000);
    let fetch = |options: &[&str]| {
        let (_server, client, reference) = serve(&image, |_| None);
        let mut args = vec!["fetch"];
        args.extend(options);
        args.push(&reference);
        client.rocket(&args).ok()
    };
    let plain = fetch(&[]);
    assert!(plain.stderr.contains("layer 1/2 ("), "{}", plain.stderr);
    assert!(!plain.stderr.contains('\r'), "{:?}", plain.stderr);
    let quiet = fetch(&["--quiet"]);
    assert_eq!(quiet.stderr, "");
    assert_eq!(quiet.stdout, plain.stdout);
    let json = fetch(&["--format=json"]);
    assert_eq!(json.stderr, "");
    let events: Vec<serde_json::Value> =
        json.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events.last().unwrap()["id"], plain.stdout.trim());
    for layer in [1, 2] {
        let whole = |event: &serde_json::Value| {
            event["event"] == "transfer"
                && event["layer"] == layer
                && event["done"] == event["total"]
        };
        assert!(events.iter().any(whole), "layer {layer}: {}", json.stdout);
    }
}
