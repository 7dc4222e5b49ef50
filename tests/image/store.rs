//! Names, removal, and fetches at the same time.

use crate::kit::{Host, LayoutSpec, MANIFEST, Tar, aci, gzip};
use rocket::image::{Digest, Store};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;

trait Wrote {
    fn wrote(&self, words: &str);
}

impl Wrote for rocket_testkit::Done {
    #[track_caller]
    fn wrote(&self, words: &str) {
        assert!(self.stdout.contains(words), "no {words} in {}", self.stdout);
    }
}

fn image(host: &Host, file: &str, version: &str, content: &str) -> String {
    let manifest = MANIFEST.replace("\"value\":\"1\"", &format!("\"value\":\"{version}\""));
    let tar = Tar::default().file("manifest", &manifest).dir("rootfs", 0o755, 0);
    let path = host.file(file, &tar.file("rootfs/f", content).end());
    host.rocket(&["fetch", &path]).ok().stdout.trim().to_owned()
}

#[test]
fn names_and_digests_find_images_and_never_guess() {
    let host = Host::new();
    let one = image(&host, "1.aci", "1", "one");
    let two = image(&host, "2.aci", "2", "two");
    let cat = |reference: &str| host.rocket(&["image", "cat-manifest", reference]);
    cat("example.com/app:1").ok().wrote("\"value\": \"1\"");
    cat(&two).ok().wrote("\"value\": \"2\"");
    cat(&one[..15]).ok();
    cat(&one.replace('-', ":")[..15]).ok();
    cat("example.com/app:2,os=linux").ok();
    cat(&format!("example.com/app@{one}")).ok().wrote("\"value\": \"1\"");
    cat("example.com/app").ends_with(125).says(&[
        "could be 2 images",
        "example.com/app:1",
        "hint: ",
    ]);
    cat("example.com/app:3").ends_with(125).says(&["not in the store", "hint: "]);
    cat("example.com/app:1,os=freebsd").ends_with(125);
    cat("sha512-0000000000").ends_with(125);
    cat(&one[..14]).ends_with(125).says(&["at least 8 digits"]);
    let latest = image(&host, "l.aci", "latest", "three");
    let found = cat("example.com/app").ok().stdout;
    assert!(found.contains("latest"), "{latest}");
    let again = image(&host, "1b.aci", "1", "one, again");
    assert_ne!(one, again);
    cat(&format!("example.com/app:1@{again}")).ok();
    cat(&one).ok();
}

#[test]
fn removal_keeps_what_others_need() {
    let host = Host::new();
    let base = Tar::default().dir("./", 0o755, 0).file("base", "b").end();
    for name in ["one", "two"] {
        LayoutSpec::new(vec![base.clone(), Tar::default().file(name, name).end()])
            .write(&host.path(name));
        host.rocket(&["fetch", &format!("oci:{}:latest", host.path(name).display())]).ok();
    }
    let list = host.rocket(&["image", "list"]).ok().stdout;
    assert_eq!(list.matches(":latest").count(), 2, "{list}");
    let one = host.layers("one");
    host.rocket(&["image", "rm", "one:latest"]).ok();
    assert!(!one[0].exists() && one[1].exists(), "the shared layer stays");
    host.layers("two");

    let store = Store::open(&host.store()).unwrap();
    let id = store.resolve(&"two".parse().unwrap()).unwrap();
    let layers: BTreeSet<Digest> =
        store.image(&id).unwrap().layers.into_iter().map(|l| l.digest).collect();
    let removed = store.removal().unwrap().image(&id, &layers).unwrap();
    assert!(removed.layers.is_empty() && one[1].exists(), "pods use them");
    assert!(store.unused(Some(&layers)).unwrap().is_empty(), "they use them still");
    assert!(store.unused(None).unwrap().is_empty(), "where nobody can tell, all layers stay");
    let unused = store.unused(Some(&BTreeSet::new())).unwrap();
    let removed = store.removal().unwrap().unused(unused).unwrap();
    assert_eq!(removed.layers.len(), 2);
    assert!(fs::read_dir(host.store().join("blobs/sha256")).unwrap().next().is_none());
    assert!(fs::read_dir(host.store().join("tmp")).unwrap().next().is_none());
    host.rocket(&["image", "rm", "two"]).ends_with(125).says(&["not in the store"]);
}

#[test]
fn the_same_image_at_the_same_time_is_stored_once() {
    let host = Host::new();
    let mut tar = aci();
    for number in 0..300 {
        tar = tar.file(&format!("rootfs/{number}"), &"x".repeat(number * 20));
    }
    let file = host.file("a.aci", &gzip(&tar.end()));
    let ids: Vec<String> = std::thread::scope(|scope| {
        let fetches: Vec<_> =
            (0..6).map(|_| scope.spawn(|| host.rocket(&["fetch", &file]).ok().stdout)).collect();
        fetches.into_iter().map(|f| f.join().unwrap()).collect()
    });
    assert!(ids.windows(2).all(|pair| pair[0] == pair[1]));
    let layers = host.store().join("layers/sha512");
    assert_eq!(fs::read_dir(layers).unwrap().count(), 1);
    assert!(fs::read_dir(host.store().join("tmp")).unwrap().next().is_none());
}

#[test]
fn the_store_is_closed_to_others_and_knows_its_version() {
    let host = Host::new();
    image(&host, "1.aci", "1", "one");
    assert_eq!(fs::metadata(host.store()).unwrap().mode() & 0o777, 0o700);
    fs::write(host.store().join("version"), "rocket-store 9\n").unwrap();
    host.rocket(&["image", "list"]).ends_with(125).says(&["rocket-store 9"]);
}

#[test]
fn files_are_found_through_the_stack() {
    let host = Host::new();
    let layers = vec![
        Tar::default()
            .dir("./", 0o755, 0)
            .dir("etc/", 0o755, 0)
            .file("etc/passwd", "base")
            .file("etc/group", "group")
            .dir("usr/", 0o755, 0)
            .dir("usr/bin/", 0o700, 7)
            .symlink("bin", "usr/bin")
            .symlink("loop", "loop")
            .dir("old/", 0o755, 0)
            .file("old/x", "x")
            .end(),
        Tar::default().file("etc/passwd", "top").file("bin/tool", "tool").whiteout(".wh.old").end(),
        Tar::default().whiteout("etc/.wh.group").symlink("etc/link", "../bin/../bin/tool").end(),
    ];
    LayoutSpec::new(layers).write(&host.path("img"));
    host.rocket(&["fetch", &format!("oci:{}", host.path("img").display())]).ok();
    let store = Store::open(&host.store()).unwrap();
    let layers = store.image(&store.resolve(&"img".parse().unwrap()).unwrap()).unwrap().layers;
    let read = |path: &str| {
        let found = rocket::image::view::read_file(&layers, path, 100);
        found.map(|bytes| bytes.map(|b| String::from_utf8(b).unwrap()))
    };
    let is = |path: &str, expected: Option<&str>| {
        assert_eq!(read(path).unwrap().as_deref(), expected, "{path}");
    };
    is("/etc/passwd", Some("top"));
    is("/etc/group", None);
    is("/bin/tool", Some("tool"));
    is("/etc/link", Some("tool"));
    is("/../../etc/passwd", Some("top"));
    is("/old/x", None);
    is("/etc/passwd/x", None);
    assert!(read("/loop").is_err() && read("/etc").is_err());
    let bin = rocket::image::view::metadata(&layers, "/bin").unwrap().unwrap();
    assert_eq!((bin.uid, bin.mode & 0o777, bin.is_dir()), (7, 0o700, true));
}
