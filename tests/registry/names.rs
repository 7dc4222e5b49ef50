//! Images by their names: from directories and web servers that hold what `rocket image publish` wrote.
//!
//! What a name's own host says (meta discovery) needs ports that only a bed has: `ns::discovery`.

use crate::server::{Asked, Reply, Server};
use crate::setup::Client;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const ACI: &str = "example.test/team/app:1.0";
const OCI: &str = "example.test/team/web:1.0";

/// A host that publishes an ACI and an OCI image; its directory, and the ids.
fn publisher() -> (Client, PathBuf, [String; 2]) {
    let client = Client::new();
    let path = |name: &str| client.host.path(name).display().to_string();
    fs::create_dir_all(client.host.path("root/bin")).unwrap();
    fs::write(client.host.path("root/bin/app"), "an app").unwrap();
    let pack = |name: &str, out: &str| {
        let root = path("root");
        let args = ["image", "pack", &root, "--name", name, "--exec", "/bin/app", "-o", out];
        client.rocket(&args).ok();
        let args = ["fetch", out, "--name", name];
        client.rocket(&args).ok().text().to_owned()
    };
    let aci = pack(ACI, &path("app.aci"));
    let oci = pack(OCI, &format!("oci:{}:1.0", path("layout")));
    let site = client.host.path("site");
    publish(&client, &site, &[ACI, OCI]);
    (client, site, [aci, oci])
}

fn publish(client: &Client, site: &Path, references: &[&str]) -> String {
    let mut args = vec!["image", "publish", site.to_str().unwrap()];
    args.extend(references);
    client.rocket(&args).ok().stdout
}

/// A web server of a directory.
fn serve(site: &Path) -> Server {
    let site = site.to_owned();
    Server::start(move |asked: &Asked| {
        let path = asked.path.split('?').next().unwrap_or_default().trim_start_matches('/');
        match fs::read(site.join(path)) {
            Ok(bytes) => Reply::new(200, bytes).with("ETag", "\"one\""),
            Err(_) => Reply::new(404, ""),
        }
    })
}

fn mirrors(client: &Client, places: &[&str]) {
    let text = format!("version = 1\n[prefix.\"example.test\"]\nplaces = {places:?}\n");
    client.config("mirrors.d/10-test.toml", &text);
}

#[test]
fn what_is_published_is_found_by_name_in_a_directory_and_on_a_web_server() {
    let (_publisher, site, ids) = publisher();
    let server = serve(&site);
    for place in [site.display().to_string(), format!("http://{}", server.host())] {
        let client = Client::new();
        client.insecure(&[&server.host()]);
        mirrors(&client, &[&place]);
        for (name, id) in [ACI, OCI].into_iter().zip(&ids) {
            assert_eq!(client.rocket(&["fetch", name]).ok().text(), id);
            // It is here now, under that name.
            let before = server.asked().len();
            assert_eq!(client.rocket(&["fetch", name]).ok().text(), id);
            assert_eq!(client.rocket(&["fetch", "--pull=never", name]).ok().text(), id);
            assert_eq!(server.asked().len(), before);
            assert_eq!(client.rocket(&["fetch", "--pull=update", name]).ok().text(), id);
            client.rocket(&["image", "verify", name]).ok();
        }
        let refused = client.rocket(&["fetch", "--pull=never", "example.test/team/none"]);
        refused.ends_with(125).says(&["not in the store"]);
    }
    let before = server.asked().len();
    let client = Client::new();
    client.insecure(&[&server.host()]);
    mirrors(&client, &[&format!("http://{}", server.host())]);
    for reference in [ACI, "https://h.test/a.aci", "docker://127.0.0.1:1/a:1"] {
        client.rocket(&["fetch", "--pull=never", reference]).ends_with(125);
    }
    assert_eq!(server.asked().len(), before);
    assert_eq!(client.stored(), Vec::<String>::new());
}

#[test]
fn a_place_that_is_dead_is_passed_over_and_all_that_was_asked_is_told() {
    let (_publisher, site, ids) = publisher();
    let client = Client::new();
    let server = serve(&site);
    client.insecure(&[&server.host(), "127.0.0.1:1"]);
    let (dead, live) = ("http://127.0.0.1:1/x", format!("http://{}", server.host()));
    mirrors(&client, &["/nowhere", dead, "docker://127.0.0.1:1/m", &live]);
    assert_eq!(client.rocket(&["fetch", ACI]).ok().text(), ids[0]);
    let refused = client.rocket(&["fetch", "example.test/team/none:2"]).ends_with(125);
    refused.says(&[
        "nobody who was asked has it",
        "/nowhere/images/example.test/team/none/2-linux-amd64.aci: there is no such file",
        "http://127.0.0.1:1/x/images/example.test/team/none/2-linux-amd64.oci",
        "docker://127.0.0.1:1/m/example.test/team/none:2",
        "https://example.test/team/none?ac-discovery=1",
        "https://example.test/?ac-discovery=1",
        "mirrors.d",
    ]);
}

#[test]
fn what_lies_under_another_name_is_refused_and_not_stored() {
    let (publisher, site, ids) = publisher();
    let client = Client::new();
    mirrors(&client, &[site.to_str().unwrap()]);
    let images = site.join("images/example.test/team");
    let copy = |to: &str| {
        let to = images.join(to);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(images.join("app/1.0-linux-amd64.aci"), to).unwrap();
    };
    copy("other/1.0-linux-amd64.aci");
    copy("app/2.0-linux-amd64.aci");
    copy("app/latest-linux-amd64.aci");
    for (name, words) in [
        ("example.test/team/other:1.0", "is called example.test/team/app"),
        ("example.test/team/app:2.0", "its label version is \"1.0\", not \"2.0\""),
        ("example.test/team/app:1.0,channel=beta", "its label channel is none"),
        (&*format!("{ACI}@sha512-{}", "0".repeat(128)), "the image is sha512-"),
        (&*format!("{OCI}@sha256-{}", "0".repeat(64)), "the image is sha256-"),
    ] {
        client.rocket(&["fetch", name]).ends_with(125).says(&[words]);
        assert_eq!(client.stored(), Vec::<String>::new(), "{name}");
    }
    // Without a version the latest is meant, whatever it is called inside.
    assert_eq!(client.rocket(&["fetch", "example.test/team/app"]).ok().text(), ids[0]);
    let pinned = format!("{ACI}@{}", ids[0]);
    assert_eq!(client.rocket(&["fetch", &pinned]).ok().text(), ids[0]);
    drop(publisher);
}

#[test]
fn a_publication_touches_only_what_changed() {
    let (publisher, site, _) = publisher();
    let state = || -> Vec<(PathBuf, i64, u64)> {
        let mut found: Vec<_> = files(&site)
            .into_iter()
            .filter_map(|path| {
                let meta = fs::metadata(&path).ok().filter(|meta| meta.is_file())?;
                Some((path, meta.mtime_nsec(), meta.ino()))
            })
            .collect();
        found.sort();
        found
    };
    let before = state();
    assert_eq!(before.len(), 3, "{before:?}");
    assert_eq!(publish(&publisher, &site, &[ACI, OCI]), "");
    assert_eq!(state(), before);
    // A damaged file is written anew, and what vouched for it goes.
    let aci = site.join("images/example.test/team/app/1.0-linux-amd64.aci");
    fs::write(&aci, "x").unwrap();
    fs::write(site.join("images/example.test/team/app/1.0-linux-amd64.aci.asc"), "x").unwrap();
    let written = publish(&publisher, &site, &[ACI, OCI]);
    assert_eq!(written, "images/example.test/team/app/1.0-linux-amd64.aci\n");
    assert!(fs::metadata(&aci).unwrap().len() > 1000);
    let page = fs::read_to_string(site.join("index.html")).unwrap();
    assert!(page.contains("example.test https://example.test/images/{name}/"), "{page}");
    for args in [
        &["--base", "ftp://x"][..],
        &["--base", "https://x/?a"],
        &["--key", aci.to_str().unwrap()],
        &["example.test/none"],
    ] {
        let mut all = vec!["image", "publish", site.to_str().unwrap()];
        all.extend(args);
        let before = state();
        publisher.rocket(&all).ends_with(125);
        assert_eq!(state(), before, "{args:?}");
    }
}

#[test]
fn broken_rules_of_mirrors_are_named_with_their_line() {
    let client = Client::new();
    client.config("mirrors.d/a.toml", "version = 1\n[prefix.a]\nplaces = [\"relative\"]\n");
    client.rocket(&["fetch", "example.test/a"]).ends_with(125).says(&["a.toml:3", "relative"]);
}

/// Everything below a directory.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found
}
