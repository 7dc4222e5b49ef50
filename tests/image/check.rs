//! What is found when somebody changes the store, and what comes out of it again.

use crate::kit::{Host, LayoutSpec, Tar, aci, gzip, listing};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Turns one byte of a file, keeping its length and time.
fn flip(path: &Path) {
    let time = fs::metadata(path).unwrap().modified().unwrap();
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
    fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

fn base() -> Vec<u8> {
    Tar::default()
        .dir("./", 0o755, 0)
        .dir("etc/", 0o755, 0)
        .file("etc/hosts", "hosts of the image")
        .file("etc/gone", "soon gone")
        .link("etc/same", "etc/hosts")
        .symlink("etc/link", "hosts")
        .pax(&[("SCHILY.xattr.user.a", b"b")])
        .file("etc/attr", "a")
        .end()
}

fn layout(host: &Host, name: &str) {
    let upper =
        Tar::default().file("etc/hosts", "upper").whiteout("etc/.wh.gone").file("new", "n").end();
    let spec = LayoutSpec::new(vec![base(), upper]);
    spec.write(&host.path(name));
    host.rocket(&["fetch", &format!("oci:{}:latest", host.path(name).display())]).ok();
}

/// Flips a byte in each file that `chosen` gives for each entry of the store's directories, one after the
/// other, and expects that alone to be named, by what `name` makes of the file.
fn flipped(dirs: &[&str], files: &[&str], name: fn(&str) -> &str, count: usize) {
    let host = Host::new();
    layout(&host, "app");
    let aci = host.file("a.aci", &gzip(&aci().file("rootfs/f", "some content").end()));
    let id = host.rocket(&["fetch", &aci]).ok().stdout.trim().to_owned();
    let clean = host.rocket(&["image", "verify", "--all"]).ok();
    assert_eq!(clean.stdout, "", "nothing is wrong");
    let json = host.rocket(&["image", "verify", "--all", "--format=json"]).ok().stdout;
    assert_eq!(json.trim(), "[]");

    let mut paths = Vec::new();
    for dir in dirs {
        for entry in fs::read_dir(host.store().join(dir)).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => paths.extend(files.iter().map(|file| path.join(file))),
                false => paths.push(path),
            }
        }
    }
    paths.retain(|path| path.exists());
    assert_eq!(paths.len(), count, "{paths:?}");
    for path in paths {
        flip(&path);
        let found = host.rocket(&["image", "verify", "--all"]).ends_with(1).stdout;
        assert_eq!(found.lines().count() - 1, 1, "{}: {found}", path.display());
        assert!(found.contains("changed"), "{found}");
        let wanted = name(path.file_name().unwrap().to_str().unwrap());
        assert!(found.contains(wanted), "{}: {found}", path.display());
        flip(&path);
    }
    host.rocket(&["image", "verify", &id[..20], "app"]).ok();
}

const LAYERS: &[&str] = &["layers/sha256", "layers/sha512"];

#[test]
fn a_flipped_byte_in_a_blob_is_found_and_named() {
    flipped(&["blobs/sha256"], &[], |name| name, 3);
}

#[test]
fn a_flipped_byte_in_a_layers_file_is_found_and_named() {
    let files = ["tree/etc/hosts", "tree/etc/attr", "tree/new", "tree/f"];
    flipped(LAYERS, &files, |name| name, 5);
}

#[test]
fn a_flipped_byte_in_a_layers_list_is_found_and_named() {
    flipped(LAYERS, &["files"], |_| "file list", 3);
}

#[test]
fn a_flipped_byte_in_a_manifest_is_found_and_named() {
    let files = ["manifest", "oci-manifest.json", "oci-config.json"];
    flipped(&["images"], &files, |name| name, 4);
}

#[test]
fn what_cannot_be_verified_is_said() {
    let host = Host::new();
    host.rocket(&["image", "verify"]).ends_with(125);
    host.rocket(&["image", "verify", "nobody"]).ends_with(125).says(&["not in the store"]);
}

#[test]
fn every_kind_of_change_is_named_and_repaired() {
    let host = Host::new();
    layout(&host, "app");
    let tree = host.layers("app")[1].clone();
    let before = listing(&tree);
    fs::write(tree.join("etc/hosts"), "other content, and longer").unwrap();
    fs::remove_file(tree.join("etc/gone")).unwrap();
    fs::remove_file(tree.join("etc/same")).unwrap();
    fs::write(tree.join("etc/same"), "hosts of the image").unwrap();
    fs::remove_file(tree.join("etc/link")).unwrap();
    std::os::unix::fs::symlink("/outside", tree.join("etc/link")).unwrap();
    fs::set_permissions(tree.join("etc/attr"), fs::Permissions::from_mode(0o4755)).unwrap();
    let attr = fs::File::open(tree.join("etc/attr")).unwrap();
    rustix::fs::fsetxattr(&attr, "user.b", b"c", rustix::fs::XattrFlags::empty()).unwrap();
    rustix::fs::fremovexattr(&attr, "user.a").unwrap();
    std::os::unix::fs::chown(tree.join("etc"), Some(7), None).unwrap();
    fs::create_dir(tree.join("etc/dir")).unwrap();
    fs::write(tree.join("etc/dir/evil"), "").unwrap();

    let found = host.rocket(&["image", "audit", "app", "--format=json"]).ends_with(1).stdout;
    let found: Vec<serde_json::Value> = serde_json::from_str(&found).unwrap();
    let said = |path: &str, problem: &str, words: &[&str]| {
        let one = found.iter().find(|f| f["path"] == path && f["problem"] == problem);
        let one = one.unwrap_or_else(|| panic!("no {path} {problem} in {found:?}"));
        for word in words {
            assert!(one["detail"].as_str().unwrap_or("").contains(word), "{word}: {one}");
        }
    };
    said("/etc/hosts", "changed", &["content", "25 bytes"]);
    said("/etc/gone", "missing", &[]);
    said("/etc/same", "changed", &["no longer a link to /etc/hosts"]);
    said("/etc/link", "changed", &["link text", "/outside"]);
    said("/etc/attr", "changed", &["mode (4755", "user.b (added)", "user.a (missing)"]);
    said("/etc", "changed", &["owner (7:0, not 0:0)"]);
    said("/etc/dir", "added", &[]);
    said("/etc/dir/evil", "added", &[]);
    assert_eq!(found.len(), 8, "{found:?}");

    let repaired = host.rocket(&["image", "verify", "app", "--repair"]).ok();
    assert!(repaired.stdout.contains("(repaired)"), "{}", repaired.stdout);
    assert_eq!(listing(&tree), before);
    host.rocket(&["image", "verify", "--all"]).ok();
    assert!(fs::read_dir(host.store().join("tmp")).unwrap().next().is_none());

    // Without a good blob nothing is touched.
    fs::write(tree.join("etc/hosts"), "again").unwrap();
    for blob in fs::read_dir(host.store().join("blobs/sha256")).unwrap() {
        flip(&blob.unwrap().path());
    }
    host.rocket(&["image", "audit", "app", "--repair"])
        .ends_with(1)
        .says(&["is damaged too", "rocket fetch"]);
    assert_eq!(fs::read(tree.join("etc/hosts")).unwrap(), b"again");
}

#[test]
fn what_was_fetched_comes_out_byte_for_byte() {
    let host = Host::new();
    let bytes = gzip(&aci().file("rootfs/f", "content").end());
    let id = host.rocket(&["fetch", &host.file("a.aci", &bytes)]).ok().stdout;
    let out = host.path("out.aci");
    host.rocket(&["image", "export", "example.com/app", "-o", out.to_str().unwrap()]).ok();
    assert_eq!(fs::read(&out).unwrap(), bytes);
    let dir = host.path("dir");
    host.rocket(&["image", "export", "example.com/app", "--dir", dir.to_str().unwrap()])
        .ends_with(125)
        .says(&["one file"]);
    assert!(!dir.exists());

    layout(&host, "app");
    let (archive, copy) = (host.path("app.tar"), host.path("copy"));
    host.rocket(&["image", "export", "app", "-o", archive.to_str().unwrap()]).ok();
    host.rocket(&["image", "export", "app", "--dir", copy.to_str().unwrap()]).ok();
    for blob in fs::read_dir(host.path("app/blobs/sha256")).unwrap() {
        let blob = blob.unwrap().path();
        let same = copy.join("blobs/sha256").join(blob.file_name().unwrap());
        assert_eq!(fs::read(&same).unwrap(), fs::read(&blob).unwrap());
    }
    rocket_testkit::Command::new("tar").args(["-tf", archive.to_str().unwrap()]).run().ok();
    let other = Host::new();
    let import = |path: &Path| {
        other.rocket(&["image", "import", path.to_str().unwrap()]).ok().stdout.trim().to_owned()
    };
    assert_eq!(import(&out), id.trim());
    assert_eq!(import(&archive), import(&copy));
    other.rocket(&["image", "import", "/dev/null"]).ends_with(125);
    other.rocket(&["image", "verify", "--all"]).ok();

    // A damaged blob does not come out, and nothing half-made stays.
    let blob = fs::read_dir(other.store().join("blobs/sha256")).unwrap().next().unwrap();
    flip(&blob.unwrap().path());
    let ruins = other.path("ruins");
    let ends = ["example.com/app", "app"].map(|name| {
        other.rocket(&["image", "export", name, "-o", ruins.to_str().unwrap()]).status.code()
    });
    assert!(ends.contains(&Some(125)), "{ends:?}");
    assert!(
        !fs::read_dir(other.path(""))
            .unwrap()
            .any(|entry| { entry.unwrap().file_name().to_str().unwrap().starts_with(".ruins") })
    );
}

#[test]
fn a_tree_is_rendered_with_one_digest() {
    let host = Host::new();
    layout(&host, "app");
    let out = host.path("tree");
    let digest = host.rocket(&["image", "render", "app", "-o", out.to_str().unwrap()]).ok().stdout;
    assert_eq!(listing(&out), host.merged("app"));
    let list = host.rocket(&["image", "render", "app", "--list"]).ok().stdout;
    let again = rocket::image::Digest::of(rocket::image::Algo::Sha256, list.as_bytes());
    assert_eq!(again.to_string(), digest.trim());
    for path in [" /etc/hosts -", " /etc/same -", " /new -", " /etc/link hosts"] {
        assert!(list.contains(path), "{path}: {list}");
    }
    assert!(!list.contains("/etc/gone"), "{list}");
    let other = Host::new();
    layout(&other, "app");
    assert_eq!(other.rocket(&["image", "render", "app"]).ok().stdout, digest);

    let etc = host.path("etc");
    host.rocket(&["image", "extract", "app", etc.to_str().unwrap(), "--path=/etc"]).ok();
    assert_eq!(fs::read(etc.join("hosts")).unwrap(), b"upper");
    host.rocket(&["image", "extract", "app", etc.to_str().unwrap()])
        .ends_with(125)
        .says(&["not empty"]);

    let tree = host.rocket(&["image", "tree", "app", "--format=json"]).ok().stdout;
    let tree: serde_json::Value = serde_json::from_str(&tree).unwrap();
    assert_eq!(tree["layers"].as_array().unwrap().len(), 2, "{tree}");
    let history = host.rocket(&["image", "history", "app", "--format=json"]).ok().stdout;
    let history: Vec<serde_json::Value> = serde_json::from_str(&history).unwrap();
    assert_eq!(history.iter().filter(|step| !step["layer"].is_null()).count(), 2);
    host.rocket(&["image", "tree", "app"]).ok();
    host.rocket(&["image", "history", "app"]).ok();
    host.rocket(&["image", "gc", "--dry-run", "--format=json"]).ok();
}
