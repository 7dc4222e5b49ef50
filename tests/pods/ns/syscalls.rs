//! Which system calls an app can make: rocket's list at work under real programs, and what the pod
//! file and an image's isolators change of it.

use rocket_testkit::{Command, Done, image, require_bed, rocket, run, target_dir};
use serde_json::{Value, json};
use std::path::Path;

const DEBIAN: &str = "example.com/debian:1.0";

/// A pod of one app: the pod file's keys of the app, and its script.
fn pod(dir: &Path, image: &str, keys: &str, exec: &[&str]) -> Done {
    // A pod has the name of its file, and tests run side by side.
    let file = dir.join(format!("calls-{}.toml", std::process::id()));
    let text = format!(
        "version = 1\nnetwork = \"none\"\n[app.main]\nimage = {image:?}\nexec = {exec:?}\n{keys}\n"
    );
    std::fs::write(&file, text).unwrap();
    Command::new("/usr/bin/rocket")
        .args([Path::new("run"), Path::new("-f"), &file])
        .seconds(60)
        .run()
}

/// Prints what each call gives: `name=0` or the error's number.
const PROBE: &str = r#"
sub probe { my ($name, @call) = @_; $! = 0; my $r = syscall($call[0], @call[1..$#call]); print "$name=", ($r == -1 ? $!+0 : 0), "\n"; }
probe("mount", 165, 0, 0, 0, 0, 0);
probe("setns", 308, 0, 0);
probe("unshare-user", 272, 0x10000000);
probe("unshare-files", 272, 0x400);
probe("clone-user", 56, 0x10000011, 0, 0, 0, 0);
probe("clone3", 435, 0, 0);
probe("ptrace", 101, 0, 0, 0, 0);
probe("bpf", 321, 0, 0, 0);
probe("keyctl", 250, 0, 0, 0);
probe("userfaultfd", 323, 0);
probe("io-uring", 425, 1, 0);
probe("kexec", 246, 0, 0, 0, 0);
probe("handle", 304, 0, 0, 0);
probe("perf", 298, 0, 0, 0, 0, 0);
probe("new", 499);
probe("x32", 0x40000000 + 39);
probe("alg", 41, 38, 5, 0);
probe("vsock", 41, 40, 1, 0);
probe("unix", 41, 1, 1, 0);
probe("personality", 135, 0x40000);
probe("tiocsti", 16, 0, 0x5412, 0);
probe("tiocsti-upper", 16, 0, 0x100005412, 0);
open(S, "/proc/self/status"); print grep(/^(Seccomp|NoNewPrivs)/, <S>);
"#;

const CLOSED: &str = "\
mount=1
setns=1
unshare-user=1
unshare-files=0
clone-user=1
clone3=38
ptrace=1
bpf=1
keyctl=1
userfaultfd=1
io-uring=1
kexec=1
handle=1
perf=1
new=38
x32=38
alg=97
vsock=97
unix=0
personality=1
tiocsti=1
tiocsti-upper=1
";

#[test]
fn root_and_others_get_the_list_whatever_their_privileges() {
    require_bed("ns");
    let dir = tempfile::tempdir().unwrap();
    image::add(&target_dir().join("roots/debian"), DEBIAN, &["/bin/bash"]);
    for (keys, privileges) in [
        ("", "1"),
        ("user = \"nobody\"", "1"),
        ("security = { no-new-privileges = false }", "0"),
        ("user = 1000\ngroup = 1000\nsecurity = { no-new-privileges = false }", "0"),
        ("user = 1000\nsecurity = { capabilities = [\"net-raw\"] }", "1"),
        ("security = { capabilities = [] }", "1"),
    ] {
        let done = pod(dir.path(), DEBIAN, keys, &["/usr/bin/perl", "-e", PROBE]).ok();
        let status = format!("NoNewPrivs:\t{privileges}\nSeccomp:\t2\nSeccomp_filters:\t1\n");
        assert_eq!(done.stdout, format!("{CLOSED}{status}"), "{keys}\n{done}");
    }
    // Entered commands too.
    let done = run(
        "/usr/bin/rocket",
        ["run", "--name", "entered", "--detach", DEBIAN, "--", "-c", "sleep 1000"],
    );
    done.ok();
    let done = rocket(["enter", "entered", "--", "/usr/bin/perl", "-e", PROBE]).ok();
    let status = "NoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t1\n";
    assert_eq!(done.stdout, format!("{CLOSED}{status}"), "{done}");
    rocket(["stop", "entered"]).ok();
}

#[test]
fn real_programs_do_their_work_under_the_list() {
    require_bed("ns");
    let dir = tempfile::tempdir().unwrap();
    image::add(&target_dir().join("roots/debian"), DEBIAN, &["/bin/bash"]);
    let script = "set -e
        apt-get --version | head -1
        mkdir -p /tmp/p/DEBIAN /tmp/p/opt; echo hello > /tmp/p/opt/rocket-probe
        printf 'Package: probe\\nVersion: 1\\nArchitecture: all\\nMaintainer: x <x@y>\\nDescription: x\\n' > /tmp/p/DEBIAN/control
        dpkg-deb --build --root-owner-group /tmp/p /tmp/probe.deb
        dpkg -i /tmp/probe.deb
        cat /opt/rocket-probe
        apt-get remove -y probe
        test ! -e /opt/rocket-probe
        useradd -m somebody
        setpriv --reuid=somebody --regid=somebody --init-groups id -un
        tar -C /etc -cf - passwd | gzip | gzip -d | tar -xOf - | head -1
        chroot / /bin/true
        mknod /tmp/fifo p; mkfifo /tmp/fifo2
        perl -MSocket -e 'socket(S, AF_INET, SOCK_STREAM, 0) or die; bind(S, sockaddr_in(0, INADDR_LOOPBACK)) or die; print \"bound\\n\"'
        perl -e 'my @k = map { my $p = fork; $p or exit 7; $p } 1..20; $n = 0; for (@k) { waitpid $_, 0; $n++ if $? >> 8 == 7 } print \"children $n\\n\"'
        ls -lR / 2>/dev/null | wc -l > /dev/null
        nginx -t
        echo all done";
    let done = pod(dir.path(), DEBIAN, "", &["/bin/bash", "-c", script]).ok();
    for line in ["hello", "somebody", "bound", "children 20", "all done"] {
        assert!(done.stdout.lines().any(|l| l == line), "{line} in {done}");
    }
}

#[test]
fn without_the_list_there_is_none_and_status_says_so() {
    require_bed("ns");
    let dir = tempfile::tempdir().unwrap();
    image::add(&target_dir().join("roots/debian"), DEBIAN, &["/bin/bash"]);
    let keys = "security = { seccomp = \"none\" }";
    let done = pod(dir.path(), DEBIAN, keys, &["/usr/bin/perl", "-e", PROBE]).ok();
    assert!(done.stdout.contains("Seccomp:\t0\n"), "{done}");
    assert!(done.stdout.contains("alg=0\n") || done.stdout.contains("vsock=0\n"), "{done}");
    let pods = rocket(["list", "--format=json"]).ok();
    assert!(pods.stdout.contains("app.main.security.seccomp = \\\"none\\\""), "{pods}");
}

/// An image of busybox whose manifest has isolators.
fn isolated(name: &str, exec: &[&str], isolators: Value) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    image::busybox_root(&root);
    let file = image::pack(&root, name, exec, dir.path());
    let unpacked = dir.path().join("unpacked");
    std::fs::create_dir(&unpacked).unwrap();
    let at = |what: &Path| what.to_str().unwrap().to_owned();
    run("/bin/tar", ["-xf".to_owned(), at(&file), "-C".to_owned(), at(&unpacked)]).ok();
    let manifest = unpacked.join("manifest");
    let mut value: Value = serde_json::from_slice(&std::fs::read(&manifest).unwrap()).unwrap();
    value["app"]["isolators"] = isolators;
    std::fs::write(&manifest, value.to_string()).unwrap();
    let other = dir.path().join("isolated.aci");
    run(
        "/bin/tar",
        [
            "-cf".to_owned(),
            at(&other),
            "-C".to_owned(),
            at(&unpacked),
            "manifest".into(),
            "rootfs".into(),
        ],
    )
    .ok();
    rocket([Path::new("fetch"), &other]).ok();
}

#[test]
fn an_images_isolators_narrow_and_with_leave_widen() {
    require_bed("ns");
    let dir = tempfile::tempdir().unwrap();
    let sh = |script: &'static str| ["/bin/sh", "-c", script];
    let remove = |set: Value| json!([{ "name": "os/linux/seccomp-remove-set", "value": set }]);
    let fifo = sh("mkfifo /tmp/x 2>&1; echo $?");

    let set = json!({ "set": ["mknod", "mknodat"], "errno": "ENOTTY" });
    isolated("example.com/errno:1.0", &["/bin/sh"], remove(set));
    let done = pod(dir.path(), "example.com/errno:1.0", "", &fifo).ok();
    assert!(done.stdout.contains("not a tty") || done.stdout.contains("ioctl"), "{done}");
    assert!(done.stdout.ends_with("1\n"), "{done}");
    let keys = "security = { seccomp = \"none\" }";
    let done = pod(dir.path(), "example.com/errno:1.0", keys, &fifo).ok();
    assert_eq!(done.stdout, "0\n");

    // appc: without an error the process is killed.
    isolated("example.com/kill:1.0", &["/bin/sh"], remove(json!({ "set": ["mknod", "mknodat"] })));
    let done = pod(dir.path(), "example.com/kill:1.0", "", &fifo).ok();
    assert!(done.stdout.ends_with("159\n"), "128 + SIGSYS: {done}");

    let all =
        json!([{ "name": "os/linux/seccomp-retain-set", "value": { "set": ["@appc.io/all"] } }]);
    isolated("example.com/all:1.0", &["/bin/sh"], all);
    let unshare = sh("unshare -m true 2>&1; echo $?; grep Seccomp: /proc/self/status");
    let keys = "security = { capabilities = [] }";
    let done = pod(dir.path(), "example.com/all:1.0", keys, &unshare).ok();
    assert!(done.stdout.ends_with("1\nSeccomp:\t2\n"), "{done}");
    let keys = "security = { seccomp = \"image\" }";
    let done =
        pod(dir.path(), "example.com/all:1.0", keys, &sh("grep Seccomp: /proc/self/status")).ok();
    assert_eq!(done.stdout, "Seccomp:\t2\n");

    // Only what an exec and an end need.
    let nothing = json!([{ "name": "os/linux/seccomp-retain-set",
                           "value": { "set": ["@appc.io/empty"], "errno": "EPERM" } }]);
    isolated("example.com/nothing:1.0", &["/bin/true"], nothing);
    pod(dir.path(), "example.com/nothing:1.0", "", &["/bin/true"]);

    for (name, isolators, words) in [
        (
            "unknown",
            remove(json!({ "set": ["mout"] })),
            &["os/linux/seccomp-remove-set", "\"mout\" is not a system call"][..],
        ),
        (
            "set",
            remove(json!({ "set": ["@nobody/knows"] })),
            &["\"@nobody/knows\" is not a set of system calls"],
        ),
        (
            "both",
            json!([{ "name": "os/linux/seccomp-remove-set", "value": { "set": ["mount"] } },
                   { "name": "os/linux/seccomp-retain-set", "value": { "set": ["read"] } }]),
            &["exclude each other"],
        ),
        (
            "caps",
            json!([{ "name": "os/linux/capabilities-retain-set", "value": { "set": ["CAP_FLY"] } }]),
            &["os/linux/capabilities-retain-set", "\"CAP_FLY\" is not a capability"],
        ),
        (
            "oom",
            json!([{ "name": "os/linux/oom-score-adj", "value": 2000 }]),
            &["os/linux/oom-score-adj", "from -1000 to 1000"],
        ),
    ] {
        let image = format!("example.com/bad-{name}:1.0");
        isolated(&image, &["/bin/true"], isolators);
        let done = pod(dir.path(), &image, "", &["/bin/true"]);
        done.ends_with(125).says(words);
    }
}

#[test]
fn an_isolator_that_makes_no_sense_is_named_once_and_nothing_starts() {
    require_bed("ns");
    let set = |name: &str, value: Value| {
        let image = format!("example.com/senseless-{}:1.0", name.len());
        let isolators = json!([{"name": format!("os/linux/{name}"), "value": value}]);
        image::add_busybox_with(&image, &["/bin/echo", "started"], &isolators.to_string());
        let done = rocket(["run", "--rm", &image]).ends_with(125);
        assert_eq!(done.stdout, "", "{done}");
        assert_eq!(done.stderr.matches(&format!("os/linux/{name}")).count(), 1, "{done}");
        done
    };
    set("seccomp-retain-set", json!({"set": ["@rocket/none"]})).says(&["\"@rocket/none\""]);
    set("seccomp-remove-set", json!({"set": ["chmod", "mout"]})).says(&["\"mout\""]);
    set("seccomp-remove-set", json!({"set": ["chmod"], "errno": "EWHAT"})).says(&["\"EWHAT\""]);
    set("capabilities-retain-set", json!({"set": ["CAP_NOPE"]})).says(&["\"CAP_NOPE\""]);
}
