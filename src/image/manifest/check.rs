//! The rules of appc's image manifest, each with its own message.

use super::{App, Dependency, ImageManifest, Label};
use crate::image::digest::{Algo, Digest};
use crate::image::name::AcIdentifier;
use std::collections::BTreeSet;

/// Why an image manifest is refused.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not JSON, or a field of the wrong shape.
    #[error("the image manifest cannot be read: {0}")]
    Json(#[source] serde_json::Error),
    /// A field that breaks a rule.
    #[error("the image manifest is not valid: {field}: {problem}")]
    Field {
        /// Where.
        field: String,
        /// What is wrong.
        problem: String,
    },
}

type Check = Result<(), ManifestError>;

fn bad(field: impl Into<String>, problem: impl Into<String>) -> ManifestError {
    ManifestError::Field { field: field.into(), problem: problem.into() }
}

const OS_ARCH: [(&str, &[&str]); 3] = [
    (
        "linux",
        &[
            "amd64",
            "i386",
            "aarch64",
            "aarch64_be",
            "armv6l",
            "armv7l",
            "armv7b",
            "ppc64",
            "ppc64le",
            "s390x",
        ],
    ),
    ("freebsd", &["amd64", "i386", "arm"]),
    ("darwin", &["x86_64", "i386"]),
];

impl ImageManifest {
    /// Checks every rule that serde's types do not.
    pub fn validate(&self) -> Check {
        if self.ac_kind != "ImageManifest" {
            return Err(bad("acKind", format!("must be ImageManifest, not {:?}", self.ac_kind)));
        }
        version(&self.ac_version)?;
        labels("labels", &self.labels)?;
        os_arch(self)?;
        if let Some(app) = &self.app {
            check_app(app)?;
        }
        for (index, dependency) in self.dependencies.iter().enumerate() {
            check_dependency(&format!("dependencies[{index}]"), dependency)?;
        }
        for path in &self.path_whitelist {
            if !clean_absolute(path) {
                return Err(bad("pathWhitelist", format!("{path:?} is not a clean absolute path")));
            }
        }
        annotations(self)
    }
}

fn version(text: &str) -> Check {
    let core = text.split(['-', '+']).next().unwrap_or_default();
    let parts: Vec<Option<u64>> = core.split('.').map(number).collect();
    match parts.as_slice() {
        [Some(0), Some(1..=8), Some(_)] => Ok(()),
        [Some(_), Some(_), Some(_)] => {
            Err(bad("acVersion", format!("{text} is not supported (0.8 is)")))
        }
        _ => Err(bad("acVersion", format!("{text:?} is not a semantic version"))),
    }
}

fn number(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

fn labels(field: &str, labels: &[Label]) -> Check {
    let mut seen = BTreeSet::new();
    for label in labels {
        if label.name.as_str() == "name" {
            return Err(bad(field, "a label must not be called name"));
        }
        if !seen.insert(&label.name) {
            return Err(bad(field, format!("{} is given twice", label.name)));
        }
    }
    Ok(())
}

fn os_arch(manifest: &ImageManifest) -> Check {
    let (os, arch) = (manifest.label("os"), manifest.label("arch"));
    let Some(os) = os else {
        return match arch {
            Some(arch) => Err(bad("labels", format!("arch {arch:?} means nothing without os"))),
            None => Ok(()),
        };
    };
    let Some((_, arches)) = OS_ARCH.iter().find(|(known, _)| *known == os) else {
        return Err(bad("labels", format!("os {os:?} is not one of linux, freebsd, darwin")));
    };
    match arch {
        Some(arch) if !arches.contains(&arch) => Err(bad(
            "labels",
            format!("arch {arch:?} does not exist for {os} ({} do)", arches.join(", ")),
        )),
        _ => Ok(()),
    }
}

fn check_app(app: &App) -> Check {
    if app.exec.first().is_some_and(String::is_empty) {
        return Err(bad("app.exec", "the program must not be empty"));
    }
    no_nul("app.exec", app.exec.iter())?;
    for (field, value) in [("app.user", &app.user), ("app.group", &app.group)] {
        if value.is_empty() {
            return Err(bad(field, "must not be empty"));
        }
    }
    no_nul("app.user", [&app.user, &app.group].into_iter())?;
    let mut seen = BTreeSet::new();
    for handler in &app.event_handlers {
        let field = format!("app.eventHandlers {:?}", handler.name);
        if !["pre-start", "post-stop"].contains(&handler.name.as_str()) {
            return Err(bad(field, "only pre-start and post-stop exist"));
        }
        if !seen.insert(&handler.name) {
            return Err(bad(field, "is given twice"));
        }
        if handler.exec.first().is_none_or(String::is_empty) {
            return Err(bad(field, "has no program"));
        }
        no_nul(&field, handler.exec.iter())?;
    }
    if let Some(dir) = &app.working_directory
        && (!dir.starts_with('/') || dir.contains('\0'))
    {
        return Err(bad("app.workingDirectory", format!("{dir:?} is not an absolute path")));
    }
    environment(app)?;
    mount_points(app)?;
    ports(app)
}

fn no_nul<'a>(field: &str, values: impl Iterator<Item = &'a String>) -> Check {
    for value in values {
        if value.contains('\0') {
            return Err(bad(field, "contains a NUL character"));
        }
    }
    Ok(())
}

fn environment(app: &App) -> Check {
    let mut seen = BTreeSet::new();
    for variable in &app.environment {
        let name = &variable.name;
        let field = format!("app.environment {name:?}");
        let mut bytes = name.bytes();
        let first = bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
        if !first || !bytes.all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b)) {
            return Err(bad(field, "is not a valid variable name"));
        }
        if !seen.insert(name) {
            return Err(bad(field, "is given twice"));
        }
        no_nul(&field, std::iter::once(&variable.value))?;
    }
    Ok(())
}

fn mount_points(app: &App) -> Check {
    let mut seen = BTreeSet::new();
    for point in &app.mount_points {
        let field = format!("app.mountPoints {}", point.name);
        if !seen.insert(&point.name) {
            return Err(bad(field, "is given twice"));
        }
        if !point.path.starts_with('/') || point.path.contains('\0') {
            return Err(bad(field, format!("{:?} is not an absolute path", point.path)));
        }
    }
    Ok(())
}

fn ports(app: &App) -> Check {
    let mut seen = BTreeSet::new();
    for port in &app.ports {
        let field = format!("app.ports {}", port.name);
        if !seen.insert(&port.name) {
            return Err(bad(field, "is given twice"));
        }
        if port.protocol.is_empty() {
            return Err(bad(field, "has no protocol"));
        }
        if port.port == 0 || port.port > 65535 {
            return Err(bad(field, format!("port {} is not between 1 and 65535", port.port)));
        }
        if port.count == 0 {
            return Err(bad(field, "count must be at least 1"));
        }
        if u64::from(port.port) + u64::from(port.count) - 1 > 65535 {
            return Err(bad(field, "the range ends above 65535"));
        }
    }
    Ok(())
}

fn check_dependency(field: &str, dependency: &Dependency) -> Check {
    labels(&format!("{field}.labels"), &dependency.labels)?;
    if let Some(id) = &dependency.image_id {
        let full = id.strip_prefix("sha512-").map(|hex| Digest::new(Algo::Sha512, hex));
        if !matches!(full, Some(Ok(_))) {
            return Err(bad(format!("{field}.imageID"), format!("{id:?} is not a sha512 id")));
        }
    }
    Ok(())
}

fn clean_absolute(path: &str) -> bool {
    path.strip_prefix('/').is_some_and(|rest| {
        !rest.contains('\0') && rest.split('/').all(|part| !["", ".", ".."].contains(&part))
    })
}

fn annotations(manifest: &ImageManifest) -> Check {
    let mut seen: BTreeSet<&AcIdentifier> = BTreeSet::new();
    for annotation in &manifest.annotations {
        let field = format!("annotations {}", annotation.name);
        let value = &annotation.value;
        if !seen.insert(&annotation.name) {
            return Err(bad(field, "is given twice"));
        }
        let problem = match annotation.name.as_str() {
            "created" if !rfc3339(value) => "is not an RFC 3339 time",
            "homepage" | "documentation"
                if !value.starts_with("http://") && !value.starts_with("https://") =>
            {
                "is not an http or https address"
            }
            "appc.io/executor/supports-systemd-notify"
                if !["true", "false"].contains(&value.as_str()) =>
            {
                "must be true or false"
            }
            _ => continue,
        };
        return Err(bad(field, format!("{value:?} {problem}")));
    }
    Ok(())
}

/// Whether a text is an RFC 3339 date and time.
pub(crate) fn rfc3339(text: &str) -> bool {
    let bytes = text.as_bytes();
    let (Some(head), Some(tail)) = (bytes.get(..19), bytes.get(19..)) else { return false };
    let digits = |range: std::ops::Range<usize>, low: u32, high: u32| {
        std::str::from_utf8(&head[range])
            .ok()
            .filter(|part| part.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|part| part.parse().ok())
            .is_some_and(|value: u32| (low..=high).contains(&value))
    };
    let separators = head[4] == b'-'
        && head[7] == b'-'
        && (head[10] | 32) == b't'
        && head[13] == b':'
        && head[16] == b':';
    let zone = match tail {
        [b'.', rest @ ..] => {
            let fraction = rest.iter().take_while(|b| b.is_ascii_digit()).count();
            if fraction == 0 {
                return false;
            }
            &rest[fraction..]
        }
        other => other,
    };
    let zoned = match zone {
        b"Z" | b"z" => true,
        [b'+' | b'-', h1, h2, b':', m1, m2] => [h1, h2, m1, m2].iter().all(|b| b.is_ascii_digit()),
        _ => false,
    };
    separators
        && zoned
        && digits(0..4, 0, 9999)
        && digits(5..7, 1, 12)
        && digits(8..10, 1, 31)
        && digits(11..13, 0, 23)
        && digits(14..16, 0, 59)
        && digits(17..19, 0, 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn base() -> Value {
        json!({
            "acKind": "ImageManifest", "acVersion": "0.8.11", "name": "example.com/app",
            "labels": [{"name": "os", "value": "linux"}, {"name": "arch", "value": "amd64"}],
            "app": {"exec": ["/bin/app"], "user": "0", "group": "0"}
        })
    }

    fn with(pointer: &str, value: Value) -> Result<ImageManifest, ManifestError> {
        let mut manifest = base();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        manifest.pointer_mut(parent).unwrap().as_object_mut().unwrap().insert(key.into(), value);
        ImageManifest::parse(manifest.to_string().as_bytes())
    }

    #[test]
    fn a_plain_manifest_passes_and_round_trips() {
        let manifest = ImageManifest::parse(base().to_string().as_bytes()).unwrap();
        assert_eq!(ImageManifest::parse(&manifest.to_json()).unwrap(), manifest);
    }

    #[test]
    fn each_rule_names_its_field() {
        let label = |name: &str, value: &str| json!({"name": name, "value": value});
        let cases = [
            ("/acKind", json!("PodManifest"), "acKind"),
            ("/acVersion", json!("1.0.0"), "acVersion"),
            ("/acVersion", json!("0.8"), "acVersion"),
            ("/name", json!("Bad Name"), "Bad Name"),
            ("/labels", json!([label("name", "x")]), "called name"),
            ("/labels", json!([label("a", "1"), label("a", "2")]), "twice"),
            ("/labels", json!([label("arch", "amd64")]), "without os"),
            ("/labels", json!([label("os", "plan9")]), "plan9"),
            ("/labels", json!([label("os", "linux"), label("arch", "x86_64")]), "x86_64"),
            ("/app/user", json!(""), "app.user"),
            ("/app/exec", json!([""]), "app.exec"),
            ("/app/workingDirectory", json!("rel"), "workingDirectory"),
            ("/app/environment", json!([label("1A", "x")]), "1A"),
            ("/app/environment", json!([label("A", "x"), label("A", "y")]), "twice"),
            ("/app/eventHandlers", json!([{"name": "never", "exec": ["/x"]}]), "never"),
            ("/app/mountPoints", json!([{"name": "data", "path": "data"}]), "data"),
            ("/app/ports", json!([{"name": "web", "protocol": "tcp", "port": 0}]), "65535"),
            (
                "/app/ports",
                json!([{"name": "web", "protocol": "tcp", "port": 65535, "count": 2}]),
                "range",
            ),
            ("/annotations", json!([label("created", "yesterday")]), "RFC 3339"),
            ("/annotations", json!([label("homepage", "ftp://x")]), "http"),
            ("/dependencies", json!([{"imageName": "a", "imageID": "sha512-12"}]), "imageID"),
            ("/pathWhitelist", json!(["/a/../b"]), "pathWhitelist"),
        ];
        for (pointer, value, expected) in cases {
            let error = with(pointer, value.clone()).unwrap_err().to_string();
            assert!(error.contains(expected), "{pointer} {value}: {error}");
        }
    }

    #[test]
    fn times_are_rfc_3339() {
        for good in ["2026-11-23T10:00:00Z", "2026-11-23t10:00:00.123+01:00"] {
            assert!(rfc3339(good), "{good}");
        }
        for bad in ["2026-11-23", "2026-13-23T10:00:00Z", "2026-11-23T10:00:00", "x", "é"] {
            assert!(!rfc3339(bad), "{bad}");
        }
    }
}
