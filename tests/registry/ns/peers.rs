//! Images by buildah, podman, skopeo and umoci, from a registry into pods; and rocket's own in the hands
//! of skopeo, umoci, crun and podman.

use rocket_testkit::{Command, image, require_bed, rocket, run, wait_until};
use serde_json::{Value, json};
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};

/// What each image says when it runs, by the variable that its maker gave it.
const SAYS: &str = "echo made by $MAKER, run by $(id -u) in $(pwd)";

/// A registry without encryption, and rocket allowed to use it; gone when dropped.
struct Registry {
    child: Child,
    host: String,
    allowed: String,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.allowed);
    }
}

fn registry(dir: &Path) -> Registry {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = dir.join("registry.yml");
    let data = dir.join("registry").display().to_string();
    let text = format!(
        "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {data}}}}}\n\
         http:\n  addr: 127.0.0.1:{port}\n"
    );
    fs::write(&config, text).unwrap();
    let child = std::process::Command::new("docker-registry")
        .args(["serve".as_ref(), config.as_os_str()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let host = format!("127.0.0.1:{port}");
    fs::create_dir_all("/etc/rocket/registries.d").unwrap();
    let allowed = format!("/etc/rocket/registries.d/{port}.toml");
    fs::write(&allowed, format!("[registry.\"{host}\"]\ninsecure-http = true\n")).unwrap();
    let registry = Registry { child, host, allowed };
    wait_until("docker-registry listens", 30, || TcpStream::connect(("127.0.0.1", port)).is_ok());
    registry
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Runs buildah or podman with a store of its own: plain copies, since the bed's root is an overlay.
#[track_caller]
fn maker(dir: &Path, program: &str, args: &[&str]) -> String {
    let config = dir.join("storage.conf");
    let (root, state) = (dir.join("graph"), dir.join("state"));
    let store = format!(
        "[storage]\ndriver = \"vfs\"\ngraphroot = \"{}\"\nrunroot = \"{}\"\n",
        text(&root),
        text(&state)
    );
    fs::write(&config, store).unwrap();
    let command = Command::new(program).args(args).env("CONTAINERS_STORAGE_CONF", &config);
    command.run().ok().stdout.trim().to_owned()
}

/// Fetches an image and runs it in a pod of its own.
#[track_caller]
fn runs(reference: &str, maker: &str) {
    rocket(["fetch", reference]).ok();
    let done = rocket(["run", "--rm", reference]).ok();
    assert_eq!(done.text(), format!("made by {maker}, run by 7 in /tmp"), "{reference}");
}

#[test]
fn images_by_buildah_run_in_a_pod() {
    require_bed("ns");
    let dir = tempfile::tempdir().unwrap();
    let registry = registry(dir.path());
    let root = dir.path().join("root");
    image::busybox_root(&root);
    let buildah = |args: &[&str]| maker(dir.path(), "buildah", args);
    let container = buildah(&["from", "scratch"]);
    buildah(&["copy", "--quiet", &container, text(&root), "/"]);
    let words = json!(["/bin/sh", "-c", SAYS]).to_string();
    let config = ["--entrypoint", &words, "--env", "MAKER=buildah", "--user", "7:7"];
    let config = [&["config"], &config[..], &["--workingdir", "/tmp", &container]].concat();
    buildah(&config);
    buildah(&["commit", "--quiet", &container, "localhost/made"]);
    for kind in ["oci", "v2s2"] {
        let to = format!("docker://{}/by/buildah:{kind}", registry.host);
        buildah(&[
            "push",
            "--quiet",
            "--tls-verify=false",
            "--format",
            kind,
            "localhost/made",
            &to,
        ]);
        runs(&to, "buildah");
    }
    // A second layer over the first, with a file of that one removed.
    let container = buildah(&["from", "localhost/made"]);
    let gone = buildah(&["mount", &container]);
    fs::remove_file(Path::new(&gone).join("etc/group")).unwrap();
    buildah(&["config", "--env", "MAKER=buildah, twice", &container]);
    let to = format!("docker://{}/by/buildah:two", registry.host);
    buildah(&["commit", "--quiet", &container, "localhost/two"]);
    buildah(&["push", "--quiet", "--tls-verify=false", "localhost/two", &to]);
    runs(&to, "buildah, twice");
    let look = rocket(["run", "--rm", &to, "--exec", "/bin/ls", "--", "/etc"]).ok();
    assert!(look.stdout.contains("passwd") && !look.stdout.contains("group"), "{look}");
}

#[test]
fn an_image_that_podman_builds_runs_in_a_pod() {
    require_bed("ns");
    let dir = tempfile::tempdir().unwrap();
    let registry = registry(dir.path());
    image::busybox_root(&dir.path().join("root"));
    let words = json!(["/bin/sh", "-c", SAYS]);
    let recipe = format!(
        "FROM scratch\nCOPY root /\nENV MAKER=podman\nUSER 7:7\nWORKDIR /tmp\nCMD {words}\n"
    );
    let podman = |args: &[&str]| maker(dir.path(), "podman", args);
    let context = dir.path().join("context");
    fs::create_dir(&context).unwrap();
    fs::rename(dir.path().join("root"), context.join("root")).unwrap();
    fs::write(context.join("Containerfile"), recipe).unwrap();
    podman(&["build", "--quiet", "--tag", "localhost/built", text(&context)]);
    let to = format!("docker://{}/by/podman:1", registry.host);
    podman(&["push", "--quiet", "--tls-verify=false", "localhost/built", &to]);
    runs(&to, "podman");
    // And without a registry.
    let saved = dir.path().join("saved.tar");
    podman(&["save", "--quiet", "--output", text(&saved), "localhost/built"]);
    let id = rocket(["fetch", &format!("docker-archive:{}", text(&saved))]).ok().stdout;
    assert_eq!(rocket(["run", "--rm", id.trim()]).ok().text(), "made by podman, run by 7 in /tmp");
}

#[test]
fn images_by_umoci_copied_by_skopeo_run_in_a_pod() {
    require_bed("ns");
    let dir = tempfile::tempdir().unwrap();
    let registry = registry(dir.path());
    let bundle = dir.path().join("bundle");
    let layout = dir.path().join("layout");
    let image = format!("{}:v1", text(&layout));
    run("umoci", ["init", "--layout", text(&layout)]).ok();
    run("umoci", ["new", "--image", &image]).ok();
    run("umoci", ["unpack", "--image", &image, text(&bundle)]).ok();
    image::busybox_root(&bundle.join("rootfs"));
    run("umoci", ["repack", "--image", &image, text(&bundle)]).ok();
    let config =
        ["--config.user", "7:7", "--config.workingdir", "/tmp", "--config.env", "MAKER=umoci"];
    let exec = ["--config.entrypoint", "/bin/sh", "--config.cmd", "-c", "--config.cmd", SAYS];
    run("umoci", [&["config", "--image", &image], &config[..], &exec].concat()).ok();
    for (tag, more) in [
        ("oci", &["--format", "oci"][..]),
        ("docker", &["--format", "v2s2"]),
        ("zstd", &["--format", "oci", "--dest-compress-format", "zstd"]),
    ] {
        let to = format!("docker://{}/by/umoci:{tag}", registry.host);
        let from = format!("oci:{image}");
        let copy = ["--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false"];
        run("skopeo", [&copy, more, &[&from, &to]].concat()).ok();
        runs(&to, "umoci");
    }
}

/// An image packed by rocket into a layout.
fn packed(dir: &Path) -> String {
    let root = dir.join("root");
    image::busybox_root(&root);
    let to = format!("oci:{}:1.0", text(&dir.join("packed")));
    let what = ["image", "pack", text(&root), "--name", "example.com/packed:1.0", "--output", &to];
    let how = ["--env", "MAKER=rocket", "--env", "PATH=/bin", "--user", "7", "--group", "7"];
    let exec = ["--workdir", "/tmp", "--exec", "/bin/sh", "--", "-c", SAYS];
    rocket([&what, &how[..], &exec].concat()).ok();
    to
}

#[test]
fn skopeo_inspects_and_copies_what_rocket_packs_and_podman_runs_it() {
    require_bed("ns");
    let dir = tempfile::tempdir().unwrap();
    let registry = registry(dir.path());
    let image = packed(dir.path());
    let seen = run("skopeo", ["inspect", &image]).ok().stdout;
    let seen: Value = serde_json::from_str(&seen).unwrap();
    assert_eq!((&seen["Os"], &seen["Architecture"]), (&json!("linux"), &json!("amd64")));
    let to = format!("docker://{}/by/rocket:1", registry.host);
    let copy = ["--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false", &image, &to];
    run("skopeo", copy).ok();
    runs(&to, "rocket");
    let plain = ["--network=host", "--cgroups=disabled", "--rm"];
    let words = [&["run"], &plain[..], &["--quiet", "--tls-verify=false", &to]].concat();
    assert_eq!(maker(dir.path(), "podman", &words), "made by rocket, run by 7 in /tmp");
}

#[test]
fn crun_runs_what_rocket_packs() {
    require_bed("ns");
    let dir = tempfile::tempdir().unwrap();
    let image = packed(dir.path());
    let bundle = dir.path().join("bundle");
    let image = image.trim_start_matches("oci:");
    run("umoci", ["unpack", "--image", image, text(&bundle)]).ok();
    let path = bundle.join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    config["process"]["terminal"] = json!(false);
    // The bed has no controllers.
    config["linux"].as_object_mut().unwrap().remove("resources");
    fs::write(&path, config.to_string()).unwrap();
    let done = run("crun", ["run", "--bundle", text(&bundle), "packed-by-rocket"]).ok();
    assert_eq!(done.text(), "made by rocket, run by 7 in /tmp");
}
