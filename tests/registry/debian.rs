//! Debian's docker-registry: plain, with TLS of a private authority, with a password; pushed to by skopeo.

use crate::kit::{LayoutSpec, Tar, same, umoci};
use crate::setup::Client;
use rocket_testkit::{Command, run, wait_until};
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Stdio};

/// A registry that ends with its test.
struct Registry {
    child: Child,
    host: String,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn registry(client: &Client, name: &str, more: &str) -> Registry {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let host = format!("localhost:{port}");
    let data = client.host.path("data").display().to_string();
    let text = format!(
        "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {data}}}}}\n\
         http:\n  addr: 127.0.0.1:{port}\n{more}"
    );
    let config = client.host.file(&format!("{name}.yml"), text.as_bytes());
    let child = std::process::Command::new("docker-registry")
        .args(["serve", &config])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|e| panic!("docker-registry (tests/setup test installs it): {e}"));
    let registry = Registry { child, host };
    wait_until("docker-registry listens", 30, || TcpStream::connect(("127.0.0.1", port)).is_ok());
    registry
}

/// An image of two layers in a layout, and where it is.
fn layout(client: &Client, text: &str) -> String {
    let bottom = Tar::default().dir("./", 0o755, 0).dir("./etc", 0o755, 0).file("./etc/a", text);
    let top = Tar::default().dir("./", 0o755, 0).dir("./etc", 0o700, 3).file("./etc/b", "b");
    let dir = client.host.path("layout");
    let _ = fs::remove_dir_all(&dir);
    LayoutSpec::new(vec![bottom.end(), top.end()]).write(&dir);
    format!("oci:{}:latest", dir.display())
}

fn push(from: &str, to: &str, more: &[&str]) {
    let mut args = vec!["--insecure-policy", "copy"];
    args.extend(more);
    let to = format!("docker://{to}");
    args.extend([from, to.as_str()]);
    run("skopeo", args).ok();
}

/// Puts a document where a registry has it.
fn put(host: &str, path: &str, kind: &str, body: &str) {
    let mut stream = TcpStream::connect(host).unwrap();
    let length = body.len();
    let head = format!(
        "PUT {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n"
    );
    stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
}

#[test]
fn images_pushed_by_skopeo_are_what_umoci_unpacks() {
    let client = Client::new();
    let registry = registry(&client, "plain", "");
    client.insecure(&[&registry.host]);
    let from = layout(&client, "a");
    let plain = ["--dest-tls-verify=false"];
    let theirs = umoci(from.trim_start_matches("oci:"), &client.host.path("theirs"));
    // Both kinds of manifest.
    for kind in ["oci", "v2s2"] {
        let to = format!("{}/team/{kind}:1", registry.host);
        push(&from, &to, &[plain[0], "--format", kind]);
        client.rocket(&["fetch", &format!("docker://{to}")]).ok();
        same(&client.host.merged(&format!("docker://{to}")), &theirs);
    }
    let old = client.rocket(&["image", "list"]).ok().stdout;
    assert!(old.contains("team/oci:1") && old.contains("team/v2s2:1"), "{old}");
    // A tag that moves is followed, and that is said.
    let to = format!("{}/team/oci:1", registry.host);
    push(&layout(&client, "other"), &to, &plain);
    let done = client.rocket(&["fetch", &format!("docker://{to}")]).ok();
    assert!(done.stderr.contains("the name now means"), "{}", done.stderr);
    let done = client.rocket(&["fetch", &format!("docker://{}/team/none:1", registry.host)]);
    assert!(done.stderr.contains("MANIFEST_UNKNOWN"), "{}", done.stderr);
}

#[test]
fn what_buildah_umoci_and_rocket_make_is_pushed_and_comes_back() {
    let client = Client::new();
    let registry = registry(&client, "makers", "");
    client.insecure(&[&registry.host]);
    let path = |name: &str| client.host.path(name).display().to_string();
    let root = client.host.path("tree");
    fs::create_dir_all(root.join("etc/deep")).unwrap();
    fs::write(root.join("etc/deep/file"), "content").unwrap();
    std::os::unix::fs::symlink("deep/file", root.join("etc/link")).unwrap();
    let expected = |name: &str, id: &str| {
        let found = client.host.merged(id);
        for path in ["/etc/deep", "/etc/deep/file", "/etc/link"] {
            assert!(found.contains_key(path), "{name}: {found:?}");
        }
    };
    // umoci: a new image, one layer.
    let image = format!("{}:v1", path("umoci"));
    run("umoci", ["init", "--layout", &path("umoci")]).ok();
    run("umoci", ["new", "--image", &image]).ok();
    run("umoci", ["insert", "--image", &image, &path("tree"), "/"]).ok();
    run("umoci", ["config", "--image", &image, "--config.cmd=/bin/app"]).ok();
    // buildah: its own store, without a container being run.
    let (graph, run_root) = (path("graph"), path("run"));
    let buildah = |args: &[&str]| {
        let mut all = vec!["--root", &graph, "--runroot", &run_root, "--storage-driver=vfs"];
        all.extend(args);
        run("buildah", all).ok().stdout.trim().to_owned()
    };
    let container = buildah(&["from", "scratch"]);
    buildah(&["copy", &container, &path("tree"), "/"]);
    buildah(&["config", "--entrypoint", "[\"/bin/app\"]", "--port", "8080", &container]);
    let built = format!("oci:{}:v1", path("buildah"));
    let policy = client.host.file("policy", br#"{"default":[{"type":"insecureAcceptAnything"}]}"#);
    buildah(&["commit", "--signature-policy", &policy, &container, &built]);
    // rocket itself.
    let packed = format!("oci:{}:v1", path("rocket"));
    let args =
        ["image", "pack", &path("tree"), "--name", "example.com/app:1.0", "--exec", "/bin/app"];
    let id = client.rocket(&[&args[..], &["--output", &packed]].concat()).ok().stdout;
    for (name, from) in [("umoci", format!("oci:{image}")), ("buildah", built), ("rocket", packed)]
    {
        let to = format!("{}/made/{name}:1", registry.host);
        push(&from, &to, &["--dest-tls-verify=false"]);
        let fetched = client.rocket(&["fetch", &format!("docker://{to}")]).ok().stdout;
        expected(name, fetched.trim());
        let manifest = client.rocket(&["image", "cat-manifest", fetched.trim()]).ok().stdout;
        assert!(manifest.contains("/bin/app"), "{name}: {manifest}");
        // A registry gives back what rocket packed, byte for byte.
        assert!(name != "rocket" || fetched == id, "{fetched} is not {id}");
    }
}

#[test]
fn tls_of_a_private_authority_and_a_password() {
    let client = Client::new();
    let host = &client.host;
    let path = |name: &str| host.path(name).display().to_string();
    let openssl = |args: &[&str]| run("openssl", args).ok();
    let (ca, ca_key) = (path("ca.crt"), path("ca.key"));
    let (crt, key, csr) = (path("s.crt"), path("s.key"), path("s.csr"));
    let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    let mut args = vec!["req", "-x509", "-days", "2", "-subj", "/CN=Test authority"];
    args.extend(curve);
    args.extend(["-keyout", &ca_key, "-out", &ca]);
    openssl(&args);
    let mut args = vec!["req", "-subj", "/CN=localhost"];
    args.extend(curve);
    args.extend(["-keyout", &key, "-out", &csr]);
    openssl(&args);
    let names = host.file("names", b"subjectAltName=DNS:localhost\n");
    openssl(&[
        "x509",
        "-req",
        "-in",
        &csr,
        "-CA",
        &ca,
        "-CAkey",
        &ca_key,
        "-CAcreateserial",
        "-days",
        "2",
        "-extfile",
        &names,
        "-out",
        &crt,
    ]);
    // "me" with "secret", as bcrypt.
    let hash = "$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a";
    let users = host.file("htpasswd", format!("me:{hash}\n").as_bytes());
    let tls = format!("  tls: {{certificate: {crt}, key: {key}}}\n");
    let auth = format!("auth: {{htpasswd: {{realm: test, path: {users}}}}}\n");
    let registry = registry(&client, "tls", &format!("{tls}{auth}"));
    let to = format!("{}/team/app:1", registry.host);
    let creds = ["--dest-tls-verify=false", "--dest-creds", "me:secret"];
    push(&layout(&client, "a"), &to, &creds);
    let reference = format!("docker://{to}");
    let fails = |words: &str| {
        let done = client.rocket(&["fetch", &reference]);
        assert_eq!(done.code(), 125);
        assert!(done.stderr.contains(words), "{}", done.stderr);
    };
    fails("certs.d");
    client.config(&format!("certs.d/{}/ca.crt", registry.host), &fs::read_to_string(&ca).unwrap());
    fails("wants a password");
    // As `docker login` leaves it; "me:secret".
    let login = format!("{{\"auths\": {{\"{}\": {{\"auth\": \"bWU6c2VjcmV0\"}}}}}}", registry.host);
    fs::create_dir_all(host.path("home/.docker")).unwrap();
    fs::write(host.path("home/.docker/config.json"), login).unwrap();
    client.rocket(&["fetch", &reference]).ok();
    // A helper is asked for what its server is called.
    fs::create_dir_all(host.path("bin")).unwrap();
    let helper = host.file(
        "bin/docker-credential-test",
        b"#!/bin/sh\nread -r server\necho \"$server\" >>\"$HELPER_LOG\"\n\
          echo '{\"ServerURL\":\"x\",\"Username\":\"me\",\"Secret\":\"secret\"}'\n",
    );
    run("chmod", ["755", &helper]).ok();
    fs::remove_file(host.path("home/.docker/config.json")).unwrap();
    let other = Client::new();
    other.config(&format!("certs.d/{}/ca.crt", registry.host), &fs::read_to_string(&ca).unwrap());
    other
        .config("auth.d/a.toml", &format!("[registry.\"{}\"]\nhelper = \"test\"\n", registry.host));
    let search = format!("{}:{}", path("bin"), std::env::var("PATH").unwrap());
    let fetch: Command = other.command(&["fetch", &reference]);
    fetch.env("PATH", search).env("HELPER_LOG", path("asked")).run().ok();
    assert_eq!(fs::read_to_string(host.path("asked")).unwrap().trim(), registry.host);
}

#[test]
fn of_an_index_the_image_for_this_host_is_taken() {
    let client = Client::new();
    let registry = registry(&client, "multi", "");
    client.insecure(&[&registry.host]);
    let mine = layout(&client, "mine");
    let to = |name: &str| format!("{}/team/multi:{name}", registry.host);
    push(&mine, &to("amd64"), &["--dest-tls-verify=false"]);
    // The index is pushed as it is: skopeo 1.9 makes none.
    let inspect = |name: &str| {
        let reference = format!("docker://{}", to(name));
        run("skopeo", ["inspect", "--raw", "--tls-verify=false", &reference]).ok().stdout
    };
    let manifest = inspect("amd64");
    let digest = rocket::image::Digest::of(rocket::image::Algo::Sha256, manifest.as_bytes());
    let child = |arch: &str, digest: &str, size: usize| {
        serde_json::json!({"mediaType": crate::setup::MANIFEST, "digest": digest, "size": size,
            "platform": {"os": "linux", "architecture": arch}})
    };
    let index = serde_json::json!({"schemaVersion": 2, "mediaType": crate::setup::INDEX, "manifests": [
        child("amd64", &digest.oci(), manifest.len()),
    ]});
    put(&registry.host, "/v2/team/multi/manifests/all", crate::setup::INDEX, &index.to_string());
    let reference = format!("docker://{}", to("all"));
    let id = client.rocket(&["fetch", &reference]).ok().stdout;
    assert_eq!(id.trim(), digest.to_string());
    // The index's own digest names the image, too.
    let index =
        rocket::image::Digest::of(rocket::image::Algo::Sha256, index.to_string().as_bytes());
    let pinned = format!("docker://{}/team/multi@{}", registry.host, index.oci());
    assert_eq!(client.rocket(&["fetch", &pinned]).ok().stdout, id);
    client.rocket(&["image", "cat-manifest", &pinned]).ok();
}

#[test]
fn the_shell_script_of_the_documentation_is_a_transport() {
    let client = Client::new();
    let registry = registry(&client, "shell", "");
    client.insecure(&[&registry.host]);
    let to = format!("{}/team/app:1", registry.host);
    push(&layout(&client, "a"), &to, &["--dest-tls-verify=false", "--format", "oci"]);
    let text = include_str!("../../docs/transport.md");
    let script = text.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    let program = client.host.file("transport/docker", script.as_bytes());
    run("chmod", ["755", &program]).ok();
    client.rocket(&["fetch", &format!("docker://{to}")]).ok();
    // A transport sees nothing of the host and may do nothing to it.
    let tried = client.host.path("tried").display().to_string();
    let state = client.host.path("state").display().to_string();
    let spy = format!(
        "#!/bin/sh\nread -r setup\nsay() {{ printf '{{\"answer\":\"error\",\"kind\":\"refused\",\
         \"message\":\"%s\"}}\\n' \"$1\"; }}\n\
         {{ cat /etc/passwd || cat {state}/store/version || ls {state} || echo >{tried} || \
         unshare -U true || ls /root; }} >/dev/null 2>&1 && say escaped && exit\n\
         say \"confined as $(id -u), $(sed -n s/^NoNewPrivs:.//p /proc/self/status 2>/dev/null) \
         $(env | cut -d= -f1 | sort | tr '\\n' ' ')\"\n"
    );
    client.host.file("transport/docker", spy.as_bytes());
    let done = client.rocket(&["fetch", &format!("docker://{to}")]);
    assert!(done.stderr.contains("confined as "), "{}", done.stderr);
    assert!(!done.stderr.contains("confined as 0"), "{}", done.stderr);
    assert!(!fs::exists(tried).unwrap());
}
