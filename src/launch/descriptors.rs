//! The descriptors stage1 inherits, by name, and the numbers they get.

use super::{LaunchError, io_error, userns};
use crate::config::paths::Paths;
use crate::files::{self, Durability};
use crate::pod::directory::{CONTROL, EXIT_RECORD, PID, PLAN, REPORT};
use crate::pod::sources::Source;
use crate::systemd::{journal, notify};
use rocket_plan::{Descriptor, PodPlan, Rlimit, descriptor, feature};
use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The number of the plan itself (docs/stage1-abi.md).
const PLAN_NUMBER: RawFd = 3;
/// The first number of a named descriptor.
const FIRST_NUMBER: RawFd = 10;

/// Named descriptors, in the order of their numbers.
#[derive(Debug, Default)]
pub(super) struct Descriptors {
    named: Vec<(String, OwnedFd)>,
    plan: Option<OwnedFd>,
}

impl Descriptors {
    /// Adds one.
    pub(super) fn add(&mut self, name: impl Into<String>, fd: impl Into<OwnedFd>) {
        self.named.push((name.into(), fd.into()));
    }

    /// The detached mounts of the source table, in the ids of the pod's user namespace.
    pub(super) fn open_sources(
        &mut self,
        paths: &Paths,
        pod: &Path,
        sources: &[Source],
        user: Option<BorrowedFd<'_>>,
    ) -> Result<(), LaunchError> {
        raise_descriptor_limit();
        for source in sources {
            let mount = source.open(paths, pod)?;
            if let Some(user) = user.filter(|_| source.idmap) {
                userns::idmap(source, mount.as_fd(), user, paths, pod)?;
            }
            self.add(source.name.clone(), mount);
        }
        Ok(())
    }

    /// Exit record, PID file and control socket of the pod directory.
    pub(super) fn open_pod_files(&mut self, pod: &Path) -> Result<(), LaunchError> {
        let exit = pod.join(EXIT_RECORD);
        let record = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&exit)
            .map_err(io_error(format!("open {}", exit.display())))?;
        self.add(descriptor::EXIT_RECORD, record);
        let pid = pod.join(PID);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&pid)
            .map_err(io_error(format!("open {}", pid.display())))?;
        self.add(descriptor::PID_FILE, file);
        let report = pod.join(REPORT);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&report)
            .map_err(io_error(format!("open {}", report.display())))?;
        self.add(descriptor::REPORT, file);
        let control = control_socket(pod)
            .map_err(io_error(format!("listen on {}", pod.join(CONTROL).display())))?;
        self.add(descriptor::CONTROL, control);
        Ok(())
    }

    /// The locks that live as long as the pod.
    pub(super) fn locks(&mut self, pod: &File, name: Option<&File>) -> Result<(), LaunchError> {
        let duplicate = |file: &File| file.try_clone().map_err(io_error("duplicate a lock"));
        self.add(descriptor::LOCK, duplicate(pod)?);
        if let Some(name) = name {
            self.add(descriptor::NAME_LOCK, duplicate(name)?);
        }
        Ok(())
    }

    /// A new terminal for the one app of the pod: the app gets its slave, init and the caller its
    /// master.
    pub(super) fn terminal(&mut self, plan: &mut PodPlan) -> Result<OwnedFd, LaunchError> {
        let count = plan.apps.len();
        let [app] = plan.apps.as_mut_slice() else { return Err(LaunchError::SeveralApps(count)) };
        let (master, slave) = super::terminal::make()?;
        let base = plan.namespaces.user.map_or(0, |map| map.base);
        let user = rustix::fs::Uid::from_raw(base.saturating_add(app.uid));
        rustix::fs::fchown(&slave, Some(user), None)
            .map_err(|error| io_error("give the terminal to the app's user")(error.into()))?;
        let copy = master.try_clone().map_err(io_error("duplicate a terminal"))?;
        let (name, stream) = (format!("terminal:{}", app.name), format!("tty:{}", app.name));
        self.add(name.clone(), copy);
        self.add(stream.clone(), slave);
        app.terminal = Some(name);
        [app.stdin, app.stdout, app.stderr] = [(); 3].map(|()| Some(stream.clone()));
        if !app.environment.iter().any(|entry| entry.starts_with("TERM=")) {
            let term = std::env::var("TERM").unwrap_or_else(|_| "xterm".to_owned());
            app.environment.push(format!("TERM={term}"));
        }
        plan.features_required.push(feature::TERMINAL.to_owned());
        Ok(master)
    }

    /// A journald stream for each app's stdout and stderr; nothing to read from. An app with a
    /// terminal writes there.
    pub(super) fn journal(&mut self, plan: &mut PodPlan, unit: &str) -> Result<(), LaunchError> {
        for app in plan.apps.iter_mut().filter(|app| app.terminal.is_none()) {
            let open = |priority| {
                journal::stream(&app.name, unit, priority)
                    .map_err(io_error("open a stream to the journal"))
            };
            let (out, err) = (format!("stdout:{}", app.name), format!("stderr:{}", app.name));
            self.add(out.clone(), open(journal::INFO)?);
            self.add(err.clone(), open(journal::ERR)?);
            app.stdin = None;
            app.stdout = Some(out);
            app.stderr = Some(err);
        }
        Ok(())
    }

    /// The caller's own streams; stdin only where one app can have it.
    pub(super) fn stdio(&mut self, plan: &mut PodPlan) -> Result<(), LaunchError> {
        let single = plan.apps.len() == 1;
        let base = plan.namespaces.user.map_or(0, |map| map.base);
        for app in plan.apps.iter_mut().filter(|app| app.terminal.is_none()) {
            let user = rustix::fs::Uid::from_raw(base.saturating_add(app.uid));
            let mut take = |stream: &str, fd: BorrowedFd<'_>| {
                let name = format!("{stream}:{}", app.name);
                let copy = fd
                    .try_clone_to_owned()
                    .map_err(io_error(format!("duplicate the caller's {stream}")))?;
                if is_unnamed_pipe(&copy) {
                    // Where it cannot be given away, only opening it anew by name is refused.
                    let _ = rustix::fs::fchown(&copy, Some(user), None);
                }
                self.add(name.clone(), copy);
                Ok::<_, LaunchError>(Some(name))
            };
            app.stdin = if single { take("stdin", io::stdin().as_fd())? } else { None };
            app.stdout = take("stdout", io::stdout().as_fd())?;
            app.stderr = take("stderr", io::stderr().as_fd())?;
        }
        Ok(())
    }

    /// The socket of sd_notify(3), if the unit has one.
    pub(super) fn notify(&mut self) -> Result<(), LaunchError> {
        let address = std::env::var_os("NOTIFY_SOCKET");
        let socket = notify::connect(address.as_deref())
            .map_err(io_error("connect to the socket in NOTIFY_SOCKET"))?;
        if let Some(socket) = socket {
            self.add(descriptor::NOTIFY, socket);
        }
        Ok(())
    }

    /// Numbers the descriptors, writes the plan that names them, and opens it for stage1.
    pub(super) fn complete(&mut self, plan: &mut PodPlan, pod: &Path) -> Result<(), LaunchError> {
        self.renumber(plan);
        let path = pod.join(PLAN);
        let bytes = serde_json::to_vec(plan)
            .map_err(|error| io_error("encode the plan")(io::Error::other(error)))?;
        let failed = || io_error(format!("write {}", path.display()));
        files::write(&path, &bytes, Durability::Atomic).map_err(failed())?;
        self.plan = Some(File::open(&path).map_err(failed())?.into());
        Ok(())
    }

    /// Writes the numbers into the plan.
    fn renumber(&self, plan: &mut PodPlan) {
        plan.descriptors = (FIRST_NUMBER..)
            .zip(&self.named)
            .map(|(fd, (name, _))| Descriptor { name: name.clone(), fd })
            .collect();
    }

    /// Each descriptor and the number it gets in stage1's entry process.
    pub(super) fn numbered(&self) -> Vec<(BorrowedFd<'_>, RawFd)> {
        let plan = self.plan.iter().map(|fd| (fd.as_fd(), PLAN_NUMBER));
        plan.chain(self.named.iter().map(|(_, fd)| fd.as_fd()).zip(FIRST_NUMBER..)).collect()
    }
}

/// Whether this is a pipe that lies in no directory. Such a one is given to the app that writes to
/// it: `echo > /dev/stderr` opens it anew, which takes its owner's rights. Files and named pipes of
/// the caller stay the caller's.
fn is_unnamed_pipe(fd: &OwnedFd) -> bool {
    /// `PIPEFS_MAGIC` of linux/magic.h.
    const PIPEFS: u64 = 0x5049_5045;
    rustix::fs::fstatfs(fd).is_ok_and(|stat| u64::try_from(stat.f_type) == Ok(PIPEFS))
}

/// A listening `SOCK_SEQPACKET` socket at `control` in the pod directory. Bound through the
/// directory's descriptor, so that the length of the path does not matter (unix(7): 108 bytes).
fn control_socket(pod: &Path) -> io::Result<OwnedFd> {
    let dir =
        rustix::fs::open(pod, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    match std::fs::remove_file(pod.join(CONTROL)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    let address = SocketAddrUnix::new(format!("/proc/self/fd/{}/{CONTROL}", dir.as_raw_fd()))?;
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, 16)?;
    Ok(socket)
}

/// An image of many layers takes a descriptor each; the soft limit is raised to the hard one.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // If it cannot be raised, opening says which descriptor was one too many.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// The caller's own limit is what apps get: the raised one is for the hand-over only.
pub(super) fn keep_descriptor_limit(plan: &mut PodPlan) {
    use rustix::process::{Resource, getrlimit};
    let limit = getrlimit(Resource::Nofile);
    for app in &mut plan.apps {
        if app.rlimits.iter().all(|known| known.resource != "nofile") {
            app.rlimits.push(Rlimit {
                resource: "nofile".to_owned(),
                soft: limit.current,
                hard: limit.maximum,
            });
        }
    }
}
