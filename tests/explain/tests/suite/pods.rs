//! The pods, and what is done with each.

use crate::compare;
use rocket::pod::explain::score::Exposure;
use rocket_plan::PodPlan;
use rocket_testkit::{Command, Done, image, rocket, run, wait_until};
use serde_json::Value;
use std::path::{Path, PathBuf};

const IMAGE: &str = "example.com/look:1";

/// A pod whose app is the probe.
pub struct Case {
    name: String,
    /// Top of the pod file.
    pub pod: String,
    /// Lines of its app.
    pub app: String,
    /// Tables of its volumes.
    pub volumes: String,
}

/// Brings the probe into the store, with the libraries it needs.
fn add_image() {
    let root = tempfile::tempdir().unwrap();
    image::busybox_root(root.path());
    let probe = Path::new(env!("CARGO_BIN_EXE_rocket-look"));
    std::fs::copy(probe, root.path().join("look")).unwrap();
    let libraries = run("ldd", [probe]).ok().stdout;
    for word in libraries.split_whitespace().filter(|word| word.starts_with('/')) {
        let to = root.path().join(word.trim_start_matches('/'));
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(word, to).unwrap();
    }
    image::add(root.path(), IMAGE, &["/look", "all"]);
}

/// `rocket explain` in JSON.
#[track_caller]
pub fn explain(args: &[&str]) -> Value {
    let done = rocket(["explain", "--format=json"].iter().chain(args)).ok();
    serde_json::from_str(&done.stdout).unwrap()
}

impl Case {
    pub fn new(name: &str, app: &str) -> Self {
        Self {
            name: name.to_owned(),
            pod: "network = \"none\"\n".to_owned(),
            app: app.to_owned(),
            volumes: String::new(),
        }
    }

    fn write(&self, dir: &Path) -> PathBuf {
        let file = dir.join(format!("{}.toml", self.name));
        let Self { pod, app, volumes, .. } = self;
        let text = format!("version = 1\n{pod}[app.look]\nimage = \"{IMAGE}\"\n{app}{volumes}");
        std::fs::write(&file, text).unwrap();
        file
    }

    /// Compares; returns what was said before the start.
    #[track_caller]
    pub fn check(&self) -> String {
        add_image();
        let dir = tempfile::tempdir().unwrap();
        let file = self.write(dir.path());
        let file = file.to_str().unwrap();
        let said = explain(&[file]);
        let uuid = rocket(["prepare", "-f", file]).ok().text().to_owned();
        let prepared = explain(&[&uuid]);
        compare::same_but_for_the_start(&said, &prepared);
        let plan = format!("/var/lib/rocket/pods/prepared/{uuid}/plan.json");
        let plan: PodPlan = serde_json::from_slice(&std::fs::read(plan).unwrap()).unwrap();
        let done = Command::new("/usr/bin/rocket")
            .args(["run-prepared", "--rm", &uuid])
            .seconds(100)
            .run()
            .ok();
        let seen: Vec<Value> =
            done.stdout.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!(seen.len(), 5, "{done}");
        compare::inside(&prepared, &seen[0]);
        compare::calls(&prepared, &plan, &seen[1..]);
        run("rm", ["-rf", &format!("/var/lib/rocket/volumes/{}", self.name)]);
        said.to_string()
    }
}

/// A pod with a volume of each kind.
pub fn volumes(name: &str) -> Case {
    for dir in ["/var/lib/rocket/explain-test/a", "/var/lib/rocket/explain-test/b"] {
        std::fs::create_dir_all(dir).unwrap();
    }
    std::fs::write("/var/lib/rocket/explain-test/file", "x").unwrap();
    let app = "[app.look.mounts]\n\"/v/state\" = \"state\"\n\"/v/empty\" = \"empty\"\n\
               \"/v/tmpfs\" = \"tmpfs\"\n\"/v/host\" = \"host\"\n\"/v/read\" = \"read\"\n\
               \"/v/file\" = \"file\"\n\"/v/less\" = { volume = \"empty\", read-only = true }\n";
    let volumes = "[volume.state]\nkind = \"state\"\n[volume.empty]\nkind = \"empty\"\n\
                   [volume.tmpfs]\nkind = \"tmpfs\"\nsize = \"1M\"\nmode = \"0700\"\n\
                   [volume.host]\nkind = \"host\"\nsource = \"/var/lib/rocket/explain-test/a\"\n\
                   [volume.read]\nkind = \"host\"\nsource = \"/var/lib/rocket/explain-test/b\"\nread-only = true\n\
                   [volume.file]\nkind = \"host\"\nsource = \"/var/lib/rocket/explain-test/file\"\n";
    let mut case = Case::new(name, app);
    case.volumes = volumes.to_owned();
    case
}

/// As a user that is nobody in particular.
fn nobody(args: &[&str]) -> Done {
    let mut words = vec!["--reuid=65534", "--regid=65534", "--clear-groups", "/usr/bin/rocket"];
    words.extend(args);
    run("setpriv", words)
}

pub fn unprivileged() {
    add_image();
    let dir = tempfile::tempdir().unwrap();
    run("chmod", ["755".as_ref(), dir.path().as_os_str()]).ok();
    let mut case = Case::new("same-nobody", "user = 1000\n");
    let file = case.write(dir.path());
    let file = file.to_str().unwrap();
    let done = nobody(&["explain", "--format=json", file]).ok();
    let json: Value = serde_json::from_str(&done.stdout).unwrap();
    let app = &json["apps"][0];
    let unknown: Vec<&str> =
        app["unknown"].as_array().unwrap().iter().map(|u| u["field"].as_str().unwrap()).collect();
    assert!(unknown.contains(&"image-id") && unknown.contains(&"program"), "{unknown:?}");
    assert!(!unknown.contains(&"uid"), "{unknown:?}");
    assert_eq!((&app["uid"], &app["program"]), (&Value::from(1000), &Value::Null));
    let text = nobody(&["explain", file]).ok().stdout;
    assert!(text.contains("from the image: unknown here"), "{text}");
    // What the pod file alone cannot be, it is not, for whoever asks.
    case.app = "mounts = { \"/v\" = \"gone\" }\n".to_owned();
    case.write(dir.path());
    nobody(&["explain", file]).ends_with(125).says(&["gone"]);
    nobody(&["explain", "--instance", "same-nobody"]).ends_with(125).says(&["ermission"]);
}

pub fn running() {
    add_image();
    let dir = tempfile::tempdir().unwrap();
    let mut case = Case::new("same-runs", "exec = [\"/bin/sleep\", \"1000\"]\n");
    let file = case.write(dir.path());
    let file = file.to_str().unwrap();
    rocket(["run", "--detach", "--file", file]).ok();
    let json = explain(&["same-runs"]);
    assert_eq!(
        (&json["from"]["kind"], &json["from"]["state"]),
        (&"instance".into(), &"running".into())
    );
    assert_eq!(json["apps"][0]["program"], serde_json::json!(["/bin/sleep", "1000"]));
    let uuid = json["from"]["uuid"].as_str().unwrap();
    assert_eq!(explain(&[&uuid[..8]]), json);
    // The pod file of the name is what the next start would be, the instance what runs.
    std::fs::create_dir_all("/etc/rocket/pods").unwrap();
    case.app = "exec = [\"/bin/true\"]\n".to_owned();
    case.write(Path::new("/etc/rocket/pods"));
    assert_eq!(explain(&["same-runs"])["apps"][0]["program"], serde_json::json!(["/bin/true"]));
    assert_eq!(explain(&["--instance", "same-runs"]), json);
    std::fs::remove_file("/etc/rocket/pods/same-runs.toml").unwrap();
    rocket(["stop", "same-runs"]).ok();
    wait_until("the pod has exited", 20, || explain(&["same-runs"])["from"]["state"] == "exited");
}

pub fn statuses() {
    add_image();
    let dir = tempfile::tempdir().unwrap();
    let case = Case::new("same-status", "");
    let file = case.write(dir.path());
    let file = file.to_str().unwrap();
    let figure = explain(&[file])["score"]["exposure"].as_f64().unwrap();
    assert!(figure > 0.0 && figure < 5.0, "a default pod has {figure}");
    rocket(["explain", file, &format!("--threshold={figure:.1}")]).ok();
    rocket(["explain", file, "--threshold=0"]).ends_with(1).says(&["above 0.0"]);
    rocket(["explain", file, "--threshold=11"]).ends_with(125).says(&["from 0 to 10"]);
    // What a start is refused with, explaining is refused with.
    for (app, words) in [
        ("[app.other]\nimage = \"example.com/none\"\n", ["example.com/none", "rocket fetch"]),
        ("user = \"nobody-knows\"\n", ["nobody-knows", "/etc/passwd"]),
        (
            "mounts = { \"/v\" = \"v\" }\n[volume.v]\nkind = \"host\"\nsource = \"/srv/not-there\"\n",
            ["/srv/not-there", "No such file"],
        ),
    ] {
        let mut case = Case::new("same-status", app);
        let file = case.write(dir.path());
        let file = file.to_str().unwrap();
        let start = rocket(["prepare", "-f", file]).ends_with(125).says(&words);
        let said = rocket(["explain", "--format=json", file]).ends_with(125).says(&words);
        assert_eq!(said.stderr, start.stderr);
        let json: Value = serde_json::from_str(&said.stdout).unwrap();
        let reason = json["refused"]["reason"].as_str().unwrap();
        assert!(start.stderr.contains(reason), "{reason}");
        case.app.clear();
    }
    rocket(["explain", "same-none"]).ends_with(125).says(&["same-none", "/etc/rocket/pods"]);
}

/// The words for figures are those of the bed's own `systemd-analyze`.
pub fn words() {
    let list = run("systemd-analyze", ["security", "--no-pager"]).ok().stdout;
    let mut compared = 0;
    for line in list.lines().skip(1) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, figure, word, ..] = fields.as_slice() else { continue };
        let Some((whole, tenth)) = figure.split_once('.') else { continue };
        let tenths = whole.parse::<u32>().unwrap() * 10 + tenth.parse::<u32>().unwrap();
        assert_eq!(Exposure::from_tenths(tenths).word(), *word, "{line}");
        compared += 1;
    }
    assert!(compared > 3, "{list}");
}
