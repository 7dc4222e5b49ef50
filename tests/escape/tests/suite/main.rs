//! The escape suite: what a default pod refuses, and that each attempt succeeds where nothing
//! stands in its way. See docs/escape.md.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod canaries;
mod docs;
mod ns;
mod pod;
mod uml;
