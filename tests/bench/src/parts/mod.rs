//! The parts of the benchmark.

mod fetch;
pub mod filter;
mod generator;
mod isolation;
mod many;
mod memory;
mod start;
mod unit;

use crate::Setting;
use crate::report::Report;
use anyhow::Result;

/// Something that is measured in one go and can be asked for by name.
pub struct Part {
    /// What it is asked for by.
    pub name: &'static str,
    /// What it measures.
    pub about: &'static str,
    /// Measures it.
    pub run: fn(&Setting, &mut Report) -> Result<()>,
}

/// All of them. The one that makes most files comes first, before others delete any: see there.
pub const PARTS: &[Part] = &[
    Part {
        name: "fetch",
        about: "a large OCI image into the store, again, and audited",
        run: fetch::run_fetch,
    },
    Part {
        name: "start",
        about: "`true` in a pod of its own, from start to exit",
        run: start::run_true,
    },
    Part { name: "unit", about: "systemctl start of a pod", run: unit::run_units },
    Part {
        name: "isolation",
        about: "a pod's start with its defences and without",
        run: isolation::run_isolation,
    },
    Part {
        name: "filter",
        about: "a system call of an app with its filter and without",
        run: filter::run_filter,
    },
    Part { name: "memory", about: "what an idle pod costs", run: memory::run_idle },
    Part { name: "generator", about: "pod files to units", run: generator::run_generator },
    Part {
        name: "many",
        about: "listing, collecting and starting beside many pods",
        run: many::run_many,
    },
];
