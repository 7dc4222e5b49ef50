//! The only room with `unsafe` and raw system calls: typed wrappers over rustix and libc, one file an area.
//!
//! Policy never lives here; a function does one thing to the kernel and says how it can fail.

pub mod root;
