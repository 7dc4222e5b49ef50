//! What the defences of a pod cost: a default pod's start beside that of the same pod without them.

use crate::Setting;
use crate::images::{self, IMAGE};
use crate::measure::{Case, interleave, run, time};
use crate::report::Report;
use anyhow::{Context, Result};
use serde_json::Value;
use std::fs;
use std::path::Path;

const STATE: &str = "/var/lib/rocket";
const ON: &str = "rocket run-prepared, as by default";
const SWITCHED: &str = "rocket run-prepared, what a pod file switches off is off";
const OFF: &str = "rocket run-prepared, the rest is off too";
const UNIT_ON: &str = "systemctl start of a pod, as by default";
const UNIT_OFF: &str = "systemctl start of a pod, what a pod file switches off is off";
/// Issue and docs/benchmarks.md: all of it on, to all of it off.
const LIMIT: f64 = 1.15;

/// Everything that a pod file can say against its own protection, and every capability there is.
const SECURITY: &str = "security = { seccomp = \"none\", no-new-privileges = false, capabilities = [\
    \"audit-write\", \"chown\", \"dac-override\", \"fowner\", \"fsetid\", \"kill\", \"mknod\", \
    \"net-bind-service\", \"net-raw\", \"setfcap\", \"setgid\", \"setpcap\", \"setuid\", \"sys-chroot\"] }\n";

pub fn run_isolation(setting: &Setting, report: &mut Report) -> Result<()> {
    images::small_image(STATE)?;
    fs::create_dir_all("/etc/rocket/pods")?;
    let once = ["on", "off"].map(|kind| format!("/run/bench-{kind}.toml"));
    let pods = ["on", "off"].map(|kind| format!("bench-{kind}"));
    for (kind, (file, pod)) in ["on", "off"].iter().zip(once.iter().zip(&pods)) {
        fs::write(file, pod_file(kind, ""))?;
        let sleeping = pod_file(kind, "exec = [\"/bin/sleep\", \"infinity\"]\n");
        fs::write(format!("/etc/rocket/pods/{pod}.toml"), sleeping)?;
    }
    run(&["systemctl", "daemon-reload"])?;
    let prepare = |file: &str| run(&["rocket", "prepare", "--file", file]);
    let start = |uuid: &str| time(&["rocket", "run-prepared", "--cgroup=scope", uuid]);
    let traced = |file: &str| {
        format!("exec rocket run-prepared --cgroup=scope $(rocket prepare --file {file})")
    };
    let [on, off] = &once;
    let unit = |pod: &String| {
        let unit = format!("rocket@{pod}.service");
        let took = time(&["systemctl", "start", &unit])?;
        run(&["systemctl", "stop", &unit])?;
        run(&["systemctl", "reset-failed", &unit]).ok();
        Ok(took)
    };
    let [pod_on, pod_off] = &pods;
    let cases = vec![
        Case::new(ON, || start(&prepare(on)?)).explained_by(&["/bin/sh", "-c", &traced(on)]),
        Case::new(SWITCHED, || start(&prepare(off)?)),
        Case::new(OFF, || {
            let uuid = prepare(off)?;
            bare(&uuid)?;
            start(&uuid)
        }),
        Case::new(UNIT_ON, || unit(pod_on)),
        Case::new(UNIT_OFF, || unit(pod_off)),
    ];
    report.add(interleave(cases, 3, setting.rounds(40))?);
    run(&["rocket", "gc", "--grace-period=0", "--expire-prepared=0"])?;
    for pod in &pods {
        fs::remove_file(format!("/etc/rocket/pods/{pod}.toml"))?;
    }
    run(&["systemctl", "daemon-reload"])?;
    for theirs in [SWITCHED, OFF] {
        report.ratio(ON, theirs, LIMIT)?;
    }
    report.ratio(UNIT_ON, UNIT_OFF, LIMIT)
}

fn pod_file(kind: &str, exec: &str) -> String {
    let (pod, app) = match kind {
        "on" => ("", ""),
        _ => ("[security]\nuser-namespace = false\n", SECURITY),
    };
    format!("version = 1\nnetwork = \"host\"\n[app.main]\nimage = \"{IMAGE}\"\n{exec}{app}{pod}")
}

/// Takes out of a prepared pod's plan what no pod file can: what is masked and read-only, and which
/// devices open.
fn bare(uuid: &str) -> Result<()> {
    let file = Path::new(STATE).join("pods/prepared").join(uuid).join("plan.json");
    let mut plan: Value = serde_json::from_slice(&fs::read(&file)?)?;
    let apps = plan["apps"].as_array_mut().context("a plan without apps")?;
    for app in apps {
        app["masked-paths"] = Value::Array(Vec::new());
        app["read-only-paths"] = Value::Array(Vec::new());
        app["device-rules"] = Value::Null;
    }
    fs::write(&file, serde_json::to_vec(&plan)?)?;
    Ok(())
}
