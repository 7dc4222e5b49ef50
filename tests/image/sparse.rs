//! Sparse files, in every form that tar writes them: the same content, and still holes.

use crate::kit::{Host, LayoutSpec, MANIFEST, Tar, same, umoci};
use rocket_testkit::run;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

const SIZE: u64 = 40 << 20;

/// Files with holes: at the begin, at the end, many, nothing else.
fn files(dir: &Path) {
    fs::create_dir_all(dir).unwrap();
    let make = |name: &str, size: u64, places: &[u64]| {
        let file = File::create(dir.join(name)).unwrap();
        for at in places {
            file.write_all_at(format!("at {at}").as_bytes(), *at).unwrap();
        }
        file.set_len(size).unwrap();
    };
    make("begin", SIZE, &[SIZE - 6]);
    make("end", SIZE, &[0, 70_000]);
    make("hole", SIZE, &[]);
    let many: Vec<u64> = (0..70).map(|n| n * 131_072 + 5).collect();
    make("many", SIZE, &many);
    make("dense", 7, &[0]);
    let long = "n".repeat(180);
    make(&long, SIZE, &[1 << 20]);
}

/// The directory as a layer, in one of tar's forms.
fn layer(host: &Host, form: &[&str]) -> Vec<u8> {
    let dir = host.path("sparse");
    if !dir.exists() {
        files(&dir);
    }
    let out = host.path("layer.tar").display().to_string();
    let parent = host.dir.path().display().to_string();
    let mut args =
        vec!["--mtime=@1500000000", "-S", "--hole-detection=raw", "-C", &parent, "-cf", &out];
    args.extend(form);
    args.push("sparse");
    run("tar", args).ok();
    let bytes = fs::read(&out).unwrap();
    assert!(bytes.len() < 4 << 20, "tar has seen no holes: {} bytes", bytes.len());
    bytes
}

const FORMS: [(&str, &[&str]); 4] = [
    ("pax00", &["--format=posix", "--sparse-version=0.0"]),
    ("pax01", &["--format=posix", "--sparse-version=0.1"]),
    ("pax10", &["--format=posix", "--sparse-version=1.0"]),
    ("gnu", &["--format=gnu"]),
];

/// What the files below a directory take on disk.
fn blocks(dir: &Path) -> u64 {
    fs::read_dir(dir).unwrap().map(|e| e.unwrap().metadata().unwrap().blocks() * 512).sum()
}

#[test]
fn every_form_is_what_umoci_unpacks_and_stays_sparse() {
    let host = Host::new();
    let mut theirs = None;
    for (name, form) in FORMS {
        let layout = host.path(name);
        let base = Tar::default().dir("./", 0o755, 0).end();
        // The second layer links to a sparse file below, which is copied up.
        let above = Tar::default().link("copy", "sparse/many").end();
        LayoutSpec::new(vec![base, layer(&host, form), above]).write(&layout);
        host.rocket(&["fetch", &format!("oci:{}", layout.display())]).ok();
        let tag = format!("{}:latest", layout.display());
        if name != "gnu" {
            theirs = Some(umoci(&tag, &host.path(&format!("{name}-theirs"))));
        }
        // Umoci does not read GNU tar's own form; its content is that of the others.
        same(&host.merged(name), theirs.as_ref().unwrap());
        let layers = host.layers(name);
        let (whole, copied) =
            (blocks(&layers[1].join("sparse")), blocks(&layers[0].join("sparse")));
        assert!(whole < 8 << 20, "{name}: {whole} bytes on disk");
        assert!(copied < 4 << 20, "{name}: {copied} bytes on disk after the copy");
    }
}

#[test]
fn an_aci_with_sparse_files() {
    let host = Host::new();
    let root = host.path("rootfs");
    files(&root);
    fs::write(host.path("manifest"), MANIFEST).unwrap();
    let out = host.path("a.aci").display().to_string();
    let dir = host.dir.path().display().to_string();
    run("tar", ["-S", "--hole-detection=raw", "-C", &dir, "-cf", &out, "manifest", "rootfs"]).ok();
    host.rocket(&["fetch", &out]).ok();
    let tree = host.layers("example.com/app").remove(0);
    assert!(blocks(&tree) < 8 << 20);
    for name in ["begin", "end", "hole", "many", "dense"] {
        let (ours, theirs) = (fs::read(tree.join(name)), fs::read(root.join(name)));
        assert!(ours.unwrap() == theirs.unwrap(), "{name}");
    }
}
