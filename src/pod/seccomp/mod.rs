//! Which system calls an app can make: rocket's own list, narrowed or replaced by what appc's two
//! isolators ask for, and compiled for this machine.
//!
//! Plain data in and out; `docs/seccomp.md` is the page about it.

mod compile;
mod default;
mod policy;
mod table;
#[cfg(test)]
mod tests;
mod wish;

use policy::Policy;
use rocket_plan::SeccompProgram;
use thiserror::Error;
pub use wish::{REMOVE, RETAIN, Wish};

/// A machine for which there is a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// `x86_64`.
    X86_64,
    /// `aarch64`.
    Aarch64,
}

impl Machine {
    /// The one this program runs on.
    pub fn this() -> Option<Self> {
        match std::env::consts::ARCH {
            "x86_64" => Some(Self::X86_64),
            "aarch64" => Some(Self::Aarch64),
            _ => None,
        }
    }

    /// The one of this name in a plan.
    pub fn named(name: &str) -> Option<Self> {
        [Self::X86_64, Self::Aarch64].into_iter().find(|machine| machine.name() == name)
    }

    /// As the plan has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }
}

/// What the operator says: `security.seccomp`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// rocket's list; an image can make it only smaller.
    #[default]
    Default,
    /// What the image asks for, also where that is more; rocket's list where it asks for nothing.
    Image,
    /// No filter.
    None,
}

/// Every call that a machine has: name and number.
pub fn calls(machine: Machine) -> impl Iterator<Item = (&'static str, u32)> {
    table::calls().filter_map(move |call| Some((call.name, call.number(machine)?)))
}

/// The groups of rocket's list that hang on a capability: name, capability, calls.
pub fn conditional_groups()
-> impl Iterator<Item = (&'static str, &'static str, impl Iterator<Item = &'static str>)> {
    default::GROUPS.iter().filter_map(|group| match group.standing {
        default::Standing::Needs(capability) => {
            Some((group.name, capability, group.calls.split_ascii_whitespace()))
        }
        _ => None,
    })
}

/// Why there is no filter.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SeccompError {
    /// appc allows one of the two.
    #[error("{RETAIN} and {REMOVE} exclude each other, and both are there")]
    Both,
    /// The isolator's value is not what appc says it is.
    #[error("{0}: {1}")]
    Value(&'static str, String),
    /// There is no list for this machine.
    #[error(
        "there is no list of system calls for {0}; security.seccomp = \"none\" runs without one"
    )]
    Machine(&'static str),
}

/// A filter, and what became of the image's wish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The program; none with [`Mode::None`].
    pub program: Option<SeccompProgram>,
    /// Calls that the image asks for and does not get, sorted.
    pub withheld: Vec<&'static str>,
}

/// Decides and compiles. `capabilities` are those the app can have, by the kernel's names;
/// `no_new_privileges` says when init installs the filter, and so what must pass it.
///
/// # Errors
/// [`SeccompError`].
pub fn decide(
    machine: Machine,
    mode: Mode,
    wish: &Wish,
    capabilities: &[String],
    no_new_privileges: bool,
) -> Result<Decision, SeccompError> {
    let policy = match mode {
        Mode::None => return Ok(Decision { program: None, withheld: Vec::new() }),
        Mode::Default => Policy::narrowed(machine, wish, capabilities),
        Mode::Image => Policy::wished(machine, wish, capabilities),
    };
    let withheld = match mode {
        Mode::Default => policy::withheld(machine, wish, capabilities),
        Mode::Image | Mode::None => Vec::new(),
    };
    let policy = policy.with_what_an_exec_needs(no_new_privileges);
    let program =
        SeccompProgram { arch: machine.name().to_owned(), program: compile::compile(&policy) };
    Ok(Decision { program: Some(program), withheld })
}
