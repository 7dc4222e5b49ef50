//! rocket: pods for Linux hosts that run systemd, without a daemon of their own.
//!
//! Data flows down this list and never back up:
//!
//! ```text
//! cli → config → image (reference → fetch → verify → store) → pod (manifest → directory → PodPlan)
//!     → systemd (scope | unit | none) → launch: exec stage1
//! ```
//!
//! `image` never sees a pod, `pod` never sees D-Bus, `systemd` never reads images; [`launch`] tells
//! the story of a start in one function.
#![forbid(unsafe_code)]

pub mod cli;
pub mod config;
pub mod files;
pub mod host;
pub mod image;
pub mod import;
pub mod launch;
pub mod lint;
pub mod pod;
pub mod systemd;
