//! Pods that run the probe: default ones, and ones with protections taken away.

use rocket_escape::protection::Protection;
use rocket_escape::{Attempt, Who};
use rocket_testkit::{image, rocket, run, target_dir};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The image with the probe.
pub const IMAGE: &str = "example.com/escape:1.0";

/// Where `tests/escape/build` has left the probe.
pub fn probe() -> PathBuf {
    let path = target_dir().join("escape/probe");
    assert!(path.exists(), "{} is not there: tests/escape/build makes it", path.display());
    path
}

/// Brings the image into the store.
pub fn add_image() {
    let root = tempfile::tempdir().unwrap();
    image::busybox_root(root.path());
    fill(root.path());
    image::add(root.path(), IMAGE, &["/probe", "run"]);
    // No image with a node of its own comes this far; a layer that has one all the same is not to
    // give it to an app.
    let trees = run("find", ["/var/lib/rocket/store/layers", "-name", "layer-file"]).ok();
    make_node(Path::new(trees.text().lines().next().unwrap()).parent().unwrap());
}

/// A node of the uml bed's disk.
fn make_node(root: &Path) {
    let node = root.join("disk");
    if !node.exists() {
        run("mknod", ["-m", "666", node.to_str().unwrap(), "b", "98", "0"]).ok();
    }
}

/// What the attempts use, in the root of a pod, and where there is no pod in the host's own.
pub fn fill(root: &Path) {
    for (name, mode) in [("probe", 0o755), ("setuid-probe", 0o4755), ("caps-probe", 0o755)] {
        fs::copy(probe(), root.join(name)).unwrap();
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    run("setcap", ["cap_kill+ep", root.join("caps-probe").to_str().unwrap()]).ok();
    fs::write(root.join("evil"), "#!/proc/self/exe\n").unwrap();
    fs::set_permissions(root.join("evil"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(root.join("layer-file"), "of the image\n").unwrap();
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    if root == Path::new("/") {
        make_node(root);
    } else {
        fs::write(root.join("etc/passwd"), "root:x:0:0::/:/bin/sh\nuser:x:1000:1000::/:/bin/sh\n")
            .unwrap();
    }
    // Never in the ns bed: its kernel is the build machine's.
    if std::env::var("ROCKET_BED").as_deref() == Ok("uml") {
        run("modprobe", ["configs"]);
    }
    let modules = run("find", ["/usr/lib/modules/", "-name", "crc7.ko*"]);
    if let Some(module) = modules.stdout.lines().next() {
        fs::copy(module, root.join("module.ko")).unwrap();
    }
}

/// What became of each attempt: `refused`, `succeeded`, `impossible`, and why.
pub type Results = BTreeMap<String, (String, String)>;

/// A pod without `off`, in which `who` tries `attempts`.
pub struct Trial<'a> {
    pub off: &'a [Protection],
    pub who: Who,
    pub attempts: &'a [&'a Attempt],
    pub told: &'a BTreeMap<String, String>,
    /// Whether limits hold on this kernel.
    pub limited: bool,
}

impl Trial<'_> {
    fn without(&self, protection: Protection) -> bool {
        self.off.contains(&protection)
    }

    fn pod_file(&self) -> String {
        let network = if self.without(Protection::Network) { "host" } else { "none" };
        let user = if self.who == Who::Root { "0" } else { "1000" };
        let names: Vec<&str> = self.attempts.iter().map(|attempt| attempt.name).collect();
        let mut exec = vec!["/probe", "run"];
        exec.extend(&names);
        let environment: Vec<String> =
            self.told.iter().map(|(name, value)| format!("{name} = {value:?}")).collect();
        let limits = if self.limited && !self.without(Protection::Limits) {
            "limits = { tasks-max = 64, memory-max = \"96M\", memory-swap-max = 0 }\n"
        } else {
            ""
        };
        format!(
            "version = 1\nnetwork = \"{network}\"\nexit-policy = \"app:main\"\n\
             [security]\nuser-namespace = {}\n\
             [app.peer]\nimage = \"{IMAGE}\"\nexec = [\"/probe\", \"peer\"]\nuser = \"1001\"\n\
             group = \"1001\"\n\
             [app.main]\nimage = \"{IMAGE}\"\nexec = {exec:?}\nuser = \"{user}\"\ngroup = \"{user}\"\n\
             environment = {{ {} }}\n{limits}\
             mounts = {{ \"/vol\" = \"vol\", \"/closed\" = {{ volume = \"closed\", read-only = true }} }}\n\
             security = {{ no-new-privileges = {} }}\n\
             [volume.vol]\nkind = \"empty\"\nmode = \"0777\"\n\
             [volume.closed]\nkind = \"empty\"\nmode = \"0777\"\n",
            !self.without(Protection::UserNamespace),
            environment.join(", "),
            !self.without(Protection::NoNewPrivileges),
        )
    }

    /// Runs it to its end.
    pub fn run(&self) -> Results {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pod.toml");
        fs::write(&file, self.pod_file()).unwrap();
        let prepared = rocket(["prepare", "-f", file.to_str().unwrap()]).ok();
        let uuid = prepared.text().lines().last().unwrap().to_owned();
        let pod = Path::new("/var/lib/rocket/pods/prepared").join(&uuid);
        edit(&pod.join("plan.json"), |plan| self.weaken(plan));
        if self.without(Protection::Devices) {
            edit(&pod.join("sources.json"), add_sources);
        }
        results(&rocket(["run-prepared", "--rm", &uuid]))
    }

    /// What no pod file can take away is taken from the plan.
    fn weaken(&self, plan: &mut Value) {
        let apps = plan["apps"].as_array_mut().unwrap();
        let app = apps.iter_mut().find(|app| app["name"] == "main").unwrap();
        for protection in self.off {
            match protection {
                Protection::Capabilities => {
                    let all = json!(&rocket_escape::protection::CAPABILITIES[..]);
                    for set in ["bounding", "effective", "permitted", "inheritable", "ambient"] {
                        app["capabilities"][set] = all.clone();
                    }
                }
                Protection::Seccomp => app["seccomp"] = Value::Null,
                Protection::Masks => app["masked-paths"] = json!([]),
                Protection::ReadOnly => {
                    app["read-only-paths"] = json!([]);
                    each_mount(app, |mount| mount["read-only"] = false.into());
                }
                Protection::NoDev => each_mount(app, |mount| mount["nodev"] = false.into()),
                Protection::NoSuid => each_mount(app, |mount| mount["nosuid"] = false.into()),
                Protection::Devices => {
                    app["device-rules"] = Value::Null;
                    let devices = app["devices"].as_array_mut().unwrap();
                    for name in NODES {
                        devices.push(json!({
                            "path": format!("/dev/{name}"), "source": format!("device:main:{name}")
                        }));
                    }
                }
                _ => {}
            }
        }
    }
}

/// Nodes of the host that a pod without the list gets.
const NODES: [&str; 2] = ["ubda", "kmsg"];

fn each_mount(app: &mut Value, change: impl Fn(&mut Value)) {
    app["mounts"].as_array_mut().unwrap().iter_mut().for_each(change);
}

fn add_sources(sources: &mut Value) {
    let list = sources.as_array_mut().unwrap();
    for name in NODES {
        list.push(json!({
            "name": format!("device:main:{name}"),
            "origin": { "host": format!("/dev/{name}") },
            "recursive": false,
        }));
    }
}

fn edit(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    change(&mut value);
    fs::write(path, serde_json::to_vec(&value).unwrap()).unwrap();
}

/// The probe's lines.
pub fn results(done: &rocket_testkit::Done) -> Results {
    let mut results = Results::new();
    for line in done.stdout.lines() {
        let Ok(value) = serde_json::from_str::<Value>(line) else { continue };
        let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
        results.insert(text("attempt"), (text("outcome"), text("detail")));
    }
    assert!(!results.is_empty(), "the probe said nothing: {done}");
    results
}

/// A pod in the background whose app does nothing; stopped and removed when dropped.
pub struct Background {
    name: String,
}

impl Background {
    /// Starts it; `more` belongs to its app.
    #[track_caller]
    pub fn new(name: &str, more: &str) -> Self {
        Self::running(name, "idle", "", more)
    }

    /// The same with another helper of the probe, and what belongs to the whole pod.
    #[track_caller]
    pub fn running(name: &str, helper: &str, pod: &str, more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pod.toml");
        let text = format!(
            "version = 1\nnetwork = \"none\"\n{pod}[app.main]\nimage = \"{IMAGE}\"\n\
             exec = [\"/probe\", \"{helper}\"]\nstop-timeout = \"1s\"\n{more}"
        );
        fs::write(&file, text).unwrap();
        let file = file.to_str().unwrap();
        rocket(["run", "--detach", "--name", name, "-f", file]).ok();
        Self { name: name.to_owned() }
    }

    /// Its control socket.
    pub fn control(&self) -> String {
        let uuid = fs::read_to_string(format!("/var/lib/rocket/names/{}", self.name)).unwrap();
        format!("/var/lib/rocket/pods/run/{}/control", uuid.trim())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        rocket(["stop", "--force", &self.name]);
    }
}
