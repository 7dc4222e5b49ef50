//! The pod file: grammar, search path, merging. Reads files, decides nothing about the host.
//!
//! [`load`] follows the search path and merges drop-ins, [`load_file`] reads one file, [`parse`]
//! takes text. All give a [`PodFile`] with every default filled in, or [`Diagnostic`]s with file,
//! line and column: as many as one pass finds. Keys that exist and that this release does not
//! support are diagnostics too.
#![forbid(unsafe_code)]

mod app;
mod appc;
mod catalog;
mod diagnostic;
mod grammar;
mod json;
mod keys;
mod limits;
mod merge;
mod names;
mod places;
mod pod;
mod read;
mod search;
mod suggest;
mod support;
mod template;
mod tree;
mod values;

pub use app::{
    Account, App, AppKind, AppMount, AppSecurity, Health, Probe, Ready, RestartLimit, Rlimit,
    Seccomp,
};
pub use catalog::Catalog;
pub use diagnostic::Diagnostic;
pub use keys::{Form, Key, Rule, Table, Takes, pod_file};
pub use limits::{HostTotals, Limits};
pub use names::{
    Dns, Hosts, Resolver, parse_address, parse_dns_option, parse_domain, parse_hostname,
};
pub use places::Places;
pub use pod::{
    Credential, CredentialSource, ExitPolicy, ListenAddress, Log, Network, PodFile, PodSecurity,
    Port, Protocol, RestartPolicy, Schedule, Unit, Volume, VolumeKind,
};
pub use search::{
    LoadError, Loaded, list, load, load_file, load_file_with_places, load_with_places,
};
pub use support::Refuse;
pub use values::{
    Capability, CpuQuota, CpuSet, CpuWeight, IoMax, MemorySize, Signal, Tasks, TimeSpan,
    credential_places,
};

use std::path::Path;

/// Reads the text of one pod file; `file_name` is what diagnostics call it.
pub fn parse(file_name: &Path, text: &str) -> Result<PodFile, Vec<Diagnostic>> {
    let mut sources = tree::Sources::default();
    sources.add(file_name.to_owned(), text.to_owned());
    match search::merged(&sources, 1, None) {
        (Some(pod), problems) if problems.is_empty() => Ok(pod),
        (_, problems) => Err(sources.diagnostics(problems)),
    }
}

/// Every key of the grammar with its table, `*` for a name that the user chooses: for
/// documentation, completion and schemas.
pub fn keys() -> Vec<(String, &'static str)> {
    grammar::TABLES
        .iter()
        .flat_map(|(table, keys)| keys.iter().map(|key| (table.join("."), *key)))
        .collect()
}

/// Whether `text` names a pod: `web`, or `web@1`, which is an instance of the template `web@`.
pub fn is_pod_name(text: &str) -> bool {
    values::name::parse_instance(text).is_some()
}

/// What of the grammar this release refuses: each key with its table, `*` for any name, and what of
/// it.
pub fn refused() -> &'static [(&'static str, Refuse)] {
    support::NOT_YET
}

/// The keys that this release refuses, wholly or for some of their values.
pub fn unsupported_keys() -> Vec<&'static str> {
    support::keys()
}
