//! Ids that accounts of the host have, or that are handed out to them.

use std::path::Path;

/// Ids that no pod may have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reserved(Vec<(u64, u64)>);

impl Reserved {
    /// What the account databases in `etc` say. Accounts of the network are not looked up: a start
    /// must not wait for a directory server.
    pub fn of_host(etc: &Path) -> Self {
        let read = |file: &str| std::fs::read(etc.join(file)).unwrap_or_default();
        let text = |file: &str| String::from_utf8_lossy(&read(file)).into_owned();
        let mut list = Self::default();
        list.add(&text("passwd"), |fields| [single(fields.get(2)), single(fields.get(3))]);
        list.add(&text("group"), |fields| [single(fields.get(2)), None]);
        for file in ["subuid", "subgid"] {
            list.add(&text(file), |fields| [range(fields.get(1), fields.get(2)), None]);
        }
        list
    }

    fn add(&mut self, text: &str, pick: impl Fn(&[&str]) -> [Option<(u64, u64)>; 2]) {
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let fields: Vec<&str> = line.split(':').map(str::trim).collect();
            self.0.extend(pick(&fields).into_iter().flatten());
        }
    }

    /// Whether any of `count` ids from `base` on is among them.
    pub fn touches(&self, base: u32, count: u32) -> bool {
        let (first, end) = (u64::from(base), u64::from(base) + u64::from(count));
        self.0.iter().any(|(start, past)| *start < end && first < *past)
    }
}

/// One id as a range.
fn single(id: Option<&&str>) -> Option<(u64, u64)> {
    let id: u64 = id?.parse().ok()?;
    Some((id, id.saturating_add(1)))
}

fn range(start: Option<&&str>, count: Option<&&str>) -> Option<(u64, u64)> {
    let start: u64 = start?.parse().ok()?;
    let count: u64 = count?.parse().ok()?;
    Some((start, start.saturating_add(count)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_and_what_is_handed_out_to_them() {
        let etc = tempfile::tempdir().unwrap();
        for (file, text) in [
            ("passwd", "root:x:0:0::/:/bin/sh\nfar:x:1000000:70000::/:\nbroken\n#c:x:5:5\n"),
            ("group", "root:x:0:\nbig:x:600000:far\n"),
            ("subuid", "far:2000000:65536\nfar:x:y\n"),
            ("subgid", "far:3000000:1\n"),
        ] {
            std::fs::write(etc.path().join(file), text).unwrap();
        }
        let reserved = Reserved::of_host(etc.path());
        let touched = [0, 65_536, 589_824, 983_040, 1_966_080, 2_031_616, 2_949_120];
        for slot in 0..60 {
            let base = slot * 65_536;
            assert_eq!(reserved.touches(base, 65_536), touched.contains(&base), "{base}");
        }
        assert_eq!(Reserved::of_host(Path::new("/nowhere")), Reserved::default());
    }
}
