//! The last steps before an exec, common to apps and entered commands.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rocket_plan::AppPlan;
use rocket_sys::caps::{self, CapSet, ThreadSets};
use rocket_sys::clone::exit_now;
use rocket_sys::proc::Arguments;
use rocket_sys::{fds, proc, signal, tty};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::diagnose;
use crate::failure::{CANNOT_EXECUTE, Context, Failure, NOT_FOUND, ROCKET, Result, c_string};

/// Standard streams of a new program.
#[derive(Clone, Copy, Debug)]
pub struct Stdio<'a> {
    /// For 0, 1 and 2.
    pub fds: [BorrowedFd<'a>; 3],
    /// The first becomes the controlling terminal.
    pub terminal: bool,
}

/// Sets the OOM score through the pod's procfs; `None` is 0, whatever init's own is.
pub fn set_oom_score(procfs: BorrowedFd<'_>, score: Option<i32>) -> Result<()> {
    let value = score.unwrap_or(0).to_string();
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let set = || {
        let file = rustix::fs::openat(procfs, "self/oom_score_adj", flags, Mode::empty())?;
        rustix::io::write(&file, value.as_bytes()).map(|_| ())
    };
    match set() {
        // Where init could not lower its own score, 0 may be below what it inherited.
        Err(Errno::ACCESS) if score.is_none() => Ok(()),
        result => result.context(|| format!("set the OOM score {value}")),
    }
}

/// Gives the caller, already in its namespaces and root, the app's session, streams and limits. `work` is
/// made the working directory now, while every directory can be entered.
pub fn restrict(app: &AppPlan, work: &str, stdio: Stdio<'_>) -> Result<()> {
    proc::new_session().context(|| "start".to_owned())?;
    if stdio.terminal {
        tty::make_controlling(stdio.fds[0]).context(|| "take the terminal".to_owned())?;
    }
    for (fd, number) in stdio.fds.into_iter().zip(0..) {
        fds::dup_to(fd, number).context(|| "set the standard streams".to_owned())?;
    }
    // Everything init owns is close-on-exec; this is for what a mistake would leave open.
    fds::cloexec_all().context(|| "close init's descriptors".to_owned())?;
    rustix::process::chdir(work).map_err(|e| {
        Failure::new(CANNOT_EXECUTE, format!("working directory {work} of app {}: {e}", app.name))
    })?;
    proc::set_umask(0o022);
    for limit in &app.rlimits {
        proc::set_rlimit(&limit.resource, limit.soft, limit.hard)
            .context(|| format!("app {}", app.name))?;
    }
    Ok(())
}

/// What is left to do at the very end.
struct Last {
    sets: ThreadSets,
    ambient: CapSet,
}

/// Takes the app's user and capabilities, but for those that installing a filter needs.
fn privileges(app: &AppPlan) -> Result<Last> {
    let say = || "set privileges".to_owned();
    let set = |names: &[String]| {
        CapSet::from_names(names.iter().map(String::as_str))
            .map_err(|name| Failure::rocket(format!("unknown capability {name}")))
    };
    // What this host's rocket does not have itself it cannot give.
    let have = caps::get().context(say)?.permitted;
    let want = &app.capabilities;
    let sets = ThreadSets {
        effective: set(&want.effective)?.intersection(have),
        permitted: set(&want.permitted)?.intersection(have),
        inheritable: set(&want.inheritable)?.intersection(have),
    };
    let ambient = set(&want.ambient)?.intersection(have);
    caps::limit_bounding(set(&want.bounding)?).context(say)?;
    caps::keep_over_setuid(true).context(say)?;
    proc::set_ids(app.uid, app.gid, &app.groups).context(say)?;
    // The change of uid has emptied the effective set; securebits need CAP_SETPCAP once more.
    let all = ThreadSets { effective: have, permitted: have, inheritable: sets.inheritable };
    caps::set(all).context(say)?;
    caps::set_securebits(app.securebits).context(say)?;
    let last = Last { sets, ambient };
    if app.no_new_privileges {
        last.apply()?;
        caps::set_no_new_privileges().context(say)?;
    }
    Ok(last)
}

impl Last {
    fn apply(&self) -> Result<()> {
        let say = || "set privileges".to_owned();
        caps::set(self.sets).context(say)?;
        caps::set_ambient(self.ambient).context(say)
    }
}

/// Installs the filter. Without no-new-privileges only CAP_SYS_ADMIN may do so: then the
/// capabilities are dropped after it, and a plan's filter must allow that.
fn filter(app: &AppPlan, last: &Last) -> Result<()> {
    if let Some(filter) = &app.seccomp {
        rocket_sys::seccomp::install(&filter.program)
            .context(|| "install the system call filter".to_owned())?;
    }
    if app.no_new_privileges { Ok(()) } else { last.apply() }
}

/// Asks the security modules for the app's labels from the next exec on.
fn label(app: &AppPlan, procfs: BorrowedFd<'_>) -> Result<()> {
    let wanted = [
        ("apparmor", app.apparmor.as_ref().map(|profile| format!("exec {profile}"))),
        ("selinux", app.selinux.clone()),
    ];
    for (module, value) in wanted {
        let Some(value) = value else { continue };
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        // Kernels with several modules have a directory for each; SELinux has the old place only.
        let file = if module == "apparmor" { "self/attr/apparmor/exec" } else { "self/attr/exec" };
        let set = || {
            let file = rustix::fs::openat(procfs, file, flags, Mode::empty())?;
            rustix::io::write(&file, value.as_bytes()).map(|_| ())
        };
        set().context(|| format!("take the {module} label {value:?}"))?;
    }
    Ok(())
}

/// Takes the app's user and privileges and turns the caller into the program; returns only what went
/// wrong, explained.
pub fn exec(
    app: &AppPlan,
    procfs: BorrowedFd<'_>,
    argv: &[String],
    environment: &[String],
    sockets: &[BorrowedFd<'_>],
) -> Failure {
    let strings = |list: &[String]| list.iter().map(|s| c_string(s)).collect::<Result<Vec<_>>>();
    let (argv_c, envp) = match (strings(argv), strings(environment)) {
        (Ok(argv), Ok(envp)) => (argv, envp),
        (Err(f), _) | (_, Err(f)) => return f,
    };
    let Some(program) = argv.first().filter(|p| !p.is_empty()) else {
        return Failure::new(CANNOT_EXECUTE, "no program to run");
    };
    let arguments = Arguments::new(&argv_c, &envp);
    signal::reset_handlers();
    if let Err(e) = signal::unblock_all() {
        return Failure::rocket(e.to_string());
    }
    let of_app = |f: Failure| Failure::new(f.code, format!("app {}: {}", app.name, f.text));
    let last = match label(app, procfs).and_then(|()| privileges(app)) {
        Ok(last) => last,
        Err(failure) => return of_app(failure),
    };
    let path = environment.iter().find_map(|e| e.strip_prefix("PATH=")).unwrap_or("");
    let missing = || Failure::new(NOT_FOUND, format!("{program}: no such program in PATH={path}"));
    // Looked for before the filter is there, which may allow little more than an exec.
    let mut names = Vec::new();
    for candidate in candidates(program, path) {
        let Ok(name) = c_string(&candidate) else { continue };
        let gone = || rustix::fs::access(&name, rustix::fs::Access::EXISTS) == Err(Errno::NOENT);
        if program.contains('/') || !gone() {
            names.push((candidate, name));
        }
    }
    if names.is_empty() {
        return missing();
    }
    // Nothing of init's is needed by number from here on, but for the report, which is above.
    if let Err(failure) = place_sockets(sockets) {
        return of_app(failure);
    }
    if let Err(failure) = filter(app, &last) {
        return of_app(failure);
    }
    let mut refused = None;
    for (candidate, name) in &names {
        let error = arguments.exec(name);
        let failure = diagnose::explain(candidate, &error);
        if failure.code != NOT_FOUND {
            refused.get_or_insert(failure);
        } else if program.contains('/') {
            return failure;
        }
    }
    refused.unwrap_or_else(missing)
}

/// The first descriptor of a socket (sd_listen_fds(3)).
const FIRST_SOCKET: i32 = 3;

fn first_above(sockets: usize) -> i32 {
    i32::try_from(sockets).unwrap_or(i32::MAX).saturating_add(FIRST_SOCKET)
}

/// The same descriptor, above the numbers that `sockets` sockets will have.
pub fn above_sockets(fd: OwnedFd, sockets: usize) -> Result<OwnedFd> {
    if sockets == 0 {
        return Ok(fd);
    }
    fds::dup_above(fd.as_fd(), first_above(sockets)).context(|| "make way for sockets".to_owned())
}

/// Puts the sockets at their numbers, open over the exec.
fn place_sockets(sockets: &[BorrowedFd<'_>]) -> Result<()> {
    let say = || "hand over sockets".to_owned();
    // First all out of each other's way.
    let copies = sockets.iter().map(|fd| fds::dup_above(*fd, first_above(sockets.len())));
    let copies = copies.collect::<rocket_sys::Result<Vec<_>>>().context(say)?;
    for (fd, number) in copies.iter().zip(FIRST_SOCKET..) {
        fds::dup_to(fd.as_fd(), number).context(say)?;
    }
    Ok(())
}

/// Where a program may be: itself if it has a slash, else in each absolute directory of `PATH`.
fn candidates(program: &str, path: &str) -> Vec<String> {
    if program.contains('/') {
        return vec![program.to_owned()];
    }
    path.split(':')
        .filter(|d| d.starts_with('/'))
        .map(|d| format!("{}/{program}", d.trim_end_matches('/')))
        .collect()
}

/// The child's end: says what went wrong over the report pipe, and ends.
pub fn report(pipe: BorrowedFd<'_>, failure: &Failure) -> ! {
    let mut bytes = vec![u8::try_from(failure.code).unwrap_or(125)];
    // A very long path in the middle must not push the cause at the end out of the pipe.
    let text = failure.text.as_bytes();
    match text.len().checked_sub(2000) {
        None | Some(0) => bytes.extend(text),
        Some(over) => {
            bytes.extend(text.iter().take(1000));
            bytes.extend(b"...");
            bytes.extend(text.iter().skip(1000 + over));
        }
    }
    let _ = rustix::io::write(pipe, &bytes);
    exit_now(failure.code)
}

/// The parent's end: nothing when the exec succeeded (the pipe closes on exec).
pub fn read_report(pipe: &OwnedFd) -> Option<Failure> {
    let mut bytes = Vec::new();
    let mut part = [0; 512];
    loop {
        match rustix::io::read(pipe.as_fd(), &mut part) {
            Ok(0) => break,
            Ok(n) => bytes.extend_from_slice(part.get(..n).unwrap_or_default()),
            Err(Errno::INTR) => {}
            Err(_) => break,
        }
    }
    let (code, text) = bytes.split_first()?;
    let code = match i32::from(*code) {
        code @ (CANNOT_EXECUTE | NOT_FOUND) => code,
        _ => ROCKET,
    };
    Some(Failure::new(code, String::from_utf8_lossy(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_searched_in_absolute_directories_only() {
        assert_eq!(candidates("a/b", "/bin"), ["a/b"]);
        assert_eq!(candidates("sh", "/bin::.:x:/usr/bin/"), ["/bin/sh", "/usr/bin/sh"]);
        assert!(candidates("sh", "").is_empty());
    }
}
