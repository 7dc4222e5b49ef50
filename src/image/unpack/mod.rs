//! Unpacking in a sandbox. The parent sends a job and descriptors to a re-executed, locked-down
//! child, which hashes, decompresses, parses and writes one tree; the parent does the few steps that
//! need the host's own privileges and believes nothing it has not checked.

mod decompress;
mod disk;
mod finish;
mod parent;
mod sandbox;
mod stream;
mod wire;
mod worker;

pub(crate) use decompress::Decompress;
pub(crate) use disk::{Fate, fate};
pub use finish::finish;
pub use parent::{Progress, SUBCOMMAND, Source, unpack, unpack_until};
pub use wire::{Kind, Report};
pub use worker::main as worker_main;
