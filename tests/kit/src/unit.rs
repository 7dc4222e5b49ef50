//! Pods as units of the bed's systemd, and what the journal says of them.

use crate::{Done, run, wait_until};
use serde_json::Value;
use std::path::PathBuf;

/// A pod with a pod file; stopped, and the file removed, when dropped.
pub struct Pod {
    name: String,
    file: PathBuf,
}

impl Pod {
    /// Writes the pod file and lets systemd know of it.
    #[track_caller]
    pub fn new(name: &str, text: &str) -> Self {
        let pod =
            Self { name: name.to_owned(), file: format!("/etc/rocket/pods/{name}.toml").into() };
        pod.write(text);
        pod
    }

    /// Writes the pod file anew and lets systemd know of it.
    #[track_caller]
    pub fn write(&self, text: &str) {
        std::fs::create_dir_all(self.file.parent().unwrap()).unwrap();
        std::fs::write(&self.file, text).unwrap();
        systemctl(["daemon-reload"]).ok();
    }

    /// The name of its unit.
    #[must_use]
    pub fn unit(&self) -> String {
        format!("rocket@{}.service", self.name)
    }

    /// Runs `systemctl VERB UNIT`.
    #[track_caller]
    pub fn systemctl(&self, verb: &str) -> Done {
        systemctl([verb, &self.unit()])
    }

    /// Starts it; fails the test, with its journal, when that fails.
    #[track_caller]
    pub fn start(&self) {
        let done = self.systemctl("start");
        assert_eq!(done.code(), 0, "{done}\n--- journal\n{}", self.journal_text());
    }

    /// A property of its unit, as `systemctl show` prints it.
    #[track_caller]
    #[must_use]
    pub fn show(&self, property: &str) -> String {
        let unit = self.unit();
        let done = systemctl(["show", "--value", "--property", property, &unit]).ok();
        done.text().to_owned()
    }

    /// Its init as the bed's processes see it: the unit's main process.
    #[track_caller]
    #[must_use]
    pub fn init(&self) -> i32 {
        self.show("MainPID").parse().unwrap()
    }

    /// Waits until `systemctl show` prints `value` for `property`.
    #[track_caller]
    pub fn wait_for(&self, property: &str, value: &str) {
        let mut last = String::new();
        let what = format!("{property}={value} of {}", self.unit());
        wait_until(&what, 20, || {
            last = self.show(property);
            last == value
        });
    }

    /// Its cgroup's directory.
    #[track_caller]
    #[must_use]
    pub fn cgroup(&self) -> PathBuf {
        PathBuf::from(format!("/sys/fs/cgroup{}", self.show("ControlGroup")))
    }

    /// Its lines in the journal.
    #[must_use]
    pub fn journal(&self) -> Vec<Value> {
        journal(&["--unit", &self.unit()])
    }

    /// Waits until its journal has a line that is `text`, and returns that entry.
    #[track_caller]
    pub fn wait_for_line(&self, text: &str) -> Value {
        let mut found = None;
        wait_until(&format!("`{text}` in the journal of {}", self.unit()), 20, || {
            found = self.journal().into_iter().find(|entry| entry["MESSAGE"] == text);
            found.is_some()
        });
        found.unwrap()
    }

    fn journal_text(&self) -> String {
        run("journalctl", ["--no-pager", "--lines=50", "--unit", &self.unit()]).stdout
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        let unit = self.unit();
        run("systemctl", ["stop", &unit]);
        run("systemctl", ["reset-failed", &unit]);
        drop(std::fs::remove_file(&self.file));
        run("systemctl", ["daemon-reload"]);
    }
}

/// Runs `systemctl`.
#[track_caller]
pub fn systemctl<'a>(args: impl IntoIterator<Item = &'a str>) -> Done {
    run("systemctl", args)
}

/// Entries of this boot's journal, after everything written so far has reached it.
#[track_caller]
#[must_use]
pub fn journal(matches: &[&str]) -> Vec<Value> {
    run("journalctl", ["--sync"]).ok();
    let fixed = ["--boot", "--output=json", "--all", "--no-pager", "--quiet"];
    let done = run("journalctl", fixed.iter().chain(matches)).ok();
    done.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
