//! What an image wishes and the pod file says about what an app may do to the kernel, made one: decided
//! here, as plain data, and reported by the isolator's name.

use super::plan::AppInput;
use super::resources;
use crate::image::manifest as asked;
use rocket_plan::{Capabilities, Isolator, Isolators};
use rocket_podfile as file;

/// appc's two capability isolators.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CapabilityWish {
    /// None given: the default set.
    #[default]
    Default,
    /// `os/linux/capabilities-retain-set`, kernel names without `CAP_`, lower case.
    Retain(Vec<String>),
    /// `os/linux/capabilities-remove-set`.
    Remove(Vec<String>),
}

/// What an image's isolators ask for: its capabilities, and the names of what is not acted on.
pub fn wishes(list: &[asked::Isolator]) -> (CapabilityWish, Vec<String>) {
    let mut wish = CapabilityWish::Default;
    let mut others = Vec::new();
    for isolator in list {
        let set = || -> Vec<String> {
            let names = isolator.value.get("set").and_then(|set| set.as_array());
            let names = names.into_iter().flatten().filter_map(|name| name.as_str());
            names.map(|name| name.trim_start_matches("CAP_").to_ascii_lowercase()).collect()
        };
        match isolator.name.as_str() {
            "os/linux/capabilities-retain-set" => wish = CapabilityWish::Retain(set()),
            "os/linux/capabilities-remove-set" => wish = CapabilityWish::Remove(set()),
            // Always in force unless the pod file says otherwise.
            "os/linux/no-new-privileges" => {}
            name if resources::NAMES.contains(&name) => {}
            other => others.push(other.to_owned()),
        }
    }
    (wish, others)
}

/// appc's 14 at most; the pod file's list, if there is one, else the image's wish.
pub fn decide(app: &AppInput<'_>) -> (Capabilities, Isolators) {
    let all: Vec<String> =
        file::Capability::ALL.into_iter().map(file::Capability::kernel_name).collect();
    let mut isolators = Isolators::default();
    let note =
        |name: &str, detail: &str| Isolator { name: name.to_owned(), detail: detail.to_owned() };
    let asked = app.app.security.capabilities.as_ref();
    let set: Vec<String> = match (asked, &app.image.capabilities) {
        (Some(list), _) => list.iter().map(|c| c.kernel_name()).collect(),
        (None, CapabilityWish::Default) => all,
        (None, CapabilityWish::Retain(wanted)) => {
            let beyond: Vec<&str> =
                wanted.iter().filter(|c| !all.contains(c)).map(String::as_str).collect();
            let entry = note("os/linux/capabilities-retain-set", &beyond.join(" "));
            if beyond.is_empty() {
                isolators.enforced.push(entry);
            } else {
                isolators.changed.push(Isolator {
                    detail: format!("beyond appc's 14, not given: {}", entry.detail),
                    ..entry
                });
            }
            all.into_iter().filter(|c| wanted.contains(c)).collect()
        }
        (None, CapabilityWish::Remove(gone)) => {
            isolators.enforced.push(note("os/linux/capabilities-remove-set", &gone.join(" ")));
            all.into_iter().filter(|c| !gone.contains(c)).collect()
        }
    };
    let no_new_privileges = note("os/linux/no-new-privileges", "true");
    if app.app.security.no_new_privileges {
        isolators.enforced.push(no_new_privileges);
    }
    for name in &app.image.other_isolators {
        isolators.ignored.push(note(name, "not supported by this release"));
    }
    // A user other than root keeps capabilities over an exec only when they are ambient, and has
    // them so only when the pod file names them.
    let for_user = if app.ids.uid == 0 || asked.is_some() { set.clone() } else { Vec::new() };
    let ambient = if app.ids.uid != 0 { for_user.clone() } else { Vec::new() };
    let capabilities = Capabilities {
        bounding: set,
        effective: for_user.clone(),
        permitted: for_user,
        inheritable: ambient.clone(),
        ambient,
    };
    (capabilities, isolators)
}
