//! Pods on the real kernel, without cgroups: what an app sees and what it does not.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod kit;

use std::os::fd::AsFd;
use std::time::Duration;

use kit::{TestPod, answer, ask, can_run};
use rocket_plan::{Mount, MountSource};
use rocket_sys::pidfd::Exit;

/// Runs one app to its end and returns its output.
fn output(script: &str, change: impl FnOnce(&mut TestPod)) -> String {
    let mut pod = TestPod::new();
    pod.app("main", script);
    change(&mut pod);
    let mut run = pod.start();
    let line = run.line();
    assert_eq!(line, "READY");
    assert_eq!(run.wait(), Exit::Code(0), "{}", run.out("main"));
    run.out("main")
}

#[test]
fn an_app_has_three_descriptors_and_no_signal_mask() {
    if !can_run() {
        return;
    }
    let out = output(
        "ls /proc/self/fd; grep -E '^Sig(Blk|Ign)' /proc/self/status; echo $HOME; env | wc -l; pwd; ulimit -n; umask",
        |p| {
            let app = &mut p.plan.apps[0];
            app.rlimits.push(rocket_plan::Rlimit {
                resource: "nofile".into(),
                soft: Some(100),
                hard: Some(200),
            });
            app.working_directory = "/tmp".to_owned();
        },
    );
    // ls itself opens 3; the shell adds PWD, SHLVL and _.
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(
        lines[..6],
        ["0", "1", "2", "3", "SigBlk:\t0000000000000000", "SigIgn:\t0000000000000000"]
    );
    assert_eq!(lines[6], "/");
    assert_eq!(lines[8..], ["/tmp", "100", "0022"], "{out}");
}

#[test]
fn capabilities_ids_and_no_new_privileges() {
    if !can_run() {
        return;
    }
    let script = "grep -E '^(Cap|NoNew|Uid|Gid|Groups)' /proc/self/status; id -u";
    let out = output(script, |_| {});
    // chown 0, kill 5, setgid 6, setuid 7, net_bind_service 10
    for line in [
        "CapEff:\t00000000000004e1",
        "CapPrm:\t00000000000004e1",
        "CapBnd:\t00000000000004e1",
        "CapInh:\t0000000000000000",
        "CapAmb:\t0000000000000000",
        "NoNewPrivs:\t1",
        "Uid:\t0\t0\t0\t0",
    ] {
        assert!(out.contains(line), "{line} in {out}");
    }
    let out = output(script, |p| {
        let app = &mut p.plan.apps[0];
        (app.uid, app.gid, app.groups) = (1000, 1001, vec![7, 9]);
        let some = vec!["net_bind_service".to_owned()];
        let c = &mut app.capabilities;
        (c.effective, c.permitted, c.inheritable, c.ambient) =
            (some.clone(), some.clone(), some.clone(), some);
    });
    for line in [
        "CapEff:\t0000000000000400",
        "CapPrm:\t0000000000000400",
        "CapAmb:\t0000000000000400",
        "CapInh:\t0000000000000400",
        "Gid:\t1001\t1001\t1001\t1001",
        "Groups:\t7 9",
        "Uid:\t1000\t1000\t1000\t1000",
    ] {
        assert!(out.contains(line), "{line} in {out}");
    }
    let out = output(script, |p| {
        let app = &mut p.plan.apps[0];
        app.uid = 1000;
        app.no_new_privileges = false;
        app.securebits = 0x3; // NOROOT, locked
        app.capabilities = rocket_plan::Capabilities::default();
    });
    for line in ["CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t0"] {
        assert!(out.contains(line), "{line} in {out}");
    }
}

#[test]
fn securebits_keep_root_from_gaining_what_it_was_not_given() {
    if !can_run() {
        return;
    }
    let script = "grep -E '^Cap(Eff|Prm|Bnd)' /proc/self/status";
    // NOROOT and its lock: a program that root executes gets nothing for being root's.
    let out = output(script, |p| p.plan.apps[0].securebits = 0x3);
    for line in
        ["CapEff:\t0000000000000000", "CapPrm:\t0000000000000000", "CapBnd:\t00000000000004e1"]
    {
        assert!(out.contains(line), "{line} in {out}");
    }
}

#[test]
fn seccomp_filters_with_and_without_no_new_privileges() {
    if !can_run() || !cfg!(target_arch = "x86_64") {
        return;
    }
    // mkdir (83) fails with EXDEV (18); everything else is allowed.
    let program = vec![
        (0x20, 0, 0, 0),
        (0x15, 0, 1, 83),
        (0x06, 0, 0, 0x0005_0012),
        (0x06, 0, 0, 0x7fff_0000),
    ];
    for nnp in [true, false] {
        let program = program.clone();
        let out = output("mkdir /tmp/x; grep ^Seccomp: /proc/self/status", move |p| {
            let app = &mut p.plan.apps[0];
            app.no_new_privileges = nnp;
            app.seccomp = Some(rocket_plan::SeccompProgram { arch: "x86_64".into(), program });
        });
        assert!(out.contains("nvalid cross-device link") && out.contains("Seccomp:\t2"), "{out}");
    }
}

#[test]
fn dev_proc_and_sys() {
    if !can_run() {
        return;
    }
    let script = "ls /dev; ls /dev/pts; readlink /dev/ptmx; readlink /dev/fd; echo x > /dev/null && echo null; \
        dd if=/dev/zero bs=1 count=1 2>/dev/null | wc -c; touch /dev/shm/x && echo shm; \
        echo 1 > /proc/sys/kernel/domainname; wc -c < /proc/version; ls /sys/firmware | wc -l; \
        touch /sys/x; hostname; ps | grep -c .; cat /sys/class/net/lo/operstate; ls /sys/class/net; \
        stat -c %a /dev/shm /tmp";
    let out = output(script, |p| {
        p.plan.sysctls.push(("net.ipv4.ip_unprivileged_port_start".into(), "80".into()));
    });
    let words: Vec<&str> = out.lines().collect();
    let dev = [
        "core", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin",
        "stdout", "tty", "urandom", "zero",
    ];
    assert_eq!(words[..15], dev, "{out}");
    for text in [
        "ptmx\npts/ptmx\n/proc/self/fd\nnull\n1\nshm\n",
        "domainname: Read-only file system",
        "\n0\n0\n",
        "/sys/x: Read-only file system",
        "testpod",
        "\nunknown\nlo\n1777\n1777\n",
    ] {
        assert!(out.contains(text), "{text:?} in {out}");
    }
}

#[test]
fn two_apps_share_loopback_ipc_and_shm_but_not_their_roots() {
    if !can_run() {
        return;
    }
    let mut pod = TestPod::new();
    pod.app("server", "touch /only-here; echo shared > /dev/shm/note; nc -l -p 7777 -e /bin/echo hi & echo up; sleep 100");
    pod.app(
        "client",
        "while [ ! -e /dev/shm/note ]; do sleep 0.05; done; cat /dev/shm/note; \
        for i in $(seq 100); do nc 127.0.0.1 7777 </dev/null 2>/dev/null && break; sleep 0.1; done; \
        ls /only-here; readlink /proc/1/ns/ipc /proc/self/ns/ipc; echo done; sleep 100",
    );
    let mut run = pod.start();
    run.ready();
    let out = run.until("client", "done");
    assert!(out.starts_with("shared\nhi\n"), "{out}");
    assert!(out.contains("/only-here: No such file"), "{out}");
    run.say(b"k");
    run.wait();
    assert!(run.dir.path().join("upper/server/upper/only-here").exists());
    assert!(!run.dir.path().join("root/only-here").exists());
}

#[test]
fn volumes_files_read_only_roots_and_climbing_targets() {
    if !can_run() {
        return;
    }
    let script = "cat /vol/in/file /etc/one; touch /vol/in/x; echo w > /rw/w; touch /x; \
        ls -d /deep/er; cat /climb/file; echo end";
    let out = output(script, |p| {
        let vol = p.dir.path().join("vol");
        std::fs::create_dir(&vol).unwrap();
        std::fs::write(vol.join("file"), "inside\n").unwrap();
        // A link in the image that points out of it stays inside.
        std::os::unix::fs::symlink("../../../../deep/er", p.root.join("link")).unwrap();
        let mut mount = |name: &str, path: &std::path::Path, target: &str, read_only| {
            let source = MountSource::Descriptor(p.tree(name, path));
            p.plan.apps[0].mounts.push(Mount {
                source,
                target: target.to_owned(),
                read_only,
                nosuid: true,
                nodev: true,
                noexec: true,
                lent: false,
            });
        };
        mount("v1", &vol, "/vol/in", true);
        mount("v2", &vol.join("file"), "/etc/one", true);
        mount("v3", &vol, "/rw", false);
        mount("v4", &vol, "/deep/er", true);
        mount("v5", &vol, "/../../climb", true);
        p.plan.apps[0].root.read_only = true;
    });
    assert!(out.starts_with("inside\ninside\n"), "{out}");
    assert!(out.contains("/vol/in/x: Read-only") && out.contains("/x: Read-only"), "{out}");
    assert!(out.contains("/deep/er\ninside\nend"), "{out}");
}

#[test]
fn mounts_are_not_seen_outside_and_init_sees_nothing_of_the_host() {
    if !can_run() {
        return;
    }
    let mut pod = TestPod::new();
    pod.app("main", "echo up; sleep 100");
    let mut run = pod.start();
    run.ready();
    run.until("main", "up");
    let own = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!own.contains(run.dir.path().to_str().unwrap()), "{own}");
    let proc = format!("/proc/{}", run.pid());
    let list = |path: &str| {
        let mut names: Vec<_> = std::fs::read_dir(format!("{proc}/{path}"))
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    assert_eq!(list("root"), ["apps"]);
    assert_eq!(list("root/apps"), ["main"]);
    assert!(std::fs::write(format!("{proc}/root/x"), "").is_err());
    let mounts = std::fs::read_to_string(format!("{proc}/mountinfo")).unwrap();
    assert!(
        mounts.lines().all(|l| {
            let point = l.split(' ').nth(4).unwrap();
            point == "/" || point.starts_with("/apps/main")
        }),
        "{mounts}"
    );
    // No directory of the host among its descriptors.
    for fd in list("fd") {
        let path = std::fs::read_link(format!("{proc}/fd/{fd}")).unwrap();
        let meta = std::fs::metadata(format!("{proc}/fd/{fd}"));
        let is_dir = meta.is_ok_and(|m| m.is_dir());
        // The one directory is the pod's own procfs.
        assert!(!is_dir || path == std::path::Path::new("/"), "{fd} {path:?}");
    }
    let status = std::fs::read_to_string(format!("{proc}/status")).unwrap();
    assert!(status.starts_with("Name:\trocket-init\n"));
    assert!(status.contains("Threads:\t1\n"));
    // Nothing that is sent to the front-end's process group or session reaches init.
    let pid = run.pid().to_string();
    let stat = std::fs::read_to_string(format!("{proc}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    assert_eq!((fields[2], fields[3]), (pid.as_str(), pid.as_str()));
    if let Ok(smaps) = std::fs::read_to_string(format!("{proc}/smaps_rollup")) {
        eprintln!("{smaps}");
    }
    run.say(b"k");
    run.wait();
}

#[test]
fn an_app_cannot_reach_into_init() {
    if !can_run() {
        return;
    }
    // The numbers of its descriptors may be listed, nothing behind them reached.
    let script = "for p in root exe cwd maps mem fd/0 fd/3 fd/4 fd/5 fd/6 ns/mnt; do \
        cat /proc/1/$p >/dev/null && echo REACHED $p; readlink /proc/1/$p && echo REACHED $p; done; \
        ls /proc/1/root/ && echo REACHED root; kill -9 1; sleep 0.1; echo alive";
    let out = output(script, |_| {});
    assert!(!out.contains("REACHED") && out.ends_with("alive\n"), "{out}");
}

#[test]
fn the_oom_score_of_an_app_is_its_own() {
    if !can_run() {
        return;
    }
    let out = output("cat /proc/self/oom_score_adj", |p| p.plan.apps[0].oom_score_adj = Some(321));
    assert_eq!(out, "321\n");
    let own = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap();
    let out = output("cat /proc/self/oom_score_adj", |_| {});
    assert!(out == "0\n" || out == own, "{out}");
}

#[test]
fn the_entry_points_enter_and_stop() {
    if !can_run() {
        return;
    }
    let mut pod = TestPod::new();
    pod.app("main", "trap 'exit 0' TERM; echo up; while :; do sleep 0.05; done");
    let mut run = pod.start();
    run.ready();
    run.until("main", "up");
    let init = |words: &[&str]| {
        let out = std::process::Command::new(env!("CARGO_BIN_EXE_rocket-init"))
            .args(words)
            .current_dir(run.dir.path())
            .output()
            .unwrap();
        let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        (out.status.code().unwrap(), text(&out.stdout), text(&out.stderr))
    };
    let script = "echo out; echo err >&2; exit 4";
    assert_eq!(
        init(&["enter", "main", "--", "sh", "-c", script]),
        (4, "out\n".into(), "err\n".into())
    );
    assert_eq!(init(&["enter", "main", "sh", "-c", "kill -9 $$"]).0, 137);
    let (code, _, text) = init(&["enter", "main", "--", "nothing"]);
    assert_eq!(
        (code, text.as_str()),
        (127, "rocket: nothing: no such program in PATH=/bin:/usr/bin\n")
    );
    assert_eq!(init(&["enter", "other", "--", "true"]).0, 125);
    assert_eq!(init(&["enter", "main"]).0, 125);
    assert_eq!(init(&["gc"]).0, 0);
    assert_eq!(init(&["dance"]).0, 125);
    assert_eq!(init(&["stop"]).0, 0);
    assert_eq!(run.wait(), Exit::Code(0));
    let (code, _, text) = init(&["stop"]);
    assert!(code == 125 && text.contains("is the pod running?"), "{text}");
}

#[test]
fn enter_runs_under_the_apps_own_restrictions() {
    if !can_run() {
        return;
    }
    let mut pod = TestPod::new();
    let app = pod.app("main", "touch /marker; echo up; sleep 100");
    app.uid = 0;
    let mut run = pod.start();
    run.ready();
    run.until("main", "up");
    let file = tempfile::NamedTempFile::new().unwrap();
    let null = std::fs::File::open("/dev/null").unwrap();
    let out = file.as_file().as_fd();
    let socket = run.connect();
    let request = r#"{"op":"enter","app":"main","argv":["sh","-c","ls /marker; grep -E '^(CapEff|CapBnd|NoNew)' /proc/self/status; ls /proc/self/fd; echo $X; exit 5"],"env":["PATH=/bin","X=y"],"tty":false}"#;
    let reply = ask(&socket, request, &[null.as_fd(), out, out]);
    assert_eq!(reply["ok"], true, "{reply}");
    assert!(reply["pid"].as_i64().unwrap() > 1);
    assert_eq!(answer(&socket)["exited"]["code"], 5);
    let text = std::fs::read_to_string(file.path()).unwrap();
    assert_eq!(
        text,
        "/marker\nCapEff:\t00000000000004e1\nCapBnd:\t00000000000004e1\nNoNewPrivs:\t1\n0\n1\n2\n3\ny\n"
    );
    // A second one on the same connection, ended by a forwarded signal.
    let request = r#"{"op":"enter","argv":["sleep","100"],"env":null}"#;
    assert_eq!(ask(&socket, request, &[null.as_fd(), out, out])["ok"], true);
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(ask(&socket, r#"{"op":"signal","number":15}"#, &[])["ok"], true);
    assert_eq!(answer(&socket)["exited"]["signal"], 15);
    let request = r#"{"op":"enter","argv":["/bin/none"],"env":null}"#;
    let reply = ask(&socket, request, &[null.as_fd(), out, out]);
    assert_eq!(
        (reply["ok"].as_bool(), reply["code"].as_i64()),
        (Some(false), Some(127)),
        "{reply}"
    );
    // With a terminal.
    let (_master, slave) = rocket_sys::tty::open_pair().unwrap();
    let request = r#"{"op":"enter","argv":["sh","-c","echo x > /dev/tty && exit 3"],"env":["PATH=/bin"],"tty":true}"#;
    let s = slave.as_fd();
    assert_eq!(ask(&socket, request, &[s, s, s])["ok"], true);
    assert_eq!(answer(&socket)["exited"]["code"], 3);
    // A client that goes away hangs its command up.
    let request = r#"{"op":"enter","argv":["sleep","4321"],"env":null}"#;
    let pid = ask(&socket, request, &[null.as_fd(), out, out])["pid"].as_i64().unwrap();
    drop(socket);
    std::thread::sleep(Duration::from_millis(200));
    let proc = format!("/proc/{}/root/apps/main/proc/{pid}", run.pid());
    assert!(!std::path::Path::new(&proc).exists());
    run.say(b"k");
    run.wait();
}

/// Layers of all apps are attached under the same names while the roots are made.
#[test]
fn each_app_has_its_own_layers_in_their_order() {
    if !can_run() {
        return;
    }
    let mut pod = TestPod::new();
    // More than the next app has, and less than the one after.
    for (app, layers) in [("first", 3), ("second", 1), ("third", 4)] {
        pod.app(app, "cat /etc/layer; ls /etc/layers; cat /proc/mounts | wc -l");
        for layer in 1..layers {
            let tree = pod.dir.path().join(format!("{app}-{layer}"));
            std::fs::create_dir_all(tree.join("etc/layers")).unwrap();
            std::fs::write(tree.join("etc/layer"), format!("{app} {layer}\n")).unwrap();
            std::fs::write(tree.join(format!("etc/layers/{layer}")), "").unwrap();
            let name = pod.tree(&format!("{app}-{layer}"), &tree);
            pod.plan.apps.last_mut().unwrap().root.lowers.insert(0, name);
        }
    }
    let mut run = pod.start();
    assert_eq!(run.line(), "READY");
    assert_eq!(run.wait(), Exit::Code(0));
    let seen = |app: &str| {
        let out = run.out(app);
        let (text, mounts) = out.trim_end().rsplit_once('\n').unwrap();
        (text.replace('\n', " "), mounts.to_owned())
    };
    let (first, second, third) = (seen("first"), seen("second"), seen("third"));
    assert_eq!(first.0, "first 2 1 2");
    assert!(second.0.contains("can't open '/etc/layer'"), "{second:?}");
    assert_eq!(third.0, "third 3 1 2 3");
    // Nothing of what the roots were made from is mounted any more.
    assert_eq!((&first.1, &first.1), (&second.1, &third.1));
}
