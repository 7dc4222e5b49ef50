//! What images take, and which of them nobody uses.

use crate::kit::{Host, LayoutSpec, Tar};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Two images with one layer in common.
fn two(host: &Host) {
    let base = Tar::default().dir("./", 0o755, 0).file("base", &"b".repeat(5000)).end();
    for name in ["one", "two"] {
        let own = Tar::default().file(name, &name.repeat(300)).end();
        LayoutSpec::new(vec![base.clone(), own]).write(&host.path(name));
        host.rocket(&["fetch", &format!("oci:{}:latest", host.path(name).display())]).ok();
    }
}

fn list(host: &Host) -> Vec<Value> {
    let text = host.rocket(&["image", "list", "--format=json"]).ok().stdout;
    serde_json::from_str(&text).unwrap()
}

/// Bytes of all files below a directory but those that only describe layers.
fn bytes(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).unwrap().map(Result::unwrap);
    entries
        .map(|entry| match entry.file_type().unwrap() {
            kind if kind.is_dir() => bytes(&entry.path()),
            _ if ["files", "meta"].contains(&entry.file_name().to_str().unwrap()) => 0,
            _ => entry.metadata().unwrap().len(),
        })
        .sum()
}

#[test]
fn what_only_an_image_has_is_what_its_removal_frees() {
    let host = Host::new();
    two(&host);
    let all = || bytes(&host.store().join("layers")) + bytes(&host.store().join("blobs"));
    let before = all();
    let listed = list(&host);
    let size = |image: &Value, of: &str| image["size"][of].as_u64().unwrap();
    let (own, shared) = (size(&listed[0], "own"), size(&listed[0], "shared"));
    assert!(own > 900 && shared > 5000, "{listed:?}");
    assert_eq!(own + size(&listed[1], "own") + shared, before);
    host.rocket(&["image", "rm", listed[0]["id"].as_str().unwrap()]).ok();
    assert_eq!(before - all(), own);
    // What was shared is the other's own now.
    let left = list(&host);
    assert_eq!((size(&left[0], "own"), size(&left[0], "shared")), (all(), 0));
}

#[test]
fn images_that_nobody_used_for_some_time_go_when_that_is_asked_for() {
    let host = Host::new();
    two(&host);
    let old = SystemTime::now() - Duration::from_secs(10 * 86_400);
    for image in fs::read_dir(host.store().join("images")).unwrap() {
        let record = image.unwrap().path().join("image.json");
        fs::File::options().write(true).open(record).unwrap().set_modified(old).unwrap();
    }
    // One of them was used since it came.
    let listed = list(&host);
    assert!(listed.iter().all(|image| image["lastused"].is_null()), "{listed:?}");
    let (used, idle) = (listed[0]["id"].as_str().unwrap(), listed[1]["id"].as_str().unwrap());
    fs::write(host.store().join("images").join(used).join("lastused"), "").unwrap();
    assert!(list(&host)[0]["lastused"].is_string());
    let gc = |words: &[&str]| host.rocket(&[&["image", "gc"], words].concat()).ok().stdout;
    assert_eq!(gc(&[]), "", "without being asked nothing goes");
    assert_eq!(gc(&["--unused-for", "20d"]), "");
    let said = gc(&["--unused-for", "5d", "--dry-run"]);
    assert!(said.contains(&format!("would remove image {idle}")), "{said}");
    assert_eq!(list(&host).len(), 2);
    let said = gc(&["--unused-for", "5d"]);
    assert!(said.contains(&format!("removed image {idle}")) && !said.contains(used), "{said}");
    let left = list(&host);
    assert_eq!((left.len(), &left[0]["id"]), (1, &Value::from(used)));
    host.rocket(&["image", "verify", "--all"]).ok();
}
