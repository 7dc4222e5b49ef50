//! `rocket run` from a shell: a scope, the app's own output and exit status, and its ends.

use rocket_testkit::command::Started;
use rocket_testkit::unit::systemctl;
use rocket_testkit::{Command, image, require_bed, rocket, run, wait_until};
use rustix::process::Signal;
use std::path::{Path, PathBuf};

const SHELL: &str = "example.com/shell:1.0";

fn shell(script: &str) -> Command {
    image::add_busybox(SHELL, &["/bin/sh", "-c"]);
    Command::new("/usr/bin/rocket").args(["run", SHELL, "--", script])
}

#[test]
fn the_exit_status_is_the_apps_own() {
    require_bed("ns");
    shell("exit 0").run().ends_with(0);
    shell("exit 3").run().ends_with(3);
    shell("exit 255").run().ends_with(255);
}

#[test]
fn a_signal_that_ends_the_app_is_128_and_its_number() {
    require_bed("ns");
    shell("kill -KILL $$").run().ends_with(137);
    shell("kill -SEGV $$").run().ends_with(139);
}

#[test]
fn a_missing_program_is_127_and_one_that_cannot_run_is_126_both_named() {
    require_bed("ns");
    image::add_busybox(SHELL, &["/bin/sh", "-c"]);
    rocket(["run", SHELL, "--exec", "/bin/nothing"]).ends_with(127).says(&["/bin/nothing"]);
    rocket(["run", SHELL, "--exec", "/etc/passwd"]).ends_with(126).says(&["/etc/passwd"]);
    rocket(["run", SHELL, "--exec", "/etc"]).ends_with(126).says(&["/etc"]);
}

#[test]
fn an_app_has_the_callers_own_limit_of_open_files() {
    require_bed("ns");
    image::add_busybox(SHELL, &["/bin/sh", "-c"]);
    let script = format!("ulimit -Sn 512; rocket run {SHELL} -- 'ulimit -Sn'");
    assert_eq!(rocket_testkit::run("bash", ["-c", &script]).ok().text(), "512");
}

#[test]
fn a_caller_that_ignores_the_end_of_its_children_does_not_matter() {
    require_bed("ns");
    image::add_busybox(SHELL, &["/bin/sh", "-c"]);
    let script = format!("$SIG{{CHLD}} = 'IGNORE'; exec qw(rocket run {SHELL} --), 'exit 4'");
    rocket_testkit::run("perl", ["-e", &script]).ends_with(4);
}

#[test]
fn an_image_that_is_not_there_is_125_and_says_what_to_do() {
    require_bed("ns");
    let name = "example.com/not-there:1.0";
    rocket(["run", name]).ends_with(125).says(&[name, "rocket fetch"]);
}

#[test]
fn the_apps_output_is_the_callers_byte_for_byte() {
    require_bed("ns");
    let done = shell("printf 'a\\tb\\r\\n'; printf 'no line end'; echo other >&2").run().ok();
    assert_eq!(done.stdout, "a\tb\r\nno line end");
    assert_eq!(done.stderr, "other\n");
}

#[test]
fn the_app_reads_the_callers_input() {
    require_bed("ns");
    let done = shell("read line; echo \"got $line\"").input("words\n").run().ok();
    assert_eq!(done.text(), "got words");
}

#[test]
fn two_pods_with_one_name_are_refused_by_naming_the_first() {
    require_bed("ns");
    let place = Place::new();
    let uuid = place.path("uuid");
    let first = place.start(&["--name", "only-one", "--uuid-file-save", uuid.to_str().unwrap()]);
    let uuid = std::fs::read_to_string(uuid).unwrap();
    let second = rocket(["run", SHELL, "--name", "only-one", "--", "true"]);
    second.ends_with(125).says(&["only-one", uuid.trim()]);
    first.signal(Signal::TERM);
    first.wait();
    // The name is free again.
    rocket(["run", SHELL, "--name", "only-one", "--", "true"]).ok();
}

#[test]
fn ctrl_c_stops_the_pod_in_order() {
    require_bed("ns");
    let place = Place::new();
    let mut terminal = place.start_on_terminal();
    terminal.write(b"\x03");
    place.wait_for_ordered_stop();
    terminal.wait();
}

#[test]
fn sigterm_to_the_front_end_stops_the_pod_in_order() {
    require_bed("ns");
    let place = Place::new();
    let front = place.start(&[]);
    front.signal(Signal::TERM);
    place.wait_for_ordered_stop();
    front.wait();
}

#[test]
fn the_death_of_the_terminal_stops_the_pod_in_order() {
    require_bed("ns");
    let place = Place::new();
    let terminal = place.start_on_terminal();
    terminal.signal(Signal::KILL);
    place.wait_for_ordered_stop();
    drop(terminal.wait());
}

#[test]
fn the_death_of_the_front_end_stops_the_pod_in_order() {
    require_bed("ns");
    let place = Place::new();
    let front = place.start(&[]);
    front.signal(Signal::KILL);
    place.wait_for_ordered_stop();
    front.wait().ends_with(137);
}

#[test]
fn stopping_the_scope_stops_the_pod_in_order() {
    require_bed("ns");
    let place = Place::new();
    let front = place.start(&["--uuid-file-save", place.path("uuid").to_str().unwrap()]);
    let uuid = std::fs::read_to_string(place.path("uuid")).unwrap();
    systemctl(["stop", &format!("rocket-{}.scope", uuid.trim())]).ok();
    place.wait_for_ordered_stop();
    front.wait();
}

#[test]
fn a_detached_pod_is_a_service_and_can_be_stopped() {
    require_bed("ns");
    let place = Place::new();
    let file = place.file();
    let started = rocket(["run", "--detach", "-f", file.to_str().unwrap()]).ok();
    let uuid = started.text();
    let unit = format!("rocket-{uuid}.service");
    wait_until("the app runs", 20, || place.path("started").exists());
    assert_eq!(systemctl(["is-active", &unit]).text(), "active");
    rocket(["stop", uuid]).ok();
    place.wait_for_ordered_stop();
    wait_until("the unit is gone", 20, || systemctl(["is-active", &unit]).text() == "inactive");
}

/// A pod of one app that shares a directory with the test, where it says what happens to it.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        image::add_busybox(SHELL, &["/bin/sh", "-c"]);
        let place = Self { dir: tempfile::tempdir().unwrap() };
        // The app takes a moment to stop, so that killing it instead would show.
        let script = "trap 'sleep 0.3; touch /place/stopped; exit 0' TERM; trap '' INT HUP; \
                      touch /place/started; while :; do sleep 0.1; done";
        let text = format!(
            "version = 1\nnetwork = \"none\"\n[app.main]\nimage = \"{SHELL}\"\n\
             exec = [\"/bin/sh\", \"-c\", \"{script}\"]\nmounts = {{ \"/place\" = \"place\" }}\n\
             [volume.place]\nkind = \"host\"\nsource = \"{}\"\n",
            place.dir.path().display()
        );
        std::fs::write(place.file(), text).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn file(&self) -> PathBuf {
        // The file's name is the pod's, and tests run side by side.
        self.path(&format!("place-{}.toml", std::process::id()))
    }

    /// Runs the pod in the foreground, without a terminal.
    fn start(&self, options: &[&str]) -> Started {
        let front = Command::new("/usr/bin/rocket").args(["run", "-f"]).args([self.file()]);
        self.started(front.args(options).start())
    }

    /// Runs the pod in the foreground of a terminal of its own; what is written to the process
    /// returned is typed there, and the terminal dies with it.
    fn start_on_terminal(&self) -> Started {
        let command = format!("exec /usr/bin/rocket run -f {}", self.file().display());
        let terminal = Command::new("script").args(["--quiet", "--return", "--command", &command]);
        self.started(terminal.args([Path::new("/dev/null")]).start())
    }

    fn started(&self, mut process: Started) -> Started {
        wait_until("the app runs", 20, || self.path("started").exists() || process.has_ended());
        assert!(self.path("started").exists(), "it did not start: {}", process.wait());
        process
    }

    /// The app was asked and had its time, and then nothing of the pod is left.
    #[track_caller]
    fn wait_for_ordered_stop(&self) {
        wait_until("the app has stopped in its own time", 20, || self.path("stopped").exists());
        let dir = self.dir.path().file_name().unwrap().to_str().unwrap();
        wait_until("no process has the pod's volume", 20, || !mounted_somewhere(dir));
    }
}

/// Whether a process of the bed lives in a mount namespace in which the directory is mounted.
fn mounted_somewhere(name: &str) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let mut mounts =
        processes.filter_map(|p| std::fs::read_to_string(p.path().join("mountinfo")).ok());
    mounts.any(|text| text.contains(name))
}

#[test]
fn an_app_opens_its_streams_anew_by_name_through_pipes() {
    require_bed("ns");
    image::add_busybox("example.com/streams:1.0", &["/bin/sh", "-c"]);
    for user in ["0", "1000"] {
        let script = "echo out > /dev/stdout; echo err > /dev/stderr";
        let done = rocket(["run", "--rm", "--user", user, "example.com/streams:1.0", "--", script]);
        let done = done.ok();
        assert!(done.stdout == "out\n" && done.stderr.contains("err\n"), "{done}");
    }
}

#[test]
fn an_app_has_not_its_callers_umask_and_few_descriptors_are_an_error_that_says_so() {
    require_bed("ns");
    let name = "example.com/umask:1.0";
    image::add_busybox(name, &["/bin/sh", "-c"]);
    let shell = |before: &str| {
        let line = format!("{before}; exec rocket run --rm {name} -- umask");
        run("/bin/sh", ["-c", line.as_str()])
    };
    assert_eq!(shell("umask 077").ok().stdout, "0022\n");
    shell("ulimit -n 16").ends_with(125).says(&["Too many open files", "ulimit -n"]);
}
