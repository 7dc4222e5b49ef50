//! Ctrl-C while an image is unpacked.

use crate::kit::{Host, LayoutSpec, Tar, aci, gzip, hold_worker, stored};
use rocket_testkit::Command;
use rustix::process::Signal;

/// So many files that nobody unpacks them in a moment.
fn many(start: Tar, at: &str) -> Vec<u8> {
    let mut tar = start.dir(at, 0o755, 0);
    for number in 0..20_000 {
        tar = tar.file(&format!("{at}/{number}"), "x");
    }
    tar.end()
}

#[test]
fn ctrl_c_while_unpacking_leaves_nothing_and_the_next_run_succeeds() {
    let host = Host::new();
    let file = host.file("many.aci", &gzip(&many(aci(), "rootfs/many")));
    let layers = vec![Tar::default().dir("./", 0o755, 0).end(), many(Tar::default(), "many")];
    LayoutSpec::new(layers).write(&host.path("layout"));
    for reference in [file, format!("oci:{}:latest", host.path("layout").display())] {
        let command = || {
            Command::new(env!("CARGO_BIN_EXE_rocket"))
                .args(["fetch", &reference])
                .env("ROCKET_STATE_DIR", host.path("state"))
        };
        let before = if host.store().exists() { stored(&host.store()) } else { Vec::new() };
        let mut fetch = command().start();
        hold_worker(&mut fetch, &host.store().join("tmp"));
        fetch.signal(Signal::INT);
        fetch.wait().ends_with(130).says(&["interrupted"]);
        assert_eq!(stored(&host.store()), before, "{reference}");
        command().run().ok();
        assert!(std::fs::read_dir(host.store().join("tmp")).unwrap().next().is_none());
    }
    host.rocket(&["image", "verify", "--all"]).ok();
}
