//! `true` from start to exit, in whatever each peer calls a container. All on the host's network.

use crate::Setting;
use crate::images::{self, IMAGE, ROOT};
use crate::measure::{Case, interleave, run, time};
use crate::report::Report;
use anyhow::{Context, Result};
use serde_json::Value;

const BUNDLE: &str = "/var/lib/bench-bundle";
const STATE: &str = "/var/lib/rocket";
const SCOPE: &str = "systemd-run --scope true";
const RUN: &str = "rocket run";
const REMOVED: &str = "rocket run --rm";
const PREPARED: &str = "rocket run-prepared";
const CRUN: &str = "crun --systemd-cgroup run";
const PODMAN: &str = "podman run --network host --cgroups=disabled";

pub fn run_true(setting: &Setting, report: &mut Report) -> Result<()> {
    images::small_image(STATE)?;
    images::small_for_podman().context("podman")?;
    bundle().context("a bundle for crun and runc")?;
    let rocket = ["rocket", "run", "--cgroup=scope", "--network=host", IMAGE];
    let removed = ["rocket", "run", "--rm", "--cgroup=scope", "--network=host", IMAGE];
    let none = ["rocket", "run", "--rm", "--cgroup=scope", "--network=none", IMAGE];
    let alone = ["rocket", "run", "--rm", "--cgroup=none", "--network=host", IMAGE];
    let prepare = ["rocket", "prepare", "--network=host", IMAGE];
    let prepared = || {
        let uuid = run(&prepare)?;
        time(&["rocket", "run-prepared", "--cgroup=scope", &uuid])
    };
    let both =
        format!("exec rocket run-prepared --cgroup=scope $(rocket prepare --network=host {IMAGE})");
    let podman = "podman run --rm --network host --cgroups=disabled";
    let podman: Vec<&str> = podman.split(' ').chain([IMAGE, "true"]).collect();
    let cases = vec![
        Case::command("true", &["/bin/true"]),
        Case::command(SCOPE, &["systemd-run", "--quiet", "--scope", "true"]),
        Case::new(PREPARED, prepared).explained_by(&["/bin/sh", "-c", &both]),
        Case::command(RUN, &rocket),
        Case::command(REMOVED, &removed),
        Case::command("rocket run --rm, its own network", &none),
        Case::command("rocket run --rm, no cgroup", &alone),
        Case::command("rocket prepare", &prepare),
        Case::command("crun run", &["crun", "run", "--bundle", BUNDLE, "bench"]),
        Case::command(CRUN, &["crun", "--systemd-cgroup", "run", "--bundle", BUNDLE, "bench"]),
        Case::command("runc run", &["runc", "run", "--bundle", BUNDLE, "bench"]),
        Case::command("systemd-nspawn", &["systemd-nspawn", "--quiet", "-D", ROOT, "true"]),
        Case::command(PODMAN, &podman),
    ];
    report.add(interleave(cases, 3, setting.rounds(30))?);
    run(&["rocket", "gc", "--grace-period=0", "--expire-prepared=0"])?;
    report.ratio(PREPARED, SCOPE, 0.7)?;
    for ours in [RUN, REMOVED] {
        report.ratio(ours, SCOPE, 1.0)?;
        report.ratio(ours, CRUN, 0.6)?;
        report.ratio(ours, PODMAN, 0.12)?;
    }
    Ok(())
}

/// `crun spec` without what the bed may not have, on the host's network, running `true`.
fn bundle() -> Result<()> {
    std::fs::create_dir_all(BUNDLE)?;
    let file = format!("{BUNDLE}/config.json");
    if !std::fs::exists(&file)? {
        run(&["/bin/sh", "-ec", &format!("cd {BUNDLE} && crun spec")])?;
    }
    let mut spec: Value = serde_json::from_slice(&std::fs::read(&file)?)?;
    spec["process"]["args"] = vec!["true"].into();
    spec["process"]["terminal"] = false.into();
    spec["root"]["path"] = ROOT.into();
    let linux = spec["linux"].as_object_mut().context("a spec without linux")?;
    linux.remove("resources");
    let namespaces = linux.get_mut("namespaces").and_then(Value::as_array_mut);
    namespaces.context("a spec without namespaces")?.retain(|space| space["type"] != "network");
    std::fs::write(&file, serde_json::to_vec(&spec)?)?;
    Ok(())
}
