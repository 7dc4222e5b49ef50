//! Layouts in tar archives, as skopeo and podman write them.

use crate::kit::{Host, LayoutSpec, Tar, same, umoci};
use rocket_testkit::run;
use std::fs;

fn spec() -> LayoutSpec {
    let base = Tar::default().dir("./", 0o755, 0).dir("d/", 0o750, 3).file("d/f", "below");
    LayoutSpec::new(vec![base.end(), Tar::default().whiteout("d/.wh.f").file("d/g", "above").end()])
}

#[test]
fn an_archive_by_skopeo_is_what_umoci_unpacks_from_the_layout() {
    let host = Host::new();
    spec().write(&host.path("layout"));
    let layout = format!("{}:latest", host.path("layout").display());
    let archive = format!("oci-archive:{}:v1", host.path("image.tar").display());
    run("skopeo", ["--insecure-policy", "copy", &format!("oci:{layout}"), &archive]).ok();
    let by_tag = host.rocket(&["fetch", &archive]).ok().stdout;
    same(&host.merged("image:v1"), &umoci(&layout, &host.path("theirs")));
    let only = format!("oci-archive:{}", host.path("image.tar").display());
    assert_eq!(host.rocket(&["fetch", &only]).ok().stdout, by_tag);
}

#[test]
fn archives_that_are_none_are_refused_by_cause() {
    let host = Host::new();
    spec().write(&host.path("layout"));
    let dir = host.path("layout").display().to_string();
    run("tar", ["-C", &dir, "-cf", host.path("good.tar").to_str().unwrap(), "."]).ok();
    let good = fs::read(host.path("good.tar")).unwrap();
    let twice = Tar::default().file("oci-layout", "a").file("./oci-layout", "b").end();
    for (name, bytes, why) in [
        ("cut", good[..good.len() / 2].to_vec(), "truncated"),
        ("gz", crate::kit::gzip(&good), "no tar archive, or it is compressed"),
        ("nothing", Tar::default().end(), "no file oci-layout"),
        ("twice", twice, "names this path twice"),
        (
            "index",
            Tar::default().file("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#).end(),
            "it has no file index.json",
        ),
    ] {
        let file = host.file(name, &bytes);
        let done = host.rocket(&["fetch", &format!("oci-archive:{file}")]).ends_with(125);
        assert!(done.stderr.contains(why), "{name}: expected {why:?} in:\n{}", done.stderr);
    }
    let good = host.path("good.tar").display().to_string();
    let none = host.rocket(&["fetch", &format!("oci-archive:{good}:none")]).ends_with(125);
    assert!(none.stderr.contains("no tag none (tags: latest)"), "{}", none.stderr);
    host.rocket(&["fetch", &format!("oci-archive:{good}")]).ok();
    assert!(host.merged("good").contains_key("/d/g"));
}
