//! Somebody exchanges a directory for a link, over and over, while it is gone through for a mount:
//! CVE-2021-30465, CVE-2025-31133 and its siblings. What could go wrong would go wrong in the mount
//! namespace of the pod that is being set up, so this is not too much for the ns bed.

use crate::pod::{IMAGE, add_image};
use rocket_testkit::{Done, require_bed, rocket, wait_until};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// How often the other pod is started.
const STARTS: usize = 30;
/// What it mounts at each start: so many more chances.
const PLACES: usize = 6;

/// What the host has mounted below a directory.
fn mounted(dir: &Path) -> Vec<String> {
    let dir = dir.to_str().unwrap();
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap();
    text.lines().filter(|line| line.contains(dir)).map(str::to_owned).collect()
}

fn write_pod(dir: &Path, text: &str) -> PathBuf {
    let file = dir.join("pod.toml");
    fs::write(&file, format!("version = 1\nnetwork = \"none\"\n{text}")).unwrap();
    file
}

/// A directory two pods share, and one beside it that neither is given.
struct Place {
    dir: tempfile::TempDir,
    name: &'static str,
}

impl Place {
    /// Starts the pod that exchanges `dir` and `link` in the shared directory.
    fn new(name: &'static str) -> Self {
        add_image();
        let dir = tempfile::tempdir().unwrap();
        let open = |path: &Path| {
            fs::create_dir_all(path).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
        };
        open(&dir.path().join("shared"));
        for number in 0..PLACES {
            for (place, text) in [("shared/dir", "inside\n"), ("outside", "outside\n")] {
                let target = dir.path().join(place).join(number.to_string());
                fs::create_dir_all(&target).unwrap();
                fs::write(target.join("mark"), text).unwrap();
            }
        }
        // From wherever the link is gone through, to the host's root and down again.
        let up = format!("{}{}", "../".repeat(24), dir.path().join("outside").display());
        symlink(up.replace("//", "/"), dir.path().join("shared/link")).unwrap();
        let place = Self { dir, name };
        let file = write_pod(
            place.path(),
            &format!(
                "[app.main]\nimage = \"{IMAGE}\"\nexec = [\"/probe\", \"swap\", \"/v/dir\", \"/v/link\"]\n\
                 stop-timeout = \"1s\"\nmounts = {{ \"/v\" = \"v\" }}\n{}",
                place.volume("v", "shared"),
            ),
        );
        rocket(["run", "--detach", "--name", name, "-f", file.to_str().unwrap()]).ok();
        place.astray();
        place
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn volume(&self, name: &str, below: &str) -> String {
        let source = self.path().join(below);
        format!("[volume.{name}]\nkind = \"host\"\nsource = \"{}\"\n", source.display())
    }

    /// Whoever went by the path would end up outside, and inside at other times: else this is no race.
    fn astray(&self) {
        let path = self.path().join("shared/dir/0/mark");
        for text in ["outside\n", "inside\n"] {
            wait_until(text, 30, || fs::read_to_string(&path).is_ok_and(|found| found == text));
        }
    }

    /// All that is outside, and all that is mounted.
    fn outside(&self) -> Vec<String> {
        let mut found = mounted(self.path());
        for number in 0..PLACES {
            let target = self.path().join("outside").join(number.to_string());
            found.extend(
                fs::read_dir(&target).unwrap().map(|e| e.unwrap().path().display().to_string()),
            );
            found.push(fs::read_to_string(target.join("mark")).unwrap());
        }
        found
    }

    /// Starts the other pod; how often it ran, and how often it was refused by name.
    fn starts(&self, text: &str, right: impl Fn(&Done), words: &[&str]) -> (usize, usize) {
        let file = write_pod(self.path(), text);
        let before = self.outside();
        let name = format!("{}-other", self.name);
        let (mut ran, mut refused) = (0, 0);
        for _ in 0..STARTS {
            let done = rocket(["run", "--rm", "--name", &name, "-f", file.to_str().unwrap()]);
            match done.code() {
                0 => {
                    right(&done);
                    ran += 1;
                }
                125 => {
                    assert!(words.iter().any(|word| done.stderr.contains(word)), "{done}");
                    refused += 1;
                }
                _ => panic!("{done}"),
            }
            assert_eq!(self.outside(), before, "{done}");
        }
        self.astray();
        println!("{ran} ran, {refused} were refused");
        (ran, refused)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        rocket(["stop", "--force", self.name]);
    }
}

/// CVE-2021-30465: the way to a mount's target goes through what another pod exchanges.
#[test]
fn a_target_that_another_pod_exchanges_leads_nowhere_outside() {
    require_bed("ns");
    let place = Place::new("race-target");
    let (mut mounts, mut volumes) = (String::new(), place.volume("v", "shared"));
    for number in 0..PLACES {
        mounts.push_str(&format!(", \"/v/dir/{number}\" = \"t{number}\""));
        // Told from all other mounts by its size.
        volumes.push_str(&format!(
            "[volume.t{number}]\nkind = \"tmpfs\"\nsize = \"{}K\"\n",
            704 + 4 * number
        ));
    }
    let text = format!(
        "[app.main]\nimage = \"{IMAGE}\"\nexec = [\"/bin/cat\", \"/proc/self/mountinfo\"]\n\
         mounts = {{ \"/v\" = \"v\"{mounts} }}\n{volumes}"
    );
    // Each is mounted once in the app's own root: below the volume, or where the link leads in it.
    let link = place.path().join("outside").display().to_string();
    let right = |done: &Done| {
        for number in 0..PLACES {
            let size = format!("size={}k", 704 + 4 * number);
            let lines: Vec<_> = done.stdout.lines().filter(|line| line.contains(&size)).collect();
            assert_eq!(lines.len(), 1, "{size}: {done}");
            let at = lines[0].split(' ').nth(4).unwrap();
            let below = at.starts_with("/v/dir/") || at.starts_with("/v/link/");
            assert!(below || at.starts_with(&link), "{at}: {done}");
        }
    };
    place.starts(&text, right, &["/v/dir/"]);
}

/// The same with the source: what another pod exchanges decides what of the host is shown.
#[test]
fn a_source_that_another_pod_exchanges_shows_nothing_of_outside() {
    require_bed("ns");
    let place = Place::new("race-source");
    let (mut mounts, mut volumes) = (Vec::new(), String::new());
    for number in 0..PLACES {
        mounts.push(format!("\"/m{number}\" = \"s{number}\""));
        volumes.push_str(&place.volume(&format!("s{number}"), &format!("shared/dir/{number}")));
    }
    let text = format!(
        "[app.main]\nimage = \"{IMAGE}\"\n\
         exec = [\"/bin/sh\", \"-c\", \"cat /m*/mark\"]\nmounts = {{ {} }}\n{volumes}",
        mounts.join(", ")
    );
    let right = |done: &Done| assert_eq!(done.stdout, "inside\n".repeat(PLACES), "{done}");
    place.starts(&text, right, &["symbolic link"]);
}

/// CVE-2025-31133, -52565, -52881: an app starts again while another of its pod, with the same user,
/// exchanges all that is mounted in its root for links into /proc, through /proc/PID/root.
#[test]
fn an_app_that_starts_again_keeps_its_masks_whatever_another_exchanges() {
    require_bed("ns");
    add_image();
    let dir = tempfile::tempdir().unwrap();
    // What shows through: contents that are covered, and a write that must not arrive.
    let victim = "for f in /proc/keys /proc/kcore /proc/timer_list /dev/null /dev/console; do \
                    head -c 1 $f 2>/dev/null | wc -c | sed s,^,$f=,; done; \
                  echo '|/race' 2>/dev/null >/proc/sys/kernel/core_pattern && echo wrote=1; \
                  echo race 2>/dev/null >/dev/null; echo run=1; sleep 0.1";
    let file = write_pod(
        dir.path(),
        &format!(
            "exit-policy = \"app:swap\"\n\
             [app.victim]\nimage = \"{IMAGE}\"\nexec = [\"/bin/sh\", \"-c\", '''{victim}''']\n\
             restart = \"always\"\nrestart-delay = \"1ms\"\nrestart-max-delay = \"20ms\"\n\
             restart-limit = \"1000/1s\"\n\
             [app.swap]\nimage = \"{IMAGE}\"\nexec = [\"/probe\", \"swap-roots\"]\nstop-timeout = \"1s\"\n"
        ),
    );
    let core = || fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    let before = core();
    let running = rocket_testkit::Command::new("/usr/bin/rocket")
        .args(["run", "--rm", "--name", "race-masks", "-f", file.to_str().unwrap()])
        .seconds(120)
        .start();
    let restarts = || {
        let status = rocket(["status", "--format=json", "race-masks"]);
        let status: serde_json::Value = serde_json::from_str(&status.stdout).unwrap_or_default();
        status["apps"][0]["restarts"].as_u64().unwrap_or(0)
    };
    wait_until("the app has started again often enough", 90, || restarts() >= STARTS as u64);
    rocket(["stop", "race-masks"]);
    let done = running.wait();
    assert_eq!(core(), before);
    let count = |line: &str| done.stdout.lines().filter(|found| *found == line).count();
    assert!(count("run=1") >= STARTS, "{done}");
    assert!(done.stdout.contains("exchanged sys"), "the other app reached nothing: {done}");
    for line in ["/proc/keys=1", "/proc/kcore=1", "/proc/timer_list=1", "wrote=1"] {
        assert_eq!(count(line), 0, "{line}: {done}");
    }
}
