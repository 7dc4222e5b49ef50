//! `WWW-Authenticate`: what a server wants to see, and who may see our credentials. Pure text.

/// One challenge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Challenge {
    /// `basic`, `bearer` and others, in lower case.
    pub scheme: String,
    /// Its parameters, names in lower case.
    pub params: Vec<(String, String)>,
}

impl Challenge {
    /// A parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Reads the value of a header, which may hold several challenges.
pub fn parse(header: &str) -> Vec<Challenge> {
    let mut found: Vec<Challenge> = Vec::new();
    let mut rest = header.trim_start_matches([' ', '\t', ',']);
    while !rest.is_empty() {
        let end = rest.find([' ', '\t', ',', '=']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if word.is_empty() {
            // Something that is no word, a stray '=': what follows cannot be trusted to mean anything.
            break;
        }
        if let Some(value) = after.strip_prefix('=') {
            let (value, after) = take_value(value);
            if let Some(challenge) = found.last_mut() {
                challenge.params.push((word.to_ascii_lowercase(), value));
            }
            rest = after;
        } else {
            found.push(Challenge { scheme: word.to_ascii_lowercase(), params: Vec::new() });
            rest = after;
        }
        rest = rest.trim_start_matches([' ', '\t', ',']);
    }
    found
}

fn take_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([' ', '\t', ',']).unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        return (value.to_owned(), rest);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, quoted.get(at + 1..).unwrap_or_default()),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

/// Whether a host that gives tokens may see the credentials of a registry: the registry's own host, a
/// domain that the registry's is in (who has that, has the registry's name too), Docker's for Docker Hub,
/// and those that the configuration names.
pub fn may_see(realm: &str, registry: &str, named: &[String]) -> bool {
    let same = |host: &str| host.eq_ignore_ascii_case(realm);
    let parent = realm.contains('.')
        && registry.parse::<std::net::IpAddr>().is_err()
        && registry
            .to_ascii_lowercase()
            .strip_suffix(&realm.to_ascii_lowercase())
            .is_some_and(|below| below.ends_with('.'));
    same(registry)
        || parent
        || (registry == "registry-1.docker.io" && same("auth.docker.io"))
        || named.iter().any(|host| same(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read_one_after_the_other() {
        let text = "Bearer realm=\"https://auth.example/token?a=b,c\",service=\"s \\\"q\\\"\", scope=x,\
                    Basic realm=plain";
        let found = parse(text);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].scheme, "bearer");
        assert_eq!(found[0].get("realm"), Some("https://auth.example/token?a=b,c"));
        assert_eq!(found[0].get("service"), Some("s \"q\""));
        assert_eq!(found[0].get("scope"), Some("x"));
        assert_eq!((found[1].scheme.as_str(), found[1].get("realm")), ("basic", Some("plain")));
    }

    #[test]
    fn nonsense_ends() {
        for text in ["", ",,,", "=", "Bearer =", "a=b", "Bearer realm=\"x", "Basic", "\\\"=\"="] {
            assert!(parse(text).len() <= 2, "{text}");
        }
    }

    #[test]
    fn credentials_stay_with_those_who_have_the_name() {
        let named = ["tokens.example".to_owned()];
        for (realm, registry) in [
            ("registry.example", "registry.example"),
            ("gitlab.example", "registry.gitlab.example"),
            ("auth.docker.io", "registry-1.docker.io"),
            ("tokens.example", "registry.other"),
        ] {
            assert!(may_see(realm, registry, &named), "{realm} for {registry}");
        }
        for (realm, registry) in [
            ("evil.example", "registry.example"),
            ("auth.docker.io", "mirror.example"),
            ("example", "registry.example"),
            ("y.example", "registry.example"),
            ("registry.example.evil", "registry.example"),
            ("sub.registry.example", "registry.example"),
            ("0.0.1", "127.0.0.1"),
        ] {
            assert!(!may_see(realm, registry, &named), "{realm} for {registry}");
        }
    }
}
