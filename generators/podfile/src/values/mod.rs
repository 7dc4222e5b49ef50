//! The small languages inside a pod file: each value has a type, a parser that says what is
//! wrong, and the form systemd or the kernel wants.

mod calendar;
mod capability;
mod cpu;
pub(crate) mod credential;
mod io;
mod listen;
pub(crate) mod name;
mod signal;
mod size;
mod time;

pub use capability::Capability;
pub use cpu::{CpuQuota, CpuSet, CpuWeight};
pub use credential::credential_places;
pub use io::IoMax;
pub use signal::Signal;
pub use size::{MemorySize, Tasks};
pub use time::TimeSpan;

pub(crate) use calendar::{DAYS as CALENDAR_DAYS, WORDS as CALENDAR_WORDS, parse_calendar};
pub(crate) use capability::{names as capability_names, parse_capability};
pub(crate) use cpu::{parse_cpu_set, parse_cpu_weight, parse_quota, parse_weight};
pub(crate) use listen::parse_listen;
pub(crate) use signal::{names as signal_names, parse_signal};
pub(crate) use size::{Base, parse_bytes, parse_memory, parse_tasks};
pub(crate) use time::{parse_duration, parse_time_span, units as time_units};
