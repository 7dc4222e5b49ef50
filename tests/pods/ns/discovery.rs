//! Images and keys found by name, with no registry: a published directory behind nginx with TLS of a
//! private authority, in a pod of its own.

use super::servers;
use rocket_testkit::tmux::Tmux;
use rocket_testkit::unit::Pod;
use rocket_testkit::{image, require_bed, rocket, run, wait_until};
use std::fs;
use std::net::TcpStream;
use std::path::Path;

const HOST: &str = "registryless.test";
const RULES: &str = "/etc/rocket/trust.d/60-discovery.toml";

/// A key and a certificate of a private authority for the host.
fn certificate(dir: &Path) {
    let path = |name: &str| dir.join(name).display().to_string();
    let new = |name: &str, subject: &str, more: &[&str]| {
        let (key, subject) = (path(&format!("{name}.key")), format!("/CN={subject}"));
        let mut args = vec!["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];
        args.extend(["-nodes", "-keyout", &key, "-subj", &subject]);
        args.extend(more);
        run("openssl", args).ok();
    };
    let ca = path("ca.pem");
    new("ca", "an authority", &["-x509", "-days", "2", "-out", &ca]);
    let request = path("host.csr");
    new("host", HOST, &["-out", &request]);
    let names = path("names");
    fs::write(&names, format!("subjectAltName=DNS:{HOST}\n")).unwrap();
    run(
        "openssl",
        [
            "x509",
            "-req",
            "-in",
            &request,
            "-CA",
            &ca,
            "-CAkey",
            &path("ca.key"),
            "-days",
            "2",
            "-CAcreateserial",
            "-extfile",
            &names,
            "-out",
            &path("host.pem"),
        ],
    )
    .ok();
}

/// nginx in a pod, with this directory as its pages.
fn nginx(dir: &Path) -> Pod {
    servers::servers();
    let text = format!(
        "daemon off;\nerror_log stderr;\npid /tmp/nginx.pid;\nevents {{}}\nhttp {{\naccess_log off;\n\
         server {{\nlisten 443 ssl;\nserver_name {HOST};\nroot /srv/site;\n\
         ssl_certificate /srv/host.pem;\nssl_certificate_key /srv/host.key;\n}}\n}}\n"
    );
    fs::write(dir.join("nginx.conf"), text).unwrap();
    let text = format!(
        "version = 1\nnetwork = \"host\"\n[app.nginx]\nimage = \"{}\"\n\
         exec = [\"/usr/sbin/nginx\", \"-c\", \"/srv/nginx.conf\"]\nstop-signal = \"SIGQUIT\"\n\
         mounts = {{ \"/srv\" = \"srv\" }}\n[volume.srv]\nkind = \"host\"\nsource = \"{}\"\n\
         read-only = true\n[security]\nuser-namespace = false\n",
        servers::IMAGE,
        dir.display()
    );
    let pod = Pod::new("registryless", &text);
    pod.start();
    wait_until("nginx listens", 60, || TcpStream::connect(("127.0.0.1", 443)).is_ok());
    pod
}

#[test]
fn a_name_leads_to_image_and_key_over_tls_and_the_same_directory_does_without_network() {
    require_bed("ns");
    let dir = tempfile::tempdir_in("/var/lib").unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let site = dir.path().join("site");
    certificate(dir.path());
    // The maker's side: images packed, signed, published.
    run("minisign", ["-G", "-W", "-f", "-p", &path("maker.pub"), "-s", &path("maker.key")]).ok();
    image::busybox_root(&dir.path().join("root"));
    let maker = |args: &[&str]| {
        let state = path("maker");
        let mut all = vec!["--state-dir", &state];
        all.extend(args);
        rocket(all).ok()
    };
    let (aci, oci) = (format!("{HOST}/team/app:1.0"), format!("{HOST}/team/web:1.0"));
    let exec = ["--exec", "/bin/echo"];
    let (root, archive) = (path("root"), path("app.aci"));
    let layout = format!("oci:{}:1.0", path("layout"));
    for (name, out) in [(&aci, &archive), (&oci, &layout)] {
        maker(&["image", "pack", &root, "--name", name, exec[0], exec[1], "-o", out, "--", name]);
    }
    let key = path("maker.key");
    maker(&["image", "sign", &archive, "--minisign", &key]);
    maker(&["image", "sign", &layout, "--minisign", &key, "--name", &oci]);
    let own = ["fetch", "--insecure-options=image"];
    let ids = [&archive, &layout].map(|from| {
        let name = if from == &archive { &aci } else { &oci };
        maker(&[own[0], own[1], from, "--name", name]).text().to_owned()
    });
    let site_path = site.display().to_string();
    maker(&["image", "publish", &site_path, &aci, &oci, "--key", &path("maker.pub")]);
    for end in ["app/1.0-linux-amd64.aci.minisig", "web/1.0-linux-amd64.oci.statement.minisig"] {
        assert!(site.join(format!("images/{HOST}/team/{end}")).exists(), "{end}");
    }
    // One endpoint more, dead, and before the good one.
    let page = fs::read_to_string(site.join("index.html")).unwrap();
    let dead = format!(
        "<meta name=\"ac-discovery\" content=\"{HOST} https://127.0.0.1:1/{{name}}.{{ext}}\">"
    );
    let page = page.replace("<meta charset", &format!("{dead}\n<meta charset"));
    fs::write(site.join("index.html"), page).unwrap();
    // The other side: an authority, an address, and nothing trusted.
    let hosts = fs::read_to_string("/etc/hosts").unwrap_or_default();
    fs::write("/etc/hosts", format!("{hosts}\n127.0.0.1 {HOST}\n")).unwrap();
    let certificates = format!("/etc/rocket/certs.d/{HOST}");
    fs::create_dir_all(&certificates).unwrap();
    fs::create_dir_all("/etc/rocket/trust.d").unwrap();
    fs::write(RULES, format!("version = 1\n[prefix.\"{HOST}\"]\nrequire = {{}}\n")).unwrap();
    let pod = nginx(dir.path());
    let refused = rocket(["fetch", &aci]).ends_with(125);
    refused
        .says(&["nobody who was asked has it", &format!("https://{HOST}/team/app?ac-discovery=1")]);
    fs::copy(path("ca.pem"), format!("{certificates}/ca.crt")).unwrap();
    rocket(["fetch", &aci]).ends_with(125).says(&["is signed by the minisign key", "trust add"]);
    // Its key, from the same host, and never without somebody's word.
    let prefix = format!("{HOST}/team");
    let text = fs::read_to_string(path("maker.pub")).unwrap();
    let fingerprint = text.lines().nth(1).unwrap();
    let add = ["trust", "add", "--prefix", &prefix];
    rocket(add).ends_with(125).says(&["no key was added", fingerprint, "--fingerprint"]);
    let wrong = fingerprint.replace(|c: char| c.is_ascii_digit(), "x");
    let with =
        |fingerprint: &str| rocket(add.iter().copied().chain(["--fingerprint", fingerprint]));
    with(&wrong).ends_with(125).says(&[fingerprint]);
    // Somebody at a terminal is shown it, and says yes or anything else.
    let tmux = Tmux::new();
    for (answer, code) in [("y", 125), ("yes", 0)] {
        tmux.clear();
        tmux.line(&format!("rocket trust add --prefix {prefix}; echo ended with $?"));
        tmux.wait_for_end("Type yes to do so:");
        tmux.line(answer);
        tmux.wait_for(&format!("ended with {code}"));
    }
    rocket(["trust", "rm", fingerprint]).ok();
    with(fingerprint).ok();
    for (name, id) in [&aci, &oci].into_iter().zip(&ids) {
        assert_eq!(rocket(["fetch", name]).ok().text(), id);
        let why = rocket(["trust", "why", name]).ok();
        assert!(why.stdout.contains(&format!("trusted for {prefix}")), "{why}");
        assert_eq!(rocket(["run", "--rm", name]).ok().text(), name);
    }
    let missing = format!("{HOST}/team/none");
    rocket(["fetch", &missing]).ends_with(125).says(&[
        &format!("https://127.0.0.1:1/{missing}.aci"),
        &format!("https://{HOST}/images/{HOST}/team/none/latest-linux-amd64.aci"),
        &format!("https://{HOST}/images/{HOST}/team/none/latest-linux-amd64.oci"),
    ]);
    // The same directory, carried here: no server answers any more.
    pod.systemctl("stop").ok();
    let mirrors = "/etc/rocket/mirrors.d/60-discovery.toml";
    fs::create_dir_all("/etc/rocket/mirrors.d").unwrap();
    let places = format!("version = 1\n[prefix.\"{HOST}\"]\nplaces = [\"{site_path}\"]\n");
    fs::write(mirrors, places).unwrap();
    for (name, id) in [&aci, &oci].into_iter().zip(&ids) {
        rocket(["image", "rm", name]).ok();
        assert_eq!(rocket(["fetch", name]).ok().text(), id);
        assert_eq!(rocket(["run", "--rm", name]).ok().text(), name);
        rocket(["image", "rm", name]).ok();
    }
    rocket(["trust", "rm", fingerprint]).ok();
    rocket(["fetch", &aci]).ends_with(125).says(&["does not have"]);
    fs::remove_file(mirrors).unwrap();
    fs::remove_file(RULES).unwrap();
    fs::remove_dir_all(certificates).unwrap();
}
