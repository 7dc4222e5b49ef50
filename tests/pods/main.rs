//! Pods as their users see them, from the start to what is left afterwards.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[macro_use]
mod verbs;

mod ns;
mod owners;
mod uml;
