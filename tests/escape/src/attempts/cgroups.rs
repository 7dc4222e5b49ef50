//! The control groups: limits, other people's processes, helpers run as root.

use crate::protection::Protection::{self, Capabilities, Cgroup, Seccomp, UserNamespace};
use crate::world::{World, directory, mount, refuse, write};
use crate::{Attempt, Fail, Outcome};
use std::fs;

const TREE: &[Protection] = &[Cgroup];
const MOUNT: &[Protection] = &[UserNamespace, Seccomp, Capabilities];

pub const ATTEMPTS: &[Attempt] = &[
    Attempt::new("cgroup-own-limit", "lift the limit of the app's own leaf", TREE, own_limit)
        .harmless(),
    Attempt::new("cgroup-pod-limit", "lift the limit of the pod's unit", TREE, pod_limit),
    Attempt::new("cgroup-make", "make a cgroup", TREE, make).harmless(),
    Attempt::new("cgroup-leave", "move to another cgroup, out of all limits", TREE, leave),
    Attempt::new("cgroup-kill", "kill another cgroup of the host", TREE, kill),
    Attempt::new("cgroup-freeze", "freeze another cgroup of the host", TREE, freeze),
    Attempt::new(
        "cgroup-mount",
        "mount the tree anew, writable, and make a cgroup in it",
        MOUNT,
        mount_tree,
    ),
    Attempt::new(
        "cgroup-release-agent",
        "mount a tree of version 1 and have a program run as root",
        TREE,
        release_agent,
    ),
];

const TOP: &str = "/sys/fs/cgroup";

/// Where this process is, as far as it can see.
fn own() -> Result<String, Fail> {
    let text = fs::read_to_string("/proc/self/cgroup")?;
    let line = text.lines().find_map(|line| line.strip_prefix("0::"));
    Ok(format!("{TOP}{}", line.unwrap_or_default().trim_end_matches('/')))
}

fn lift(path: &str) -> Outcome {
    write(path, "max")?;
    let now = fs::read_to_string(path)?;
    if now.trim() == "max" { Ok(format!("{path} is max")) } else { refuse(now) }
}

fn own_limit(_: &World) -> Outcome {
    lift(&format!("{}/pids.max", own()?)).or_else(|_| {
        let memory = format!("{}/memory.max", own()?);
        lift(&memory)
    })
}

fn pod_limit(_: &World) -> Outcome {
    let own = own()?;
    // A cgroup namespace shows nothing above its root, by whatever name.
    lift(&format!("{own}/../pids.max"))
}

fn make(_: &World) -> Outcome {
    let path = format!("{}/escape", own()?);
    fs::create_dir(&path)?;
    fs::remove_dir(&path)?;
    Ok(format!("made {path}"))
}

fn leave(world: &World) -> Outcome {
    let to = world.told("CGROUP")?;
    let paths = [format!("{TOP}{to}/cgroup.procs"), format!("{}/../cgroup.procs", own()?)];
    let mut last = refuse("nowhere to go");
    for path in paths {
        last = write(&path, "0").map(|()| format!("in {path}"));
        if last.is_ok() {
            break;
        }
    }
    last
}

fn kill(world: &World) -> Outcome {
    let to = world.told("CGROUP")?;
    write(format!("{TOP}{to}/cgroup.kill"), "1")?;
    Ok(format!("killed {to}"))
}

fn freeze(world: &World) -> Outcome {
    let path = format!("{TOP}{}/cgroup.freeze", world.told("CGROUP")?);
    write(&path, "1")?;
    write(&path, "0")?;
    Ok("froze it for a moment".into())
}

fn mount_tree(_: &World) -> Outcome {
    let at = directory("cgroup")?;
    mount("none", &at, "cgroup2", 0)?;
    // In a namespace its root is the own leaf; without, the path is that of the tree.
    let own = own()?;
    let path = format!("{at}{}/escape", own.strip_prefix(TOP).unwrap_or_default());
    fs::create_dir(&path)?;
    fs::remove_dir(&path)?;
    Ok(format!("made {path}"))
}

fn release_agent(_: &World) -> Outcome {
    let at = directory("cgroup-v1")?;
    call_mount(&at)?;
    let path = format!("{at}/release_agent");
    write(&path, "/escaped")?;
    let now = fs::read_to_string(&path)?;
    write(&path, "\n")?;
    if now.trim() == "/escaped" { Ok("the program to run is /escaped".into()) } else { refuse(now) }
}

fn call_mount(at: &str) -> Result<(), Fail> {
    use crate::sys::{Arg, call};
    let args = &mut [
        Arg::Text("none"),
        Arg::Text(at),
        Arg::Text("cgroup"),
        Arg::Int(0),
        Arg::Text("none,name=escape"),
    ];
    call(libc::SYS_mount, args)?;
    Ok(())
}
