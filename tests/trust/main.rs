//! Trust: keys and signatures of the real `minisign` and `gpg`, and the images that they vouch for.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod agree;
mod desk;
mod images;
mod keys;
mod pods;
mod setup;
