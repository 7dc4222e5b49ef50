//! A pod file that is wrong, as the one sees it who asks systemd.

use rocket_testkit::require_bed;
use rocket_testkit::unit::{Pod, systemctl};
use std::fs;
use std::path::Path;

/// The file with the longest name that there can be, a key of a megabyte and one of many bytes a
/// character: the status says where and what nevertheless, and what to do about it.
#[test]
fn a_long_complaint_about_a_long_path_is_in_the_status() {
    require_bed("ns");
    let name = "p".repeat(57);
    let pod = Pod::new(&name, "network = \"none\"\n[app.web]\nimage = \"example.com/x\"\n");
    let dir = format!("/run/rocket/pods/{name}.toml.d");
    fs::create_dir_all(&dir).unwrap();
    let file = format!("{dir}/{}.toml", "d".repeat(250));
    let value = "🧨".repeat(200_000);
    for (text, place, cause, end) in [
        (
            format!("[app.web]\n{} = 1\n", "k".repeat(1_000_000)),
            "2:1",
            "unknown key \"kkkk",
            "[app.web]",
        ),
        (format!("[app.web]\nrestart = \"{value}\"\n"), "2:11", "restart is one of ", ""),
        (format!("[app.web]\nstop-signal = \"{value}\"\n"), "2:15", "", "🧨"),
    ] {
        fs::write(&file, text).unwrap();
        systemctl(["daemon-reload"]).ok();
        assert_ne!(pod.systemctl("start").code(), 0);
        let done = systemctl(["status", "--no-pager", "--lines=0", &pod.unit()]);
        let status =
            done.stdout.lines().find(|line| line.contains("Status: \"")).unwrap_or_default();
        let expected = format!("Status: \"{file}:{place}: {cause}");
        assert!(status.contains(&expected) && status.contains(end), "{expected}: {done}");
        assert!(status.len() < 4096, "{}", status.len());
        // Whole in the journal too, as an error.
        let told = |entry: &serde_json::Value| {
            entry["PRIORITY"] == "3"
                && entry["MESSAGE"].as_str().is_some_and(|line| status.contains(line))
        };
        assert!(pod.journal().iter().any(told), "{status}");
        systemctl(["reset-failed", &pod.unit()]).ok();
    }
    fs::remove_dir_all(Path::new(&dir)).unwrap();
}
