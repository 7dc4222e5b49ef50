//! Real programs in pods.

use rocket_testkit::unit::Pod;
use rocket_testkit::{image, require_bed, rocket, run, target_dir, wait_until};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

#[test]
fn nginx_from_a_real_debian_root_answers_on_a_socket() {
    require_bed("ns");
    let root = target_dir().join("roots/debian");
    // On the host's network a pod's root may not bind the host's low ports.
    let script = "sed -i 's/^\\(.*listen.*\\)80 /\\18080 /' /etc/nginx/sites-available/default
        exec /usr/sbin/nginx -g 'daemon off;'";
    image::add(&root, "example.com/nginx:1.0", &["/bin/sh", "-c", script]);
    let pod = Pod::new(
        "nginx",
        "version = 1\nnetwork = \"host\"\n[app.web]\nimage = \"example.com/nginx:1.0\"\n\
         stop-signal = \"SIGQUIT\"\n",
    );
    pod.start();
    let mut page = String::new();
    wait_until("nginx answers", 20, || {
        page = get("127.0.0.1:8080").unwrap_or_default();
        !page.is_empty()
    });
    assert!(page.starts_with("HTTP/1.1 200 OK") && page.contains("Welcome to nginx"), "{page}");
    pod.systemctl("stop").ok();
    assert_eq!(pod.show("Result"), "success");
    assert!(get("127.0.0.1:8080").is_err(), "it still answers");
}

fn get(address: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[test]
fn two_apps_share_a_volume_and_the_loopback() {
    require_bed("ns");
    image::add_busybox("example.com/two:1.0", &["/bin/sh"]);
    let pod = Pod::new(
        "two",
        "version = 1\nnetwork = \"none\"\n\
         [app.server]\nimage = \"example.com/two:1.0\"\nmounts = { \"/srv\" = \"shared\" }\n\
         exec = [\"/bin/httpd\", \"-f\", \"-p\", \"127.0.0.1:7001\", \"-h\", \"/srv\"]\n\
         [app.client]\nimage = \"example.com/two:1.0\"\nmounts = { \"/out\" = \"shared\" }\n\
         exec = [\"/bin/sh\", \"-c\", '''\n\
         echo from the client > /out/page\n\
         until wget -q -O - http://127.0.0.1:7001/page; do sleep 0.1; done\n\
         sleep 1000''']\n\
         [volume.shared]\nkind = \"empty\"\n",
    );
    pod.start();
    let line = pod.wait_for_line("from the client");
    assert_eq!(line["SYSLOG_IDENTIFIER"], "client");
    // The loopback is the pod's, not the host's.
    assert!(get("127.0.0.1:7001").is_err());
}

#[test]
fn busybox_sees_its_own_root_and_nothing_of_the_host() {
    require_bed("ns");
    image::add_busybox("example.com/root:1.0", &["/bin/sh", "-c"]);
    let script = "ls / | tr '\\n' ' '; echo; echo $$; hostname; ls /proc | grep -c '^[0-9]'; \
                  grep -c . /proc/self/mountinfo";
    let done =
        run("/usr/bin/rocket", ["run", "--name", "own-root", "example.com/root:1.0", "--", script]);
    let done = done.ok();
    let lines: Vec<_> = done.stdout.lines().collect();
    assert_eq!(lines[0].trim(), "bin dev etc proc sys tmp var", "{done}");
    assert_eq!(lines[2], "own-root", "{done}");
    let processes: u32 = lines[3].parse().unwrap();
    assert!(processes < 8, "{done}");
}

/// Two layers by umoci, and what umoci unpacks of them as an ACI.
fn the_same_twice(dir: &std::path::Path) -> (String, std::path::PathBuf) {
    let image = format!("{}:v1", dir.join("layout").display());
    let bundle = dir.join("bundle");
    let bundle_text = bundle.to_str().unwrap();
    run("umoci", ["init", "--layout", dir.join("layout").to_str().unwrap()]).ok();
    run("umoci", ["new", "--image", &image]).ok();
    run("umoci", ["unpack", "--image", &image, bundle_text]).ok();
    image::busybox_root(&bundle.join("rootfs"));
    std::fs::create_dir(bundle.join("rootfs/srv")).unwrap();
    std::fs::write(bundle.join("rootfs/srv/below"), "below").unwrap();
    run("umoci", ["repack", "--image", &image, bundle_text]).ok();
    std::fs::remove_dir_all(&bundle).unwrap();
    run("umoci", ["unpack", "--image", &image, bundle_text]).ok();
    std::fs::remove_file(bundle.join("rootfs/srv/below")).unwrap();
    std::fs::write(bundle.join("rootfs/srv/above"), "above").unwrap();
    run("umoci", ["repack", "--image", &image, bundle_text]).ok();
    std::fs::remove_dir_all(&bundle).unwrap();
    run("umoci", ["unpack", "--image", &image, bundle_text]).ok();
    (format!("oci:{image}"), bundle.join("rootfs"))
}

#[test]
fn the_same_content_runs_the_same_as_oci_image_and_as_aci() {
    require_bed("ns");
    let dir = tempfile::tempdir().unwrap();
    let (oci, root) = the_same_twice(dir.path());
    rocket(["fetch", "--name", "example.com/as-oci:1.0", &oci]).ok();
    image::add(&root, "example.com/as-aci:1.0", &["/bin/sh"]);
    // What rocket puts there is the pod's, not the image's.
    let look = "id; cd /; own='hosts|hostname|machine-id'; \
                find . -xdev | grep -vE \"^./etc/($own)\" | sort | \
                while read f; do stat -c '%n %A %u %g' \"$f\"; done; \
                find . -xdev -type f | grep -vE \"^./etc/($own)\" | sort | xargs md5sum; exit 9";
    let outputs = ["example.com/as-oci:1.0", "example.com/as-aci:1.0"].map(|name| {
        let done = rocket(["run", "--rm", name, "--exec", "/bin/sh", "--", "-c", look]);
        done.ends_with(9).stdout
    });
    assert!(outputs[0].contains("./srv/above") && !outputs[0].contains("below"), "{}", outputs[0]);
    assert_eq!(outputs[0], outputs[1]);
}
