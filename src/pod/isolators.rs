//! What an image wishes and the pod file says about what an app may do to the kernel, made one: decided
//! here, as plain data, and reported by the isolator's name.
//!
//! The pod file is the operator's word and is obeyed. An image's isolators can only take away: what
//! they ask beyond the defaults is not given, and reported.

use super::plan::AppInput;
use super::resources;
use super::seccomp::{self, Machine, SeccompError};
use crate::image::manifest as asked;
use rocket_plan::{Capabilities, Isolator, Isolators, SeccompProgram};
use rocket_podfile as file;
use serde_json::Value;
use thiserror::Error;

const CAPS_RETAIN: &str = "os/linux/capabilities-retain-set";
const CAPS_REMOVE: &str = "os/linux/capabilities-remove-set";
const NO_NEW_PRIVILEGES: &str = "os/linux/no-new-privileges";
const OOM_SCORE_ADJ: &str = "os/linux/oom-score-adj";
const SELINUX: &str = "os/linux/selinux-context";
const APPARMOR: &str = "os/linux/apparmor-profile";

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

/// What an image's isolators ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Capabilities.
    pub capabilities: CapabilityWish,
    /// System calls.
    pub seccomp: seccomp::Wish,
    /// `os/linux/no-new-privileges`.
    pub no_new_privileges: Option<bool>,
    /// `os/linux/oom-score-adj`.
    pub oom_score_adj: Option<i32>,
    /// Isolators that nobody acts on, by name and why.
    pub others: Vec<(String, &'static str)>,
}

/// An isolator that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum IsolatorError {
    /// Its value.
    #[error("isolator {name}: {why}")]
    Value {
        /// Its name.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// appc allows one of the two.
    #[error("isolators {CAPS_RETAIN} and {CAPS_REMOVE} exclude each other, and both are there")]
    BothCapabilities,
    /// System calls.
    #[error(transparent)]
    Seccomp(#[from] SeccompError),
}

/// Reads an image's isolators.
///
/// # Errors
/// [`IsolatorError`]: a value that is not what appc says it is, or names that nobody knows.
pub fn wishes(list: &[asked::Isolator]) -> Result<Wishes, IsolatorError> {
    let mut wishes = Wishes::default();
    for isolator in list {
        let name = isolator.name.as_str();
        let bad = |why: &str| IsolatorError::Value { name: name.to_owned(), why: why.to_owned() };
        match name {
            CAPS_RETAIN | CAPS_REMOVE => {
                let set = capability_set(name, &isolator.value)?;
                if wishes.capabilities != CapabilityWish::Default {
                    return Err(IsolatorError::BothCapabilities);
                }
                wishes.capabilities = match name {
                    CAPS_RETAIN => CapabilityWish::Retain(set),
                    _ => CapabilityWish::Remove(set),
                };
            }
            seccomp::RETAIN | seccomp::REMOVE => {
                wishes.seccomp = wishes.seccomp.read(name, &isolator.value)?;
            }
            NO_NEW_PRIVILEGES => {
                let value = isolator.value.as_bool();
                wishes.no_new_privileges = Some(value.ok_or_else(|| bad("not true or false"))?);
            }
            OOM_SCORE_ADJ => {
                let value = isolator.value.as_i64().and_then(|value| i32::try_from(value).ok());
                let value = value.filter(|value| (-1000..=1000).contains(value));
                let value = value.ok_or_else(|| bad("not a number from -1000 to 1000"))?;
                wishes.oom_score_adj = Some(value);
            }
            SELINUX | APPARMOR => {
                wishes
                    .others
                    .push((name.to_owned(), "labels of the host are the pod file's to give"));
            }
            name if resources::NAMES.contains(&name) => {}
            other => wishes.others.push((other.to_owned(), "not supported by this release")),
        }
    }
    Ok(wishes)
}

fn capability_set(isolator: &str, value: &Value) -> Result<Vec<String>, IsolatorError> {
    let bad = |why: String| IsolatorError::Value { name: isolator.to_owned(), why };
    let set = value.get("set").and_then(Value::as_array);
    let set = set.ok_or_else(|| bad("its value has no list \"set\"".to_owned()))?;
    let mut names = Vec::new();
    for name in set {
        let name = name.as_str().ok_or_else(|| bad("its set has more than names".to_owned()))?;
        let plain = name.strip_prefix("CAP_").map(str::to_ascii_lowercase);
        let known = plain.filter(|name| rocket_sys::caps::number(name).is_some());
        names.push(known.ok_or_else(|| bad(format!("{name:?} is not a capability")))?);
    }
    Ok(names)
}

/// What is decided about one app.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decided {
    /// The five sets.
    pub capabilities: Capabilities,
    /// The filter, if there is to be one.
    pub seccomp: Option<SeccompProgram>,
    /// What the kernel's killer adds to its score.
    pub oom_score_adj: i32,
    /// What became of the isolators.
    pub isolators: Isolators,
}

fn note(name: &str, detail: impl Into<String>) -> Isolator {
    Isolator { name: name.to_owned(), detail: detail.into() }
}

/// Makes the pod file's word and the image's wishes one.
///
/// # Errors
/// [`SeccompError`].
pub fn decide(app: &AppInput<'_>) -> Result<Decided, SeccompError> {
    let security = &app.app.security;
    let wishes = &app.image.wishes;
    let mut isolators = Isolators::default();
    let capabilities = capabilities(app, &mut isolators);
    let seccomp = system_calls(app, &capabilities, &mut isolators)?;
    match (security.no_new_privileges, wishes.no_new_privileges) {
        (true, Some(false)) => {
            let detail =
                "true: only the pod file's security.no-new-privileges = false turns it off";
            isolators.changed.push(note(NO_NEW_PRIVILEGES, detail));
        }
        (true, _) => isolators.enforced.push(note(NO_NEW_PRIVILEGES, "true")),
        (false, Some(true)) => {
            isolators.changed.push(note(NO_NEW_PRIVILEGES, "false: the pod file says so"));
        }
        (false, _) => {}
    }
    let oom_score_adj = match (security.oom_score_adj, wishes.oom_score_adj) {
        (None, None) => 0,
        (Some(score), None) => score,
        (Some(score), Some(_)) => {
            isolators.changed.push(note(OOM_SCORE_ADJ, format!("{score}: the pod file says so")));
            score
        }
        (None, Some(wanted)) if wanted < 0 => {
            let detail =
                format!("0, not {wanted}: an image cannot spare its app at the host's cost");
            isolators.changed.push(note(OOM_SCORE_ADJ, detail));
            0
        }
        (None, Some(wanted)) => {
            isolators.enforced.push(note(OOM_SCORE_ADJ, wanted.to_string()));
            wanted
        }
    };
    isolators.ignored.extend(wishes.others.iter().map(|(name, why)| note(name, *why)));
    Ok(Decided { capabilities, seccomp, oom_score_adj, isolators })
}

/// appc's 14 at most; the pod file's list, if there is one, else the image's wish.
fn capabilities(app: &AppInput<'_>, isolators: &mut Isolators) -> Capabilities {
    let all: Vec<String> =
        file::Capability::ALL.into_iter().map(file::Capability::kernel_name).collect();
    let asked = app.app.security.capabilities.as_ref();
    let wish = &app.image.wishes.capabilities;
    let set: Vec<String> = match (asked, wish) {
        (Some(list), _) => {
            let set: Vec<String> = list.iter().map(|c| c.kernel_name()).collect();
            let name = match wish {
                CapabilityWish::Default => None,
                CapabilityWish::Retain(_) => Some(CAPS_RETAIN),
                CapabilityWish::Remove(_) => Some(CAPS_REMOVE),
            };
            if let Some(name) = name {
                let detail = format!("the pod file's list instead: {}", words(&set));
                isolators.changed.push(note(name, detail));
            }
            set
        }
        (None, CapabilityWish::Default) => all,
        (None, CapabilityWish::Retain(wanted)) => {
            let beyond: Vec<&String> = wanted.iter().filter(|c| !all.contains(c)).collect();
            if beyond.is_empty() {
                isolators.enforced.push(note(CAPS_RETAIN, words(wanted)));
            } else {
                let detail = format!("beyond appc's 14, not given: {}", words(&beyond));
                isolators.changed.push(note(CAPS_RETAIN, detail));
            }
            all.into_iter().filter(|c| wanted.contains(c)).collect()
        }
        (None, CapabilityWish::Remove(gone)) => {
            isolators.enforced.push(note(CAPS_REMOVE, words(gone)));
            all.into_iter().filter(|c| !gone.contains(c)).collect()
        }
    };
    // A user other than root keeps capabilities over an exec only when they are ambient, and has
    // them so only when the pod file names them.
    let for_user = if app.ids.uid == 0 || asked.is_some() { set.clone() } else { Vec::new() };
    let ambient = if app.ids.uid != 0 { for_user.clone() } else { Vec::new() };
    Capabilities {
        bounding: set,
        effective: for_user.clone(),
        permitted: for_user,
        inheritable: ambient.clone(),
        ambient,
    }
}

fn words(list: &[impl AsRef<str>]) -> String {
    if list.is_empty() {
        return "none".to_owned();
    }
    list.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(" ")
}

fn system_calls(
    app: &AppInput<'_>,
    capabilities: &Capabilities,
    isolators: &mut Isolators,
) -> Result<Option<SeccompProgram>, SeccompError> {
    let security = &app.app.security;
    let mode = match security.seccomp {
        file::Seccomp::Default => seccomp::Mode::Default,
        file::Seccomp::Image => seccomp::Mode::Image,
        file::Seccomp::None => seccomp::Mode::None,
    };
    let wish = &app.image.wishes.seccomp;
    let machine = match (mode, Machine::this()) {
        (seccomp::Mode::None, _) => Machine::X86_64,
        (_, Some(machine)) => machine,
        (_, None) => return Err(SeccompError::Machine(std::env::consts::ARCH)),
    };
    let decision =
        seccomp::decide(machine, mode, wish, &capabilities.bounding, security.no_new_privileges)?;
    let name = match wish {
        seccomp::Wish::Nothing => return Ok(decision.program),
        seccomp::Wish::Retain { .. } => seccomp::RETAIN,
        seccomp::Wish::Remove { .. } => seccomp::REMOVE,
    };
    if decision.program.is_none() {
        isolators.ignored.push(note(name, "the pod file says security.seccomp = \"none\""));
    } else if decision.withheld.is_empty() {
        isolators.enforced.push(note(name, "together with rocket's own list"));
    } else {
        /// As many as a line of a status can show.
        const SHOWN: usize = 8;
        let mut shown: Vec<&str> = decision.withheld.iter().take(SHOWN).copied().collect();
        let more = decision.withheld.len().saturating_sub(SHOWN);
        let more = if more > 0 { format!("and {more} more") } else { String::new() };
        shown.extend(Some(more.as_str()).filter(|more| !more.is_empty()));
        let detail = format!(
            "not given: {} (security.seccomp = \"image\" gives what an image asks for)",
            shown.join(" ")
        );
        isolators.changed.push(note(name, detail));
    }
    Ok(decision.program)
}
