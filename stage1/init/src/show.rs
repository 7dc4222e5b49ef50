//! How the pod is doing, in words: `systemctl status` shows it.

use rocket_sys::pidfd::Exit;
use rocket_sys::signal;

use crate::supervise::State;

/// Longest text: systemd cuts what is much longer.
const LONGEST: usize = 1000;

/// What is said of an app.
#[derive(Clone, Copy, Debug)]
pub struct App<'a> {
    /// Its name.
    pub name: &'a str,
    /// Where it is in its life.
    pub state: State,
    /// Whether it is ready.
    pub ready: bool,
    /// How its last run ended.
    pub why: &'a str,
    /// Processes of its present run that were killed because memory ran out.
    pub oom_kills: u64,
}

/// `3/4 apps ready`, and what is wrong or still to come.
pub fn status(apps: &[App<'_>]) -> String {
    let ready = apps.iter().filter(|a| a.ready).count();
    let mut text = match apps.len() {
        1 => format!("{ready}/1 app ready"),
        all => format!("{ready}/{all} apps ready"),
    };
    for app in apps {
        let more = match app.state {
            _ if app.ready && app.oom_kills > 0 => victims(app.oom_kills),
            _ if app.ready => continue,
            State::Waiting | State::Starting => "waits".to_owned(),
            State::Preparing => "runs its pre-start handler".to_owned(),
            State::Cleaning => "runs its post-stop handler".to_owned(),
            State::Running => "runs".to_owned(),
            State::Stopping | State::Killed => "stops".to_owned(),
            State::Ended => "has ended".to_owned(),
            State::Backoff | State::Failed => app.why.to_owned(),
        };
        text.push_str(&format!("; {} {more}", app.name));
    }
    if text.len() > LONGEST {
        let end = (0..LONGEST).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

/// How a process ended.
pub fn exit(exit: Exit, oom: bool) -> String {
    match exit {
        _ if oom => "killed by the kernel because memory ran out".to_owned(),
        Exit::Code(code) => format!("exited with {code}"),
        Exit::Signal(number) => format!("killed by {}", signal::name(number)),
    }
}

/// How many processes were killed although the app lives on.
pub fn victims(kills: u64) -> String {
    let processes = if kills == 1 { "a process" } else { &format!("{kills} processes") };
    format!("lost {processes} because memory ran out")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_for_every_condition() {
        let app = |name, state, ready, why| App { name, state, ready, why, oom_kills: 0 };
        let run = app("a", State::Running, true, "");
        assert_eq!(status(&[run]), "1/1 app ready");
        let apps = [
            run,
            app("b", State::Ended, true, "exited with 0"),
            App { oom_kills: 2, ..app("c", State::Running, true, "") },
        ];
        let lost = "3/3 apps ready; c lost 2 processes because memory ran out";
        assert_eq!(status(&apps), lost);
        let apps = [
            run,
            app("b", State::Running, false, ""),
            app("c", State::Waiting, false, ""),
            app("d", State::Backoff, false, "exited with 1, starts again in 400ms"),
            app("e", State::Failed, false, "killed by SIGSEGV"),
            app("f", State::Ended, false, "exited with 0"),
            app("g", State::Stopping, false, ""),
        ];
        assert_eq!(
            status(&apps),
            "1/7 apps ready; b runs; c waits; d exited with 1, starts again in 400ms; \
             e killed by SIGSEGV; f has ended; g stops"
        );
        let many = vec![app("é", State::Failed, false, "exited with 1"); 200];
        let text = status(&many);
        assert!(text.len() < 1010 && text.ends_with('…'), "{text}");
    }

    #[test]
    fn ends_in_words() {
        assert_eq!(exit(Exit::Code(3), false), "exited with 3");
        assert_eq!(exit(Exit::Signal(11), false), "killed by SIGSEGV");
        assert_eq!(exit(Exit::Signal(9), true), "killed by the kernel because memory ran out");
        assert_eq!(victims(1), "lost a process because memory ran out");
    }
}
