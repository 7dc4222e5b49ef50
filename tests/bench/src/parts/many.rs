//! What many pods cost those who have nothing to do with them. Every pod directory is a real one.

use crate::Setting;
use crate::images::{self, IMAGE};
use crate::measure::{Case, interleave, run, shell, time};
use crate::report::Report;
use anyhow::{Context, Result, bail};
use std::thread;

const LISTED: usize = 1_000;
const COLLECTED: usize = 100;
const BESIDE: usize = 5_000;

pub fn run_many(setting: &Setting, report: &mut Report) -> Result<()> {
    let dir = setting.path("many")?;
    // tests/bench/run deletes it, after everything.
    shell(&format!("mkdir -p {dir}"))?;
    measure(setting, report, &dir)
}

fn measure(setting: &Setting, report: &mut Report, dir: &str) -> Result<()> {
    let state = |name: &str| format!("--state-dir={dir}/{name}");
    for name in ["few", "many", "gc"] {
        images::small_image(&format!("{dir}/{name}"))?;
    }

    let (few, many, gc) = (state("few"), state("many"), state("gc"));
    pods(&many, LISTED, true)?;
    let list = format!("rocket list of {LISTED} pods");
    let cases = vec![
        Case::command("rocket list of no pod", &["rocket", &few, "list"]),
        Case::command(&list, &["rocket", &many, "list"]),
    ];
    report.add(interleave(cases, 2, setting.rounds(20))?);
    report.at_most(&list, 25.0)?;

    let collect = format!("rocket gc of {COLLECTED} exited pods");
    let command = ["rocket", &gc, "gc", "--grace-period=0"];
    let case = Case::new(&collect, || {
        pods(&gc, COLLECTED, true)?;
        run(&["sync"])?;
        let took = time(&command)?;
        match run(&["rocket", &gc, "list", "--format=json"])?.as_str() {
            "[]" => Ok(took),
            left => bail!("gc left pods: {left}"),
        }
    })
    .explained_by(&command);
    report.add(interleave(vec![case], 0, setting.rounds(5))?);
    // For strace, should it be asked.
    pods(&gc, COLLECTED, true)?;
    report.at_most(&collect, 300.0)?;

    pods(&many, BESIDE - LISTED, false)?;
    let none = "rocket run --rm beside no pod";
    let beside = format!("rocket run --rm beside {BESIDE} pods");
    let words = ["run", "--rm", "--cgroup=scope", "--network=host", IMAGE];
    let start = |state: &str, name: &str| {
        Case::command(name, &[&["rocket", state], words.as_slice()].concat())
    };
    let cases = vec![start(&few, none), start(&many, &beside)];
    report.add(interleave(cases, 3, setting.rounds(30))?);
    report.ratio(&beside, none, 1.2)
}

/// Makes pods that have run, or that wait to be run.
fn pods(state: &str, count: usize, exited: bool) -> Result<()> {
    let verb: &[&str] = match exited {
        true => &["run", "--cgroup=none"],
        false => &["prepare"],
    };
    let argv = [&["rocket", state], verb, &["--network=host", IMAGE]].concat();
    let workers = thread::available_parallelism().map_or(1, usize::from).min(count);
    thread::scope(|scope| {
        let work = |share: usize| {
            let argv = argv.clone();
            scope.spawn(move || (0..share).try_for_each(|_| run(&argv).map(drop)))
        };
        let share = |worker: usize| count / workers + usize::from(worker < count % workers);
        let all: Vec<_> = (0..workers).map(|worker| work(share(worker))).collect();
        all.into_iter().try_for_each(|worker| {
            worker.join().ok().context("a thread that makes pods panicked")?
        })
    })
}
