//! The only room with `unsafe` and raw system calls: typed wrappers over rustix and libc, one file
//! an area.
//!
//! Policy never lives here; a function does one thing to the kernel and says how it can fail.
#![allow(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod aside;
pub mod bpf;
pub mod caps;
pub mod clone;
mod error;
pub mod fds;
pub mod memory;
pub mod mount;
pub mod net;
pub mod pidfd;
pub mod proc;
pub mod root;
pub mod seccomp;
pub mod signal;
pub mod spawn;
pub mod tty;
pub mod userns;
pub mod worker;

pub use error::{Error, Result};
