//! Where a credential is loaded from.

use super::name::parse_path;
use std::path::{Path, PathBuf};

/// Where systemd looks for what `LoadCredential=` only names (systemd.exec(5)), in this order.
const STORES: [&str; 5] = [
    "/run/credentials/@system",
    "/etc/credstore",
    "/run/credstore",
    "/usr/local/lib/credstore",
    "/usr/lib/credstore",
];
/// The same for `LoadCredentialEncrypted=`.
const ENCRYPTED: [&str; 5] = [
    "/run/credentials/@encrypted",
    "/etc/credstore.encrypted",
    "/run/credstore.encrypted",
    "/usr/local/lib/credstore.encrypted",
    "/usr/lib/credstore.encrypted",
];

/// The files that `load` or `load-encrypted` of a credential may mean, the first one first: a path is
/// itself, a name is one of systemd's stores.
pub fn credential_places(from: &str, encrypted: bool) -> Vec<PathBuf> {
    if from.starts_with('/') {
        return vec![PathBuf::from(from)];
    }
    let stores = if encrypted { ENCRYPTED } else { STORES };
    stores.iter().map(|store| Path::new(store).join(from)).collect()
}

/// Reads an absolute path, or a name in systemd's stores.
pub(crate) fn parse_credential_source(text: &str) -> Result<String, String> {
    if text.ends_with('\\') || text.ends_with(char::is_whitespace) {
        // systemd takes the first for a line that goes on, and does not see the second.
        return Err("the end of it, a blank or a backslash, would not reach systemd".to_owned());
    }
    if text.starts_with('/') {
        // Whoever put the secret itself here must not find it in the journal.
        return parse_path(text)
            .map_err(|_| "this is no absolute path without .. and control characters".to_owned());
    }
    let plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'/' | b':');
    if matches!(text, "" | "." | "..") || text.len() > 255 || !text.bytes().all(plain) {
        return Err(
            "this is neither an absolute path nor the name of a credential in systemd's stores"
                .to_owned(),
        );
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_paths_or_names() {
        for text in ["/etc//key", "key", "mysql.root_password"] {
            assert!(parse_credential_source(text).is_ok(), "{text}");
        }
        for text in
            ["", ".", "..", "a/b", "a:b", "a b", "ä", "/../etc/key", "a\nb", "/k\\", "k\\", "/k "]
        {
            assert!(parse_credential_source(text).is_err(), "{text}");
        }
        for text in ["hunter 2", "/../hunter 2"] {
            let why = parse_credential_source(text).unwrap_err();
            assert!(!why.contains("hunter"), "{why}");
        }
    }

    #[test]
    fn a_path_is_itself_and_a_name_is_looked_for() {
        assert_eq!(credential_places("/a/b", false), [Path::new("/a/b")]);
        assert_eq!(credential_places("key", false)[1], Path::new("/etc/credstore/key"));
        assert_eq!(credential_places("key", true)[1], Path::new("/etc/credstore.encrypted/key"));
    }
}
