//! systemd: the only room that knows D-Bus, unit properties, `sd_notify` and journald's sockets.
//!
//! Reads no image and knows no pod; it is given names, PIDs, argument lists and limits.

pub mod bus;
pub mod creds;
pub mod detect;
pub mod journal;
pub mod limits;
pub mod notify;
pub mod properties;
