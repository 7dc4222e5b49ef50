//! Images: packed, fetched, compared with what other tools make of them, and hostile ones refused.
//!
//! Needs root (owners are compared), the programs umoci, skopeo and buildah, and the compressors.

#![allow(clippy::unwrap_used)]

mod bad;
mod check;
mod compress;
mod corpus;
mod depend;
mod docker;
mod foreign;
mod interrupt;
mod kit;
mod layers;
mod pack;
mod pack_oci;
mod packed;
mod sparse;
mod store;
mod usage;
