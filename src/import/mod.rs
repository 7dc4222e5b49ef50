//! From the files of other programs to pod files: text in; pod files, and a list of what they could not carry,
//! out. Nothing here reads a file or looks at the host; [`crate::cli::import`] does.
//!
//! Every reader walks over all keys of its input with one `match`, whose last arm is a loss: what nobody has
//! thought of is listed, not dropped. All readers say what they found in the words of `docker run`, which
//! [`container`] knows; what the pod file's grammar then refuses becomes a loss too, or, where leaving it out
//! would weaken or break the pod, an error.

mod compose;
mod container;
mod docker_run;
mod kube;
mod quadlet;
mod reference;
mod scalar;
mod sheet;
mod unit_file;
mod value;
mod words;
mod write;
mod yaml;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// What is imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Podman's units: `.container`, `.pod`, `.volume`, `.network`, `.image`.
    Quadlet,
    /// A project of Docker Compose.
    Compose,
    /// Command lines of `docker run` or `podman run`.
    DockerRun,
    /// Objects of Kubernetes.
    Kube,
}

impl Kind {
    /// What comments call it.
    fn title(self) -> &'static str {
        match self {
            Self::Quadlet => "quadlet",
            Self::Compose => "compose",
            Self::DockerRun => "docker-run",
            Self::Kube => "kube",
        }
    }
}

/// One file.
#[derive(Clone, Debug)]
pub struct Input {
    /// As messages call it; its last part matters to quadlet.
    pub path: String,
    /// What is in it.
    pub text: String,
}

/// What the reader may know beside the input.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Images to use in the place of others.
    pub images: BTreeMap<String, String>,
    /// What `${NAME}` stands for.
    pub variables: BTreeMap<String, String>,
    /// Absolute directory that relative paths start from.
    pub base: String,
    /// What `~` stands for.
    pub home: String,
    /// Profiles of a compose project that are wanted.
    pub profiles: Vec<String>,
    /// Name of the pod, when there is one.
    pub name: Option<String>,
}

/// A place in the input.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file, as [`Input::path`].
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// Something that a pod file does not carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Where it stands.
    pub place: Place,
    /// What it is called there.
    pub key: String,
    /// Why it is not carried, or what is different now.
    pub why: String,
    /// What a person can do; may be empty.
    pub todo: String,
}

/// A pod file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// `NAME.toml`, or `NAME@.toml`.
    pub name: String,
    /// What is to be in it.
    pub text: String,
}

/// What came of an import.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// The pod files.
    pub files: Vec<File>,
    /// What none of them carries, in the order of the input.
    pub losses: Vec<Loss>,
}

/// Why nothing was imported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}")]
pub struct ImportError {
    /// Where.
    pub place: Place,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl ImportError {
    fn new(place: &Place, message: impl Into<String>) -> Self {
        Self { place: place.clone(), message: message.into(), hint: None }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// A file larger than this is not what it says it is.
pub const LARGEST: usize = 4 << 20;
/// More pods than anybody imports at once.
const MOST_PODS: usize = 1000;

/// Translates `inputs`.
///
/// # Errors
/// What makes the input unreadable, or a pod file of it impossible, with its place.
pub fn import(kind: Kind, inputs: &[Input], options: &Options) -> Result<Imported, ImportError> {
    for input in inputs {
        if input.text.len() > LARGEST {
            let place = Place { file: input.path.as_str().into(), line: 1, column: 1 };
            return Err(ImportError::new(&place, "the file is larger than 4 MiB"));
        }
    }
    let (mut sheets, mut losses) = match kind {
        Kind::Quadlet => quadlet::read(inputs, options)?,
        Kind::Compose => compose::read(inputs, options)?,
        Kind::DockerRun => docker_run::read(inputs, options)?,
        Kind::Kube => kube::read(inputs, options)?,
    };
    let start = Place {
        file: inputs.first().map_or("-", |input| input.path.as_str()).into(),
        line: 1,
        column: 1,
    };
    if sheets.is_empty() {
        return Err(ImportError::new(
            &start,
            format!("there is no pod in this {} input", kind.title()),
        ));
    }
    if sheets.len() > MOST_PODS {
        return Err(ImportError::new(&start, format!("more than {MOST_PODS} pods")));
    }
    if let (Some(name), [only]) = (&options.name, sheets.as_mut_slice()) {
        only.name.clone_from(name);
    } else if options.name.is_some() {
        let message = format!("--name is for one pod, and these are {}", sheets.len());
        return Err(ImportError::new(&start, message));
    }
    let mut files: Vec<File> = Vec::new();
    for mut sheet in sheets {
        let general = std::mem::take(&mut losses);
        let first = files.is_empty();
        let file = write::write(kind, &mut sheet, if first { &general } else { &[] })?;
        if files.iter().any(|other| other.name == file.name) {
            let message = format!("two pods would be called {}", sheet.name);
            return Err(
                ImportError::new(&sheet.place, message).hint("import them one by one, with --name")
            );
        }
        losses = general;
        losses.extend(sheet.losses());
        files.push(file);
    }
    losses.sort_by(|a, b| (&a.place, &a.key).cmp(&(&b.place, &b.key)));
    losses.dedup();
    Ok(Imported { files, losses })
}
