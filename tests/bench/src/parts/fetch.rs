//! A large OCI image from a local layout into a store on the host's disk, synced by everybody.
//!
//! Everything goes into new directories, and nothing is deleted before the end: ext4 avoids inodes
//! that were freed a minute ago, and whoever came after a deletion would pay for looking for others.

use crate::Setting;
use crate::images::{self, Large};
use crate::measure::{Case, interleave, run, shell, time};
use crate::report::Report;
use anyhow::{Context, Result};
use std::cell::Cell;
use std::time::Duration;

pub fn run_fetch(setting: &Setting, report: &mut Report) -> Result<()> {
    let dir = setting.path("fetch")?;
    let driver = run(&["podman", "info", "--format={{.Store.GraphDriverName}}"])?;
    report.note(format!("podman's storage driver: {driver}"));
    let kinds: &[bool] = if setting.quick { &[false] } else { &[false, true] };
    for &plain in kinds {
        let image = images::large(setting, plain).context("the large image")?;
        report.note(format!("the large image: {}, {} layers", image.size, image.layers.len()));
        shell(&format!("cat {} >/dev/null", image.archive))?;
        measure(setting, report, &image, &dir, plain)?;
    }
    Ok(())
}

fn measure(
    setting: &Setting,
    report: &mut Report,
    image: &Large,
    dir: &str,
    plain: bool,
) -> Result<()> {
    let kind = if plain { "plain layers" } else { "gzip layers" };
    let Large { layout, archive, layers, .. } = image;
    let [fetch, load, pull, tar] =
        ["rocket fetch", "podman load", "podman pull oci:", "tar -x + sha256sum"]
            .map(|name| format!("{name}, {kind}"));
    let made = Cell::new(0);
    let fresh = || {
        made.set(made.get() + 1);
        let dir = format!("{dir}/{}-{}", if plain { "plain" } else { "gzip" }, made.get());
        shell(&format!("mkdir -p {dir}")).map(|_| dir)
    };
    let explain = format!("rocket --state-dir={dir}/explain-{plain} fetch {layout}");
    let explain: Vec<&str> = explain.split(' ').collect();
    let podman = |words: &str| {
        let dir = fresh()?;
        timed(&format!("podman --root={dir} {words}"), &dir)
    };
    let cases = vec![
        Case::new(&fetch, || {
            let dir = fresh()?;
            timed(&format!("rocket --state-dir={dir} fetch {layout}"), &dir)
        })
        .explained_by(&explain),
        Case::new(&load, || podman(&format!("load --quiet --input {archive}"))),
        Case::new(&pull, || podman(&format!("pull --quiet {layout}"))),
        Case::new(&tar, || {
            let dir = fresh()?;
            let unpack = layers.iter().map(|layer| format!("tar -C {dir} -xf {layer}\n"));
            timed(&format!("sha256sum {}\n{}", layers.join(" "), unpack.collect::<String>()), &dir)
        }),
    ];
    // Plain layers are there to see what the decompression costs.
    let rounds = if setting.quick || plain { 1 } else { 3 };
    report.add(interleave(cases, 0, rounds)?);
    report.ratio(&fetch, &load, 0.35)?;
    report.ratio(&fetch, &tar, 1.8)
}

/// Times a command together with getting to disk what it wrote; what others wrote before is synced
/// first, untimed.
fn timed(command: &str, on: &str) -> Result<Duration> {
    run(&["sync", "-f", on])?;
    let took = time(&["/bin/bash", "-euc", &format!("{command}\nsync -f {on}")])?;
    let name: Vec<&str> = command.split_whitespace().take(3).collect();
    eprintln!("bench: fetch: {}: {:.1} s", name.join(" "), took.as_secs_f64());
    Ok(took)
}
