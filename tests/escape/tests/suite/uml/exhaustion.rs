//! What the kernel counts for each user: one pod that takes all of it leaves the others theirs, and
//! the host's root its own, since each pod's user namespace belongs to the pod's own first id.

use crate::pod::{IMAGE, add_image, probe};
use rocket_testkit::{Command, require_bed, rocket, run, wait_until};

const PER_USER: &str = "/proc/sys/fs/inotify/max_user_instances";

#[test]
fn a_pod_that_takes_all_inotify_instances_starves_nobody_else() {
    require_bed("uml");
    add_image();
    let most: usize = std::fs::read_to_string(PER_USER).unwrap().trim().parse().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, words: &str| {
        let file = dir.path().join(format!("{name}.toml"));
        let app = |app: &str, user: u32| {
            format!(
                "[app.{app}]\nimage = \"{IMAGE}\"\nexec = [{words}]\nuser = \"{user}\"\nstop-timeout = \"1s\"\n"
            )
        };
        let text = format!(
            "version = 1\nnetwork = \"none\"\nexit-policy = \"all-done\"\n{}{}",
            app("one", 0),
            app("two", 1000)
        );
        std::fs::write(&file, text).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let greedy = file("greedy", "\"/probe\", \"inotify\", \"keep\"");
    let greedy = Command::new("/usr/bin/rocket")
        .args(["run", "--rm", "--name", "greedy", "-f", &greedy])
        .seconds(300)
        .start();
    // When it has all there are, who enters it gets none.
    wait_until("the pod has taken all there are", 60, || {
        rocket(["enter", "--app", "one", "greedy", "--", "/probe", "inotify"]).stdout == "0\n"
    });
    let modest = file("modest", "\"/probe\", \"inotify\"");
    let other = rocket(["run", "--rm", "-f", &modest]).ok();
    let counts: Vec<usize> = other.stdout.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(counts.len(), 2, "{other}");
    // Its two users share what the pod has, whoever comes first.
    assert!(counts.iter().max().unwrap() + 16 >= most, "of {most}: {other}");
    let host = run(probe().to_str().unwrap(), ["inotify"]).ok();
    assert!(host.text().parse::<usize>().unwrap() + 64 >= most, "of {most}: {host}");
    rocket(["stop", "--force", "greedy"]);
    let taken = greedy.wait();
    let counts = taken.stdout.lines().filter_map(|line| line.parse::<usize>().ok());
    assert!(counts.sum::<usize>() <= most, "of {most}: {taken}");
}
