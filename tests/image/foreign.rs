//! Images as umoci, skopeo and buildah write them.

use crate::kit::{Host, same, umoci};
use rocket_testkit::{Command, run};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

/// An image of two layers made by umoci from directories.
fn umoci_image(host: &Host) -> String {
    let layout = host.path("layout").display().to_string();
    let image = format!("{layout}:v1");
    let bundle = host.path("made");
    let root = bundle.join("rootfs");
    run("umoci", ["init", "--layout", &layout]).ok();
    run("umoci", ["new", "--image", &image]).ok();
    let unpack = || run("umoci", ["unpack", "--image", &image, bundle.to_str().unwrap()]).ok();
    unpack();
    fs::create_dir_all(root.join("usr/bin")).unwrap();
    fs::create_dir_all(root.join("etc/private")).unwrap();
    fs::copy("/bin/true", root.join("usr/bin/true")).unwrap();
    fs::hard_link(root.join("usr/bin/true"), root.join("usr/bin/also")).unwrap();
    symlink("usr/bin", root.join("bin")).unwrap();
    fs::write(root.join("etc/passwd"), "root:x:0:0:::\nweb:x:12:13:::\n").unwrap();
    fs::write(root.join("etc/group"), "web:x:13:\nmore:x:14:web\n").unwrap();
    fs::write(root.join("etc/private/a"), "a").unwrap();
    fs::set_permissions(root.join("etc/private"), fs::Permissions::from_mode(0o700)).unwrap();
    run("setcap", ["cap_net_raw+ep", root.join("usr/bin/true").to_str().unwrap()]).ok();
    run("umoci", ["repack", "--image", &image, bundle.to_str().unwrap()]).ok();
    fs::remove_dir_all(&bundle).unwrap();
    unpack();
    fs::remove_file(root.join("etc/private/a")).unwrap();
    fs::write(root.join("usr/bin/tool"), "tool").unwrap();
    fs::hard_link(root.join("usr/bin/true"), root.join("usr/bin/third")).unwrap();
    run("umoci", ["repack", "--image", &image, bundle.to_str().unwrap()]).ok();
    let user = ["config", "--image", &image, "--config.user", "web", "--config.cmd", "/bin/true"];
    run("umoci", user).ok();
    fs::remove_dir_all(&bundle).unwrap();
    image
}

#[test]
fn an_image_by_umoci_is_what_umoci_unpacks() {
    let host = Host::new();
    let image = umoci_image(&host);
    host.rocket(&["fetch", "--name", "example.com/u:v1", &format!("oci:{image}")]).ok();
    same(&host.merged("example.com/u:v1"), &umoci(&image, &host.path("theirs")));
    let manifest = host.rocket(&["image", "cat-manifest", "example.com/u"]).ok().stdout;
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    assert_eq!(manifest["app"]["user"], "web");
    assert_eq!(manifest["app"]["group"], "13");
    assert_eq!(manifest["app"]["supplementaryGIDs"], serde_json::json!([14]));
}

#[test]
fn copies_by_skopeo_in_every_compression_are_the_same() {
    let host = Host::new();
    let image = umoci_image(&host);
    let theirs = umoci(&image, &host.path("theirs"));
    for (name, options) in [
        ("gz", &["--dest-compress-format", "gzip"][..]),
        ("zst", &["--dest-compress", "--dest-compress-format", "zstd"]),
    ] {
        let to = format!("oci:{}:t", host.path(name).display());
        let mut args = vec!["--insecure-policy", "copy"];
        args.extend(options);
        let from = format!("oci:{image}");
        args.extend([from.as_str(), to.as_str()]);
        run("skopeo", args).ok();
        host.rocket(&["fetch", &to]).ok();
        same(&host.merged(&format!("{name}:t")), &theirs);
    }
}

#[test]
fn an_image_by_buildah_is_what_umoci_unpacks() {
    let host = Host::new();
    let root = host.path("tree");
    fs::create_dir_all(root.join("srv/secret")).unwrap();
    fs::write(root.join("srv/secret/x"), "x").unwrap();
    fs::set_permissions(root.join("srv/secret"), fs::Permissions::from_mode(0o700)).unwrap();
    let out = format!("oci:{}:b", host.path("built").display());
    let script = format!(
        "set -e; export STORAGE_DRIVER=vfs; b='buildah --root {store} --runroot {store}-run'
        c=$($b from scratch); $b copy -q $c {root} /; $b config --cmd /srv/x --port 80 --volume /srv $c
        $b commit -q --disable-compression=false $c one; d=$($b from localhost/one)
        echo y >{y}; $b copy -q $d {y} /srv/secret/y; $b commit -q $d two
        $b push -q two {out}",
        store = host.path("buildah").display(),
        root = root.display(),
        y = host.path("y").display(),
    );
    Command::new("unshare").args(["-m", "sh", "-c", &script]).run().ok();
    host.rocket(&["fetch", &out]).ok();
    let layout = format!("{}:b", host.path("built").display());
    same(&host.merged("built:b"), &umoci(&layout, &host.path("theirs")));
}
