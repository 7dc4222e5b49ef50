//! Pods of one busybox, started the way stage0 starts them.
#![allow(dead_code)]

use std::ffi::CString;
use std::io::{BufRead, BufReader};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rocket_plan::*;
use rocket_sys::pidfd::{self, Exit};
use rocket_sys::spawn::{Command, Program, spawn};
use rocket_sys::userns::IdRange;
use rocket_sys::{fds, mount};

/// A busybox that needs nothing else.
const BUSYBOX: &str = "/bin/busybox";

/// Whether pods can be made here; says why not.
pub fn can_run() -> bool {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: needs root");
        return false;
    }
    if !Path::new(BUSYBOX).exists() {
        eprintln!("skipped: needs the package busybox-static");
        return false;
    }
    true
}

pub struct TestPod {
    pub dir: tempfile::TempDir,
    pub plan: PodPlan,
    pub root: PathBuf,
    fds: Vec<(String, OwnedFd)>,
}

fn c(text: impl AsRef<Path>) -> CString {
    CString::new(text.as_ref().to_str().unwrap()).unwrap()
}

impl TestPod {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        std::fs::create_dir_all(root.join("bin")).unwrap();
        std::fs::copy(BUSYBOX, root.join("bin/busybox")).unwrap();
        for applet in [
            "sh", "ls", "cat", "sleep", "echo", "kill", "true", "false", "ps", "id", "grep", "ip",
            "hostname", "mount", "touch", "nc", "stat", "env", "pwd", "tty", "readlink", "wc",
            "setsid", "mkdir", "dd",
        ] {
            symlink("busybox", root.join("bin").join(applet)).unwrap();
        }
        std::fs::create_dir(dir.path().join("mnt")).unwrap();
        let plan = PodPlan {
            abi: ABI,
            features_required: vec![feature::OVERLAY.to_owned()],
            uuid: "00000000-0000-4000-8000-000000000000".to_owned(),
            name: None,
            hostname: "testpod".to_owned(),
            boot_id: "boot".to_owned(),
            descriptors: Vec::new(),
            namespaces: Namespaces { network: Network::None, user: None },
            cgroup: Cgroup::None,
            exit_status: ExitStatus::App,
            exit_policy: ExitPolicy::AnyFailure,
            stop_deadline_ms: 10_000,
            sysctls: Vec::new(),
            limits: Vec::new(),
            isolators: Isolators::default(),
            apps: Vec::new(),
        };
        Self { dir, plan, root, fds: Vec::new() }
    }

    pub fn tree(&mut self, name: &str, path: &Path) -> String {
        let fd = mount::open_tree_path(&c(path), true).unwrap();
        self.fds.push((name.to_owned(), fd));
        name.to_owned()
    }

    /// Adds an app that runs a shell script; its output goes to `out.NAME`.
    pub fn app(&mut self, name: &str, script: &str) -> &mut AppPlan {
        let argv = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        let upper = self.dir.path().join("upper").join(name);
        std::fs::create_dir_all(upper.join("upper")).unwrap();
        std::fs::create_dir_all(upper.join("work")).unwrap();
        let root = self.root.clone();
        let lowers = vec![self.tree(&format!("layer:{name}"), &root)];
        let upper = self.tree(&format!("upper:{name}"), &upper);
        let out = std::fs::File::create(self.out_path(name)).unwrap();
        let err = out.try_clone().unwrap();
        self.fds.push((format!("stdout:{name}"), out.into()));
        self.fds.push((format!("stderr:{name}"), err.into()));
        let devices = ["null", "zero", "full", "random", "urandom", "tty"]
            .map(|d| Device {
                path: format!("/dev/{d}"),
                source: self.tree(&format!("dev-{d}:{name}"), &Path::new("/dev").join(d)),
            })
            .to_vec();
        let mount = |source, target: &str, read_only| Mount {
            source,
            target: target.to_owned(),
            read_only,
            nosuid: true,
            nodev: true,
            noexec: true,
            lent: false,
        };
        let bounding: Vec<String> =
            ["chown", "kill", "net_bind_service", "setuid", "setgid"].map(str::to_owned).to_vec();
        self.plan.apps.push(AppPlan {
            name: name.to_owned(),
            image_id: "sha256-0".to_owned(),
            argv,
            environment: vec!["PATH=/bin:/usr/bin".to_owned(), "HOME=/".to_owned()],
            uid: 0,
            gid: 0,
            groups: vec![],
            working_directory: "/".to_owned(),
            capabilities: Capabilities {
                bounding: bounding.clone(),
                effective: bounding.clone(),
                permitted: bounding,
                inheritable: vec![],
                ambient: vec![],
            },
            securebits: 0,
            no_new_privileges: true,
            seccomp: None,
            rlimits: vec![],
            oom_score_adj: None,
            root: RootPlan { lowers, upper, read_only: false },
            mounts: vec![
                mount(MountSource::Proc, "/proc", false),
                mount(MountSource::Sysfs, "/sys", true),
                mount(MountSource::Dev, "/dev", false),
                mount(MountSource::Tmpfs { size: None, mode: 0o1777 }, "/tmp", false),
            ],
            devices,
            device_rules: None,
            apparmor: None,
            selinux: None,
            masked_paths: vec![
                "/proc/kcore".into(),
                "/proc/version".into(),
                "/proc/acpi".into(),
                "/sys/firmware".into(),
            ],
            read_only_paths: vec!["/proc/sys".into(), "/proc/no-such".into()],
            leaf: None,
            limits: vec![],
            kind: Kind::Service,
            after: vec![],
            requires: vec![],
            pre_start: None,
            post_stop: None,
            restart: Restart::No,
            ready: Ready::Exec,
            stop_signal: 15,
            stop_timeout_ms: 5_000,
            stdin: None,
            stdout: Some(format!("stdout:{name}")),
            sockets: Vec::new(),
            stderr: Some(format!("stderr:{name}")),
            terminal: None,
            isolators: Isolators::default(),
        });
        self.plan.apps.last_mut().unwrap()
    }

    /// Gives the pod a user namespace, as stage0 does, after the last app was added.
    pub fn user_namespace(&mut self, base: u32) {
        let range = IdRange { inside: 0, outside: base, count: 65_536 };
        let network = self.plan.namespaces.network == Network::None;
        let made = rocket_sys::userns::create(range, network).unwrap();
        for (name, fd) in &self.fds {
            if name.starts_with("layer:") {
                mount::idmap(fd.as_fd(), made.user.as_fd(), true).unwrap();
            }
        }
        for app in &self.plan.apps {
            let upper = self.dir.path().join("upper").join(&app.name).join("upper");
            std::os::unix::fs::chown(upper, Some(base), Some(base)).unwrap();
        }
        self.plan.namespaces.user = Some(IdMap { base, count: 65_536 });
        self.descriptor(descriptor::USER_NAMESPACE, made.user);
        if let Some(network) = made.network {
            self.descriptor(descriptor::NETWORK_NAMESPACE, network);
        }
    }

    fn out_path(&self, name: &str) -> PathBuf {
        self.dir.path().join(format!("out.{name}"))
    }

    /// Gives every app a leaf.
    pub fn leaves(&mut self, cgroup: Cgroup) {
        self.plan.cgroup = cgroup;
        for app in &mut self.plan.apps {
            app.leaf = Some(format!("app-{}", app.name));
            app.mounts.push(Mount {
                source: MountSource::Cgroup2,
                target: "/sys/fs/cgroup".to_owned(),
                read_only: true,
                nosuid: true,
                nodev: true,
                noexec: true,
                lent: false,
            });
        }
    }

    /// Adds a descriptor of the pod's own.
    pub fn descriptor(&mut self, name: &str, fd: OwnedFd) {
        self.fds.push((name.to_owned(), fd));
    }

    fn with_command<T>(mut self, run: impl FnOnce(&Command<'_>) -> T) -> (T, tempfile::TempDir) {
        let record = std::fs::File::create(self.dir.path().join("exit")).unwrap();
        self.descriptor(descriptor::EXIT_RECORD, record.into());
        let control = rustix::net::socket(
            rustix::net::AddressFamily::UNIX,
            rustix::net::SocketType::SEQPACKET,
            None,
        )
        .unwrap();
        let path = self.dir.path().join("control");
        rustix::net::bind(&control, &rustix::net::SocketAddrUnix::new(&path).unwrap()).unwrap();
        rustix::net::listen(&control, 8).unwrap();
        self.descriptor(descriptor::CONTROL, control);
        self.plan.descriptors = (self.fds.iter().zip(4..))
            .map(|((name, _), fd)| Descriptor { name: name.clone(), fd })
            .collect();
        let json = serde_json::to_vec(&self.plan).unwrap();
        let plan = fds::sealed_memfd("plan", &json).unwrap();
        let mut list: Vec<(BorrowedFd<'_>, i32)> = vec![(plan.as_fd(), 3)];
        list.extend(self.fds.iter().zip(4..).map(|((_, fd), n)| (fd.as_fd(), n)));
        let directory: OwnedFd = std::fs::File::open(self.dir.path()).unwrap().into();
        // Another build of the same program, for measuring.
        let init = std::env::var("ROCKET_TEST_INIT");
        let init = c(init.as_deref().unwrap_or(env!("CARGO_BIN_EXE_rocket-init")));
        let result = run(&Command {
            program: Program::Path(&init),
            argv: &[c("init"), c("run")],
            envp: &[],
            fds: &list,
            cwd: Some(directory.as_fd()),
            block_signals: true,
        });
        (result, self.dir)
    }

    /// Turns this process into init's entry point, as stage0 does in a unit.
    pub fn exec(self) -> rocket_sys::Error {
        self.with_command(rocket_sys::spawn::exec).0
    }

    /// Starts the pod as a foreground stage0 does.
    pub fn start(mut self) -> Running {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        self.descriptor(descriptor::TETHER, theirs.into());
        let (entry, dir) = self.with_command(spawn);
        let entry = pidfd::wait(entry.unwrap().pidfd.as_fd()).unwrap();
        let mut tether = BufReader::new(ours);
        let mut first = String::new();
        tether.read_line(&mut first).unwrap();
        let init = first.trim().strip_prefix("PID ").map(|pid| {
            let pid = pid.parse().unwrap();
            (pid, pidfd::open(pid).unwrap())
        });
        Running { dir, entry, first, init, tether }
    }
}

pub struct Running {
    pub dir: tempfile::TempDir,
    pub entry: Exit,
    /// First line on the tether.
    pub first: String,
    pub init: Option<(i32, OwnedFd)>,
    pub tether: BufReader<UnixStream>,
}

impl Running {
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.tether.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    pub fn ready(&mut self) {
        assert_eq!(self.line(), "READY");
    }

    pub fn pid(&self) -> i32 {
        self.init.as_ref().unwrap().0
    }

    pub fn say(&self, byte: &[u8]) {
        use std::io::Write;
        self.tether.get_ref().write_all(byte).unwrap();
    }

    pub fn wait(&self) -> Exit {
        pidfd::wait(self.init.as_ref().unwrap().1.as_fd()).unwrap()
    }

    pub fn out(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir.path().join(format!("out.{name}"))).unwrap()
    }

    /// Waits until an app's output holds a text.
    pub fn until(&self, name: &str, text: &str) -> String {
        for _ in 0..500 {
            let out = self.out(name);
            if out.contains(text) {
                return out;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("no {text:?} in: {}", self.out(name));
    }

    pub fn records(&self) -> Vec<ExitRecord> {
        let bytes = std::fs::read(self.dir.path().join("exit")).unwrap();
        let lines = decode_records(&bytes).unwrap();
        lines.iter().map(|l| serde_json::from_str(l).unwrap()).collect()
    }

    pub fn connect(&self) -> OwnedFd {
        let socket = rustix::net::socket(
            rustix::net::AddressFamily::UNIX,
            rustix::net::SocketType::SEQPACKET,
            None,
        )
        .unwrap();
        let path = self.dir.path().join("control");
        rustix::net::connect(&socket, &rustix::net::SocketAddrUnix::new(path).unwrap()).unwrap();
        socket
    }
}

pub fn ask(socket: &OwnedFd, json: &str, passed: &[BorrowedFd<'_>]) -> serde_json::Value {
    fds::send_with_fds(socket.as_fd(), json.as_bytes(), passed).unwrap();
    answer(socket)
}

pub fn answer(socket: &OwnedFd) -> serde_json::Value {
    let packet = fds::recv_with_fds(socket.as_fd(), 65536).unwrap();
    serde_json::from_slice(&packet.bytes).unwrap()
}
