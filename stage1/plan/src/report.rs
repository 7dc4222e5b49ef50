//! What became of limits, as init finds it when set-up is done.

use crate::Isolators;
use serde::{Deserialize, Serialize};

/// Version of the report.
pub const REPORT_VERSION: u32 = 1;

/// One JSON object, written once to the descriptor `report` before any app runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// [`REPORT_VERSION`].
    pub version: u32,
    /// Limits of the pod, which its unit has.
    pub pod: Isolators,
    /// Limits of each app, in the plan's order.
    pub apps: Vec<AppReport>,
}

/// The limits of one app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AppReport {
    /// The app.
    pub name: String,
    /// What became of what it and its image ask for.
    #[serde(flatten)]
    pub isolators: Isolators,
}
