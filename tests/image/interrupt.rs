//! Ctrl-C while an image is unpacked.

use crate::kit::{Host, LayoutSpec, Tar, aci, gzip, hold_worker, stored};
use rocket_testkit::Command;
use rustix::process::Signal;

/// So many files that nobody unpacks them in a moment.
fn many(start: Tar, at: &str) -> Vec<u8> {
    let mut tar = start.dir(at, 0o755, 0);
    for number in 0..5_000 {
        tar = tar.file(&format!("{at}/{number}"), "x");
    }
    tar.end()
}

/// Ends a fetch in the middle of its unpacking, and fetches again.
#[track_caller]
fn ended(host: &Host, reference: &str) {
    let command = || {
        Command::new(env!("CARGO_BIN_EXE_rocket"))
            .args(["fetch", reference])
            .env("ROCKET_STATE_DIR", host.path("state"))
            .env("ROCKET_CONFIG_DIR", host.path("config"))
    };
    let mut fetch = command().start();
    hold_worker(&mut fetch, &host.store().join("tmp"));
    fetch.signal(Signal::INT);
    fetch.wait().ends_with(130).says(&["interrupted"]);
    assert!(stored(&host.store()).is_empty(), "{:?}", stored(&host.store()));
    command().run().ok();
    assert!(std::fs::read_dir(host.store().join("tmp")).unwrap().next().is_none());
    host.rocket(&["image", "verify", "--all"]).ok();
}

#[test]
fn ctrl_c_while_an_aci_is_unpacked_leaves_nothing_and_the_next_run_succeeds() {
    let host = Host::new();
    ended(&host, &host.file("many.aci", &gzip(&many(aci(), "rootfs/many"))));
}

#[test]
fn ctrl_c_while_a_layer_is_unpacked_leaves_nothing_and_the_next_run_succeeds() {
    let host = Host::new();
    let layers = vec![Tar::default().dir("./", 0o755, 0).end(), many(Tar::default(), "many")];
    LayoutSpec::new(layers).write(&host.path("layout"));
    ended(&host, &format!("oci:{}:latest", host.path("layout").display()));
}
