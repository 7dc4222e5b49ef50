//! Packing OCI images, and packing archives: other programs take what comes out, and it is the same image
//! whatever it was made from.

use crate::kit::{Host, Tar, gzip, same, umoci};
use crate::pack::tree;
use rocket_testkit::run;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

fn pack(host: &Host, source: &Path, out: &str, more: &[&str]) -> String {
    let mut args = vec!["image", "pack", source.to_str().unwrap(), "--name", "example.com/app:1.0"];
    args.extend(["--exec", "/bin/app", "--output", out]);
    args.extend(more);
    host.rocket(&args).ok().stdout.trim().to_owned()
}

fn root(host: &Host) -> std::path::PathBuf {
    let root = host.path("root");
    fs::create_dir(&root).unwrap();
    tree(&root);
    fs::remove_file(root.join("dev/null")).unwrap();
    root
}

fn skopeo(args: &[&str]) -> String {
    run("skopeo", [&["--insecure-policy"], args].concat()).ok().stdout
}

const ALL: &[&str] = &[
    "--user=33",
    "--group=7",
    "--env=A=1",
    "--env=PATH=/bin",
    "--port=http=8080",
    "--port=rtp=5000-5002/udp",
    "--mount=data=/srv/data",
    "--label=k=v",
    "--annotation=org.opencontainers.image.title=An app",
    "--stop-signal=QUIT",
    "--workdir=/etc",
    "--",
    "one",
    "-two",
];

#[test]
fn skopeo_inspects_and_copies_and_umoci_unpacks_it() {
    let host = Host::new();
    let root = root(&host);
    let dir = host.path("layout").display().to_string();
    let file = host.path("image.tar").display().to_string();
    let theirs = crate::kit::listing(&root);
    for compression in ["none", "gzip", "zstd"] {
        let more = [&["--compression", compression], ALL].concat();
        let id = pack(&host, &root, &format!("oci:{dir}:{compression}"), &more);
        let archived = pack(&host, &root, &format!("oci-archive:{file}:{compression}"), &more);
        assert_eq!(id, archived, "the layout and the archive hold the same image");
        for place in
            [format!("oci:{dir}:{compression}"), format!("oci-archive:{file}:{compression}")]
        {
            let seen: Value = serde_json::from_str(&skopeo(&["inspect", &place])).unwrap();
            assert_eq!(seen["Digest"], json!(id.replacen('-', ":", 1)));
            assert_eq!((&seen["Architecture"], &seen["Os"]), (&json!("amd64"), &json!("linux")));
            assert_eq!(seen["Labels"], json!({"k": "v"}));
            let config: Value =
                serde_json::from_str(&skopeo(&["inspect", "--config", &place])).unwrap();
            assert_eq!(
                config["config"],
                json!({"User": "33:7", "Env": ["A=1", "PATH=/bin"], "Entrypoint": ["/bin/app"],
                    "Cmd": ["one", "-two"], "Volumes": {"/srv/data": {}}, "WorkingDir": "/etc",
                    "ExposedPorts": {"8080/tcp": {}, "5000/udp": {}, "5001/udp": {}, "5002/udp": {}},
                    "Labels": {"k": "v"}, "StopSignal": "SIGQUIT"})
            );
            skopeo(&["copy", &place, &format!("dir:{}", host.path("copied").display())]);
            assert_eq!(host.rocket(&["fetch", &place]).ok().stdout.trim(), id);
        }
        same(&host.merged(&id), &theirs);
        if compression != "zstd" {
            let bundle = host.path(compression);
            same(&umoci(&format!("{dir}:{compression}"), &bundle), &theirs);
        }
    }
    // Three tags are in it now; one that is packed again takes the place of its old self.
    let names =
        || fs::read_to_string(host.path("layout/index.json")).unwrap().matches("ref.name").count();
    assert_eq!(names(), 3);
    let changed = pack(&host, &root, &format!("oci:{dir}:none"), &["--env=B=2"]);
    assert_eq!(names(), 3);
    assert_eq!(host.rocket(&["fetch", &format!("oci:{dir}:none")]).ok().stdout.trim(), changed);
    let list = host.rocket(&["image", "list"]).ok().stdout;
    assert!(list.contains("packed-here") && !list.contains("local-file"), "{list}");
}

#[test]
fn the_same_tree_gives_the_same_image_from_a_directory_and_from_archives() {
    let host = Host::new();
    let root = root(&host);
    let file = |name: &str| host.path(name).display().to_string();
    // Its own order, and names with "./" before them.
    let tar = |name: &str, more: &[&str]| {
        let file = file(name);
        let args =
            ["--create", "--format=posix", "--xattrs", "--xattrs-include=*", "--file", &file];
        let root = root.to_str().unwrap();
        run("tar", [&args, more, &["--directory", root, "."]].concat()).ok();
    };
    tar("plain.tar", &[]);
    tar("sorted.tar.gz", &["--gzip", "--sort=name"]);
    tar("tree.tar.xz", &["--xz", "--sort=inode"]);
    for (out, name) in [("a.aci", "ACI"), ("oci-archive:a.tar:x", "OCI")] {
        let mut places = Vec::new();
        for (index, source) in
            ["root", "plain.tar", "sorted.tar.gz", "tree.tar.xz"].iter().enumerate()
        {
            let out = match out.strip_prefix("oci-archive:a.tar") {
                Some(tag) => format!("oci-archive:{}{tag}", file(&format!("{index}.tar"))),
                None => file(&format!("{index}.aci")),
            };
            let place = out.trim_start_matches("oci-archive:").trim_end_matches(":x").to_owned();
            places.push((pack(&host, &host.path(source), &out, &[]), fs::read(place).unwrap()));
        }
        assert!(places.windows(2).all(|pair| pair[0] == pair[1]), "{name}");
    }
    let out = file("stdin.aci");
    let script = format!(
        "exec {} image pack - --name example.com/app:1.0 --exec /bin/app -o {out} <{}",
        env!("CARGO_BIN_EXE_rocket"),
        file("sorted.tar.gz")
    );
    run("sh", ["-c", &format!("ROCKET_STATE_DIR={} {script}", file("state"))]).ok();
    assert!(fs::read(out).unwrap() == fs::read(host.path("0.aci")).unwrap());
}

#[test]
fn archives_that_make_no_image_are_refused_and_leave_nothing() {
    let host = Host::new();
    let cases: [(&str, Vec<u8>, &str); 7] = [
        ("climbs", Tar::default().file("a/../../b", "x").end(), "climbs"),
        (
            "below",
            Tar::default().symlink("lib", "usr/lib").file("lib/a", "x").end(),
            "lies below lib",
        ),
        ("nowhere", Tar::default().link("a", "b").end(), "hard link to what comes nowhere"),
        ("hides", Tar::default().file("d/.wh.f", "").end(), "would hide a file"),
        ("cut", Tar::default().file("a", "x").end()[..700].to_vec(), "truncated"),
        ("unended", Tar::default().file("a", "x").end()[..1024].to_vec(), "no end"),
        ("gz", gzip(&Tar::default().file("a", "x").end())[..40].to_vec(), ""),
    ];
    for (name, bytes, why) in cases {
        let file = host.file(name, &bytes);
        let out = host.path("out/image.tar");
        fs::create_dir_all(out.parent().unwrap()).unwrap();
        let to = format!("oci-archive:{}", out.display());
        let args = ["image", "pack", &file, "--name", "a", "--exec", "/a", "--output", &to];
        let done = host.rocket(&args).ends_with(125);
        assert!(done.stderr.contains(why), "{name}: expected {why:?} in:\n{}", done.stderr);
        assert_eq!(fs::read_dir(out.parent().unwrap()).unwrap().count(), 0, "{name}");
    }
}

#[test]
fn what_an_oci_image_cannot_say_is_refused() {
    let host = Host::new();
    let root = host.path("root");
    fs::create_dir(&root).unwrap();
    let root = root.to_str().unwrap();
    let to = format!("oci:{}", host.path("new").display());
    let refused = |more: &[&str], why: &str| {
        let mut args = vec!["image", "pack", root, "--name", "a", "--output", &to];
        args.extend(more);
        let done = host.rocket(&args).ends_with(125);
        assert!(done.stderr.contains(why), "{more:?}: expected {why:?} in:\n{}", done.stderr);
        assert!(!host.path("new").exists());
    };
    refused(&["--dependency", "b:1"], "no dependencies");
    refused(&["--user", "/etc/owner"], "by name or number");
    refused(&["--port", "http"], "NAME=PORT");
    refused(&["--stop-signal", "SIGNONE"], "no signal");
    fs::create_dir(host.path("other")).unwrap();
    host.file("other/file", b"mine");
    let other = format!("oci:{}", host.path("other").display());
    host.rocket(&["image", "pack", root, "--name", "a", "--output", &other])
        .ends_with(125)
        .says(&["neither empty nor an OCI layout"]);
    assert_eq!(fs::read_dir(host.path("other")).unwrap().count(), 1);
    // An image without a program is one all the same, and so is an ACI on another.
    host.rocket(&["image", "pack", root, "--name", "a", "--output", &to]).ok();
    let aci = host.path("a.aci").display().to_string();
    let mut args = vec!["image", "pack", root, "--name", "a", "--output", &aci];
    args.extend(["--dependency", "example.com/base:1.0,k=v", "--exec", "/x"]);
    host.rocket(&args).ok();
    let text = run("tar", ["-xOf", &aci, "manifest"]).ok().stdout;
    let manifest: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        manifest["dependencies"],
        json!([{"imageName": "example.com/base",
            "labels": [{"name": "k", "value": "v"}, {"name": "version", "value": "1.0"}]}])
    );
}
