//! What the host has for the attempts to reach, and how it is known that none did.

use crate::pod::probe;
use rocket_testkit::{run, wait_until};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::TcpListener;
use std::os::linux::fs::MetadataExt;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;
use std::process::{Child, Command};

const SECRET: &str = "/srv/escape-canary/secret";
const CGROUP: &str = "/escape-canary";
/// The module that attempts load: small, needs no other, and nothing uses it.
const MODULE: &str = "crc7";

/// What must be as it was after everything a pod has tried.
const KNOBS: [&str; 9] = [
    "/proc/sys/kernel/hostname",
    "/proc/sys/kernel/domainname",
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/modprobe",
    "/proc/sys/kernel/ctrl-alt-del",
    "/proc/sys/vm/overcommit_ratio",
    "/proc/swaps",
    "/sys/kernel/uevent_helper",
    SECRET,
];

/// Things of the host with a token nobody can guess.
pub struct Canaries {
    _alone: File,
    token: String,
    process: Child,
    in_cgroup: Child,
    port: TcpListener,
    _abstract: UnixListener,
    abstract_name: String,
}

fn sleeper(seconds: &str) -> Child {
    Command::new("/bin/sleep").arg(seconds).spawn().unwrap()
}

impl Canaries {
    /// Sets them out.
    pub fn new() -> Self {
        // They have one place each: who comes second waits. Given back when the process ends.
        let alone = File::create("/run/escape-canaries").unwrap();
        alone.lock().unwrap();
        let token = fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap().trim().to_owned();
        fs::create_dir_all(Path::new(SECRET).parent().unwrap()).unwrap();
        fs::write(SECRET, &token).unwrap();
        let cgroup = format!("/sys/fs/cgroup{CGROUP}");
        drop(fs::create_dir(&cgroup));
        let in_cgroup = sleeper("86402");
        fs::write(format!("{cgroup}/cgroup.procs"), in_cgroup.id().to_string()).unwrap();
        run("ip", ["link", "add", "esc0", "type", "veth", "peer", "name", "esc1"]);
        let abstract_name = format!("escape-{token}");
        let address = SocketAddr::from_abstract_name(&abstract_name).unwrap();
        let canaries = Self {
            _alone: alone,
            process: sleeper("86401"),
            in_cgroup,
            port: TcpListener::bind("127.0.0.1:0").unwrap(),
            _abstract: UnixListener::bind_addr(&address).unwrap(),
            abstract_name,
            token,
        };
        let mut plant = Command::new(probe());
        plant.arg("plant").env("ESCAPE_TOKEN", &canaries.token);
        assert!(plant.status().unwrap().success());
        canaries
    }

    /// What the probe is told of them.
    pub fn told(&self) -> BTreeMap<String, String> {
        let handle = run(probe().to_str().unwrap(), ["handle", SECRET]).ok();
        // The disk below the root of the uml bed; where there is none, its attempts are not made.
        let disk = fs::metadata("/dev/ubda").map_or(0, |meta| meta.st_rdev());
        let mut told = BTreeMap::new();
        for (name, value) in [
            ("TOKEN", self.token.clone()),
            ("SECRET", SECRET.to_owned()),
            ("CANARY", self.process.id().to_string()),
            ("HANDLE", handle.text().to_owned()),
            ("DISK", format!("{}:{}", (disk >> 8) & 0xfff, disk & 0xff)),
            ("ABSTRACT", self.abstract_name.clone()),
            ("PORT", self.port.local_addr().unwrap().port().to_string()),
            ("LINK", "esc0".to_owned()),
            ("CGROUP", CGROUP.to_owned()),
            ("MODULE", MODULE.to_owned()),
        ] {
            told.insert(format!("ESCAPE_{name}"), value);
        }
        told
    }

    /// Everything that an attempt could have changed, by name.
    pub fn state(&mut self) -> BTreeMap<String, String> {
        let mut state = BTreeMap::new();
        for path in KNOBS {
            state.insert(path.to_owned(), fs::read_to_string(path).unwrap_or_default());
        }
        for (name, child) in [("process", &mut self.process), ("in a cgroup", &mut self.in_cgroup)]
        {
            let ended = child.try_wait().unwrap().map(|status| status.to_string());
            state.insert(format!("the canary {name}"), format!("{ended:?}"));
        }
        let cgroup = format!("/sys/fs/cgroup{CGROUP}/cgroup.events");
        state.insert(cgroup.clone(), fs::read_to_string(&cgroup).unwrap());
        let init = "/usr/lib/rocket/stage1/ns/init";
        for file in ["/etc/passwd", init] {
            state.insert(file.to_owned(), run("sha256sum", [file]).ok().stdout);
        }
        state.insert("layers".to_owned(), layers());
        let modules = fs::read_to_string("/proc/modules").unwrap_or_default();
        let loaded = modules.lines().any(|line| line.starts_with(&format!("{MODULE} ")));
        state.insert("the module".to_owned(), loaded.to_string());
        state.insert("addresses".to_owned(), run("ip", ["-br", "address"]).stdout);
        state
    }

    /// Fails the test if anything has changed.
    pub fn unharmed(&mut self, before: &BTreeMap<String, String>) {
        let after = self.state();
        for (name, value) in before {
            assert_eq!(after.get(name), Some(value), "{name} of the host has changed");
        }
    }
}

/// What the files of the images that attempts write to hold, as they lie in the store. A test beside
/// this one may add an image of its own, with the same in it.
fn layers() -> String {
    let find = run("find", ["/var/lib/rocket/store/layers", "-name", "layer-file"]);
    let texts = find.stdout.lines().map(|path| fs::read_to_string(path).unwrap_or_default());
    texts.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
}

impl Drop for Canaries {
    fn drop(&mut self) {
        for child in [&mut self.process, &mut self.in_cgroup] {
            drop(child.kill());
            drop(child.wait());
        }
        let cgroup = format!("/sys/fs/cgroup{CGROUP}");
        wait_until("the canary's cgroup is empty", 20, || fs::remove_dir(&cgroup).is_ok());
        run("ip", ["link", "del", "esc0"]);
        drop(fs::remove_dir_all(Path::new(SECRET).parent().unwrap()));
    }
}
