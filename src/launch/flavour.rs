//! stage1 flavours: a directory with `stage1.toml` and its entry points (docs/stage1-abi.md).

use super::descriptors::Descriptors;
use super::{LaunchError, failed, terminal};
use rocket_plan::ABI;
use rocket_sys::mount::{self, Attributes};
use rocket_sys::spawn::{Child, Command, Program};
use serde::Deserialize;
use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// A flavour that cannot be used.
#[derive(Debug, Error)]
pub enum FlavourError {
    /// Not installed, or its description cannot be read.
    #[error("cannot read stage1 flavour {name:?} in {path}")]
    Read {
        /// Its name.
        name: String,
        /// Its description.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Its description is not of the form.
    #[error("{path} does not describe a stage1 flavour")]
    Form {
        /// Its description.
        path: PathBuf,
        /// Why.
        #[source]
        source: toml::de::Error,
    },
    /// Another ABI.
    #[error("stage1 flavour {name:?} speaks ABI {found}, this rocket speaks {ABI}")]
    Abi {
        /// Its name.
        name: String,
        /// What it says.
        found: u32,
    },
    /// It does not claim what the pod needs.
    #[error("stage1 flavour {name:?} does not claim {feature:?}, which the pod needs")]
    Feature {
        /// Its name.
        name: String,
        /// What it lacks.
        feature: String,
    },
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Description {
    abi: u32,
    features: Vec<String>,
    entry_points: Entry,
}

#[derive(Debug, Deserialize)]
struct Entry {
    run: Vec<String>,
    enter: Vec<String>,
    stop: Vec<String>,
}

/// An installed flavour.
#[derive(Debug)]
pub struct Flavour {
    name: String,
    dir: PathBuf,
    description: Description,
}

impl Flavour {
    /// Reads the flavour `name` below `root`.
    ///
    /// # Errors
    /// [`FlavourError`].
    pub fn find(root: &Path, name: &str) -> Result<Self, FlavourError> {
        let dir = root.join(name);
        let path = dir.join("stage1.toml");
        let text = std::fs::read_to_string(&path).map_err(|source| FlavourError::Read {
            name: name.to_owned(),
            path: path.clone(),
            source,
        })?;
        let description: Description =
            toml::from_str(&text).map_err(|source| FlavourError::Form { path, source })?;
        if description.abi != ABI {
            return Err(FlavourError::Abi { name: name.to_owned(), found: description.abi });
        }
        Ok(Self { name: name.to_owned(), dir, description })
    }

    /// Whether it claims every one of `features`.
    ///
    /// # Errors
    /// [`FlavourError::Feature`] names the first it does not.
    pub fn check(&self, features: &[String]) -> Result<(), FlavourError> {
        match features.iter().find(|feature| !self.description.features.contains(feature)) {
            None => Ok(()),
            Some(feature) => {
                Err(FlavourError::Feature { name: self.name.clone(), feature: feature.clone() })
            }
        }
    }

    /// Becomes its `run` entry point.
    pub(super) fn exec(&self, pod: &Path, descriptors: &Descriptors) -> LaunchError {
        self.with_command(
            &self.description.entry_points.run,
            &label(pod),
            pod,
            &descriptors.numbered(),
            true,
            rocket_sys::spawn::exec,
        )
        .map_or_else(|error| error, |error| failed("start stage1")(error))
    }

    /// Starts its `run` entry point as a child. The mount that it was executed from comes with it: to
    /// close that takes milliseconds, since the kernel waits for all processors before it lets go of a
    /// mount, and the caller knows when nobody waits.
    pub(super) fn spawn(
        &self,
        pod: &Path,
        descriptors: &[(BorrowedFd<'_>, RawFd)],
    ) -> Result<(Child, Option<OwnedFd>), LaunchError> {
        let entry = &self.description.entry_points.run;
        let (child, mounted) = self.with_program(
            entry,
            &label(pod),
            pod,
            descriptors,
            true,
            rocket_sys::spawn::spawn,
        )?;
        Ok((child.map_err(failed("start stage1"))?, mounted))
    }

    /// Runs its `enter` entry point in the directory of a running pod: on a terminal of its own
    /// where the caller sits at one, else in the caller's place. Gives the command's exit status.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn enter(&self, pod: &Path, args: &[String]) -> Result<i32, LaunchError> {
        let entry = &self.description.entry_points.enter;
        if !terminal::at_terminal() {
            return self.with_command(entry, args, pod, &[], false, |command| {
                Err(failed("enter the pod")(rocket_sys::spawn::exec(command)))
            })?;
        }
        terminal::carry(|slave| {
            let fds = [(slave, 0), (slave, 1), (slave, 2)];
            self.with_command(entry, args, pod, &fds, false, rocket_sys::spawn::spawn)?
                .map_err(failed("enter the pod"))
        })
    }

    /// Runs its `stop` entry point in the directory of a running pod and gives its exit status.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn stop(&self, pod: &Path, args: &[String]) -> Result<i32, LaunchError> {
        let child = self
            .with_command(
                &self.description.entry_points.stop,
                args,
                pod,
                &[],
                false,
                rocket_sys::spawn::spawn,
            )?
            .map_err(failed("ask stage1 to stop"))?;
        let exit =
            rocket_sys::pidfd::wait(child.pidfd.as_fd()).map_err(failed("wait for stage1"))?;
        Ok(exit.status())
    }

    fn with_command<T>(
        &self,
        entry: &[String],
        args: &[String],
        pod: &Path,
        fds: &[(BorrowedFd<'_>, RawFd)],
        block_signals: bool,
        run: impl FnOnce(&Command<'_>) -> T,
    ) -> Result<T, LaunchError> {
        self.with_program(entry, args, pod, fds, block_signals, run).map(|(result, _)| result)
    }

    /// The same, with the mount that the program is executed from.
    fn with_program<T>(
        &self,
        entry: &[String],
        args: &[String],
        pod: &Path,
        fds: &[(BorrowedFd<'_>, RawFd)],
        block_signals: bool,
        run: impl FnOnce(&Command<'_>) -> T,
    ) -> Result<(T, Option<OwnedFd>), LaunchError> {
        let (program, own_args) = entry.split_first().ok_or_else(|| LaunchError::Stage1 {
            code: 125,
            text: format!("stage1 flavour {:?} names no such entry point", self.name),
        })?;
        let program = c_string(self.dir.join(program).as_os_str())?;
        let mut argv = vec![program.clone()];
        for arg in own_args.iter().chain(args) {
            argv.push(c_string(OsStr::new(arg))?);
        }
        let environment = environment(fds)?;
        let cwd = open_dir(pod)?;
        // The one that lives on beside apps; the others only talk to it.
        let file = if block_signals { Some(unwritable(&program)?) } else { None };
        let program = match &file {
            Some(file) => Program::Fd(file.as_fd()),
            None => Program::Path(&program),
        };
        let result = run(&Command {
            program,
            argv: &argv,
            envp: &environment,
            fds,
            cwd: Some(cwd.as_fd()),
            block_signals,
        });
        Ok((result, file))
    }
}

/// A program in a read-only mount of its own. Whoever comes by a process's `/proc/PID/exe` comes by
/// the mount it was executed from: an app that is made to execute init's program, or takes it from a
/// process that has not executed another one yet, cannot write there, whoever owns the file
/// (CVE-2019-5736).
fn unwritable(program: &CStr) -> Result<OwnedFd, LaunchError> {
    let mounted = mount::open_tree_path(program, false).map_err(failed("find stage1"))?;
    let attributes = Attributes { read_only: true, ..Attributes::default() };
    mount::restrict(mounted.as_fd(), attributes, false).map_err(failed("protect stage1"))?;
    Ok(mounted)
}

/// The pod's UUID, for people who read process lists; `run` itself ignores it.
fn label(pod: &Path) -> Vec<String> {
    pod.file_name().and_then(OsStr::to_str).map(str::to_owned).into_iter().collect()
}

/// stage1 gets nothing of the caller's environment but what names its terminal, and whether
/// standard input is a terminal for the entered command to take.
fn environment(fds: &[(BorrowedFd<'_>, RawFd)]) -> Result<Vec<CString>, LaunchError> {
    let mut list = vec![c_string(OsStr::new("PATH=/usr/sbin:/usr/bin:/sbin:/bin"))?];
    if fds.iter().any(|(_, number)| *number == 0) {
        list.push(c_string(OsStr::new("ROCKET_ENTER_TTY=1"))?);
    }
    if let Some(term) = std::env::var_os("TERM") {
        let mut entry = std::ffi::OsString::from("TERM=");
        entry.push(term);
        list.push(c_string(&entry)?);
    }
    Ok(list)
}

fn open_dir(path: &Path) -> Result<OwnedFd, LaunchError> {
    use rustix::fs::{Mode, OFlags};
    rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|error| super::io_error(format!("open {}", path.display()))(error.into()))
}

fn c_string(text: &OsStr) -> Result<CString, LaunchError> {
    CString::new(text.as_bytes())
        .map_err(|error| super::io_error("pass an argument with a NUL byte")(error.into()))
}
