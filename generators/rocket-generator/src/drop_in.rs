//! From a pod file to its drop-in: data in, text out.

use crate::rate_limit;
use crate::triggers;
use crate::unit_text::UnitText;
use rocket_podfile::{
    CredentialSource, Diagnostic, LoadError, Loaded, PodFile, TimeSpan, VolumeKind,
};
use std::path::Path;
use std::time::Duration;

/// EX_CONFIG: what a broken pod file ends with. The template does not restart it.
pub const BROKEN: u8 = 78;

/// The most diagnostics that a drop-in carries.
const MOST: usize = 20;

/// The most characters of each: a status and an argument have bounds, and a file may have lines of
/// a megabyte. systemd takes no status of more than 4096 bytes, and a character has up to four.
const LONGEST: usize = 900;
/// Of one that is longer, the beginning says where and what, and the end what to do about it.
const END: usize = 300;

/// The drop-in of a pod file that is right.
///
/// `unlimited`: how fast its apps write is not to be limited.
pub fn of_pod(name: &str, loaded: &Loaded, unlimited: bool) -> String {
    let pod = &loaded.pod;
    let mut unit = UnitText::default();
    header(&mut unit, loaded.sources.iter().map(|path| path.as_path()));

    unit.section("Unit");
    source(&mut unit, loaded.sources.first().map(|path| path.as_path()));
    if let Some(description) = pod.description.as_deref().filter(|text| !text.is_empty()) {
        unit.text("Description", description);
    }
    let lists = [
        ("After", &pod.unit.after),
        ("Before", &pod.unit.before),
        ("Requires", &pod.unit.requires),
        ("Wants", &pod.unit.wants),
        ("Conflicts", &pod.unit.conflicts),
    ];
    for (key, units) in lists {
        if !units.is_empty() {
            // Unit names keep their backslashes here: nothing is quoted, nothing has to be.
            unit.plain(key, &units.join(" "));
        }
    }
    start_limit(&mut unit, pod);
    for volume in &pod.volumes {
        if let VolumeKind::Host { source, .. } = &volume.kind
            && let Some(path) = source.to_str()
        {
            unit.words("RequiresMountsFor", [path]);
        }
    }

    unit.section("Service");
    unit.plain("Environment", &format!("ROCKET_POD_DIGEST={}", loaded.digest));
    unit.plain("LogExtraFields", &format!("ROCKET_POD={name}"));
    if unlimited {
        unit.plain("LogRateLimitBurst", rate_limit::NO_LIMIT);
    }
    unit.plain("Restart", pod.unit.restart.as_str());
    unit.plain("RestartSec", &pod.unit.restart_sec.to_string());
    unit.plain("TimeoutStartSec", &pod.unit.start_timeout.to_string());
    for port in triggers::activated(pod) {
        unit.plain("Sockets", &triggers::socket_unit(name, &port.name));
    }
    for credential in &pod.credentials {
        let name = &credential.name;
        match &credential.source {
            CredentialSource::Load(from) => unit.credential_file("LoadCredential", name, from),
            CredentialSource::LoadEncrypted(from) => {
                unit.credential_file("LoadCredentialEncrypted", name, from);
            }
            CredentialSource::Set(text) => unit.credential(name, text),
        }
    }
    bounds(&mut unit, pod);
    unit.finish()
}

/// A pod with sockets of its own has no start limit: systemd closes the sockets of a unit that
/// reached it (systemd.socket(5)), and what connects meanwhile would be refused.
fn start_limit(unit: &mut UnitText, pod: &PodFile) {
    if triggers::activated(pod).next().is_some() {
        unit.plain("StartLimitIntervalSec", "0");
    }
}

/// What holds a pod that is running.
fn bounds(unit: &mut UnitText, pod: &PodFile) {
    if let Some(slice) = &pod.unit.slice {
        unit.plain("Slice", slice);
    }
    for (key, value) in pod.limits.unit_properties() {
        // Devices are paths, in which specifiers are expanded; the other values have none.
        if key.starts_with("IO") && value.starts_with('/') {
            unit.text(key, &value);
        } else {
            unit.plain(key, &value);
        }
    }
    // To systemd 0 is no limit, and here it is no time at all.
    let least = TimeSpan::Finite(Duration::from_micros(1));
    unit.plain("TimeoutStopSec", &pod.stop_timeout().max(least).to_string());
}

/// The drop-in of a pod file that is wrong: its start fails with what is wrong, instead of the
/// unit's not being found. `generator` is this program. `salvage` is what is right in the file: a
/// pod that is running while its file is broken keeps its limits over a daemon-reload.
pub fn of_error(generator: &Path, error: &LoadError, salvage: Option<&PodFile>) -> String {
    let (file, complaints) = match error {
        LoadError::Invalid(diagnostics) => {
            (diagnostics.first().map(|d| d.file.as_path()), complaints(diagnostics))
        }
        LoadError::Unreadable { path, error: why } => {
            (Some(path.as_path()), vec![format!("{}: cannot be read: {why}", path.display())])
        }
        other => (None, vec![other.to_string()]),
    };
    let complaints: Vec<String> = complaints.into_iter().map(bounded).collect();
    let mut unit = UnitText::default();
    header(&mut unit, file);
    unit.section("Unit");
    source(&mut unit, file);
    if let Some(pod) = salvage {
        start_limit(&mut unit, pod);
    }
    unit.section("Service");
    unit.reset("ExecStart");
    let generator = generator.to_string_lossy();
    let mut words: Vec<&str> = vec![&generator, "--fail"];
    words.extend(complaints.iter().map(String::as_str));
    unit.command("ExecStart", &words);
    unit.plain("Restart", "no");
    if let Some(pod) = salvage {
        bounds(&mut unit, pod);
    }
    unit.finish()
}

fn complaints(diagnostics: &[Diagnostic]) -> Vec<String> {
    let mut all: Vec<String> = diagnostics
        .iter()
        .take(MOST)
        .map(|diagnostic| match &diagnostic.hint {
            None => diagnostic.to_string(),
            Some(hint) => format!("{diagnostic} ({hint})"),
        })
        .collect();
    if diagnostics.len() > MOST {
        all.push(format!("and {} more", diagnostics.len() - MOST));
    }
    all
}

/// A text of at most [`LONGEST`] characters: of a longer one the middle is left out.
fn bounded(text: String) -> String {
    let length = text.chars().count();
    if length <= LONGEST {
        return text;
    }
    let begin = text.chars().take(LONGEST - END - 1);
    begin.chain(['…']).chain(text.chars().skip(length - END)).collect()
}

pub(crate) fn header<'a>(unit: &mut UnitText, sources: impl IntoIterator<Item = &'a Path>) {
    unit.comment("Written by rocket-generator; a change here is lost at the next daemon-reload.");
    for path in sources {
        unit.comment(&format!("from {}", path.display()));
    }
}

/// systemd says "daemon-reload" when this file is newer than what was loaded.
pub(crate) fn source(unit: &mut UnitText, path: Option<&Path>) {
    if let Some(path) = path.and_then(Path::to_str) {
        unit.text("SourcePath", path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_complaint_keeps_both_its_ends() {
        let short = "ä".repeat(LONGEST);
        assert_eq!(bounded(short.clone()), short);
        let long = format!("file:1:2: {} (do this)", "ä".repeat(1 << 20));
        let text = bounded(long);
        assert_eq!(text.chars().count(), LONGEST);
        assert!(text.starts_with("file:1:2: ä") && text.ends_with("ä (do this)"), "{text}");
        assert!(text.contains("ä…ä"), "{text}");
    }
}
