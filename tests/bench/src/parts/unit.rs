//! `systemctl start` of a pod, and of the least service that says when it is ready.

use crate::Setting;
use crate::images::{self, IMAGE};
use crate::measure::{Case, interleave, run, time};
use crate::report::Report;
use anyhow::Result;
use std::fs;
use std::time::Duration;

const POD: &str = "rocket@bench.service";
const EMPTY: &str = "bench-empty.service";
const START_POD: &str = "systemctl start of a pod";
const START_EMPTY: &str = "systemctl start of an empty Type=notify service";

pub fn run_units(setting: &Setting, report: &mut Report) -> Result<()> {
    images::small_image("/var/lib/rocket")?;
    fs::create_dir_all("/etc/rocket/pods")?;
    let pod = format!(
        "version = 1\nnetwork = \"host\"\n[app.main]\nimage = \"{IMAGE}\"\n\
         exec = [\"/bin/sleep\", \"infinity\"]\n"
    );
    fs::write("/etc/rocket/pods/bench.toml", pod)?;
    let program = std::env::current_exe()?;
    let unit = format!("[Service]\nType=notify\nExecStart={} notify\n", program.display());
    fs::write(format!("/etc/systemd/system/{EMPTY}"), unit)?;
    run(&["systemctl", "daemon-reload"])?;

    let cases = vec![
        Case::new(START_EMPTY, || start(EMPTY)),
        Case::new(START_POD, || start(POD)),
        Case::new("systemctl stop of an empty Type=notify service", || stop(EMPTY)),
        Case::new("systemctl stop of a pod", || stop(POD)),
    ];
    report.add(interleave(cases, 2, setting.rounds(25))?);
    fs::remove_file("/etc/rocket/pods/bench.toml")?;
    run(&["systemctl", "daemon-reload"])?;
    report.ratio(START_POD, START_EMPTY, 1.3)
}

fn start(unit: &str) -> Result<Duration> {
    let took = time(&["systemctl", "start", unit])?;
    run(&["systemctl", "stop", unit])?;
    // Or systemd thinks that it is started too often.
    run(&["systemctl", "reset-failed", unit]).ok();
    Ok(took)
}

fn stop(unit: &str) -> Result<Duration> {
    run(&["systemctl", "start", unit])?;
    let took = time(&["systemctl", "stop", unit])?;
    run(&["systemctl", "reset-failed", unit]).ok();
    Ok(took)
}
