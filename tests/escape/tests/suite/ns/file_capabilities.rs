//! What a file capability of an image is worth, as docs/pod-file.md says.

use crate::pod::{IMAGE, add_image};
use rocket_testkit::{require_bed, rocket, run};
use std::fs;

/// Runs the image's `/caps-probe`, a file with `cap_kill+ep`, and its likes on volumes, as uid 1000.
fn who(security: &str, pod: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let host = tempfile::tempdir().unwrap();
    let copy = host.path().join("caps-probe");
    fs::copy(crate::pod::probe(), &copy).unwrap();
    run("chmod", ["755", copy.to_str().unwrap(), host.path().to_str().unwrap()]).ok();
    run("setcap", ["cap_kill+ep", copy.to_str().unwrap()]).ok();
    let script = "for d in / /vol/; do ${d}caps-probe who 2>&1; done";
    let text = format!(
        "version = 1\nnetwork = \"none\"\n{pod}[app.main]\nimage = \"{IMAGE}\"\n\
         exec = [\"/bin/sh\", \"-c\", \"{script}\"]\nuser = \"1000\"\ngroup = \"1000\"\n\
         security = {{ {security} }}\nmounts = {{ \"/vol\" = \"v\" }}\n\
         [volume.v]\nkind = \"host\"\nsource = \"{}\"\n",
        host.path().display()
    );
    let file = dir.path().join("pod.toml");
    fs::write(&file, text).unwrap();
    let name = format!("file-caps-{}", std::process::id());
    rocket(["run", "--rm", "--name", &name, "-f", file.to_str().unwrap()]).stdout
}

#[test]
fn file_capabilities_count_only_with_new_privileges_and_on_no_volume() {
    require_bed("ns");
    add_image();
    let (with, without) = ("uid 1000 kill true\n", "uid 1000 kill false\n");
    for pod in ["", "[security]\nuser-namespace = false\n"] {
        assert_eq!(who("", pod), format!("{without}{without}"), "{pod}");
        assert_eq!(who("no-new-privileges = false", pod), format!("{with}{without}"), "{pod}");
        // One that the app may not have at all: the program does not even run.
        let none = who("no-new-privileges = false, capabilities = [\"chown\"]", pod);
        assert!(none.contains("ermitted") && none.ends_with(without), "{pod}: {none}");
    }
}
