//! What the supervisor of an idle pod costs: PSS, which shares out what several processes share.

use crate::Setting;
use crate::images::{self, IMAGE};
use crate::measure::{Samples, run};
use crate::report::Report;
use anyhow::{Context, Result};
use serde_json::Value;
use std::time::Duration;
use std::{fs, thread};

const MANY: usize = 10;
/// A supervisor that has just started something is not idle yet.
const SETTLED: Duration = Duration::from_secs(3);

pub fn run_idle(_: &Setting, report: &mut Report) -> Result<()> {
    images::small_image("/var/lib/rocket")?;
    images::small_for_podman().context("podman")?;
    let mut pods = vec![rocket()?];
    thread::sleep(SETTLED);
    let alone = pss(pods[0].1)?;
    for _ in 1..MANY {
        pods.push(rocket()?);
    }
    thread::sleep(SETTLED);
    let each = pods.iter().map(|(_, init)| pss(*init)).collect::<Result<Vec<_>>>()?;
    for (uuid, _) in &pods {
        run(&["rocket", "stop", uuid])?;
    }
    let mut containers = vec![podman()?];
    thread::sleep(SETTLED);
    let monitor_alone = pss(containers[0].1)?;
    for _ in 1..MANY {
        containers.push(podman()?);
    }
    thread::sleep(SETTLED);
    let monitors = containers.iter().map(|(_, pid)| pss(*pid)).collect::<Result<Vec<_>>>()?;
    for (id, _) in &containers {
        run(&["podman", "rm", "--force", "--time=0", id])?;
    }
    let middle = |ms: &[f64]| {
        let ms = ms.to_vec();
        Samples { name: String::new(), ms, command: None }.median()
    };
    report.note(format!(
        "PSS of podman's conmon: {monitor_alone:.2} MB alone, {:.2} MB each of {MANY}",
        middle(&monitors)
    ));
    report.budget("PSS of init, alone", alone, 0.7, "MB", None);
    let what = format!("PSS of init, each of {MANY} (median)");
    report.budget(&what, middle(&each), 0.35, "MB", None);
    Ok(())
}

/// Starts an idle pod; its UUID and its init.
fn rocket() -> Result<(String, u64)> {
    let exec = ["--network=host", "--exec=/bin/sleep", IMAGE, "--", "infinity"];
    let uuid = run(&[&["rocket", "run", "--detach"], exec.as_slice()].concat())?;
    let status = run(&["rocket", "status", "--format=json", &uuid])?;
    let status: Value = serde_json::from_str(&status)?;
    let init = status["pid"].as_u64().context("a running pod without an init")?;
    Ok((uuid, init))
}

/// Starts an idle container; its id and its conmon.
fn podman() -> Result<(String, u64)> {
    let start = "podman run --detach --network host --cgroups=disabled";
    let argv: Vec<&str> = start.split(' ').chain([IMAGE, "sleep", "infinity"]).collect();
    let id = run(&argv)?;
    let pid = run(&["podman", "inspect", "--format={{.State.ConmonPid}}", &id])?;
    Ok((id, pid.parse().context("the PID of conmon")?))
}

/// In MB.
fn pss(pid: u64) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()).context("no Pss")?;
    Ok(kib.parse::<f64>()? * 1024.0 / 1e6)
}
