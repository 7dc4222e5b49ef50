//! In the ns bed, whose kernel is the build machine's: only what would do no harm if it succeeded.

mod file_capabilities;
mod races;

use crate::canaries::Canaries;
use crate::pod::{Background, Trial, add_image, results};
use crate::uml::refused;
use rocket_escape::{Attempt, Who, all};
use rocket_testkit::{Command, require_bed, rocket, run, wait_until};

#[test]
fn a_default_pod_refuses_what_is_harmless_to_root_and_to_a_user() {
    require_bed("ns");
    add_image();
    let mut canaries = Canaries::new();
    let before = canaries.state();
    let told = canaries.told();
    let attempts: Vec<_> = all().filter(|attempt| attempt.harmless).collect();
    for who in [Who::Root, Who::User] {
        let trial = Trial { off: &[], who, attempts: &attempts, told: &told, limited: false };
        refused(&format!("a default pod, as {who:?}"), &attempts, &trial.run());
    }
    canaries.unharmed(&before);
}

#[test]
fn whoever_enters_a_pod_is_refused_the_same() {
    require_bed("ns");
    let attempts: Vec<_> = all().filter(|attempt| attempt.harmless).collect();
    entered(&attempts, "");
}

/// CVE-2019-5736: an app has `enter` execute a script whose interpreter is the program that executes
/// it, init's own file on the host, and waits for it with a descriptor.
#[test]
fn inits_program_is_not_written_to_through_proc_self_exe() {
    require_bed("ns");
    add_image();
    let init = "/usr/lib/rocket/stage1/ns/init";
    let before = run("sha256sum", [init]).ok().stdout;
    for security in ["", "[security]\nuser-namespace = false\n"] {
        let name = if security.is_empty() { "escape-exe" } else { "escape-exe-weak" };
        let _pod = Background::running(name, "watch", security, "");
        // Until the app has got hold of it: that it cannot prevent, so what matters is what follows.
        wait_until("the app holds init's program", 60, || {
            rocket(["enter", name, "--", "/evil"]);
            rocket(["enter", name, "--", "/bin/cat", "/tmp/watch"]).stdout.starts_with("holds")
        });
        let said = rocket(["enter", name, "--", "/bin/cat", "/tmp/watch"]);
        println!("with {security:?}: {}", said.stdout);
        assert!(!said.stdout.contains("wrote"), "{said}");
        assert_eq!(run("sha256sum", [init]).ok().stdout, before, "{said}");
    }
}

/// Tries them by `rocket enter`, as root and as a user; `limits` are the app's.
pub fn entered(attempts: &[&Attempt], limits: &str) {
    add_image();
    let mut canaries = Canaries::new();
    let before = canaries.state();
    let told = canaries.told();
    let environment: String = told.iter().map(|(n, v)| format!("{n} = {v:?}, ")).collect();
    let mut words = vec!["/probe", "run"];
    words.extend(attempts.iter().map(|attempt| attempt.name));
    for user in ["0", "1000"] {
        let name = format!("escape-entered-{user}");
        // What a program of the host would load, were one run in the pod's root (CVE-2019-10145).
        let more = format!(
            "user = \"{user}\"\ngroup = \"{user}\"\n{limits}\
             environment = {{ {environment} LD_PRELOAD = \"/escaped.so\" }}\n\
             mounts = {{ \"/vol\" = \"vol\", \"/closed\" = {{ volume = \"vol\", read-only = true }} }}\n\
             [volume.vol]\nkind = \"empty\"\nmode = \"0777\"\n"
        );
        let _pod = Background::new(&name, &more);
        let preload = "echo /escaped.so >/etc/ld.so.preload";
        rocket(["enter", &name, "--", "/bin/sh", "-c", preload]);
        let mut line = vec!["enter", &name, "--"];
        line.extend(&words);
        let done = Command::new("/usr/bin/rocket").args(line).seconds(120).run();
        assert!(!done.stderr.contains("escaped.so"), "{done}");
        refused(&format!("entered, as {user}"), attempts, &results(&done));
    }
    canaries.unharmed(&before);
}
