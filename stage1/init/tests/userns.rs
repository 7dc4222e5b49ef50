//! Pods with a user namespace of their own, without cgroups: who owns what, inside and outside.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod kit;

use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use kit::{TestPod, answer, ask, can_run};
use rocket_plan::Rlimit;
use rocket_sys::pidfd::Exit;

const BASE: u32 = 700_000_000;

/// Runs one app in a user namespace to its end and returns its output.
fn output(script: &str, change: impl FnOnce(&mut TestPod)) -> String {
    let mut pod = TestPod::new();
    pod.app("main", script);
    change(&mut pod);
    pod.user_namespace(BASE);
    let mut run = pod.start();
    assert_eq!(run.line(), "READY");
    assert_eq!(run.wait(), Exit::Code(0), "{}", run.out("main"));
    run.out("main")
}

#[test]
fn root_inside_is_nobody_outside() {
    if !can_run() {
        return;
    }
    let script = "cat /proc/self/uid_map /proc/self/gid_map; cat /proc/self/setgroups; id -u; id -g
        stat -c %u:%g / /bin /bin/sh /dev /dev/pts /dev/shm /tmp /made; cat /proc/1/environ
        cat /proc/self/oom_score_adj";
    let out = output(script, |p| {
        let mut mount = p.plan.apps[0].mounts[3].clone();
        mount.target = "/made".to_owned();
        p.plan.apps[0].mounts.push(mount);
        p.plan.apps[0].oom_score_adj = Some(100);
    });
    let words: Vec<&str> = out.split_whitespace().collect();
    assert_eq!(words[..3], ["0", "700000000", "65536"], "{out}");
    assert_eq!(words[3..6], ["0", "700000000", "65536"], "{out}");
    assert_eq!(words[6..9], ["allow", "0", "0"], "{out}");
    assert_eq!(words[9..17], ["0:0"; 8], "{out}");
    assert!(out.contains("can't open '/proc/1/environ': Permission denied"), "{out}");
    assert!(out.ends_with("100\n"), "{out}");
}

#[test]
fn what_init_mounted_stays_in_its_place() {
    if !can_run() {
        return;
    }
    let script = "mount -o remount,rw,bind /proc/sys 2>&1; echo x >/proc/sys/kernel/hostname
        umount /proc/sys 2>&1; umount /proc/version 2>&1; echo x >/proc/sys/vm/drop_caches; true";
    let out = output(script, |p| {
        std::os::unix::fs::symlink("busybox", p.root.join("bin/umount")).unwrap();
        let app = &mut p.plan.apps[0];
        let all = vec!["sys_admin".to_owned()];
        let c = &mut app.capabilities;
        (c.bounding, c.effective, c.permitted) = (all.clone(), all.clone(), all);
    });
    // With CAP_SYS_ADMIN in its own user and mount namespace.
    assert!(out.contains("umount: can't unmount /proc/sys: Invalid argument"), "{out}");
    assert!(out.contains("umount: can't unmount /proc/version: Invalid argument"), "{out}");
    assert_eq!(out.matches("Read-only file system").count(), 2, "{out}");
}

#[test]
fn ids_groups_limits_and_low_ports() {
    if !can_run() {
        return;
    }
    let script = "grep -E '^(Uid|Gid|Groups|CapEff)' /proc/self/status; ulimit -Hn
        nc -l -p 80 -e true & sleep 0.2; nc 127.0.0.1 80 </dev/null && echo port";
    let out = output(script, |p| {
        let hard = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
        let app = &mut p.plan.apps[0];
        (app.uid, app.gid, app.groups) = (1000, 1001, vec![7, 9]);
        let some = vec!["net_bind_service".to_owned()];
        let c = &mut app.capabilities;
        (c.inheritable, c.ambient) = (some.clone(), some);
        app.rlimits.push(Rlimit { resource: "nofile".into(), soft: Some(100), hard });
    });
    for line in ["Uid:\t1000\t1000", "Gid:\t1001\t1001", "Groups:\t7 9", "0400\n", "port\n"] {
        assert!(out.contains(line), "{line:?} in {out}");
    }
}

#[test]
fn a_command_can_be_entered_and_owns_what_its_app_owns() {
    if !can_run() {
        return;
    }
    let mut pod = TestPod::new();
    pod.app("main", "echo up; sleep 100");
    pod.user_namespace(BASE);
    let mut run = pod.start();
    run.ready();
    run.until("main", "up");
    let (read, write) = rocket_sys::fds::pipe().unwrap();
    let socket = run.connect();
    let request = r#"{"op":"enter","app":null,"argv":["/bin/sh","-c","id -u; touch /f; stat -c %u /f; kill -0 1 && echo can"],"env":null,"tty":false}"#;
    let null = std::fs::File::open("/dev/null").unwrap();
    let reply = ask(&socket, request, &[null.as_fd(), write.as_fd(), write.as_fd()]);
    assert_eq!(reply["ok"], true, "{reply}");
    assert_eq!(answer(&socket)["exited"]["code"], 0);
    drop(write);
    let out = std::io::read_to_string(std::fs::File::from(read)).unwrap();
    assert_eq!(out, "0\n0\ncan\n");
    // Outside, the file in the upper directory is the pod's.
    let made = std::fs::metadata(run.dir.path().join("upper/main/upper/f")).unwrap();
    assert_eq!((made.uid(), made.gid()), (BASE, BASE));
    run.say(b"s");
    assert_eq!(run.wait(), Exit::Code(143));
}
