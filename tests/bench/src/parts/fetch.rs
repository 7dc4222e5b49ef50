//! A large OCI image, as one layer and as eight, from a local layout into a store on the host's disk, synced
//! by everybody; then the same image fetched again and audited, and what memory a fetch takes.
//!
//! Everything goes into new directories, and nothing is deleted before the end: ext4 avoids inodes
//! that were freed a minute ago, and whoever came after a deletion would pay for looking for others.

use crate::Setting;
use crate::images::{self, Large};
use crate::measure::{Case, interleave, run, shell, time};
use crate::report::Report;
use anyhow::{Context, Result};
use std::cell::{Cell, RefCell};
use std::process::{Command, Stdio};
use std::time::Duration;

pub fn run_fetch(setting: &Setting, report: &mut Report) -> Result<()> {
    let dir = setting.path("fetch")?;
    let driver = run(&["podman", "info", "--format={{.Store.GraphDriverName}}"])?;
    report.note(format!("podman's storage driver: {driver}"));
    let kinds: &[(usize, bool)] = if setting.quick {
        &[(1, false), (8, false)]
    } else {
        &[(1, false), (8, false), (8, true)]
    };
    for &(count, plain) in kinds {
        let image = images::large(setting, count, plain).context("the large image")?;
        report.note(format!("the large image: {}, {count} layers", image.size));
        shell(&format!("cat {} >/dev/null", image.archive))?;
        let state = measure(setting, report, &image, &dir, plain)?;
        if !plain {
            stored(setting, report, &image, &state)?;
        }
    }
    let image = images::large(setting, 1, false)?;
    memory(report, "gzip", &image.layout, &format!("{dir}/memory-gzip"))?;
    let (plain, zstd) = (images::large(setting, 1, true)?, format!("oci:{dir}/zstd:bench"));
    let copy = ["skopeo", "--insecure-policy", "copy", "--quiet", "--dest-compress"];
    run(&[&copy[..], &["--dest-compress-format=zstd", &plain.layout, &zstd]].concat())?;
    memory(report, "zstd", &zstd, &format!("{dir}/memory-zstd"))
}

/// What an image costs once it is there: to be fetched again, and to be audited.
fn stored(setting: &Setting, report: &mut Report, image: &Large, state: &str) -> Result<()> {
    let layers = of(image, false);
    let state = format!("--state-dir={state}");
    let again = ["rocket", &state, "fetch", &image.layout];
    let id = run(&again)?;
    let name = format!("rocket fetch, a second time, {layers}");
    report.add(interleave(vec![Case::command(&name, &again)], 1, setting.rounds(20))?);
    report.at_most(&name, 50.0)?;
    let trees = state.trim_start_matches("--state-dir=");
    let sum =
        format!("find {trees}/store/layers -path '*/tree/*' -type f -print0 | xargs -0 sha256sum");
    let [ours, theirs] =
        ["rocket image audit", "sha256sum of its files"].map(|name| format!("{name}, {layers}"));
    let audit = ["rocket", &state, "image", "audit", "--quiet", &id];
    let cases =
        vec![Case::command(&ours, &audit), Case::command(&theirs, &["/bin/bash", "-c", &sum])];
    report.add(interleave(cases, 1, setting.rounds(5))?);
    // At 70 % of its speed at least.
    report.ratio(&ours, &theirs, 1.0 / 0.7)
}

/// The most memory that a fetch and its worker have at once.
fn memory(report: &mut Report, kind: &str, from: &str, state: &str) -> Result<()> {
    let argv = ["rocket", &format!("--state-dir={state}"), "fetch", "--quiet", from];
    let mut child = Command::new(argv[0]).args(&argv[1..]).stdout(Stdio::null()).spawn()?;
    let mut peak = 0.0f64;
    let status = loop {
        let worker = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id()));
        let worker = worker.unwrap_or_default();
        let each = worker.split_whitespace().map(most).sum::<f64>() + most(&child.id().to_string());
        peak = peak.max(each);
        if let Some(status) = child.try_wait()? {
            break status;
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    anyhow::ensure!(status.success(), "`{}` ended with {status}", argv.join(" "));
    let what = format!("peak memory of a fetch and its worker, {kind}");
    report.budget(&what, peak, 64.0, "MB", None);
    Ok(())
}

/// The most that a process ever had, in MB; 0 when it is gone.
fn most(pid: &str) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
    kib.map_or(0.0, |kib| kib * 1024.0 / 1e6)
}

/// What its layers are called.
fn of(image: &Large, plain: bool) -> String {
    let kind = if plain { "plain" } else { "gzip" };
    match image.layers.len() {
        1 => format!("1 {kind} layer"),
        count => format!("{count} {kind} layers"),
    }
}

fn measure(
    setting: &Setting,
    report: &mut Report,
    image: &Large,
    dir: &str,
    plain: bool,
) -> Result<String> {
    let kind = of(image, plain);
    let Large { layout, archive, layers, .. } = image;
    let [fetch, load, pull, tar] =
        ["rocket fetch", "podman load", "podman pull oci:", "tar -x + sha256sum"]
            .map(|name| format!("{name}, {kind}"));
    let (made, last) = (Cell::new(0), RefCell::new(String::new()));
    let fresh = || {
        made.set(made.get() + 1);
        let dir = format!("{dir}/{}-{}-{}", kind.replace(' ', "-"), made.get(), std::process::id());
        shell(&format!("mkdir -p {dir}")).map(|_| dir)
    };
    let explain =
        format!("rocket --state-dir={dir}/explain-{}-{plain} fetch {layout}", layers.len());
    let explain: Vec<&str> = explain.split(' ').collect();
    let podman = |words: &str| {
        let dir = fresh()?;
        timed(&format!("podman --root={dir} {words}"), &dir)
    };
    let cases = vec![
        Case::new(&fetch, || {
            let dir = fresh()?;
            last.replace(dir.clone());
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
    report.ratio(&fetch, &load, 0.3)?;
    report.ratio(&fetch, &tar, 1.6)?;
    Ok(last.take())
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
