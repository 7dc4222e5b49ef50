//! Registries: Debian's own, and servers that mean ill. Everything is on loopback.
//!
//! Needs root (images are unpacked) and the programs docker-registry, skopeo and openssl.

#![allow(clippy::unwrap_used)]

mod cosign;
mod debian;
mod hostile;
#[allow(dead_code)]
#[path = "../image/kit.rs"]
mod kit;
mod names;
mod ns;
mod patience;
mod secrets;
mod server;
mod setup;
mod telling;
mod web;
