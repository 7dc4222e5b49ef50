//! A terminal with a person at it: a shell in tmux.

use crate::{run, wait_until};
use std::path::PathBuf;

/// A tmux server with one window in which a shell runs; dies when dropped.
pub struct Tmux {
    socket: String,
    _dir: tempfile::TempDir,
}

/// The prompt of the shell in the window.
pub const PROMPT: &str = "outer$";

impl Tmux {
    /// A window of 80 by 24 with a plain shell, which leaves the terminal's settings alone.
    #[track_caller]
    #[must_use]
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("tmux").to_str().unwrap().to_owned();
        let tmux = Self { socket, _dir: dir };
        let shell = format!("exec env ENV= PS1='{PROMPT} ' /bin/sh");
        let size = ["new-session", "-d", "-x", "80", "-y", "24", shell.as_str()];
        run("tmux", ["-S", &tmux.socket, "-f", "/dev/null"].iter().chain(&size)).ok();
        tmux.wait_for(PROMPT);
        tmux
    }

    /// Runs a command of tmux.
    #[track_caller]
    pub fn tmux(&self, args: &[&str]) -> String {
        run("tmux", ["-S", self.socket.as_str()].iter().chain(args)).ok().stdout
    }

    /// Types a line and Enter.
    #[track_caller]
    pub fn line(&self, text: &str) {
        self.tmux(&["send-keys", "-l", text]);
        self.tmux(&["send-keys", "Enter"]);
    }

    /// Presses a key by tmux's name for it: `C-c`.
    #[track_caller]
    pub fn key(&self, key: &str) {
        self.tmux(&["send-keys", key]);
    }

    /// What the window shows.
    #[track_caller]
    #[must_use]
    pub fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"]).trim_end().to_owned()
    }

    /// Waits until a line of the window is, but for blanks at its end, `text`.
    #[track_caller]
    pub fn wait_for(&self, text: &str) {
        self.wait(text, |line| line == text);
    }

    /// Waits until a line of the window ends so.
    #[track_caller]
    pub fn wait_for_end(&self, text: &str) {
        self.wait(text, |line| line.ends_with(text));
    }

    #[track_caller]
    fn wait(&self, text: &str, is: impl Fn(&str) -> bool) {
        let mut screen = String::new();
        let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while std::time::Instant::now() < end {
            screen = self.screen();
            if screen.lines().any(|line| is(line.trim_end())) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(30));
        }
        panic!("no `{text}` in the window:\n{screen}");
    }

    /// Waits until the last line of the window is `text`.
    #[track_caller]
    pub fn wait_for_last(&self, text: &str) {
        wait_until(&format!("`{text}` is the window's last line"), 20, || {
            self.screen().lines().last().is_some_and(|line| line.trim_end() == text)
        });
    }

    /// Empties the window.
    #[track_caller]
    pub fn clear(&self) {
        self.tmux(&["send-keys", "-R"]);
        self.tmux(&["clear-history"]);
    }

    /// The window's terminal.
    #[track_caller]
    #[must_use]
    pub fn terminal(&self) -> PathBuf {
        self.tmux(&["display-message", "-p", "#{pane_tty}"]).trim().into()
    }

    /// The terminal's settings, all of them, in words.
    #[track_caller]
    #[must_use]
    pub fn settings(&self) -> String {
        let terminal = self.terminal();
        run("stty", ["-a".as_ref(), "-F".as_ref(), terminal.as_os_str()]).ok().stdout
    }
}

impl Default for Tmux {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        run("tmux", ["-S", &self.socket, "kill-server"]);
    }
}
