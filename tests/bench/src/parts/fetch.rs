//! A large OCI image from a local layout into a store on the host's disk, synced by everybody.

use crate::Setting;
use crate::images::{self, Large};
use crate::measure::{Case, interleave, run, shell, time};
use crate::report::Report;
use anyhow::{Context, Result};
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
        let done = measure(setting, report, &image, &dir, plain);
        shell(&format!("rm -rf {dir}; podman rmi --all --force"))?;
        done?;
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
    let fetch_command = format!("rocket --state-dir={dir}/rocket fetch {layout}");
    let unpack: String =
        layers.iter().map(|layer| format!("tar -C {dir}/tar -xf {layer}; ")).collect();
    let cases = vec![
        Case::new(&fetch, || {
            timed(&format!("rm -rf {dir}/rocket; mkdir -p {dir}"), &fetch_command, dir)
        })
        .explained_by(&[
            "/bin/sh",
            "-c",
            &format!("rm -rf {dir}/rocket; exec {fetch_command}"),
        ]),
        Case::new(&load, || podman(&format!("podman load --quiet --input {archive}"))),
        Case::new(&pull, || podman(&format!("podman pull --quiet {layout}"))),
        Case::new(&tar, || {
            let sums = format!("sha256sum {}; {unpack}", layers.join(" "));
            timed(&format!("rm -rf {dir}/tar; mkdir -p {dir}/tar"), &sums, dir)
        }),
    ];
    // Plain layers are there to see what the decompression costs.
    let rounds = if setting.quick || plain { 1 } else { 3 };
    report.add(interleave(cases, 0, rounds)?);
    report.ratio(&fetch, &load, 0.35)?;
    report.ratio(&fetch, &tar, 1.8)
}

fn podman(command: &str) -> Result<Duration> {
    timed("podman rmi --all --force", command, "/var/lib/containers")
}

/// Times a command together with getting to disk what it wrote; what was there before is removed
/// and synced first, untimed.
fn timed(before: &str, command: &str, on: &str) -> Result<Duration> {
    shell(before)?;
    run(&["sync", "-f", on])?;
    let took = time(&["/bin/bash", "-euc", &format!("{command}\nsync -f {on}")])?;
    let name: Vec<&str> = command.split(' ').take(2).collect();
    eprintln!("bench: fetch: {}: {:.1} s", name.join(" "), took.as_secs_f64());
    Ok(took)
}
