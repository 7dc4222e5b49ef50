//! Layers over layers: the same tree as umoci, with every trap.

use crate::kit::{Host, LayoutSpec, Tar, same, umoci, zstd};

/// A base as distributions have it, described completely.
fn base() -> Tar {
    let capability = b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    Tar::default()
        .dir("./", 0o751, 0)
        .dir("usr/", 0o755, 0)
        .dir("usr/bin/", 0o755, 0)
        .file("usr/bin/sh", "shell")
        .pax(&[
            ("SCHILY.xattr.security.capability", capability),
            ("mtime", b"1500000000.123456789"),
        ])
        .raw(b"usr/bin/ping", b'0', b"", 0o755, (0, 0), b"ping")
        .raw(b"usr/bin/su", b'0', b"", 0o4755, (0, 7), b"su")
        .link("usr/bin/sh2", "usr/bin/sh")
        .symlink("bin", "usr/bin")
        .symlink("abs", "/usr/bin")
        .pax(&[("SCHILY.xattr.user.note", b"secret \0 bytes")])
        .dir("private/", 0o700, 33)
        .raw(b"private/key", b'0', b"", 0o600, (33, 34), b"key")
        .dir("var/", 0o755, 0)
        .dir("var/log/", 0o2775, 5)
        .file("var/log/a", "a")
        .file("var/log/b", "b")
        .dir("data/", 0o755, 0)
        .dir("data/sub/", 0o711, 1)
        .file("data/sub/x", "x")
        .file("data/y", "y")
        .dir("gone/", 0o755, 0)
        .file("gone/file", "g")
        .dir("swap/", 0o755, 0)
        .file("swap/old", "o")
        .file("plain", "p")
        .raw(b"pipe", b'6', b"", 0o640, (1, 2), b"")
        .dir("sticky/", 0o1777, 0)
}

fn check(layers: Vec<Vec<u8>>) {
    check_but_time(layers, &[]);
}

/// `untimed` are directories whose time umoci loses: it removes names from them after setting it.
fn check_but_time(layers: Vec<Vec<u8>>, untimed: &[&str]) {
    let host = Host::new();
    let layout = host.path("img");
    LayoutSpec::new(layers).write(&layout);
    let reference = format!("oci:{}:latest", layout.display());
    host.rocket(&["fetch", &reference]).ok();
    let mut theirs = umoci(&format!("{}:latest", layout.display()), &host.path("bundle"));
    let mut ours = host.merged("img:latest");
    for path in untimed {
        for tree in [&mut ours, &mut theirs] {
            let line = tree.get_mut(*path).unwrap();
            let words: Vec<&str> = line.split(' ').collect();
            *line = [words[0], words[1], words[3], words[4]].join(" ");
        }
    }
    same(&ours, &theirs);
}

#[test]
fn one_layer_is_what_umoci_unpacks() {
    check(vec![base().end()]);
}

#[test]
fn a_private_parent_without_an_entry_keeps_what_it_has() {
    check(vec![base().end(), Tar::default().file("private/more", "m").end()]);
}

#[test]
fn a_file_through_a_merged_directory_link_does_not_hide_it() {
    let second = Tar::default().file("bin/tool", "t").file("abs/tool2", "u").end();
    check(vec![base().end(), second]);
}

#[test]
fn a_hard_link_into_a_lower_layer_copies_it_up() {
    let second = Tar::default()
        .link("usr/bin/ping6", "usr/bin/ping")
        .link("var/su", "/usr/bin/su")
        .link("var/log/c", "bin/sh")
        .link("var/link", "abs")
        .end();
    check(vec![base().end(), second]);
}

#[test]
fn whiteouts_and_opaque_directories() {
    let second = Tar::default()
        .whiteout("var/log/.wh.a")
        .whiteout(".wh.gone")
        .whiteout(".wh.plain")
        .whiteout("private/.wh.none")
        .dir("data/", 0o750, 9)
        .whiteout("data/.wh..wh..opq")
        .file("data/new", "n")
        .end();
    let third = Tar::default()
        .dir("gone/", 0o700, 3)
        .file("gone/again", "a")
        .file("plain", "back")
        .dir("data/sub/", 0o700, 2)
        .file("data/sub/z", "z")
        .end();
    check(vec![base().end(), second.clone()]);
    check(vec![base().end(), second, third]);
}

#[test]
fn whiteouts_work_in_any_order_and_through_links() {
    for turned in [false, true] {
        let hide =
            |tar: Tar| tar.whiteout(".wh.swap").whiteout("data/.wh.y").whiteout("bin/.wh.sh2");
        let add =
            |tar: Tar| tar.dir("swap/", 0o705, 4).file("swap/new", "n").file("data/y", "again");
        let layer = if turned { hide(add(Tar::default())) } else { add(hide(Tar::default())) };
        check_but_time(vec![base().end(), layer.end()], &["/swap"]);
    }
    let late =
        Tar::default().dir("data/", 0o755, 0).file("data/sub/n", "n").whiteout("data/.wh..wh..opq");
    check_but_time(vec![base().end(), late.end()], &["/data/sub"]);
}

#[test]
fn one_type_replaces_another() {
    let second = Tar::default()
        .file("swap", "now a file")
        .dir("plain/", 0o755, 0)
        .file("plain/inside", "i")
        .dir("bin/", 0o755, 0)
        .file("bin/only", "o")
        .symlink("data", "usr")
        .file("pipe", "no pipe")
        .end();
    let third = Tar::default()
        .file("data/shared", "through the link")
        .dir("swap/", 0o711, 0)
        .file("swap/fresh", "f")
        .end();
    check(vec![base().end(), second, third]);
}

#[test]
fn many_layers_stay_in_order() {
    let mut layers = vec![base().end()];
    for number in 0..8 {
        let mut tar = Tar::default().file("var/log/last", &number.to_string());
        tar = match number % 3 {
            0 => tar.file(&format!("var/log/n{number}"), "n"),
            1 => tar.whiteout(&format!("var/log/.wh.n{}", number - 1)),
            _ => tar.whiteout("var/log/.wh..wh..opq").dir("var/log/", 0o700 + number, number),
        };
        layers.push(tar.end());
    }
    check(layers);
}

#[test]
fn compressions_and_docker_media_types_give_the_same() {
    let layers = || vec![base().end(), Tar::default().file("bin/tool", "t").end()];
    let plain: fn(&[u8]) -> Vec<u8> = <[u8]>::to_vec;
    let docker = "application/vnd.docker.distribution.manifest.v2+json";
    let docker_config = "application/vnd.docker.container.image.v1+json";
    let oci = "application/vnd.oci.image.manifest.v1+json";
    let oci_config = "application/vnd.oci.image.config.v1+json";
    let host = Host::new();
    let mut results = Vec::new();
    for (name, compress, layer_type, manifest_type, config_type) in [
        ("plain", plain, "application/vnd.oci.image.layer.v1.tar", oci, oci_config),
        ("zstd", zstd, "application/vnd.oci.image.layer.v1.tar+zstd", oci, oci_config),
        (
            "gzip",
            crate::kit::gzip,
            "application/vnd.docker.image.rootfs.diff.tar.gzip",
            docker,
            docker_config,
        ),
    ] {
        let spec = LayoutSpec {
            compress,
            layer_type,
            manifest_type,
            config_type,
            ..LayoutSpec::new(layers())
        };
        spec.write(&host.path(name));
        host.rocket(&["fetch", &format!("oci:{}", host.path(name).display())]).ok();
        results.push((host.layers(name), host.merged(name)));
    }
    assert_eq!(results[0].0, results[1].0, "equal layers are stored once");
    assert!(results.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn a_layer_that_needs_nothing_from_below_is_shared() {
    let alone =
        || Tar::default().dir("./", 0o755, 0).dir("opt/", 0o755, 0).file("opt/x", "x").end();
    let needy = || Tar::default().file("opt/y", "y").end();
    let host = Host::new();
    for (name, first) in [("one", base().end()), ("two", base().file("extra", "e").end())] {
        LayoutSpec::new(vec![first, alone(), needy()]).write(&host.path(name));
        host.rocket(&["fetch", &format!("oci:{}", host.path(name).display())]).ok();
    }
    let (one, two) = (host.layers("one"), host.layers("two"));
    assert_eq!(one[1], two[1], "by its diff id");
    assert_ne!(one[0], two[0], "by its chain id");
    assert_ne!(one[2], two[2]);
}

#[test]
fn an_index_gives_the_image_of_this_host() {
    use rocket::image::{Algo, Digest};
    let host = Host::new();
    let dir = host.path("multi");
    LayoutSpec::new(vec![base().end()]).write(&dir);
    let top = std::fs::read(dir.join("index.json")).unwrap();
    let mut top: serde_json::Value = serde_json::from_slice(&top).unwrap();
    for (arch, works) in [("amd64", true), ("s390x", false)] {
        let mut own = top["manifests"][0].clone();
        own["platform"] = serde_json::json!({"os": "linux", "architecture": arch});
        let mut other = own.clone();
        other["platform"]["architecture"] = "arm64".into();
        other["digest"] = format!("sha256:{}", "0".repeat(64)).into();
        let kind = "application/vnd.oci.image.index.v1+json";
        let index =
            serde_json::json!({"schemaVersion": 2, "mediaType": kind, "manifests": [other, own]});
        let bytes = index.to_string();
        let digest = Digest::of(Algo::Sha256, bytes.as_bytes());
        std::fs::write(dir.join("blobs/sha256").join(digest.hex()), &bytes).unwrap();
        let mut outer = top.clone();
        outer["manifests"][0]["mediaType"] = kind.into();
        outer["manifests"][0]["digest"] = digest.oci().into();
        outer["manifests"][0]["size"] = bytes.len().into();
        std::fs::write(dir.join("index.json"), outer.to_string()).unwrap();
        let done = host.rocket(&["fetch", &format!("oci:{}", dir.display())]);
        if works {
            let id = top["manifests"][0]["digest"].as_str().unwrap().replace(':', "-");
            assert_eq!(done.ok().stdout.trim(), id);
        } else {
            done.ends_with(125).says(&["no image for linux/amd64", "linux/arm64, linux/s390x"]);
        }
        top["manifests"][0]["annotations"]["x"] = "y".into();
    }
}

#[test]
fn more_layers_than_descriptors() {
    let host = Host::new();
    let layers = (0..60).map(|n| Tar::default().file(&format!("f{n}"), "x").end()).collect();
    LayoutSpec::new(layers).write(&host.path("many"));
    let script = format!(
        "ulimit -Sn 40; exec {} fetch oci:{}",
        env!("CARGO_BIN_EXE_rocket"),
        host.path("many").display()
    );
    rocket_testkit::Command::new("sh")
        .args(["-c", &script])
        .env("ROCKET_STATE_DIR", host.path("state"))
        .env("ROCKET_CONFIG_DIR", host.path("config"))
        .run()
        .ok();
    assert_eq!(host.layers("many").len(), 60);
    let layers = (0..501).map(|_| Tar::default().end()).collect();
    LayoutSpec::new(layers).write(&host.path("too-many"));
    let reference = format!("oci:{}", host.path("too-many").display());
    host.rocket(&["fetch", &reference]).ends_with(125).says(&["more than 500 layers"]);
}
