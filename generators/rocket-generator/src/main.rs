//! `rocket-generator`: pod files to drop-ins of `rocket@.service`.
//!
//! systemd runs it at boot and at each `daemon-reload`, before it loads units, and waits for it. So
//! it reads pod files, writes the directory it is given, talks to nobody, gives the same bytes for
//! the same files, and always succeeds: what is wrong with one pod is said when that pod starts.
#![forbid(unsafe_code)]

mod drop_in;
mod fail;
mod instances;
mod log;
mod output;
mod rate_limit;
mod triggers;
mod unit_text;
mod user;

use output::Output;
use rate_limit::DropIns;
use rocket_podfile::{Catalog, LoadError};
use std::collections::BTreeSet;
use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Where pod files lie, most important first. `ROCKET_POD_FILE_PATH`, separated by colons, says
/// otherwise.
const POD_FILES: [&str; 3] = ["/etc/rocket/pods", "/run/rocket/pods", "/usr/lib/rocket/pods"];

/// This program, where packages put it; only used when /proc cannot tell.
const INSTALLED: &str = "/usr/lib/systemd/system-generators/rocket-generator";

/// Threads beyond these would wait for the directory they all write.
const MOST_THREADS: usize = 4;
/// Instances that are made only because pods name them. A template whose instances name new ones
/// would otherwise never come to an end.
const MOST_NAMED: usize = 4096;
/// Pods that one thread has done before another one is running.
const SMALLEST_SHARE: usize = 50;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    match arguments.split_first() {
        Some((mode, messages)) if mode == "--fail" => fail::fail(messages),
        Some((normal, _)) => {
            let normal = Path::new(normal);
            if env::var_os("SYSTEMD_SCOPE").as_deref() == Some(OsStr::new("user")) {
                user::generate(&search_path(user::search_path), normal, &this_program());
            } else {
                generate(&search_path(|| POD_FILES.iter().map(PathBuf::from).collect()), normal);
            }
            ExitCode::SUCCESS
        }
        None => {
            log::problem("usage: rocket-generator NORMAL-DIR [EARLY-DIR LATE-DIR]");
            ExitCode::SUCCESS
        }
    }
}

fn this_program() -> PathBuf {
    env::current_exe().unwrap_or_else(|_| PathBuf::from(INSTALLED))
}

fn search_path(usual: impl FnOnce() -> Vec<PathBuf>) -> Vec<PathBuf> {
    match env::var_os("ROCKET_POD_FILE_PATH").filter(|path| !path.is_empty()) {
        Some(path) => env::split_paths(&path).collect(),
        None => usual(),
    }
}

/// Writes the drop-ins of all pods that `dirs` have below `normal`.
fn generate(dirs: &[PathBuf], normal: &Path) {
    let generator = this_program();
    // A directory that cannot be read takes no limit or dependency from the pods of the others.
    let (catalog, unreadable) = Catalog::scan_readable(dirs);
    unreadable.iter().for_each(log::error);
    for file in catalog.misnamed() {
        log::problem(&Catalog::misnaming(file).to_string());
    }
    // A template says nothing about which instances there are.
    let units = instances::unit_dirs();
    let instances = instances::find(&catalog, &units);
    let said = DropIns::find(&units);
    let mut names = catalog.names();
    names.retain(|name| !name.ends_with('@'));
    names.extend(instances.iter().map(String::as_str));
    let more = Mutex::new(BTreeSet::new());
    let work = |part: usize, names: &[&str]| {
        let output = Output::new(normal, part);
        for name in names {
            one(&catalog, name, &generator, &output, &more, &said);
        }
    };
    // The boot waits for this. A few pods are not worth a thread.
    let threads = thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
    let share = names.len().div_ceil(threads).max(SMALLEST_SHARE);
    thread::scope(|scope| {
        for (part, names) in names.chunks(share).enumerate().skip(1) {
            let spawned = thread::Builder::new().spawn_scoped(scope, move || work(part, names));
            if spawned.is_err() {
                work(part, names);
            }
        }
        work(0, names.get(..share).unwrap_or(&names));
    });
    // Instances that are only named by pods; what these name in turn, until there is no other.
    let mut done: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut room = MOST_NAMED;
    loop {
        let named = std::mem::take(&mut *more.lock().unwrap_or_else(PoisonError::into_inner));
        let mut new: Vec<&str> = named.difference(&done).map(String::as_str).collect();
        if let Some(beyond) = new.get(room) {
            log::problem(&format!(
                "{beyond} and other instances are left out: pods may name {MOST_NAMED} instances \
                 of templates that nothing enables; does a template name new instances of itself?"
            ));
            new.truncate(room);
        }
        if new.is_empty() {
            return;
        }
        room -= new.len();
        work(0, &new);
        done.extend(named);
    }
}

/// Writes the drop-ins of one pod. Instances of templates that it names are added to `more`.
fn one(
    catalog: &Catalog<'_>,
    name: &str,
    generator: &Path,
    output: &Output,
    more: &Mutex<BTreeSet<String>>,
    said: &DropIns,
) {
    let (text, triggers) = match catalog.load(name) {
        Ok(loaded) => {
            let named =
                triggers::named_pods(&loaded.pod).filter(|pod| catalog.has_template_of(pod));
            let named: Vec<String> = named.map(str::to_owned).collect();
            if !named.is_empty() {
                more.lock().unwrap_or_else(PoisonError::into_inner).extend(named);
            }
            let triggers = triggers::of_pod(name, &loaded.pod, &loaded.sources);
            (drop_in::of_pod(name, &loaded, said.lift_limit_of(name)), triggers)
        }
        // A mask says that there is no such pod; or it went away just now.
        Err(LoadError::Masked(_) | LoadError::NotFound { .. }) => return,
        Err(error) => {
            log::problem(&error.to_string());
            let salvage = catalog.salvage(name);
            // Sockets that listen go on listening.
            let triggers = salvage.as_ref().map(|pod| triggers::of_pod(name, pod, &[]));
            let text = drop_in::of_error(generator, &error, salvage.as_ref());
            (text, triggers.unwrap_or_default())
        }
    };
    let service = triggers::DropIn { unit: format!("rocket@{name}.service"), text };
    for drop_in in std::iter::once(service).chain(triggers) {
        if let Err(error) = output.drop_in(&drop_in.unit, &drop_in.text) {
            log::problem(&format!("cannot write the drop-in of {}: {error}", drop_in.unit));
        }
    }
}
