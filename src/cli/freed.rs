//! What a removal frees, or would free: what, why, and how many bytes.

use crate::cli::output::{self, Format};
use serde::Serialize;

/// One thing that goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Freed {
    /// `pod`, `prepared-pod`, `image`, `layer` or `blob`.
    pub kind: &'static str,
    /// Which pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// Which image, layer or blob.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// A pod's name, or an image's names.
    pub name: Option<String>,
    /// Why it goes.
    pub why: String,
    /// What that gives back to the disk.
    pub bytes: u64,
}

impl Freed {
    /// In a sentence that begins with `verb`.
    pub fn sentence(&self, verb: &str) -> String {
        let name = self.name.as_deref().map_or_else(String::new, |name| format!(" ({name})"));
        let id = self.uuid.as_deref().or(self.digest.as_deref()).unwrap_or("-");
        let kind = self.kind.replace('-', " ");
        format!("{verb} {kind} {id}{name}: {}, {} bytes", self.why, self.bytes)
    }
}

/// Prints all of it.
pub fn report(list: &[Freed], format: Format, dry_run: bool) {
    match format {
        Format::Json => output::json(&serde_json::to_value(list).unwrap_or_default()),
        Format::Table => {
            let verb = if dry_run { "would remove" } else { "removed" };
            list.iter().for_each(|freed| output::data(&freed.sentence(verb)));
            if list.len() > 1 {
                let total = list.iter().fold(0u64, |sum, freed| sum.saturating_add(freed.bytes));
                output::data(&format!("{total} bytes in all"));
            }
        }
    }
}
