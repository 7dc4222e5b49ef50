//! What was measured, as a table and as JSON.

use crate::explain;
use crate::measure::{Samples, line};
use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;

/// A figure with a limit.
#[derive(Clone, Debug, Serialize)]
pub struct Budget {
    /// The part of the benchmark it belongs to.
    pub part: String,
    /// What is compared with what.
    pub what: String,
    /// What was measured.
    pub value: f64,
    /// What it may be.
    pub limit: f64,
    /// Of both: "×", "ms" or "MB".
    pub unit: &'static str,
    /// Whether it is.
    pub within: bool,
}

/// A command of something that is over budget, and its dearest system calls.
#[derive(Clone, Debug, Serialize)]
pub struct Explained {
    command: Vec<String>,
    calls: Vec<String>,
}

/// A part that could not be measured.
#[derive(Clone, Debug, Serialize)]
pub struct Missing {
    /// Which.
    pub part: String,
    /// Why not.
    pub why: String,
}

/// Everything one run found.
#[derive(Debug, Default)]
pub struct Report {
    /// Programs and their versions.
    pub versions: BTreeMap<String, String>,
    /// Facts that the figures depend on.
    pub notes: Vec<String>,
    /// Figures with limits.
    pub budgets: Vec<Budget>,
    /// Where the time of misses goes.
    pub explained: Vec<Explained>,
    /// What could not be measured.
    pub missing: Vec<Missing>,
    samples: Vec<(String, Samples)>,
    part: String,
}

impl Report {
    /// Everything that follows belongs to this part.
    pub fn begin(&mut self, part: &str) {
        part.clone_into(&mut self.part);
    }

    /// Takes measurements.
    pub fn add(&mut self, samples: Vec<Samples>) {
        self.samples.extend(samples.into_iter().map(|samples| (self.part.clone(), samples)));
    }

    /// A fact.
    pub fn note(&mut self, text: String) {
        if !self.notes.contains(&text) {
            self.notes.push(text);
        }
    }

    fn find(&self, name: &str) -> Result<&Samples> {
        let found = self.samples.iter().find(|(part, s)| *part == self.part && s.name == name);
        found.map(|(_, samples)| samples).with_context(|| format!("{name}: not measured"))
    }

    /// The median of a case of this part.
    pub fn median(&self, name: &str) -> Result<f64> {
        Ok(self.find(name)?.median())
    }

    /// Budget: the median of `ours` in relation to that of `theirs`.
    pub fn ratio(&mut self, ours: &str, theirs: &str, limit: f64) -> Result<()> {
        let command = self.find(ours)?.command.clone();
        let value = self.median(ours)? / self.median(theirs)?;
        self.budget(&format!("{ours}, to {theirs}"), value, limit, "×", command);
        Ok(())
    }

    /// Budget: a median in milliseconds.
    pub fn at_most(&mut self, ours: &str, limit: f64) -> Result<()> {
        let command = self.find(ours)?.command.clone();
        let value = self.median(ours)?;
        self.budget(ours, value, limit, "ms", command);
        Ok(())
    }

    /// Budget: any figure.
    pub fn budget(
        &mut self,
        what: &str,
        value: f64,
        limit: f64,
        unit: &'static str,
        command: Option<Vec<String>>,
    ) {
        let (part, what) = (self.part.clone(), what.to_owned());
        let within = value <= limit;
        self.budgets.push(Budget { part, what, value, limit, unit, within });
        // Now, because what it needs is still there.
        if let Some(command) = command.filter(|_| !within)
            && !self.explained.iter().any(|known| known.command == command)
        {
            let calls = explain::trace(&command);
            self.explained.push(Explained { command, calls });
        }
    }

    /// Names a part that could not be measured.
    pub fn could_not(&mut self, part: &str, error: &anyhow::Error) {
        self.missing.push(Missing { part: part.to_owned(), why: format!("{error:#}") });
    }

    /// Prints everything.
    pub fn print(&self) {
        println!("\nProgram versions");
        for (name, version) in &self.versions {
            println!("  {name:<17} {version}");
        }
        for note in &self.notes {
            println!("  {note}");
        }
        println!("\n{:<52} {:>9} {:>9} {:>9} {:>4}", "milliseconds", "median", "25 %", "75 %", "n");
        let mut part = "";
        for (of, samples) in &self.samples {
            if part != of {
                println!("{of}");
                part = of;
            }
            println!(
                "  {:<50} {:>9} {:>9} {:>9} {:>4}",
                samples.name,
                number(samples.median()),
                number(samples.quantile(0.25)),
                number(samples.quantile(0.75)),
                samples.ms.len()
            );
        }
        println!("\n{:<70} {:>9} {:>9}", "budgets", "measured", "limit");
        for budget in &self.budgets {
            println!(
                "  {:<68} {:>9} {:>9} {:<2}  {}",
                budget.what,
                number(budget.value),
                number(budget.limit),
                budget.unit,
                verdict(budget.within)
            );
        }
        for explained in &self.explained {
            println!("\nwhere the time goes: {}", line(&explained.command));
            for line in &explained.calls {
                println!("  {line}");
            }
        }
        for missing in &self.missing {
            println!("\ncould not measure: {}: {}", missing.part, missing.why);
        }
    }

    /// Writes everything, every single measurement included.
    pub fn write(&self, file: &Path) -> Result<()> {
        let samples: Vec<_> = self
            .samples
            .iter()
            .map(|(part, samples)| {
                json!({"part": part, "name": samples.name, "median": samples.median(), "ms": samples.ms})
            })
            .collect();
        let budgets: Vec<_> = self
            .budgets
            .iter()
            .map(|budget| {
                let mut value = serde_json::to_value(budget)?;
                value["verdict"] = verdict(budget.within).into();
                Ok(value)
            })
            .collect::<Result<_>>()?;
        let all = json!({
            "versions": self.versions,
            "notes": self.notes,
            "measured": samples,
            "budgets": budgets,
            "where-time-goes": self.explained,
            "missing": self.missing,
        });
        let text = serde_json::to_string_pretty(&all)? + "\n";
        std::fs::write(file, text).with_context(|| file.display().to_string())
    }
}

fn verdict(within: bool) -> &'static str {
    if within { "within budget" } else { "over budget" }
}

/// Three digits that count.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_compares_medians_of_its_own_part() {
        let mut report = Report::default();
        let of = |name: &str, ms: f64| Samples { name: name.into(), ms: vec![ms], command: None };
        report.begin("one");
        report.add(vec![of("ours", 1.0), of("theirs", 2.0)]);
        report.begin("two");
        report.add(vec![of("ours", 3.0), of("theirs", 2.0)]);
        report.ratio("ours", "theirs", 1.0).unwrap();
        assert!(!report.budgets[0].within);
        assert_eq!(report.budgets[0].value, 1.5);
        assert!(report.ratio("ours", "nobody", 1.0).is_err());
    }
}
