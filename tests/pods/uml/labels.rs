//! Labels of security modules: AppArmor, which the kernel of the uml bed has on.

use rocket_testkit::unit::Pod;
use rocket_testkit::{Command, image, require_bed, rocket, run};
use std::fs;
use std::path::Path;

const IMAGE: &str = "example.com/labelled:1.0";

/// A profile under which everything goes but one file; unloaded when dropped.
struct Profile(tempfile::NamedTempFile);

impl Profile {
    fn load(name: &str) -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = format!(
            "profile {name} flags=(attach_disconnected) {{\n file,\n capability,\n network,\n \
             signal,\n ptrace,\n unix,\n deny /etc/secret r,\n}}\n"
        );
        fs::write(file.path(), text).unwrap();
        let profile = Self(file);
        profile.parser("--replace");
        profile
    }

    fn parser(&self, verb: &str) {
        // The cache would be in /etc, where no profile of a package is here.
        run("apparmor_parser", [verb, "--skip-cache", self.0.path().to_str().unwrap()]).ok();
    }
}

impl Drop for Profile {
    fn drop(&mut self) {
        let path = self.0.path().to_str().unwrap();
        run("apparmor_parser", ["--remove", path]);
    }
}

fn add_image() {
    let root = tempfile::tempdir().unwrap();
    image::busybox_root(root.path());
    fs::write(root.path().join("etc/secret"), "secret\n").unwrap();
    image::add(root.path(), IMAGE, &["/bin/sh"]);
}

fn text(security: &str, script: &str) -> String {
    format!(
        "version = 1\nnetwork = \"none\"\n[app.main]\nimage = \"{IMAGE}\"\n\
         exec = [\"/bin/sh\", \"-c\", '''{script}''']\nsecurity = {{ {security} }}\n"
    )
}

const LOOK: &str = "cat /proc/self/attr/apparmor/current; cat /etc/secret 2>&1";

#[test]
fn an_app_and_who_enters_it_run_under_their_profile() {
    require_bed("uml");
    add_image();
    let profile = "rocket-test-profile";
    let loaded = Profile::load(profile);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("labelled.toml");
    let file = file.to_str().unwrap();

    // Without a profile there is nothing to see, and the secret is read.
    fs::write(file, text("", LOOK)).unwrap();
    let done = rocket(["run", "--rm", "-f", file]).ok();
    assert_eq!(done.stdout, "unconfined\nsecret\n");

    // A user and root, with and without no-new-privileges: a profile is taken by all.
    let security = format!("apparmor = \"{profile}\"");
    let confined =
        format!("{profile} (enforce)\ncat: can't open '/etc/secret': Permission denied\n");
    for more in ["", ", no-new-privileges = false"] {
        for user in ["0", "1000"] {
            let text = text(&format!("{security}{more}"), LOOK);
            let text = text.replacen(
                "exec =",
                &format!("user = \"{user}\"\ngroup = \"{user}\"\nexec ="),
                1,
            );
            fs::write(file, text).unwrap();
            let done = rocket(["run", "--rm", "-f", file]).ends_with(1);
            assert_eq!(done.stdout, confined, "{user} {more}: {done}");
        }
    }
    // In a unit, and by enter.
    let pod = Pod::new("labelled", &text(&security, "echo up; exec sleep 1000"));
    pod.start();
    pod.wait_for_line("up");
    let explained = rocket(["explain", "labelled"]).ok();
    let line = explained.stdout.lines().find(|line| line.contains("apparmor")).unwrap_or_default();
    assert!(line.contains(profile), "{explained}");
    let entered = rocket(["enter", "labelled", "--", "/bin/sh", "-c", LOOK]).ends_with(1);
    assert_eq!(entered.stdout, confined, "{entered}");
    let label =
        |pid: i32| fs::read_to_string(format!("/proc/{pid}/attr/apparmor/current")).unwrap();
    let main = fs::read_to_string(pod.cgroup().join("app-main/cgroup.procs")).unwrap();
    assert_eq!(label(main.trim().parse().unwrap()), format!("{profile} (enforce)\n"));
    assert_eq!(label(pod.init()), "unconfined\n");
    drop(pod);

    // What is gone by the time of the start refuses it, too.
    let prepared = rocket(["prepare", "-f", file]).ok();
    loaded.parser("--remove");
    let uuid = prepared.text().lines().last().unwrap();
    rocket(["run-prepared", "--rm", uuid]).ends_with(125).says(&["apparmor", profile]);
    loaded.parser("--add");
}

#[test]
fn an_absent_profile_and_an_absent_module_refuse_the_start_by_name() {
    require_bed("uml");
    add_image();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("unlabelled.toml");
    let refused = |security: &str, words: &[&str]| {
        fs::write(&file, text(security, "echo ran")).unwrap();
        let done = Command::new("/usr/bin/rocket")
            .args([Path::new("run"), Path::new("--rm"), Path::new("-f"), &file])
            .run()
            .ends_with(125)
            .says(words);
        assert_eq!(done.stdout, "");
    };
    refused(
        "apparmor = \"rocket-no-such\"",
        &["app \"main\"", "\"rocket-no-such\"", "no such profile is loaded"],
    );
    let context = "system_u:system_r:container_t:s0";
    refused(&format!("selinux = \"{context}\""), &["app \"main\"", context, "needs SELinux"]);
}
