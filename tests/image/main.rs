//! Images: packed, fetched, compared with what other tools make of them, and hostile ones refused.
//!
//! Needs root (owners are compared) and the programs umoci, skopeo and buildah.

#![allow(clippy::unwrap_used)]

mod bad;
mod foreign;
mod kit;
mod layers;
mod pack;
mod store;
