//! Running a program to its end, with a deadline.

use rustix::process::{Pid, Signal, kill_process_group};
use std::ffi::OsStr;
use std::fmt;
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A program to run, as the leader of a process group of its own that dies at the deadline.
pub struct Command {
    inner: std::process::Command,
    words: Vec<String>,
    deadline: Duration,
    input: Vec<u8>,
}

/// How a program ended and what it wrote.
pub struct Done {
    words: Vec<String>,
    /// Its exit status; see [`Done::code`] for the shell's way to say it.
    pub status: ExitStatus,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

/// Runs `program` with `args` to its end.
#[track_caller]
pub fn run<S: AsRef<OsStr>>(program: &str, args: impl IntoIterator<Item = S>) -> Done {
    Command::new(program).args(args).run()
}

/// Runs the installed `rocket`.
#[track_caller]
pub fn rocket<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Done {
    run("/usr/bin/rocket", args)
}

impl Command {
    /// A program without arguments, a deadline of 60 s and an empty standard input.
    #[must_use]
    pub fn new(program: &str) -> Self {
        let mut inner = std::process::Command::new(program);
        inner.process_group(0);
        let words = vec![program.to_owned()];
        Self { inner, words, deadline: Duration::from_secs(60), input: Vec::new() }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        for arg in args {
            self.words.push(arg.as_ref().to_string_lossy().into_owned());
            self.inner.arg(arg);
        }
        self
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.inner.env(name, value);
        self
    }

    /// Sets what it reads from standard input.
    #[must_use]
    pub fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self
    }

    /// Sets another deadline.
    #[must_use]
    pub fn seconds(mut self, seconds: u64) -> Self {
        self.deadline = Duration::from_secs(seconds);
        self
    }

    /// Starts it; the caller ends it.
    #[track_caller]
    pub fn start(self) -> Started {
        let Self { mut inner, words, deadline, input } = self;
        inner.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = inner.spawn().unwrap_or_else(|e| panic!("{}: {e}", words.join(" ")));
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let mut stdin = child.stdin.take().unwrap();
        // What cannot be written was not wanted: a program may end without reading.
        drop(stdin.write_all(&input));
        Started {
            child,
            stdin: Some(stdin),
            words,
            end: Instant::now() + deadline,
            readers: [reader(stdout), reader(stderr)],
        }
    }

    /// Runs it to its end.
    #[track_caller]
    pub fn run(self) -> Done {
        self.start().wait()
    }
}

/// A program that runs.
pub struct Started {
    child: Child,
    stdin: Option<std::process::ChildStdin>,
    words: Vec<String>,
    end: Instant,
    readers: [JoinHandle<String>; 2],
}

impl Started {
    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Writes to its standard input, which stays open until it is waited for.
    pub fn write(&mut self, bytes: &[u8]) {
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(bytes).unwrap();
        stdin.flush().unwrap();
    }

    /// Sends it a signal, and to no other process.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        rustix::process::kill_process(self.pid(), signal).unwrap();
    }

    /// Waits for its end; past the deadline its process group is killed and the test fails.
    #[track_caller]
    pub fn wait(mut self) -> Done {
        drop(self.stdin.take());
        let mut late = false;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > self.end {
                late = true;
                let _ = kill_process_group(self.pid(), Signal::KILL);
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let [stdout, stderr] = self.readers.map(|reader| reader.join().unwrap());
        let done = Done { words: self.words, status, stdout, stderr };
        assert!(!late, "did not end in time: {done}");
        done
    }
}

fn reader(mut from: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        drop(from.read_to_end(&mut bytes));
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

impl Done {
    /// The exit status as a shell says it: 128+n for a signal.
    #[must_use]
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| 128 + self.status.signal().unwrap_or(0))
    }

    /// Fails the test unless the program ended with 0.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.ends_with(0)
    }

    /// Fails the test unless the program ended with `code`.
    #[track_caller]
    pub fn ends_with(self, code: i32) -> Self {
        assert_eq!(self.code(), code, "{self}");
        self
    }

    /// Fails the test unless standard error has all of `words`.
    #[track_caller]
    pub fn says(self, words: &[&str]) -> Self {
        for word in words {
            assert!(self.stderr.contains(word), "no `{word}` in: {self}");
        }
        self
    }

    /// What it wrote to standard output, without the last line end.
    #[must_use]
    pub fn text(&self) -> &str {
        self.stdout.trim_end_matches('\n')
    }
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { words, stdout, stderr, .. } = self;
        writeln!(f, "`{}` ended with {}", words.join(" "), self.code())?;
        write!(f, "--- stdout\n{stdout}\n--- stderr\n{stderr}")
    }
}
