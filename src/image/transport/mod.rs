//! Transports: programs that move bytes from elsewhere, one a scheme, without privileges, without the
//! store, and believed in nothing. docs/transport.md has the protocol.

mod auth;
mod registries;
mod sandbox;
mod session;
mod settings;
mod wire;

pub use sandbox::{SUBCOMMAND, main as sandbox_main};
pub(crate) use session::{Session, Sink};
pub(crate) use settings::Endpoint;
pub use settings::Remote;
pub(crate) use settings::layered;
pub(crate) use wire::{About, End, Fault, Kind, Request};
