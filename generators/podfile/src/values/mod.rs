//! The small languages inside a pod file: each value has a type, a parser that says what is
//! wrong, and the form systemd or the kernel wants.

mod capability;
mod cpu;
mod io;
mod listen;
pub(crate) mod name;
mod signal;
mod size;
mod time;

pub use capability::Capability;
pub use cpu::{CpuQuota, CpuSet, CpuWeight};
pub use io::IoMax;
pub use signal::Signal;
pub use size::{MemorySize, Tasks};
pub use time::TimeSpan;

pub(crate) use cpu::parse_weight;
pub(crate) use listen::parse_listen;
pub(crate) use size::{Base, parse_bytes};
