//! Looks at itself from inside of an app and prints what it sees.
//!
//! `look all`: five lines of JSON, each made by a process of its own with these words: `seen`, all but
//! calls; `calls`, `x32` and `i386`, what becomes of each number; `grid`, of calls with arguments. A line
//! is `null` where such a process was killed.

mod calls;

use calls::Ask;
use serde_json::{Map, Value, json};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitCode;

/// One more than the largest number asked for.
const NUMBERS: i64 = 700;
/// uretprobe and uprobe: the kernel makes them without asking filters, and ends who has no such probe.
const UNFILTERED: [i64; 2] = [335, 336];
const X32: i64 = 0x4000_0000;

fn main() -> ExitCode {
    let word = std::env::args().nth(1).unwrap_or_default();
    let every = |add: i64, i386| -> Vec<Ask> {
        (0..NUMBERS)
            .filter(|number| i386 || !UNFILTERED.contains(number))
            .map(|number| Ask { number: number | add, args: [0; 6], i386 })
            .collect()
    };
    match word.as_str() {
        "all" => all(),
        "seen" => {
            println!("{}", seen());
            ExitCode::SUCCESS
        }
        "calls" => answers(every(0, false)),
        "x32" => answers(every(X32, false)),
        "i386" => answers(every(0, true)),
        "grid" => answers(grid()),
        _ => {
            eprintln!("usage: look all | seen | calls | x32 | i386 | grid");
            ExitCode::from(2)
        }
    }
}

fn all() -> ExitCode {
    for word in ["seen", "calls", "x32", "i386", "grid"] {
        let done = std::process::Command::new("/proc/self/exe").arg(word).output();
        match done {
            Ok(done) if done.status.signal().is_some() => println!("null"),
            Ok(done) if done.status.success() => {
                print!("{}", String::from_utf8_lossy(&done.stdout));
            }
            Ok(done) => {
                eprint!("look {word}: {}", String::from_utf8_lossy(&done.stderr));
                return ExitCode::FAILURE;
            }
            Err(error) => {
                eprintln!("look {word}: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

/// Calls of which a filter may look at the arguments, each with values that may matter in each of the
/// first two.
fn grid() -> Vec<Ask> {
    const CALLS: [i64; 10] = [
        libc::SYS_clone,
        libc::SYS_unshare,
        libc::SYS_ioctl,
        libc::SYS_personality,
        libc::SYS_socket,
        libc::SYS_socketpair,
        libc::SYS_mprotect,
        libc::SYS_fchmod,
        libc::SYS_prctl,
        libc::SYS_kill,
    ];
    const TERMINAL: [u64; 5] = [0x5401, 0x5412, 0x541c, 0x5423, 0x1_0000_5412];
    let bits = (0..64).map(|bit| 1_u64 << bit);
    let small = 0..64;
    let mixed = [0xffff_ffff, u64::MAX, 0x2_0008, 0x7e02_0000, 0x1_0000_0002, 0x1_0000_0028];
    let values: Vec<u64> = bits.chain(small).chain(mixed).chain(TERMINAL).collect();
    let mut list = Vec::new();
    for number in CALLS {
        for value in &values {
            for place in 0..2 {
                let mut args = [0; 6];
                args[place] = *value;
                list.push(Ask { number, args, i386: false });
            }
        }
    }
    list
}

/// `[NUMBER, FIRST, SECOND, ANSWER]` each.
fn answers(list: Vec<Ask>) -> ExitCode {
    match calls::ask(list.clone()) {
        Ok(answers) => {
            let rows = list.iter().zip(answers);
            let rows = rows.map(|(ask, got)| json!([ask.number, ask.args[0], ask.args[1], got]));
            println!("{}", rows.collect::<Value>());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn text(path: &str) -> Value {
    fs::read_to_string(path).map_or(Value::Null, Value::from)
}

fn seen() -> Value {
    let namespaces = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"];
    let link = |name: &str| {
        let target = fs::read_link(format!("/proc/self/ns/{name}")).ok();
        (name.to_owned(), json!(target))
    };
    let names = std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned());
    let files = ["memory.max", "memory.high", "pids.max", "cpu.max", "cpu.weight", "cpuset.cpus"];
    let file = |name: &str| (name.to_owned(), text(&format!("/sys/fs/cgroup/{name}")));
    json!({
        "status": text("/proc/self/status"),
        "limits": text("/proc/self/limits"),
        "mountinfo": text("/proc/self/mountinfo"),
        "oom-score-adj": text("/proc/self/oom_score_adj"),
        "uid-map": text("/proc/self/uid_map"),
        "gid-map": text("/proc/self/gid_map"),
        "cgroup": text("/proc/self/cgroup"),
        "net-dev": text("/proc/net/dev"),
        "hostname": text("/proc/sys/kernel/hostname"),
        "label": text("/proc/self/attr/current"),
        "cwd": std::env::current_dir().ok(),
        "environment": names.collect::<Vec<_>>(),
        "namespaces": namespaces.into_iter().map(link).collect::<Map<_, _>>(),
        "cgroup-files": files.into_iter().map(file).collect::<Map<_, _>>(),
        "devices": devices(Path::new("/dev")),
        "securebits": calls::securebits(),
        "descriptors": descriptors(),
    })
}

/// Every character and block device below `dir` but terminals: path, major and minor.
fn devices(dir: &Path) -> Map<String, Value> {
    let mut found = Map::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        let kind = meta.file_type();
        if kind.is_dir() && !path.ends_with("pts") && !path.ends_with("shm") {
            found.extend(devices(&path));
        } else if kind.is_char_device() || kind.is_block_device() {
            found.insert(path.display().to_string(), json!(meta.rdev()));
        }
    }
    found
}

fn descriptors() -> Vec<String> {
    let list = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    list.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
