//! Pods and the images that they use.

use rocket_testkit::{image, require_bed, rocket};
use serde_json::Value;

/// What `image list` says of an image.
fn listed(id: &str) -> Option<Value> {
    let text = rocket(["image", "list", "--format=json"]).ok().stdout;
    let list: Vec<Value> = serde_json::from_str(&text).unwrap();
    list.into_iter().find(|image| image["id"] == id)
}

#[test]
fn alone_to_prepare_and_to_run_a_pod_is_to_use_its_image_and_gc_keeps_it_meanwhile() {
    require_bed("ns");
    let name = "example.com/used:1.0";
    image::add_busybox(name, &["/bin/true"]);
    let tree = rocket(["image", "tree", name, "--format=json"]).ok().stdout;
    let tree: Value = serde_json::from_str(&tree).unwrap();
    let id = tree["id"].as_str().unwrap();
    let used = || listed(id).unwrap()["lastused"].clone();
    assert!(used().is_null());
    rocket(["run", "--rm", name]).ok();
    assert!(used().is_string());
    let file = format!("/var/lib/rocket/store/images/{id}/lastused");
    std::fs::remove_file(&file).unwrap();
    let pod = rocket(["prepare", name]).ok().stdout;
    assert!(used().is_string());
    // A pod that is prepared needs its image, however long ago that was.
    let gc = || rocket(["image", "gc", "--unused-for", "1s"]).ok();
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(100);
    let make_old =
        || std::fs::File::options().write(true).open(&file).unwrap().set_modified(old).unwrap();
    make_old();
    let before = used();
    gc();
    assert_eq!(used(), before);
    rocket(["run-prepared", pod.trim()]).ok();
    assert_ne!(used(), before);
    rocket(["rm", pod.trim()]).ok();
    make_old();
    gc();
    assert!(listed(id).is_none());
}
