//! The attempts, a file a subject.

mod calls;
mod cgroups;
mod devices;
mod files;
mod host;
mod kernel;
mod keys;
mod limits;
mod mounts;
mod processes;
mod upwards;

pub use files::handle_of;
pub use keys::plant;

use crate::Attempt;

/// All, by subject.
pub const GROUPS: &[(&str, &[Attempt])] = &[
    ("Mounts", mounts::ATTEMPTS),
    ("Files of the host", files::ATTEMPTS),
    ("Devices", devices::ATTEMPTS),
    ("Processes", processes::ATTEMPTS),
    ("Privileges", upwards::ATTEMPTS),
    ("The kernel's knobs", kernel::ATTEMPTS),
    ("System calls", calls::ATTEMPTS),
    ("Keys", keys::ATTEMPTS),
    ("Cgroups", cgroups::ATTEMPTS),
    ("Sockets and networks", host::ATTEMPTS),
    ("Limits", limits::ATTEMPTS),
];
