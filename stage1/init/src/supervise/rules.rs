//! What a plan says about the life of an app, with names made indices.

use rocket_plan::{Kind, PodPlan, Restart};

/// One app's.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Its name.
    pub name: String,
    /// Service or one-shot.
    pub kind: Kind,
    /// Those that must be ready or over first.
    pub after: Vec<usize>,
    /// Those that must be ready first, and stay.
    pub requires: Vec<usize>,
    /// What happens when it ends.
    pub restart: Restart,
    /// From the stop signal to SIGKILL; and as long again for the post-stop handler.
    pub stop_timeout: u64,
    /// Whether a handler runs before it.
    pub pre_start: bool,
    /// Whether a handler runs after it.
    pub post_stop: bool,
}

impl Rules {
    /// Those of a plan that was checked: names lead to earlier apps.
    pub fn of(plan: &PodPlan) -> Vec<Self> {
        let find = |name: &String| plan.apps.iter().position(|a| a.name == *name);
        let rules = |app: &rocket_plan::AppPlan| Self {
            name: app.name.clone(),
            kind: app.kind,
            after: app.after.iter().filter_map(find).collect(),
            requires: app.requires.iter().filter_map(find).collect(),
            restart: app.restart,
            stop_timeout: app.stop_timeout_ms,
            pre_start: app.pre_start.is_some(),
            post_stop: app.post_stop.is_some(),
        };
        plan.apps.iter().map(rules).collect()
    }

    /// Its limit, in words.
    pub fn limit(&self) -> String {
        match &self.restart {
            Restart::No => String::new(),
            Restart::OnFailure(rules) | Restart::Always(rules) => {
                let window = span(rules.limit_window_ms);
                format!("{} restarts within {window} were the limit", rules.limit_count)
            }
        }
    }
}

/// Milliseconds as the pod file writes them.
pub fn span(ms: u64) -> String {
    let mut rest = ms;
    let mut text = String::new();
    for (unit, size) in [("h", 3_600_000), ("min", 60_000), ("s", 1000), ("ms", 1)] {
        if rest >= size {
            text.push_str(if text.is_empty() { "" } else { " " });
            text.push_str(&format!("{}{unit}", rest / size));
            rest %= size;
        }
    }
    if text.is_empty() { "0ms".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    #[test]
    fn spans_for_people() {
        for (ms, text) in [
            (0, "0ms"),
            (400, "400ms"),
            (1500, "1s 500ms"),
            (600_000, "10min"),
            (3_661_001, "1h 1min 1s 1ms"),
        ] {
            assert_eq!(super::span(ms), text);
        }
    }
}
