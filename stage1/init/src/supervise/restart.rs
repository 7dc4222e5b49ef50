//! How often and how soon an app starts again: times passed in, in milliseconds.

use std::collections::VecDeque;

use rocket_plan::{Restart, RestartRules};

/// What has been so far.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Automatic restarts that still count, oldest first: never more than the limit.
    recent: VecDeque<u64>,
    /// How often the pause has doubled.
    doubled: u32,
}

/// What to do about an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It stays ended.
    Stay,
    /// It starts again after this many milliseconds.
    After(u64),
    /// It would, but has too often.
    Limit,
}

impl History {
    /// An app that was started at `started` has ended now.
    pub fn ended(&mut self, restart: &Restart, well: bool, started: u64, now: u64) -> Verdict {
        let rules = match restart {
            Restart::OnFailure(rules) if !well => rules,
            Restart::Always(rules) => rules,
            Restart::No | Restart::OnFailure(_) => return Verdict::Stay,
        };
        let counts = |at: &u64| now.saturating_sub(*at) < rules.limit_window_ms;
        self.recent.retain(counts);
        if self.recent.len() >= usize::try_from(rules.limit_count).unwrap_or(usize::MAX) {
            return Verdict::Limit;
        }
        // It has run well for long enough to begin anew.
        if now.saturating_sub(started) >= rules.max_delay_ms {
            self.doubled = 0;
        }
        let pause = delay(rules, self.doubled);
        self.doubled = self.doubled.saturating_add(1);
        self.recent.push_back(now);
        Verdict::After(pause)
    }

    /// Somebody has looked after it.
    pub fn forget(&mut self) {
        *self = Self::default();
    }
}

fn delay(rules: &RestartRules, doubled: u32) -> u64 {
    let factor = 1u64.checked_shl(doubled).unwrap_or(u64::MAX);
    rules.delay_ms.saturating_mul(factor).min(rules.max_delay_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: RestartRules =
        RestartRules { delay_ms: 100, max_delay_ms: 1000, limit_count: 5, limit_window_ms: 10_000 };

    #[test]
    fn who_is_started_again() {
        let verdict = |restart: &Restart, well| History::default().ended(restart, well, 0, 0);
        for well in [true, false] {
            assert_eq!(verdict(&Restart::No, well), Verdict::Stay);
            assert_eq!(verdict(&Restart::Always(RULES), well), Verdict::After(100));
        }
        assert_eq!(verdict(&Restart::OnFailure(RULES), true), Verdict::Stay);
        assert_eq!(verdict(&Restart::OnFailure(RULES), false), Verdict::After(100));
    }

    #[test]
    fn the_pause_doubles_up_to_its_maximum_and_then_it_has_failed() {
        let restart = Restart::OnFailure(RULES);
        let mut history = History::default();
        let mut now = 0;
        for pause in [100, 200, 400, 800, 1000] {
            assert_eq!(history.ended(&restart, false, now, now + 10), Verdict::After(pause));
            now += 10 + pause;
        }
        assert_eq!(history.ended(&restart, false, now, now + 10), Verdict::Limit);
        // Saying so does not count as another one; the oldest leaves the window in time.
        assert_eq!(history.ended(&restart, false, 10_009, 10_009), Verdict::Limit);
        assert_eq!(history.ended(&restart, false, 10_010, 10_010), Verdict::After(1000));
        history.forget();
        assert_eq!(history.ended(&restart, false, 10_010, 10_010), Verdict::After(100));
    }

    #[test]
    fn a_long_run_begins_anew_with_the_first_pause() {
        let restart = Restart::Always(RULES);
        let mut history = History::default();
        assert_eq!(history.ended(&restart, true, 0, 0), Verdict::After(100));
        assert_eq!(history.ended(&restart, true, 100, 1099), Verdict::After(200));
        assert_eq!(history.ended(&restart, true, 1299, 2299), Verdict::After(100));
    }

    #[test]
    fn odd_rules_do_not_overflow() {
        let rules = RestartRules {
            delay_ms: u64::MAX / 2,
            max_delay_ms: u64::MAX,
            limit_count: u32::MAX,
            limit_window_ms: u64::MAX,
        };
        let mut history = History::default();
        for _ in 0..200 {
            assert!(matches!(
                history.ended(&Restart::Always(rules), true, 0, 0),
                Verdict::After(_)
            ));
        }
        let none = RestartRules { limit_count: 0, ..RULES };
        assert_eq!(history.ended(&Restart::Always(none), true, 0, 0), Verdict::Limit);
    }
}
