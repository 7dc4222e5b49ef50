//! stage1 `ns`: the entry points of the flavour, and PID 1 of a pod.
//!
//! One thread, no async, no allocation that grows with time; it never panics on what it reads. The
//! contract is `docs/stage1-abi.md`; the story of a start is in `entry`, `setup` and `run`.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod app;
mod apps;
mod cgroup;
mod check;
mod client;
mod control;
mod credentials;
mod descriptors;
mod dev;
mod devices;
mod diagnose;
mod enter;
mod entry;
mod failure;
mod limits;
mod notify;
mod ops;
mod process;
mod reap;
mod record;
mod rootfs;
mod run;
mod scope;
mod setup;
mod show;
mod supervise;
mod sysctls;
mod targets;
mod terminal;
mod tether;
mod userns;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let verb = args.next();
    let rest: Vec<_> = args.collect();
    let result = match verb.as_ref().and_then(|v| v.to_str()) {
        // What follows `run` is for people who look at process lists.
        Some("run") => entry::run(),
        Some("enter") => client::enter(&rest),
        Some("stop") => client::stop(&rest),
        Some("gc") => client::gc(),
        _ => Err(failure::Failure::rocket("usage: init run|enter|stop|gc (docs/stage1-abi.md)")),
    };
    let code = result.unwrap_or_else(|failure| {
        failure.print();
        failure.code
    });
    ExitCode::from(u8::try_from(code).unwrap_or(125))
}
