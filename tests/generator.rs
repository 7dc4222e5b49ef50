//! The template and the generator under a real systemd.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use rocket_testkit::require_bed;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const PODS: &str = "/run/rocket/pods";
const GENERATED: &str = "/run/systemd/generator";
const GENERATOR: &str = "/usr/lib/systemd/system-generators/rocket-generator";

const RIGHT: &str = "network = \"none\"\n[app.web]\nimage = \"example.com/none-such\"\n\
                     stop-timeout = \"20s\"\n";

/// What a command prints on both channels, and whether it went well.
fn run(command: &str, arguments: &[&str]) -> (bool, String) {
    let output = Command::new(command).args(arguments).output().expect(command);
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    (output.status.success(), text)
}

fn systemctl(arguments: &[&str]) -> String {
    let (fine, text) = run("systemctl", arguments);
    assert!(fine, "systemctl {arguments:?}: {text}");
    text
}

/// What the generator writes, in a directory of this test: a daemon-reload of another one takes the
/// drop-ins of systemd's own away for a moment.
fn generated() -> tempfile::TempDir {
    let out = tempfile::tempdir_in("/run").unwrap();
    let dir = out.path().to_str().unwrap();
    assert!(run(GENERATOR, &[dir, dir, dir]).0);
    out
}

/// `systemd-analyze verify`, which looks at what generators wrote only when it is told where.
fn verify(generated: &Path, units: &[&str]) -> (bool, String) {
    let path = format!("SYSTEMD_UNIT_PATH={}:", generated.display());
    run("env", &[&[path.as_str(), "systemd-analyze", "verify"], units].concat())
}

/// A pod file of this test alone; gone at its end.
struct Pod {
    unit: String,
    file: PathBuf,
}

impl Pod {
    fn new(name: &str, text: &str) -> Self {
        let unit = format!("rocket@{name}.service");
        let file = Path::new(PODS).join(format!("{name}.toml"));
        fs::create_dir_all(PODS).unwrap();
        fs::write(&file, text).unwrap();
        systemctl(&["daemon-reload"]);
        Self { unit, file }
    }

    fn show(&self, property: &str) -> String {
        systemctl(&["show", "--value", "-p", property, &self.unit]).trim().to_owned()
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        let _ = run("systemctl", &["stop", &self.unit]);
        let _ = run("systemctl", &["reset-failed", &self.unit]);
        let _ = fs::remove_file(&self.file);
        let _ = fs::remove_dir_all(self.file.with_extension("toml.d"));
    }
}

// systemd changes between releases, so these run on every Debian root there is: module `systemd`.
mod ns {
    mod systemd {
        use super::super::*;

        #[test]
        fn drop_ins_apply_and_set_property_wins() {
            require_bed("ns");
            let text = format!(
                "description = \"100% \\\"mine\\\"\"\n{RIGHT}[limits]\nmemory-max = \"256M\"\n\
         cpu-quota = \"50%\"\ntasks-max = 64\n[unit]\nafter = [\"pod:gen-other\"]\n\
         restart = \"always\"\nrestart-sec = \"700ms\"\n"
            );
            let pod = Pod::new("gen-limits", &text);
            for (property, value) in [
                ("Description", "100% \"mine\""),
                ("MemoryMax", "268435456"),
                ("CPUQuotaPerSecUSec", "500ms"),
                ("TasksMax", "64"),
                ("Restart", "always"),
                ("RestartUSec", "700ms"),
                ("TimeoutStopUSec", "25s"),
                ("LogExtraFields", "ROCKET_POD=gen-limits"),
                ("SourcePath", "/run/rocket/pods/gen-limits.toml"),
                ("Slice", "rocket.slice"),
                ("Delegate", "yes"),
                ("KillMode", "mixed"),
            ] {
                assert_eq!(pod.show(property), value, "{property}");
            }
            assert!(pod.show("After").contains("rocket@gen-other.service"));
            assert!(pod.show("Environment").starts_with("ROCKET_POD_DIGEST="));

            systemctl(&["set-property", "--runtime", &pod.unit, "MemoryMax=64M"]);
            systemctl(&["daemon-reload"]);
            assert_eq!(pod.show("MemoryMax"), "67108864");

            // A drop-in of the pod file counts from the next reload on.
            let drop_ins = pod.file.with_extension("toml.d");
            fs::create_dir(&drop_ins).unwrap();
            fs::write(drop_ins.join("50-local.toml"), "limits = { tasks-max = 10 }").unwrap();
            systemctl(&["daemon-reload"]);
            assert_eq!(pod.show("TasksMax"), "10");
        }

        #[test]
        fn a_broken_file_says_where_when_it_is_started() {
            require_bed("ns");
            let pod =
                Pod::new("gen-broken", "network = \"none\"\n[app.web]\nimgae = \"100% $HOME\"\n");
            let began = Instant::now();
            let (started, _) = run("systemctl", &["start", &pod.unit]);
            assert!(!started);
            assert!(began.elapsed() < Duration::from_secs(20));
            let (_, status) = run("systemctl", &["status", "--no-pager", "--full", &pod.unit]);
            let complaint = "/run/rocket/pods/gen-broken.toml:3:1: unknown key \"imgae\" in [app.web] (did \
                     you mean \"image\"?)";
            assert!(status.contains(&format!("Status: \"{complaint}\"")), "{status}");
            assert!(status.contains("status=78"), "{status}");
            // And once more as a line of the journal, as an error.
            let (_, journal) = run("journalctl", &["-u", &pod.unit, "-p", "err", "-o", "cat"]);
            assert!(journal.lines().any(|line| line == complaint), "{journal}");
            assert_eq!(pod.show("NRestarts"), "0");

            // What is right in it holds still.
            fs::write(&pod.file, "network = \"nnoe\"\n[limits]\nmemory-max = \"64M\"\n").unwrap();
            systemctl(&["daemon-reload"]);
            assert_eq!(pod.show("MemoryMax"), "67108864");

            // Repaired, it is an ordinary pod again.
            fs::write(&pod.file, RIGHT).unwrap();
            systemctl(&["daemon-reload"]);
            assert!(pod.show("ExecStart").contains("--pod=gen-broken"));
        }

        #[test]
        fn what_is_not_supported_yet_is_named_at_the_start() {
            require_bed("ns");
            let pod = Pod::new("gen-later", &format!("{RIGHT}health = {{ tcp = 80 }}\n"));
            assert!(!run("systemctl", &["start", &pod.unit]).0);
            let status = pod.show("StatusText");
            assert!(
                status.ends_with(
                    "gen-later.toml:5:10: app.web.health is not supported by this release"
                ),
                "{status}"
            );
        }

        #[test]
        fn instances_are_enabled_preset_and_masked() {
            require_bed("ns");
            let pod = Pod::new("gen-enable", RIGHT);
            let enabled = || run("systemctl", &["is-enabled", &pod.unit]).1.trim().to_owned();
            assert_eq!(enabled(), "disabled");
            systemctl(&["enable", &pod.unit]);
            assert_eq!(enabled(), "enabled");
            systemctl(&["disable", &pod.unit]);
            assert_eq!(enabled(), "disabled");
            systemctl(&["mask", &pod.unit]);
            assert_eq!(enabled(), "masked");
            systemctl(&["unmask", &pod.unit]);
            let preset = Path::new("/run/systemd/system-preset/10-gen.preset");
            fs::create_dir_all(preset.parent().unwrap()).unwrap();
            fs::write(preset, "enable rocket@.service gen-enable\ndisable rocket@.service\n")
                .unwrap();
            systemctl(&["preset", &pod.unit]);
            assert_eq!(enabled(), "enabled");
            systemctl(&["disable", &pod.unit]);
            fs::remove_file(preset).unwrap();
        }

        #[test]
        fn verify_is_silent() {
            require_bed("ns");
            let text = format!(
                "description = \"50% of \\\\\"\n{}[limits]\nmemory-max = \"25%\"\ncpu-weight = \"idle\"\n\
         io-weight = 10\nallowed-cpus = \"0\"\nio-max = {{ \"/dev/a%b\" = {{ read-iops = 5 }} }}\n\
         [volume.v]\nkind = \"host\"\nsource = \"/srv/a b%c\\\"d\"\n[unit]\n\
         wants = [\"network-online.target\"]\nconflicts = [\"dev-x\\\\x2dy.device\"]\n\
         stop-timeout = \"infinity\"\n",
                RIGHT
            );
            let right = Pod::new("gen-verify", &text);
            let broken = Pod::new("gen-verify-broken", "x = \"$A %i \\\\ ; 'q'\" y");
            let plain = Pod::new("gen-verify-plain", RIGHT);
            for pod in [&right, &broken, &plain] {
                assert!(
                    Path::new(GENERATED).join(format!("{}.d/10-rocket.conf", pod.unit)).exists()
                );
            }
            let units = [&right.unit, &broken.unit, &plain.unit].map(String::as_str);
            let out = generated();
            let (fine, said) = verify(out.path(), &[&["rocket.slice"], units.as_slice()].concat());
            assert!(fine && said.is_empty(), "{said}");
            // It does look at the drop-ins: what no systemd knows is told.
            let wrong = out.path().join(format!("{}.d/99-wrong.conf", right.unit));
            fs::write(&wrong, "[Service]\nNoneSuch=1\n").unwrap();
            let (_, said) = verify(out.path(), &[&right.unit]);
            assert!(said.contains("NoneSuch"), "{said}");
            // What systemd itself said when it loaded them.
            for unit in units {
                systemctl(&["show", unit]);
                let (_, journal) =
                    run("journalctl", &["-b", "-o", "cat", "-g", &format!("{unit}.*:[0-9]+:")]);
                let complaints: Vec<&str> =
                    journal.lines().filter(|l| l.contains(".conf:")).collect();
                assert!(complaints.is_empty(), "{complaints:?}");
            }
            assert_eq!(right.show("Description"), "50% of \\");
            assert!(right.show("RequiresMountsFor").contains("/srv/a b%c"));
        }

        #[test]
        fn any_description_and_any_path_survive_systemd() {
            require_bed("ns");
            let texts = [
                "100%",
                "%i %% %n",
                "$HOME ${HOME}",
                "a \\",
                "\\x41 \\n",
                "\"quoted\" 'too'",
                "; # no comment",
                "[Service]",
                "ä → ß",
                "a=b",
                "-",
                "two  blanks",
            ];
            fs::create_dir_all(PODS).unwrap();
            let pods: Vec<Pod> = texts
                .iter()
                .enumerate()
                .map(|(i, text)| {
                    let quoted = format!("{:?}", text);
                    let path = format!("{:?}", format!("/srv/{}", text.replace('/', "")));
                    let file = Path::new(PODS).join(format!("gen-text-{i}.toml"));
                    let volume = format!("[volume.v]\nkind = \"host\"\nsource = {path}\n");
                    fs::write(&file, format!("description = {quoted}\n{RIGHT}{volume}")).unwrap();
                    Pod { unit: format!("rocket@gen-text-{i}.service"), file }
                })
                .collect();
            systemctl(&["daemon-reload"]);
            let out = generated();
            for (text, pod) in texts.iter().zip(&pods) {
                assert_eq!(pod.show("LoadError"), "", "{text}");
                assert_eq!(pod.show("Description"), *text);
                let (fine, said) = verify(out.path(), &[&pod.unit]);
                assert!(fine && said.is_empty(), "{text}: {said}");
                // As busctl prints it: escaped the way C does, which keeps every byte apparent.
                let object = format!(
                    "/org/freedesktop/systemd1/unit/{}",
                    pod.unit.replace('@', "_40").replace('-', "_2d").replace('.', "_2e")
                );
                let (_, paths) = run(
                    "busctl",
                    &[
                        "--json=short",
                        "get-property",
                        "org.freedesktop.systemd1",
                        &object,
                        "org.freedesktop.systemd1.Unit",
                        "RequiresMountsFor",
                    ],
                );
                let wanted = format!("/srv/{text}").replace('\\', "\\\\").replace('"', "\\\"");
                assert!(paths.contains(&wanted), "{wanted} in {paths}");
            }
        }

        // Alone, because any other test's daemon-reload would be the one that is asked for.
        #[test]
        fn alone_a_changed_file_asks_for_a_reload() {
            require_bed("ns");
            let pod = Pod::new("gen-stale", "network = \"none\"\nbroken");
            // A unit that has run stays loaded.
            assert!(!run("systemctl", &["start", &pod.unit]).0);
            assert_eq!(pod.show("NeedDaemonReload"), "no");
            let newer = std::time::SystemTime::now() + Duration::from_secs(5);
            fs::File::options().write(true).open(&pod.file).unwrap().set_modified(newer).unwrap();
            assert_eq!(pod.show("NeedDaemonReload"), "yes");
        }

        // Alone, because any other test's daemon-reload would bring the drop-in up to date.
        #[test]
        fn alone_a_stale_or_missing_drop_in_does_not_start() {
            require_bed("ns");
            let said = |pod: &Pod, what: &str| {
                assert!(!run("systemctl", &["start", &pod.unit]).0, "{what}");
                let (_, journal) = run("journalctl", &["-u", &pod.unit, "-o", "cat"]);
                assert!(journal.contains(what), "{what}: {journal}");
                assert!(journal.contains("systemctl daemon-reload"), "{journal}");
                assert_eq!(pod.show("ExecMainStatus"), "125");
                systemctl(&["stop", &pod.unit]);
            };
            let pod = Pod::new("gen-changed", RIGHT);
            fs::write(&pod.file, format!("{RIGHT}[limits]\nmemory-max = \"1M\"\n")).unwrap();
            said(&pod, "its pod file has changed since systemd read it");
            // A drop-in of the pod file is a part of it.
            systemctl(&["daemon-reload"]);
            let drop_ins = pod.file.with_extension("toml.d");
            fs::create_dir(&drop_ins).unwrap();
            fs::write(drop_ins.join("1.toml"), "limits = { tasks-max = 1 }").unwrap();
            said(&pod, "its pod file has changed since systemd read it");

            let new = Pod {
                unit: "rocket@gen-new.service".to_owned(),
                file: Path::new(PODS).join("gen-new.toml"),
            };
            fs::write(&new.file, RIGHT).unwrap();
            said(&new, "no drop-in of rocket-generator");
        }

        #[test]
        fn it_needs_nothing_but_its_directories() {
            require_bed("ns");
            let text = format!("{RIGHT}[limits]\nmemory-max = \"25%\"\n");
            let pod = Pod::new("gen-pure", &text);
            let out = tempfile::tempdir_in("/run").unwrap();
            let dir = out.path().to_str().unwrap();
            let write = format!("ReadWritePaths={dir}");
            // A system call of these groups would kill it.
            let calls = "SystemCallFilter=~@network-io @mount @module @privileged @keyring @debug";
            let (fine, text) = run(
                "systemd-run",
                &[
                    "--wait",
                    "--pipe",
                    "--quiet",
                    "-p",
                    &write,
                    "-p",
                    calls,
                    "-p",
                    "ProtectSystem=strict",
                    "-p",
                    "InaccessiblePaths=/var -/home -/root",
                    "-p",
                    "PrivateNetwork=yes",
                    GENERATOR,
                    dir,
                    dir,
                    dir,
                ],
            );
            assert!(fine, "{text}");
            let name = format!("{}.d/10-rocket.conf", pod.unit);
            let confined = fs::read_to_string(out.path().join(&name)).unwrap();
            assert_eq!(confined, fs::read_to_string(Path::new(GENERATED).join(&name)).unwrap());
        }

        #[test]
        fn alone_a_thousand_pod_files_cost_little() {
            require_bed("ns");
            let median = |mut times: Vec<Duration>| {
                times.sort_unstable();
                times[times.len() / 2]
            };
            let reloads = || {
                median(
                    (0..5)
                        .map(|_| {
                            let began = Instant::now();
                            systemctl(&["daemon-reload"]);
                            began.elapsed()
                        })
                        .collect(),
                )
            };
            let before = reloads();
            let files: Vec<PathBuf> =
                (0..1000).map(|i| Path::new(PODS).join(format!("gen-many-{i}.toml"))).collect();
            fs::create_dir_all(PODS).unwrap();
            for file in &files {
                fs::write(file, RIGHT).unwrap();
            }
            let with = reloads();
            let out = tempfile::tempdir_in("/run").unwrap();
            let alone = median(
                (0..5)
                    .map(|_| {
                        let began = Instant::now();
                        assert!(
                            Command::new(GENERATOR).arg(out.path()).status().unwrap().success()
                        );
                        began.elapsed()
                    })
                    .collect(),
            );
            for file in &files {
                fs::remove_file(file).unwrap();
            }
            systemctl(&["daemon-reload"]);
            eprintln!(
                "daemon-reload: {before:?} without, {with:?} with 1000 pods; generator {alone:?}"
            );
            // A loaded machine is slow; what must not happen is anything that is not linear.
            assert!(alone < Duration::from_secs(20), "{alone:?}");
        }

        #[test]
        fn units_of_users_pods_are_right_and_their_start_says_why_not() {
            require_bed("ns");
            let link =
                fs::canonicalize("/usr/lib/systemd/user-generators/rocket-generator").unwrap();
            assert_eq!(link, fs::canonicalize(GENERATOR).unwrap());
            let dir = tempfile::tempdir().unwrap();
            let (pods, out) = (dir.path().join("rocket/pods"), dir.path().join("out"));
            fs::create_dir_all(&pods).unwrap();
            fs::create_dir(&out).unwrap();
            fs::write(pods.join("mine.toml"), RIGHT).unwrap();
            let status = Command::new("/usr/lib/systemd/user-generators/rocket-generator")
                .env("XDG_CONFIG_HOME", dir.path())
                .env("SYSTEMD_SCOPE", "user")
                .args([&out, &out, &out])
                .status()
                .unwrap();
            assert!(status.success());
            let unit = out.join("rocket@mine.service");
            let runtime = format!("XDG_RUNTIME_DIR={}", dir.path().display());
            let verify =
                ["systemd-analyze", "--user", "--man=no", "verify", unit.to_str().unwrap()];
            let (fine, text) = run("env", &[&[runtime.as_str()], &verify[..]].concat());
            assert!(fine, "{text}");
            // Under the manager that this bed has: a unit is a unit.
            fs::copy(&unit, "/run/systemd/system/users-pod.service").unwrap();
            systemctl(&["daemon-reload"]);
            let (started, _) = run("systemctl", &["start", "users-pod.service"]);
            let (_, status) = run("systemctl", &["status", "users-pod.service"]);
            fs::remove_file("/run/systemd/system/users-pod.service").unwrap();
            run("systemctl", &["reset-failed", "users-pod.service"]);
            systemctl(&["daemon-reload"]);
            assert!(!started && status.contains("pods of users are not supported"), "{status}");
        }
    }
}

/// Where limits are real.
mod uml {
    use super::*;

    #[test]
    fn limits_reach_the_kernel_and_stay_there() {
        require_bed("uml");
        // The drop-in of the generator with another program: this is about limits, not about pods.
        let over = Path::new("/run/systemd/system/rocket@gen-real.service.d/99-test.conf");
        fs::create_dir_all(over.parent().unwrap()).unwrap();
        let sleep = "[Service]\nType=exec\nExecStart=\nExecStart=/bin/sleep 1000\nExecStopPost=\n";
        fs::write(over, sleep).unwrap();
        let limits = "[limits]\nmemory-max = \"64M\"\ncpu-quota = \"50%\"\ntasks-max = 20\n";
        let pod = Pod::new("gen-real", &format!("{RIGHT}{limits}"));
        systemctl(&["start", &pod.unit]);
        let group = format!("/sys/fs/cgroup{}", pod.show("ControlGroup"));
        assert!(group.contains("/rocket.slice/"), "{group}");
        let value =
            |file: &str| fs::read_to_string(format!("{group}/{file}")).unwrap().trim().to_owned();
        assert_eq!(value("memory.max"), (64 << 20).to_string());
        assert_eq!(value("cpu.max"), "50000 100000");
        assert_eq!(value("pids.max"), "20");

        systemctl(&["set-property", "--runtime", &pod.unit, "MemoryMax=32M"]);
        assert_eq!(value("memory.max"), (32 << 20).to_string());
        systemctl(&["daemon-reload"]);
        assert_eq!(value("memory.max"), (32 << 20).to_string());

        // A slip elsewhere in the file of a running pod lifts no limit.
        fs::write(&pod.file, format!("{RIGHT}restrat = \"no\"\n{limits}")).unwrap();
        systemctl(&["daemon-reload"]);
        assert!(pod.show("ExecStart").contains("sleep"), "it runs on");
        assert_eq!(value("pids.max"), "20");
        assert_eq!(value("cpu.max"), "50000 100000");
        fs::remove_file(over).unwrap();
    }
}
