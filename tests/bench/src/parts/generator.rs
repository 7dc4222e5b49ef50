//! rocket-generator, for which boot and every `daemon-reload` wait.

use crate::Setting;
use crate::measure::{Case, interleave, run, time};
use crate::report::Report;
use anyhow::Result;
use std::fs;

const GENERATOR: &str = "/usr/lib/systemd/system-generators/rocket-generator";
const RELOAD: &str = "systemctl daemon-reload without pods";
const COUNTS: [usize; 3] = [100, 1_000, 5_000];
/// The dearest pod of the largest set may cost this times what one of the middle set costs.
const LINEAR: f64 = 1.25;

pub fn run_generator(setting: &Setting, report: &mut Report) -> Result<()> {
    let name = |count: usize| format!("rocket-generator, {count} pod files");
    let mut cases = vec![Case::command(RELOAD, &["systemctl", "daemon-reload"])];
    for count in [0].into_iter().chain(COUNTS) {
        let (pods, out) = (format!("/run/bench/pods-{count}"), format!("/run/bench/out-{count}"));
        write(&pods, count)?;
        let path = format!("ROCKET_POD_FILE_PATH={pods}");
        let argv = ["/usr/bin/env", &path, GENERATOR, &out, &out, &out].map(str::to_owned);
        let again: Vec<&str> = argv.iter().map(String::as_str).collect();
        let explain = Case::new(&name(count), {
            let argv = argv.clone();
            move || {
                fs::remove_dir_all(&out).ok();
                fs::create_dir_all(&out)?;
                time(&argv)
            }
        });
        cases.push(explain.explained_by(&again));
    }
    report.add(interleave(cases, 2, setting.rounds(15))?);
    let entries = run(&["/bin/sh", "-c", "find /run/bench/out-1000 -type f | wc -l"])?;
    anyhow::ensure!(entries != "0", "the generator wrote nothing");
    fs::remove_dir_all("/run/bench/out-1000")?;
    fs::create_dir("/run/bench/out-1000")?;
    report.ratio(&name(1_000), RELOAD, 0.35)?;
    let empty = report.median(&name(0))?;
    let one_of = |report: &Report, count: usize| -> Result<f64> {
        Ok((report.median(&name(count))? - empty) / count as f64)
    };
    let value = one_of(report, 5_000)? / one_of(report, 1_000)?;
    let what = "rocket-generator: a pod of 5000, to a pod of 1000 (linear)";
    report.budget(what, value, LINEAR, "×", None);
    fs::remove_dir_all("/run/bench")?;
    Ok(())
}

/// Pod files as people write them: limits, ordering, two apps.
fn write(dir: &str, count: usize) -> Result<()> {
    fs::create_dir_all(dir)?;
    for number in 0..count {
        let text = format!(
            "version = 1\ndescription = \"Pod number {number}\"\nnetwork = \"host\"\n\n\
             [limits]\nmemory-max = \"512M\"\ntasks-max = 200\n\n\
             [app.web]\nimage = \"example.com/web:1.0\"\nexec = [\"/usr/bin/web\", \"--port\", \"80\"]\n\n\
             [app.web.environment]\nNUMBER = \"{number}\"\n\n\
             [app.helper]\nimage = \"example.com/helper:1.0\"\n"
        );
        fs::write(format!("{dir}/pod{number:04}.toml"), text)?;
    }
    Ok(())
}
