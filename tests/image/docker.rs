//! Archives as `docker save` writes them, in both forms.

use crate::kit::{Host, LayoutSpec, Tar, gzip, same, umoci};
use rocket::image::{Algo, Digest};
use rocket_testkit::run;
use serde_json::{Value, json};

fn spec() -> LayoutSpec {
    let base = Tar::default().dir("./", 0o755, 0).dir("d/", 0o750, 3).file("d/f", "below");
    LayoutSpec::new(vec![base.end(), Tar::default().whiteout("d/.wh.f").file("d/g", "above").end()])
}

/// A layout written by us, and what umoci makes of it.
fn layout(host: &Host) -> (String, std::collections::BTreeMap<String, String>) {
    spec().write(&host.path("layout"));
    let layout = format!("{}:latest", host.path("layout").display());
    let theirs = umoci(&layout, &host.path("theirs"));
    (layout, theirs)
}

#[test]
fn archives_by_skopeo_hold_the_same_image() {
    let host = Host::new();
    let (layout, theirs) = layout(&host);
    let file = host.path("one.tar").display().to_string();
    let to = format!("docker-archive:{file}:example.com/team/app:v1");
    run("skopeo", ["--insecure-policy", "copy", &format!("oci:{layout}"), &to]).ok();
    let id = host.rocket(&["fetch", &format!("docker-archive:{file}")]).ok().stdout;
    same(&host.merged("example.com/team/app:v1"), &theirs);
    for name in ["v1", "app:v1", "example.com/team/app:v1"] {
        let again = host.rocket(&["fetch", &format!("docker-archive:{file}:{name}")]).ok().stdout;
        assert_eq!(again, id, "{name}");
    }
    let none = host.rocket(&["fetch", &format!("docker-archive:{file}:v2")]).ends_with(125);
    none.says(&["it has no image v2 (names: example.com/team/app:v1)"]);
    let manifest = host.rocket(&["image", "cat-manifest", "example.com/team/app"]).ok().stdout;
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    assert_eq!(manifest["app"]["exec"], json!(["/bin/app"]));
}

/// `manifest.json` of these images: name, configuration, layers.
fn listed(images: &[(&str, &str, &[&str])]) -> String {
    let image = |(name, config, layers): &(&str, &str, &[&str])| json!({"Config": config, "RepoTags": [name], "Layers": layers});
    images.iter().map(image).collect::<Value>().to_string()
}

fn config(layers: &[&[u8]]) -> String {
    let diffs: Vec<String> = layers.iter().map(|l| Digest::of(Algo::Sha256, l).oci()).collect();
    json!({"os": "linux", "architecture": "amd64", "config": {"Cmd": ["/bin/app"]},
        "rootfs": {"type": "layers", "diff_ids": diffs}})
    .to_string()
}

/// Adds a file of any size.
fn put(tar: Tar, name: &str, data: &[u8]) -> Tar {
    tar.raw(name.as_bytes(), b'0', b"", 0o644, (0, 0), data)
}

#[test]
fn the_older_form_has_layers_in_directories_and_links_for_equal_ones() {
    let host = Host::new();
    let layers = spec().layers;
    let config = config(&[&layers[0], &layers[1], &layers[1]]);
    let paths = ["1/layer.tar", "2/layer.tar", "3/layer.tar"];
    let tar = Tar::default()
        .dir("1/", 0o755, 0)
        .file("1/VERSION", "1.0")
        .file("c.json", &config)
        .file("manifest.json", &listed(&[("app:old", "c.json", &paths)]))
        .symlink("3/layer.tar", "../2/layer.tar");
    let tar = put(put(tar, "1/layer.tar", &layers[0]), "2/layer.tar", &layers[1]);
    let file = host.file("old.tar", &tar.end());
    host.rocket(&["fetch", &format!("docker-archive:{file}")]).ok();
    let (_, theirs) = layout(&host);
    same(&host.merged("docker.io/library/app:old"), &theirs);
}

#[test]
fn the_newer_form_has_blobs_perhaps_compressed() {
    let host = Host::new();
    let layers = spec().layers;
    let config = config(&[&layers[0], &layers[1]]);
    for (name, compressed) in [("plain", false), ("packed", true)] {
        let blobs: Vec<Vec<u8>> =
            layers.iter().map(|l| if compressed { gzip(l) } else { l.clone() }).collect();
        let at = |bytes: &[u8]| format!("blobs/sha256/{}", Digest::of(Algo::Sha256, bytes).hex());
        let paths: Vec<String> = blobs.iter().map(|b| at(b)).collect();
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        let place = at(config.as_bytes());
        let tag = format!("localhost/app:{name}");
        let mut tar = Tar::default()
            .file("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#)
            .file("manifest.json", &listed(&[(&tag, &place, &paths)]));
        tar = tar.file(&place, &config);
        for (path, blob) in paths.iter().zip(&blobs) {
            tar = put(tar, path, blob);
        }
        let file = host.file(&format!("{name}.tar"), &tar.end());
        host.rocket(&["fetch", &format!("docker-archive:{file}")]).ok();
    }
    let (_, theirs) = layout(&host);
    same(&host.merged("localhost/app:plain"), &theirs);
    same(&host.merged("localhost/app:packed"), &theirs);
    assert_eq!(host.layers("localhost/app:plain"), host.layers("localhost/app:packed"));
}

#[test]
fn bad_archives_are_refused_by_cause() {
    let host = Host::new();
    let layer = spec().layers.remove(0);
    let good = config(&[&layer]);
    let one: &[(&str, &str, &[&str])] = &[("a:1", "c.json", &["l"])];
    let two: &[(&str, &str, &[&str])] = &[("a:1", "c.json", &["l"]), ("b:1", "c.json", &["l"])];
    let tar = |manifest: &str, config: &str, layer: &[u8]| {
        let tar = Tar::default().file("manifest.json", manifest).file("c.json", config);
        put(tar, "l", layer).end()
    };
    let other = spec().layers.remove(1);
    let many = vec!["l"; 501];
    let loops = Tar::default()
        .file("manifest.json", &listed(one))
        .file("c.json", &good)
        .symlink("l", "m")
        .symlink("m", "l")
        .end();
    let outside = Tar::default()
        .file("manifest.json", &listed(one))
        .file("c.json", &good)
        .symlink("l", "../../../etc/passwd")
        .end();
    let absolute = Tar::default().symlink("manifest.json", "/etc/passwd").end();
    for (name, bytes, why) in [
        ("nothing", Tar::default().end(), "no file manifest.json"),
        ("no list", tar("{}", &good, &layer), "manifest.json cannot be read"),
        ("empty", tar("[]", &good, &layer), "it holds no image"),
        ("two", tar(&listed(two), &good, &layer), "several images; say which"),
        (
            "lost layer",
            tar(&listed(&[("a:1", "c.json", &["none"])]), &good, &layer),
            "no file none",
        ),
        ("lost config", tar(&listed(&[("a:1", "none", &["l"])]), &good, &layer), "no file none"),
        ("wrong layer", tar(&listed(one), &good, &other), "should be"),
        ("no tar", tar(&listed(one), &good, b"hello"), "short"),
        ("more layers", tar(&listed(&[("a:1", "c.json", &["l", "l"])]), &good, &layer), "2 layers"),
        ("501 layers", tar(&listed(&[("a:1", "c.json", &many)]), &good, &layer), "more than 500"),
        (
            "other machine",
            tar(&listed(one), &good.replace("amd64", "s390x"), &layer),
            "this host is linux/amd64",
        ),
        (
            "wrong blob",
            put(
                Tar::default()
                    .file(
                        "manifest.json",
                        &listed(&[(
                            "a:1",
                            "c.json",
                            &[&format!("blobs/sha256/{}", "0".repeat(64))],
                        )]),
                    )
                    .file("c.json", &good),
                &format!("blobs/sha256/{}", "0".repeat(64)),
                &layer,
            )
            .end(),
            "should be",
        ),
        ("links in a ring", loops, "no file l"),
        ("a link outside", outside, "no file l"),
        ("an absolute link", absolute, "no file manifest.json"),
    ] {
        let file = host.file("bad.tar", &bytes);
        let done = host.rocket(&["fetch", &format!("docker-archive:{file}")]).ends_with(125);
        let why = if why == "short" { "" } else { why };
        assert!(done.stderr.contains(why), "{name}: expected {why:?} in:\n{}", done.stderr);
    }
    assert_eq!(host.rocket(&["image", "list", "--format=json"]).ok().stdout.trim(), "[]");
}
