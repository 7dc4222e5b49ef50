//! An ACI from a web server.

use crate::kit::aci;
use crate::server::{Asked, Body, Reply, Server};
use crate::setup::Client;
use std::sync::atomic::{AtomicUsize, Ordering};

fn good(asked: &Asked, archive: &[u8], age: u64) -> Reply {
    if !asked.path.ends_with(".aci") {
        return Reply::new(404, "");
    }
    let control = format!("max-age={age}");
    if asked.header("if-none-match") == Some("\"one\"") {
        return Reply::new(304, "").with("Cache-Control", control);
    }
    let tagged = |reply: Reply| reply.with("ETag", "\"one\"").with("Cache-Control", &control);
    let from = asked.header("range").and_then(|range| {
        range.strip_prefix("bytes=")?.trim_end_matches('-').parse::<usize>().ok()
    });
    match from.filter(|_| asked.header("if-range") == Some("\"one\"")) {
        Some(from) => {
            let last = archive.len() - 1;
            let range = format!("bytes {from}-{last}/{}", archive.len());
            tagged(Reply::new(206, &archive[from..])).with("Content-Range", range)
        }
        None => tagged(Reply::new(200, archive)),
    }
}

fn client(server: &Server) -> (Client, String) {
    let client = Client::new();
    client.insecure(&[&server.host()]);
    let url = format!("http://{}/app.aci", server.host());
    (client, url)
}

#[test]
fn an_aci_is_asked_for_when_its_time_is_over_and_comes_when_it_changed() {
    let archive = aci().file("rootfs/x", "x").end();
    for (age, asked) in [(3600, 1), (0, 2)] {
        let archive = archive.clone();
        let server = Server::start(move |asked| good(asked, &archive, age));
        let (client, url) = client(&server);
        let first = client.rocket(&["fetch", &url]).ok().stdout;
        assert_eq!(client.rocket(&["fetch", &url]).ok().stdout, first);
        let archives = |asked: &Asked| asked.path.ends_with(".aci");
        let requests: Vec<Asked> = server.asked().into_iter().filter(archives).collect();
        assert_eq!(requests.len(), asked, "max-age={age}");
        if let Some(second) = requests.get(1) {
            assert_eq!(second.header("if-none-match"), Some("\"one\""));
        }
        client.rocket(&["image", "cat-manifest", &url]).ok();
        client.rocket(&["image", "cat-manifest", "example.com/app:1"]).ok();
    }
}

#[test]
fn a_file_that_broke_off_goes_on_and_202_is_waited_for() {
    let archive = aci().file("rootfs/x", &"x".repeat(100_000)).end();
    let asked = AtomicUsize::new(0);
    let server = Server::start(move |request| match asked.fetch_add(1, Ordering::Relaxed) {
        0 => Reply::body(Body::Said(archive.len() as u64, archive[..5000].to_vec()))
            .with("ETag", "\"one\""),
        1 => Reply::new(202, "").with("Retry-After", "0"),
        _ => good(request, &archive, 0),
    });
    let (client, url) = client(&server);
    client.config("rocket.toml", "[fetch]\nretries = 3\n");
    client.rocket(&["fetch", &url]).ok();
    let of_archive = |asked: &Asked| asked.path.ends_with(".aci");
    let last = server.asked().into_iter().rfind(of_archive).unwrap();
    assert_eq!(last.header("range"), Some("bytes=5000-"));
    // Its signatures are asked for when it is here.
    assert!(server.count(".aci.asc") == 1 && server.count(".aci.minisig") == 1);
}

#[test]
fn without_leave_nothing_goes_unencrypted() {
    let server = Server::start(|_| Reply::new(200, ""));
    let client = Client::new();
    let done = client.rocket(&["fetch", &format!("http://{}/app.aci", server.host())]);
    assert_eq!(done.code(), 125);
    assert!(done.stderr.contains("not encrypted"), "{}", done.stderr);
    assert_eq!(server.asked().len(), 0);
}

#[test]
fn what_is_known_of_an_address_goes_with_its_image() {
    let archive = aci().file("rootfs/x", "x").end();
    let server = Server::start(move |asked| good(asked, &archive, 3600));
    let (client, url) = client(&server);
    let urls = client.host.store().join("urls");
    let known = || std::fs::read_dir(&urls).unwrap().count();
    let id = client.rocket(&["fetch", &url]).ok().stdout;
    let listed = client.rocket(&["image", "list", "--format=json"]).ok().stdout;
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed[0]["evidence"]["kind"], "web", "{listed}");
    assert_eq!(known(), 1);
    // One whose image is still here stays.
    client.rocket(&["image", "gc"]).ok();
    assert_eq!(known(), 1);
    let record = std::fs::read_dir(&urls).unwrap().next().unwrap().unwrap().path();
    let text = std::fs::read(&record).unwrap();
    client.rocket(&["image", "rm", id.trim()]).ok();
    assert_eq!(known(), 0);
    // What an older rocket left is found by gc.
    std::fs::write(&record, text).unwrap();
    client.rocket(&["image", "gc"]).ok();
    assert_eq!(known(), 0);
    assert_eq!(client.rocket(&["fetch", &url]).ok().stdout, id);
}
