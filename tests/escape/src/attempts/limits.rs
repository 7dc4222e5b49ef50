//! Using up what others need.

use crate::protection::Protection::Limits;
use crate::world::{World, refuse};
use crate::{Attempt, Outcome};
use std::process::{Command, Stdio};

pub const ATTEMPTS: &[Attempt] = &[
    Attempt::new(
        "many-processes",
        "have more processes than tasks-max allows",
        &[Limits],
        processes,
    ),
    Attempt::new("much-memory", "have more memory than memory-max allows", &[Limits], memory),
];

/// More than the 64 of the pod that the suite makes.
fn processes(_: &World) -> Outcome {
    let mut children = Vec::new();
    let mut error = None;
    for _ in 0..100 {
        match Command::new("/probe").arg("idle").stdin(Stdio::null()).stdout(Stdio::null()).spawn()
        {
            Ok(child) => children.push(child),
            Err(e) => {
                error = Some(e);
                break;
            }
        }
    }
    let count = children.len();
    for child in &mut children {
        drop(child.kill());
        drop(child.wait());
    }
    match error {
        None => Ok(format!("{count} processes")),
        Some(error) => refuse(format!("{error} after {count}")),
    }
}

/// More than the 96 MiB of the app that the suite makes.
fn memory(_: &World) -> Outcome {
    let out = Command::new("/probe").arg("eat").output()?;
    if out.status.success() { Ok("160 MiB".into()) } else { refuse(out.status.to_string()) }
}
