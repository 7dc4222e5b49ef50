//! Packing: the same bytes for the same tree, and everything of the tree comes back.

use crate::kit::{Host, same};
use rocket_testkit::run;
use std::fs;
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::Path;

pub fn tree(root: &Path) {
    let long = "long-name/".repeat(15);
    for dir in ["bin", "etc/private", "dev", &long] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    fs::copy("/bin/true", root.join("bin/app")).unwrap();
    fs::hard_link(root.join("bin/app"), root.join("bin/also")).unwrap();
    symlink("bin/app", root.join("link")).unwrap();
    lchown(root.join("link"), Some(3), Some(4)).unwrap();
    fs::write(root.join(&long).join("file"), "deep").unwrap();
    fs::write(root.join("etc/a b\\\u{e9}\n"), "odd name").unwrap();
    fs::write(root.join("etc/big"), vec![9; 700_000]).unwrap();
    lchown(root.join("etc/big"), Some(3_000_000_000), Some(7)).unwrap();
    fs::set_permissions(root.join("etc/big"), fs::Permissions::from_mode(0o6755)).unwrap();
    fs::set_permissions(root.join("etc/private"), fs::Permissions::from_mode(0o1700)).unwrap();
    run("mkfifo", [root.join("etc/pipe")]).ok();
    run("setcap", ["cap_net_raw+ep", root.join("bin/app").to_str().unwrap()]).ok();
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(root.join("etc"), "user.note", b"on a directory", flags).unwrap();
    run("touch", ["-h", "-d", "2001-02-03 04:05:06.789", root.join("link").to_str().unwrap()]).ok();
    run("mknod", [root.join("dev/null").to_str().unwrap(), "c", "1", "3"]).ok();
}

fn pack(host: &Host, root: &Path, out: &str, more: &[&str]) -> (String, Vec<u8>) {
    let out = host.path(out).display().to_string();
    let mut args = vec!["image", "pack", root.to_str().unwrap(), "--name", "example.com/app:1.0"];
    args.extend(["--exec", "/bin/app", "--output", &out]);
    args.extend(more);
    args.extend(["--", "one", "-two"]);
    let id = host.rocket(&args).ok().stdout.trim().to_owned();
    (id, fs::read(out).unwrap())
}

#[test]
fn the_same_tree_gives_the_same_bytes() {
    let host = Host::new();
    let (first, second) = (host.path("first"), host.path("second"));
    fs::create_dir(&first).unwrap();
    tree(&first);
    run("cp", ["-a", first.to_str().unwrap(), second.to_str().unwrap()]).ok();
    for compression in ["none", "gzip", "zstd"] {
        let more = ["--compression", compression];
        let one = pack(&host, &first, "one.aci", &more);
        assert!(one == pack(&host, &second, "two.aci", &more), "{compression}");
    }
    let ids: Vec<String> = ["none", "gzip", "zstd"]
        .iter()
        .map(|compression| pack(&host, &first, "x.aci", &["--compression", compression]).0)
        .collect();
    assert!(ids.windows(2).all(|pair| pair[0] == pair[1]), "the id is of the uncompressed archive");
    let sum = run("sha512sum", [host.path("one.aci")]).ok();
    let (id, _) = pack(&host, &first, "one.aci", &[]);
    let again = run("sha512sum", [host.path("one.aci")]).ok();
    assert_ne!(sum.stdout, again.stdout);
    assert_eq!(id.strip_prefix("sha512-"), again.stdout.split(' ').next());
}

#[test]
fn times_are_clamped_when_asked() {
    let host = Host::new();
    let roots = [host.path("a"), host.path("b")];
    let mut archives = Vec::new();
    for root in &roots {
        fs::create_dir(root).unwrap();
        fs::write(root.join("app"), "x").unwrap();
        let out = host.path("o.aci").display().to_string();
        let root = root.to_str().unwrap();
        let args = ["image", "pack", root, "--name", "a", "--exec", "/app", "--output", &out];
        host.rocket_env(&args, &[("SOURCE_DATE_EPOCH", "1000000")]).ok();
        archives.push(fs::read(&out).unwrap());
    }
    assert!(archives[0] == archives[1]);
    let args = ["image", "pack", "/nowhere", "--name", "a", "--exec", "/app"];
    host.rocket_env(&args, &[("SOURCE_DATE_EPOCH", "soon")])
        .ends_with(125)
        .says(&["SOURCE_DATE_EPOCH"]);
    host.rocket(&args).ends_with(125).says(&["/nowhere"]);
}

#[test]
fn everything_comes_back() {
    let host = Host::new();
    let root = host.path("root");
    fs::create_dir(&root).unwrap();
    tree(&root);
    for compression in ["none", "gzip", "zstd"] {
        pack(&host, &root, "a.aci", &["--compression", compression]);
        let host_two = Host::new();
        let file = host.path("a.aci").display().to_string();
        host_two.rocket(&["fetch", &file]).ok();
        let _ = fs::remove_file(root.join("dev/null"));
        let dev = fs::symlink_metadata(root.join("dev")).unwrap();
        let mut theirs = crate::kit::listing(&root);
        let mut ours = host_two.merged("example.com/app:1.0");
        // Removing the node moved the directory's time here.
        let _ = dev;
        theirs.remove("/dev");
        ours.remove("/dev");
        same(&ours, &theirs);
    }
}

#[test]
fn only_what_was_packed_here_is_evidence() {
    let host = Host::new();
    let root = host.path("root");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("app"), "x").unwrap();
    let file = host.path("a.aci").display().to_string();
    let (id, _) = pack(&host, &root, "a.aci", &[]);
    assert_eq!(host.rocket(&["fetch", &file]).ok().stdout.trim(), id);
    let kind = |host: &Host| {
        let list = host.rocket(&["image", "list", "--format=json"]).ok().stdout;
        let list: serde_json::Value = serde_json::from_str(&list).unwrap();
        list[0]["evidence"]["kind"].as_str().unwrap().to_owned()
    };
    assert_eq!(kind(&host), "packed-here");
    let other = Host::new();
    other.rocket(&["fetch", &file]).ok();
    assert_eq!(kind(&other), "local-file");
}
