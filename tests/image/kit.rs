//! Archives written by hand, layouts, and listings that show everything a tree has.

use rocket::image::{Algo, Digest};
use rocket_testkit::command::Started;
use rocket_testkit::{Command, Done};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A tar archive, built block by block.
#[derive(Clone, Default)]
pub struct Tar(pub Vec<u8>);

impl Tar {
    /// Adds an entry with every field given.
    pub fn raw(
        mut self,
        name: &[u8],
        flag: u8,
        link: &[u8],
        mode: u32,
        ids: (u32, u32),
        data: &[u8],
    ) -> Self {
        let mut block = [0u8; 512];
        block[..name.len()].copy_from_slice(name);
        block[100..108].copy_from_slice(format!("{mode:07o}\0").as_bytes());
        block[108..116].copy_from_slice(format!("{:07o}\0", ids.0).as_bytes());
        block[116..124].copy_from_slice(format!("{:07o}\0", ids.1).as_bytes());
        block[124..136].copy_from_slice(format!("{:011o}\0", data.len()).as_bytes());
        block[136..148]
            .copy_from_slice(format!("{:011o}\0", 1_600_000_000 + name.len()).as_bytes());
        block[148..156].fill(b' ');
        block[156] = flag;
        block[157..157 + link.len()].copy_from_slice(link);
        block[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend_from_slice(&block);
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub fn dir(self, name: &str, mode: u32, owner: u32) -> Self {
        self.raw(name.as_bytes(), b'5', b"", mode, (owner, owner), b"")
    }

    pub fn file(self, name: &str, data: &str) -> Self {
        self.raw(name.as_bytes(), b'0', b"", 0o644, (0, 0), data.as_bytes())
    }

    pub fn symlink(self, name: &str, target: &str) -> Self {
        self.raw(name.as_bytes(), b'2', target.as_bytes(), 0o777, (0, 0), b"")
    }

    pub fn link(self, name: &str, target: &str) -> Self {
        self.raw(name.as_bytes(), b'1', target.as_bytes(), 0o644, (0, 0), b"")
    }

    pub fn whiteout(self, name: &str) -> Self {
        self.raw(name.as_bytes(), b'0', b"", 0, (0, 0), b"")
    }

    /// Adds PAX records for the entry that follows.
    pub fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut data = Vec::new();
        for (key, value) in records {
            let body = key.len() + value.len() + 3;
            let length = (1..).find(|d| (body + d).to_string().len() == *d).unwrap() + body;
            data.extend_from_slice(format!("{length} {key}=").as_bytes());
            data.extend_from_slice(value);
            data.push(b'\n');
        }
        self.raw(b"pax", b'x', b"", 0o644, (0, 0), &data)
    }

    pub fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(bytes, 3).unwrap()
}

pub const MANIFEST: &str = r#"{"acKind":"ImageManifest","acVersion":"0.8.11","name":"example.com/app",
"labels":[{"name":"version","value":"1"},{"name":"os","value":"linux"}],
"app":{"exec":["/bin/app"],"user":"0","group":"0"}}"#;

/// The beginning of a good ACI.
pub fn aci() -> Tar {
    Tar::default().file("manifest", MANIFEST).dir("rootfs", 0o755, 0)
}

/// A layout's directory with one image, tag `latest`, of these uncompressed layers.
pub struct LayoutSpec {
    pub layers: Vec<Vec<u8>>,
    pub compress: fn(&[u8]) -> Vec<u8>,
    pub layer_type: &'static str,
    pub manifest_type: &'static str,
    pub config_type: &'static str,
    pub config: serde_json::Value,
}

impl LayoutSpec {
    pub fn new(layers: Vec<Vec<u8>>) -> Self {
        Self {
            layers,
            compress: gzip,
            layer_type: "application/vnd.oci.image.layer.v1.tar+gzip",
            manifest_type: "application/vnd.oci.image.manifest.v1+json",
            config_type: "application/vnd.oci.image.config.v1+json",
            config: serde_json::json!({"Cmd": ["/bin/app"]}),
        }
    }

    pub fn write(&self, dir: &Path) {
        fs::create_dir_all(dir.join("blobs/sha256")).unwrap();
        fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        let blob = |bytes: &[u8], kind: &str| {
            let digest = Digest::of(Algo::Sha256, bytes);
            fs::write(dir.join("blobs/sha256").join(digest.hex()), bytes).unwrap();
            serde_json::json!({"mediaType": kind, "digest": digest.oci(), "size": bytes.len()})
        };
        let layers: Vec<_> =
            self.layers.iter().map(|l| blob(&(self.compress)(l), self.layer_type)).collect();
        let diffs: Vec<String> =
            self.layers.iter().map(|l| Digest::of(Algo::Sha256, l).oci()).collect();
        let config = serde_json::json!({"os": "linux", "architecture": "amd64", "config": self.config,
            "rootfs": {"type": "layers", "diff_ids": diffs}});
        let config = blob(config.to_string().as_bytes(), self.config_type);
        let manifest = serde_json::json!({"schemaVersion": 2, "mediaType": self.manifest_type,
            "config": config, "layers": layers});
        let mut manifest = blob(manifest.to_string().as_bytes(), self.manifest_type);
        manifest["annotations"] =
            serde_json::json!({"org.opencontainers.image.ref.name": "latest"});
        let index = serde_json::json!({"schemaVersion": 2, "manifests": [manifest]});
        fs::write(dir.join("index.json"), index.to_string()).unwrap();
    }
}

/// A state directory of its own, and rocket working on it.
pub struct Host {
    pub dir: TempDir,
}

impl Host {
    pub fn new() -> Self {
        assert!(rustix::process::geteuid().is_root(), "image tests compare owners: they need root");
        let host = Self { dir: tempfile::tempdir().unwrap() };
        // What others have to say of an image is the business of `trust.rs`.
        fs::create_dir_all(host.path("config/trust.d")).unwrap();
        let rules = "version = 1\n[root]\nunsigned = \"warn\"\n";
        fs::write(host.path("config/trust.d/50-test.toml"), rules).unwrap();
        host
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn store(&self) -> PathBuf {
        self.path("state/store")
    }

    pub fn rocket(&self, args: &[&str]) -> Done {
        self.rocket_env(args, &[])
    }

    pub fn rocket_env(&self, args: &[&str], env: &[(&str, &str)]) -> Done {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rocket"))
            .args(args)
            .env("ROCKET_STATE_DIR", self.path("state"))
            .env("ROCKET_CONFIG_DIR", self.path("config"));
        for (name, value) in env {
            command = command.env(name, value);
        }
        command.run()
    }

    /// Writes a file and gives its absolute path.
    pub fn file(&self, name: &str, bytes: &[u8]) -> String {
        fs::write(self.path(name), bytes).unwrap();
        self.path(name).to_str().unwrap().to_owned()
    }

    /// The layers of a stored image, topmost first.
    pub fn layers(&self, reference: &str) -> Vec<PathBuf> {
        let store = rocket::image::Store::open(&self.store()).unwrap();
        let id = store.resolve(&reference.parse().unwrap()).unwrap();
        store.image(&id).unwrap().layers.into_iter().map(|layer| layer.tree).collect()
    }

    /// What a stored image is once its layers are stacked by the kernel.
    pub fn merged(&self, reference: &str) -> BTreeMap<String, String> {
        listing(&self.stacked(reference))
    }

    /// The same, as a directory.
    pub fn stacked(&self, reference: &str) -> PathBuf {
        let (empty, mount, copy) = (self.path("empty"), self.path("mount"), self.path("copy"));
        let _ = fs::remove_dir_all(&copy);
        for dir in [&empty, &mount, &copy] {
            fs::create_dir_all(dir).unwrap();
        }
        let mut lowers = self.layers(reference);
        lowers.push(empty);
        let lowers: Vec<&str> = lowers.iter().map(|l| l.to_str().unwrap()).collect();
        let (mount, copied) = (mount.to_str().unwrap(), copy.to_str().unwrap());
        let script = format!(
            "mount -t overlay overlay -o lowerdir={} {mount} && cp -a {mount}/. {copied}",
            lowers.join(":")
        );
        Command::new("unshare").args(["-m", "sh", "-c", &script]).run().ok();
        copy
    }
}

/// Every path below `dir` with type, mode, owner, time, attributes, content.
pub fn listing(dir: &Path) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    list(dir, "", &mut out);
    out
}

fn list(dir: &Path, path: &str, out: &mut BTreeMap<String, String>) {
    let full = if path.is_empty() { dir.to_owned() } else { dir.join(path) };
    let found = fs::symlink_metadata(&full).unwrap();
    let kind = found.file_type();
    let content = if kind.is_file() {
        Digest::of(Algo::Sha256, &fs::read(&full).unwrap()).short()
    } else if kind.is_symlink() {
        fs::read_link(&full).unwrap().to_str().unwrap().to_owned()
    } else if kind.is_fifo() {
        "fifo".to_owned()
    } else if kind.is_dir() {
        "dir".to_owned()
    } else {
        format!("device {:x}", found.rdev())
    };
    let line = format!(
        "{:o} {}:{} {}.{:09} {content} {:?}",
        found.mode(),
        found.uid(),
        found.gid(),
        found.mtime(),
        found.mtime_nsec(),
        xattrs(&full)
    );
    out.insert(format!("/{path}"), line);
    if kind.is_dir() {
        for entry in fs::read_dir(&full).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let below = if path.is_empty() { name } else { format!("{path}/{name}") };
            list(dir, &below, out);
        }
    }
}

fn xattrs(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut names = vec![0; 8192];
    let length = rustix::fs::llistxattr(path, &mut names[..]).unwrap_or(0);
    let names = names[..length].split(|b| *b == 0).filter(|n| !n.is_empty());
    let value = |name: &[u8]| {
        let mut value = vec![0; 8192];
        let length = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap();
        value.truncate(length);
        value
    };
    names.map(|name| (String::from_utf8_lossy(name).into_owned(), value(name))).collect()
}

/// Fails with the lines that differ.
#[track_caller]
pub fn same(ours: &BTreeMap<String, String>, theirs: &BTreeMap<String, String>) {
    let mut differences = String::new();
    for path in ours.keys().chain(theirs.keys()) {
        let (a, b) = (ours.get(path), theirs.get(path));
        if a != b {
            differences += &format!("{path}\n  ours   {a:?}\n  theirs {b:?}\n");
        }
    }
    assert!(differences.is_empty(), "{differences}");
}

/// What umoci unpacks.
pub fn umoci(layout: &str, into: &Path) -> BTreeMap<String, String> {
    let bundle = into.to_str().unwrap();
    rocket_testkit::run("umoci", ["unpack", "--image", layout, bundle]).ok();
    listing(&into.join("rootfs"))
}

/// Waits until the worker of a fetch has begun with a tree of many files, and stops it there.
#[track_caller]
pub fn hold_worker(fetch: &mut Started, tmp: &Path) {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    let begun = || {
        let below =
            |dir: PathBuf| fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path());
        let layers = below(tmp.to_owned()).flat_map(below);
        layers
            .filter(|dir| {
                fs::read_dir(dir.join("tree/many")).is_ok_and(|mut d| d.next().is_some())
                    || fs::read_dir(dir.join("tree/rootfs/many"))
                        .is_ok_and(|mut d| d.next().is_some())
            })
            .count()
            > 0
    };
    while !begun() {
        assert!(!fetch.has_ended(), "it ended before it was held");
        assert!(std::time::Instant::now() < end, "nothing is unpacked");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    let worker = worker(fetch.pid()).unwrap_or_else(|| panic!("it was done too soon"));
    kill_process(worker, Signal::STOP).unwrap();
}

/// The worker that unpacks for a process.
fn worker(parent: Pid) -> Option<Pid> {
    let tasks = fs::read_dir(format!("/proc/{}/task", parent.as_raw_nonzero())).ok()?;
    let lists = tasks.flatten().filter_map(|t| fs::read_to_string(t.path().join("children")).ok());
    let children: Vec<String> = lists.collect();
    let mut pids = children.iter().flat_map(|list| list.split_whitespace());
    let unpacks = |pid: &&str| {
        fs::read_to_string(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|line| line.contains("__unpack"))
    };
    Pid::from_raw(pids.find(unpacks)?.parse().ok()?)
}

/// What the store has besides empty directories, work in progress included.
pub fn stored(store: &Path) -> Vec<PathBuf> {
    let dirs =
        ["blobs/sha256", "layers/sha256", "layers/sha512", "images", "refs", "tmp", "tmp/partial"];
    let entries = dirs.iter().flat_map(|dir| fs::read_dir(store.join(dir)).into_iter().flatten());
    entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| !path.ends_with("tmp/partial"))
        .collect()
}
