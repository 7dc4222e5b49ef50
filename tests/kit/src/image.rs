//! Small root file systems, and images made from them by the installed `rocket`.

use crate::rocket;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

const BUSYBOX: &str = "/bin/busybox";

/// Makes a root file system in `root` that holds busybox under all its names.
pub fn busybox_root(root: &Path) {
    for dir in ["bin", "etc", "tmp", "var", "proc", "sys", "dev"] {
        std::fs::create_dir_all(root.join(dir)).unwrap();
    }
    std::fs::copy(BUSYBOX, root.join("bin/busybox"))
        .unwrap_or_else(|e| panic!("{BUSYBOX} (package busybox-static): {e}"));
    let names = crate::run(BUSYBOX, ["--list"]).ok();
    for name in names.stdout.lines().filter(|name| *name != "busybox") {
        symlink("busybox", root.join("bin").join(name)).unwrap();
    }
    std::fs::write(root.join("etc/passwd"), "root:x:0:0:root:/:/bin/sh\n").unwrap();
    std::fs::write(root.join("etc/group"), "root:x:0:\n").unwrap();
}

/// Packs `root` as an image called `name` that runs `exec`, and brings it into the store.
pub fn add(root: &Path, name: &str, exec: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let file = pack(root, name, exec, dir.path());
    rocket([Path::new("fetch"), &file]).ok();
}

/// Packs `root` into a file in `dir`.
#[must_use]
pub fn pack(root: &Path, name: &str, exec: &[&str], dir: &Path) -> PathBuf {
    let file = dir.join("image.aci");
    let (program, args) = exec.split_first().expect("an image runs something");
    let (root, out) = (root.to_str().unwrap(), file.to_str().unwrap());
    let mut words = vec!["image", "pack", root, "--name", name, "--exec", program];
    words.extend(["--output", out, "--"]);
    words.extend(args);
    rocket(words).ok();
    file
}

/// Brings an image called `name` into the store that holds busybox and runs `exec`.
pub fn add_busybox(name: &str, exec: &[&str]) {
    let root = tempfile::tempdir().unwrap();
    busybox_root(root.path());
    add(root.path(), name, exec);
}

/// The same with isolators, a JSON list, in its manifest.
pub fn add_busybox_with(name: &str, exec: &[&str], isolators: &str) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    busybox_root(&root);
    let file = pack(&root, name, exec, dir.path());
    let opened = dir.path().join("opened");
    std::fs::create_dir(&opened).unwrap();
    let (file, opened) = (file.to_str().unwrap(), opened.to_str().unwrap());
    crate::run("tar", ["--extract", "--file", file, "--directory", opened]).ok();
    let manifest = Path::new(opened).join("manifest");
    let mut value: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&manifest).unwrap()).unwrap();
    value["app"]["isolators"] = serde_json::from_str(isolators).unwrap();
    std::fs::write(&manifest, value.to_string()).unwrap();
    crate::run("tar", ["--create", "--file", file, "--directory", opened, "manifest", "rootfs"])
        .ok();
    rocket(["fetch", file]).ok();
}
