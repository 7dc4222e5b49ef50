//! ACIs that lie on others: what their roots are together, and what is refused.

use crate::kit::{Host, Tar};
use std::fs;

/// An ACI that depends on others, `NAME[@ID]` or `NAME#SIZE`, in a file.
fn image(host: &Host, name: &str, on: &[String], files: impl Fn(Tar) -> Tar) -> String {
    let on: Vec<serde_json::Value> = on
        .iter()
        .map(|text| match (text.split_once('@'), text.split_once('#')) {
            (Some((name, id)), _) => serde_json::json!({"imageName": full(name), "imageID": id}),
            (None, Some((name, size))) => {
                let size: u64 = size.parse().unwrap();
                serde_json::json!({"imageName": full(name), "size": size})
            }
            (None, None) => serde_json::json!({"imageName": full(text)}),
        })
        .collect();
    let manifest = serde_json::json!({
        "acKind": "ImageManifest", "acVersion": "0.8.11", "name": full(name),
        "labels": [{"name": "version", "value": "1"}], "dependencies": on,
        "app": {"exec": ["/bin/app"], "user": "0", "group": "0"},
    });
    let tar = Tar::default().file("manifest", &manifest.to_string()).dir("rootfs", 0o755, 0);
    host.file(&format!("{name}.aci"), &files(tar).end())
}

fn full(name: &str) -> String {
    format!("example.com/{name}")
}

fn on(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// What `path` is in an image's root.
fn content(host: &Host, name: &str, path: &str) -> String {
    let out = host.path(&format!("out-{name}"));
    if !out.exists() {
        host.rocket(&["image", "extract", &full(name), out.to_str().unwrap()]).ok();
    }
    fs::read_to_string(out.join(path)).unwrap_or_else(|_| "nothing".to_owned())
}

/// A on B and C; B on D; C on B and D: each file says which images have it.
#[test]
fn of_a_graph_the_later_path_wins_file_by_file() {
    let host = Host::new();
    let all = ["a", "b", "c", "d"];
    let make = |name: &str, below: &[&str]| {
        image(&host, name, &on(below), |tar| {
            // Every set of images that this one is in has a file of its own.
            (1..16).fold(tar, |tar, set: usize| {
                let members: Vec<&str> = all
                    .iter()
                    .enumerate()
                    .filter(|(i, _)| set >> i & 1 == 1)
                    .map(|(_, n)| *n)
                    .collect();
                match members.contains(&name) {
                    true => tar.file(&format!("rootfs/in-{}", members.concat()), name),
                    false => tar,
                }
            })
        })
    };
    for (name, below) in [("d", &[][..]), ("b", &["d"]), ("c", &["b", "d"]), ("a", &["b", "c"])] {
        host.rocket(&["fetch", &make(name, below)]).ok();
    }
    // Bottom to top: b's (d b), then c's (b's (d b), d, c), then a: of what is there twice the upper counts.
    let order = ["b", "d", "c", "a"];
    for set in 1..16usize {
        let members: Vec<&str> =
            all.iter().enumerate().filter(|(i, _)| set >> i & 1 == 1).map(|(_, n)| *n).collect();
        let winner = order.iter().rev().find(|name| members.contains(name)).unwrap();
        let path = format!("in-{}", members.concat());
        assert_eq!(content(&host, "a", &path), **winner, "{path}");
    }
    host.rocket(&["image", "verify", &full("a")]).ok();
    // An image that others lie on takes none of their layers along, and they say what is gone.
    host.rocket(&["image", "rm", &full("d")]).ok();
    host.rocket(&["image", "gc"]).ok();
    host.rocket(&["image", "verify", &full("a")]).ok();
    let gone = host.rocket(&["prepare", &full("a")]).ends_with(125);
    gone.says(&["on which it lies, is not in the store any more"]);
}

#[test]
fn a_link_to_a_directory_is_replaced_and_never_followed() {
    let host = Host::new();
    let low = image(&host, "low", &[], |tar| {
        tar.dir("rootfs/real", 0o755, 0).file("rootfs/real/x", "x").symlink("rootfs/lib", "real")
    });
    let high = image(&host, "high", &on(&["low"]), |tar| {
        tar.dir("rootfs/lib", 0o755, 0).file("rootfs/lib/y", "y").file("rootfs/real", "a file now")
    });
    host.rocket(&["fetch", &low, &high]).ok();
    assert_eq!(content(&host, "high", "lib/y"), "y");
    assert_eq!(content(&host, "high", "lib/x"), "nothing");
    assert_eq!(content(&host, "high", "real"), "a file now");
}

#[test]
fn what_is_missing_is_named_and_found_where_names_are_found() {
    let host = Host::new();
    let low = image(&host, "low", &[], |tar| tar.file("rootfs/x", "x"));
    let middle = image(&host, "middle", &on(&["low"]), |tar| tar.file("rootfs/y", "y"));
    let high = image(&host, "high", &on(&["middle"]), |tar| tar.file("rootfs/z", "z"));
    let refused = host.rocket(&["fetch", "--pull=never", &high]).ends_with(125);
    refused.says(&["high.aci depends on example.com/middle", "rocket fetch example.com/middle"]);
    host.rocket(&["fetch", &high])
        .ends_with(125)
        .says(&["example.com/middle", "nobody who was asked"]);
    let list = host.rocket(&["image", "list", "--format=json"]).ok().stdout;
    assert_eq!(list.trim(), "[]");
    // A place that has them.
    let place = host.path("place/images/example.com");
    for (name, file) in [("low", &low), ("middle", &middle)] {
        fs::create_dir_all(place.join(name)).unwrap();
        fs::copy(file, place.join(format!("{name}/latest-linux-amd64.aci"))).unwrap();
    }
    fs::create_dir_all(host.path("config/mirrors.d")).unwrap();
    let mirrors =
        format!("version = 1\n[prefix.\"\"]\nplaces = [\"{}\"]\n", host.path("place").display());
    fs::write(host.path("config/mirrors.d/a.toml"), mirrors).unwrap();
    host.rocket(&["fetch", &high]).ok();
    for file in ["x", "y", "z"] {
        assert_eq!(content(&host, "high", file), file);
    }
    // One that lies on itself, by way of another.
    let knot = |name: &str, on_what: &str| {
        let file = image(&host, name, &on(&[on_what]), |tar| tar);
        fs::create_dir_all(place.join(name)).unwrap();
        fs::copy(&file, place.join(format!("{name}/latest-linux-amd64.aci"))).unwrap();
        file
    };
    knot("one", "two");
    let two = knot("two", "one");
    host.rocket(&["fetch", &two]).ends_with(125).says(&["depends on itself"]);
    for depth in 0..20 {
        knot(&format!("deep-{depth}"), &format!("deep-{}", depth + 1));
    }
    host.rocket(&["fetch", "example.com/deep-0"]).ends_with(125).says(&["lie on one another"]);
}

#[test]
fn a_dependency_is_the_image_that_was_pinned() {
    let host = Host::new();
    let low = image(&host, "low", &[], |tar| tar.file("rootfs/x", "x"));
    let id = host.rocket(&["fetch", &low]).ok().stdout.trim().to_owned();
    let right = image(&host, "right", &[format!("low@{id}")], |tar| tar);
    host.rocket(&["fetch", &right]).ok();
    assert_eq!(content(&host, "right", "x"), "x");
    let other = format!("low@sha512-{}", "0".repeat(128));
    let wrong = image(&host, "wrong", &[other], |tar| tar);
    host.rocket(&["fetch", "--pull=never", &wrong])
        .ends_with(125)
        .says(&["depends on", "sha512-000"]);
    let rubbish = image(&host, "rubbish", &on(&["low@sha512-12"]), |tar| tar);
    host.rocket(&["fetch", &rubbish]).ends_with(125);
    // It may say how large it is at most.
    let size = fs::metadata(&low).unwrap().len();
    let small = image(&host, "small", &[format!("low#{}", size - 1)], |tar| tar);
    host.rocket(&["fetch", &small]).ends_with(125).says(&["its dependency example.com/low has"]);
    let fits = image(&host, "fits", &[format!("low#{size}")], |tar| tar);
    host.rocket(&["fetch", &fits]).ok();
}
