//! Ways out of a pod, or up inside it, and what stops each of them.
//!
//! The probe (`main.rs`) is packed into images and tries them from inside. `tests/main.rs` asserts
//! that a default pod refuses all, and that each succeeds without the protection that is named here:
//! so that none is a check that cannot fail. `docs/escape.md` is made from this table.

pub mod attempts;
pub mod protection;
pub mod race;
pub mod sys;
pub mod table;
pub mod world;

use protection::Protection;
use world::World;

/// What an attempt came to.
pub type Outcome = Result<String, Fail>;

/// Why an attempt came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fail {
    /// It was refused.
    Refused(String),
    /// It cannot even be tried here.
    Impossible(String),
}

/// Who tries it where it is shown to succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// uid 0 of the pod.
    Root,
    /// uid 1000.
    User,
}

/// One way out or up.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    /// What tests and documentation call it.
    pub name: &'static str,
    /// What it tries, and what would be seen if it succeeded.
    pub what: &'static str,
    /// What has to be off, all of it, for it to succeed.
    pub off: &'static [Protection],
    /// Who tries it then.
    pub who: Who,
    /// Whether it would do no harm to the machine if it succeeded: such are tried in the ns bed too.
    pub harmless: bool,
    /// Tries it.
    pub run: fn(&World) -> Outcome,
}

impl Attempt {
    const fn new(
        name: &'static str,
        what: &'static str,
        off: &'static [Protection],
        run: fn(&World) -> Outcome,
    ) -> Self {
        Self { name, what, off, who: Who::Root, harmless: false, run }
    }

    const fn harmless(self) -> Self {
        Self { harmless: true, ..self }
    }

    const fn user(self) -> Self {
        Self { who: Who::User, ..self }
    }

    /// Whether a pod without just these protections shows it; else it is shown outside of pods.
    #[must_use]
    pub fn in_a_pod(&self) -> bool {
        self.off.iter().all(|protection| protection.switch())
    }
}

/// All of them.
pub fn all() -> impl Iterator<Item = &'static Attempt> {
    attempts::GROUPS.iter().flat_map(|(_, group)| group.iter())
}

/// The one of that name.
#[must_use]
pub fn named(name: &str) -> Option<&'static Attempt> {
    all().find(|attempt| attempt.name == name)
}
