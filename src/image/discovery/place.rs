//! Addresses of images: templates with `{name}`, `{version}`, `{os}`, `{arch}` and `{ext}`, and the pages
//! that are asked for them.

use std::collections::BTreeMap;

/// What a name without a version means (appc specification, discovery.md).
const LATEST: &str = "latest";

/// In which form an image may be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// An App Container Image.
    Aci,
    /// An OCI layout in a tar archive.
    Oci,
}

impl Form {
    /// Both, in the order in which they are asked for.
    pub const ALL: [Self; 2] = [Self::Aci, Self::Oci];

    /// What `{ext}` is.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Aci => "aci",
            Self::Oci => "oci",
        }
    }
}

/// Whether a prefix of whole segments covers a name.
pub(super) fn covers(prefix: &str, name: &str) -> bool {
    name.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The address of a name by a template; none if the template asks for what is not known.
pub fn expand(
    template: &str,
    name: &str,
    labels: &BTreeMap<String, String>,
    arch: &str,
    extension: &str,
) -> Option<String> {
    let label = |key: &str| labels.get(key).map(String::as_str);
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        let (key, after) = after.split_once('}')?;
        let value = match key {
            "name" => name,
            "ext" => extension,
            "version" => label("version").unwrap_or(LATEST),
            "os" => label("os").unwrap_or("linux"),
            "arch" => label("arch").unwrap_or(arch),
            other => label(other)?,
        };
        // A value is one part of an address: it neither ends a path nor climbs.
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._~+".contains(c);
        let fits = value.chars().all(|c| plain(c) || key == "name" && c == '/');
        if !fits
            || value.split('/').any(|part| part.is_empty() || part.trim_matches('.').is_empty())
        {
            return None;
        }
        out.push_str(value);
        rest = after;
    }
    out.push_str(rest);
    Some(out)
}

/// The names whose pages are asked for a name, the name itself first, the host last.
pub fn pages(name: &str) -> Vec<&str> {
    let mut found = vec![name];
    while let Some((parent, _)) = found.last().and_then(|name| name.rsplit_once('/')) {
        found.push(parent);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_from_templates() {
        let labels = |list: &[(&str, &str)]| -> BTreeMap<String, String> {
            list.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
        };
        let expand = |template: &str, list: &[(&str, &str)]| {
            expand(template, "example.com/app", &labels(list), "amd64", "aci.asc")
        };
        let template = "https://h/{name}-{version}-{os}-{arch}.{ext}";
        for (template, list, address) in [
            (template, &[][..], Some("https://h/example.com/app-latest-linux-amd64.aci.asc")),
            (
                template,
                &[("version", "1.0"), ("arch", "aarch64")],
                Some("https://h/example.com/app-1.0-linux-aarch64.aci.asc"),
            ),
            ("https://h/{channel}", &[("channel", "beta")], Some("https://h/beta")),
            ("https://h/{channel}", &[], None),
            ("https://h/{name", &[], None),
            ("https://h/{version}", &[("version", "../x")], None),
            ("https://h/{version}", &[("version", "..")], None),
            ("https://h/{version}", &[("version", "1?a=b")], None),
            ("https://h/{version}", &[("version", "1+2~3")], Some("https://h/1+2~3")),
        ] {
            assert_eq!(expand(template, list).as_deref(), address, "{template} {list:?}");
        }
    }

    #[test]
    fn pages_go_up_to_the_host() {
        assert_eq!(pages("h.test/a/b"), ["h.test/a/b", "h.test/a", "h.test"]);
        assert_eq!(pages("h.test"), ["h.test"]);
        assert!(covers("h.test/a", "h.test/a") && covers("h.test/a", "h.test/a/b"));
        assert!(!covers("h.test/a", "h.test/ab") && !covers("h.test", "h.test.evil"));
    }
}
