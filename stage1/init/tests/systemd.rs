//! The hand-over to a real systemd: in a service, and in a scope.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod kit;

mod ns {
    mod systemd {
        use std::os::fd::OwnedFd;
        use std::os::unix::net::UnixDatagram;
        use std::process::Command;
        use std::time::{Duration, Instant};

        use crate::kit::{Running, TestPod};
        use rocket_plan::{Cause, Cgroup, ExitRecord, ExitStatus, descriptor};
        use rocket_sys::pidfd::Exit;

        fn run(words: &[&str]) -> (bool, String) {
            let out = Command::new(words[0]).args(&words[1..]).output().unwrap();
            let mut text = String::from_utf8_lossy(&out.stdout).into_owned();
            text.push_str(&String::from_utf8_lossy(&out.stderr));
            (out.status.success(), text)
        }

        fn property(unit: &str, name: &str) -> String {
            run(&["systemctl", "show", "--value", "-p", name, unit]).1.trim().to_owned()
        }

        fn until(what: &str, mut holds: impl FnMut() -> bool) {
            let end = Instant::now() + Duration::from_secs(10);
            while !holds() {
                assert!(Instant::now() < end, "not in time: {what}");
                std::thread::sleep(Duration::from_millis(10));
            }
        }

        const LOOP: &str = "echo up; grep ^0:: /proc/self/cgroup; ls /sys/fs/cgroup | grep -c cgroup.procs; \
            touch /sys/fs/cgroup/x; mkdir /sys/fs/cgroup/y; while :; do sleep 0.05; done";

        fn pod(cgroup: Cgroup) -> TestPod {
            let mut pod = TestPod::new();
            pod.app("a", &format!("trap 'exit 0' TERM; {LOOP}"));
            pod.app("b", &format!("trap 'exit 0' TERM; (setsid sleep 777 &); {LOOP}"));
            pod.leaves(cgroup);
            pod.plan.exit_status = ExitStatus::Unit;
            pod
        }

        /// Not a test: what the unit of `service` runs.
        #[test]
        #[ignore = "runs inside a unit that another test makes"]
        fn stand_in() {
            let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
            let notify = UnixDatagram::unbound().unwrap();
            notify.connect(path).unwrap();
            let mut pod = pod(Cgroup::Unit);
            let link = std::path::Path::new("/run/rocket-test-pod");
            let _ = std::fs::remove_file(link);
            std::os::unix::fs::symlink(pod.dir.path(), link).unwrap();
            if let Some(argv) = std::env::var_os("STAND_IN_ARGV") {
                pod.plan.apps[1].argv = vec![argv.into_string().unwrap()];
            }
            let pid = std::fs::File::create(pod.dir.path().join("pid")).unwrap();
            pod.descriptor(descriptor::PID_FILE, pid.into());
            pod.descriptor(descriptor::NOTIFY, OwnedFd::from(notify));
            panic!("{}", pod.exec());
        }

        fn service(name: &str, more: &str) {
            let test = std::env::current_exe().unwrap();
            let unit = format!(
                "[Service]\nType=notify\nNotifyAccess=main\nDelegate=yes\nKillMode=mixed\n\
                 OOMPolicy=continue\nTimeoutStopSec=20\n{more}\n\
                 ExecStart={} --exact ns::systemd::stand_in --ignored --nocapture\n",
                test.display()
            );
            std::fs::write(format!("/run/systemd/system/{name}"), unit).unwrap();
            assert!(run(&["systemctl", "daemon-reload"]).0);
        }

        fn require_bed() {
            let bed = std::env::var("ROCKET_BED").unwrap_or_default();
            assert!(bed == "ns" || bed == "uml", "needs a bed: see tests/README.md");
        }

        #[test]
        fn alone_forty_starts_and_stops_and_none_fails() {
            require_bed();
            let unit = "rocket-test-loop.service";
            service(unit, "");
            let mut times = Vec::new();
            for round in 0..40 {
                let begun = Instant::now();
                let (ok, text) = run(&["systemctl", "start", unit]);
                times.push(begun.elapsed());
                let log = || run(&["journalctl", "-n", "40", "--no-pager", "-u", unit]).1;
                assert!(ok, "start {round}: {text}\n{}", log());
                assert!(run(&["systemctl", "stop", unit]).0);
                assert_eq!(property(unit, "ActiveState"), "inactive", "{round}:\n{}", log());
                assert_eq!(property(unit, "Result"), "success", "{round}");
            }
            times.sort();
            eprintln!("start: median {:?}, slowest {:?}", times[20], times[39]);
            let log = run(&["journalctl", "--no-pager", "-u", unit]).1;
            assert!(!log.contains("not our child") && !log.contains("SIGKILL"), "{log}");
        }

        #[test]
        fn alone_a_service_shows_leaves_and_restarts_after_the_death_of_init() {
            require_bed();
            let unit = "rocket-test-one.service";
            service(unit, "Restart=on-failure\nRestartSec=100ms");
            let (ok, text) = run(&["systemctl", "start", unit]);
            assert!(ok, "{text}");
            let pid = property(unit, "MainPID");
            let written = std::fs::read_to_string("/run/rocket-test-pod/pid").unwrap();
            assert_eq!(written.trim(), pid);
            assert_eq!(property(unit, "StatusText"), "2/2 apps ready");
            let group = format!("/sys/fs/cgroup{}", property(unit, "ControlGroup"));
            for (leaf, least) in [("init", 1), ("app-a", 1), ("app-b", 2)] {
                let procs =
                    std::fs::read_to_string(format!("{group}/{leaf}/cgroup.procs")).unwrap();
                assert!(procs.lines().count() >= least, "{leaf}: {procs}");
            }
            assert_eq!(
                std::fs::read_to_string(format!("{group}/init/cgroup.procs")).unwrap().trim(),
                pid
            );
            let out = std::fs::read_to_string("/run/rocket-test-pod/out.a").unwrap();
            assert!(out.starts_with("up\n0::/\n1\n"), "{out}");
            assert!(
                out.contains("/sys/fs/cgroup/x: Read-only") && out.contains("/y': Read-only"),
                "{out}"
            );
            let smaps =
                std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
            eprintln!("{smaps}");
            run(&["kill", "-9", &pid]);
            until("the restart", || {
                property(unit, "NRestarts") == "1" && property(unit, "ActiveState") == "active"
            });
            assert_ne!(property(unit, "MainPID"), pid);
            // An app that fails ends the unit with its code, and systemd sees a failure.
            assert!(run(&["systemctl", "stop", unit]).0);
            assert_eq!(property(unit, "ActiveState"), "inactive");
            assert!(run(&["pgrep", "-f", "sleep 777"]).1.trim().is_empty());
        }

        #[test]
        fn alone_an_exec_failure_fails_the_start_with_its_code() {
            require_bed();
            let unit = "rocket-test-exec.service";
            service(unit, "Environment=STAND_IN_ARGV=/bin/absent");
            assert!(!run(&["systemctl", "start", unit]).0);
            assert_eq!(property(unit, "ExecMainStatus"), "127");
            assert!(property(unit, "StatusText").contains("/bin/absent: no such file"));
            let log = run(&["journalctl", "--no-pager", "-u", unit]).1;
            assert!(log.contains("rocket: /bin/absent: no such file"), "{log}");
        }

        fn scope(run_: &Running, name: &str) {
            let pid = run_.pid().to_string();
            let words = [
                "busctl",
                "call",
                "org.freedesktop.systemd1",
                "/org/freedesktop/systemd1",
                "org.freedesktop.systemd1.Manager",
                "StartTransientUnit",
                "ssa(sv)a(sa(sv))",
                name,
                "fail",
                "4",
                "PIDs",
                "au",
                "1",
                &pid,
                "Delegate",
                "b",
                "true",
                "KillMode",
                "s",
                "control-group",
                "KillSignal",
                "i",
                "23",
                "0",
            ];
            let (ok, text) = run(&words);
            assert!(ok, "{text}");
            until("init is in the scope", || {
                std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap().contains(name)
            });
        }

        #[test]
        fn alone_a_scope_is_taken_over_and_its_stop_is_in_order() {
            require_bed();
            for _ in 0..5 {
                let name = "rocket-test.scope";
                let mut run_ = pod(Cgroup::Scope).start();
                scope(&run_, name);
                run_.say(b"g");
                run_.ready();
                let out = run_.until("b", "y': Read-only");
                assert!(out.starts_with("up\n0::/\n1\n"), "{out}");
                let (_, tree) = run(&["systemctl", "status", "--no-pager", name]);
                assert!(
                    tree.contains("app-a") && tree.contains("app-b") && tree.contains("init"),
                    "{tree}"
                );
                assert!(run(&["systemctl", "stop", name]).0);
                assert_eq!(run_.wait(), Exit::Code(0));
                assert!(
                    run_.records().iter().all(|r| match r {
                        ExitRecord::App(a) => a.cause == Cause::StopAsked && a.code == Some(0),
                        ExitRecord::Pod(p) => p.cause == Cause::StopAsked,
                    }),
                    "{:?}",
                    run_.records()
                );
                until("the scope is gone", || property(name, "LoadState") == "not-found");
            }
        }

        #[test]
        fn alone_a_front_end_that_dies_before_the_scope_is_given_ends_init() {
            require_bed();
            let run_ = pod(Cgroup::Scope).start();
            run_.tether.get_ref().shutdown(std::net::Shutdown::Both).unwrap();
            assert_eq!(run_.wait(), Exit::Code(125));
        }
    }
}
