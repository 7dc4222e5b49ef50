//! What `rocket status` says of the pod as a whole, and of what became of limits and isolators.

use crate::cli::detail;
use crate::pod::limits;
use crate::pod::list::{Info, Status};
use crate::pod::usage::{self, Usage};
use rocket_plan::{Isolators, Report};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// The pod's own cgroup, and the report of its limits.
#[derive(Debug, Default)]
pub struct PodReport {
    /// What all of it uses, init included.
    pub usage: Option<Usage>,
    /// What it may use.
    limits: BTreeMap<&'static str, String>,
    /// What became of what was asked for.
    report: Option<Report>,
}

impl PodReport {
    /// Of a pod in `dir`.
    pub fn of(dir: &Path, pod: &Info) -> Self {
        let (usage, limits) = usage(pod);
        Self { usage, limits, report: limits::report(dir) }
    }

    fn app(&self, name: &str) -> Option<&Isolators> {
        let report = self.report.as_ref()?;
        Some(&report.apps.iter().find(|app| app.name == name)?.isolators)
    }

    /// Lines about the pod: key and value.
    pub fn lines(&self) -> Vec<(&'static str, String)> {
        let mut lines = Vec::new();
        lines.extend(self.usage.as_ref().and_then(detail::line).map(|text| ("usage", text)));
        if !self.limits.is_empty() {
            let all = self.limits.iter().map(|(file, value)| format!("{file}={value}"));
            lines.push(("limits", all.collect::<Vec<_>>().join(", ")));
        }
        lines.extend(self.report.iter().flat_map(|report| became(&report.pod)));
        lines
    }

    /// Lines about what became of an app's isolators.
    pub fn app_lines(&self, name: &str) -> Vec<(&'static str, String)> {
        self.app(name).map(became).unwrap_or_default()
    }

    /// Adds it to what is known of the pod.
    pub fn add_to(&self, pod: &mut Value) {
        if let Some(apps) = pod.get_mut("apps").and_then(Value::as_array_mut) {
            for app in apps {
                let name = app.get("name").and_then(Value::as_str).unwrap_or_default();
                let isolators = json!(self.app(name));
                if let Some(app) = app.as_object_mut() {
                    app.insert("isolators".to_owned(), isolators);
                }
            }
        }
        if let Some(pod) = pod.as_object_mut() {
            pod.insert("usage".to_owned(), json!(self.usage));
            pod.insert("limits".to_owned(), json!(self.limits));
            let isolators = json!(self.report.as_ref().map(|report| &report.pod));
            pod.insert("isolators".to_owned(), isolators);
        }
    }
}

/// What the whole of a running pod uses and may use.
pub fn usage(pod: &Info) -> (Option<Usage>, BTreeMap<&'static str, String>) {
    let dir = pod.cgroup.as_ref().filter(|_| pod.status == Status::Running);
    match dir.and_then(usage::cgroup) {
        Some(dir) => (usage::read_pod(&dir), usage::limits(&dir)),
        None => (None, BTreeMap::new()),
    }
}

/// What is in force in one line, and a line for each thing that is not, or not as asked.
fn became(isolators: &Isolators) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    if !isolators.enforced.is_empty() {
        let names: Vec<&str> = isolators.enforced.iter().map(|entry| entry.name.as_str()).collect();
        lines.push(("enforced", names.join(", ")));
    }
    for (key, list) in [("changed", &isolators.changed), ("ignored", &isolators.ignored)] {
        lines.extend(list.iter().map(|entry| (key, format!("{}: {}", entry.name, entry.detail))));
    }
    lines
}
