//! What an app gets of devices, limits and settings by the pod file, and what it must not reach:
//! init, its program, and what init holds.

use rocket_testkit::unit::Pod;
use rocket_testkit::{Command, Done, image, require_bed, rocket, wait_until};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const IMAGE: &str = "example.com/confined:1.0";

fn pod(dir: &Path, top: &str, keys: &str, script: &str) -> Done {
    // A pod has the name of its file, and tests run side by side.
    let file = dir.join(format!("confined-{}.toml", std::process::id()));
    let text = format!(
        "version = 1\nnetwork = \"none\"\n[app.main]\nimage = {IMAGE:?}\n\
         exec = [\"/bin/sh\", \"-c\", '''{script}''']\n{keys}\n{top}\n"
    );
    std::fs::write(&file, text).unwrap();
    let args = [Path::new("run"), Path::new("-f"), &file];
    Command::new("/usr/bin/rocket").args(args).seconds(60).run()
}

#[test]
fn limits_scores_and_settings_are_what_the_pod_file_says() {
    require_bed("ns");
    let dir = tempfile::tempdir().unwrap();
    image::add_busybox(IMAGE, &["/bin/sh"]);
    let keys = "[app.main.security]\noom-score-adj = 42\n\
                rlimits = { nofile = \"100:200\", core = 0, stack = \"1M\" }";
    let top = "[sysctls]\n\"kernel.shmmni\" = 77\n\"net.core.somaxconn\" = 99\n\
               \"fs.mqueue.msg_max\" = 5";
    let script = "cat /proc/self/oom_score_adj; ulimit -Sn; ulimit -Hn; ulimit -c; ulimit -s
        cat /proc/sys/kernel/shmmni /proc/sys/net/core/somaxconn /proc/sys/fs/mqueue/msg_max";
    let done = pod(dir.path(), top, keys, script).ok();
    assert_eq!(done.stdout, "42\n100\n200\n0\n1024\n77\n99\n5\n", "{done}");
    let host = std::fs::read_to_string("/proc/sys/kernel/shmmni").unwrap();
    assert_ne!(host.trim(), "77", "it was set on the host");
}

#[test]
fn settings_that_cannot_be_are_refused_and_why_is_said() {
    require_bed("ns");
    let dir = tempfile::tempdir().unwrap();
    image::add_busybox(IMAGE, &["/bin/sh"]);
    let settings = |name: &str, value: &str| {
        pod(dir.path(), &format!("[sysctls]\n{name:?} = {value:?}"), "", "echo started")
            .ends_with(125)
            .says(&[&format!("cannot set sysctl {name}={value}: ")])
    };
    // Newer kernels show it to each network, to be read; older ones to the host's only.
    settings("net.core.rmem_max", "400000").says(&["the whole host's"]);
    settings("net.ipv4.no_such_setting", "1").says(&["not spelt so"]);
    settings("net.ipv4.ip_forward", "many").says(&["does not take that value"]);
    let most = std::fs::read_to_string("/proc/sys/fs/nr_open").unwrap();
    let most: u64 = most.trim().parse().unwrap();
    let keys = format!("security = {{ rlimits = {{ nofile = {} }} }}", most + 1);
    let says = ["app \"main\"", "rlimits.nofile", "fs.nr_open", &most.to_string()];
    pod(dir.path(), "", &keys, "echo started").ends_with(125).says(&says);
}

#[test]
fn a_granted_device_opens_and_no_other() {
    require_bed("ns");
    let dir = tempfile::tempdir().unwrap();
    image::add_busybox(IMAGE, &["/bin/sh"]);
    // The loop control device stands for any that is not among the usual ones.
    let node = ["/dev/fuse", "/dev/loop-control", "/dev/kmsg", "/dev/net/tun"]
        .into_iter()
        .find(|path| std::fs::metadata(path).is_ok_and(|meta| meta.file_type().is_char_device()));
    let Some(node) = node else { panic!("this bed has no device to grant") };
    let script = format!(
        "for d in null zero full random urandom tty; do test -c /dev/$d || echo no $d; done
        : > /dev/null && head -c 3 /dev/urandom | wc -c; test -c {node} && echo there"
    );
    let done = pod(dir.path(), "", "", &script);
    assert_eq!(done.stdout, "3\n", "{done}");
    let keys = format!("security = {{ devices = [{node:?}] }}");
    let done = pod(dir.path(), "", &keys, &script).ok();
    assert_eq!(done.stdout, "3\nthere\n", "{done}");
    // It is on record as a weakening.
    let pods = rocket(["list", "--format=json"]).ok();
    assert!(pods.stdout.contains("app.main.security.devices"), "{pods}");
    for (keys, words) in [
        ("security = { devices = [\"/dev/no-such-thing\"] }", &["/dev/no-such-thing"][..]),
        ("security = { devices = [\"/dev/shm\"] }", &["/dev/shm is not a device node"]),
        ("security = { devices = [\"/dev/fd\"] }", &["/dev/fd is not a device node", "link"]),
        ("security = { apparmor = \"web\" }", &["security.apparmor", "AppArmor"]),
        ("security = { selinux = \"a:b:c:s0\" }", &["security.selinux", "SELinux"]),
    ] {
        pod(dir.path(), "", keys, "true").ends_with(125).says(words);
    }
}

#[test]
fn the_hosts_device_nodes_stay_as_they_are_also_without_a_user_namespace() {
    require_bed("ns");
    let dir = tempfile::tempdir().unwrap();
    image::add_busybox(IMAGE, &["/bin/sh"]);
    // What they are already: whoever may change them changes nothing here.
    let script = "for f in /dev/null /dev/zero /dev/tty /proc/kallsyms; do
          chmod 666 $f 2>/tmp/e && echo chmod $f; grep -q Read-only /tmp/e || cat /tmp/e
          chown 0:0 $f 2>/tmp/e && echo chown $f; touch -c $f 2>/tmp/e && echo touch $f
        done
        echo x > /dev/null && echo x >> /dev/zero && head -c 3 /dev/zero | wc -c";
    let done = pod(dir.path(), "[security]\nuser-namespace = false", "", script).ok();
    assert_eq!(done.stdout, "3\n", "{done}");
}

#[test]
fn a_limit_without_a_device_is_named_at_a_start_by_best_effort() {
    require_bed("ns");
    let dir = tempfile::tempdir().unwrap();
    image::add_busybox(IMAGE, &["/bin/true"]);
    let file = dir.path().join("no-device.toml");
    let max = "io-max = { \"/proc\" = { write-iops = 5 } }";
    let text = format!(
        "network = \"none\"\nlimits = {{ {max} }}\n[app.main]\nimage = {IMAGE:?}\n\
         exec = [\"/bin/true\"]\nlimits = {{ {max} }}\n"
    );
    std::fs::write(&file, text).unwrap();
    let done = rocket(["run", "--rm", "--best-effort", "-f", file.to_str().unwrap()]).ok();
    for whose in ["the pod", "app main"] {
        let line = format!("limits.io-max.\"/proc\" of {whose} is not enforced: ");
        assert!(done.stderr.contains(&line), "{done}");
    }
}

#[test]
fn init_holds_nothing_of_the_host_and_cannot_be_looked_into() {
    require_bed("ns");
    image::add_busybox(IMAGE, &["/bin/sh"]);
    // As root with all that an app may have.
    let script = "for what in fd/0 root/etc exe environ mem maps cwd; do
          ls /proc/1/$what/ > /dev/null 2>&1 && echo reached $what
          head -c 1 /proc/1/$what > /dev/null 2>&1 && echo read $what
        done
        for exe in /proc/[0-9]*/exe; do
          case $(readlink $exe) in *busybox) ;; '') ;; *) echo sees $exe;; esac
        done
        for link in /proc/1/fd/* /proc/1/ns/* /proc/1/root /proc/1/cwd /proc/1/exe; do
          readlink $link && echo follows $link
        done
        kill -9 1; kill -STOP 1
        echo looked; sleep 1000";
    let pod = Pod::new(
        "held",
        &format!(
            "version = 1\nnetwork = \"none\"\n[app.main]\nimage = {IMAGE:?}\n\
             exec = [\"/bin/sh\", \"-c\", '''{script}''']\n"
        ),
    );
    pod.start();
    pod.wait_for_line("looked");
    let said = pod.journal();
    for bad in ["reached", "read ", "sees", "follows"] {
        let lines: Vec<_> = said
            .iter()
            .filter_map(|l| l["MESSAGE"].as_str())
            .filter(|l| l.starts_with(bad))
            .collect();
        assert!(lines.is_empty(), "{lines:?}");
    }
    let init = PathBuf::from("/proc").join(pod.init().to_string());
    // Its only directories are of the pod's own procfs and cgroups.
    for entry in std::fs::read_dir(init.join("fd")).unwrap().flatten() {
        let link = std::fs::read_link(entry.path()).unwrap();
        if entry.path().is_dir() {
            let kind = rustix::fs::statfs(entry.path()).unwrap().f_type;
            assert!([0x6367_7270, 0x9FA0].contains(&kind), "init holds {}", link.display());
        }
    }
    // Its root is an empty place of its own, and its mounts are the pod's.
    let mounts = std::fs::read_to_string(init.join("mountinfo")).unwrap();
    for line in mounts.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let point = fields[4];
        assert!(point == "/" || point.starts_with("/apps"), "{line}");
    }
    // What can be traced is its user's; what cannot is the host's root's.
    let owner =
        std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(init.join("environ")).unwrap());
    assert_eq!(owner, 0, "init is dumpable");
    // Its program is in a read-only mount: whoever came by the link could not write there.
    let written = std::fs::OpenOptions::new()
        .write(true)
        .truncate(true)
        .custom_flags(0)
        .open(init.join("exe"));
    assert_eq!(written.unwrap_err().raw_os_error(), Some(30), "EROFS");
    pod.systemctl("stop").ok();
}

#[test]
fn an_entered_command_has_the_apps_own_restrictions() {
    require_bed("ns");
    image::add_busybox(IMAGE, &["/bin/sh"]);
    let pod = Pod::new(
        "entering",
        &format!(
            "version = 1\nnetwork = \"none\"\n[app.main]\nimage = {IMAGE:?}\nuser = 1000\n\
             group = 1000\nexec = [\"/bin/sleep\", \"1000\"]\n[app.main.security]\n\
             capabilities = [\"net-raw\"]\nrlimits = {{ nofile = 123 }}\noom-score-adj = 7\n"
        ),
    );
    pod.start();
    let status = "grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp)' /proc/PID/status; \
                  cat /proc/PID/cgroup /proc/PID/oom_score_adj; grep 'open files' /proc/PID/limits; \
                  for ns in cgroup ipc mnt net pid user uts; do readlink /proc/PID/ns/$ns; done";
    let enter = |script: &str| {
        let done = rocket(["enter", "entering", "--", "/bin/sh", "-c", script]).ok();
        done.stdout.clone()
    };
    wait_until("the app sleeps", 20, || enter("ps").contains("sleep 1000"));
    let main = enter("ps").lines().find(|l| l.contains("sleep 1000")).unwrap().trim().to_owned();
    let main = main.split(' ').next().unwrap().to_owned();
    let of_app = enter(&status.replace("PID", &main));
    assert_eq!(enter(&status.replace("PID", "self")), of_app);
    assert!(
        of_app.contains("Seccomp:\t2") && of_app.contains("CapEff:\t0000000000002000"),
        "{of_app}"
    );
    // Three streams, and what ls opens itself; where it starts is inside.
    let seen = enter("ls /proc/self/fd | wc -l; pwd; ls -d /proc/self/cwd/bin");
    assert_eq!(seen, "4\n/\n/proc/self/cwd/bin\n");
    pod.systemctl("stop").ok();
}
