//! User namespaces on Linux 6.1.

use crate::owners;
use rocket_testkit::{image, require_bed, rocket, run};
use std::path::Path;

#[test]
fn files_belong_to_whom_they_should() {
    require_bed("uml");
    owners::files_belong_to_whom_they_should(Path::new("/var/lib/rocket/test-owners"));
}

#[test]
fn privileges_that_only_the_host_can_give_are_given() {
    require_bed("uml");
    image::add_busybox("example.com/given:1.0", &["/bin/sh"]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("given.toml");
    let script = "cat /proc/self/oom_score_adj; ulimit -n; ulimit -e; ulimit -l";
    for user in [true, false] {
        let text = format!(
            "network = \"none\"\n[app.a]\nimage = \"example.com/given:1.0\"\nuser = 7\n\
             exec = [\"/bin/sh\", \"-c\", {script:?}]\n[app.a.security]\noom-score-adj = -1000\n\
             rlimits = {{ nofile = \"infinity\", nice = 30, memlock = \"infinity\" }}\n\
             [security]\nuser-namespace = {user}\n"
        );
        std::fs::write(&file, text).unwrap();
        let done = rocket(["run", "--rm", "--file", file.to_str().unwrap()]).ok();
        let most = std::fs::read_to_string("/proc/sys/fs/nr_open").unwrap();
        assert_eq!(done.stdout, format!("-1000\n{most}30\nunlimited\n"), "{user}");
    }
}

#[test]
fn what_cannot_be_mapped_is_refused_by_name() {
    require_bed("uml");
    let dir = tempfile::tempdir_in("/var/lib").unwrap();
    let path = dir.path().to_str().unwrap();
    run("mount", ["-t", "tmpfs", "unmapped", path]).ok();
    owners::what_cannot_be_mapped_is_refused_by_name(dir.path(), "tmpfs");
    run("umount", ["-l", path]).ok();
}
