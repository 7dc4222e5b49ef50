//! A pod file in the making: sections with keys and losses, each knowing where in the input it is from.

use super::value::Value;
use super::{Loss, Place};
use std::collections::BTreeSet;

/// A key with its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) value: Value,
    pub(super) place: Place,
}

/// A table of the pod file: `app.web`, `volume.data`; the top is "".
#[derive(Clone, Debug, Default)]
pub(super) struct Section {
    pub(super) title: String,
    pub(super) notes: Vec<String>,
    pub(super) entries: Vec<Entry>,
    pub(super) losses: Vec<Loss>,
}

/// A port that somebody outside is to reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Published {
    pub(super) app: String,
    pub(super) address: Option<String>,
    pub(super) host: Option<u16>,
    pub(super) port: u16,
    pub(super) udp: bool,
    pub(super) key: String,
    pub(super) place: Place,
}

/// A pod file.
#[derive(Clone, Debug)]
pub(super) struct Sheet {
    /// The pod's name, without the `@` of a template.
    pub(super) name: String,
    pub(super) template: bool,
    /// Where in the input the pod begins.
    pub(super) place: Place,
    pub(super) apps: Vec<String>,
    pub(super) sections: Vec<Section>,
    pub(super) published: Vec<Published>,
    /// What each app wants of the network: `host`, `none`, or `own`, with its place and key.
    pub(super) networks: Vec<(String, &'static str, Place)>,
    /// Names by which the apps know each other.
    pub(super) host_names: BTreeSet<String>,
    /// Keys that say such a name, for a pod with one app, where nobody is left to use it.
    pub(super) aliases: Vec<(String, Place)>,
    /// Volumes that are of one thing: the source of a bind mount, the name of a named volume.
    pub(super) volumes: Vec<(String, String)>,
    /// What restart policies the apps have.
    pub(super) restarts: Vec<&'static str>,
}

impl Sheet {
    pub(super) fn new(name: &str, place: &Place) -> Self {
        Self {
            name: name_of(name),
            template: false,
            place: place.clone(),
            apps: Vec::new(),
            sections: vec![Section::default()],
            published: Vec::new(),
            networks: Vec::new(),
            host_names: BTreeSet::new(),
            aliases: Vec::new(),
            volumes: Vec::new(),
            restarts: Vec::new(),
        }
    }

    pub(super) fn section(&mut self, title: &str) -> &mut Section {
        let index = match self.sections.iter().position(|section| section.title == title) {
            Some(index) => index,
            None => {
                self.sections.push(Section { title: title.to_owned(), ..Section::default() });
                self.sections.len() - 1
            }
        };
        &mut self.sections[index]
    }

    pub(super) fn get(&self, title: &str, key: &str) -> Option<&Value> {
        let section = self.sections.iter().find(|section| section.title == title)?;
        section.entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// Sets a key; the last one to do so counts.
    pub(super) fn set(&mut self, title: &str, key: &str, value: impl Into<Value>, place: &Place) {
        let entry = Entry { key: key.to_owned(), value: value.into(), place: place.clone() };
        let section = self.section(title);
        match section.entries.iter_mut().find(|entry| entry.key == key) {
            Some(there) => *there = entry,
            None => section.entries.push(entry),
        }
    }

    /// Adds to a list, once.
    pub(super) fn push(&mut self, title: &str, key: &str, value: impl Into<Value>, place: &Place) {
        let value = value.into();
        match self.section(title).entries.iter_mut().find(|entry| entry.key == key) {
            Some(Entry { value: Value::List(list), .. }) => {
                if !list.contains(&value) {
                    list.push(value);
                }
            }
            _ => self.set(title, key, Value::List(vec![value]), place),
        }
    }

    pub(super) fn lose(&mut self, title: &str, place: &Place, key: &str, why: &str, todo: &str) {
        let loss = Loss {
            place: place.clone(),
            key: key.to_owned(),
            why: why.to_owned(),
            todo: todo.to_owned(),
        };
        let section = self.section(title);
        if !section.losses.contains(&loss) {
            section.losses.push(loss);
        }
    }

    pub(super) fn note(&mut self, title: &str, text: &str) {
        let notes = &mut self.section(title).notes;
        if !notes.iter().any(|note| note == text) {
            notes.push(text.to_owned());
        }
    }

    /// A new app; a name that is taken gets a number.
    pub(super) fn app(&mut self, name: &str, place: &Place) -> String {
        let name = free(&name_of(name), |name| self.apps.iter().any(|app| app == name));
        self.apps.push(name.clone());
        self.set(&format!("app.{name}"), "image", "", place);
        name
    }

    /// The volume that stands for `what`, which begins with its kind; `fill` writes a new one.
    pub(super) fn volume(
        &mut self,
        what: &str,
        name: &str,
        fill: impl FnOnce(&mut Self, &str),
    ) -> String {
        if let Some((_, volume)) = self.volumes.iter().find(|(other, _)| other == what) {
            return volume.clone();
        }
        let volume =
            free(&name_of(name), |name| self.volumes.iter().any(|(_, other)| other == name));
        self.volumes.push((what.to_owned(), volume.clone()));
        fill(self, &format!("volume.{volume}"));
        volume
    }

    pub(super) fn losses(&self) -> Vec<Loss> {
        self.sections.iter().flat_map(|section| section.losses.iter().cloned()).collect()
    }
}

fn free(name: &str, taken: impl Fn(&str) -> bool) -> String {
    if !taken(name) {
        return name.to_owned();
    }
    let stem: String = name.chars().take(56).collect();
    let stem = stem.trim_end_matches('-');
    (2..).map(|number| format!("{stem}-{number}")).find(|name| !taken(name)).unwrap_or_default()
}

/// The nearest name that a pod file allows.
pub(super) fn name_of(text: &str) -> String {
    let mut name = String::new();
    for c in text.chars().flat_map(char::to_lowercase) {
        if c.is_ascii_lowercase() || c.is_ascii_digit() {
            name.push(c);
        } else if !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
        if name.len() >= 63 {
            break;
        }
    }
    let name = name.trim_end_matches('-');
    if name.is_empty() { "imported".to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_to_fit() {
        for (text, name) in [
            ("db_data", "db-data"),
            ("Web.1", "web-1"),
            ("--", "imported"),
            ("é-x", "x"),
            ("a__b_", "a-b"),
        ] {
            assert_eq!(name_of(text), name);
        }
        assert!(rocket_podfile::is_pod_name(&name_of(&"x-".repeat(50))));
        assert_eq!(free("a", |name| name == "a" || name == "a-2"), "a-3");
    }
}
