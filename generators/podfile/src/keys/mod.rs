//! Every key there is, and what it takes: the one table that the readers' lists of keys, the
//! suggestions, `unset`, and the JSON schema are made from.
//!
//! What a key takes is said here in the words of a schema, which are weaker than the readers': they
//! alone see the whole file. A test holds the two against each other.

mod app;
mod form;
mod pod;

pub(crate) use app::{APP, APP_SECURITY, HEALTH, MOUNT, READY, RLIMITS};
pub use form::Form;
pub(crate) use pod::{
    CREDENTIAL, DNS, IO_MAX, LIMITS, POD_SECURITY, PORT, SCHEDULE, TOP, UNIT, VOLUME,
};

/// A key of the grammar.
#[derive(Debug)]
pub struct Key {
    /// As it is written.
    pub name: &'static str,
    /// What it takes.
    pub takes: Takes,
    /// Whether a pod file has to have it (where its table is there).
    pub required: bool,
    /// What it is where it is absent, as JSON, where that is one fixed value.
    pub default: Option<&'static str>,
    /// A sentence for people.
    pub about: &'static str,
}

/// What a key takes.
#[derive(Debug)]
pub enum Takes {
    /// `true` or `false`.
    Boolean,
    /// A whole number within these bounds.
    Number(i64, i64),
    /// One of these words.
    Words(&'static [&'static str]),
    /// A string of this form.
    Text(Form),
    /// A string of this form, or a whole number within these bounds.
    Scalar(Form, i64, i64),
    /// A list of strings of this form, each once.
    List(Form),
    /// A list of strings of this form and whole numbers within these bounds, each once.
    Scalars(Form, i64, i64),
    /// A program and its arguments; whether the list may be empty.
    Command(bool),
    /// This table.
    Table(&'static Table),
    /// Tables of this kind, each with a name that the user chooses.
    Tables(&'static Table),
    /// A table whose keys have this form.
    Map(Form, &'static Takes),
    /// Any of these.
    Either(&'static [Takes]),
}

/// A table with fixed keys.
#[derive(Debug)]
pub struct Table {
    /// Its keys.
    pub keys: &'static [Key],
    /// What holds between them.
    pub rules: &'static [Rule],
}

/// What holds between the keys of a table. Values are JSON.
#[derive(Debug)]
pub enum Rule {
    /// Exactly one of these keys is there.
    One(&'static [&'static str]),
    /// At least one of these keys is there.
    Some(&'static [&'static str]),
    /// These keys are there only where that one has one of these values.
    Only(&'static [&'static str], &'static str, &'static [&'static str]),
    /// Where the first key has this value, the second is there.
    Needs(&'static str, &'static str, &'static str),
    /// The first key is there only beside the second, which is a list with something in it.
    Beside(&'static str, &'static str),
    /// The first key is not there beside the second, if that is a list with something in it.
    NotBeside(&'static str, &'static str),
    /// Not both of these keys with these values.
    Not([(&'static str, &'static str); 2]),
}

impl Key {
    const fn new(name: &'static str, takes: Takes, about: &'static str) -> Self {
        Self { name, takes, required: false, default: None, about }
    }

    const fn required(self) -> Self {
        Self { required: true, ..self }
    }

    const fn default(self, json: &'static str) -> Self {
        Self { default: Some(json), ..self }
    }
}

/// The names of the first `N` keys.
pub(crate) const fn names<const N: usize>(table: &Table) -> [&'static str; N] {
    let mut names = [""; N];
    let mut i = 0;
    while i < N {
        names[i] = table.keys[i].name;
        i += 1;
    }
    names
}

/// The whole pod file.
pub fn pod_file() -> &'static Table {
    &TOP
}
