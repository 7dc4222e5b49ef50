//! What is found when somebody changes what a running pod stands on, or the pod itself does.

use rocket_testkit::unit::Pod;
use rocket_testkit::{image, require_bed, rocket, run};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

const SCRIPT: &str = "echo mine >/etc/new; echo x:x:1:1::/: >>/etc/passwd; rm /etc/group; echo there; \
                      while :; do sleep 0.1; done";

/// What an audit of the pod finds, and how it ends.
fn audit(name: &str) -> (i32, Vec<Value>) {
    let done = rocket(["image", "audit", "--pod", name, "--quiet", "--format=json"]);
    let found = serde_json::from_str(&done.stdout).unwrap_or_else(|e| panic!("{e}: {done}"));
    (done.code(), found)
}

/// The finding about a path.
#[track_caller]
fn about<'a>(found: &'a [Value], object: &str, path: &str) -> &'a Value {
    let fits = |f: &&Value| f["object"] == object && f["path"] == path;
    found.iter().find(fits).unwrap_or_else(|| panic!("no {object} {path} in {found:#?}"))
}

/// Turns one byte of a file and keeps its length and times, as a bad disk would.
fn flip(path: &Path) {
    let found = fs::metadata(path).unwrap();
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_modified(found.modified().unwrap()).unwrap();
}

fn uuid(name: &str) -> String {
    fs::read_to_string(format!("/var/lib/rocket/names/{name}")).unwrap().trim().to_owned()
}

/// The tree of the only layer of an image.
fn tree(image: &str) -> PathBuf {
    let text = rocket(["image", "tree", image, "--format=json"]).ok().stdout;
    let tree: Value = serde_json::from_str(&text).unwrap();
    let layer = tree["layers"][0]["layer"].as_str().unwrap();
    PathBuf::from("/var/lib/rocket/store/layers").join(layer.replacen('-', "/", 1)).join("tree")
}

#[test]
fn a_flipped_byte_in_the_root_of_a_running_pod_is_found_and_named() {
    require_bed("ns");
    let image = "example.com/audited:1.0";
    image::add_busybox(image, &["/bin/sh", "-c", SCRIPT]);
    let text = format!("network = \"none\"\n[app.main]\nimage = \"{image}\"\n");
    let pod = Pod::new("audited", &text);
    pod.start();
    pod.wait_for_line("there");

    // What the app did itself is told from damage.
    let (code, found) = audit("audited");
    assert_eq!(code, 1, "a file of the image was changed: {found:#?}");
    assert_eq!(about(&found, "app", "/etc/new")["problem"], "added");
    assert_eq!(about(&found, "app", "/etc/passwd")["problem"], "changed");
    assert_eq!(about(&found, "app", "/etc/group")["problem"], "missing");
    assert!(found.iter().all(|f| f["object"] == "app"), "{found:#?}");
    let before = found.len();

    // Below it, behind the overlay's back.
    let program = tree(image).join("bin/busybox");
    flip(&program);
    let (code, found) = audit("audited");
    let damage = about(&found, "layer", "/bin/busybox");
    assert_eq!((code, &damage["problem"]), (1, &Value::from("changed")));
    assert!(damage["detail"].as_str().unwrap().contains("content"), "{damage}");
    assert_eq!(found.len(), before + 1, "{found:#?}");
    // While the pod runs its layer is left alone.
    let refused = rocket(["image", "audit", "--pod", "audited", "--repair"]);
    assert_eq!(refused.code(), 1, "{refused}");
    assert!(refused.stderr.contains("pod"), "{refused}");
    flip(&program);

    // In what it wrote itself: a file that it had not touched, as somebody outside would do it.
    let upper = PathBuf::from("/var/lib/rocket/pods/run").join(uuid("audited"));
    let upper = upper.join("apps/main/upper");
    run(
        "cp",
        [
            "-p".as_ref(),
            tree(image).join("bin/busybox").as_os_str(),
            upper.join("etc/x").as_os_str(),
        ],
    )
    .ok();
    let (_, found) = audit("audited");
    assert_eq!(about(&found, "app", "/etc/x")["problem"], "added");
    assert_eq!(found.len(), before + 1, "{found:#?}");
}

#[test]
fn a_file_of_the_image_with_one_byte_flipped_by_its_app_is_named() {
    require_bed("ns");
    let image = "example.com/flipped:1.0";
    image::add_busybox(image, &["/bin/sh"]);
    // The copy that overlayfs makes has the length and, as here, the time of the image's file.
    let script = "t=$(stat -c %Y /etc/passwd); printf R | dd of=/etc/passwd conv=notrunc bs=1 2>/dev/null; \
                  touch -d @$t /etc/passwd; echo there; while :; do sleep 0.1; done";
    let text = format!(
        "network = \"none\"\n[app.main]\nimage = \"{image}\"\nexec = [\"/bin/sh\", \"-c\", \"{script}\"]\n"
    );
    let pod = Pod::new("flipped", &text);
    pod.start();
    pod.wait_for_line("there");
    let (code, found) = audit("flipped");
    let damage = about(&found, "app", "/etc/passwd");
    assert_eq!((code, &damage["problem"]), (1, &Value::from("changed")));
    assert!(damage["detail"].as_str().unwrap().contains("content"), "{damage}");
    assert_eq!(
        found.iter().filter(|f| f["problem"] == "changed" && f["path"] == "/etc/passwd").count(),
        1
    );
}
