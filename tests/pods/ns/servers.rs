//! Servers as Debian packages them, each a pod with nothing of its isolation taken away, and each
//! answering a request.

use rocket_testkit::unit::Pod;
use rocket_testkit::{Done, image, require_bed, rocket, target_dir, wait_until};
use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;

pub const IMAGE: &str = "example.com/servers:1.0";

/// Brings the image of all of them into the store, once for all tests.
pub fn servers() {
    require_bed("ns");
    let lock = File::create("/run/servers-image.lock").unwrap();
    lock.lock().unwrap();
    if rocket(["image", "cat-manifest", IMAGE]).code() != 0 {
        // On the disk, beside the root: the archive is as large as that.
        let dir = tempfile::tempdir_in(target_dir().join("roots")).unwrap();
        let root = target_dir().join("roots/servers");
        let file = image::pack(&root, IMAGE, &["/bin/bash"], dir.path());
        rocket(["fetch".as_ref(), file.as_os_str()]).ok();
    }
}

/// A started pod with one app, `server`.
fn pod(name: &str, network: &str, app: &str) -> Pod {
    servers();
    let text = format!("network = \"{network}\"\n[app.server]\nimage = \"{IMAGE}\"\n{app}\n");
    let pod = Pod::new(name, &text);
    pod.start();
    pod
}

/// Runs a command beside the server, as its user.
fn enter(name: &str, words: &[&str]) -> Done {
    rocket(["enter", name, "--"].iter().chain(words))
}

/// Waits until a command beside the server says what it should.
#[track_caller]
fn answers(name: &str, words: &[&str], wanted: &str) {
    let mut last = String::new();
    let end = std::time::Instant::now() + std::time::Duration::from_secs(40);
    while std::time::Instant::now() < end {
        let done = enter(name, words);
        if done.code() == 0 && done.stdout.contains(wanted) {
            return;
        }
        last = done.to_string();
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    panic!("no {wanted:?}: {last}");
}

/// Stops it in order: systemd takes anything else for a failure.
fn stops(pod: &Pod) {
    pod.systemctl("stop").ok();
    assert_eq!(pod.show("Result"), "success");
    assert_eq!(pod.show("ActiveState"), "inactive");
}

#[test]
fn nginx_serves_its_page_on_port_80_of_its_own_network() {
    let pod = pod(
        "nginx",
        "none",
        "exec = [\"/usr/sbin/nginx\", \"-g\", \"daemon off;\"]\nstop-signal = \"SIGQUIT\"",
    );
    let get = "import urllib.request as r; print(r.urlopen('http://127.0.0.1/').read().decode())";
    answers("nginx", &["/usr/bin/python3", "-c", get], "<title>Welcome to nginx!</title>");
    stops(&pod);
}

#[test]
fn redis_keeps_what_it_is_told() {
    let pod = pod(
        "redis",
        "none",
        "exec = [\"/usr/bin/redis-server\", \"--dir\", \"/var/lib/redis\"]\nuser = \"redis\"",
    );
    answers("redis", &["/usr/bin/redis-cli", "ping"], "PONG");
    enter("redis", &["/usr/bin/redis-cli", "set", "where", "in a pod"]).ok();
    assert_eq!(enter("redis", &["/usr/bin/redis-cli", "get", "where"]).ok().text(), "in a pod");
    // Its snapshot is written by a child of its own, into the pod's root.
    assert_eq!(enter("redis", &["/usr/bin/redis-cli", "save"]).ok().text(), "OK");
    stops(&pod);
}

#[test]
fn postgresql_runs_the_cluster_that_its_package_made() {
    // Which version it is depends on the release.
    let start = "cd /etc/postgresql/*/main && version=$(basename $(dirname $PWD)) && \
                 exec /usr/lib/postgresql/$version/bin/postgres -D /var/lib/postgresql/$version/main \
                 -c config_file=$PWD/postgresql.conf -c unix_socket_directories=/tmp";
    let pod = pod(
        "postgresql",
        "none",
        &format!(
            "exec = [\"/bin/sh\", \"-c\", \"{start}\"]\nuser = \"postgres\"\nstop-signal = \"SIGINT\""
        ),
    );
    let ask = |text: &str| ["/usr/bin/psql", "-h", "/tmp", "-At", "-c", text].map(str::to_owned);
    let words = ask("select 6 * 7");
    answers("postgresql", &words.each_ref().map(String::as_str), "42");
    let words = ask("create table t (a int); insert into t select generate_series(1, 1000); \
             select sum(a), current_user from t");
    let done = enter("postgresql", &words.each_ref().map(String::as_str)).ok();
    assert!(done.stdout.contains("500500|postgres"), "{done}");
    stops(&pod);
}

#[test]
fn python_serves_files_to_the_host_over_the_hosts_network() {
    let pod = pod(
        "python",
        "host",
        "exec = [\"/usr/bin/python3\", \"-m\", \"http.server\", \"--bind\", \"127.0.0.1\", \"--directory\", \
         \"/etc\", \"18080\"]\nuser = \"www-data\"",
    );
    let get = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect("127.0.0.1:18080")?;
        stream.write_all(b"GET /debian_version HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let mut answer = String::new();
    wait_until("python answers", 40, || {
        answer = get().unwrap_or_default();
        !answer.is_empty()
    });
    assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
    let version = std::fs::read_to_string(target_dir().join("roots/servers/etc/debian_version"));
    assert!(answer.ends_with(&version.unwrap()), "{answer}");
    // python dies of SIGTERM, as nobody told it otherwise; that is a stop in order all the same.
    stops(&pod);
}
