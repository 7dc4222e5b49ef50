//! Pods: what should run, and the directory that is all of its state.
//!
//! A pod's state is the directory it lies in plus its lock; there is no database. This room knows
//! images and stage1's plan; it never speaks D-Bus.

pub mod accounts;
pub mod control;
pub mod credentials;
pub mod devices;
pub mod directory;
mod environment;
pub mod etc;
pub mod explain;
pub mod foresee;
pub mod gc;
pub mod ids;
pub mod isolators;
pub mod kept;
pub mod labels;
pub mod life;
pub mod limits;
pub mod list;
pub mod lookup;
pub mod manifest;
pub mod meta;
pub mod mounts;
pub mod name;
mod order;
pub mod plan;
mod ports;
pub mod prepare;
pub mod record;
mod resources;
mod rlimits;
pub mod seccomp;
pub mod snapshot;
pub mod sources;
mod surface;
pub mod usage;
pub mod volumes;
pub mod wait;
