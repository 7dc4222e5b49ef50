//! Right pod files: what they come out as.
#![allow(clippy::unwrap_used)]

use rocket_podfile::{
    Account, ExitPolicy, HostTotals, Log, Network, Protocol, Ready, RestartPolicy, Seccomp,
    TimeSpan, VolumeKind, parse,
};
use std::path::Path;
use std::time::Duration;

const WHOLE: &str = r#"
version = 1
description = "Blog"
network = "host"
hostname = "blog.example"
flavour = "ns"
exit-policy = "any-failure"
log = "stream"

[app.nginx]
image = "example.com/nginx:1.27"
exec = ["/usr/sbin/nginx", "-g", "daemon off;"]
user = "www-data"
group = 33
working-directory = "/srv//www/"
environment = { TZ = "UTC", EMPTY = "" }
environment-files = ["/etc/blog.env"]
kind = "service"
after = []
restart = "no"
ready = "exec"
stop-signal = "SIGQUIT"
stop-timeout = "1min 30s"
mounts = { "/srv" = "data", "/cache" = { volume = "cache", read-only = true } }
[app.nginx.limits]
memory-max = "256M"
memory-high = 200_000_000
memory-swap-max = "0"
cpu-quota = "50%"
cpu-weight = 200
tasks-max = 64
io-weight = 50
allowed-cpus = "0-1"
[app.nginx.security]
capabilities = ["net-bind-service", "CAP_CHOWN"]
no-new-privileges = false
read-only = true
seccomp = "default"
devices = ["/dev/fuse"]
rlimits = { nofile = "1024:4096", core = 0, memlock = "infinity" }
oom-score-adj = -50
apparmor = "web"
selinux = "system_u:system_r:web_t:s0"

[app.db]
image = "oci:/srv/images/db:latest"

[volume.data]
kind = "state"
mode = "0750"
uid = 33
gid = 33
[volume.cache]
kind = "tmpfs"
size = "64M"
[volume.scratch]
kind = "empty"
[volume.www]
kind = "host"
source = "/var/www"
recursive = false
read-only = true

[port.http]
app = "nginx"
port = 80

[limits]
memory-max = "50%"
io-max = { "/dev/sda" = { read-bandwidth = "10M", write-iops = 100 } }

[security]
user-namespace = false

[unit]
wants = ["network-online.target"]
after = ["network-online.target", "pod:db"]
restart = "always"
restart-sec = "500ms"
start-timeout = "infinity"
slice = "web.slice"
"#;

const HOST: HostTotals = HostTotals { memory: 1 << 30, tasks: 1000 };

fn strings(pairs: &[(&'static str, String)]) -> Vec<String> {
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect()
}

#[test]
fn every_key_arrives() {
    let pod = parse(Path::new("blog.toml"), WHOLE).unwrap();
    assert_eq!(pod.description.as_deref(), Some("Blog"));
    assert_eq!((&pod.network, pod.log), (&Network::Host, Log::Stream));
    assert_eq!(pod.hostname.as_deref(), Some("blog.example"));
    assert_eq!(pod.exit_policy, ExitPolicy::AnyFailure);

    let nginx = &pod.apps[0];
    assert_eq!(nginx.exec.as_ref().unwrap(), &["/usr/sbin/nginx", "-g", "daemon off;"]);
    assert_eq!(nginx.user, Some(Account::Name("www-data".into())));
    assert_eq!(nginx.group, Some(Account::Id(33)));
    assert_eq!(nginx.working_directory.as_deref(), Some("/srv/www"));
    assert_eq!(nginx.environment, [("EMPTY".into(), String::new()), ("TZ".into(), "UTC".into())]);
    assert_eq!(nginx.stop_signal.unwrap().number(), 3);
    assert_eq!(nginx.stop_timeout, Duration::from_secs(90));
    assert_eq!(nginx.ready, Ready::Exec);
    let mounts: Vec<_> =
        nginx.mounts.iter().map(|m| (m.target.as_str(), m.volume.as_str(), m.read_only)).collect();
    assert_eq!(mounts, [("/cache", "cache", true), ("/srv", "data", false)]);
    assert_eq!(
        strings(&nginx.limits.cgroup_files(HOST)),
        [
            "memory.max=268435456",
            "memory.high=200000000",
            "memory.swap.max=0",
            "cpu.max=50000 100000",
            "cpu.weight=200",
            "pids.max=64",
            "io.weight=default 50",
            "cpuset.cpus=0-1",
        ]
    );
    let capabilities: Vec<_> =
        nginx.security.capabilities.iter().flatten().map(|c| c.kernel_name()).collect();
    assert_eq!(capabilities, ["chown", "net_bind_service"]);
    assert!(nginx.security.read_only && !nginx.security.no_new_privileges);
    assert_eq!(nginx.security.seccomp, Seccomp::Default);
    assert_eq!(nginx.security.devices, ["/dev/fuse"]);
    assert_eq!(nginx.security.oom_score_adj, Some(-50));
    assert_eq!(nginx.security.apparmor.as_deref(), Some("web"));
    assert_eq!(nginx.security.selinux.as_deref(), Some("system_u:system_r:web_t:s0"));
    let limits: Vec<_> = nginx.security.rlimits.iter().collect();
    let limits: Vec<_> = limits.iter().map(|l| (l.resource.as_str(), l.soft, l.hard)).collect();
    let expected =
        [("core", Some(0), Some(0)), ("memlock", None, None), ("nofile", Some(1024), Some(4096))];
    assert_eq!(limits, expected);

    let data = pod.volume("data").unwrap();
    assert_eq!((data.mode, data.uid, data.gid), (Some(0o750), Some(33), Some(33)));
    assert_eq!(pod.volume("cache").unwrap().kind, VolumeKind::Tmpfs { size: Some(64 << 20) });
    let www = pod.volume("www").unwrap();
    assert_eq!(
        www.kind,
        VolumeKind::Host { source: "/var/www".into(), recursive: false, follow_symlinks: false }
    );
    assert!(www.read_only);
    assert_eq!((pod.ports[0].port, pod.ports[0].protocol), (80, Protocol::Tcp));
    assert!(!pod.security.user_namespace);
    assert_eq!(
        strings(&pod.limits.unit_properties()),
        ["MemoryMax=50%", "IOReadBandwidthMax=/dev/sda 10000000", "IOWriteIOPSMax=/dev/sda 100",]
    );
    assert_eq!(pod.limits.cgroup_files(HOST), [("memory.max", (512u64 << 20).to_string())]);
    assert_eq!(pod.limits.resolved(HOST).unit_properties()[0].1, (512u64 << 20).to_string());
    assert_eq!(pod.unit.after, ["network-online.target", "rocket@db.service"]);
    assert_eq!(pod.unit.restart, RestartPolicy::Always);
    assert_eq!(pod.unit.restart_sec.to_string(), "500ms");
    assert_eq!(pod.unit.start_timeout, TimeSpan::Infinity);
    // 90 s of nginx, 10 s of db, 5 s more.
    assert_eq!(pod.stop_timeout().to_string(), "105s");
}

#[test]
fn defaults() {
    let text = "network = \"none\"\n[app.web]\nimage = \"i\"\n";
    let pod = parse(Path::new("x.toml"), text).unwrap();
    assert_eq!((pod.version, pod.flavour.as_str(), pod.hostname), (1, "ns", None));
    assert!(pod.limits.is_empty() && pod.security.user_namespace);
    assert_eq!(pod.unit.restart, RestartPolicy::OnFailure);
    assert_eq!(pod.unit.restart_sec.to_string(), "1s");
    assert_eq!(pod.unit.start_timeout.to_string(), "90s");
    let web = &pod.apps[0];
    assert_eq!((web.restart, &web.exec, &web.user), (RestartPolicy::No, &None, &None));
    assert_eq!(web.stop_timeout, Duration::from_secs(10));
    assert_eq!(web.restart_delay, Duration::from_millis(100));
    assert_eq!(web.restart_max_delay, Duration::from_secs(60));
    assert_eq!((web.restart_limit.count, web.restart_limit.window.as_secs()), (5, 600));
    assert!(web.security.no_new_privileges && !web.security.read_only);
    assert_eq!(web.security.capabilities, None);
}

#[test]
fn apps_keep_the_order_of_writing() {
    let text = "network = \"none\"\n[app.z]\nimage = \"i\"\n[app.a]\nimage = \"i\"\n[app.m]\n\
                image = \"i\"\n";
    let pod = parse(Path::new("x.toml"), text).unwrap();
    let names: Vec<_> = pod.apps.iter().map(|app| app.name.as_str()).collect();
    assert_eq!(names, ["z", "a", "m"]);
}
