//! Names and paths.

/// Longest name of a pod, an app, a volume, a port.
pub(crate) const LONGEST_NAME: usize = 63;

/// Whether `name` is `[a-z0-9]+(-[a-z0-9]+)*` of at most 63 characters.
pub(crate) fn is_name(name: &str) -> bool {
    name.len() <= LONGEST_NAME
        && name.split('-').all(|part| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        })
}

/// Checks a name of a table or of a reference to one.
pub(crate) fn parse_name(text: &str) -> Result<String, String> {
    if is_name(text) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "{text:?} is not a name; names are lower-case letters and digits with single dashes \
         between, at most 63 characters"
    ))
}

/// What the instance of `rocket@….service` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Instance<'a> {
    /// Name of the pod, or of the template.
    pub(crate) name: &'a str,
    /// What stands behind the `@` of a template's instance.
    pub(crate) instance: Option<&'a str>,
}

/// Reads `web` or `web@1`.
pub(crate) fn parse_instance(text: &str) -> Option<Instance<'_>> {
    match text.split_once('@') {
        None => is_name(text).then_some(Instance { name: text, instance: None }),
        Some((name, instance)) => (is_name(name) && is_name(instance))
            .then_some(Instance { name, instance: Some(instance) }),
    }
}

/// The kinds of unit a dependency can be on.
pub(crate) const UNIT_KINDS: [&str; 11] = [
    "service",
    "socket",
    "target",
    "mount",
    "automount",
    "swap",
    "timer",
    "path",
    "slice",
    "scope",
    "device",
];

/// Reads a unit's name, or `pod:NAME`, and gives the unit's name.
pub(crate) fn parse_unit(text: &str) -> Result<String, String> {
    if let Some(pod) = text.strip_prefix("pod:") {
        return match parse_instance(pod) {
            Some(_) => Ok(format!("rocket@{pod}.service")),
            None => Err(format!("{text:?} does not name a pod: {pod:?} is not a pod's name")),
        };
    }
    let bad = |why: &str| Err(format!("{text:?} is not a unit's name: {why}"));
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b":-_.\\@".contains(&b);
    let Some((stem, kind)) = text.rsplit_once('.') else {
        return bad("the type is missing, as in \"network-online.target\"; a pod is \"pod:NAME\"");
    };
    if !UNIT_KINDS.contains(&kind) {
        return bad(&format!("no unit has the type {kind:?}"));
    }
    if stem.is_empty() || stem.starts_with('@') || text.len() > 255 {
        return bad("it is empty or too long");
    }
    if !text.bytes().all(allowed) {
        return bad("letters, digits and :-_.\\@ are allowed");
    }
    if stem.ends_with('@') {
        return bad("it is a template; name one instance of it");
    }
    Ok(text.to_owned())
}

/// Reads the name of a slice.
pub(crate) fn parse_slice(text: &str) -> Result<String, String> {
    let name = parse_unit(text)?;
    match name.strip_suffix(".slice") {
        None => Err(format!("{text:?} is not a slice; its name has to end in \".slice\"")),
        Some("-") => Ok(name),
        Some(stem) if stem.split('-').any(str::is_empty) || stem.contains('@') => {
            Err(format!("{text:?} is not a slice's name: every part between dashes needs a name"))
        }
        Some(_) => Ok(name),
    }
}

/// Reads an absolute path without `..`, and gives it without double and trailing slashes.
pub(crate) fn parse_path(text: &str) -> Result<String, String> {
    if !text.starts_with('/') {
        return Err(format!("{text:?} is not an absolute path"));
    }
    if text.chars().any(char::is_control) || text.len() > 4095 {
        return Err(format!("{text:?} is not a path: control characters, or too long"));
    }
    let mut path = String::with_capacity(text.len());
    for part in text.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part == ".." {
            return Err(format!("{text:?} climbs with \"..\""));
        }
        path.push('/');
        path.push_str(part);
    }
    if path.is_empty() {
        path.push('/');
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let longest = "a".repeat(63);
        for name in ["a", "web", "web-1", "1", "a-b-c", &longest] {
            assert!(is_name(name), "{name}");
        }
        let long = "a".repeat(64);
        for name in ["", "-a", "a-", "a--b", "Web", "a_b", "a.b", "a@b", "ä", "a b", &long] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn instances() {
        assert_eq!(parse_instance("web"), Some(Instance { name: "web", instance: None }));
        assert_eq!(parse_instance("web@1"), Some(Instance { name: "web", instance: Some("1") }));
        for text in ["web@", "@1", "web@1@2", "web@A"] {
            assert_eq!(parse_instance(text), None, "{text}");
        }
    }

    #[test]
    fn units() {
        let table = [
            ("pod:db", "rocket@db.service"),
            ("pod:web@1", "rocket@web@1.service"),
            ("network-online.target", "network-online.target"),
            ("dev-disk-by\\x2dlabel.device", "dev-disk-by\\x2dlabel.device"),
        ];
        for (text, unit) in table {
            assert_eq!(parse_unit(text).unwrap(), unit);
        }
        for text in [
            "",
            "db",
            "pod:",
            "pod:DB",
            "x.unit",
            ".service",
            "a b.service",
            "a@.service",
            "a%n.service",
            "a\n.service",
        ] {
            assert!(parse_unit(text).is_err(), "{text:?}");
        }
        assert!(parse_slice("system.slice").is_ok());
        assert!(parse_slice("-.slice").is_ok());
        assert!(parse_slice("a--b.slice").is_err());
        assert!(parse_slice("a.service").is_err());
    }

    #[test]
    fn paths() {
        for (text, path) in [("/srv", "/srv"), ("//srv/./www/", "/srv/www"), ("/", "/")] {
            assert_eq!(parse_path(text).unwrap(), path);
        }
        for text in ["", "srv", "/srv/../etc", "/a\nb"] {
            assert!(parse_path(text).is_err(), "{text:?}");
        }
    }
}
