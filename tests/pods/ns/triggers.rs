//! What starts pods besides their own unit: templates' instances and timers.

use rocket_testkit::unit::{Pod, systemctl};
use rocket_testkit::{Done, image, require_bed, rocket, run, target_dir, wait_until};
use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const TEMPLATE: &str = "/etc/rocket/pods/tpl@.toml";

/// Everything of the instances goes when the test ends.
struct Template;

impl Template {
    fn new() -> Self {
        image::add_busybox("example.com/tpl:1.0", &["/bin/sh"]);
        fs::create_dir_all("/etc/rocket/pods").unwrap();
        let text = "description = \"Instance %i\"\nnetwork = \"none\"\n[app.main]\n\
                    image = \"example.com/tpl:1.0\"\n\
                    exec = [\"/bin/sh\", \"-c\", 'trap \"exit 0\" TERM; echo \"I am %i on $(hostname)\"; \
                    while :; do sleep 0.1; done']\n[unit]\nrestart-sec = \"777ms\"\n";
        fs::write(TEMPLATE, text).unwrap();
        systemctl(["daemon-reload"]).ok();
        Self
    }
}

impl Drop for Template {
    fn drop(&mut self) {
        for instance in ["one", "two", "three", "four"] {
            let unit = unit(instance);
            run("systemctl", ["disable", "--now", &unit]);
            run("systemctl", ["reset-failed", &unit]);
            drop(fs::remove_dir_all(format!("/run/rocket/pods/tpl@{instance}.toml.d")));
        }
        drop(fs::remove_file(TEMPLATE));
        drop(fs::remove_file("/etc/systemd/system-preset/10-tpl.preset"));
        run("systemctl", ["daemon-reload"]);
    }
}

fn unit(instance: &str) -> String {
    format!("rocket@tpl@{instance}.service")
}

fn show(instance: &str, property: &str) -> String {
    systemctl(["show", "--value", "-p", property, &unit(instance)]).ok().text().to_owned()
}

fn says(instance: &str) {
    let expected = format!("I am {instance} on tpl-{instance}");
    wait_until(&expected, 20, || {
        let done: Done = run("journalctl", ["-b", "-o", "cat", "-u", &unit(instance)]);
        done.stdout.lines().any(|line| line == expected)
    });
}

#[test]
fn instances_of_a_template_are_pods_of_their_own() {
    require_bed("ns");
    let _template = Template::new();
    // Enabled, as with any template.
    systemctl(["enable", "--now", &unit("one")]).ok();
    assert_eq!(systemctl(["is-enabled", &unit("one")]).ok().text(), "enabled");
    assert_eq!(show("one", "RestartUSec"), "777ms");
    assert_eq!(show("one", "Description"), "Instance one");
    says("one");
    // Introduced by rocket.
    rocket(["start", "tpl@two"]).ok();
    assert_eq!(show("two", "RestartUSec"), "777ms");
    says("two");
    let list = rocket(["list"]).ok();
    assert!(list.stdout.contains("tpl@one") && list.stdout.contains("tpl@two"), "{list}");
    // Known to nobody: no limits, so no start.
    let done = systemctl(["start", &unit("three")]);
    assert_ne!(done.code(), 0);
    wait_until("the way out", 20, || {
        let done: Done = run("journalctl", ["-b", "-o", "cat", "-u", &unit("three")]);
        done.stdout.contains("rocket start tpl@three")
    });
    rocket(["start", "tpl@three"]).ok();
    says("three");
    rocket(["stop", "tpl@two"]).ok();
    assert_eq!(show("two", "ActiveState"), "inactive");
    assert_eq!(show("one", "ActiveState"), "active");
}

#[test]
fn a_preset_line_enables_several_instances() {
    require_bed("ns");
    let _template = Template::new();
    fs::create_dir_all("/etc/systemd/system-preset").unwrap();
    let line = "enable rocket@.service tpl@one tpl@four\ndisable rocket@*.service\n";
    fs::write("/etc/systemd/system-preset/10-tpl.preset", line).unwrap();
    systemctl(["preset", "rocket@.service"]).ok();
    for instance in ["one", "four"] {
        assert_eq!(systemctl(["is-enabled", &unit(instance)]).ok().text(), "enabled");
        assert_eq!(show(instance, "RestartUSec"), "777ms", "{instance}");
    }
}

#[test]
fn a_schedule_starts_the_pod_again_and_again() {
    require_bed("ns");
    image::add_busybox("example.com/tick:1.0", &["/bin/sh", "-c", "echo tick"]);
    let pod = Pod::new(
        "tick",
        "network = \"none\"\n[app.main]\nimage = \"example.com/tick:1.0\"\nkind = \"oneshot\"\n\
         [schedule]\ncalendar = [\"*:*:*\"]\naccuracy = \"1ms\"\n",
    );
    let timer = "rocket@tick.timer";
    systemctl(["enable", "--now", timer]).ok();
    assert!(Path::new("/etc/systemd/system/timers.target.wants").join(timer).exists());
    wait_until("three ticks", 60, || {
        pod.journal().iter().filter(|entry| entry["MESSAGE"] == "tick").count() >= 3
    });
    let show = systemctl(["show", "--value", "-p", "Description", timer]).ok();
    assert_eq!(show.text(), "Timer of pod tick");
    systemctl(["disable", "--now", timer]).ok();
}

const CONNECTIONS: usize = 10_000;
const RESTARTS: usize = 20;

/// One request on a connection of its own, whole or not at all.
fn page(address: &str) -> Result<(), String> {
    use std::io::{Read, Write};
    let mut stream = TcpStream::connect(address).map_err(|error| format!("refused: {error}"))?;
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let lost = |error: std::io::Error| format!("lost: {error}");
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").map_err(lost)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(lost)?;
    match answer.starts_with("HTTP/1.1 200 OK") && answer.contains("</html>") {
        true => Ok(()),
        false => Err(format!("lost: {answer:?}")),
    }
}

#[test]
fn alone_ten_thousand_connections_survive_twenty_restarts_of_a_pod_without_network() {
    require_bed("ns");
    let root = target_dir().join("roots/debian");
    image::add(&root, "example.com/activated:1.0", &["/usr/sbin/nginx"]);
    let pod = Pod::new(
        "activated",
        "network = \"none\"\n[app.web]\nimage = \"example.com/activated:1.0\"\n\
         exec = [\"/usr/sbin/nginx\", \"-g\", \"daemon off;\"]\nstop-signal = \"SIGQUIT\"\n\
         environment = { NGINX = \"3;4;\" }\n\
         [port.http]\napp = \"web\"\nport = 80\nactivation = true\n\
         listen = [\"0.0.0.0:80\", \"[::]:80\"]\n",
    );
    // nginx takes for granted that sockets which it inherits do not block.
    let drop_in = Path::new("/run/systemd/system/rocket@activated.service.d");
    fs::create_dir_all(drop_in).unwrap();
    fs::write(drop_in.join("90-test.conf"), "[Service]\nNonBlocking=yes\n").unwrap();
    systemctl(["daemon-reload"]).ok();
    let socket = "rocket@activated:http.socket";
    systemctl(["enable", "--now", socket]).ok();
    assert_eq!(pod.show("ActiveState"), "inactive");
    // The first connection starts it.
    page("127.0.0.1:80").unwrap();
    assert_eq!(pod.show("ActiveState"), "active");

    let done = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for address in ["127.0.0.1:80", "[::1]:80"].iter().cycle().take(4) {
            let (done, failures) = (&done, &failures);
            scope.spawn(move || {
                for _ in 0..CONNECTIONS / 4 {
                    if let Err(why) = page(address) {
                        failures.lock().unwrap().push(why);
                    }
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for restart in 0..RESTARTS {
            // Spread over all of the connections.
            let due = restart * CONNECTIONS / (RESTARTS + 1);
            wait_until("enough connections", 100, || done.load(Ordering::Relaxed) >= due);
            systemctl(["restart", &pod.unit()]).ok();
        }
    });
    let failures = failures.into_inner().unwrap();
    assert_eq!(failures, Vec::<String>::new());
    assert_eq!(done.load(Ordering::Relaxed), CONNECTIONS);
    // The pod has the socket open, too.
    systemctl(["disable", "--now", socket]).ok();
    pod.systemctl("stop").ok();
    assert!(page("127.0.0.1:80").is_err(), "the socket is closed");
    fs::remove_dir_all(drop_in).unwrap();
}

#[test]
fn sockets_stay_open_while_the_pod_fails_again_and_again() {
    require_bed("ns");
    image::add_busybox("example.com/failing:1.0", &["/bin/false"]);
    let pod = Pod::new(
        "failing",
        "network = \"none\"\n[app.web]\nimage = \"example.com/failing:1.0\"\n\
         [port.http]\napp = \"web\"\nport = 7097\nactivation = true\n\
         listen = [\"127.0.0.1:7097\"]\n[unit]\nrestart-sec = \"50ms\"\n",
    );
    let socket = "rocket@failing:http.socket";
    systemctl(["start", socket]).ok();
    let waiting = TcpStream::connect("127.0.0.1:7097").unwrap();
    // More than the start limit of a pod without sockets.
    wait_until("many restarts", 100, || pod.show("NRestarts").parse::<u32>().unwrap() > 12);
    TcpStream::connect("127.0.0.1:7097").unwrap();
    assert_eq!(systemctl(["is-active", socket]).ok().text(), "active");
    drop(waiting);
    systemctl(["stop", socket, &pod.unit()]).ok();
}

/// Says what it was handed over.
const LISTENER: &str = r#"echo "$LISTEN_FDS $LISTEN_FDNAMES $([ $LISTEN_PID = $$ ] && echo mine)"
for n in 3 4 5 6; do readlink /proc/$$/fd/$n | grep -o socket; done; echo end
trap 'exit 0' TERM; while :; do sleep 0.1; done"#;

#[test]
fn sockets_of_every_kind_reach_the_right_app_with_their_names() {
    require_bed("ns");
    image::add_busybox("example.com/sockets:1.0", &["/bin/sh"]);
    let exec = format!(
        "image = \"example.com/sockets:1.0\"\nexec = [\"/bin/sh\", \"-c\", \"\"\"\n{}\"\"\"]\n",
        LISTENER.replace('"', "\\\"")
    );
    let pod = Pod::new(
        "sockets",
        &format!(
            "network = \"none\"\n[app.one]\n{exec}[app.two]\n{exec}\
             [port.web]\napp = \"one\"\nport = 7090\nactivation = true\n\
             listen = [\"127.0.0.1:7090\", \"[::1]:7090\", \"/run/sockets-test.sock\"]\n\
             [port.admin]\napp = \"one\"\nport = 7091\nactivation = true\nlisten = [\"@sockets-test\"]\n\
             [port.names]\napp = \"two\"\nport = 7053\nprotocol = \"udp\"\nactivation = true\n"
        ),
    );
    pod.start();
    let said = |app: &str| {
        let mut lines = Vec::new();
        wait_until("the end of what it says", 20, || {
            let journal = pod.journal();
            let by = journal.iter().filter(|entry| entry["SYSLOG_IDENTIFIER"] == app);
            lines = by.map(|entry| entry["MESSAGE"].as_str().unwrap().to_owned()).collect();
            lines.iter().any(|line| line == "end")
        });
        lines
    };
    let mut one = said("one");
    // Which unit comes first is systemd's to say.
    let first = one.remove(0);
    assert!(
        ["4 web:web:web:admin mine", "4 admin:web:web:web mine"].contains(&first.as_str()),
        "{first}"
    );
    assert_eq!(one, ["socket", "socket", "socket", "socket", "end"]);
    assert_eq!(said("two"), ["1 names mine", "socket", "end"]);
    // From a shell there is no systemd that listens.
    let done = rocket(["run", "--name", "by-hand", "-f", "/etc/rocket/pods/sockets.toml"]);
    assert_eq!(done.code(), 125, "{done}");
    assert!(done.stderr.contains("no socket of this name was handed over"), "{done}");
    for port in ["web", "admin", "names"] {
        systemctl(["stop", &format!("rocket@sockets:{port}.socket")]).ok();
    }
    assert!(!Path::new("/run/sockets-test.sock").exists());
}
