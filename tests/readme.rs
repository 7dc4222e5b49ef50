//! The tour of the README, run word for word: what a newcomer types first must work.
#![forbid(unsafe_code)]

/// The commands of the README's `sh` blocks below the heading `heading`.
fn commands(readme: &str, heading: &str) -> String {
    let section = readme.split("\n## ").find(|s| s.starts_with(heading)).unwrap_or_default();
    let blocks = section.split("```sh\n").skip(1);
    blocks.map(|block| block.split("```").next().unwrap_or_default()).collect()
}

// In uml: the tour's pod has a limit, and only there one can be enforced.
mod uml {
    use rocket_testkit::{Command, require_bed};

    #[test]
    fn the_tour_of_the_readme_works_as_it_stands() {
        require_bed("uml");
        let readme = include_str!("../README.md");
        let script = super::commands(readme, "Five minutes");
        let dir = tempfile::tempdir().unwrap();
        let preamble = format!("set -eu; export PAGER=cat; cd {}\n", dir.path().display());
        let done = Command::new("/bin/sh").args(["-c", &(preamble + &script)]).run().ok();
        for expected in ["example.com/hello:1.0", "hello from the pod", "app-hello", "running"] {
            assert!(done.stdout.contains(expected), "no `{expected}` in: {done}");
        }
    }
}

#[test]
fn the_blocks_of_a_section_are_found_and_no_others() {
    let text = "# a\n## b\n```sh\n1\n```\n```\n2\n```\n```sh\n3\n```\n## c\n```sh\n4\n```\n";
    assert_eq!(commands(text, "b"), "1\n3\n");
}
