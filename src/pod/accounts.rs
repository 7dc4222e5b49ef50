//! Users and groups of an app, as numbers.
//!
//! stage0 resolves them from the image's own `/etc/passwd` and `/etc/group`: a static init has no
//! NSS. Rules: appc 0.8.11 aci.md (`user`, `group`: a name of the image first, then a number, then
//! the owner of a `/path`) and passwd(5), group(5).

use rocket_podfile::Account;
use thiserror::Error;

/// An app's numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ids {
    /// User.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

/// A user or group that cannot be resolved.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum AccountError {
    /// The image does not know the user.
    #[error("the image has no user {0:?} in /etc/passwd")]
    User(String),
    /// The image does not know the group.
    #[error("the image has no group {0:?} in /etc/group")]
    Group(String),
    /// A `/path` whose owner is meant is missing.
    #[error("the image has no file {0}, whose owner was asked for")]
    Path(String),
}

/// The image's side of the question.
pub trait Database {
    /// Content of `/etc/passwd`, if there is one.
    fn passwd(&self) -> Option<String>;
    /// Content of `/etc/group`, if there is one.
    fn group(&self) -> Option<String>;
    /// Owner of a path.
    fn owner(&self, path: &str) -> Option<(u32, u32)>;
}

/// What is asked for, as written in a manifest: a name, a number, or a `/path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// By number, whatever the image says.
    Id(u32),
    /// As a manifest writes it.
    Text(String),
}

impl From<&Account> for Wanted {
    fn from(account: &Account) -> Self {
        match account {
            Account::Id(id) => Self::Id(*id),
            Account::Name(name) => Self::Text(name.clone()),
        }
    }
}

/// Where supplementary groups come from.
#[derive(Clone, Copy, Debug)]
pub enum Groups<'a> {
    /// Exactly these numbers: an image manifest's.
    Exactly(&'a [u32]),
    /// Exactly these, by name or number: the pod file's.
    Named(&'a [Wanted]),
    /// The groups of which `/etc/group` makes the user a member, unless its group is named.
    OfUser,
}

/// Resolves user and group. Without a group, the user's primary group counts, and 0 for a number
/// that the image does not know.
///
/// # Errors
/// [`AccountError`] names what the image does not have.
pub fn resolve(
    user: &Wanted,
    group: Option<&Wanted>,
    groups: &Groups<'_>,
    database: &dyn Database,
) -> Result<Ids, AccountError> {
    let (uid, primary) = user_ids(user, group.is_none(), database)?;
    let gid = match group {
        None => primary.unwrap_or(0),
        Some(wanted) => group_id(wanted, database)?,
    };
    let mut groups = match groups {
        Groups::Exactly(list) => list.to_vec(),
        Groups::Named(list) => {
            list.iter().map(|wanted| group_id(wanted, database)).collect::<Result<_, _>>()?
        }
        Groups::OfUser if group.is_some() => Vec::new(),
        Groups::OfUser => memberships(user, uid, database),
    };
    let mut seen = std::collections::BTreeSet::new();
    groups.retain(|gid| seen.insert(*gid));
    Ok(Ids { uid, gid, groups })
}

/// The groups that list the user by name.
fn memberships(user: &Wanted, uid: u32, database: &dyn Database) -> Vec<u32> {
    let passwd = database.passwd().unwrap_or_default();
    let by_name = |entry: &User<'_>| matches!(user, Wanted::Text(text) if text == entry.name);
    let name = find_user(&passwd, by_name).or_else(|| find_user(&passwd, |e| e.uid == uid));
    let Some(name) = name.map(|entry| entry.name) else { return Vec::new() };
    let file = database.group().unwrap_or_default();
    let member = |line: &str| {
        let mut fields = line.split(':');
        let gid = number(fields.nth(2)?)?;
        fields.next()?.split(',').any(|member| member == name).then_some(gid)
    };
    file.lines().filter_map(member).collect()
}

fn user_ids(
    user: &Wanted,
    want_primary: bool,
    database: &dyn Database,
) -> Result<(u32, Option<u32>), AccountError> {
    let by_number = |uid: u32| {
        // Reading the image costs; 0 needs no look.
        let passwd = (want_primary && uid != 0).then(|| database.passwd()).flatten();
        let entry = passwd.as_deref().and_then(|text| find_user(text, |user| user.uid == uid));
        (uid, entry.map(|user| user.gid))
    };
    match user {
        Wanted::Id(uid) => Ok(by_number(*uid)),
        Wanted::Text(text) if text.is_empty() || text == "0" || text == "root" => Ok((0, Some(0))),
        Wanted::Text(text) if text.starts_with('/') => {
            let (uid, gid) =
                database.owner(text).ok_or_else(|| AccountError::Path(text.clone()))?;
            Ok((uid, Some(gid)))
        }
        Wanted::Text(text) => {
            let passwd = database.passwd().unwrap_or_default();
            if let Some(entry) = find_user(&passwd, |entry| entry.name == text) {
                return Ok((entry.uid, Some(entry.gid)));
            }
            match number(text) {
                Some(uid) => Ok(by_number(uid)),
                None => Err(AccountError::User(text.clone())),
            }
        }
    }
}

fn group_id(group: &Wanted, database: &dyn Database) -> Result<u32, AccountError> {
    match group {
        Wanted::Id(gid) => Ok(*gid),
        Wanted::Text(text) if text == "0" || text == "root" => Ok(0),
        Wanted::Text(text) if text.starts_with('/') => {
            let (_, gid) = database.owner(text).ok_or_else(|| AccountError::Path(text.clone()))?;
            Ok(gid)
        }
        Wanted::Text(text) => {
            let file = database.group().unwrap_or_default();
            match find_group(&file, text) {
                Some(gid) => Ok(gid),
                None => number(text).ok_or_else(|| AccountError::Group(text.clone())),
            }
        }
    }
}

/// An id. The last number means "no change" to the kernel: an app with it would stay root.
fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|id| *id != u32::MAX)
}

struct User<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
}

fn find_user<'a>(passwd: &'a str, matches: impl Fn(&User<'a>) -> bool) -> Option<User<'a>> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let uid = number(fields.nth(1)?)?;
        let gid = number(fields.next()?)?;
        Some(User { name, uid, gid }).filter(&matches)
    })
}

fn find_group(group: &str, name: &str) -> Option<u32> {
    group.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next()? != name {
            return None;
        }
        number(fields.nth(1)?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Image;
    impl Database for Image {
        fn passwd(&self) -> Option<String> {
            Some("root:x:0:0::/root:/bin/sh\nbroken\nwww-data:x:33:34:www:/var/www:/n\n1000:x:7:8::/:/\n".into())
        }
        fn group(&self) -> Option<String> {
            Some("root:x:0:\nadm:x:4:www-data\n".into())
        }
        fn owner(&self, path: &str) -> Option<(u32, u32)> {
            (path == "/srv").then_some((11, 12))
        }
    }

    fn text(text: &str) -> Wanted {
        Wanted::Text(text.into())
    }

    #[test]
    fn names_come_before_numbers_and_paths_mean_their_owner() {
        let table = [
            (text("www-data"), None, (33, 34)),
            (text("www-data"), Some(text("adm")), (33, 4)),
            (text("1000"), None, (7, 8)),
            (Wanted::Id(1000), None, (1000, 0)),
            (Wanted::Id(33), None, (33, 34)),
            (text("2000"), Some(text("3000")), (2000, 3000)),
            (text("/srv"), Some(text("/srv")), (11, 12)),
            (text("root"), None, (0, 0)),
            (text(""), None, (0, 0)),
        ];
        for (user, group, (uid, gid)) in table {
            let ids = resolve(&user, group.as_ref(), &Groups::Exactly(&[]), &Image).unwrap();
            assert_eq!((ids.uid, ids.gid), (uid, gid), "{user:?} {group:?}");
        }
    }

    #[test]
    fn supplementary_groups_are_the_ones_asked_for_or_those_of_the_user() {
        let groups = |user: Wanted, group: Option<Wanted>, groups: Groups<'_>| {
            resolve(&user, group.as_ref(), &groups, &Image).map(|ids| ids.groups)
        };
        let data = text("www-data");
        assert_eq!(groups(data.clone(), None, Groups::Exactly(&[9, 7, 9])), Ok(vec![9, 7]));
        assert_eq!(groups(data.clone(), None, Groups::OfUser), Ok(vec![4]));
        assert_eq!(groups(Wanted::Id(33), None, Groups::OfUser), Ok(vec![4]));
        assert_eq!(groups(data.clone(), Some(text("adm")), Groups::OfUser), Ok(vec![]));
        assert_eq!(groups(text("root"), None, Groups::OfUser), Ok(vec![]));
        let named = [text("adm"), text("77"), Wanted::Id(5), text("/srv")];
        assert_eq!(groups(data.clone(), None, Groups::Named(&named)), Ok(vec![4, 77, 5, 12]));
        assert_eq!(
            groups(data, None, Groups::Named(&[text("wheel")])),
            Err(AccountError::Group("wheel".into()))
        );
    }

    #[test]
    fn what_the_image_does_not_have_is_named() {
        assert_eq!(
            resolve(&text("nobody"), None, &Groups::OfUser, &Image),
            Err(AccountError::User("nobody".into()))
        );
        assert_eq!(
            resolve(&text("root"), Some(&text("wheel")), &Groups::OfUser, &Image),
            Err(AccountError::Group("wheel".into()))
        );
        assert_eq!(
            resolve(&text("4294967295"), None, &Groups::OfUser, &Image),
            Err(AccountError::User("4294967295".into()))
        );
        assert_eq!(
            resolve(&text("/none"), None, &Groups::OfUser, &Image),
            Err(AccountError::Path("/none".into()))
        );
    }
}
