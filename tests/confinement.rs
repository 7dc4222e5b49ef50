//! What an app cannot reach, tried as runc's known faults were: see `tests/cves.md`.
#![allow(clippy::unwrap_used)]

mod ns {
    use rocket_testkit::{image, require_bed, rocket};
    use std::os::unix::fs::symlink;

    /// Runs `script` in a pod of busybox made from `root`.
    fn run(name: &str, root: &std::path::Path, script: &str) -> String {
        let name = format!("example.com/confined-{name}:1");
        image::add(root, &name, &["/bin/sh", "-c", script]);
        rocket(["run", "--rm", "--cgroup=scope", &name]).ok().stdout
    }

    #[test]
    fn an_app_sees_its_leaf_as_the_root_and_cannot_write_cgroups() {
        require_bed("ns");
        let root = tempfile::tempdir().unwrap();
        image::busybox_root(root.path());
        let script = "grep ^0: /proc/self/cgroup; cd /sys/fs/cgroup; cat cgroup.procs | head -n 1
            mkdir x 2>&1; echo 1 2>&1 >cgroup.procs; find / -xdev -name release_agent";
        let out = run("cgroup", root.path(), script);
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!(lines[0], "0::/", "{out}");
        assert!(lines[1].parse::<u32>().is_ok(), "{out}");
        assert_eq!(out.matches("Read-only file system").count(), 2, "{out}");
        assert_eq!(lines.len(), 4, "{out}");
    }

    #[test]
    fn links_at_proc_and_sys_stay_inside_and_masks_hold() {
        require_bed("ns");
        let root = tempfile::tempdir().unwrap();
        image::busybox_root(root.path());
        for (name, target) in [("proc", "../../../climb/proc"), ("sys", "/climb/sys")] {
            std::fs::remove_dir(root.path().join(name)).unwrap();
            std::fs::create_dir_all(root.path().join("climb").join(name)).unwrap();
            symlink(target, root.path().join(name)).unwrap();
        }
        let script = "grep -c . /climb/proc/self/mountinfo >/dev/null && echo proc
            cd /climb/proc; for f in kcore keys kallsyms; do
                [ ! -e $f ] || { [ -c $f ] && echo masked || echo bare; }
            done
            echo x 2>&1 >/climb/proc/sys/kernel/domainname; ls /climb/sys/firmware | wc -l";
        let out = run("links", root.path(), script);
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!(lines[0], "proc", "{out}");
        let masks = &lines[1..lines.len() - 2];
        assert!(!masks.is_empty() && masks.iter().all(|m| *m == "masked"), "{out}");
        assert!(lines[lines.len() - 2].contains("Read-only file system"), "{out}");
        assert_eq!(lines[lines.len() - 1], "0", "{out}");
        assert!(!std::path::Path::new("/climb").exists());
    }

    #[test]
    fn a_device_node_that_an_app_makes_does_not_open() {
        require_bed("ns");
        let root = tempfile::tempdir().unwrap();
        image::busybox_root(root.path());
        let script = "for d in /dev /dev/shm /tmp /run; do
                mkdir -p $d && mknod $d/n c 1 3 2>&1 && { echo x 2>&1 >$d/n && echo $d opens; }
            done; echo x >/dev/null && echo null";
        let out = run("nodes", root.path(), script);
        assert!(!out.contains("opens"), "{out}");
        // The user namespace refuses to make it, and without one it does not open.
        let refused = ["Operation not permitted", "Permission denied"];
        let refused: usize = refused.iter().map(|why| out.matches(why).count()).sum();
        assert_eq!(refused, 4, "{out}");
        assert!(out.ends_with("null\n"), "{out}");
    }
}
