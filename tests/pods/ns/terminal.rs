//! `rocket run -it`, `attach` and `enter` with a person at a real terminal.

use rocket_testkit::tmux::{PROMPT, Tmux};
use rocket_testkit::{Command, image, require_bed, rocket, wait_until};
use rustix::process::{Pid, Signal, kill_process};

const SHELL: &str = "example.com/terminal:1.0";

/// A shell in a pod, at a terminal in tmux; its prompt is `in$`.
struct Session {
    tmux: Tmux,
    name: String,
}

impl Session {
    #[track_caller]
    fn new(name: &str) -> Self {
        image::add_busybox(SHELL, &["/bin/sh"]);
        let session = Self { tmux: Tmux::new(), name: name.to_owned() };
        session
            .tmux
            .line(&format!("rocket run -it --name {name} --env 'PS1=in$ ' {SHELL}; echo code=$?"));
        session.tmux.wait_for("in$");
        session
    }

    fn status(&self) -> serde_json::Value {
        let done = rocket(["status", "--format=json", &self.name]).ok();
        serde_json::from_str(&done.stdout).unwrap()
    }

    fn init(&self) -> i32 {
        i32::try_from(self.status()["pid"].as_i64().unwrap()).unwrap()
    }

    /// The pod's shell: init's only child.
    fn app(&self) -> i32 {
        let init = self.init();
        let children = format!("/proc/{init}/task/{init}/children");
        std::fs::read_to_string(children).unwrap().trim().parse().unwrap()
    }

    /// The `rocket` whose command line has the pod's name.
    fn front(&self) -> i32 {
        let named = |pid: &i32| {
            let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&bytes).replace('\0', " ");
            line.starts_with("rocket run ") && line.contains(&format!("--name {} ", self.name))
        };
        processes().find(named).expect("a rocket run of that name")
    }
}

/// Waits until the pod's shell waits for a line: at its prompt it asks the terminal where the cursor
/// is, and the answer comes in as if it was typed.
#[track_caller]
fn at_prompt(tmux: &Tmux) {
    tmux.wait_for_last("in$");
    std::thread::sleep(std::time::Duration::from_millis(500));
}

fn processes() -> impl Iterator<Item = i32> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn kill(pid: i32) {
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

/// Whether the process has this terminal open.
fn has_open(pid: i32, terminal: &std::path::Path) -> bool {
    let fds = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    fds.filter_map(|fd| std::fs::read_link(fd.path()).ok()).any(|to| to == terminal)
}

#[test]
fn a_shell_at_a_terminal_knows_its_size_and_ends_with_its_status() {
    require_bed("ns");
    let session = Session::new("term-size");
    let tmux = &session.tmux;
    tmux.line("stty size; echo $TERM");
    tmux.wait_for("24 80");
    tmux.tmux(&["resize-window", "-x", "101", "-y", "33"]);
    wait_until("the new size is known inside", 10, || {
        tmux.line("stty size");
        std::thread::sleep(std::time::Duration::from_millis(100));
        tmux.screen().lines().any(|line| line.trim_end() == "33 101")
    });
    tmux.line("test -t 0 && test -t 1 && test -t 2 && echo all; exit 5");
    tmux.wait_for("all");
    tmux.wait_for("code=5");
}

#[test]
fn ctrl_c_ends_the_job_and_not_the_shell_and_ctrl_z_suspends_it() {
    require_bed("ns");
    let session = Session::new("term-jobs");
    let tmux = &session.tmux;
    tmux.line("echo begin; sleep 1000");
    tmux.wait_for("begin");
    tmux.key("C-c");
    tmux.line("echo status $?");
    tmux.wait_for("status 130");
    tmux.clear();
    tmux.line("echo again; sleep 1000");
    tmux.wait_for("again");
    tmux.key("C-z");
    tmux.wait_for_last("in$");
    tmux.line("jobs | grep -c Stopped");
    tmux.wait_for("1");
    tmux.line("fg");
    tmux.wait_for("sleep 1000");
    tmux.key("C-c");
    tmux.wait_for_last("in$");
    tmux.line("jobs | wc -l; exit");
    tmux.wait_for("0");
    tmux.wait_for("code=0");
}

#[test]
fn what_was_typed_ahead_is_not_lost() {
    require_bed("ns");
    image::add_busybox(SHELL, &["/bin/sh"]);
    let tmux = Tmux::new();
    tmux.line(&format!("rocket run -it {SHELL}; echo code=$?"));
    tmux.line("echo typed $((40 + 2)); exit 3");
    tmux.wait_for("typed 42");
    tmux.wait_for_end("code=3");
}

#[test]
fn who_detaches_leaves_the_pod_running_and_can_come_back() {
    require_bed("ns");
    let session = Session::new("term-detach");
    let tmux = &session.tmux;
    tmux.line("word=kept");
    at_prompt(tmux);
    tmux.key("C-p");
    tmux.key("C-q");
    tmux.wait_for("code=0");
    assert!(tmux.settings().contains(" icanon"), "{}", tmux.settings());
    let init = session.init();
    // What is written meanwhile is there later.
    rocket(["kill", "--signal", "CONT", &session.name]).ok();
    tmux.clear();
    tmux.line(&format!("rocket attach {}; echo code=$?", session.name));
    tmux.line("");
    tmux.wait_for_last("in$");
    tmux.line("echo $word; (sleep 3; echo later)&");
    tmux.wait_for("kept");
    at_prompt(tmux);
    tmux.key("C-p");
    tmux.key("C-q");
    tmux.wait_for("code=0");
    std::thread::sleep(std::time::Duration::from_millis(3500));
    assert_eq!(session.init(), init);
    tmux.clear();
    tmux.line(&format!("rocket attach --detach-keys=ctrl-x {}; echo code=$?", session.name));
    tmux.wait_for("later");
    tmux.line("exit 7");
    tmux.wait_for("code=7");
    assert_eq!(session.status()["state"], "exited");
}

#[test]
fn a_pod_in_the_background_can_have_a_terminal_for_one_at_a_time() {
    require_bed("ns");
    image::add_busybox(SHELL, &["/bin/sh"]);
    let script = "echo hello; while read line; do echo got $line; done";
    rocket(["run", "--detach", "-it", "--name", "term-back", SHELL, "--", "-c", script]).ok();
    let tmux = Tmux::new();
    tmux.line("rocket attach term-back/terminal; echo code=$?");
    tmux.wait_for("hello");
    tmux.line("one");
    tmux.wait_for("got one");
    rocket(["attach", "term-back"]).ends_with(125).says(&["attached"]);
    // Gone without a word: the next one gets it.
    tmux.tmux(&["kill-server"]);
    let mut second = None;
    wait_until("it is free again", 10, || {
        let attached = Command::new("/usr/bin/rocket").args(["attach", "term-back"]);
        let mut started = attached.input("two\n").start();
        std::thread::sleep(std::time::Duration::from_millis(300));
        let free = !started.has_ended();
        second = Some(started);
        free
    });
    rocket(["stop", "term-back"]).ok();
    let done = second.unwrap().wait();
    assert!(done.stdout.contains("got two"), "{done}");
    rocket(["attach", "term-back"]).ends_with(125).says(&["exited"]);
}

#[test]
fn the_terminal_is_as_before_after_any_process_is_killed() {
    require_bed("ns");
    type Which = fn(&Session) -> i32;
    let victims: [(&str, Which); 3] =
        [("front", Session::front), ("init", Session::init), ("app", Session::app)];
    for (victim, pid) in victims {
        let plain = Tmux::new().settings();
        let session = Session::new(&format!("term-kill-{victim}"));
        let tmux = &session.tmux;
        assert_ne!(tmux.settings(), plain, "{victim}: it was not in raw mode");
        let terminal = tmux.terminal();
        kill(pid(&session));
        tmux.wait_for_end("code=137");
        wait_until(&format!("{victim}: the terminal is as before"), 5, || tmux.settings() == plain);
        wait_until(&format!("{victim}: nobody of ours is left at it"), 10, || {
            processes().filter(|pid| has_open(*pid, &terminal)).count() == 1
        });
        tmux.line("echo it echoes");
        tmux.wait_for("it echoes");
        tmux.wait_for_last(PROMPT);
        wait_until(&format!("{victim}: the pod has ended"), 20, || {
            session.status()["state"] == "exited"
        });
    }
}

#[test]
fn the_terminal_is_as_before_after_a_killed_enter_and_a_killed_attach() {
    require_bed("ns");
    let plain = Tmux::new().settings();
    let session = Session::new("term-kill-attach");
    let tmux = &session.tmux;
    at_prompt(tmux);
    tmux.key("C-p");
    tmux.key("C-q");
    tmux.wait_for("code=0");
    for verb in ["attach", "enter"] {
        tmux.clear();
        tmux.line(&format!("rocket {verb} {}; echo {verb}=$?", session.name));
        let line = format!("rocket {verb} {} ", session.name);
        let mut pid = None;
        wait_until("it is in raw mode", 10, || {
            pid = processes().find(|pid| {
                let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                String::from_utf8_lossy(&bytes).replace('\0', " ") == line
            });
            pid.is_some() && tmux.settings() != plain
        });
        kill(pid.unwrap());
        tmux.wait_for_end(&format!("{verb}=137"));
        wait_until(&format!("{verb}: the terminal is as before"), 5, || tmux.settings() == plain);
    }
    rocket(["stop", &session.name]).ok();
}

#[test]
fn a_shell_at_a_terminal_stops_when_it_is_asked_to() {
    require_bed("ns");
    let session = Session::new("term-stop");
    let began = std::time::Instant::now();
    rocket(["stop", &session.name]).ok();
    let took = began.elapsed();
    assert!(took < std::time::Duration::from_secs(5), "it was killed only after {took:?}");
    wait_until("the caller has the prompt again", 5, || session.tmux.screen().contains("code="));
}

#[test]
fn an_app_that_starts_again_has_the_same_terminal() {
    require_bed("ns");
    image::add_busybox(SHELL, &["/bin/sh"]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("term-again.toml");
    let text = format!(
        "version = 1\nnetwork = \"none\"\n[app.main]\nimage = \"{SHELL}\"\nrestart = \"on-failure\"\n\
         environment = {{ PS1 = \"in$ \" }}\n"
    );
    std::fs::write(&file, text).unwrap();
    let tmux = Tmux::new();
    tmux.line(&format!("rocket run -it -f {}; echo code=$?", file.display()));
    tmux.wait_for("in$");
    tmux.line("echo first $$; exit 3");
    tmux.wait_for_end("first 2");
    // Another shell, with job control, so with the terminal as its own.
    at_prompt(&tmux);
    tmux.line("echo second; sleep 1000");
    tmux.wait_for("second");
    tmux.key("C-c");
    tmux.line("echo status $?; exit 0");
    tmux.wait_for("status 130");
    tmux.wait_for_end("code=0");
}

#[test]
fn a_shell_that_starts_again_hears_ctrl_c_whatever_the_last_one_left() {
    require_bed("ns");
    let session = Session::new("term-reset");
    let tmux = &session.tmux;
    tmux.line("trap '' HUP; stty -isig -icanon -echo; echo now $$; exec sleep 1000");
    tmux.wait_for("now 2");
    tmux.clear();
    rocket(["restart", "term-reset/terminal"]).ok();
    // Another shell, at its prompt.
    at_prompt(tmux);
    tmux.line("echo second; sleep 1000");
    tmux.wait_for("second");
    tmux.key("C-c");
    tmux.line("echo status $?; exit 0");
    tmux.wait_for("status 130");
    tmux.wait_for_end("code=0");
}

#[test]
fn what_cannot_be_is_refused_in_words() {
    require_bed("ns");
    image::add_busybox(SHELL, &["/bin/sh"]);
    rocket(["run", "-it", SHELL]).ends_with(125).says(&["standard input is not a terminal"]);
    rocket(["run", "-d", "-i", SHELL]).ends_with(125).says(&["--tty"]);
    rocket(["run", "-t", "--detach-keys=ctrl-1", SHELL]).ends_with(125).says(&["detach-keys"]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("two.toml");
    let app = |name| format!("[app.{name}]\nimage = \"{SHELL}\"\n");
    let text = format!("version = 1\nnetwork = \"none\"\n{}{}", app("one"), app("two"));
    std::fs::write(&file, text).unwrap();
    rocket(["run", "-t", "-f", file.to_str().unwrap()]).ends_with(125).says(&["one app"]);
    rocket(["run", "-d", "--name", "term-none", SHELL, "--", "-c", "sleep 100"]).ok();
    rocket(["attach", "term-none"]).ends_with(125).says(&["without a terminal"]);
    rocket(["kill", "term-none/other"]).ends_with(125).says(&["no app", "terminal"]);
    rocket(["kill", "term-none"]).ok();
    rocket(["wait", "term-none"]).ends_with(137);
}

#[test]
fn output_without_a_terminal_on_this_side_is_still_the_apps() {
    require_bed("ns");
    image::add_busybox(SHELL, &["/bin/sh"]);
    let done = rocket(["run", "-t", SHELL, "--", "-c", "tty >/dev/null; seq 1 20000; test -t 1"]);
    let done = done.ok();
    let numbers: Vec<String> = (1..=20_000).map(|n| n.to_string()).collect();
    assert!(done.stdout.lines().eq(numbers.iter().map(String::as_str)), "numbers are missing");
}
