//! When apps start, and start again, as the plan says it.

use rocket_plan::{AppPlan, Kind, Restart, RestartRules, feature};
use rocket_podfile::{App, RestartPolicy};
use std::time::Duration;

/// What a flavour must be able to do for these apps.
pub(super) fn features(apps: &[AppPlan]) -> Vec<String> {
    let ordered = |app: &AppPlan| {
        app.kind != Kind::Service || !app.after.is_empty() || !app.requires.is_empty()
    };
    let mut features = Vec::new();
    if apps.iter().any(|app| app.restart != Restart::No) {
        features.push(feature::RESTART.to_owned());
    }
    if apps.iter().any(ordered) {
        features.push(feature::APP_ORDER.to_owned());
    }
    if apps.iter().any(|app| app.pre_start.is_some() || app.post_stop.is_some()) {
        features.push(feature::HANDLERS.to_owned());
    }
    features
}

/// An app's restart policy.
pub(super) fn restart(app: &App) -> Restart {
    let rules = RestartRules {
        delay_ms: milliseconds(app.restart_delay),
        max_delay_ms: milliseconds(app.restart_max_delay.max(app.restart_delay)),
        limit_count: app.restart_limit.count,
        limit_window_ms: milliseconds(app.restart_limit.window),
    };
    match app.restart {
        RestartPolicy::No => Restart::No,
        RestartPolicy::OnFailure => Restart::OnFailure(rules),
        RestartPolicy::Always => Restart::Always(rules),
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(text: &str) -> App {
        let text = format!("network = \"none\"\n[app.a]\nimage = \"i\"\n{text}");
        let pod = rocket_podfile::parse(std::path::Path::new("p"), &text).unwrap();
        pod.apps[0].clone()
    }

    #[test]
    fn restarts_have_the_defaults_of_the_page() {
        assert_eq!(restart(&app("")), Restart::No);
        let rules = RestartRules {
            delay_ms: 100,
            max_delay_ms: 60_000,
            limit_count: 5,
            limit_window_ms: 600_000,
        };
        assert_eq!(restart(&app("restart = \"on-failure\"")), Restart::OnFailure(rules));
        let text = "restart = \"always\"\nrestart-delay = \"2min\"\nrestart-limit = \"1/1s\"";
        let rules = RestartRules {
            delay_ms: 120_000,
            max_delay_ms: 120_000,
            limit_count: 1,
            limit_window_ms: 1000,
        };
        assert_eq!(restart(&app(text)), Restart::Always(rules));
    }
}
